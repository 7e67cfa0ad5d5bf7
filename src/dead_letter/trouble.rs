//! Why letters cannot be stored, and who waits for that to end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Moment;
use crate::telemetry::rate_limit::RateLimit;

/// What is known of the store's trouble.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    known: Mutex<Known>,
    /// Wakes whoever waits in the order in which they began to, unlike a watch: simulations must
    /// come out the same each time.
    stored: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    /// Why a write failed, until one succeeds and nobody waits any more.
    error: Option<String>,
    /// Whether the last write succeeded.
    is_over: bool,
    waiting: usize,
    told: RateLimit,
}

/// Somebody whose letters are still to be stored. Until it is dropped there is trouble.
#[derive(Debug)]
pub struct Unstored(Arc<Trouble>);

impl Trouble {
    pub(super) fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    /// Takes note of how a write ended.
    pub(super) fn note(&self, error: Option<String>) {
        let mut known = self.lock();
        known.is_over = error.is_none();
        if error.is_some() {
            known.error = error;
            return;
        }
        known.end();
        drop(known);
        self.stored.notify_waiters();
    }

    pub(super) fn wait(self: &Arc<Self>, error: String) -> Unstored {
        let mut known = self.lock();
        known.waiting += 1;
        // Another write may have succeeded since the one that failed.
        known.error.get_or_insert(error);
        drop(known);
        Unstored(Arc::clone(self))
    }

    pub(super) fn stored(&self) -> Arc<Notify> {
        Arc::clone(&self.stored)
    }

    pub(super) fn may_tell(&self, now: Moment) -> Option<u64> {
        self.lock().told.admit(now, "letters")
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn end(&mut self) {
        if self.is_over && self.waiting == 0 {
            self.error = None;
        }
    }
}

impl Drop for Unstored {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.waiting -= 1;
        known.end();
    }
}
