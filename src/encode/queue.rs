//! The records that wait for an encoder thread, and those that are parked.
//!
//! What it holds is bounded in bytes by the fetch budget, which every record has its share of, so
//! pushing never waits. A parked record waits for something that another thread gives back: room
//! for a body of its destination, the slot for very large records, or the letter store.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::dead_letter::Unstored;
use crate::event::{DestinationId, Moment};
use crate::memory::Waiting;
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
    /// While it waits for a destination or for the dead-letter store.
    pub waiting: Option<Waiting>,
    /// While its letter is one that the dead-letter store refused.
    pub unstored: Option<Unstored>,
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
    /// For threads.
    changed: Condvar,
    /// For tasks.
    told: Notify,
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
            state.fresh.push_back(Work {
                ack,
                next_event: 0,
                counted: false,
                unstored: None,
                parked: None,
                waiting: None,
            });
            self.changed.notify_one();
        }
    }

    /// Puts a record aside until `place` may be tried again.
    pub fn park(&self, place: Place, mut work: Work) {
        work.waiting = match place {
            Place::Destination(_) | Place::Letters => Some(work.ack.record().wait()),
            Place::Large => None,
        };
        let mut state = self.lock();
        if !state.cut_short {
            state.parked.push((place, work));
            // What it waits for may have come back a moment ago.
            self.tell();
        }
    }

    /// Tells the threads that something may have come back that a parked record waits for.
    pub fn wake(&self) {
        // The lock makes sure that no thread is between looking and sleeping.
        drop(self.lock());
        self.tell();
    }

    /// From now on nobody waits for more events before a body is sent.
    pub fn hurry(&self) {
        self.lock().hurried = true;
        self.tell();
    }

    /// No fresh record will come: threads end when all is read.
    pub fn close(&self) {
        self.lock().closed = true;
        self.tell();
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
        self.tell();
    }

    /// What there is to do now, if anything: a parked record that `may_run`, else a fresh one.
    /// `has_open` says whether the caller has bodies open.
    pub fn try_next(&self, may_run: impl Fn(Place) -> bool, has_open: bool) -> Option<Next> {
        self.lock().take(may_run, has_open)
    }

    /// The same, waiting for it for as long as the caller's oldest open body may stay open, or
    /// [`LONGEST_WAIT`] when it has none.
    pub fn next(&self, may_run: impl Fn(Place) -> bool, open_for: Option<Duration>) -> Next {
        // Not anew after each wake-up: in a busy daemon there is always one sooner.
        let until = Instant::now() + longest(open_for);
        let mut state = self.lock();
        loop {
            if let Some(next) = state.take(&may_run, open_for.is_some()) {
                return next;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Timeout;
            }
            let woken = self.changed.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits as `next` does, for a task: `told` is to be taken before `try_next` found nothing.
    pub(super) async fn wait(&self, told: Notified<'_>, open_for: Option<Duration>) {
        // Either way the caller looks again.
        _ = tokio::time::timeout(longest(open_for), told).await;
    }

    /// Resolves when something has changed since.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    fn tell(&self) {
        self.changed.notify_all();
        self.told.notify_waiters();
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

impl State {
    fn take(&mut self, may_run: impl Fn(Place) -> bool, has_open: bool) -> Option<Next> {
        if self.cut_short {
            return Some(Next::Closed);
        }
        // What was given back is for the encoder to drop, whatever it waits for.
        let is_over = |work: &Work| self.hurried && work.ack.is_given_back();
        let runnable =
            self.parked.iter().position(|(place, work)| is_over(work) || may_run(*place));
        if let Some(place) = runnable {
            let (_, mut work) = self.parked.remove(place);
            work.waiting = None;
            return Some(Next::Work(work));
        }
        if let Some(work) = self.fresh.pop_front() {
            return Some(Next::Work(work));
        }
        if self.closed && self.parked.is_empty() {
            return Some(Next::Closed);
        }
        (self.hurried && has_open).then_some(Next::Hurry)
    }
}

fn longest(open_for: Option<Duration>) -> Duration {
    open_for.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
}
