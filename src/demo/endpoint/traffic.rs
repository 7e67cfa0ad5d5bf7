//! Counts what was asked, so that a test can tell whether a client keeps within AWS's limits.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use super::protocol::Operation;
use crate::event::Moment;

/// Requests by operation, and how densely `GetRecords` of each shard came.
#[derive(Default)]
pub(super) struct Traffic {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: HashMap<Operation, u64>,
    reads: HashMap<(String, String), Reads>,
}

/// The `GetRecords` of one shard within the last second, and the most that ever were.
#[derive(Default)]
struct Reads {
    recent: VecDeque<Moment>,
    most: usize,
}

impl Traffic {
    pub(super) fn count(&self, operation: Operation, shard: Option<(&str, &str)>, now: Moment) {
        let mut counts = self.lock();
        *counts.requests.entry(operation).or_default() += 1;
        if let Some((stream, shard)) = shard {
            let key = (stream.to_owned(), shard.to_owned());
            counts.reads.entry(key).or_default().count(now);
        }
    }

    pub(super) fn requests(&self, operation: Operation) -> u64 {
        self.lock().requests.get(&operation).copied().unwrap_or(0)
    }

    pub(super) fn busiest_second(&self, stream: &str, shard: &str) -> usize {
        let key = (stream.to_owned(), shard.to_owned());
        self.lock().reads.get(&key).map_or(0, |reads| reads.most)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reads {
    fn count(&mut self, now: Moment) {
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|first| now.since(*first) >= Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        self.most = self.most.max(self.recent.len());
    }
}
