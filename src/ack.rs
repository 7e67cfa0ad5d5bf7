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

/// A record that is settled, as a checkpoint names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its position in the shard.
    pub number: SequenceNumber,
    /// The number of its last user record, where it is a KPL aggregate.
    pub user_record: Option<u32>,
}

/// The records of one shard between being read and being settled.
#[derive(Debug, Default)]
pub struct AckTracker {
    /// The number of the first slot in `open`.
    first: u64,
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    record: Settled,
    is_settled: bool,
}

impl AckTracker {
    /// Takes in the next record of the shard.
    pub fn open(&mut self, at: SequenceNumber) -> Slot {
        let record = Settled { number: at, user_record: None };
        self.open.push_back(Open { record, is_settled: false });
        Slot(self.first + self.open.len() as u64 - 1)
    }

    /// Notes that every event of the record has a fate. Returns the new checkpoint when the
    /// contiguous settled prefix grew; `user_record` is the last one of a KPL aggregate. Settling a
    /// slot twice changes nothing.
    pub fn settle(&mut self, slot: Slot, user_record: Option<u32>) -> Option<Settled> {
        let offset = usize::try_from(slot.0.checked_sub(self.first)?).ok()?;
        let open = self.open.get_mut(offset)?;
        open.is_settled = true;
        open.record.user_record = user_record;
        let mut prefix = None;
        while self.open.front().is_some_and(|open| open.is_settled) {
            prefix = self.open.pop_front().map(|open| open.record);
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
    pub settled: Option<Settled>,
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
    pub fn settle(&self, slot: Slot, user_record: Option<u32>) {
        // The lock is kept while publishing: two settlers must not publish in the wrong order.
        let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = tracker.settle(slot, user_record);
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

    fn settled(n: usize) -> Settled {
        Settled { number: at(n), user_record: None }
    }

    #[test]
    fn a_gap_holds_the_checkpoint_back() {
        let mut tracker = AckTracker::default();
        let slots: Vec<_> = (0..3).map(|n| tracker.open(at(n))).collect();
        assert_eq!(tracker.settle(slots[1], None), None);
        assert_eq!(tracker.settle(slots[2], None), None);
        assert_eq!(tracker.settle(slots[0], None), Some(settled(2)));
        assert_eq!(tracker.open_records(), 0);
    }

    #[test]
    fn settling_twice_changes_nothing() {
        let mut tracker = AckTracker::default();
        let first = tracker.open(at(0));
        let second = tracker.open(at(1));
        assert_eq!(tracker.settle(first, None), Some(settled(0)));
        assert_eq!(tracker.settle(first, None), None);
        assert_eq!(tracker.settle(second, None), Some(settled(1)));
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
            let mut done = [false; 40];
            for n in order.into_iter().take(upto) {
                acks.settle(slots[n], None);
                done[n] = true;
                let prefix = done.iter().take_while(|done| **done).count();
                let seen = acks.progress().borrow().clone();
                prop_assert_eq!(seen.settled, prefix.checked_sub(1).map(settled));
                prop_assert_eq!(acks.tracker.lock().unwrap().open_records(), 40 - prefix);
            }
        }
    }
}
