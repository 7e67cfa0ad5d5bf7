//! The documents of the Lambda that the AWS console makes for people who send a log group to
//! OpenSearch: whoever leaves it keeps dashboards and queries.
//!
//! Six keys are set last and so win: `@id`, `@timestamp`, `@message`, `@owner`, `@log_group`,
//! `@log_stream`. The rest is either one or the other:
//!
//! * Where the subscription filter extracted fields (an empty object counts), these: text that is a
//!   number to JavaScript as that number, empty text not at all, other text as it is; and where JSON
//!   goes from the first `{` of a text to its end, that besides, under `$` and the field's name.
//! * Else, where JSON goes from the first `{` of the message to its end, that object's fields.
//!
//! Values are equal as JSON, numbers as doubles. Where the Lambda loses an event, we do not:
//!
//! * It throws, and with it fails its whole batch, on an extracted field called `hasOwnProperty`, on
//!   one that is no text but an object or `true`, and on a time that is no date. Here such a field is
//!   written as it is, and an impossible time goes to the index for those, with `@original_time`.
//! * What engines refuse whatever the mapping goes, whole, as JSON text into `@other_text`, and is
//!   counted: names that are empty (or have an empty part between dots), an engine's own such as
//!   `_id`, one inside a key of ours such as `@id.x`; values nested more than 18 deep; names with half
//!   of a surrogate pair, which at the root put the whole object aside. So do a message's own
//!   `@other_text` and `@original_time`. (`_HOSTNAME` and its like stay where they are.)
//! * An id that came as a number is rounded there; here it keeps its digits. The document id is that
//!   id where it looks like one, else our hash, so that sending twice makes no second document.
//!
//! A field whose type differs from one event to the next is refused here as there, and is then a
//! dead letter that can be sent again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::decode::{LogEvent, Text};

use super::document::Document;
use super::javascript;
use super::object::Object;
use super::schema::{FieldType, Schema};
use super::structural::is_path;

/// What the Lambda sets, whatever the message has.
const KEYS: [&str; 6] = ["@id", "@timestamp", "@message", "@owner", "@log_group", "@log_stream"];

/// What only we write, and only when there is cause.
const OURS: [&str; 2] = ["@original_time", "@other_text"];

/// The root names that one engine or another keeps for itself: what OpenSearch 3.8 was seen to
/// refuse, and Elasticsearch's metadata fields. Other names may begin with `_`.
const OF_ENGINES: [&str; 21] = [
    "_data_stream_timestamp",
    "_doc_count",
    "_feature",
    "_field_names",
    "_id",
    "_ignored",
    "_ignored_source",
    "_index",
    "_index_mode",
    "_inference_fields",
    "_nested_path",
    "_primary_term",
    "_routing",
    "_seq_no",
    "_size",
    "_source",
    "_tier",
    "_ts_routing_hash",
    "_tsid",
    "_type",
    "_version",
];

/// The keys have types of their own; all else is mapped as it comes, as it was for the Lambda.
pub(super) fn schema() -> Schema {
    let mut schema = Schema::open();
    schema.add("@timestamp", FieldType::Date);
    for name in ["@id", "@owner", "@log_group", "@log_stream", "@original_time"] {
        schema.add(name, FieldType::Keyword);
    }
    schema.add("@message", FieldType::TextAndKeyword);
    schema.add("@other_text", FieldType::Kept);
    schema
}

/// Writes all that `document` does not have yet.
pub(super) fn write(event: &LogEvent<'_>, document: &mut Document<'_>) {
    document.text("@message", &event.message);
    match event.extracted_fields.filter(|fields| is_truthy(fields)) {
        Some(fields) => write_extracted(fields, document),
        None => write_object(&event.message, document),
    }
}

fn write_object(message: &str, document: &mut Document<'_>) {
    let Some(json) = json_in(message) else { return };
    match Object::of(json) {
        Some(object) => {
            for (name, value) in object.iter() {
                write_value(name, value, document);
            }
        }
        None => document.other("@message", json),
    }
}

fn write_value(name: &str, value: &RawValue, document: &mut Document<'_>) {
    if KEYS.contains(&name) {
        return;
    }
    if may_be_at_root(name) {
        document.javascript(name, value);
    } else {
        document.other(name, value);
    }
}

fn may_be_at_root(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let taken = [&KEYS[..], &OURS, &OF_ENGINES].into_iter().flatten();
    is_path(name) && !taken.into_iter().any(|taken| *taken == first)
}

/// A value that is set, and the number that is set in its place where its text is one.
type Extracted<'a> = (Cow<'a, RawValue>, Option<f64>);

fn write_extracted(fields: &RawValue, document: &mut Document<'_>) {
    // CloudWatch Logs sends an object of texts, or nothing.
    let Some(object) = Object::of(fields) else {
        return document.other("extractedFields", fields);
    };
    for (name, (value, number)) in extracted(&object) {
        match number {
            Some(number) if may_be_at_root(&name) => document.number(&name, number),
            Some(_) | None => write_value(&name, &value, document),
        }
    }
}

/// Each name once, with the last value that the Lambda sets: it goes through the names as
/// JavaScript does, and `$a` may be a field's own name as well as made from `a`.
fn extracted<'a>(object: &'a Object<'a>) -> BTreeMap<Cow<'a, str>, Extracted<'a>> {
    let mut all = BTreeMap::new();
    let (indices, names): (Vec<_>, Vec<_>) = object.iter().partition(|(name, _)| is_index(name));
    for (name, raw) in indices.into_iter().chain(names).filter(|(_, raw)| is_truthy(raw)) {
        let text = serde_json::from_str(raw.get()).ok().map(|Text(text)| text);
        let number = text.as_deref().and_then(javascript::number);
        if number.is_none()
            && let Some(json) = text.as_deref().and_then(json_in)
        {
            let json = Cow::Owned(json.to_owned());
            _ = all.insert(Cow::Owned(format!("${name}")), (json, None));
        }
        // Setting this name adds no field to an object of JavaScript's.
        if name != "__proto__" {
            _ = all.insert(Cow::Borrowed(name), (Cow::Borrowed(raw), number));
        }
    }
    all
}

/// The object that goes from the first brace to the end, if it is one.
fn json_in(text: &str) -> Option<&RawValue> {
    let (_, json) = text.split_at_checked(text.find('{')?)?;
    serde_json::from_str(json).ok()
}

/// What JavaScript takes for true.
fn is_truthy(raw: &RawValue) -> bool {
    match raw.get() {
        "null" | "false" | "\"\"" => false,
        json => json.parse() != Ok(0.0),
    }
}

/// The names that JavaScript goes through first.
fn is_index(name: &str) -> bool {
    let index = name.parse::<u32>().ok().filter(|index| *index < u32::MAX);
    index.is_some_and(|index| index.to_string() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::Value;

    use crate::event::Timestamp;

    use super::super::{Parser, Source, Stamp};
    use super::*;

    fn source() -> Source<'static> {
        Source::new("111122223333", "group", "stream", "eu-central-1")
    }
    const STAMP: Stamp = Stamp { timestamp: Timestamp(1_700_000_000_123), undated: false };

    /// A message, perhaps with extracted fields, and what the document has besides the six keys.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        message: String,
        #[serde(default)]
        extracted: Option<Box<RawValue>>,
        fields: Value,
        /// What `@other_text` has, as it came.
        #[serde(default)]
        others: HashMap<String, String>,
    }

    fn written(message: &str, extracted_fields: Option<&RawValue>, stamp: Stamp) -> (String, u32) {
        let (id, message) = (Cow::Borrowed("38123"), Cow::Borrowed(message));
        let timestamp = Some(Timestamp(1_700_000_000_123));
        let event = LogEvent { id, timestamp, message, extracted_fields, ..LogEvent::default() };
        let mut out = Vec::new();
        let written = Parser::Lambda.read(&source(), &event).write(&source(), stamp, &mut out);
        (String::from_utf8(out).unwrap(), written.fields_as_text)
    }

    /// All numbers as doubles.
    fn doubles(value: &Value) -> Value {
        match value {
            Value::Number(number) => Value::from(number.as_f64().unwrap()),
            Value::Array(all) => all.iter().map(doubles).collect(),
            Value::Object(all) => Value::Object(
                all.iter().map(|(name, value)| (name.clone(), doubles(value))).collect(),
            ),
            Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        }
    }

    #[test]
    fn every_sample_becomes_the_document_that_the_lambda_makes() {
        for line in include_str!("../../tests/samples/lambda_documents.ndjson").lines() {
            let sample: Sample = serde_json::from_str(line).expect(line);
            let (document, as_text) = written(&sample.message, sample.extracted.as_deref(), STAMP);
            let mut found: Value = serde_json::from_str(&document).unwrap();
            let found = found.as_object_mut().unwrap();
            for (name, expected) in [
                ("@id", "38123"),
                ("@timestamp", "2023-11-14T22:13:20.123Z"),
                ("@message", &sample.message),
                ("@owner", "111122223333"),
                ("@log_group", "group"),
                ("@log_stream", "stream"),
            ] {
                assert_eq!(found.remove(name), Some(expected.into()), "{name}: {document}");
            }
            let others = found.remove("@other_text").unwrap_or_else(|| "{}".into());
            let others: HashMap<String, Box<RawValue>> =
                serde_json::from_str(others.as_str().unwrap()).unwrap();
            let others: HashMap<_, _> =
                others.into_iter().map(|(name, raw)| (name, raw.get().to_owned())).collect();
            assert_eq!(others, sample.others, "{line}");
            assert_eq!(as_text as usize, sample.others.len(), "{line}");
            assert_eq!(doubles(&Value::Object(found.clone())), doubles(&sample.fields), "{line}");
        }
    }

    #[test]
    fn a_document_has_the_six_keys_then_the_fields_and_nothing_of_ours() {
        let (document, _) = written("x {\"b\": 1.0 }", None, STAMP);
        let expected = "{\"@timestamp\":\"2023-11-14T22:13:20.123Z\",\"@id\":\"38123\",\
            \"@owner\":\"111122223333\",\"@log_group\":\"group\",\"@log_stream\":\"stream\",\
            \"@message\":\"x {\\\"b\\\": 1.0 }\",\"b\":1.0}";
        assert_eq!(document, expected);
    }

    #[test]
    fn an_impossible_time_is_kept_and_a_message_cannot_stand_in_for_it() {
        let message = r#"{"@original_time":{"a":1}}"#;
        let undated = Stamp { timestamp: Timestamp(0), undated: true };
        let (document, as_text) = written(message, None, undated);
        assert!(document.contains(r#""@original_time":"1700000000123","@message""#), "{document}");
        assert!(document.contains(r#""@other_text":"{\"@original_time\""#), "{document}");
        assert_eq!(as_text, 1);
    }

    #[test]
    fn all_but_our_own_keys_is_mapped_as_it_comes() {
        let schema = Parser::Lambda.schema();
        assert!(schema.dynamic);
        let names: Vec<_> = schema.fields.iter().map(|field| field.name.as_ref()).collect();
        assert!(KEYS.iter().chain(&OURS).all(|name| names.contains(name)));
        assert_eq!(names.len(), KEYS.len() + OURS.len(), "{names:?}");
        assert!(names.iter().all(|name| !may_be_at_root(name)));
    }
}
