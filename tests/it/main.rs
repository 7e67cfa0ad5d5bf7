//! The daemon against in-process servers, and rules about the source tree.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic: that is how it fails"
)]

mod alerts;
mod config_files;
mod daemon;
mod demo;
mod facts;
mod facts_bulk_errors;
mod fake_bulk;
mod opensearch;
mod packages;
mod readme;
mod replay;
mod setup;
mod kinesis_source;
mod facts_documents;
mod systemd;
mod templates;
mod tidy;
