//! What a real cluster does to those who write to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::bulk::Name;
use crate::rig::{Outcome, Rig, SMALL_BODIES, Servers};
use crate::servers::{Engine, OpenSearch};

const EVENTS: usize = 2_000;

/// An engine of the scenario's own.
async fn engine(settings: &'static [&'static str]) -> Arc<OpenSearch> {
    let engine = OpenSearch::start_with(Engine::OpenSearch3, settings).await;
    Arc::new(engine.expect("it could be had a moment ago"))
}

/// One thread that writes, one request that may wait: real 429s, for some items of a body.
pub(crate) async fn write_queue_full(servers: Arc<Servers>) -> Outcome {
    let settings = &["node.processors: 1", "thread_pool.write.queue_size: 1"];
    let engine = engine(settings).await;
    servers.kinesis.create_stream("write_queue_full", 2).await;
    let mut rig = Rig::on(&servers, "write_queue_full", engine, &servers.kinesis.url()).await;
    // Each body becomes a request of each shard of the index.
    rig.destination += SMALL_BODIES;
    rig.destination += "shards = 6\nbulk.max_in_flight = 8\n";
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    let wanted = servers.size(200, 5_000);
    let began = Instant::now();
    loop {
        let metrics = daemon.metrics().await;
        let busy = metrics.sum("logweir_retries_total", &[("reason", "busy")]);
        if busy >= wanted {
            let by = metrics.by("logweir_retries_total", "reason");
            rig.say(&format!("events sent again: {by:?}"));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "only {busy} were refused");
        if rig.search.acknowledged().len() + 1_000 > rig.ledger.put_so_far() {
            rig.put(1_000).await;
        }
    }
    rig.finish(daemon, Instant::now()).await
}

/// Bodies that the node's indexing pressure can never admit: they shrink until they fit.
pub(crate) async fn never_admitted(servers: Arc<Servers>) -> Outcome {
    let engine = engine(&["indexing_pressure.memory.limit: 64kb"]).await;
    servers.kinesis.create_stream("never_admitted", 2).await;
    let mut rig = Rig::on(&servers, "never_admitted", engine, &servers.kinesis.url()).await;
    rig.ledger.text = "x".repeat(2_000);
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    let began = Instant::now();
    rig.settled(&daemon, began).await;
    let stats = rig.engine.get("_nodes/stats/indexing_pressure").await;
    let nodes = stats.body["nodes"].as_object().unwrap();
    let rejections: u64 = nodes
        .values()
        .map(|node| &node["indexing_pressure"]["memory"]["total"]["coordinating_rejections"])
        .map(|rejections| rejections.as_u64().unwrap())
        .sum();
    assert!(rejections > 0, "{stats:?}");
    rig.say(&format!("{rejections} requests rejected by the node"));
    rig.finish(daemon, began).await
}

async fn settings(engine: &OpenSearch, settings: Value) {
    let answer = engine.put("_cluster/settings", &json!({"transient": settings})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The disk passes its flood stage: by watermarks that no disk fulfils.
pub(crate) async fn flood_stage(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "flood_stage").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let disk = "cluster.routing.allocation.disk";
    let free = |of: &str| (format!("{disk}.watermark.{of}"), json!("900tb"));
    let flooded: serde_json::Map<_, _> = [
        (format!("{disk}.threshold_enabled"), json!(true)),
        ("cluster.info.update.interval".to_owned(), json!("10s")),
        free("low"),
        free("high"),
        free("flood_stage"),
    ]
    .into_iter()
    .collect();
    settings(&rig.engine, Value::Object(flooded.clone())).await;
    let began = Instant::now();
    while !is_flooded(&rig).await {
        assert!(began.elapsed() < Duration::from_secs(120), "no flood stage");
        sleep(Duration::from_millis(500)).await;
    }
    rig.put(EVENTS).await;
    let said = daemon.not_ready("flood_stage").await;
    rig.say(said.trim());
    sleep(Duration::from_secs(servers.size(1, 60))).await;
    let lifted = flooded.keys().map(|key| (key.clone(), Value::Null)).collect();
    settings(&rig.engine, Value::Object(lifted)).await;
    // The engine takes its block away by itself only while it watches the disk.
    settings(&rig.engine, json!({"cluster.routing.allocation.disk.threshold_enabled": false}))
        .await;
    let block = json!({"index.blocks.read_only_allow_delete": null});
    let answer = rig.engine.put("_all/_settings", &block).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.finish(daemon, Instant::now()).await
}

async fn is_flooded(rig: &Rig) -> bool {
    let settings = rig.engine.get(&format!("{}/_settings", rig.indices())).await;
    settings.body.to_string().contains("read_only_allow_delete")
}

/// What is done to an index of an earlier day, and undone.
async fn one_index(
    servers: &Arc<Servers>,
    name: &'static str,
    (block, unblock): (&str, &str),
    reason: &str,
) -> Outcome {
    let mut rig = Rig::new(servers, name).await;
    rig.ledger.days = 4;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let old = rig.index(3);
    change(&rig, &old, block).await;
    rig.put(EVENTS).await;
    let said = daemon.not_ready(&format!("holds index {old}: {reason}")).await;
    rig.say(said.trim());
    // The other indices go on meanwhile.
    let healthy = daemon.metrics_when("all others delivered", |metrics| {
        metrics.sum("logweir_events_in_flight", &[]) == EVENTS as u64 / 4
    });
    healthy.await;
    sleep(Duration::from_secs(servers.size(1, 60))).await;
    change(&rig, &old, unblock).await;
    let mended = Instant::now();
    rig.finish(daemon, mended).await
}

async fn change(rig: &Rig, index: &str, change: &str) {
    let answer = match change.split_once(' ') {
        Some((path, settings)) => {
            let settings = serde_json::from_str(settings).unwrap();
            rig.engine.put(&format!("{index}/{path}"), &settings).await
        }
        None => rig.engine.post(&format!("{index}/{change}"), &Value::Null).await,
    };
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// One old index takes no writes, among healthy ones.
pub(crate) async fn read_only_index(servers: Arc<Servers>) -> Outcome {
    let block = r#"_settings {"index.blocks.write":true}"#;
    let unblock = r#"_settings {"index.blocks.write":null}"#;
    one_index(&servers, "read_only_index", (block, unblock), "write_block").await
}

/// One index is closed.
pub(crate) async fn closed_index(servers: Arc<Servers>) -> Outcome {
    one_index(&servers, "closed_index", ("_close", "_open"), "index_closed").await
}

/// Somebody puts a template that no document fits; a new index is made by it. What would have become
/// a stream of dead letters is held, and goes on when the template and the index are mended.
pub(crate) async fn template_replaced(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "template_replaced").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let wrong = json!({
        "index_patterns": [rig.indices()],
        "priority": 100_000,
        "template": {"mappings": {"properties": {"message": {"type": "ip"}}}},
    });
    let put = rig.engine.put("_index_template/template_replaced_wrong", &wrong).await;
    assert_eq!(put.status, 200, "{put:?}");
    // Half of the events are for an index that is not there yet.
    rig.ledger.days = 2;
    rig.put(2 * EVENTS).await;
    let said = daemon.not_ready("breaker").await;
    rig.say(said.trim());
    for path in ["_index_template/template_replaced_wrong", &rig.index(1)] {
        let deleted = rig.engine.delete(path).await;
        assert_eq!(deleted.status, 200, "{deleted:?}");
    }
    let mended = Instant::now();
    rig.settled(&daemon, mended).await;
    let letters = rig.letters().len();
    assert!(letters < EVENTS / 2, "{letters} dead letters, for one wrong template");
    let (code, said) = rig.run(&["dead-letter", "replay"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rig.letters().len(), 0);
    rig.say(&format!("{letters} dead letters, all of them replayed"));
    rig.finish(daemon, mended).await
}

/// Somebody deletes an index that is being written: what it held was acknowledged, by the proxy's log.
pub(crate) async fn index_deleted(servers: Arc<Servers>) -> Outcome {
    let mut rig = Rig::new(&servers, "index_deleted").await;
    rig.put(EVENTS).await;
    let daemon = rig.daemon().await;
    rig.settled(&daemon, Instant::now()).await;
    let index = rig.index(0);
    let acknowledged: BTreeSet<Name> = rig.search.acknowledged().into_keys().collect();
    let deleted = rig.engine.delete(&index).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    rig.deleted.deleted = acknowledged;
    rig.put(EVENTS).await;
    let began = Instant::now();
    rig.finish(daemon, began).await
}
