//! What stands after `_bulk?`: the same body for every engine, and a type where one is needed.
//!
//! Elasticsearch before 7.0 refuses documents without a type, later engines refuse the word. Which
//! it is shows in the first answer, so nobody needs to be asked before the first event is sent, and
//! an upgrade under a running daemon does no harm.

use std::sync::atomic::{AtomicBool, Ordering};

use super::config::EngineConfig;
use super::engine::TYPE;
use super::request::Reply;
use super::response::read_failure;
use super::verdict::Cause;

/// Errors keep their text, but of an item that was stored only the status comes back: a tenth of
/// the bytes. Every item keeps its place.
const FILTER: &str = "filter_path=errors,items.*.status,items.*.error";

/// How the next bulk request is asked.
#[derive(Debug)]
pub struct BulkQuery {
    engine: EngineConfig,
    is_typed: AtomicBool,
}

/// How one bulk request was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    is_typed: bool,
}

impl BulkQuery {
    /// Without a type at first.
    #[must_use]
    pub fn new(engine: EngineConfig) -> Self {
        Self { engine, is_typed: AtomicBool::new(false) }
    }

    /// How to ask now.
    #[must_use]
    pub fn now(&self) -> (Asked, Option<String>) {
        let is_typed = self.is_typed.load(Ordering::Relaxed);
        let query = match (self.engine, is_typed) {
            // Its documentation has hardly any of the parameters that clusters know.
            (EngineConfig::OpenSearchServerless, _) => None,
            (EngineConfig::Detect, false) => Some(FILTER.to_owned()),
            (EngineConfig::Detect, true) => Some(format!("{FILTER}&type={TYPE}")),
        };
        (Asked { is_typed }, query)
    }

    /// Whether a request was refused for how it was asked, and is to be sent again at once: such an
    /// answer comes before anything is stored.
    #[must_use]
    pub fn learn(&self, asked: Asked, reply: &Reply) -> bool {
        if reply.status != 400 || !asked.is_wrong(&read_failure(&reply.body).1) {
            return false;
        }
        let is_typed = !asked.is_typed;
        // Several requests under way are told so together.
        if self.is_typed.swap(is_typed, Ordering::Relaxed) != is_typed {
            tracing::info!(is_typed, "learnt whether this engine's documents have a type");
        }
        true
    }
}

impl Asked {
    /// Whether the engine says so. By how the words begin: what follows may quote anything.
    fn is_wrong(self, causes: &[Cause]) -> bool {
        let Some(Cause { error_type, reason }) = causes.first() else { return false };
        let (own_type, beginning) = if self.is_typed {
            let unknown = "request [/_bulk] contains unrecognized parameter: [type]";
            ("illegal_argument_exception", unknown)
        } else {
            ("action_request_validation_exception", "Validation Failed: 1: type is missing;")
        };
        error_type == own_type && reason.starts_with(beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALIDATION: &str = "action_request_validation_exception";
    const MISSING: &str = "Validation Failed: 1: type is missing;2: type is missing;";
    const UNKNOWN: &str = "request [/_bulk] contains unrecognized parameter: [type]";

    fn reply(status: u16, error_type: &str, reason: &str) -> Reply {
        let body = json!({"error": {"type": error_type, "reason": reason}, "status": status});
        Reply { status, retry_after: None, body: body.to_string().into_bytes() }
    }

    #[test]
    fn the_type_is_sent_once_the_engine_has_asked_for_it_until_it_refuses_it() {
        let query = BulkQuery::new(EngineConfig::Detect);
        let (plain, text) = query.now();
        assert_eq!(text.as_deref(), Some(FILTER));
        let missing = reply(400, VALIDATION, MISSING);
        assert!(query.learn(plain, &missing));
        assert!(query.learn(plain, &missing), "of requests under way together each is told so");
        let (typed, text) = query.now();
        assert_eq!(text, Some(format!("{FILTER}&type=_doc")));
        assert!(!query.learn(typed, &missing), "no circle");
        assert!(query.learn(typed, &reply(400, "illegal_argument_exception", UNKNOWN)));
        assert_eq!(query.now().0, plain);
    }

    #[test]
    fn other_answers_teach_nothing() {
        let query = BulkQuery::new(EngineConfig::Detect);
        let (plain, _) = query.now();
        for (status, error_type, reason) in [
            (500, VALIDATION, MISSING),
            (400, VALIDATION, "Validation Failed: 1: no requests added;"),
            (400, "mapper_parsing_exception", "failed: Validation Failed: 1: type is missing;"),
            (400, "illegal_argument_exception", UNKNOWN),
        ] {
            assert!(!query.learn(plain, &reply(status, error_type, reason)), "{status} {reason}");
        }
        assert_eq!(query.now().0, plain);
    }

    #[test]
    fn a_collection_of_opensearch_serverless_gets_no_parameters() {
        assert_eq!(BulkQuery::new(EngineConfig::OpenSearchServerless).now().1, None);
    }
}
