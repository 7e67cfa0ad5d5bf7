//! Which shard is read from where: one lease per shard, with its checkpoint.

use crate::event::{SequenceNumber, ShardId, StreamKey, Timestamp};

/// Where reading a shard starts or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that the stream still holds.
    TrimHorizon,
    /// The first record that arrived at or after a time.
    At(Timestamp),
    /// The record after this one.
    After(SequenceNumber),
    /// The shard was split or merged away and everything in it has a fate.
    ShardEnd,
}

/// A shard that this daemon reads or has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The stream, by name, ARN and creation time.
    pub stream: StreamKey,
    /// The shard.
    pub shard: ShardId,
    /// The shards it was split or merged from; they are read to their end first.
    pub parents: Vec<ShardId>,
    /// Everything up to here has a fate.
    pub checkpoint: Position,
    /// When the checkpoint last moved, by the wall clock; for people, decides nothing.
    pub updated: Timestamp,
}
