//! Notices when records may have expired before they were read: a plain state machine.
//!
//! Kinesis passes over what it has trimmed without a word: an iterator after an expired sequence
//! number starts at the oldest record that is left. Two signs remain. A place that was current
//! longer ago than the retention is gone. And a page at the very edge of the retention, to a
//! reader that was not there from the start, means that the edge has caught up with it.

use std::time::Duration;

use crate::event::Timestamp;
use crate::lease::Position;

/// Trimming and `MillisBehindLatest` are not exact to the second.
const MARGIN: Duration = Duration::from_secs(60);

/// What is known of a shard's place in time.
#[derive(Clone, Debug)]
pub(super) struct GapWatch {
    /// Everything that arrived until then was read.
    read_until: Option<Timestamp>,
    /// Whether the reader has once been away from the edge.
    was_inside: bool,
}

impl GapWatch {
    /// Begins at a lease's checkpoint, which was current at `updated`.
    pub(super) fn new(checkpoint: &Position, updated: Timestamp) -> Self {
        let (read_until, was_inside) = match checkpoint {
            // Nothing is promised about what was there before the oldest record.
            Position::TrimHorizon | Position::ShardEnd => (None, false),
            // The operator may well ask for a time before the oldest record.
            Position::At(_) => (Some(updated), false),
            Position::After(_) | Position::Within(..) => (Some(updated), true),
        };
        Self { read_until, was_inside }
    }

    /// Takes in a page that was read at `now` and is `behind` the tip of a stream that keeps its
    /// records for `retention`. Returns how much may have expired unread, at the least.
    pub(super) fn page(
        &mut self,
        now: Timestamp,
        behind: Duration,
        retention: Duration,
    ) -> Option<Duration> {
        let horizon = before(now, retention);
        let since = self.read_until.map_or(0, |until| horizon.0.saturating_sub(until.0));
        let expired = Duration::from_millis(u64::try_from(since).unwrap_or(0));
        let is_at_edge = behind.saturating_add(MARGIN) > retention;
        let caught_up = is_at_edge && self.was_inside;
        self.read_until = Some(before(now, behind));
        self.was_inside |= !is_at_edge;
        // One second stands for "some": how much the edge took is not told.
        (expired > MARGIN || caught_up).then(|| expired.max(Duration::from_secs(1)))
    }
}

fn before(now: Timestamp, by: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SequenceNumber;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn after() -> Position {
        Position::After(SequenceNumber::new("7"))
    }

    #[test]
    fn a_checkpoint_older_than_the_retention_is_a_gap_of_the_difference() {
        let mut watch = GapWatch::new(&after(), before(NOW, DAY + HOUR));
        assert_eq!(watch.page(NOW, HOUR, DAY), Some(HOUR));
        assert_eq!(watch.page(NOW, HOUR, DAY), None);
        let mut watch = GapWatch::new(&after(), before(NOW, HOUR));
        assert_eq!(watch.page(NOW, HOUR, DAY), None);
    }

    #[test]
    fn starting_at_the_oldest_record_is_no_gap() {
        let at = Position::At(before(NOW, DAY * 7));
        for start in [Position::TrimHorizon, at] {
            let mut watch = GapWatch::new(&start, NOW);
            assert_eq!(watch.page(NOW, DAY, DAY), None);
            assert_eq!(watch.page(Timestamp(NOW.0 + 500), DAY, DAY), None);
        }
    }

    #[test]
    fn a_reader_that_the_edge_catches_up_with_has_a_gap() {
        let mut watch = GapWatch::new(&Position::TrimHorizon, NOW);
        assert_eq!(watch.page(NOW, DAY, DAY), None);
        assert_eq!(watch.page(NOW, DAY - HOUR, DAY), None);
        let later = Timestamp(NOW.0 + 7_200_000);
        assert!(watch.page(later, DAY, DAY).unwrap() >= HOUR);
        assert!(watch.page(later, DAY, DAY).is_some());
    }
}
