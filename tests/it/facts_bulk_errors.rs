//! Every error shape that was gathered from real engines gets the verdict that DESIGN §8 wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use logweir::destination::opensearch::response::{read_failure, read_items};
use logweir::destination::opensearch::verdict::{Failure, judge_request};
use logweir::destination::{Hold, HoldScope, Trouble, Verdict};
use serde_json::{Value, json};

use crate::facts::fact;

/// Shape by name, and what it must become. The index of every item is `logs-1`.
const ITEMS: [(&str, &str); 17] = [
    ("mapper_parsing date", "refused mapping"),
    ("mapper_parsing object vs concrete", "refused mapping"),
    ("document_parsing (ES 8.8+)", "refused mapping"),
    ("total fields limit", "refused too_many_fields"),
    ("AOSS no doc id", "hold destination ids_refused"),
    ("max shards (validation)", "hold index shard_limit"),
    ("max shards (illegal_argument)", "hold index shard_limit"),
    ("index not found", "hold index index_missing"),
    ("index closed", "hold index index_closed"),
    ("index closing block", "hold index index_closed"),
    ("flood stage (ES>=7.7/OpenSearch)", "hold index flood_stage"),
    ("flood stage (ES<7.7)", "hold index flood_stage"),
    ("write queue (ES)", "retry busy"),
    ("write queue (OpenSearch)", "retry busy"),
    ("circuit breaker", "retry circuit_breaker"),
    ("unavailable shards", "retry server_error"),
    ("version conflict on create", "already_present"),
];

/// Request shapes by their order in the file: they have no names.
const REQUESTS: [(u64, &str); 5] = [
    (429, "retry busy"),
    (413, "too large"),
    (429, "retry busy"),
    // Plain text, as the file has it: halves may pass, and if none does all is held.
    (404, "refused refused"),
    // Not one failure but an answer whose items do not add up.
    (200, "retry unreadable"),
];

#[test]
fn every_gathered_item_error_gets_its_verdict() {
    let Some(shapes) = shapes("item_shapes.ndjson") else { return };
    let expected: BTreeMap<_, _> = ITEMS.into_iter().collect();
    assert_eq!(shapes.len(), expected.len());
    for shape in shapes {
        let name = shape["name"].as_str().unwrap();
        let result = json!({"status": shape["status"], "error": shape["error"]});
        let body = json!({"errors": true, "items": [{"create": result}]}).to_string();
        let index: Arc<str> = "logs-1".into();
        let verdicts = read_items(body.as_bytes(), std::iter::once(&index)).unwrap();
        assert_eq!(words(&verdicts[0]), expected[name], "{name}");
    }
}

#[test]
fn every_gathered_request_error_gets_its_verdict() {
    let Some(shapes) = shapes("request_shapes.ndjson") else { return };
    assert_eq!(shapes.len(), REQUESTS.len());
    for (shape, (status, expected)) in shapes.iter().zip(REQUESTS) {
        assert_eq!(shape["http"], status, "{shape}");
        let (kind, causes) = read_failure(shape["body"].as_str().unwrap().as_bytes());
        let status = u16::try_from(status).unwrap();
        let trouble = judge_request(&Failure { status, causes: &causes, index: None }, kind);
        let found = match trouble {
            Trouble::Retry { reason, .. } => format!("retry {}", reason.as_str()),
            Trouble::TooLarge { .. } => "too large".to_owned(),
            Trouble::Refused(refusal) => words(&Verdict::Refused(refusal)),
            Trouble::Hold(hold) => words(&Verdict::Hold(hold)),
        };
        assert_eq!(found, expected, "{shape}");
    }
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered(delivery) => delivery.to_string(),
        Verdict::Refused(refusal) => format!("refused {}", refusal.reason),
        Verdict::Retry { reason, .. } => format!("retry {}", reason.as_str()),
        Verdict::Hold(Hold { scope, reason, .. }) => match scope {
            HoldScope::Destination => format!("hold destination {}", reason.as_str()),
            HoldScope::Index(index) => {
                assert_eq!(&**index, "logs-1");
                format!("hold index {}", reason.as_str())
            }
            HoldScope::Route(route) => format!("hold route {}", route.0),
        },
    }
}

fn shapes(file: &str) -> Option<Vec<Value>> {
    let text = fact(&format!("bulk_errors/{file}"))?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}
