//! Decoding: all of a record or nothing, within the cap, whatever the bytes.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use logweir::decode::{self, Buffers, Decoded, LogEvent, Undecodable};
use logweir::event::Timestamp;
use md5::Digest as _;
use serde_json::Value;

use super::Choices;

/// Enough for every input that the fuzzer makes.
const CAP: usize = 1 << 20;

/// What may be taken beyond the cap, in which an overrun shows.
const STEP: usize = 64 * 1024;

/// Any bytes, and then the same bytes as gzip of one to three members, whole and damaged.
pub(crate) fn gunzip(data: &[u8]) {
    let mut choices = Choices(data);
    let cap = usize::from(choices.byte()) * 64;
    if label(choices.0, cap) != Some("too_large") {
        assert_eq!(label(choices.0, cap), label(choices.0, 2 * cap + 1), "only the cap may matter");
    }
    let (at, damage) = (choices.below(1 << 16), choices.byte());
    let cuts = [choices.byte(), choices.byte()];
    let text = choices.rest();
    let mut payload = members(text, cuts);
    let (inflated, failure) = inflate(&payload, cap);
    if text.len() > cap {
        assert_eq!(failure, Some("too_large"));
    } else {
        assert_eq!(inflated, text);
        let of_gzip = ["format", "gzip", "truncated", "trailing_bytes", "too_large"];
        assert!(!failure.is_some_and(|label| of_gzip.contains(&label)), "{failure:?}");
    }
    let at = at % payload.len();
    payload[at] ^= damage;
    let (inflated, failure) = inflate(&payload, CAP);
    assert!(failure.is_some() || inflated == text, "byte {at} is damaged and nobody noticed");
}

/// Gzip of a text that is cut into three members, of which two may be empty or missing.
fn members(text: &[u8], cuts: [u8; 2]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut rest = text;
    for cut in cuts.into_iter().filter(|cut| *cut > 0) {
        let (member, after) = rest.split_at(usize::from(cut).min(rest.len()));
        payload.extend(gzip(member));
        rest = after;
    }
    payload.extend(gzip(rest));
    payload
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn label(payload: &[u8], cap: usize) -> Option<&'static str> {
    inflate(payload, cap).1
}

/// What was inflated, and what was wrong with it.
fn inflate(payload: &[u8], cap: usize) -> (Vec<u8>, Option<&'static str>) {
    let mut buffers = Buffers::default();
    let failure = decode::decode(payload, cap, &mut buffers).err().map(|why| why.label());
    assert!(failure.is_none_or(|label| Undecodable::LABELS.contains(&label)));
    // What is inflated, what is unescaped of that, and marks of half as many bytes.
    let most = (cap + STEP) * 5 / 2;
    assert!(buffers.capacity() <= most, "{} of {cap} bytes", buffers.capacity());
    (buffers.inflated().to_vec(), failure)
}

/// Any bytes, any bytes as the message of an aggregate, and parts that are packed as one.
pub(crate) fn aggregate(data: &[u8]) {
    let mut choices = Choices(data);
    let zipped = choices.byte();
    let text = choices.rest();
    for payload in [text, &seal(text)] {
        let parts = decode::user_records(payload).unwrap_or_default();
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= payload.len());
        inflate(payload, CAP);
    }
    let zip = |(at, part)| if zipped >> (at & 7) & 1 == 1 { gzip(part) } else { part.to_vec() };
    let parts: Vec<Vec<u8>> = text.split(|byte| *byte == b'|').enumerate().map(zip).collect();
    let payload = pack(&parts);
    assert_eq!(decode::user_records(&payload).unwrap(), parts);
    let alone: Option<String> =
        parts.iter().enumerate().map(|(number, part)| outcome(part, Some(number))).collect();
    assert_eq!(outcome(&payload, None), alone, "together and alone");
}

/// The envelopes of a record, for comparison; where it is part of an aggregate, its number too.
fn outcome(payload: &[u8], number: Option<usize>) -> Option<String> {
    let mut buffers = Buffers::default();
    let decoded = decode::decode(payload, CAP, &mut buffers).ok()?;
    if number.is_some() && decoded.user_records.is_some() {
        // An aggregate inside of one is no user record.
        return None;
    }
    let mut said = String::new();
    for envelope in &decoded.envelopes {
        let number = envelope.user_record.map_or(number, |number| usize::try_from(number).ok());
        let names = (&envelope.owner, &envelope.log_group, &envelope.log_stream);
        writeln!(said, "{number:?} {names:?} {:?}", envelope.log_events).unwrap();
    }
    Some(said)
}

/// Packs user records as the Kinesis Producer Library does, with what a reader must skip.
fn pack(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut message = [field(1, b"key"), field(2, b"12345")].concat();
    for part in parts {
        message.extend(field(3, &[&[8, 0], &*field(3, part), &*field(4, b"t")].concat()));
    }
    seal(&message)
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    [field, content.to_vec()].concat()
}

fn seal(message: &[u8]) -> Vec<u8> {
    [&[0xf3, 0x89, 0x9a, 0xc2], message, md5::Md5::digest(message).as_slice()].concat()
}

/// Any text: what is read of it is what an ordinary JSON parser finds there, and what that parser
/// finds to be good envelopes is read.
pub(crate) fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let Ok(values) = values.collect::<Result<Vec<_>, _>>() else { return drop(inflate(data, CAP)) };
    let mut buffers = Buffers::default();
    if let Ok(decoded) = decode::decode(data, CAP, &mut buffers) {
        assert_same(&decoded, &values);
    }
    if !values.is_empty() && values.iter().all(is_envelope) {
        // Written anew no name comes twice, for which an envelope is refused.
        let text: String = values.iter().map(Value::to_string).collect();
        let mut buffers = Buffers::default();
        assert_same(&decode::decode(text.as_bytes(), CAP, &mut buffers).unwrap(), &values);
    }
}

fn is_envelope(value: &Value) -> bool {
    let is_event = |event: &Value| {
        let id = event.get("id").unwrap_or(&Value::Null);
        event.is_object() && event["message"].is_string() && (id.is_string() || id.is_u64())
    };
    value.is_object()
        && value["messageType"] == "DATA_MESSAGE"
        && ["owner", "logGroup", "logStream"].iter().all(|name| value[name].is_string())
        && value["logEvents"].as_array().is_some_and(|events| events.iter().all(is_event))
}

fn assert_same(decoded: &Decoded<'_>, values: &[Value]) {
    let (data, control): (Vec<&Value>, Vec<_>) =
        values.iter().partition(|value| value["messageType"] == "DATA_MESSAGE");
    assert_eq!(usize::try_from(decoded.control_messages).unwrap(), control.len());
    assert_eq!(decoded.envelopes.len(), data.len());
    for (envelope, value) in decoded.envelopes.iter().zip(data) {
        assert_eq!(envelope.owner, value["owner"].as_str().unwrap());
        assert_eq!(envelope.log_group, value["logGroup"].as_str().unwrap());
        assert_eq!(envelope.log_stream, value["logStream"].as_str().unwrap());
        let events = value["logEvents"].as_array().unwrap();
        assert_eq!(envelope.log_events.len(), events.len());
        envelope
            .log_events
            .iter()
            .zip(events)
            .for_each(|(event, value)| assert_event(event, value));
    }
}

fn assert_event(event: &LogEvent<'_>, value: &Value) {
    assert_eq!(event.message, value["message"].as_str().unwrap());
    let id = &value["id"];
    match id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|id| id.to_string())) {
        Some(id) => assert_eq!(event.id, id),
        // Other numbers are the digits that were sent, which `Value` does not keep.
        None => assert_eq!(event.id.is_empty(), id.is_null()),
    }
    if let Some(milliseconds) = value["timestamp"].as_i64() {
        assert_eq!(event.timestamp, Some(Timestamp(milliseconds)));
    }
    let extracted = event.extracted_fields.map(|raw| serde_json::from_str(raw.get()).unwrap());
    assert_eq!(extracted.unwrap_or(Value::Null), value["extractedFields"]);
}
