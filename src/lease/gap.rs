//! Records that may have been lost before they were read, through no fault of ours: kept until an
//! operator accepts it, so that no restart hides it.

use std::time::Duration;

use crate::event::{ShardId, StreamKey, Timestamp};

/// A gap that nobody has accepted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamKey,
    /// The shard.
    pub shard: ShardId,
    /// How it came to be.
    pub kind: GapKind,
    /// When it was found, by the wall clock.
    pub found: Timestamp,
    /// How much time of the shard, at the least; exact to the millisecond.
    pub length: Duration,
}

/// How a gap came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapKind {
    /// Records were older than the stream's retention before they were read.
    Expired,
    /// The shard left the stream before it was read to its end.
    Vanished,
    /// The stream was deleted and made again under its name.
    FormerStream,
}

impl GapKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Expired, Self::Vanished, Self::FormerStream];

    /// The word for it in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Vanished => "vanished",
            Self::FormerStream => "former_stream",
        }
    }

    /// What happened, for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Expired => "records may have expired before they were read",
            Self::Vanished => "the shard left the stream before it was read to its end",
            Self::FormerStream => {
                "the stream was made again; what was unread in the former one is gone"
            }
        }
    }

    /// Whether the lease is of no use any more once the gap is accepted.
    #[must_use]
    pub const fn ends_lease(self) -> bool {
        match self {
            Self::Expired => false,
            Self::Vanished | Self::FormerStream => true,
        }
    }
}
