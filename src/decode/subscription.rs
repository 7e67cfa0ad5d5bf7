//! The envelope that a CloudWatch Logs subscription wraps around log events.
//!
//! AWS documents `messageType`, `owner`, `logGroup`, `logStream`, `subscriptionFilters` and
//! `logEvents`, and has added keys since: unknown ones are skipped. Keys come in any order, and one
//! record may hold several envelopes in a row.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::Timestamp;

use super::Undecodable;

/// What one record holds.
#[derive(Debug, Default)]
pub struct Decoded<'a> {
    /// The envelopes with log events, in the record's order.
    pub envelopes: Vec<Envelope<'a>>,
    /// How many envelopes were health checks of the destination (`CONTROL_MESSAGE`): no events.
    pub control_messages: u32,
    /// The number of the last user record, where it is a KPL aggregate.
    pub user_records: Option<u32>,
}

/// Log events that share an account, a log group and a log stream.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The AWS account that owns the log group.
    pub owner: Cow<'a, str>,
    /// The log group.
    pub log_group: Cow<'a, str>,
    /// The log stream.
    pub log_stream: Cow<'a, str>,
    /// The user record that it stands in, where the record is a KPL aggregate: KCL's sub-sequence
    /// number, counted from 0.
    pub user_record: Option<u32>,
    /// The events, in the envelope's order; may be empty.
    pub log_events: Vec<LogEvent<'a>>,
}

/// One log event as CloudWatch Logs sent it.
#[derive(Debug, Default)]
pub struct LogEvent<'a> {
    /// CloudWatch Logs' own id, the digits where it came as a number; empty when it was missing.
    pub id: Cow<'a, str>,
    /// When the event happened; `None` when that is missing or no number of milliseconds.
    pub timestamp: Option<Timestamp>,
    /// The message.
    pub message: Cow<'a, str>,
    /// What decoding the message has told about it.
    pub marks: Marks<'a>,
    /// The fields that a subscription filter extracted, as JSON.
    pub extracted_fields: Option<&'a RawValue>,
}

/// What decoding has seen of an event: which bytes of its message cannot stand for themselves inside a JSON
/// string, since they had an escape as the message came, and whether its id is a number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks<'a> {
    places: &'a [u32],
    plain: Option<&'a [u8]>,
    has_number: bool,
}

impl fmt::Debug for Marks<'_> {
    /// Without what came behind the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = &self.plain.is_some();
        f.debug_struct("Marks").field("places", &self.places).field("is_plain", is_plain).finish()
    }
}

impl<'a> Marks<'a> {
    /// Of a message that had escapes at these places.
    pub(super) const fn new(places: &'a [u32]) -> Self {
        Self { places, plain: None, has_number: false }
    }

    /// Of a message without any, with which this text begins.
    pub(crate) const fn plain_in(text: &'a [u8]) -> Self {
        Self { places: &[], plain: Some(text), has_number: false }
    }

    /// The same, of an event whose id is digits, as many as CloudWatch Logs writes.
    pub(super) const fn with_number(self) -> Self {
        Self { has_number: true, ..self }
    }

    /// Whether it was seen that the id is digits, as many as CloudWatch Logs writes.
    pub(crate) const fn has_number(self) -> bool {
        self.has_number
    }

    /// The places of all escapes, in order, if there are any and somebody noted them.
    #[must_use]
    pub const fn places(self) -> &'a [u32] {
        self.places
    }

    /// The message and what came behind it, if it is known that there are no escapes in it.
    #[must_use]
    pub const fn plain(self) -> Option<&'a [u8]> {
        self.plain
    }
}

/// Reads every envelope in `text`, which is a record or a user record of it.
pub(super) fn read<'a>(
    text: &'a str,
    user_record: Option<u32>,
    decoded: &mut Decoded<'a>,
) -> Result<(), Undecodable> {
    let mut number = 0;
    for wire in serde_json::Deserializer::from_str(text).into_iter::<ByName<WireEnvelope<'_>>>() {
        number += 1;
        let ByName(wire) = wire.map_err(|source| unreadable(number, source))?;
        match wire.message_type.0.as_ref() {
            "DATA_MESSAGE" => {
                let envelope = wire.into_envelope(user_record);
                decoded.envelopes.push(envelope.map_err(|source| unreadable(number, source))?);
            }
            "CONTROL_MESSAGE" => decoded.control_messages += 1,
            other => {
                let found = other.chars().take(64).collect();
                return Err(Undecodable::MessageType { number, found });
            }
        }
    }
    if number == 0 { Err(Undecodable::Empty) } else { Ok(()) }
}

fn unreadable(number: usize, source: serde_json::Error) -> Undecodable {
    if source.is_data() {
        Undecodable::Envelope { number, source }
    } else {
        Undecodable::Json { number, source }
    }
}

/// What every envelope must have is required by type; the rest only where there are events to lose.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnvelope<'a> {
    #[serde(borrow)]
    message_type: Text<'a>,
    #[serde(borrow)]
    owner: Option<Text<'a>>,
    #[serde(borrow)]
    log_group: Option<Text<'a>>,
    #[serde(borrow)]
    log_stream: Option<Text<'a>>,
    #[serde(borrow)]
    log_events: Option<Vec<ByName<WireLogEvent<'a>>>>,
}

/// A message that is missing or no text makes the whole record undecodable: as a dead letter it
/// keeps every byte, as an event without a message it would be lost.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLogEvent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    extracted_fields: Option<&'a RawValue>,
}

impl<'a> WireEnvelope<'a> {
    fn into_envelope(self, user_record: Option<u32>) -> Result<Envelope<'a>, serde_json::Error> {
        let missing = de::Error::missing_field;
        let events = self.log_events.ok_or_else(|| missing("logEvents"))?;
        Ok(Envelope {
            owner: self.owner.ok_or_else(|| missing("owner"))?.0,
            log_group: self.log_group.ok_or_else(|| missing("logGroup"))?.0,
            log_stream: self.log_stream.ok_or_else(|| missing("logStream"))?.0,
            user_record,
            log_events: events
                .into_iter()
                .map(|ByName(event)| event.into_event())
                .collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> WireLogEvent<'a> {
    fn into_event(self) -> Result<LogEvent<'a>, serde_json::Error> {
        Ok(LogEvent {
            id: self.id.map_or(Ok(Cow::Borrowed("")), id)?,
            timestamp: self.timestamp.and_then(timestamp),
            message: self.message.0,
            marks: Marks::default(),
            extracted_fields: self.extracted_fields,
        })
    }
}

/// The text, or the digits as they are written: a real id has 56 of them, more than any number type.
fn id(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => unquoted(text),
        Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(text)),
        Some(_) | None => {
            Err(de::Error::custom("the id of a log event is neither text nor a number"))
        }
    }
}

fn timestamp(raw: &RawValue) -> Option<Timestamp> {
    let text = unquoted(raw.get()).ok()?;
    let text = text.trim();
    text.parse().ok().or_else(|| whole_number(text)).map(Timestamp)
}

/// `1.7e12` and `1700000000000.0` are numbers of milliseconds too.
fn whole_number(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok()?;
    // Beyond 2^53 a double no longer says which millisecond is meant.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
    exact.then_some(number as i64)
}

/// The text of a JSON string; any other value as it is written.
fn unquoted(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let Some(inside) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(Cow::Borrowed(json));
    };
    if inside.contains('\\') {
        return serde_json::from_str(json).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(inside))
}

/// Text that borrows where JSON needed no escape, which serde's own `Cow` inside `Option` does not.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A struct that is an object in JSON: serde's own reading also takes an array of the values alone,
/// and would believe what no server means.
pub(crate) struct ByName<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByNameVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ByNameVisitor<T> {
            type Value = ByName<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ByName<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(ByName)
            }
        }
        deserializer.deserialize_map(ByNameVisitor(PhantomData))
    }
}
