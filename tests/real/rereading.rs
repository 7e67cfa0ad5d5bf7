//! Reading a stream again from its beginning changes nothing: every document is there already.

use fastrand::Rng;
use logweir::event::Timestamp;
use serde_json::{Value, json};

use crate::envelopes::{LogEvent, put, records};
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch};
use crate::trail_events::{log_events, trail};

/// Of each of the sorts below.
const EVENTS: usize = 300;

#[tokio::test]
async fn a_stream_read_three_times_gives_the_same_documents() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "rereading";
    kinesis.create_stream(stream, 3).await;
    let now = Timestamp::now().0;
    let mut rng = Rng::with_seed(5);
    put(&kinesis, stream, &records("trail", log_events(&trail()[..EVENTS], 0, now), &mut rng))
        .await;
    for (name, events) in [("flow", flow(now)), ("json", json_lines(now)), ("odd", odd(now))] {
        put(&kinesis, stream, &records(name, events, &mut rng)).await;
    }
    let routes = [
        route("trail", "parse = \"cloudtrail\"", "reread-trail-%Y.%m.%d"),
        route("flow", "parse = \"vpc_flow\"", "reread-flow-%Y.%m.%d"),
        route("json", "parse = \"json\"", "reread-json"),
        route("odd", "parse = \"plain\"", "reread-odd-%Y.%m.%d"),
    ];
    let rig = Rig::new(&kinesis, stream, &format!("url = \"{}\"", search.url()), &routes.concat());
    let all = 4 * EVENTS as u64;

    let mut first = None;
    for (run, result) in [(1, "created"), (2, "already_present"), (3, "already_present")] {
        let daemon = rig.start().await;
        let metrics = daemon.settled(all).await;
        let delivered = metrics.by("logweir_events_delivered_total", "result");
        println!("run {run}: {delivered:?}");
        assert_eq!(delivered, [(result.to_owned(), all)].into());
        assert_eq!(daemon.errors(), Vec::<Value>::new());
        daemon.stop().await;
        rig.forget();

        search.refresh("reread-*").await;
        assert_eq!(search.count("reread-*").await, all);
        let documents = documents(&search).await;
        assert_eq!(documents.len() as u64, all);
        assert!(first.get_or_insert_with(|| documents.clone()) == &documents, "not the same");
    }
}

fn flow(now: i64) -> Vec<LogEvent> {
    let line = |n| format!("2 123456789010 eni-1 10.0.0.9 10.0.0.1 {n} 22 6 1 40 1 2 REJECT OK");
    (0..EVENTS).map(|n| LogEvent::new(10_000 + n, now, &line(n))).collect()
}

fn json_lines(now: i64) -> Vec<LogEvent> {
    let line = |n| json!({"level": "info", "n": n}).to_string();
    (0..EVENTS).map(|n| LogEvent::new(20_000 + n, now, &line(n))).collect()
}

/// Events whose ids are not AWS's, so that one must be made of what they hold; half of them with
/// times that cannot name an index.
fn odd(now: i64) -> Vec<LogEvent> {
    let event = |n| LogEvent {
        id: "1".to_owned(),
        timestamp: if n % 2 == 0 { now } else { 0 },
        message: format!("line {n}"),
    };
    (0..EVENTS).map(event).collect()
}

/// Every document with its index, id, version and content, in the order of their ids.
async fn documents(search: &OpenSearch) -> Vec<Value> {
    let all = json!({"size": 10_000, "version": true, "seq_no_primary_term": true});
    let answer = search.post("reread-*/_search", &all).await;
    let hits = answer.body["hits"]["hits"].as_array().unwrap();
    let mut hits: Vec<_> = hits
        .iter()
        .map(|hit| {
            json!([hit["_id"], hit["_index"], hit["_version"], hit["_seq_no"], hit["_source"]])
        })
        .collect();
    hits.sort_by_key(Value::to_string);
    hits
}
