//! logweir's assumptions and, piece by piece, logweir itself against the real servers.
//!
//! `tests/run --fast` leaves this binary out. How a server is had, and ended: `servers.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic: that is how it fails"
)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a test says what it found")]

mod alerts;
mod bulk_answers;
mod cloudtrail_documents;
mod cloudwatch_logs;
mod daemon_metrics;
#[path = "../bench/data/mod.rs"]
#[allow(dead_code, unused_imports, clippy::string_slice, reason = "the benchmark needs more of it")]
mod data;
mod dead_letters;
mod documents;
mod engines;
mod envelopes;
#[path = "../it/facts.rs"]
#[allow(dead_code, reason = "other tests are left out without them")]
mod facts;
#[path = "../it/fake_bulk.rs"]
mod fake_bulk;
mod kcl_worker;
mod kinesis_round_trip;
#[path = "../it/kpl.rs"]
mod kpl;
mod lambda_documents;
mod lambda_oracle;
mod machine;
mod metrics;
mod metrics_lint;
mod rereading;
mod resharding;
mod rig;
mod servers;
mod systemd_day;
mod sigv4;
mod trail_events;
mod vpc_flow_queries;
