//! logweir carries CloudWatch Logs out of Kinesis Data Streams into search engines, and accounts
//! for every event on the way.
//!
//! The path of a record: the *scheduler* owns shards and runs a *shard consumer* for each, which
//! fetches records while the memory budget allows it. *Encoder* threads take a record, inflate it,
//! *decode* the CloudWatch Logs envelopes in it, choose a *route* for each, *parse* every event and
//! write its document straight into the open body of its destinations. A full body travels as a
//! *batch* to the *delivery* pool of its *destination*, which sends, retries, splits or holds it,
//! and hands refused items to the *dead letters*. Each fate is reported to the record's *ack*; when
//! all events of a record have one, the checkpoint may move past it.
//!
//! Modules are listed bottom layer first, and a file names only modules listed above its own
//! (`tests/it/tidy.rs` checks it): no cycles, and this list is the architecture diagram.

pub mod event;
pub mod units;
mod fingerprint;
pub mod scan;
pub mod secret;
pub mod fate;
pub mod clock;
pub mod telemetry;
pub mod aws;
pub mod backoff;
pub mod shutdown;
pub mod memory;
pub mod ack;
pub mod record;
pub mod batch;
pub mod state;
pub mod lease;
pub mod kinesis;
pub mod decode;
pub mod dead_letter;
pub mod parse;
pub mod route;
pub mod encode;
pub mod destination;
pub mod delivery;
pub mod replay;
pub mod admin;
pub mod config;
pub mod app;
pub mod demo;
pub mod cli;
