//! The records that wait for an encoder thread, and those that are parked.
//!
//! What it holds is bounded in bytes by the fetch budget, which every record has its share of, so
//! pushing never waits. A parked record waits for something that another thread gives back: room
//! for a body of its destination, the slot for very large records, or the letter store.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::{DestinationId, Moment};
use crate::record::AckToken;

/// How long a thread sleeps at most: some parked records wait for a time, not for another thread.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A record and how far it has been read.
#[derive(Debug)]
pub struct Work {
    /// The encoder's own share of the record's ack.
    pub ack: AckToken,
    /// Events before this ordinal are done.
    pub next_event: u32,
    /// Whether the record itself has been counted.
    pub counted: bool,
    /// Since when it is parked.
    pub parked: Option<Moment>,
}

/// What a parked record waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Room for a body of this destination.
    Destination(DestinationId),
    /// The slot for records that expand beyond the usual.
    Large,
    /// The dead-letter store.
    Letters,
}

/// What a thread is to do next.
#[derive(Debug)]
pub enum Next {
    /// Read this record on.
    Work(Work),
    /// Nothing to read; the wait is over.
    Timeout,
    /// Nothing to read, and nobody may wait: close the open bodies.
    Hurry,
    /// No record will ever come again.
    Closed,
}

/// The queue that all encoder threads share.
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    fresh: VecDeque<Work>,
    parked: Vec<(Place, Work)>,
    hurried: bool,
    closed: bool,
    cut_short: bool,
}

impl WorkQueue {
    /// Takes in a record. After `cut_short` it is dropped, and so stays open.
    pub fn push(&self, ack: AckToken) {
        let mut state = self.lock();
        if !state.cut_short {
            state.fresh.push_back(Work { ack, next_event: 0, counted: false, parked: None });
            self.changed.notify_one();
        }
    }

    /// Puts a record aside until `place` may be tried again.
    pub fn park(&self, place: Place, work: Work) {
        let mut state = self.lock();
        if !state.cut_short {
            state.parked.push((place, work));
            // What it waits for may have come back a moment ago.
            self.changed.notify_all();
        }
    }

    /// Tells the threads that something may have come back that a parked record waits for.
    pub fn wake(&self) {
        // The lock makes sure that no thread is between looking and sleeping.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// From now on nobody waits for more events before a body is sent.
    pub fn hurry(&self) {
        self.lock().hurried = true;
        self.changed.notify_all();
    }

    /// No fresh record will come: threads end when all is read.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Threads end at once; records that wait are dropped, and so stay open.
    pub fn cut_short(&self) {
        let dropped = {
            let mut state = self.lock();
            state.cut_short = true;
            state.closed = true;
            (std::mem::take(&mut state.fresh), std::mem::take(&mut state.parked))
        };
        drop(dropped);
        self.changed.notify_all();
    }

    /// The next record: a parked one that `may_run`, else a fresh one. Waits for it as long as the
    /// caller's oldest open body may stay open, or [`LONGEST_WAIT`] when it has none.
    pub fn next(&self, may_run: impl Fn(Place) -> bool, open_for: Option<Duration>) -> Next {
        let wait = open_for.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let mut state = self.lock();
        let mut waited = false;
        loop {
            if state.cut_short {
                return Next::Closed;
            }
            let runnable = state.parked.iter().position(|(place, _)| may_run(*place));
            if let Some(place) = runnable {
                return Next::Work(state.parked.remove(place).1);
            }
            if let Some(work) = state.fresh.pop_front() {
                return Next::Work(work);
            }
            if state.closed && state.parked.is_empty() {
                return Next::Closed;
            }
            if state.hurried && open_for.is_some() {
                return Next::Hurry;
            }
            if waited {
                return Next::Timeout;
            }
            let woken = self.changed.wait_timeout(state, wait);
            let (guard, result) = woken.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            waited = result.timed_out();
        }
    }

    /// Records that are parked now.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.lock().parked.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
