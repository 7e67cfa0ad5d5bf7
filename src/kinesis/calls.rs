//! What is asked of Kinesis, whoever answers: AWS's SDK for a daemon, a simulated stream for
//! `tests/simulate`, where an SDK call would cost a hundred times what a whole step does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::admission::Admission;
use super::call_error::CallError;
use super::client::OpenError;
use super::config::StreamConfig;
use super::shard_sync::ListedShard;
use crate::event::{SequenceNumber, ShardId, StreamKey, StreamName, Timestamp};
use crate::lease::Position;
use crate::memory::FetchPermit;

/// A call that is under way.
pub type Call<'a, T> = BoxFuture<'a, Result<T, CallError>>;

/// Makes what calls about a stream go through, whenever a source begins.
pub type Connect = Arc<
    dyn Fn(StreamName, StreamConfig) -> BoxFuture<'static, Result<Arc<dyn StreamCalls>, OpenError>>
        + Send
        + Sync,
>;

/// Calls about one stream.
pub trait StreamCalls: Send + Sync {
    /// The AWS region.
    fn region(&self) -> &str;

    /// Asks what the stream is.
    fn describe(&self) -> Call<'_, StreamFacts>;

    /// Lists all shards: those that are open, and closed ones that may still hold records.
    fn shards(&self) -> Call<'_, Vec<ListedShard>>;

    /// The calls about one shard, its pages by `admission`.
    fn shard(&self, id: ShardId, admission: Admission) -> Box<dyn ShardCalls>;
}

/// Calls about one shard.
pub trait ShardCalls: Send + Sync {
    /// What decides when a page may be read.
    fn admission(&self) -> &Admission;

    /// Asks for an iterator from `position` on.
    fn iterator<'a>(&'a self, position: &'a Position) -> Call<'a, String>;

    /// Fetches the page at `iterator`, of at most `limit` records. May wait long, for the fetch
    /// budget. Cancel safe: a dropped call returns its bytes with the next one or the client.
    fn page<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Page>;
}

/// What a stream is, when it is asked.
#[derive(Clone, Debug)]
pub struct StreamFacts {
    /// Name, ARN and creation time.
    pub key: StreamKey,
    /// What the keys of all streams under that name and ARN begin with.
    pub key_prefix: String,
    /// How long records are kept.
    pub retention: Duration,
}

/// A fetched page of records.
#[derive(Debug)]
pub struct Page {
    /// Its records, in the order of the shard.
    pub records: Vec<FetchedRecord>,
    /// The bytes taken for it.
    pub permit: FetchPermit,
    /// Where to go on; none at the end of the shard.
    pub next: Option<String>,
    /// How far the page is from the tip of the shard.
    pub behind: Duration,
}

/// A record of a page.
#[derive(Clone, Debug)]
pub struct FetchedRecord {
    /// What was put.
    pub payload: Bytes,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// When Kinesis took it.
    pub arrival: Timestamp,
}
