//! What parsing promises: every event becomes one good document, and nothing of it is lost.

use std::borrow::Cow;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::same::same;
use super::object::Object;
use super::*;
use crate::decode::Marks;

/// One written-down sample: an event, how it is parsed, and the document it must become.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    parse: Parser,
    #[serde(default)]
    group: Option<String>,
    message: Value,
    #[serde(default)]
    extracted: Option<Box<RawValue>>,
    kind: String,
    #[serde(default)]
    time: Option<i64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    as_text: u32,
    document: Value,
}

const CWL_ID: &str = "38480917865042697267627490045603633139480491071049695232";

mod adversarial;
pub(in crate::parse) mod made_up;
mod same;

fn source() -> Source<'static> {
    from("group")
}

fn from(log_group: &str) -> Source<'_> {
    Source::new("111122223333", log_group, "stream", "eu-central-1")
}

fn event<'a>(message: &'a str, extracted_fields: Option<&'a RawValue>) -> LogEvent<'a> {
    LogEvent {
        id: Cow::Borrowed(CWL_ID),
        timestamp: Some(Timestamp(1_700_000_000_123)),
        message: Cow::Borrowed(message),
        marks: Marks::default(),
        extracted_fields,
    }
}

fn write(parser: &Parser, message: &str) -> (String, Written) {
    let event = event(message, None);
    let stamp = Stamp { timestamp: Timestamp(1_700_000_000_123), undated: false };
    let mut out = Vec::new();
    let written = parser.read(&source(), &event).write(&source(), stamp, &mut out);
    (String::from_utf8(out).unwrap(), written)
}

fn parser(toml: &str) -> Parser {
    #[derive(Deserialize)]
    struct Route {
        parse: Parser,
    }
    toml::from_str::<Route>(toml).unwrap().parse
}

/// Every name of an object, the same one twice included, and the raw values.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> serde::de::Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// Fails unless `json` is valid, on one line, and has no name twice in any object.
fn assert_good(json: &str) {
    assert!(!json.contains(['\n', '\r']), "on several lines: {json}");
    assert_values_good(json);
}

fn assert_values_good(json: &str) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(json).expect(json);
            let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name twice: {json}");
            pairs.iter().for_each(|(_, value)| assert_values_good(value.get()));
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).expect(json);
            elements.iter().for_each(|element| assert_values_good(element.get()));
        }
        Some(b'"') => drop(serde_json::from_str::<String>(json).expect(json)),
        Some(_) | None => drop(serde_json::from_str::<&RawValue>(json).expect(json)),
    }
}

/// Fails unless every field of `message` is in the document: as it came, as text, or among others.
fn assert_nothing_lost(message: &str, document: &str) {
    let message = Object::read(message).unwrap();
    let document = Object::read(document).unwrap();
    let text = |name: &str| -> Option<String> {
        document.get(name).map(|value| serde_json::from_str(value.get()).unwrap())
    };
    let others = text("@other_text").unwrap_or_else(|| "{}".to_owned());
    let others = Object::read(&others).unwrap();
    for (name, value) in message.iter() {
        let as_it_came = document.get(name).is_some_and(|own| same(own.get(), value.get()));
        let as_text = text(&format!("{name}_text")).is_some_and(|text| text == value.get());
        let among_others = others.get(name).is_some_and(|other| other.get() == value.get());
        assert!(as_it_came || as_text || among_others, "{name:?} with {value} is lost");
    }
}

/// Fails unless two objects have the same fields in the same order.
fn assert_same_fields(one: &str, other: &str) {
    let (one, other) = (Object::read(one).unwrap(), Object::read(other).unwrap());
    assert!(one.iter().map(|(name, _)| name).eq(other.iter().map(|(name, _)| name)));
    for ((_, one), (_, other)) in one.iter().zip(other.iter()) {
        assert!(same(other.get(), one.get()), "{one} became {other}");
    }
}

#[test]
fn every_sample_becomes_the_document_written_down_for_it() {
    let samples = include_str!("../../tests/samples/documents.ndjson");
    for line in samples.lines() {
        let sample: Sample = serde_json::from_str(line).expect(line);
        let name = &sample.name;
        let object = || sample.message.to_string();
        let message = sample.message.as_str().map_or_else(object, str::to_owned);
        let source = from(sample.group.as_deref().unwrap_or("group"));
        let event = event(&message, sample.extracted.as_deref());
        let parsed = sample.parse.read(&source, &event);
        assert_eq!(parsed.kind().as_str(), sample.kind, "{name}");
        let time = sample.time.unwrap_or(1_700_000_000_123);
        assert_eq!(parsed.time(), Some(Timestamp(time)), "{name}");
        let id = parsed.document_id(&source);
        assert_eq!(id, sample.id.as_deref().unwrap_or(CWL_ID), "{name}");
        let mut out = Vec::new();
        let stamp = Stamp { timestamp: Timestamp(time), undated: false };
        let written = parsed.write(&source, stamp, &mut out);
        let document = String::from_utf8(out).unwrap();
        assert_good(&document);
        assert_eq!(written.fields_as_text, sample.as_text, "{name}: {document}");
        let mut found: Value = serde_json::from_str(&document).unwrap();
        let fields = found.as_object_mut().unwrap();
        let ours = ["@id", "@owner", "@log_group", "@log_stream", "@aws.region", "@timestamp"];
        for our in ours {
            assert!(fields.remove(our).is_some(), "{name} has no {our}");
        }
        assert_eq!(found, sample.document, "{name}");
    }
}

#[test]
fn a_document_begins_with_where_and_when_it_comes_from() {
    let (document, _) = write(&Parser::Plain, "line \"one\"\nline two");
    let expected = format!(
        "{{\"@timestamp\":\"2023-11-14T22:13:20.123Z\",\"@id\":\"{CWL_ID}\",\
         \"@owner\":\"111122223333\",\"@log_group\":\"group\",\"@log_stream\":\"stream\",\
         \"@aws.region\":\"eu-central-1\",\"message\":\"line \\\"one\\\"\\nline two\"}}"
    );
    assert_eq!(document, expected);
}

#[test]
fn an_undated_event_keeps_the_time_as_it_came() {
    let undated = Stamp { timestamp: Timestamp(0), undated: true };
    let mut out = Vec::new();
    let mut plain = event("m", None);
    plain.timestamp = Some(Timestamp(-5));
    Parser::Plain.read(&source(), &plain).write(&source(), undated, &mut out);
    let trail = event(r#"{"eventVersion":"1","eventTime":"1999-01-01T00:00:00Z"}"#, None);
    Parser::CloudTrail.read(&source(), &trail).write(&source(), undated, &mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(r#""@original_time":"-5","message":"m""#), "{out}");
    assert!(out.contains(r#""@original_time":"1999-01-01T00:00:00Z","eventVersion""#), "{out}");
    assert!(out.contains(r#"{"@timestamp":"1970-01-01T00:00:00.000Z""#), "{out}");
}

#[test]
fn the_hashed_id_depends_on_every_part_and_on_where_parts_end() {
    let base = ("o", "g", "s", Some(1), "id", "m");
    let hash = |(owner, log_group, log_stream, time, id, message): (_, _, _, Option<i64>, _, _)| {
        let source = Source::new(owner, log_group, log_stream, "r");
        let event = LogEvent {
            id: Cow::Borrowed(id),
            timestamp: time.map(Timestamp),
            message: Cow::Borrowed(message),
            marks: Marks::default(),
            extracted_fields: None,
        };
        Parser::Plain.read(&source, &event).document_id(&source).into_owned()
    };
    let all = [
        base,
        ("", "og", "s", Some(1), "id", "m"),
        ("og", "", "s", Some(1), "id", "m"),
        ("o", "g", "s", None, "id", "m"),
        ("o", "g", "s", Some(2), "id", "m"),
        ("o", "g", "s", Some(1), "i", "dm"),
        ("o", "g", "s", Some(1), "", "m"),
        ("o", "g", "s", Some(1), CWL_ID.split_at(49).0, "m"),
    ];
    let mut ids: Vec<_> = all.into_iter().map(hash).collect();
    assert_eq!(hash(base), "2e5391d235ac80e83f3a0b8631998892e894ff6f", "changing it doubles data");
    assert!(ids.iter().all(|id| id.len() == 40 && id.is_ascii()));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
    assert_eq!(hash(("o", "g", "s", Some(1), CWL_ID, "m")), CWL_ID);
    assert_eq!(hash(("o", "g", "s", Some(1), CWL_ID.split_at(50).0, "m")), CWL_ID.split_at(50).0);
}

#[test]
fn an_event_that_does_not_parse_is_plain_and_says_why() {
    let cases = [
        (Parser::CloudTrail, "{\"eventVersion\":", "not_json"),
        (Parser::CloudTrail, "[]", "not_an_object"),
        (Parser::CloudTrail, "{\"a\":1}", "not_cloudtrail"),
        (parser("parse = 'json'"), "INFO {\"a\":1}", "not_json"),
        (parser("parse = 'json'"), "1", "not_an_object"),
        (parser("parse.vpc_flow = 'version'"), "2 3", "token_count"),
        (parser("parse.vpc_flow = 'version'"), "two", "not_a_number"),
        (parser("parse.vpc_flow = 'version'"), "99999999999", "out_of_range"),
        (parser("parse.vpc_flow = 'srcaddr'"), "1.2.3", "not_an_address"),
    ];
    for (parser, message, label) in cases {
        let event = event(message, None);
        let parsed = parser.read(&source(), &event);
        assert_eq!((parsed.kind(), parsed.parse_error().unwrap().label()), (Kind::Plain, label));
        assert!(ParseError::LABELS.contains(&label), "{label}");
        let (document, _) = write(&parser, message);
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["message"], message);
        assert!(document["@parse_error"].as_str().unwrap().starts_with(&format!("{label}: ")));
    }
}

#[test]
fn a_schema_has_every_name_once_and_auto_has_the_types_of_all_kinds() {
    let auto = parser("parse = 'auto'").schema();
    for kind in ["cloudtrail", "vpc_flow", "json", "plain"] {
        let schema = parser(&format!("parse = '{kind}'")).schema();
        let mut names: Vec<_> = schema.fields.iter().map(|field| &field.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{kind}: {names:?}");
        for field in &schema.fields {
            assert_eq!(auto.field(&field.name), Some(field), "{kind} and auto disagree");
        }
    }
    // With a sub-field for each, an index stays far below 1,000 fields.
    assert!(auto.fields.len() < 200, "{} fields", auto.fields.len());
    let own = parser("parse.json = { lift = ['a.b'], own_fields = true }").schema();
    assert!(own.dynamic && !auto.dynamic && own.field("log").is_none());
    assert_eq!(own.field("a.b").unwrap().ty, FieldType::Keyword);
}

#[test]
fn huge_and_deep_messages_are_documents_too() {
    let deep =
        format!("{{\"eventName\":\"x\",\"a\":{}{}}}", "[".repeat(99_999), "]".repeat(99_999));
    let wide: Vec<_> = (0..20_000).map(|n| format!("\"k{}\":{n}", n % 19_999)).collect();
    let wide = format!("{{\"eventName\":\"x\",{}}}", wide.join(","));
    let twice = format!("{}0{}", "{\"a\":0,\"a\":".repeat(50_000), "}".repeat(50_000));
    for message in [&deep, &wide, &twice] {
        for parser in parsers().into_iter().chain([Parser::Lambda]) {
            let (document, _) = write(&parser, message);
            assert!(serde_json::from_str::<&RawValue>(&document).is_ok());
        }
    }
}

fn parsers() -> Vec<Parser> {
    [
        "parse = 'cloudtrail'",
        "parse = 'vpc_flow'",
        "parse.vpc_flow = 'version srcaddr bytes start type'",
        "parse = 'json'",
        "parse.json = { lift = ['x', 'a.b', 'eventName'] }",
        "parse.json = { own_fields = true }",
        "parse.json = { own_fields = true, lift = ['x', 'a.b', 'userIdentity.arn'] }",
        "parse = 'plain'",
        "parse = 'auto'",
    ]
    .map(parser)
    .to_vec()
}

/// Names that something depends on, and names that engines refuse.
fn a_name() -> impl Strategy<Value = String> {
    let known = [
        "a",
        "b",
        "x",
        "x_text",
        "a.b",
        "",
        ".",
        "_id",
        "_text",
        "log",
        "log_text",
        "message",
        "message_text",
        "@timestamp",
        "@id",
        "@aws",
        "@aws.region",
        "@extracted",
        "@other_text",
        "@parse_error",
        "eventName",
        "eventName_text",
        "eventTime",
        "eventID",
        "eventVersion",
        "readOnly",
        "userIdentity",
        "userIdentity_text",
        "userIdentity.arn",
        "arn",
        "source_ip",
        "sourceIPAddress",
        "user_identity_arn",
        "resources",
        "resources_arn",
        "ARN",
        " ",
        "\\u0000",
        "\\u0061",
        "sessionContext",
        "sessionIssuer",
        "requestParameters",
        "instanceId",
    ];
    prop_oneof![8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[a-zé\\.@_]{0,3}"]
}

/// JSON text of every sort, valid but not always nice.
fn a_value() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let scalars = [
        "null",
        "true",
        "0",
        "-0",
        "1e400",
        "12345678901234567890123",
        "0.10",
        "\"\\ud800\"",
        "\"1.2.3.4\"",
        "\"2023-07-10T11:42:36Z\"",
        "\"293ba626-3be5-4a26-ab1b-0f4c54f49959\"",
        "\"\\n\\u0000\\\"\"",
        "{}",
        "[]",
    ];
    let long = (8190_usize..8195).prop_map(|length| format!("\"{}\"", "y".repeat(length)));
    let leaf = prop_oneof![8 => proptest::sample::select(scalars.to_vec()).prop_map(str::to_owned),
        2 => text, 1 => long];
    leaf.prop_recursive(5, 30, 5, |inner| {
        let elements = proptest::collection::vec(inner.clone(), 0..4);
        let array = elements.prop_map(|elements| format!("[{}]", elements.join(" ,\n")));
        prop_oneof![array, an_object(inner)]
    })
}

fn an_object(values: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec((a_name(), values), 0..8).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(k, v)| format!("\"{k}\" :\t{v}")).collect();
        format!("{{ {} }}", fields.join(","))
    })
}

proptest! {
    // What fails is written down as a sample, not as a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_message_becomes_one_good_document(message in any::<String>()) {
        for parser in parsers().into_iter().chain([Parser::Lambda]) {
            assert_good(&write(&parser, &message).0);
        }
    }

    #[test]
    fn any_object_becomes_one_good_document_and_nothing_of_it_is_lost(message in an_object(a_value())) {
        for parser in parsers() {
            let (document, written) = write(&parser, &message);
            assert_good(&document);
            let event = event(&message, None);
            match (parser.read(&source(), &event).content, &parser) {
                (Content::Plain(_), _) => {
                    let plain: Value = serde_json::from_str(&document).unwrap();
                    prop_assert_eq!(plain["message"].as_str(), Some(message.as_str()));
                }
                (Content::Json(_), Parser::Json(options)) if *options != JsonOptions::default()
                    && parser.schema().dynamic => assert_nothing_lost(&message, &document),
                (Content::Json(_), _) => {
                    let wrapped = Object::read(&document).unwrap();
                    match wrapped.get("log") {
                        Some(log) => assert_same_fields(&message, log.get()),
                        None => prop_assert_eq!(written.fields_as_text, 1),
                    }
                }
                (Content::CloudTrail(_) | Content::VpcFlow(_) | Content::Lambda, _) => {
                    assert_nothing_lost(&message, &document);
                }
            }
        }
    }

    #[test]
    fn any_cloudtrail_event_is_recognised_by_its_content(
        fields in an_object(a_value()), extracted in a_value()
    ) {
        let message = format!(
            "{{\"eventVersion\":\"1.11\",\"eventTime\":\"2023-07-10T11:42:36Z\",\
             \"eventID\":\"293ba626-3be5-4a26-ab1b-0f4c54f49959\",\"more\":{fields}}}"
        );
        let extracted = RawValue::from_string(extracted).unwrap();
        let parser = parser("parse = 'auto'");
        let event = event(&message, Some(&extracted));
        let parsed = parser.read(&source(), &event);
        prop_assert_eq!(parsed.kind(), Kind::CloudTrail);
        let mut out = Vec::new();
        let stamp = Stamp { timestamp: Timestamp(0), undated: false };
        parsed.write(&source(), stamp, &mut out);
        assert_good(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_line_that_fits_its_format_keeps_every_token(
        version in any::<u16>(), bytes in 0..=i64::MAX, address in any::<std::net::IpAddr>(),
        name in "[!-~]{1,9}", spaces in " {1,3}"
    ) {
        let line = format!("{version}{spaces}{address} 00{bytes} - {name}");
        let (document, _) = write(&parser("parse.vpc_flow = 'version srcaddr bytes start type'"), &line);
        assert_good(&document);
        let document: Value = serde_json::from_str(&document).unwrap();
        prop_assert_eq!(&document["version"], version);
        prop_assert_eq!(document["srcaddr"].as_str().unwrap(), address.to_string());
        prop_assert_eq!(&document["bytes"], bytes);
        prop_assert!(document.get("start").is_none());
        prop_assert_eq!(document.get("type").and_then(Value::as_str), Some(name.as_str()).filter(|name| *name != "-"));
    }
}
