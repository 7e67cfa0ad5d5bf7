//! Parsing: any message becomes one good document, and nothing of it is lost.

use std::net::IpAddr;
use std::sync::LazyLock;

use logweir::parse::{Auto, FieldType, JsonOptions, Kind, Parser, VpcFormat};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Choices;
use super::document::{Event, assert_nothing_lost, pairs, same, text_of, try_pairs};

/// The longest text that an engine makes a term of.
const LONGEST_TERM: usize = 8 * 1024;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// Events of a route for CloudTrail.
pub(crate) fn cloudtrail(data: &[u8]) {
    let event = Event::new(data);
    if let (Kind::CloudTrail, document) = event.written(&Parser::CloudTrail) {
        assert_nothing_lost(&event.message, &document);
    }
}

/// JSON: under `log`, with fields lifted, and with fields of its own.
pub(crate) fn json(data: &[u8]) {
    let event = Event::new(data);
    let lift = ["x", "a.b", "eventName"].map(str::to_owned);
    for (lift, own_fields) in [(&[][..], false), (&lift[..], false), (&[], true), (&lift, true)] {
        let options = JsonOptions::new(lift, own_fields).unwrap();
        let (kind, document) = event.written(&Parser::Json(options));
        assert_eq!(kind == Kind::Json, try_pairs(&event.message).is_some());
        match kind {
            Kind::Json if own_fields => assert_nothing_lost(&event.message, &document),
            Kind::Json => assert_under_log(&event.message, &document),
            Kind::Plain => {}
            Kind::CloudTrail | Kind::VpcFlow | Kind::Lambda => panic!("JSON became {kind:?}"),
        }
    }
}

/// Whatever a log group sends.
pub(crate) fn auto(data: &[u8]) {
    let event = Event::new(data);
    let (kind, document) = event.written(&Parser::Auto(Auto::default()));
    match kind {
        Kind::CloudTrail => assert_nothing_lost(&event.message, &document),
        Kind::Json => assert_under_log(&event.message, &document),
        Kind::VpcFlow | Kind::Plain => {}
        Kind::Lambda => panic!("`auto` never makes what the Lambda makes"),
    }
}

/// Fails unless the object is under `log`, or its text under `log_text`.
fn assert_under_log(message: &str, document: &str) {
    let document = pairs(document);
    let value = |name| document.iter().find(|(own, _)| own == name).map(|(_, value)| value.get());
    match (value("log"), value("log_text")) {
        (Some(log), None) => {
            let (log, message) = (pairs(log), pairs(message));
            assert_eq!(log.len(), message.len());
            for ((name, value), (expected, json)) in log.iter().zip(&message) {
                assert_eq!(name, expected);
                assert!(same(value.get(), json.get()), "{json} became {value}");
            }
        }
        (None, Some(text)) => {
            assert_eq!(serde_json::from_str::<String>(text).unwrap(), message);
        }
        both => panic!("log and log_text are {both:?}"),
    }
}

/// What the AWS console's Lambda makes of an event, as far as that is easily said.
pub(crate) fn lambda(data: &[u8]) {
    const KEYS: [&str; 6] =
        ["@id", "@timestamp", "@message", "@owner", "@log_group", "@log_stream"];
    let event = Event::new(data);
    let (kind, document) = event.written(&Parser::Lambda);
    assert_eq!(kind, Kind::Lambda);
    let inside = event.message.find('{').and_then(|at| event.message.get(at..));
    let object = inside.and_then(try_pairs).map(|pairs| by_name(&pairs));
    let (Some(object), None) = (object, &event.extracted) else { return };
    let document = pairs(&document);
    let others = document.iter().find(|(name, _)| name == "@other_text");
    let others = others.map_or_else(|| "{}".to_owned(), |(_, text)| text_of(text).unwrap());
    let (document, others) = (by_name(&document), by_name(&pairs(&others)));
    for (name, value) in object.iter().filter(|(name, _)| !KEYS.contains(&name.as_str())) {
        let found = others.get(name).or_else(|| document.get(name));
        assert_eq!(found, Some(value), "{name:?}");
    }
}

/// The fields as JavaScript has them, of equal names the last.
fn by_name(pairs: &[(String, &RawValue)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (name.clone(), in_javascript(value.get()))).collect()
}

/// A value with its numbers as doubles, which serde_json itself does not round exactly, and with
/// strings as they are written where half of a surrogate pair is in them, which Rust's cannot have.
fn in_javascript(json: &str) -> Value {
    match json.as_bytes().first() {
        Some(b'{') => try_pairs(json).map_or_else(|| json.into(), |it| by_name(&it).into()),
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            elements.iter().map(|element| in_javascript(element.get())).collect()
        }
        Some(b'-' | b'0'..=b'9') => json.parse::<f64>().unwrap().into(),
        Some(_) | None => serde_json::from_str(json).unwrap_or_else(|_| json.into()),
    }
}

/// Lines of the default format, of a format that the message's first line says, and of one that
/// bytes choose, with as many tokens as that has.
pub(crate) fn vpc_flow(data: &[u8]) {
    let mut choices = Choices(data);
    let chosen = format_of(&mut choices);
    let event = Event::new(choices.rest());
    event.written(&Parser::VpcFlow(VpcFormat::default()));
    if let Some((format, line)) = event.message.split_once('\n')
        && let Ok(parsed) = format.parse::<VpcFormat>()
    {
        let names = format.split_ascii_whitespace();
        let names: Vec<_> =
            names.map(|name| name.trim_start_matches("${").trim_end_matches('}')).collect();
        assert_line(&names, parsed, &event.saying(line.to_owned()));
        return;
    }
    let missing = std::iter::repeat("-");
    let tokens = event.message.split_ascii_whitespace().chain(missing).take(chosen.len());
    let message = tokens.collect::<Vec<_>>().join("  ");
    let format = chosen.join(" ").parse().unwrap();
    assert_line(&chosen, format, &event.saying(message));
}

/// AWS's name of every field that there is, and its type.
static FIELDS: LazyLock<Vec<(String, FieldType)>> = LazyLock::new(|| {
    let schema = Parser::VpcFlow(VpcFormat::default()).schema();
    let own = |name: &str| name != "message" && name != "protocol_name" && !name.starts_with('@');
    let fields = schema.fields.into_iter().filter(|field| own(&field.name));
    fields.map(|field| (field.name.replace('_', "-"), field.ty)).collect()
});

fn format_of(choices: &mut Choices<'_>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for _ in 0..=choices.below(20) {
        let (name, _) = &FIELDS[choices.below(FIELDS.len())];
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
    }
    names
}

/// Fails unless a line that fits its format becomes exactly its tokens, and any other line text.
fn assert_line(names: &[&str], format: VpcFormat, event: &Event) {
    let (kind, document) = event.written(&Parser::VpcFlow(format));
    let tokens: Vec<_> = event.message.split_ascii_whitespace().collect();
    let columns: Vec<_> = names.iter().zip(&tokens).collect();
    let fits = names.len() == tokens.len()
        && columns.iter().all(|(name, token)| **token == "-" || is_one(field_type(name), token));
    assert_eq!(kind == Kind::VpcFlow, fits, "{document}");
    if !fits {
        return;
    }
    let mut left = pairs(&document);
    for (name, token) in columns.iter().filter(|(_, token)| **token != "-") {
        let field = name.replace('-', "_");
        let at = left.iter().position(|(own, _)| *own == field).expect(name);
        let value = left.remove(at).1;
        match text_of(value) {
            Some(text) => assert_eq!(text, **token, "{name}"),
            None => assert_eq!(value.get().parse::<u64>(), token.parse(), "{name}"),
        }
        assert_eq!(text_of(value).is_none(), is_number(field_type(name)), "{name}");
    }
    let others = ["@original_time", "@extracted", "@extracted_text", "protocol_name"];
    let ours = ["@timestamp", "@id", "@owner", "@log_group", "@log_stream", "@aws.region"];
    left.retain(|(name, _)| !ours.contains(&name.as_str()) && !others.contains(&name.as_str()));
    assert!(left.is_empty(), "from nowhere: {left:?}");
}

fn field_type(name: &str) -> FieldType {
    FIELDS.iter().find(|(own, _)| own == name).unwrap().1
}

fn is_number(ty: FieldType) -> bool {
    matches!(ty, FieldType::Long | FieldType::Integer | FieldType::DateEpochSecond)
}

fn is_one(ty: FieldType, token: &str) -> bool {
    let up_to = |largest: u64| {
        let digits = token.bytes().all(|byte| byte.is_ascii_digit());
        digits && token.parse::<u64>().is_ok_and(|number| number <= largest)
    };
    match ty {
        FieldType::Long => up_to(u64::MAX >> 1),
        FieldType::Integer => up_to(u64::from(u32::MAX >> 1)),
        FieldType::DateEpochSecond => up_to(LAST_SECOND),
        FieldType::Ip => token.parse::<IpAddr>().is_ok(),
        FieldType::Keyword => token.len() <= LONGEST_TERM,
        FieldType::Text
        | FieldType::TextAndKeyword
        | FieldType::Date
        | FieldType::Boolean
        | FieldType::Open
        | FieldType::Kept => panic!("no field of a flow log is {ty:?}"),
    }
}
