//! What a record holds, as plainly as it can be read.

use serde_json::value::RawValue;

use super::document::{Event, Origin};
use super::json::{Members, elements, text};

/// Events that share where they come from.
pub(super) type Envelope<'a> = (Origin, Vec<Event<'a>>);

/// Every envelope with events, or why the record is a dead letter.
pub(super) fn read(record: &[u8]) -> Result<Vec<Envelope<'_>>, &'static str> {
    let json = std::str::from_utf8(record).map_err(|_| "utf8")?;
    let (mut envelopes, mut is_empty) = (Vec::new(), true);
    for value in serde_json::Deserializer::from_str(json).into_iter::<&RawValue>() {
        is_empty = false;
        let members = once(Members::of(value.map_err(|_| "json")?.get()), &ENVELOPE)?;
        match required(&members, "messageType")?.as_str() {
            "DATA_MESSAGE" => envelopes.push(envelope(&members)?),
            "CONTROL_MESSAGE" => {}
            _ => return Err("message_type"),
        }
    }
    if is_empty { Err("empty") } else { Ok(envelopes) }
}

fn envelope<'a>(members: &Members<'a>) -> Result<Envelope<'a>, &'static str> {
    let origin = Origin {
        owner: required(members, "owner")?,
        log_group: required(members, "logGroup")?,
        log_stream: required(members, "logStream")?,
    };
    let events = members.get("logEvents").filter(|json| json.starts_with('[')).ok_or("envelope")?;
    Ok((origin, elements(events).into_iter().map(event).collect::<Result<_, _>>()?))
}

const ENVELOPE: [&str; 5] = ["messageType", "owner", "logGroup", "logStream", "logEvents"];
const EVENT: [&str; 4] = ["id", "timestamp", "message", "extractedFields"];

/// An object that has each of its names once; nobody knows which of two would be meant.
fn once<'a>(members: Option<Members<'a>>, names: &[&str]) -> Result<Members<'a>, &'static str> {
    let members = members.ok_or("envelope")?;
    let count = |name: &&str| members.0.iter().filter(|(own, _)| own == name).count();
    if names.iter().all(|name| count(name) <= 1) { Ok(members) } else { Err("envelope") }
}

fn required(members: &Members<'_>, name: &str) -> Result<String, &'static str> {
    members.get(name).and_then(text).ok_or("envelope")
}

fn event(json: &str) -> Result<Event<'_>, &'static str> {
    let members = once(Members::of(json), &EVENT)?;
    let written = |name| members.get(name).filter(|json| *json != "null");
    let id = written("id").unwrap_or("\"\"");
    let time = written("timestamp").map(|json| text(json).unwrap_or_else(|| json.to_owned()));
    Ok(Event {
        id: text(id).unwrap_or_else(|| id.to_owned()),
        time: time.and_then(|time| milliseconds(time.trim())),
        message: required(&members, "message")?,
        extracted: written("extractedFields"),
    })
}

/// A whole number, however it is written.
fn milliseconds(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64).then_some(number as i64)
    })
}
