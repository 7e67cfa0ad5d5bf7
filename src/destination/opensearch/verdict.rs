//! What an answer of the engine means: one total `match`, without I/O.
//!
//! An error is first recognised by its type; its text is read only where the type alone does not
//! tell, and then by how it begins, because texts quote documents, which anybody may have written.

use std::sync::Arc;

use crate::destination::{Hold, HoldReason, HoldScope, Refusal, RetryReason, Trouble, Verdict};
use crate::fate::{Delivery, RefusalReason};
use crate::telemetry::visible::Visible;

/// How much of the engine's words is kept: enough to understand, whatever a document adds to it.
const MAX_ERROR: usize = 1024;

/// One error of the engine: its type and its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The engine's own name for it, such as `mapper_parsing_exception`.
    pub error_type: String,
    /// The engine's words.
    pub reason: String,
}

/// Something that is no success: an item, or a whole request.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The HTTP status of the item or of the request.
    pub status: u16,
    /// The error and what caused it, outermost first.
    pub causes: &'a [Cause],
    /// The index of the item; of a request, the one index of the batch that the answer names.
    pub index: Option<&'a Arc<str>>,
}

/// What came back in one piece for a whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON, as engines and AWS answer.
    Json,
    /// Anything else: a proxy or a firewall answered.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Item,
    Request(Body),
}

/// What the error says is wrong, whatever the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    VersionConflict,
    Busy,
    NeverAdmitted,
    CircuitBreaker,
    /// A person must act. `Width` is what it stops.
    Stuck(Width, HoldReason),
    /// It is about the document.
    Document(RefusalReason),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Destination,
    /// The index of the item, or the one that the answer names.
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Delivered(Delivery),
    Refused(RefusalReason),
    TooLarge,
    Retry(RetryReason),
    Hold(Width, HoldReason),
}

/// What an item's answer means.
#[must_use]
pub fn judge_item(failure: &Failure<'_>) -> Verdict {
    match meaning(failure, Level::Item) {
        Meaning::Delivered(delivery) => Verdict::Delivered(delivery),
        Meaning::Refused(reason) => Verdict::Refused(refusal(failure, reason)),
        Meaning::TooLarge => Verdict::Refused(refusal(failure, RefusalReason::TooLarge)),
        Meaning::Retry(reason) => Verdict::Retry { reason, error: text(failure) },
        Meaning::Hold(width, reason) => Verdict::Hold(hold(failure, width, reason)),
    }
}

/// What an answer means that is one failure of the whole request.
#[must_use]
pub fn judge_request(failure: &Failure<'_>, body: Body) -> Trouble {
    let retry = |reason| Trouble::Retry { reason, retry_after: None, error: text(failure) };
    match meaning(failure, Level::Request(body)) {
        // A whole answer tells nothing about its items, whatever it claims.
        Meaning::Delivered(_) => retry(RetryReason::Unreadable),
        Meaning::Refused(reason) => Trouble::Refused(refusal(failure, reason)),
        Meaning::TooLarge => Trouble::TooLarge { error: text(failure) },
        Meaning::Retry(reason) => retry(reason),
        Meaning::Hold(width, reason) => Trouble::Hold(hold(failure, width, reason)),
    }
}

/// The table of DESIGN §8.
fn meaning(failure: &Failure<'_>, level: Level) -> Meaning {
    let status = failure.status;
    match (kind(failure.causes), level) {
        (Kind::VersionConflict, Level::Item) if status == 409 => {
            Meaning::Delivered(Delivery::AlreadyPresent)
        }
        (Kind::VersionConflict, _) => by_status(failure, level, RefusalReason::Refused),
        (Kind::Busy, _) => Meaning::Retry(RetryReason::Busy),
        (Kind::NeverAdmitted, Level::Item) => Meaning::Retry(RetryReason::Oversized),
        (Kind::NeverAdmitted, Level::Request(_)) => Meaning::TooLarge,
        (Kind::CircuitBreaker, _) => Meaning::Retry(RetryReason::CircuitBreaker),
        (Kind::Stuck(width, reason), _) => Meaning::Hold(width, reason),
        (Kind::Document(reason), _) => by_status(failure, level, reason),
        (Kind::Unknown, _) => by_status(failure, level, RefusalReason::Refused),
    }
}

fn by_status(failure: &Failure<'_>, level: Level, refused: RefusalReason) -> Meaning {
    match (failure.status, level) {
        (200..=299, Level::Item) => Meaning::Delivered(Delivery::Created),
        (200..=299, Level::Request(_)) => Meaning::Retry(RetryReason::Unreadable),
        (401, _) => Meaning::Hold(Width::Destination, HoldReason::Unauthorized),
        (403, Level::Request(Body::Foreign)) => Meaning::Refused(refused),
        (403, Level::Request(Body::Json)) if is_about_credentials(failure) => {
            Meaning::Hold(Width::Destination, HoldReason::Credentials)
        }
        (403, Level::Item | Level::Request(Body::Json)) => {
            Meaning::Hold(named(failure), HoldReason::Forbidden)
        }
        (408, Level::Request(_)) => Meaning::Retry(RetryReason::Timeout),
        (413, _) => Meaning::TooLarge,
        (429, _) => Meaning::Retry(RetryReason::Busy),
        (500..=599, _) => Meaning::Retry(RetryReason::ServerError),
        // Everything else is below 200, a redirect (which we never follow), a 4xx, or no status.
        (_, _) => Meaning::Refused(refused),
    }
}

/// Whether AWS did not even ask what we may do. Then it gives no type, and begins
/// with one of these.
fn is_about_credentials(failure: &Failure<'_>) -> bool {
    const WORDS: [&str; 6] = [
        "The security token included in the request is",
        "The request signature we calculated does not match",
        "Signature expired",
        "Signature not yet current",
        "Credential should be scoped to",
        "Missing Authentication Token",
    ];
    failure.causes.first().is_some_and(|cause| {
        cause.error_type.is_empty() && WORDS.iter().any(|words| cause.reason.starts_with(words))
    })
}

/// The index, if the engine's words name it.
fn named(failure: &Failure<'_>) -> Width {
    let is_named = |index: &Arc<str>| {
        let bracketed = format!("[{index}]");
        failure.causes.iter().any(|cause| cause.reason.contains(&bracketed))
    };
    if failure.index.is_some_and(is_named) { Width::Index } else { Width::Destination }
}

/// The first cause that is recognised. Of causes that are about the document, a deeper one may
/// tell more: Elasticsearch wraps the field limit in a parsing error.
fn kind(causes: &[Cause]) -> Kind {
    let mut kinds = causes.iter().map(recognise).filter(|kind| *kind != Kind::Unknown);
    let Some(first) = kinds.next() else { return Kind::Unknown };
    let wrapped = Kind::Document(RefusalReason::Mapping);
    if first != wrapped {
        return first;
    }
    let tells_more = |kind: &Kind| matches!(kind, Kind::Document(_)) && *kind != wrapped;
    kinds.find(tells_more).unwrap_or(first)
}

fn recognise(cause: &Cause) -> Kind {
    let reason = cause.reason.as_str();
    match cause.error_type.as_str() {
        "version_conflict_engine_exception" => Kind::VersionConflict,
        "es_rejected_execution_exception" | "rejected_execution_exception" => pressure(reason),
        "circuit_breaking_exception" => circuit_breaker(reason),
        "cluster_block_exception" => block(reason),
        "index_closed_exception" => Kind::Stuck(Width::Index, HoldReason::IndexClosed),
        "index_not_found_exception" => Kind::Stuck(Width::Index, HoldReason::IndexMissing),
        "security_exception" if reason.starts_with("current license") => {
            Kind::Stuck(Width::Destination, HoldReason::Licence)
        }
        "validation_exception" | "illegal_argument_exception" => argument(reason),
        "max_bytes_length_exceeded_exception" => Kind::Document(RefusalReason::ImmenseTerm),
        "mapper_parsing_exception"
        | "document_parsing_exception"
        | "strict_dynamic_mapping_exception" => Kind::Document(RefusalReason::Mapping),
        // Engines have hundreds more; their status decides.
        _ => Kind::Unknown,
    }
}

/// Indexing pressure and full queues. Pressure names what the operation takes and, after it, the
/// most that the node or shard admits.
fn pressure(reason: &str) -> Kind {
    let never = reason.split("operation_bytes=").skip(1).any(|rest| {
        let most = rest.split_once("max_").and_then(|(_, rest)| rest.split_once('='));
        let most = most.and_then(|(_, digits)| leading_number(digits));
        leading_number(rest).zip(most).is_some_and(|(wanted, most)| wanted > most)
    });
    if never { Kind::NeverAdmitted } else { Kind::Busy }
}

/// A breaker that one request alone would trip never admits it.
fn circuit_breaker(reason: &str) -> Kind {
    let after = |key| reason.split_once(key).and_then(|(_, digits)| leading_number(digits));
    let (wanted, most) = (after("new bytes reserved: ["), after("larger than the limit of ["));
    let never = wanted.zip(most).is_some_and(|(wanted, most)| wanted > most);
    if never { Kind::NeverAdmitted } else { Kind::CircuitBreaker }
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// Blocks by the number that both engines give them: `blocked by: [FORBIDDEN/8/index write (api)]`.
fn block(reason: &str) -> Kind {
    let (_, blocks) = reason.split_once("blocked by: [").unwrap_or_default();
    let number = blocks.split('/').nth(1).and_then(leading_number);
    match number {
        // 1 state not recovered, 2 no elected manager.
        Some(1 | 2) => Kind::Stuck(Width::Destination, HoldReason::NoManager),
        // 4 index closed or closing.
        Some(4) => Kind::Stuck(Width::Index, HoldReason::IndexClosed),
        // 6 and 13 make the whole cluster read-only.
        Some(6 | 13) => Kind::Stuck(Width::Destination, HoldReason::WriteBlock),
        // 12 the disk is over its flood stage.
        Some(12) => Kind::Stuck(Width::Index, HoldReason::FloodStage),
        // 5, 7, 8, 9 are blocks of one index; 10 forbids to create it, others go on.
        Some(_) | None => Kind::Stuck(Width::Index, HoldReason::WriteBlock),
    }
}

/// Errors that share one type with hundreds of others.
fn argument(reason: &str) -> Kind {
    let begins = |with| reason.starts_with(with);
    let about_shards = reason.contains("this action would add [") && reason.contains("shards");
    if begins("Validation Failed: ") && about_shards {
        // It is the creation of this index that failed; those that exist go on.
        Kind::Stuck(Width::Index, HoldReason::ShardLimit)
    } else if begins("pipeline with id [") {
        Kind::Stuck(Width::Index, HoldReason::PipelineMissing)
    } else if begins("no write index is defined for alias [") {
        Kind::Stuck(Width::Index, HoldReason::NoWriteIndex)
    } else if begins("Document ID is not supported") {
        Kind::Stuck(Width::Destination, HoldReason::IdsRefused)
    } else if reason.contains("Limit of total fields") {
        Kind::Document(RefusalReason::TooManyFields)
    } else if reason.contains(" immense ") {
        Kind::Document(RefusalReason::ImmenseTerm)
    } else if ["apper [", "mapping", "ield [", "field name", "object field"]
        .iter()
        .any(|w| reason.contains(w))
    {
        Kind::Document(RefusalReason::Mapping)
    } else {
        Kind::Unknown
    }
}

fn refusal(failure: &Failure<'_>, reason: RefusalReason) -> Refusal {
    let error_type = failure.causes.first().map(|cause| cause.error_type.clone());
    Refusal {
        reason,
        status: failure.status,
        error_type: excerpt(error_type.unwrap_or_default()),
        error: text(failure),
    }
}

fn hold(failure: &Failure<'_>, width: Width, reason: HoldReason) -> Hold {
    let scope = match (width, failure.index) {
        (Width::Index, Some(index)) => HoldScope::Index(Arc::clone(index)),
        (Width::Index, None) | (Width::Destination, _) => HoldScope::Destination,
    };
    Hold { scope, reason, error: text(failure) }
}

/// The engine's words: each cause as `type: reason`, outermost first.
fn text(failure: &Failure<'_>) -> String {
    let mut text = format!("status {}", failure.status);
    for (depth, cause) in failure.causes.iter().enumerate() {
        text.push_str(if depth == 0 { ", " } else { "; caused by " });
        text.push_str(&cause.error_type);
        if !cause.error_type.is_empty() && !cause.reason.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.reason);
    }
    excerpt(text)
}

/// As much of the engine's words as is kept. Logs, tables and pages show them as they are here, and
/// a document that is quoted in them may have been written by anybody.
pub(super) fn excerpt(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    let mut text = Visible(text).to_string();
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Arc<str> {
        "logs-1".into()
    }

    fn cause(error_type: &str, reason: &str) -> Cause {
        Cause { error_type: error_type.to_owned(), reason: reason.to_owned() }
    }

    fn item(status: u16, causes: &[Cause]) -> Verdict {
        judge_item(&Failure { status, causes, index: Some(&index()) })
    }

    /// What a verdict on an item says, short enough for a table.
    fn short(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Delivered(delivery) => delivery.to_string(),
            Verdict::Refused(refusal) => format!("refused {}", refusal.reason),
            Verdict::Retry { reason, .. } => format!("retry {}", reason.as_str()),
            Verdict::Hold(Hold { scope, reason, .. }) => match scope {
                HoldScope::Destination => format!("hold all {}", reason.as_str()),
                HoldScope::Index(index) => format!("hold {index} {}", reason.as_str()),
                HoldScope::Route(_) => "hold route".to_owned(),
            },
        }
    }

    fn whole(status: u16, causes: &[Cause], body: Body) -> String {
        match judge_request(&Failure { status, causes, index: Some(&index()) }, body) {
            Trouble::Retry { reason, .. } => format!("retry {}", reason.as_str()),
            Trouble::TooLarge { .. } => "too large".to_owned(),
            Trouble::Refused(refusal) => short(&Verdict::Refused(refusal)),
            Trouble::Hold(hold) => short(&Verdict::Hold(hold)),
        }
    }

    #[test]
    fn an_item_without_a_known_error_is_judged_by_its_status() {
        for (status, expected) in [
            (200, "created"),
            (201, "created"),
            (0, "refused refused"),
            (301, "refused refused"),
            (400, "refused refused"),
            (401, "hold all unauthorized"),
            (403, "hold all forbidden"),
            (404, "refused refused"),
            // Without the engine's word for it, a 409 is no proof that the event is there.
            (409, "refused refused"),
            (413, "refused too_large"),
            (429, "retry busy"),
            (500, "retry server_error"),
            (503, "retry server_error"),
        ] {
            assert_eq!(short(&item(status, &[])), expected, "{status}");
            assert_eq!(short(&item(status, &[cause("new_exception", "?")])), expected, "{status}");
        }
    }

    #[test]
    fn a_request_without_a_known_error_is_judged_by_its_status() {
        for (status, json, foreign) in [
            (302, "refused refused", "refused refused"),
            (400, "refused refused", "refused refused"),
            (401, "hold all unauthorized", "hold all unauthorized"),
            (403, "hold all forbidden", "refused refused"),
            (404, "refused refused", "refused refused"),
            (405, "refused refused", "refused refused"),
            (408, "retry timeout", "retry timeout"),
            (413, "too large", "too large"),
            (429, "retry busy", "retry busy"),
            (502, "retry server_error", "retry server_error"),
            (504, "retry server_error", "retry server_error"),
        ] {
            assert_eq!(whole(status, &[], Body::Json), json, "{status}");
            assert_eq!(whole(status, &[], Body::Foreign), foreign, "{status}");
        }
    }

    /// Error type, reason, and what is held for it.
    const STUCK: [(&str, &str, &str); 14] = [
        (BLOCK, "blocked by: [SERVICE_UNAVAILABLE/2/no master];", "all no_manager"),
        (BLOCK, "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered];", "all no_manager"),
        (BLOCK, "blocked by: [FORBIDDEN/6/cluster read-only (api)];", "all write_block"),
        (BLOCK, "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];", WRITE_BLOCK),
        (BLOCK, "index [logs-1] blocked by: [FORBIDDEN/8/index write (api)];", WRITE_BLOCK),
        (
            BLOCK,
            "index [logs-1] blocked by: [TOO_MANY_REQUESTS/12/disk usage];",
            "logs-1 flood_stage",
        ),
        (BLOCK, "", WRITE_BLOCK),
        ("index_closed_exception", "closed", "logs-1 index_closed"),
        ("index_not_found_exception", "no such index [logs-1]", "logs-1 index_missing"),
        (
            "validation_exception",
            "Validation Failed: 1: this action would add [2] shards, but this cluster has [9]/[9]",
            "logs-1 shard_limit",
        ),
        (ARGUMENT, "pipeline with id [geo] does not exist", "logs-1 pipeline_missing"),
        (ARGUMENT, "no write index is defined for alias [logs-1]. The", "logs-1 no_write_index"),
        (ARGUMENT, "Document ID is not supported in create/index operation", "all ids_refused"),
        ("security_exception", "current license is non-compliant for [security]", "all licence"),
    ];
    const BLOCK: &str = "cluster_block_exception";
    const ARGUMENT: &str = "illegal_argument_exception";
    const WRITE_BLOCK: &str = "logs-1 write_block";

    #[test]
    fn what_a_person_must_mend_is_held_whatever_the_status() {
        for (error_type, reason, expected) in STUCK {
            for status in [400, 403, 404, 429, 503] {
                let causes = [cause(error_type, reason)];
                assert_eq!(short(&item(status, &causes)), format!("hold {expected}"), "{reason}");
                assert_eq!(whole(status, &causes, Body::Json), format!("hold {expected}"));
            }
        }
    }

    #[test]
    fn a_document_cannot_talk_its_way_into_a_hold() {
        for quoted in [
            "no write index is defined for alias [x]",
            "Validation Failed: this action would add [2] shards",
            "blocked by: [FORBIDDEN/6/cluster read-only (api)]",
            "Document ID is not supported",
        ] {
            let reason = format!("failed to parse field [a]. Preview of field's value: '{quoted}'");
            let inner = cause("illegal_argument_exception", quoted);
            let causes = [cause("mapper_parsing_exception", &reason), inner];
            assert_eq!(short(&item(400, &causes)), "refused mapping");
            let causes = [cause("illegal_argument_exception", &reason)];
            assert_eq!(short(&item(400, &causes)), "refused mapping");
        }
    }

    #[test]
    fn what_the_document_is_refused_for_is_told_apart() {
        let argument = "illegal_argument_exception";
        for (error_type, reason, expected) in [
            ("strict_dynamic_mapping_exception", "[1:5] mapping set to strict", "mapping"),
            (argument, "mapper [a] cannot be changed from type [long] to [keyword]", "mapping"),
            (argument, "object field cannot contain only whitespace", "mapping"),
            (argument, "Limit of total fields [1000] has been exceeded", "too_many_fields"),
            (
                argument,
                "Document contains at least one immense term in field=\"x\" (whose UTF8",
                "immense_term",
            ),
            (
                argument,
                "Flattened field [x] contains one immense field whose keyed encoding is",
                "immense_term",
            ),
            (argument, "unknown setting", "refused"),
        ] {
            let refused = format!("refused {expected}");
            assert_eq!(short(&item(400, &[cause(error_type, reason)])), refused, "{reason}");
        }
        let wrapped = [
            cause("document_parsing_exception", "[1:9] failed to parse: Limit of total fields"),
            cause(argument, "Limit of total fields [1000] has been exceeded while adding [1]"),
        ];
        assert_eq!(short(&item(400, &wrapped)), "refused too_many_fields");
        // The engine's own trouble is no judgement on the document.
        assert_eq!(short(&item(503, &wrapped)), "retry server_error");
    }

    #[test]
    fn what_can_never_be_admitted_is_made_smaller() {
        let rejected = |text: &str| cause("rejected_execution_exception", text);
        let fits = "rejected execution of coordinating operation [coordinating_and_primary_bytes=9, \
                    replica_bytes=0, all_bytes=9, coordinating_operation_bytes=7364, \
                    max_coordinating_and_primary_bytes=268435456]";
        let never = fits.replace("=7364", "=268435457");
        let shard = "[shard_detail=[a][0][C], shard_operation_bytes=5, \
                     shard_max_coordinating_and_primary_bytes=9] OR [node_operation_bytes=5, \
                     node_max_coordinating_and_primary_bytes=4]";
        for (cause, expected_item, expected_whole) in [
            (rejected(fits), "retry busy", "retry busy"),
            (rejected("queue capacity = 200"), "retry busy", "retry busy"),
            (rejected(&never), "retry oversized", "too large"),
            (rejected(shard), "retry oversized", "too large"),
            (breaker(100, 200), "retry circuit_breaker", "retry circuit_breaker"),
            (breaker(201, 200), "retry oversized", "too large"),
        ] {
            assert_eq!(short(&item(429, std::slice::from_ref(&cause))), expected_item);
            assert_eq!(whole(429, &[cause], Body::Json), expected_whole);
        }
    }

    fn breaker(wanted: u32, limit: u32) -> Cause {
        let reason = format!(
            "[parent] Data too large, data for [<http_request>] would be [555/5mb], which is larger \
             than the limit of [{limit}/4mb], real usage: [9/9b], new bytes reserved: [{wanted}/1mb]"
        );
        cause("circuit_breaking_exception", &reason)
    }

    #[test]
    fn a_missing_right_holds_the_index_only_if_the_answer_names_it() {
        let named = "action [indices:data/write/bulk[s]] is unauthorized on indices [logs-1]";
        let unnamed = "no permissions for [indices:admin/create] and User [name=writer]";
        let cause = |reason| [cause("security_exception", reason)];
        assert_eq!(short(&item(403, &cause(named))), "hold logs-1 forbidden");
        assert_eq!(short(&item(403, &cause(unnamed))), "hold all forbidden");
        assert_eq!(whole(403, &cause(unnamed), Body::Json), "hold all forbidden");
    }

    #[test]
    fn the_engines_words_are_kept_up_to_a_kibibyte() {
        let causes = [cause("mapper_parsing_exception", &"é".repeat(2000)), cause("inner", "why")];
        let Verdict::Refused(refusal) = item(400, &causes) else { panic!("not refused") };
        assert!(refusal.error.len() > 1000 && refusal.error.len() <= 1024);
        let causes = [cause("mapper_parsing_exception", "no"), cause("inner", "why")];
        let Verdict::Refused(refusal) = item(400, &causes) else { panic!("not refused") };
        let words = "status 400, mapper_parsing_exception: no; caused by inner: why";
        assert_eq!(
            (refusal.error_type.as_str(), refusal.error.as_str()),
            ("mapper_parsing_exception", words)
        );
    }
}
