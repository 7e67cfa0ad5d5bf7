//! Where a checkpoint is moved to, seen from where it is: back means again, forward means never.

use std::cmp::Ordering;
use std::fmt;

use crate::event::{SequenceNumber, Timestamp};
use crate::lease::{Lease, Position};

/// A position with its time as people write it.
pub(super) struct Shown<'a>(pub(super) &'a Position);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Position::At(time) => write!(f, "AT_TIMESTAMP {time}"),
            other @ (Position::TrimHorizon
            | Position::After(_)
            | Position::Within(..)
            | Position::ShardEnd) => other.fmt(f),
        }
    }
}

/// What a move of a checkpoint does to the events in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// There are none.
    Still,
    Back,
    Forward,
    /// Forward, to a time that is yet to come.
    Ahead,
    /// One is a sequence number and the other a time.
    Unknown,
}

impl Course {
    /// As far as it can be known: a sequence number tells no time, but its record had arrived when
    /// the checkpoint moved there.
    pub(super) fn of(lease: &Lease, to: &Position, now: Timestamp) -> Self {
        use Position::{After, At, ShardEnd, TrimHorizon, Within};
        let from = &lease.checkpoint;
        if let (Some(from), Some(to)) = (number(from), number(to)) {
            return Self::by(from.cmp(&to));
        }
        match (from, to) {
            (_, At(time)) if *time > now => Self::Ahead,
            (At(from), At(to)) => Self::by(from.cmp(to)),
            (TrimHorizon, TrimHorizon) | (ShardEnd, ShardEnd) => Self::Still,
            (_, TrimHorizon) | (ShardEnd, _) => Self::Back,
            (TrimHorizon, _) | (_, ShardEnd) => Self::Forward,
            (_, At(time)) if *time >= lease.updated => Self::Forward,
            (At(_) | After(_) | Within(..), _) => Self::Unknown,
        }
    }

    const fn by(of_the_old: Ordering) -> Self {
        match of_the_old {
            Ordering::Less => Self::Forward,
            Ordering::Equal => Self::Still,
            Ordering::Greater => Self::Back,
        }
    }
}

/// The record, and the last user record in it that is not to be read.
fn number(position: &Position) -> Option<(&SequenceNumber, u32)> {
    match position {
        Position::After(number) => Some((number, u32::MAX)),
        Position::Within(number, user_record) => Some((number, *user_record)),
        Position::TrimHorizon | Position::At(_) | Position::ShardEnd => None,
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Still => "no change",
            Self::Back => "back, events in between are read again",
            Self::Forward => "forward, events in between are left out for good",
            Self::Ahead => "a time in the future, events until then may be left out for good",
            Self::Unknown => {
                "events in between are read again, or left out for good if that is forward"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ShardId, StreamKey};

    #[test]
    fn a_move_is_back_or_forward_where_it_can_be_known() {
        let (updated, now) = (Timestamp(1_000_000), Timestamp(2_000_000));
        for (from, to, course) in [
            ("100", "99", Course::Back),
            ("99", "100", Course::Forward),
            ("100", "100", Course::Still),
            ("100/3", "100", Course::Forward),
            ("100", "100/3", Course::Back),
            ("100/3", "100/3", Course::Still),
            ("100", "TRIM_HORIZON", Course::Back),
            ("TRIM_HORIZON", "100", Course::Forward),
            ("TRIM_HORIZON", "TRIM_HORIZON", Course::Still),
            ("TRIM_HORIZON", "AT_TIMESTAMP 5", Course::Forward),
            ("SHARD_END", "AT_TIMESTAMP 5", Course::Back),
            ("AT_TIMESTAMP 5", "AT_TIMESTAMP 6", Course::Forward),
            ("AT_TIMESTAMP 6", "AT_TIMESTAMP 5", Course::Back),
            ("AT_TIMESTAMP 5", "100", Course::Unknown),
            ("100", "AT_TIMESTAMP 999999", Course::Unknown),
            ("100", "AT_TIMESTAMP 1000000", Course::Forward),
            ("100", "AT_TIMESTAMP 2000001", Course::Ahead),
            ("SHARD_END", "AT_TIMESTAMP 2000001", Course::Ahead),
        ] {
            let (stream, shard) = (StreamKey::new("a k t"), ShardId::new("shardId-0"));
            let checkpoint = from.parse().unwrap();
            let lease = Lease { stream, shard, parents: Vec::new(), checkpoint, updated };
            let found = Course::of(&lease, &to.parse().unwrap(), now);
            assert_eq!(found, course, "from {from} to {to}");
        }
    }

    #[test]
    fn a_time_is_shown_as_people_write_it() {
        let position = Position::At(Timestamp(1_795_586_400_000));
        assert_eq!(Shown(&position).to_string(), "AT_TIMESTAMP 2026-11-25T06:00:00.000Z");
        assert_eq!(Shown(&Position::ShardEnd).to_string(), "SHARD_END");
    }
}
