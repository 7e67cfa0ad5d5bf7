//! Reads what came back: item by item for a bulk answer, as one failure for anything else.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::decode::ByName;
use crate::destination::Verdict;
use crate::event::Timestamp;

use super::verdict::{Body, Cause, Failure, judge_item};

/// A `caused_by` chain is a handful deep; whatever builds a longer one is not worth following.
const MAX_CAUSES: usize = 10;

/// No server should stop us for longer by one header; it can ask again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct BulkAnswer<'a> {
    #[serde(borrow)]
    items: Vec<ByName<ItemAnswer<'a>>>,
}

#[derive(Deserialize)]
struct ItemAnswer<'a> {
    // Some engines call every item by the operation that it became.
    #[serde(borrow, alias = "index")]
    create: ByName<ItemResult<'a>>,
}

#[derive(Deserialize)]
struct ItemResult<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// How a stored item is answered, by what `filter_path` leaves of it, and what comes before the next.
const CREATED: &[u8; 26] = br#"{"create":{"status":201}},"#;

/// The number of items of a bulk answer that says of each that it was created, byte for byte as
/// engines write it. Nearly all answers do. None says nothing: then `read_items` has to read it.
#[must_use]
pub fn all_created(body: &[u8]) -> Option<usize> {
    let items = body.strip_prefix(br#"{"errors":false,"items":["#)?.strip_suffix(b"]}")?;
    let (items, last) = items.as_chunks();
    let is_created =
        last == CREATED.strip_suffix(b",")? && items.iter().all(|item| item == CREATED);
    is_created.then_some(items.len() + 1)
}

/// The verdict on each item of a bulk answer, in its order, however many the answer has;
/// `indices` are those of the items that were sent.
///
/// # Errors
/// It is no bulk answer.
pub fn read_items<'i>(
    body: &[u8],
    indices: impl Iterator<Item = &'i Arc<str>>,
) -> Result<Vec<Verdict>, serde_json::Error> {
    let ByName(answer): ByName<BulkAnswer<'_>> = serde_json::from_slice(body)?;
    let indices = indices.map(Some).chain(iter::repeat(None));
    let items = answer.items.iter().map(|ByName(item)| &item.create.0);
    Ok(items.zip(indices).map(|(result, index)| verdict(result, index)).collect())
}

fn verdict(result: &ItemResult<'_>, index: Option<&Arc<str>>) -> Verdict {
    // Nearly every item has none: no allocation for it.
    let causes = result.error.map(read_causes).unwrap_or_default();
    judge_item(&Failure { status: result.status, causes: &causes, index })
}

fn read_causes(error: &RawValue) -> Vec<Cause> {
    let text = || vec![Cause { error_type: String::new(), reason: error.get().to_owned() }];
    serde_json::from_str(error.get()).map_or_else(|_| text(), |error| causes(&error))
}

/// An error of the engine and what caused it, outermost first.
fn causes(error: &Value) -> Vec<Cause> {
    if let Value::String(reason) = error {
        return vec![Cause { error_type: String::new(), reason: reason.clone() }];
    }
    let text = |of: &Value, key| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    iter::successors(Some(error), |error| error.get("caused_by"))
        .take(MAX_CAUSES)
        .map(|error| Cause { error_type: text(error, "type"), reason: text(error, "reason") })
        .collect()
}

/// What an answer says that is one failure of the whole request.
#[must_use]
pub fn read_failure(body: &[u8]) -> (Body, Vec<Cause>) {
    let said = |reason: &str| Cause { error_type: String::new(), reason: reason.to_owned() };
    match serde_json::from_slice(body) {
        Ok(Value::Object(answer)) => {
            let error = answer.get("error").map(causes);
            // `Message` is how AWS answers in front of the engine.
            let keys = ["Message", "message", "reason"];
            let message = || keys.iter().find_map(|key| answer.get(*key)?.as_str()).map(said);
            let causes = error.unwrap_or_else(|| message().into_iter().collect());
            (Body::Json, causes)
        }
        Ok(_) | Err(_) => {
            let start = body.get(..body.len().min(4096)).unwrap_or_default();
            let text = String::from_utf8_lossy(start);
            let text = text.trim();
            (Body::Foreign, if text.is_empty() { Vec::new() } else { vec![said(text)] })
        }
    }
}

/// What `Retry-After` asks for (RFC 9110): seconds, or a date.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let until = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        Duration::from_millis(until.as_millisecond().saturating_sub(now.0).try_into().ok()?)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{HoldScope, RetryReason};
    use crate::fate::{Delivery, RefusalReason};
    use proptest::prelude::*;

    fn indices() -> Vec<Arc<str>> {
        ["a", "b", "c", "d"].map(Arc::from).into()
    }

    fn read(body: &str) -> Result<Vec<Verdict>, serde_json::Error> {
        read_items(body.as_bytes(), indices().iter())
    }

    #[test]
    fn items_keep_their_places() {
        let verdicts = read(
            r#"{"took":3,"errors":true,"items":[
                {"create":{"_index":"a","status":201}},
                {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"[x]: \"y\""}}},
                {"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no"}}},
                {"create":{"error":{"type":"index_closed_exception","reason":"closed"},"status":400}}]}"#,
        )
        .unwrap();
        assert_eq!(verdicts[0], Verdict::Delivered(Delivery::Created));
        assert_eq!(verdicts[1], Verdict::Delivered(Delivery::AlreadyPresent));
        let Verdict::Refused(refusal) = &verdicts[2] else { panic!("{verdicts:?}") };
        assert_eq!((refusal.reason, refusal.status), (RefusalReason::Mapping, 400));
        let Verdict::Hold(hold) = &verdicts[3] else { panic!("{verdicts:?}") };
        assert_eq!(hold.scope, HoldScope::Index("d".into()));
    }

    #[test]
    fn an_answer_that_all_were_created_is_counted_and_nothing_else_is() {
        let answer =
            |items: &[&str]| format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","));
        let created = r#"{"create":{"status":201}}"#;
        for count in [1, 2, 1000] {
            let body = answer(&vec![created; count]);
            assert_eq!(all_created(body.as_bytes()), Some(count));
            let one_by_one = vec![Verdict::Delivered(Delivery::Created); count];
            assert_eq!(read(&body).unwrap(), one_by_one);
        }
        let other = r#"{"create":{"status":409}}"#;
        for items in [&[][..], &[other], &[created, other], &[other, created], &["", created]] {
            assert_eq!(all_created(answer(items).as_bytes()), None, "{items:?}");
        }
        let body = answer(&[created, created]);
        for end in 0..body.len() {
            assert_eq!(all_created(&body.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(all_created(body.replace("false", "true").as_bytes()), None);
        assert_eq!(all_created(body.replace("},{", "}{").as_bytes()), None);
    }

    #[test]
    fn a_wrong_number_of_items_is_handed_on_as_it_is() {
        let item = r#"{"create":{"status":201}}"#;
        for count in [0, 3, 6] {
            let body = format!(r#"{{"errors":false,"items":[{}]}}"#, vec![item; count].join(","));
            assert_eq!(read(&body).unwrap().len(), count);
        }
    }

    #[test]
    fn an_error_that_is_only_text_is_understood_by_its_status() {
        let verdicts = read(r#"{"items":[{"create":{"status":503,"error":"Unavailable[x]"}}]}"#);
        let error = "status 503, Unavailable[x]".to_owned();
        let reason = RetryReason::ServerError;
        assert_eq!(verdicts.unwrap(), [Verdict::Retry { reason, error }]);
    }

    #[test]
    fn what_is_no_bulk_answer_is_not_believed() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"errors":false}"#,
            r#"{"errors":false,"items":[{"create":{}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":"201"}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}]} trailing"#,
            r#"[[{"create":{"status":201}}]]"#,
            r#"{"items":[[{"status":201}]]}"#,
            r#"{"items":[{"create":[201,null]}]}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_failure_is_read_from_every_kind_of_answer() {
        for (body, kind, reason) in [
            (r#"{"Message":"Request size exceeded"}"#, Body::Json, "Request size exceeded"),
            (r#"{"message":"x"}"#, Body::Json, "x"),
            (r#"{"error":"no handler found"}"#, Body::Json, "no handler found"),
            (r#"{"error":{"type":"t","reason":"r"},"status":400}"#, Body::Json, "r"),
            ("<html>Forbidden</html>\n", Body::Foreign, "<html>Forbidden</html>"),
            ("[1]", Body::Foreign, "[1]"),
        ] {
            let (found, causes) = read_failure(body.as_bytes());
            assert_eq!((found, causes[0].reason.as_str()), (kind, reason), "{body}");
        }
        assert_eq!(read_failure(b""), (Body::Foreign, Vec::new()));
        assert_eq!(read_failure(b"{}"), (Body::Json, Vec::new()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = Timestamp(1_445_412_480_000); // 2015-10-21 07:28:00
        let wait = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait("0"), Some(0));
        assert_eq!(wait(" 120 "), Some(120));
        assert_eq!(wait("86400"), Some(300));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(wait("Wed, 21 Oct 2015 07:27:00 GMT"), None);
        assert_eq!((wait("soon"), wait("-1"), wait("")), (None, None, None));
    }

    /// Bytes that look like an answer far enough to reach every branch.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"items\"",
            "\"create\"",
            "\"status\"",
            "\"error\"",
            "\"type\"",
            "\"reason\"",
            "\"caused_by\"",
            "201",
            "400",
            "null",
            "\"x\\u00e9\"",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..60)
            .prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(structured in answers(), random: Vec<u8>, header: String) {
            for body in [structured, random] {
                _ = read_items(&body, indices().iter());
                _ = read_failure(&body);
            }
            _ = retry_after(&header, Timestamp(0));
        }

        #[test]
        fn any_error_gets_a_verdict(
            status: u16,
            kind in prop::sample::select(vec![
                "cluster_block_exception", "rejected_execution_exception", "security_exception",
                "circuit_breaking_exception", "illegal_argument_exception", "mapper_parsing_exception",
            ]),
            reason in "(blocked by: |operation_bytes=|max_x=|\\[|[0-9]{1,30}|/|é|x){0,400}",
        ) {
            let error = serde_json::json!({"type": kind, "reason": reason});
            let body = serde_json::json!({"items": [{"create": {"status": status, "error": error}}]});
            let verdicts = read(&body.to_string()).unwrap();
            prop_assert_eq!(verdicts.len(), 1);
            let error = match &verdicts[0] {
                Verdict::Refused(refusal) => &refusal.error,
                Verdict::Hold(hold) => &hold.error,
                Verdict::Delivered(_) | Verdict::Retry { .. } => "",
            };
            prop_assert!(error.len() <= 1024);
        }
    }
}
