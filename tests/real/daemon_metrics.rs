//! The `/metrics` page of a daemon that has worked: complete, and as Prometheus wants it.

use logweir::event::Timestamp;

use crate::envelopes::{LogEvent, put, records};
use crate::metrics::Metrics;
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch, promtool_complaints};

/// The names that the README lists; `tests/it/readme.rs` holds it to them.
fn listed() -> Vec<String> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `logweir_"));
    let name = |row: &str| row.split(['{', '`']).next().unwrap().to_owned();
    rows.map(|row| format!("logweir_{}", name(row))).collect()
}

#[tokio::test]
async fn the_metrics_page_is_complete_and_promtool_has_nothing_against_it() {
    let Some(search) = OpenSearch::start().await else { return };
    let Some(kinesis) = Kinesis::start().await else { return };
    let stream = "metrics";
    kinesis.create_stream(stream, 2).await;
    let routes = route("app", "parse = \"auto\"", "metrics-%Y.%m.%d");
    let rig = Rig::new(&kinesis, stream, &format!("url = \"{}\"", search.url()), &routes);
    let daemon = rig.start().await;
    assert_complete(&daemon.metrics_with("logweir_shard_lag_seconds", 2).await).await;

    let now = Timestamp::now().0;
    let rng = &mut fastrand::Rng::with_seed(8);
    let event = |n| LogEvent::new(n, now, &format!("line {n}"));
    put(&kinesis, stream, &records("app", (0..500).map(event).collect(), rng)).await;
    put(&kinesis, stream, &records("nobody's", (500..600).map(event).collect(), rng)).await;
    put(&kinesis, stream, &[b"no envelope".to_vec()]).await;
    let metrics = daemon.settled(600).await;
    assert_eq!(metrics.sum("logweir_events_filtered_total", &[("reason", "discard")]), 100);
    assert_eq!(metrics.sum("logweir_events_detected_total", &[("kind", "plain")]), 500);
    assert_complete(&metrics).await;
    daemon.stop().await;
}

async fn assert_complete(metrics: &Metrics) {
    let listed = listed();
    let is_absent = |name: &&String| !metrics.names().contains(name.as_str());
    let absent: Vec<_> = listed.iter().filter(is_absent).collect();
    assert!(absent.is_empty(), "{absent:?} are not on the page:\n{}", metrics.page());
    let Some(complaints) = promtool_complaints(metrics.page()).await else { return };
    assert_eq!(complaints, "");
    println!("{} metrics, none of {} absent, no complaints", metrics.names().len(), listed.len());
}
