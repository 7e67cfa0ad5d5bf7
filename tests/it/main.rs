//! The daemon against in-process servers, and rules about the source tree.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic: that is how it fails"
)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a test says what it found")]

mod aggregates;
mod alerts;
mod config_files;
mod daemon;
mod demo;
mod facts;
mod facts_bulk_errors;
mod fake_bulk;
mod foreign_text;
mod fuzz_samples;
mod kpl;
mod leases;
mod opensearch;
mod output;
mod packages;
mod readme;
mod replay;
mod replay_on_request;
mod routes;
mod secrets;
mod setup;
mod kinesis_source;
mod facts_documents;
mod small;
mod suites;
mod systemd;
mod templates;
mod tidy;
mod transport;
mod wrong_configs;
