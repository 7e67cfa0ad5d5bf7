//! The `/metrics` page of a daemon that has worked: complete, and as Prometheus wants it.

use logweir::event::Timestamp;

use crate::envelopes::{LogEvent, put, records};
use crate::metrics::Metrics;
use crate::rig::{Rig, route};
use crate::servers::{Kinesis, OpenSearch, promtool_complaints};

/// What dashboards and alerts ask for, whether or not anything has happened yet.
const NAMES: [&str; 35] = [
    "logweir_blocked_seconds_total",
    "logweir_build_info",
    "logweir_bulk_concurrency",
    "logweir_bulk_request_bytes",
    "logweir_bulk_request_seconds",
    "logweir_checkpoint_failures_total",
    "logweir_dead_letters_stored",
    "logweir_event_to_delivered_seconds",
    "logweir_events_abandoned_total",
    "logweir_events_dead_lettered_total",
    "logweir_events_delivered_total",
    "logweir_events_detected_total",
    "logweir_events_filtered_total",
    "logweir_events_in_flight",
    "logweir_events_matched_total",
    "logweir_events_read_total",
    "logweir_events_replayed_total",
    "logweir_events_routed_total",
    "logweir_events_undated_total",
    "logweir_fetch_blocked_seconds_total",
    "logweir_fields_as_text_total",
    "logweir_held",
    "logweir_in_flight_bytes",
    "logweir_kinesis_retries_total",
    "logweir_memory_budget_bytes",
    "logweir_parse_errors_total",
    "logweir_possible_duplicates_total",
    "logweir_possible_gap_seconds",
    "logweir_records_control_total",
    "logweir_records_read_total",
    "logweir_records_undecodable_total",
    "logweir_replays_in_flight",
    "logweir_retries_total",
    "logweir_shard_checkpoint_age_seconds",
    "logweir_shard_lag_seconds",
];

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
    let absent: Vec<_> = NAMES.iter().filter(|name| !metrics.names().contains(**name)).collect();
    assert!(absent.is_empty(), "{absent:?} are not on the page:\n{}", metrics.page());
    let Some(complaints) = promtool_complaints(metrics.page()).await else { return };
    assert_eq!(complaints, "");
    println!("{} metrics, none of {} absent, no complaints", metrics.names().len(), NAMES.len());
}
