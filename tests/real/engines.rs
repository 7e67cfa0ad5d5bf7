//! Every engine gets the same documents, byte for byte, and answers the same questions.
//!
//! What a document is to be is what the SQLite destination of the same daemon holds. The engines
//! are large and start slowly, so only `tests/run --all` asks for them, one after another.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use fastrand::Rng;
use logweir::event::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cloudtrail_documents::{fields, mapping};
use crate::envelopes::{LogEvent, put, records};
use crate::metrics::Metrics;
use crate::rig::{Daemon, Rig, route};
use crate::servers::{Engine, Kinesis, OpenSearch};
use crate::trail_events::{self, TrailEvent, log_events, twins};
use crate::vpc_flow_queries::Flows;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What differs at an engine.
struct Its {
    engine: Engine,
    stream: &'static str,
    /// How it maps objects that may hold anything.
    open: &'static str,
    /// How many lifecycle policies it takes for our three indices.
    policies: usize,
}

#[tokio::test]
async fn opensearch_3_takes_and_finds_every_event() {
    let (engine, stream, open) = (Engine::OpenSearch3, "engine-os3", "flat_object");
    takes_and_finds_every_event(Its { engine, stream, open, policies: 0 }).await;
}

#[tokio::test]
async fn opensearch_2_takes_and_finds_every_event() {
    let (engine, stream, open) = (Engine::OpenSearch2, "engine-os2", "flat_object");
    takes_and_finds_every_event(Its { engine, stream, open, policies: 0 }).await;
}

#[tokio::test]
async fn elasticsearch_6_takes_and_finds_every_event() {
    let (engine, stream, open) = (Engine::Elasticsearch6, "engine-es6", "object");
    takes_and_finds_every_event(Its { engine, stream, open, policies: 0 }).await;
}

#[tokio::test]
async fn elasticsearch_7_takes_and_finds_every_event() {
    let (engine, stream, open) = (Engine::Elasticsearch7, "engine-es7", "object");
    takes_and_finds_every_event(Its { engine, stream, open, policies: 0 }).await;
}

#[tokio::test]
async fn elasticsearch_8_takes_and_finds_every_event() {
    let (engine, stream, open) = (Engine::Elasticsearch8, "engine-es8", "flattened");
    takes_and_finds_every_event(Its { engine, stream, open, policies: 3 }).await;
}

async fn takes_and_finds_every_event(its: Its) {
    let Its { engine, stream, open, policies } = its;
    if env::var("LOGWEIR_ENGINES").as_deref() != Ok("1") {
        println!("left out: LOGWEIR_ENGINES is not 1");
        return;
    }
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(search) = OpenSearch::start_own(engine).await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    kinesis.create_stream(stream, 2).await;
    let (mut trail, flows) = (trail_events::trail(), Flows::read());
    trail.extend(twins(&trail));
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("documents.db");
    let rig = rig(&kinesis, stream, &destinations(&search, &copy, policies > 0), &flows.routes());
    assert_set_up_once(&rig, 3 + 2 * policies);

    let daemon = rig.start().await;
    let all = trail.len() as u64 + flows.count() + 2;
    let metrics = feed(&kinesis, stream, &trail, &flows, &daemon).await;
    assert_delivered(&metrics, "created", all - 1);
    daemon.stop().await;
    assert_documents_are(&search, &copy).await;
    assert_found(&search, &trail, open).await;
    flows.assert_found(&search).await;

    rig.forget();
    let daemon = rig.start().await;
    let metrics = daemon.settled(all).await;
    assert_delivered(&metrics, "already_present", all - 1);
    daemon.stop().await;
    assert_taken_without_ids(&search, engine, &kinesis, &flows).await;
}

/// With ids of its own it takes all events too. An OpenSearch gets them as a Serverless collection
/// would.
async fn assert_taken_without_ids(
    search: &OpenSearch,
    engine: Engine,
    kinesis: &Kinesis,
    flows: &Flows,
) {
    let kind = match engine {
        Engine::OpenSearch2 | Engine::OpenSearch3 => "opensearch_serverless",
        Engine::Elasticsearch7 | Engine::Elasticsearch8 => "detect",
        // It creates nothing without an id.
        Engine::Elasticsearch6 => return,
    };
    let stream = format!("{engine:?}-without-ids").to_lowercase();
    kinesis.create_stream(&stream, 1).await;
    let destination = format!("url = \"{}\"\nengine = \"{kind}\"\nids = false", search.url());
    let routes = flows.routes().replace("vpc-flowlogs-", "without-ids-");
    let rig = Rig::new(kinesis, &stream, &destination, &routes);
    let daemon = rig.start().await;
    flows.put(kinesis, &stream, &mut Rng::with_seed(6)).await;
    let metrics = daemon.settled(flows.count()).await;
    let created = metrics.sum("logweir_events_delivered_total", &[("result", "created")]);
    assert_eq!(created, flows.count());
    assert_eq!(daemon.errors(), Vec::<Value>::new());
    daemon.stop().await;
    search.refresh("without-ids-*").await;
    assert_eq!(search.count("without-ids-*").await, flows.count());
}

/// The engine, and a SQLite file that gets all events too. Each engine holds what it has read from
/// compressed bodies.
fn destinations(search: &OpenSearch, copy: &Path, has_policies: bool) -> String {
    let keep = if has_policies { "keep = \"30d\"\n" } else { "" };
    let (url, copy) = (search.url(), copy.display());
    let search = format!("url = \"{url}\"\nbulk.compression = \"gzip\"\n{keep}");
    format!("{search}\n[destination.copy.sqlite]\npath = \"{copy}\"\n")
}

fn rig(kinesis: &Kinesis, stream: &str, destinations: &str, flow_routes: &str) -> Rig {
    let trail = route("trail", "parse = \"cloudtrail\"", "trail-%Y.%m.%d");
    let own = route("own", "parse.json.own_fields = true", "own-%Y.%m.%d");
    let routes = format!("{trail}{own}{flow_routes}");
    let routes = routes.replace("to = [\"search\"]", "to = [\"search\", \"copy\"]");
    Rig::new(kinesis, stream, destinations, &routes)
}

/// A dry run changes nothing, the first run installs all, the second nothing.
fn assert_set_up_once(rig: &Rig, steps: usize) {
    for (options, expected) in [
        (&["setup", "--dry-run"][..], "PUT /"),
        (&["setup"][..], ": installed"),
        (&["setup"][..], ": unchanged"),
    ] {
        let output = rig.run(options);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(said.matches(expected).count(), steps, "{expected}:\n{said}");
    }
}

/// Puts all events and waits for their fates. The last one cannot be taken: its field is text
/// where that of the one before it is a number.
async fn feed(
    kinesis: &Kinesis,
    stream: &str,
    trail: &[TrailEvent],
    flows: &Flows,
    daemon: &Daemon,
) -> Metrics {
    let (now, mut rng) = (Timestamp::now().0, Rng::with_seed(5));
    put(kinesis, stream, &records("trail", log_events(trail, 0, now), &mut rng)).await;
    flows.put(kinesis, stream, &mut rng).await;
    let mut events = trail.len() as u64 + flows.count();
    for (number, message) in [r#"{"n":1}"#, r#"{"n":"one"}"#].into_iter().enumerate() {
        let event = LogEvent::new(1_000_000 + number, now, message);
        put(kinesis, stream, &records("own", vec![event], &mut rng)).await;
        events += 1;
        daemon.settled(events).await;
    }
    daemon.settled(events).await
}

/// All but the one that cannot be taken.
fn assert_delivered(metrics: &Metrics, result: &str, events: u64) {
    let labels = [("destination", "search"), ("result", result)];
    assert_eq!(metrics.sum("logweir_events_delivered_total", &labels), events);
    let refused = metrics.by("logweir_events_dead_lettered_total", "reason");
    assert_eq!(refused, [("mapping".to_owned(), 1)].into());
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    hits: Hits<'a>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    _index: String,
    _id: String,
    #[serde(borrow)]
    _source: &'a RawValue,
}

/// By index and id; the one of the refused event is not asked for.
type Documents = BTreeMap<(String, String), String>;

async fn assert_documents_are(search: &OpenSearch, copy: &Path) {
    let pattern = "trail-*,vpc-flowlogs-*";
    search.refresh(pattern).await;
    let all = json!({"size": 10_000, "query": {"match_all": {}}});
    let text = search.search_text(pattern, &all).await;
    let found: Found<'_> = serde_json::from_str(&text).unwrap();
    let found = found.hits.hits.into_iter();
    let found: Documents =
        found.map(|hit| ((hit._index, hit._id), hit._source.get().to_owned())).collect();
    let sql = "SELECT index_name, id, document FROM documents WHERE index_name NOT LIKE 'own-%'";
    let copy = Connection::open(copy).unwrap();
    let mut rows = copy.prepare(sql).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get(2)?));
    let expected: Documents = rows.query_map([], row).unwrap().map(Result::unwrap).collect();
    assert!(found.keys().eq(expected.keys()), "{} of {}", found.len(), expected.len());
    for (key, document) in &expected {
        assert_eq!(&found[key], document, "{key:?}");
    }
    println!("{} documents are the same, byte for byte", found.len());
}

/// The index has few fields, our mapping, and answers by a leaf.
async fn assert_found(search: &OpenSearch, trail: &[TrailEvent], open: &str) {
    let fields = fields(search, "trail-*").await;
    assert!(fields < 1_000, "{fields} fields");
    let answer = search.get("trail-*/_mapping").await;
    for index in answer.body.as_object().unwrap().values() {
        assert_eq!(mapping(index)["properties"]["requestParameters"]["type"], open, "{index}");
    }
    let is_user = |event: &&TrailEvent| {
        let identity: Option<Value> =
            event.fields.get("userIdentity").and_then(|json| serde_json::from_str(json.get()).ok());
        identity.is_some_and(|identity| identity["type"] == "IAMUser")
    };
    let expected = trail.iter().filter(is_user).count();
    let query = json!({"query": {"term": {"user_identity_type": "IAMUser"}}});
    let answer = search.post("trail-*/_count", &query).await;
    println!("{fields} fields; {} of {} events by users", answer.body["count"], trail.len());
    assert!(expected > 0 && expected < trail.len());
    assert_eq!(answer.body["count"], expected, "{answer:?}");
}
