//! Makes letters, from the record that is still in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::decode::{self, Envelope, LogEvent};
use crate::event::Timestamp;
use crate::fingerprint::Fingerprint;
use crate::record::{LetterPayload, Record};

use super::{Letter, Source, Stage};

/// Expands what was expanded before: no cap is needed beyond the one that was passed then.
const CAP: usize = 256 << 20;

/// What a destination would not take, and why.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    /// The event's place among the events of its record.
    pub ordinal: u32,
    /// The name of the route.
    pub route: &'a str,
    /// The name of the destination.
    pub destination: &'a str,
    /// The index it was to go to.
    pub index: &'a str,
    /// The id it was to have.
    pub document_id: &'a str,
    /// The document.
    pub document: &'a [u8],
    /// The class of the reason.
    pub reason: &'static str,
    /// The status of the item, 0 where there is none.
    pub status: u16,
    /// The engine's own name for the error.
    pub error_type: &'a str,
    /// What was said.
    pub error: &'a str,
}

impl Letter {
    /// A letter for a record that could not be decoded.
    #[must_use]
    pub fn undecodable(record: &Record, reason: &'static str, error: &str) -> Self {
        let raw = Some(STANDARD.encode(&record.payload));
        Self { raw, ..blank(record, None, "", Stage::Decode, (reason, error)) }
    }
}

/// Letters for events of one record that a destination refused. Inflates the record again; where
/// the record is a letter itself, that letter is brought up to date.
#[must_use]
pub fn refused(record: &Record, events: &[Refused<'_>]) -> Vec<Letter> {
    match record.ticket().map(|ticket| ticket.payload) {
        Some(LetterPayload::Event | LetterPayload::Document) => {
            let again = |event| refused_again(&record.payload, event);
            return events.iter().filter_map(again).collect();
        }
        Some(LetterPayload::Record) | None => {}
    }
    let mut buffers = decode::Buffers::default();
    let decoded = decode::decode(&record.payload, CAP, &mut buffers);
    let envelopes = decoded.map(|decoded| decoded.envelopes).unwrap_or_default();
    events.iter().map(|event| letter(record, &envelopes, event)).collect()
}

fn letter(record: &Record, envelopes: &[Envelope<'_>], event: &Refused<'_>) -> Letter {
    let found = find(envelopes, event.ordinal);
    let sub_sequence = found.and_then(|(envelope, _)| envelope.user_record);
    let source = found.map(|(envelope, event)| source(envelope, event));
    // Decoded once, it decodes again; if a bug made that untrue, the record itself is kept.
    let raw = source.is_none().then(|| STANDARD.encode(&record.payload));
    let why = (event.reason, event.error);
    Letter {
        route: text(event.route),
        destination: text(event.destination),
        index: text(event.index),
        document_id: text(event.document_id),
        status: (event.status != 0).then_some(event.status),
        error_type: text(event.error_type),
        sub_sequence,
        source,
        raw,
        document: document(event.document),
        ..blank(record, Some(event.ordinal), event.destination, Stage::Deliver, why)
    }
}

/// The letter as it was, with what the destination says now. It still belongs to the destination
/// that it was first for, whatever other was tried.
fn refused_again(letter: &[u8], event: &Refused<'_>) -> Option<Letter> {
    // It was read when it was sent, so it can be read again.
    let before: Letter = serde_json::from_slice(letter).ok()?;
    let elsewhere = before.destination.as_deref().filter(|first| *first != event.destination);
    let error = match elsewhere {
        Some(_) => format!("{}: {}", event.destination, event.error),
        None => event.error.to_owned(),
    };
    Some(Letter {
        at: Timestamp::now().to_string(),
        route: text(event.route),
        index: text(event.index),
        document_id: text(event.document_id),
        reason: event.reason.to_owned(),
        status: (event.status != 0).then_some(event.status),
        error_type: text(event.error_type),
        error,
        // The store adds those of before.
        attempts: 1,
        document: document(event.document),
        is_again: true,
        ..before
    })
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn document(document: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(std::str::from_utf8(document).ok()?.to_owned()).ok()
}

fn blank(
    record: &Record,
    ordinal: Option<u32>,
    destination: &str,
    stage: Stage,
    (reason, error): (&'static str, &str),
) -> Letter {
    let now = Timestamp::now().to_string();
    // A whole record that is replayed and still cannot be decoded is the same letter.
    let same = record.ticket().filter(|_| ordinal.is_none()).map(|ticket| ticket.id.clone());
    Letter {
        is_again: same.is_some(),
        id: same.unwrap_or_else(|| id(record, ordinal, destination)),
        at: now.clone(),
        stream: record.place.stream.to_string(),
        region: record.place.region.clone(),
        shard: record.place.shard.to_string(),
        sequence_number: record.sequence_number.to_string(),
        sub_sequence: None,
        ordinal,
        arrival: record.arrival.to_string(),
        route: None,
        destination: None,
        index: None,
        document_id: None,
        stage,
        reason: reason.to_owned(),
        status: None,
        error_type: None,
        error: error.to_owned(),
        attempts: 1,
        first_attempt_at: now,
        source: None,
        raw: None,
        document: None,
    }
}

/// The same failure of the same event has the same id, so that writing it again is an update.
fn id(record: &Record, ordinal: Option<u32>, destination: &str) -> String {
    let mut hash = Fingerprint::default();
    let ordinal = ordinal.map(|n| n.to_string()).unwrap_or_default();
    let place = &record.place;
    let sequence_number = record.sequence_number.as_str();
    for part in
        [place.stream.as_str(), place.shard.as_str(), sequence_number, &ordinal, destination]
    {
        hash.part(part.as_bytes());
    }
    hash.hex(16)
}

fn find<'a, 'e>(
    envelopes: &'e [Envelope<'a>],
    ordinal: u32,
) -> Option<(&'e Envelope<'a>, &'e LogEvent<'a>)> {
    let mut left = ordinal as usize;
    for envelope in envelopes {
        if let Some(event) = envelope.log_events.get(left) {
            return Some((envelope, event));
        }
        left -= envelope.log_events.len();
    }
    None
}

fn source(envelope: &Envelope<'_>, event: &LogEvent<'_>) -> Source {
    Source {
        owner: envelope.owner.to_string(),
        log_group: envelope.log_group.to_string(),
        log_stream: envelope.log_stream.to_string(),
        id: event.id.to_string(),
        timestamp: event.timestamp.map(|at| at.0),
        message: event.message.to_string(),
        extracted_fields: event.extracted_fields.map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    const PAYLOAD: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":[],"logEvents":[{"id":"a","timestamp":1,"message":"one"},{"id":"b","timestamp":2,"message":"two","extractedFields":{"k":"v"}}]}"#;

    fn event(ordinal: u32) -> Refused<'static> {
        Refused {
            ordinal,
            route: "r",
            destination: "d",
            index: "i",
            document_id: "b",
            document: br#"{"message":"two"}"#,
            reason: "mapping",
            status: 400,
            error_type: "mapper_parsing_exception",
            error: "no",
        }
    }

    #[test]
    fn a_letter_holds_the_event_as_it_came() {
        let acks = std::sync::Arc::default();
        let two = format!("{PAYLOAD}\n{PAYLOAD}");
        let ack = record(&acks, 7, two.as_bytes());
        let letters = refused(ack.record(), &[event(1), event(2)]);
        let json = serde_json::to_value(&letters[0]).unwrap();
        assert_eq!(json["source"]["message"], "two");
        assert_eq!(json["source"]["extractedFields"]["k"], "v");
        assert_eq!(json["document"]["message"], "two");
        assert_eq!(json["stage"], "deliver");
        assert_eq!(letters[1].source.as_ref().unwrap().id, "a");
        assert_ne!(letters[0].id, letters[1].id);
        assert_eq!(refused(ack.record(), &[event(1)])[0].id, letters[0].id);
        let again: Letter = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), json);
    }

    #[test]
    fn an_undecodable_record_is_kept_whole() {
        let acks = std::sync::Arc::default();
        let ack = record(&acks, 7, b"\x1f\x8bbroken");
        let letter = Letter::undecodable(ack.record(), "gzip", "could not inflate");
        assert_eq!(STANDARD.decode(letter.raw.unwrap()).unwrap(), b"\x1f\x8bbroken");
        assert_eq!((letter.source.is_none(), letter.ordinal), (true, None));
    }
}
