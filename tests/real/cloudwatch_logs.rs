//! Log events that were put into log groups, and came by subscription and Kinesis, can be found.

use std::collections::BTreeSet;

use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::rig::{Rig, log_group, route};
use crate::servers::{Emulator, Kinesis, LogBatch, OpenSearch, subscribe_and_put};

/// The account that all of moto belongs to.
const OWNER: &str = "123456789012";

const GROUPS: [&str; 3] = ["app", "shop", "flow"];
const LOG_STREAMS: [&str; 2] = ["i-0a1b2c3d/messages", "2026/11/25/[$LATEST]5c0ffee"];

/// What is known of an event where it was put, and must be found: log group, log stream, owner,
/// time and message.
type Event = [String; 5];

#[tokio::test]
async fn log_events_that_were_put_are_documents() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start_own(Emulator::Moto).await else { return };
    let stream = "subscribed";
    kinesis.create_stream(stream, 2).await;
    let routes = [
        route("app", "parse = \"plain\"", "subscribed-app-%Y.%m.%d"),
        route("shop", "parse = \"plain\"", "subscribed-shop"),
        route("flow", "parse = \"vpc_flow\"", "subscribed-flow-%Y.%m.%d"),
    ];
    let destination = format!("url = \"{}\"", search.url());
    let rig = Rig::new(&kinesis, stream, &destination, &routes.concat());
    let batches = batches(Timestamp::now().0);
    let put: BTreeSet<Event> = batches.iter().flat_map(events).collect();

    // Half of it is there before the daemon, and half comes while it runs.
    let (before, after) = batches.split_at(batches.len() / 2);
    subscribe_and_put(&kinesis, stream, before).await;
    let daemon = rig.start().await;
    subscribe_and_put(&kinesis, stream, after).await;
    let metrics = daemon.settled(put.len() as u64).await;
    let delivered = metrics.by("logweir_events_delivered_total", "result");
    assert_eq!(delivered, [("created".to_owned(), put.len() as u64)].into());
    assert_eq!(daemon.errors(), Vec::<Value>::new());
    daemon.stop().await;

    let found = documents(&search).await;
    assert_eq!(found.len(), put.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), put);
    println!("{} log events in {} batches are {0} documents", put.len(), batches.len());
}

/// Several of every log stream, no two events of which are the same.
fn batches(now: i64) -> Vec<LogBatch> {
    let mut batches = Vec::new();
    for size in [1, 40, 100, 7] {
        for group in GROUPS {
            for log_stream in LOG_STREAMS {
                let event = |n: i64| (now + n, message(group, batches.len() * 100 + n as usize));
                let events = (0..size).map(event).collect();
                batches.push(LogBatch { log_group: log_group(group), log_stream, events });
            }
        }
    }
    batches
}

fn message(group: &str, number: usize) -> String {
    match (group, number % 4) {
        ("flow", _) => flow(10_000 + number as u64),
        (_, 0) => json!({"level": "warn", "n": number, "path": "C:\\tmp"}).to_string(),
        (_, 1) => format!("línea {number}\n\tat \u{1f980} \"quoted\""),
        (_, 2) => format!("{number} {}", "long ".repeat(4_000)),
        _ => format!("{number} GET /health 200"),
    }
}

fn flow(port: u64) -> String {
    format!("2 {OWNER} eni-1 10.0.0.9 10.0.0.1 {port} 22 6 1 40 1418530010 1418530070 REJECT OK")
}

fn events(batch: &LogBatch) -> impl Iterator<Item = Event> {
    let LogBatch { log_group, log_stream, events } = batch;
    let (stream, owner) = ((*log_stream).to_owned(), OWNER.to_owned());
    events.iter().map(move |(time, message)| {
        let time = jiff::Timestamp::from_millisecond(*time).unwrap();
        let time = format!("{time:.3}");
        [log_group.clone(), stream.clone(), owner.clone(), time, message.clone()]
    })
}

/// Everything in the indices, as it was put.
async fn documents(search: &OpenSearch) -> Vec<Event> {
    search.refresh("subscribed-*").await;
    let answer = search.post("subscribed-*/_search", &json!({"size": 10_000})).await;
    let hits = answer.body["hits"]["hits"].as_array().unwrap();
    let document = |hit: &Value| {
        let source = &hit["_source"];
        assert_eq!(source["@aws.region"], "us-east-1", "{hit}");
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        // A flow log record is its fields, and no text any more.
        let message = source["srcport"].as_u64().map_or_else(|| text("message"), flow);
        [text("@log_group"), text("@log_stream"), text("@owner"), text("@timestamp"), message]
    };
    hits.iter().map(document).collect()
}
