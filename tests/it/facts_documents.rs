//! Decoding and parsing real data: every field of every event must be in its document.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use logweir::decode::{Buffers, Decoded, LogEvent, Marks, decode};
use logweir::event::Timestamp;
use logweir::parse::{Field, FieldType, Kind, Parser, Source, Stamp, VpcFormat};
use serde_json::{Map, Value, json};

use crate::facts::fact;

const STAMP: Stamp = Stamp { timestamp: Timestamp(0), undated: false };
const OURS: [&str; 6] = ["@timestamp", "@id", "@owner", "@log_group", "@log_stream", "@aws.region"];

fn from(log_group: &str) -> Source<'_> {
    Source::new("o", log_group, "s", "us-east-1")
}

fn event(message: &str) -> LogEvent<'_> {
    LogEvent {
        id: "1".into(),
        timestamp: Some(Timestamp(0)),
        message: message.into(),
        marks: Marks::default(),
        extracted_fields: None,
    }
}

/// The document of an event without the fields that all documents have.
fn document(parser: &Parser, event: &LogEvent<'_>) -> Map<String, Value> {
    let mut out = Vec::new();
    parser.read(&from("g"), event).write(&from("g"), STAMP, &mut out);
    assert!(!out.contains(&b'\n'));
    let mut document: Map<String, Value> = serde_json::from_slice(&out).unwrap();
    for name in OURS {
        assert!(document.shift_remove(name).is_some(), "no {name}");
    }
    document
}

#[test]
fn every_flow_log_line_gives_the_document_written_down_for_it() {
    let Some(lines) = fact("vpcflow/vpcflow_lines.ndjson") else { return };
    let expected = include_str!("../samples/vpc_flow_expected.ndjson");
    assert_eq!(lines.lines().count(), expected.lines().count());
    for (number, (fact, expected)) in lines.lines().zip(expected.lines()).enumerate() {
        let fact: Value = serde_json::from_str(fact).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        let line = fact["line"].as_str().unwrap();
        let format: VpcFormat = fact["format"].as_str().unwrap().parse().unwrap();
        let parser = Parser::VpcFlow(format);
        let event = event(line);
        let parsed = parser.read(&from("g"), &event);
        let label = parsed.parse_error().map(|error| error.label());
        assert_eq!(label, expected["parse_error"].as_str(), "line {}", number + 1);
        let mut found = document(&parser, &event);
        if label.is_some() {
            found.shift_remove("@parse_error").unwrap();
            assert_eq!(found.shift_remove("message").unwrap(), line);
        }
        assert_eq!(Value::Object(found), expected["fields"], "line {}", number + 1);
    }
}

#[test]
fn every_cloudtrail_event_keeps_every_field_in_its_document() {
    let Some(events) = fact("cloudtrail/invictus.ndjson") else { return };
    let by_route = Parser::CloudTrail;
    let by_content: Parser = serde_json::from_value(json!("auto")).unwrap();
    let schema = by_route.schema();
    let schema: HashMap<_, _> = schema.fields.iter().map(|field| (&*field.name, field)).collect();
    let mut ids = HashMap::new();
    for message in events.lines() {
        let sent: Map<String, Value> = serde_json::from_str(message).unwrap();
        let event = event(message);
        let parsed = by_content.read(&from("g"), &event);
        assert_eq!(parsed.kind(), Kind::CloudTrail);
        let parsed = by_route.read(&from("g"), &event);
        assert_eq!(parsed.time().unwrap().to_string().replace(".000Z", "Z"), sent["eventTime"]);
        let id = parsed.document_id(&from("g")).into_owned();
        assert_eq!(id, sent["eventID"].as_str().unwrap());
        assert_eq!(ids.insert(id, ()), None, "an id twice");
        let found = document(&by_route, &event);
        assert_eq!(found, document(&by_content, &event));
        assert_kept(&sent, &found);
        assert_leaves(&sent, &found);
        for (name, value) in &found {
            let field = schema.get(name.as_str());
            assert!(field.is_some_and(|field| suits(field, value)), "{name}: {value}");
        }
    }
    assert_eq!(ids.len(), 2_900);
}

/// Every field as it was, or whole as text when it is an array.
fn assert_kept(sent: &Map<String, Value>, found: &Map<String, Value>) {
    for (name, value) in sent {
        if value.is_array() {
            let text = found[&format!("{name}_text")].as_str().unwrap();
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *value);
        } else {
            assert_eq!(found[name], *value, "{name}");
        }
    }
}

fn assert_leaves(sent: &Map<String, Value>, found: &Map<String, Value>) {
    let leaf = |name: &str| found.get(name).unwrap_or(&Value::Null);
    let identity = &sent["userIdentity"];
    assert_eq!(*leaf("user_identity_arn"), identity["arn"]);
    assert_eq!(*leaf("user_identity_type"), identity["type"]);
    assert_eq!(*leaf("user_identity_access_key_id"), identity["accessKeyId"]);
    assert_eq!(*leaf("session_issuer_arn"), identity["sessionContext"]["sessionIssuer"]["arn"]);
    let parameters = sent.get("requestParameters").unwrap_or(&Value::Null);
    assert_eq!(*leaf("request_bucket_name"), parameters["bucketName"]);
}

/// Whether an engine would take the value for the field's type.
fn suits(field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    match field.ty {
        FieldType::Keyword => value.is_string() || value.is_array(),
        FieldType::Text
        | FieldType::TextAndKeyword
        | FieldType::Kept
        | FieldType::Date
        | FieldType::Ip => value.is_string(),
        FieldType::Long | FieldType::Integer | FieldType::DateEpochSecond => value.is_u64(),
        FieldType::Boolean => value.is_boolean(),
        FieldType::Open => value.is_object(),
    }
}

/// What a record came to, short enough to write down: control messages, and of each envelope the
/// account, the log group and the kinds of its documents.
fn summary(decoded: &Decoded<'_>) -> Value {
    let auto: Parser = serde_json::from_value(json!("auto")).unwrap();
    let envelopes: Vec<_> = decoded
        .envelopes
        .iter()
        .map(|envelope| {
            let source = from(&envelope.log_group);
            let kinds = envelope.log_events.iter().map(|event| {
                let parsed = auto.read(&source, event);
                match parsed.parse_error() {
                    Some(error) => format!("plain, {}", error.label()),
                    None => parsed.kind().as_str().to_owned(),
                }
            });
            json!([envelope.owner, envelope.log_group, kinds.collect::<Vec<_>>()])
        })
        .collect();
    json!([decoded.control_messages, envelopes])
}

#[test]
fn every_envelope_gives_the_result_written_down_for_it() {
    let lambda = json!([0, [["123456789123", "testLogGroup", ["plain", "plain"]]]]);
    let control = json!([1, []]);
    let plain = |count| vec!["plain"; count];
    let cases = [
        (
            "account_level_policy.json",
            json!([0, [["111111111111", "CloudTrail/logs", ["plain, not_json"]]]]),
        ),
        ("control_message_firehose.json", control.clone()),
        ("control_message_kinesis.json", control.clone()),
        ("extracted_fields_both.json", json!([0, [["123456789012", "test-log-group", plain(1)]]])),
        (
            "extracted_fields_two_accounts.json",
            json!([0, [["123456789012", "test-log-group", plain(2)]]]),
        ),
        ("go_java_rust_lambda_event.decoded.json", lambda.clone()),
        (
            "multiple_concatenated_objects.txt",
            json!([
                0,
                [
                    ["123456789012", "/my/first/log/group", plain(1)],
                    ["123456789012", "/my/second/log/group", plain(1)]
                ]
            ]),
        ),
        ("tgw.json", json!([0, [["123456789012", "/aws/tgw/flowlogs", ["plain, token_count"]]]])),
        (
            "vpc_custom_format.json",
            json!([
                0,
                [[
                    "123456789012",
                    "/aws/vpc/flowlogs",
                    ["plain, token_count", "plain, token_count"]
                ]]
            ]),
        ),
    ];
    for (file, expected) in cases {
        let Some(text) = fact(&format!("cwl_envelopes/{file}")) else { return };
        let mut buffers = Buffers::default();
        let decoded = decode(text.as_bytes(), 1 << 20, &mut buffers).unwrap();
        assert_eq!(summary(&decoded), expected, "{file}");
    }
    let wrapped = [
        ("go_java_rust_lambda_event.awslogs.json", "/awslogs/data", lambda),
        ("control_message_real_gz_b64.json", "/data_b64", control),
    ];
    for (file, path, expected) in wrapped {
        let Some(text) = fact(&format!("cwl_envelopes/{file}")) else { return };
        let mut buffers = Buffers::default();
        let undecodable = decode(text.as_bytes(), 1 << 20, &mut buffers).unwrap_err();
        assert_eq!(undecodable.label(), "envelope", "a wrapper is no envelope");
        let wrapper: Value = serde_json::from_str(&text).unwrap();
        let payload = BASE64_STANDARD.decode(wrapper.pointer(path).unwrap().as_str().unwrap());
        let decoded = decode(&payload.unwrap(), 1 << 20, &mut buffers).unwrap();
        assert_eq!(summary(&decoded), expected, "{file}");
    }
}

#[test]
fn a_flow_log_in_an_envelope_parses_by_the_format_of_its_route() {
    let cases = [
        ("vpc_custom_format.json", "version interface-id srcaddr dstaddr", 2),
        (
            "tgw.json",
            "version account-id tgw-id tgw-attachment-id tgw-src-vpc-id tgw-dst-vpc-id \
             tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni tgw-src-az-id \
             tgw-dst-az-id tgw-pair-attachment-id srcaddr dstaddr srcport dstport protocol \
             packets bytes start end log-status type tcp-flags flow-direction region",
            1,
        ),
    ];
    for (file, format, count) in cases {
        let Some(text) = fact(&format!("cwl_envelopes/{file}")) else { return };
        let mut buffers = Buffers::default();
        let decoded = decode(text.as_bytes(), 1 << 20, &mut buffers).unwrap();
        let parser = Parser::VpcFlow(format.parse().unwrap());
        let events = &decoded.envelopes[0].log_events;
        assert_eq!(events.len(), count);
        for event in events {
            let document = document(&parser, event);
            let protocol = document.contains_key("protocol_name");
            let fields = document.len() - usize::from(protocol);
            assert_eq!(fields, format.split_whitespace().count(), "{file}: {document:?}");
        }
    }
}

#[test]
fn extracted_fields_are_kept_in_the_document() {
    let Some(text) = fact("cwl_envelopes/extracted_fields_two_accounts.json") else { return };
    let mut buffers = Buffers::default();
    let decoded = decode(text.as_bytes(), 1 << 20, &mut buffers).unwrap();
    let accounts = decoded.envelopes[0].log_events.iter().map(|event| {
        let document = document(&Parser::Plain, event);
        document["@extracted"]["@aws.account"].as_str().unwrap().to_owned()
    });
    assert_eq!(accounts.collect::<Vec<_>>(), ["111111111111", "222222222222"]);
}
