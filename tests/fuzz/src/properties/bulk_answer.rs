//! What a server answers: understood or not believed, and never kept in full.

use std::sync::Arc;
use std::time::Duration;

use logweir::destination::opensearch::response::{
    all_created, read_failure, read_items, retry_after,
};
use logweir::destination::opensearch::verdict::{Failure, judge_request};
use logweir::destination::{Trouble, Verdict};
use logweir::event::Timestamp;
use logweir::fate::Delivery;
use serde_json::Value;

use super::Choices;

/// How much of the engine's words may be kept.
const LONGEST_ERROR: usize = 1024;

/// No server stops us for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Any bytes as the answer to a bulk request, as a failure of all of it, and as `Retry-After`.
pub(crate) fn bulk_answer(data: &[u8]) {
    let indices: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
    if let Ok(verdicts) = read_items(data, indices.iter()) {
        verdicts.iter().for_each(|verdict| assert_short(said(verdict)));
        // Half of a surrogate pair is no reason not to believe an answer, but `Value` refuses it.
        if let Ok(answer) = serde_json::from_slice::<Value>(data) {
            assert_items(&verdicts, &answer);
        }
    }
    if let Some(items) = all_created(data) {
        let created = vec![Verdict::Delivered(Delivery::Created); items];
        assert_eq!(read_items(data, indices.iter()).unwrap(), created);
    }
    let mut choices = Choices(data);
    let status = u16::from_le_bytes([choices.byte(), choices.byte()]);
    for (body, status) in [(data, 503), (choices.rest(), status)] {
        let (kind, causes) = read_failure(body);
        assert!(causes.len() <= 10, "{} causes", causes.len());
        let failure = Failure { status, causes: &causes, index: indices.first() };
        match judge_request(&failure, kind) {
            Trouble::Retry { error, .. } | Trouble::TooLarge { error } => assert_short(&error),
            Trouble::Refused(refusal) => assert_short(&refusal.error),
            Trouble::Hold(hold) => assert_short(&hold.error),
        }
    }
    if let Ok(header) = std::str::from_utf8(data) {
        let wait = retry_after(header, Timestamp(1_700_000_000_000));
        assert!(wait.is_none_or(|wait| wait <= LONGEST_WAIT));
    }
}

fn assert_items(verdicts: &[Verdict], answer: &Value) {
    let items = answer["items"].as_array().unwrap();
    assert_eq!(verdicts.len(), items.len());
    for (verdict, item) in verdicts.iter().zip(items) {
        let result = item.get("create").or_else(|| item.get("index")).unwrap();
        let created = matches!(verdict, Verdict::Delivered(Delivery::Created));
        if created {
            let status = result["status"].as_u64().unwrap();
            assert!((200..300).contains(&status), "delivered by {item}");
        }
    }
}

fn said(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Delivered(_) | Verdict::Retry { .. } => "",
        Verdict::Refused(refusal) => &refusal.error,
        Verdict::Hold(hold) => &hold.error,
    }
}

fn assert_short(error: &str) {
    assert!(error.len() <= LONGEST_ERROR, "{} bytes of error", error.len());
}
