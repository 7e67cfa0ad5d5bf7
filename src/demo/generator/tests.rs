//! What the generator promises to whoever reads its records.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::*;

/// 2025-11-25T10:00:00Z.
const NOW: Timestamp = Timestamp(1_764_064_800_000);

fn generate(seed: u64, events: u64) -> (Vec<GeneratedRecord>, Ledger) {
    let mut ledger = Ledger::default();
    let mut generator = Generator::new(GeneratorOptions { seed, events, now: NOW });
    let records = std::iter::from_fn(|| generator.next_record(&mut ledger)).collect();
    (records, ledger)
}

/// The envelope in a record; none when it cannot be decoded.
fn envelope(record: &GeneratedRecord) -> Option<Value> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(record.data.as_slice()).read_to_end(&mut plain).ok()?;
    let envelope: Value = serde_json::from_slice(&plain).ok()?;
    (envelope["messageType"] != "HEARTBEAT_MESSAGE").then_some(envelope)
}

/// Every log event that can be read, with its log group.
fn events(records: &[GeneratedRecord]) -> Vec<(String, Value)> {
    let data = records.iter().filter_map(envelope);
    let data = data.filter(|envelope| envelope["messageType"] == "DATA_MESSAGE");
    let event = |envelope: Value| {
        let group = envelope["logGroup"].as_str().unwrap().to_owned();
        let events = envelope["logEvents"].as_array().unwrap().clone();
        events.into_iter().map(move |event| (group.clone(), event))
    };
    data.flat_map(event).collect()
}

#[test]
fn exactly_as_many_events_as_asked() {
    for asked in [0, 1, 2, 7, 1000, 30_000] {
        let (records, ledger) = generate(1, asked);
        assert_eq!(events(&records).len() as u64, asked);
        assert_eq!(ledger.events().len() as u64, asked);
        assert_eq!(ledger.records, records.len() as u64);
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    assert!(generate(5, 3000).0 == generate(5, 3000).0);
    assert!(generate(5, 3000).0 != generate(6, 3000).0);
}

#[test]
fn a_thousand_events_show_everything_rare() {
    for seed in 0..10 {
        let (records, ledger) = generate(seed, 1000);
        assert_eq!(ledger.count(ExpectedFate::DeadLettered), 2, "seed {seed}");
        assert_eq!(ledger.count(ExpectedFate::DeliveredUndated), 2, "seed {seed}");
        assert_eq!((ledger.control, ledger.undecodable, ledger.parse_errors), (2, 3, 2));
        let undecodable = records.iter().filter(|record| envelope(record).is_none());
        assert_eq!(undecodable.count(), 3, "seed {seed}");
    }
}

#[test]
fn every_envelope_has_the_keys_of_aws_in_their_order() {
    let (records, _) = generate(2, 20_000);
    let (mut policies, mut extracted) = (0, 0);
    for envelope in records.iter().filter_map(envelope) {
        let mut keys: Vec<&str> =
            envelope.as_object().unwrap().keys().map(String::as_str).collect();
        if envelope["policyLevel"] == "ACCOUNT_LEVEL_POLICY" {
            policies += 1;
            keys.retain(|key| *key != "policyLevel");
        }
        let expected =
            ["messageType", "owner", "logGroup", "logStream", "subscriptionFilters", "logEvents"];
        assert_eq!(keys, expected);
        for event in envelope["logEvents"].as_array().unwrap() {
            let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys[..3], ["id", "timestamp", "message"]);
            extracted += usize::from(keys.get(3) == Some(&"extractedFields"));
        }
    }
    assert!(policies > 0 && extracted > 0);
}

#[test]
fn ids_have_56_digits_and_rise() {
    let (records, _) = generate(3, 20_000);
    let events = events(&records);
    let ids: Vec<&str> = events.iter().map(|(_, event)| event["id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 56 && id.bytes().all(|byte| byte.is_ascii_digit())));
    assert!(ids.is_sorted_by(|a, b| a < b));
}

#[test]
fn the_ledger_says_what_is_in_the_records() {
    let (records, ledger) = generate(4, 20_000);
    let expected: HashMap<String, &Expected> =
        ledger.events().iter().map(|event| (event.document_id(), event)).collect();
    assert_eq!(expected.len(), 20_000, "ids are unique");
    let mut groups = HashSet::new();
    for (group, event) in events(&records) {
        let message = event["message"].as_str().unwrap();
        let mut id = event["id"].as_str().unwrap().to_owned();
        let mut time = event["timestamp"].as_i64().unwrap();
        if group == LogGroup::CloudTrail.name() {
            let trail: Value = serde_json::from_str(message).unwrap();
            id = trail["eventID"].as_str().unwrap().to_owned();
            let own: jiff::Timestamp = trail["eventTime"].as_str().unwrap().parse().unwrap();
            time = own.as_millisecond();
        }
        let found = expected[&id];
        assert_eq!((found.group.name(), found.time.0), (group.as_str(), time));
        assert_eq!(found.fate == ExpectedFate::DeadLettered, message.len() > 1024 * 1024);
        let dated = (NOW.0 - 2 * DAY_MILLIS..=NOW.0).contains(&time);
        assert_eq!(found.fate == ExpectedFate::DeliveredUndated, !dated);
        groups.insert(group);
    }
    assert_eq!(groups.len(), LogGroup::ALL.len());
}

#[test]
fn events_are_of_yesterday_and_today_and_records_vary_in_size() {
    let (records, ledger) = generate(6, 100_000);
    let days: HashSet<_> = ledger
        .events()
        .iter()
        .filter(|event| event.fate == ExpectedFate::Delivered)
        .map(|event| event.time.date().unwrap().to_string())
        .collect();
    assert_eq!(days, HashSet::from(["2025-11-24".to_owned(), "2025-11-25".to_owned()]));
    let sizes: Vec<usize> = records
        .iter()
        .filter_map(envelope)
        .map(|envelope| envelope["logEvents"].as_array().unwrap().len())
        .collect();
    assert!(sizes.contains(&1) && *sizes.iter().max().unwrap() > 500);
    let usual = sizes.iter().filter(|size| (50..=500).contains(*size)).count();
    assert!(usual * 2 > sizes.len(), "{usual} of {}", sizes.len());
}
