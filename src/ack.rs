//! Decides how far a shard may be checkpointed: up to the last record of the contiguous settled
//! prefix.
//!
//! Records are opened in the order in which Kinesis returned them and settle in any order. The
//! tracker knows records only; how many fates a record still owes is the record's own business.
//!
//! A daemon that stops gives back what no event was taken out of yet, from the end: those records are
//! as if they had never been read, and the checkpoint stays before them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// This slot and all after it were given back.
    given_back: Option<u64>,
}

#[derive(Debug)]
struct Open {
    record: Settled,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No event was taken out of it.
    Waiting,
    Begun,
    Settled,
}

impl AckTracker {
    /// Takes in the next record of the shard.
    pub fn open(&mut self, at: SequenceNumber) -> Slot {
        let record = Settled { number: at, user_record: None };
        self.open.push_back(Open { record, stage: Stage::Waiting });
        Slot(self.first + self.open.len() as u64 - 1)
    }

    /// Notes that every event of the record has a fate. Returns the new checkpoint when the
    /// contiguous settled prefix grew; `user_record` is the last one of a KPL aggregate. Settling a
    /// slot twice changes nothing.
    pub fn settle(&mut self, slot: Slot, user_record: Option<u32>) -> Option<Settled> {
        let open = self.get_mut(slot)?;
        open.stage = Stage::Settled;
        open.record.user_record = user_record;
        let mut prefix = None;
        while self.open.front().is_some_and(|open| open.stage == Stage::Settled) {
            prefix = self.open.pop_front().map(|open| open.record);
            self.first += 1;
        }
        prefix
    }

    /// Notes that events are about to be taken out of the record. False where it was given back:
    /// then none may be.
    pub fn begin(&mut self, slot: Slot) -> bool {
        if self.is_given_back(slot) {
            return false;
        }
        if let Some(open) = self.get_mut(slot) {
            open.stage = Stage::Begun;
        }
        true
    }

    /// Notes that no event was taken out of the record after all.
    pub fn put_off(&mut self, slot: Slot) {
        if let Some(open) = self.get_mut(slot) {
            open.stage = Stage::Waiting;
        }
        if self.given_back.is_some() {
            self.give_back();
        }
    }

    /// Gives back every record after the last one that was begun.
    pub fn give_back(&mut self) {
        let last = self.open.iter().rposition(|open| open.stage != Stage::Waiting);
        self.given_back = Some(self.first + last.map_or(0, |last| last as u64 + 1));
    }

    /// Whether the record was given back.
    #[must_use]
    pub fn is_given_back(&self, slot: Slot) -> bool {
        self.given_back.is_some_and(|from| slot.0 >= from)
    }

    /// Records that were opened, lie beyond the settled prefix, and are to be settled; and those
    /// that were given back.
    #[must_use]
    pub fn open_and_given_back(&self) -> (usize, usize) {
        let kept = self.given_back.map(|from| usize::try_from(from - self.first));
        let open =
            kept.and_then(Result::ok).map_or(self.open.len(), |kept| kept.min(self.open.len()));
        (open, self.open.len() - open)
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Open> {
        let offset = usize::try_from(slot.0.checked_sub(self.first)?).ok()?;
        self.open.get_mut(offset)
    }
}

/// How far a shard has got, as its checkpointer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last record of the contiguous settled prefix, once there is one.
    pub settled: Option<Settled>,
    /// Records read and not yet in that prefix, without those that were given back.
    pub open: usize,
    /// Records that were given back: another daemon will read them.
    pub given_back: usize,
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
        self.change(|tracker| (tracker.open(at), None))
    }

    /// Notes that every event of these records has a fate; with each, its last user record where it
    /// is a KPL aggregate. Who follows the progress hears of all of them at once.
    pub fn settle(&self, records: impl IntoIterator<Item = (Slot, Option<u32>)>) {
        self.change(|tracker| {
            let grown = records.into_iter().fold(None, |grown, (slot, user_record)| {
                tracker.settle(slot, user_record).or(grown)
            });
            ((), grown)
        });
    }

    /// Notes that events are about to be taken out of the record. False where it was given back.
    #[must_use]
    pub fn begin(&self, slot: Slot) -> bool {
        self.lock().begin(slot)
    }

    /// Notes that no event was taken out of the record after all.
    pub fn put_off(&self, slot: Slot) {
        self.change(|tracker| (tracker.put_off(slot), None));
    }

    /// Gives back every record after the last one that was begun.
    pub fn give_back(&self) {
        self.change(|tracker| (tracker.give_back(), None));
    }

    /// Whether the record was given back.
    #[must_use]
    pub fn is_given_back(&self, slot: Slot) -> bool {
        self.lock().is_given_back(slot)
    }

    fn change<T>(&self, change: impl FnOnce(&mut AckTracker) -> (T, Option<Settled>)) -> T {
        // The lock is kept while publishing: two must not publish in the wrong order.
        let mut tracker = self.lock();
        let (result, grown) = change(&mut tracker);
        let (open, given_back) = tracker.open_and_given_back();
        self.progress.send_if_modified(|progress| {
            let settled = grown.or_else(|| progress.settled.clone());
            let now = Progress { settled, open, given_back };
            // That more is to be settled comes with every record, and nobody waits for it.
            let is_news = now.open < progress.open
                || (&now.settled, now.given_back) != (&progress.settled, progress.given_back);
            *progress = now;
            is_news
        });
        result
    }

    fn lock(&self) -> MutexGuard<'_, AckTracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the shard's progress. It tells of changes, but for more that was opened.
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
        assert_eq!(tracker.open_and_given_back(), (0, 0));
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

    #[test]
    fn what_was_not_begun_is_given_back_from_the_end() {
        let acks = ShardAcks::default();
        let slots: Vec<_> = (0..5).map(|n| acks.open(at(n))).collect();
        assert!([0, 1, 3].into_iter().all(|n| acks.begin(slots[n])));
        acks.give_back();
        let progress = || acks.progress().borrow().clone();
        // The third waits, but the fourth was begun: both are to be settled.
        assert_eq!((progress().open, progress().given_back), (4, 1));
        assert!(acks.begin(slots[2]) && !acks.begin(slots[4]));
        acks.put_off(slots[2]);
        acks.put_off(slots[3]);
        assert_eq!((progress().open, progress().given_back), (2, 3));
        assert!(acks.is_given_back(slots[2]) && !acks.is_given_back(slots[1]));
        acks.settle([(slots[1], None), (slots[0], None)]);
        assert_eq!(progress(), Progress { settled: Some(settled(1)), open: 0, given_back: 3 });
        // A page that was on its way.
        let late = acks.open(at(5));
        assert!(!acks.begin(late));
        assert_eq!((progress().open, progress().given_back), (0, 4));
    }

    proptest! {
        /// Whatever the order, the checkpoint is the last record before the first unsettled one.
        #[test]
        fn the_checkpoint_is_the_contiguous_settled_prefix(
            order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(),
            upto in 0..40usize,
            at_once in 1..5usize,
        ) {
            let acks = ShardAcks::default();
            let slots: Vec<_> = (0..40).map(|n| acks.open(at(n))).collect();
            let mut done = [false; 40];
            for together in order[..upto].chunks(at_once) {
                acks.settle(together.iter().map(|n| (slots[*n], None)));
                together.iter().for_each(|n| done[*n] = true);
                let prefix = done.iter().take_while(|done| **done).count();
                let seen = acks.progress().borrow().clone();
                prop_assert_eq!(seen.settled, prefix.checked_sub(1).map(settled));
                prop_assert_eq!(seen.open, 40 - prefix);
            }
        }
    }
}
