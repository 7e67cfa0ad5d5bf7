//! Decides how far a shard may be checkpointed: up to the last record of the contiguous settled
//! prefix.
//!
//! Records are opened in the order in which Kinesis returned them and settle in any order. The
//! tracker knows records only; how many fates a record still owes is the record's own business.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::event::SequenceNumber;

/// The place of an open record in its shard's tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u64);

/// The records of one shard between being read and being settled.
#[derive(Debug, Default)]
pub struct AckTracker {
    /// The number of the first slot in `open`.
    first: u64,
    open: VecDeque<(SequenceNumber, bool)>,
}

impl AckTracker {
    /// Takes in the next record of the shard.
    pub fn open(&mut self, at: SequenceNumber) -> Slot {
        self.open.push_back((at, false));
        Slot(self.first + self.open.len() as u64 - 1)
    }

    /// Notes that every event of the record has a fate. Returns the new checkpoint when the
    /// contiguous settled prefix grew. Settling a slot twice changes nothing.
    pub fn settle(&mut self, slot: Slot) -> Option<SequenceNumber> {
        let offset = usize::try_from(slot.0.checked_sub(self.first)?).ok()?;
        let (_, settled) = self.open.get_mut(offset)?;
        *settled = true;
        let mut prefix = None;
        while self.open.front().is_some_and(|(_, settled)| *settled) {
            prefix = self.open.pop_front().map(|(at, _)| at);
            self.first += 1;
        }
        prefix
    }

    /// Records that were opened and lie beyond the settled prefix.
    #[must_use]
    pub fn open_records(&self) -> usize {
        self.open.len()
    }
}

/// How far a shard has got, as its checkpointer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last record of the contiguous settled prefix, once there is one.
    pub settled: Option<SequenceNumber>,
    /// Records read and not yet in that prefix.
    pub open: usize,
}

/// A shard's tracker, shared by its consumer, the encoders and the delivery pools.
#[derive(Debug, Default)]
pub struct ShardAcks {
    tracker: Mutex<AckTracker>,
    progress: watch::Sender<Progress>,
}

impl ShardAcks {
    /// Takes in the next record of the shard.
    pub fn open(&self, at: SequenceNumber) -> Slot {
        let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = tracker.open(at);
        let open = tracker.open_records();
        self.progress.send_modify(|progress| progress.open = open);
        slot
    }

    /// Notes that every event of the record has a fate.
    pub fn settle(&self, slot: Slot) {
        // The lock is kept while publishing: two settlers must not publish in the wrong order.
        let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = tracker.settle(slot);
        let open = tracker.open_records();
        if let Some(at) = grown {
            self.progress.send_modify(|progress| *progress = Progress { settled: Some(at), open });
        }
    }

    /// Follows the shard's progress.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(n: usize) -> SequenceNumber {
        SequenceNumber::new(&format!("{}", 1000 + n))
    }

    #[test]
    fn a_gap_holds_the_checkpoint_back() {
        let mut tracker = AckTracker::default();
        let slots: Vec<_> = (0..3).map(|n| tracker.open(at(n))).collect();
        assert_eq!(tracker.settle(slots[1]), None);
        assert_eq!(tracker.settle(slots[2]), None);
        assert_eq!(tracker.settle(slots[0]), Some(at(2)));
        assert_eq!(tracker.open_records(), 0);
    }

    #[test]
    fn settling_twice_changes_nothing() {
        let mut tracker = AckTracker::default();
        let first = tracker.open(at(0));
        let second = tracker.open(at(1));
        assert_eq!(tracker.settle(first), Some(at(0)));
        assert_eq!(tracker.settle(first), None);
        assert_eq!(tracker.settle(second), Some(at(1)));
    }

    proptest! {
        /// Whatever the order, the checkpoint is the last record before the first unsettled one.
        #[test]
        fn the_checkpoint_is_the_contiguous_settled_prefix(
            order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
            upto in 0..40usize,
        ) {
            let acks = ShardAcks::default();
            let slots: Vec<_> = (0..40).map(|n| acks.open(at(n))).collect();
            let mut settled = [false; 40];
            for n in order.into_iter().take(upto) {
                acks.settle(slots[n]);
                settled[n] = true;
                let prefix = settled.iter().take_while(|done| **done).count();
                let seen = acks.progress().borrow().clone();
                prop_assert_eq!(seen.settled, prefix.checked_sub(1).map(at));
                prop_assert_eq!(acks.tracker.lock().unwrap().open_records(), 40 - prefix);
            }
        }
    }
}
