//! Reading a Kinesis data stream: which shards, from where, how fast, and how far it is safe.
//!
//! The *scheduler* lists the shards of one stream, gives each a lease, and runs a *shard consumer*
//! for each that may be read now: parents before their children. A consumer pages through its
//! shard while the fetch budget lets it, hands every record on, and a *checkpointer* follows the
//! records' acks into the lease table. What a call failed with decides who must act; what may
//! have been lost without us is a *possible gap* and keeps the source from being ready.

mod admission;
mod call_error;
mod calls;
mod checkpointer;
mod client;
mod config;
mod gap_watch;
mod metrics;
mod page;
mod poll;
mod scheduler;
mod shard_consumer;
mod shard_sync;
mod status;

pub use self::admission::Admission;
pub use self::call_error::{CallError, FailureReason};
pub use self::calls::{Call, Connect, FetchedRecord, Page, ShardCalls, StreamCalls, StreamFacts};
pub use self::client::{OpenError, by_sdk};
pub use self::config::{Read, Start, StreamArn, StreamConfig};
pub use self::metrics::KinesisMetrics;
pub use self::scheduler::{RecordSink, Source, SourceSetup};
pub use self::shard_sync::ListedShard;
pub use self::status::{PossibleGap, ShardState, ShardStatus, SourceHandle, SourceStatus};
