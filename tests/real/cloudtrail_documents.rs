//! Whatever a CloudTrail event holds, it becomes a document, and an index never gets many fields.

use std::collections::HashMap;

use fastrand::Rng;
use logweir::event::Timestamp;
use serde_json::{Map, Value, json};

use crate::envelopes::{put, records};
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch};
use crate::trail_events::{EVENTS, OPEN, TrailEvent, log_events, trail, twins};

/// Engines refuse documents that would give an index more fields than this.
const FIELD_LIMIT: usize = 1_000;

#[tokio::test]
async fn every_cloudtrail_event_is_delivered_whole_whatever_its_open_fields_hold() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "trail";
    kinesis.create_stream(stream, 2).await;
    let events = trail();
    let (now, mut rng) = (Timestamp::now().0, Rng::with_seed(2));
    let routes = route("trail", "parse = \"cloudtrail\"", "trail-%Y.%m.%d");
    let rig = Rig::new(&kinesis, stream, &format!("url = \"{}\"", search.url()), &routes);
    let daemon = rig.start().await;

    put(&kinesis, stream, &records("trail", log_events(&events, 0, now), &mut rng)).await;
    let metrics = daemon.settled(EVENTS as u64).await;
    assert_eq!(
        metrics.by("logweir_events_delivered_total", "result"),
        [("created".into(), EVENTS as u64)].into()
    );
    assert_eq!(count(&search, "trail-*").await, EVENTS as u64);
    let usual_fields = fields(&search, "trail-*").await;
    assert!(usual_fields < FIELD_LIMIT, "{usual_fields} fields");

    let twins = twins(&events);
    let (from, all) = (events.len(), events.len() + twins.len());
    put(&kinesis, stream, &records("trail", log_events(&twins, from, now), &mut rng)).await;
    let metrics = daemon.settled(all as u64).await;
    let refused = metrics.by("logweir_events_dead_lettered_total", "reason");
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(
        metrics.by("logweir_events_delivered_total", "result"),
        [("created".into(), all as u64)].into()
    );
    assert_eq!(metrics.sum("logweir_parse_errors_total", &[]), 0);
    assert_eq!(count(&search, "trail-*").await, all as u64);
    let all_fields = fields(&search, "trail-*").await;
    assert!(all_fields < FIELD_LIMIT, "{all_fields} fields");
    assert_eq!(daemon.errors(), Vec::<Value>::new());
    daemon.stop().await;

    let documents = documents(&search, "trail-*").await;
    events.iter().chain(&twins).for_each(|event| assert_whole(event, &documents[&event.id]));
    println!(
        "{EVENTS} events: {usual_fields} fields; with {} twins: {all} documents, 0 dead letters, \
         {all_fields} fields",
        twins.len()
    );
}

#[tokio::test]
async fn without_our_templates_the_same_events_conflict_until_they_are_replayed() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "untemplated";
    kinesis.create_stream(stream, 2).await;
    let routes = route("trail", "parse = \"cloudtrail\"", "untemplated-%Y.%m.%d");
    let destination = format!(
        "url = \"{}\"\ntemplates = \"manual\"\ndead_letter_breaker = \"off\"",
        search.url()
    );
    let rig = Rig::new(&kinesis, stream, &destination, &routes);
    let daemon = rig.start().await;

    // A third of the others: adding hundreds of fields to a mapping takes the engine long.
    let events = trail();
    let twins = twins(&events);
    let all: Vec<_> = twins.into_iter().chain(events.into_iter().step_by(3)).collect();
    let (now, mut rng) = (Timestamp::now().0, Rng::with_seed(3));
    put(&kinesis, stream, &records("trail", log_events(&all, 0, now), &mut rng)).await;
    let metrics = daemon.settled(all.len() as u64).await;

    let delivered = metrics.sum("logweir_events_delivered_total", &[]);
    let refused = metrics.by("logweir_events_dead_lettered_total", "reason");
    assert!(refused["mapping"] > 0, "{refused:?}");
    assert_eq!(delivered + refused.values().sum::<u64>(), all.len() as u64);
    assert_eq!(metrics.by("logweir_dead_letters_stored", "reason"), refused);
    assert_eq!(count(&search, "untemplated-*").await, delivered);
    let fields = fields(&search, "untemplated-*").await;
    daemon.stop().await;
    let letters = all.len() as u64 - delivered;
    println!(
        "of {} events {delivered} were delivered, refused {refused:?}; {fields} fields",
        all.len()
    );
    let routes = route("trail", "parse = \"cloudtrail\"", "replayed-%Y.%m.%d");
    rig.configure(&kinesis, stream, &format!("url = \"{}\"", search.url()), &routes);
    assert_replayed(&rig, &search, letters).await;
}

/// With our templates, in indices of their own, all letters are taken.
async fn assert_replayed(rig: &Rig, search: &OpenSearch, letters: u64) {
    let replay = rig.run(&["dead-letter", "replay", "--json"]);
    assert_eq!(replay.status.code(), Some(0), "{replay:?}");
    let report: Value = serde_json::from_slice(&replay.stdout).unwrap();
    let expected = json!({
        "letters": letters,
        "removed": letters,
        "kept": {},
        "dropped": 0,
        "not_sent": 0,
        "replayed": {"search": {"created": letters}},
    });
    assert_eq!(report, expected);
    assert_eq!(count(search, "replayed-*").await, letters);
    println!("replayed with our templates: {report}");
}

/// Nothing of an event is lost or cut: an open-ended field is there as it came, or whole as text.
fn assert_whole(event: &TrailEvent, document: &Map<String, Value>) {
    assert_eq!(document["eventID"], event.id);
    for field in OPEN {
        let Some(sent) = event.fields.get(field) else { continue };
        let text = document.get(&format!("{field}_text"));
        match text {
            Some(text) => assert_eq!(text, sent.get(), "{}: {field}", event.id),
            None => {
                let sent: Value = serde_json::from_str(sent.get()).unwrap();
                assert_eq!(document[field], sent, "{}", event.id);
            }
        }
    }
}

async fn count(search: &OpenSearch, pattern: &str) -> u64 {
    search.refresh(pattern).await;
    search.count(pattern).await
}

/// All documents, by their ids.
async fn documents(search: &OpenSearch, pattern: &str) -> HashMap<String, Map<String, Value>> {
    let all = json!({"size": 10_000, "query": {"match_all": {}}});
    let answer = search.post(&format!("{pattern}/_search"), &all).await;
    let hits = answer.body["hits"]["hits"].as_array().unwrap();
    let id = |hit: &Value| hit["_id"].as_str().unwrap().to_owned();
    hits.iter().map(|hit| (id(hit), hit["_source"].as_object().unwrap().clone())).collect()
}

/// The fields of the index that has most, counted as engines do for their limit.
pub(crate) async fn fields(search: &OpenSearch, pattern: &str) -> usize {
    let answer = search.get(&format!("{pattern}/_mapping")).await;
    let indices = answer.body.as_object().unwrap().values();
    indices.map(|index| fields_in(mapping(index))).max().unwrap()
}

/// Elasticsearch 6 has it under a type.
pub(crate) fn mapping(index: &Value) -> &Value {
    let mappings = &index["mappings"];
    mappings.get("_doc").unwrap_or(mappings)
}

fn fields_in(mapping: &Value) -> usize {
    let inside = ["properties", "fields"].map(|kind| mapping[kind].as_object());
    let fields = inside.into_iter().flatten().flat_map(Map::values);
    fields.map(|field| 1 + fields_in(field)).sum()
}
