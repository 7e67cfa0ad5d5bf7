//! Which shard is read from where: one lease per shard, with its checkpoint.

mod gap;
mod sqlite;

use std::fmt;
use std::str::FromStr;

pub use self::gap::{Gap, GapKind};
pub use self::sqlite::{LeaseTable, Which};
use crate::event::{SequenceNumber, ShardId, StreamKey, Timestamp};
use crate::state::StateError;

/// Where reading a shard starts or goes on.
///
/// As text (in lease tables, and for people) it is `TRIM_HORIZON`, `AT_TIMESTAMP` with
/// milliseconds since the epoch, the digits of a sequence number, for a KPL aggregate with `/` and a
/// sub-sequence number, or `SHARD_END`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that the stream still holds.
    TrimHorizon,
    /// The first record that arrived at or after a time.
    At(Timestamp),
    /// The record after this one.
    After(SequenceNumber),
    /// In this record, a KPL aggregate, behind the user record of this number. Named even when that
    /// is its last: a KCL worker that goes on from here would else send all of it again.
    Within(SequenceNumber, u32),
    /// The shard was split or merged away and everything in it has a fate.
    ShardEnd,
}

const TRIM_HORIZON: &str = "TRIM_HORIZON";
const AT_TIMESTAMP: &str = "AT_TIMESTAMP ";
const SHARD_END: &str = "SHARD_END";

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str(TRIM_HORIZON),
            Self::At(time) => write!(f, "{AT_TIMESTAMP}{}", time.0),
            Self::After(number) => write!(f, "{number}"),
            Self::Within(number, user_record) => write!(f, "{number}/{user_record}"),
            Self::ShardEnd => f.write_str(SHARD_END),
        }
    }
}

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not TRIM_HORIZON, AT_TIMESTAMP with milliseconds, a sequence number (of an aggregate with \
     /sub-sequence number) or SHARD_END"
)]
pub struct NotAPosition(String);

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let error = || NotAPosition(text.to_owned());
        if let Some(millis) = text.strip_prefix(AT_TIMESTAMP) {
            return Ok(Self::At(Timestamp(millis.parse().map_err(|_| error())?)));
        }
        match text {
            TRIM_HORIZON => Ok(Self::TrimHorizon),
            SHARD_END => Ok(Self::ShardEnd),
            text => {
                let (number, user_record) = match text.split_once('/') {
                    Some((number, user_record)) => (number, Some(user_record)),
                    None => (text, None),
                };
                let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                if number.is_empty() || !is_number(number) {
                    return Err(error());
                }
                let number = SequenceNumber::new(number);
                Ok(match user_record {
                    None => Self::After(number),
                    Some(within) if is_number(within) => {
                        Self::Within(number, within.parse().map_err(|_| error())?)
                    }
                    Some(_) => return Err(error()),
                })
            }
        }
    }
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

/// What went wrong with a lease table.
#[derive(Debug, thiserror::Error)]
pub enum LeaseTableError {
    /// Reading the leases of a stream.
    #[error("could not read the leases of {stream}")]
    List {
        /// The stream.
        stream: StreamKey,
        /// Why.
        source: StateError,
    },
    /// Reading which streams have leases.
    #[error("could not read which streams have leases")]
    Streams {
        /// Why.
        source: StateError,
    },
    /// Making a lease.
    #[error("could not make the lease on {shard}")]
    Create {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: StateError,
    },
    /// Keeping or reading gaps.
    #[error("could not keep track of possible gaps")]
    Gaps {
        /// Why.
        source: StateError,
    },
    /// Moving checkpoints by hand.
    #[error("could not reset checkpoints")]
    Reset {
        /// Why.
        source: StateError,
    },
    /// Moving a checkpoint.
    #[error("could not move the checkpoint of {shard}")]
    Checkpoint {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: StateError,
    },
    /// Forgetting a lease.
    #[error("could not remove the lease on {shard}")]
    Remove {
        /// The shard.
        shard: ShardId,
        /// Why.
        source: StateError,
    },
    /// A checkpoint for a lease that somebody removed: whoever reads the shard must stop.
    #[error("could not move the checkpoint of {shard}: its lease was removed")]
    Missing {
        /// The shard.
        shard: ShardId,
    },
    /// A checkpoint for a lease that somebody else has moved or made again meanwhile: whoever reads the
    /// shard by the lease as it was must stop.
    #[error("could not move the checkpoint of {shard}: somebody else has moved it")]
    Taken {
        /// The shard.
        shard: ShardId,
    },
    /// A checkpoint inside a shard that was already read to its end.
    #[error("could not move the checkpoint of {shard}: it was already read to its end")]
    Ended {
        /// The shard.
        shard: ShardId,
    },
    /// A row that this logweir did not write. It is never taken for a fresh start.
    #[error(
        "the lease on {shard} holds `{text}`, which cannot be read; remove the lease to read the shard from its start again"
    )]
    Unreadable {
        /// The shard.
        shard: ShardId,
        /// What it holds.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positions() -> impl Strategy<Value = Position> {
        prop_oneof![
            Just(Position::TrimHorizon),
            Just(Position::ShardEnd),
            any::<i64>().prop_map(|millis| Position::At(Timestamp(millis))),
            "[0-9]{1,129}".prop_map(|digits| Position::After(SequenceNumber::new(&digits))),
            ("[0-9]{1,129}", any::<u32>())
                .prop_map(|(digits, k)| Position::Within(SequenceNumber::new(&digits), k)),
        ]
    }

    proptest! {
        #[test]
        fn a_position_reads_back_as_it_was_written(position in positions()) {
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn no_other_text_is_a_position(text in "[A-Z_]{0,14} ?[-+/0-9a-z]{0,12}") {
            if let Ok(position) = text.parse::<Position>() {
                let again: Position = position.to_string().parse().unwrap();
                prop_assert_eq!(again, position);
            }
        }
    }

    #[test]
    fn what_is_almost_a_position_is_none() {
        let wrong = [
            "",
            "LATEST",
            "AT_TIMESTAMP",
            "AT_TIMESTAMP x",
            "12a",
            " 12",
            "-1",
            "shard_end",
            "/1",
            "12/",
            "12/+1",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition(text.to_owned())));
        }
    }
}
