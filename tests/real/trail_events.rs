//! CloudTrail events: the real ones of the facts, or where these are not found as many made-up ones; and
//! twins of them whose open-ended fields hold everything that JSON can say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::data::{Maker, Shape};
use crate::envelopes::LogEvent;
use crate::facts;

/// The fields that can hold anything.
pub(crate) const OPEN: [&str; 7] = [
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "serviceEventDetails",
    "userIdentity",
    "resources",
    "tlsDetails",
];

/// What an open-ended field might hold, beside what [`large_shapes`] makes.
const SHAPES: [&str; 42] = [
    "null",
    "true",
    "7",
    "-0.5e-3",
    "123456789012345678901234567890",
    r#""text""#,
    r#""""#,
    r#""2023-07-10T11:42:36Z""#,
    "[]",
    r#"["a", "b"]"#,
    "[1, 2.5]",
    r#"[{"a": 1}, {"a": "two"}]"#,
    r#"[1, "two", null, {"three": 3}, [4]]"#,
    r#"[[[1], ["2"]], []]"#,
    "[null]",
    "{}",
    r#"{"a": null}"#,
    r#"{"a": [], "b": {}, "c": [null]}"#,
    r#"{"a": 1}"#,
    r#"{"a": "text"}"#,
    r#"{"a": true}"#,
    r#"{"a": {"b": 1}}"#,
    r#"{"a": [{"b": 1}, {"b": {"c": 2}}, "three", 4, null, [5, [6]]]}"#,
    r#"{"a.b": 1}"#,
    r#"{"a": {"b": 1}, "a.b": "text"}"#,
    r#"{"a.b.c": {"d.e": 1}}"#,
    r#"{"": 1}"#,
    r#"{"a": {"": {"": []}}}"#,
    r#"{".": 1}"#,
    r#"{".a": 1}"#,
    r#"{"a.": 1}"#,
    r#"{"a..b": 1}"#,
    r#"{" ": 1}"#,
    r#"{" a ": {"\t": 1}}"#,
    r#"{"\u0000": 1}"#,
    r#"{"a": "\u0000"}"#,
    r#"{"a=b": "c=d", "*": "?"}"#,
    r#"{"é𝄞": "ü \"quoted\" \\ \n"}"#,
    r#"{"a": 1, "a": {"b": 2}}"#,
    r#"{"a": "\ud800"}"#,
    r#"{"_id": 1, "_source": 2, "@timestamp": 3}"#,
    r#"{"type": {"type": "nested"}, "properties": {"a": 1}}"#,
];

/// Fields at the root that are not of their usual kind, or not known at all.
const ODD_ROOTS: [(&str, &str); 16] = [
    ("eventName", r#"{"name": "x"}"#),
    ("eventTime", r#""yesterday""#),
    ("eventTime", "1688989356"),
    ("readOnly", r#""maybe""#),
    ("readOnly", "[true]"),
    ("managementEvent", "0"),
    ("sourceIPAddress", "[]"),
    ("errorMessage", "17"),
    ("recipientAccountId", "123456789012"),
    ("sessionCredentialFromConsole", "true"),
    ("", "1"),
    ("a.b", "1"),
    ("_id", r#""mine""#),
    ("@timestamp", r#""now""#),
    ("requestParameters_text", "{}"),
    ("somethingNew", r#"{"a": [1, {"b": 2}]}"#),
];

/// A CloudTrail event that is to become a document.
pub(crate) struct TrailEvent {
    pub(crate) id: String,
    /// Its fields, each as it is written.
    pub(crate) fields: BTreeMap<String, Box<RawValue>>,
    /// As it is logged.
    pub(crate) message: String,
}

/// How many the facts have.
pub(crate) const EVENTS: usize = 2_900;

/// Those of the facts, or as many made-up ones; which it is, is said.
pub(crate) fn trail() -> Vec<TrailEvent> {
    let messages = match facts::read("cloudtrail/invictus.ndjson") {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) => {
            println!(
                "made-up events, for there are no facts (cloudtrail/invictus.ndjson: {error})"
            );
            made_up()
        }
    };
    let events: Vec<_> = messages.into_iter().map(TrailEvent::read).collect();
    let ids: BTreeSet<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), EVENTS);
    events
}

/// Messages of the benchmark's events.
fn made_up() -> Vec<String> {
    let mut maker = Maker::new(Shape::named("cloudtrail").unwrap());
    let messages = (0..).flat_map(|record| {
        let envelope: Value = serde_json::from_str(maker.envelope(record)).unwrap();
        let events = envelope["logEvents"].as_array().unwrap();
        events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    messages.take(EVENTS).collect()
}

/// Twins of `events`, with ids of their own: each shape once in each open-ended field, and each
/// odd field at the root.
pub(crate) fn twins(events: &[TrailEvent]) -> Vec<TrailEvent> {
    let large = large_shapes();
    let shapes: Vec<_> = SHAPES.into_iter().chain(large.iter().map(String::as_str)).collect();
    let open = OPEN.iter().flat_map(|field| shapes.iter().map(|shape| (*field, *shape)));
    let all = open.chain(ODD_ROOTS);
    let twins = events.iter().cycle().zip(all).enumerate();
    twins.map(|(number, (event, (field, json)))| event.twin(number, field, json)).collect()
}

/// Long texts, long names, many names, deep nesting, on both sides of the limits of engines.
fn large_shapes() -> Vec<String> {
    let long = "x".repeat(40 << 10);
    let nested = |open: &str, depth, inside: &str, close: &str| {
        format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
    };
    let wide: Vec<_> = (0..2_000).map(|n| format!("\"name-{n}\":{n}")).collect();
    let mut shapes = vec![
        format!("\"{long}\""),
        format!("{{\"a\":\"{long}\"}}"),
        format!("{{\"a\":[1,{{\"b\":\"{long}\"}}]}}"),
        format!("[\"{long}\",\"{long}\"]"),
        format!("{{\"{long}\":1}}"),
        format!("{{\"a\":\"{}\"}}", "é".repeat(20 << 10)),
        format!("{{{}}}", wide.join(",")),
        nested("[", 30, "1", "]"),
        nested("{\"a\":[", 15, "1", "]}"),
    ];
    shapes.extend([17, 18, 19, 20, 21, 30].map(|depth| nested("{\"a\":", depth, "1", "}")));
    let text = |length| format!("{{\"{}\":\"{}\"}}", "n".repeat(8_000), "y".repeat(length));
    shapes.extend([8_191, 8_192, 8_193, 24_767, 32_766].map(text));
    shapes
}

impl TrailEvent {
    fn read(message: String) -> Self {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&message).unwrap();
        let id = serde_json::from_str(fields["eventID"].get()).unwrap();
        Self { id, fields, message }
    }

    /// The same event, but for its id and one field.
    fn twin(&self, number: usize, field: &str, json: &str) -> Self {
        let raw = |json: String| RawValue::from_string(json).unwrap();
        let id = format!("7e570000-0000-4000-8000-{number:012}");
        let mut fields = self.fields.clone();
        fields.insert("eventID".to_owned(), raw(format!("\"{id}\"")));
        fields.insert(field.to_owned(), raw(json.to_owned()));
        let message = serde_json::to_string(&fields).unwrap();
        Self { id, fields, message }
    }
}

/// The events as CloudWatch Logs has them, from the one with this number on.
pub(crate) fn log_events(events: &[TrailEvent], first: usize, now: i64) -> Vec<LogEvent> {
    let numbered = (first..).zip(events);
    numbered.map(|(number, event)| LogEvent::new(number, now, &event.message)).collect()
}
