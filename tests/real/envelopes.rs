//! Writes Kinesis records as CloudWatch Logs subscriptions do: gzip'd envelopes of log events.

use std::io::Write as _;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::rig::log_group;
use crate::servers::Kinesis;

/// As many events as one record may hold here.
const MAX_EVENTS: usize = 100;

/// An entry of `logEvents`.
#[derive(Clone, Debug)]
pub(crate) struct LogEvent {
    pub(crate) id: String,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) message: String,
}

impl LogEvent {
    /// An event with an id like AWS's, made from `number`.
    pub(crate) fn new(number: usize, timestamp: i64, message: &str) -> Self {
        Self { id: format!("38{number:054}"), timestamp, message: message.to_owned() }
    }
}

/// The events of one route in any order, 1 to 100 to a record.
pub(crate) fn records(route: &str, mut events: Vec<LogEvent>, rng: &mut Rng) -> Vec<Vec<u8>> {
    rng.shuffle(&mut events);
    let mut records = Vec::new();
    while !events.is_empty() {
        let some = rng.usize(1..=MAX_EVENTS.min(events.len()));
        records.push(record(route, &events.split_off(events.len() - some)));
    }
    records
}

/// Puts records by random keys, so that every shard gets some.
pub(crate) async fn put(kinesis: &Kinesis, stream: &str, records: &[Vec<u8>]) {
    let keys: Vec<_> = (0..records.len()).map(|n| format!("key-{n}")).collect();
    let records: Vec<_> = keys.iter().map(String::as_str).zip(records).collect();
    // A request may hold 5 MiB.
    for some in records.chunks(50) {
        let some: Vec<_> = some.iter().map(|(key, data)| (*key, data.as_slice())).collect();
        kinesis.put_records(stream, &some).await;
    }
}

/// One record with these events of a route.
pub(crate) fn record(route: &str, events: &[LogEvent]) -> Vec<u8> {
    let log_events: Vec<_> = events.iter().map(LogEvent::json).collect();
    let envelope = json!({
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": log_group(route),
        "logStream": "one",
        "subscriptionFilters": ["all"],
        "logEvents": log_events,
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(envelope.to_string().as_bytes()).unwrap();
    gzip.finish().unwrap()
}

impl LogEvent {
    fn json(&self) -> Value {
        json!({"id": self.id, "timestamp": self.timestamp, "message": self.message})
    }
}
