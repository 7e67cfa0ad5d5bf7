//! How many requests a destination gets at once: additive increase, multiplicative decrease.
//!
//! Grows while answers come as fast as they did before, halves when the destination says that it
//! is busy, and gives way when answers take much longer than the best seen lately.

use std::time::Duration;

use crate::event::Moment;

/// Answers slower than this many times the best lately mean a queue is building up.
const SLOW: u32 = 4;

/// Answers below this are never called slow: scheduling noise is no queue.
const ALWAYS_FAST: Duration = Duration::from_millis(250);

/// One decrease per this long: the answers already under way tell of the same congestion.
const SETTLE: Duration = Duration::from_secs(1);

/// The concurrency limit of one destination.
#[derive(Clone, Debug)]
pub(super) struct Concurrency {
    most: usize,
    limit: f64,
    best: Option<Duration>,
    decreased: Option<Moment>,
}

impl Concurrency {
    /// Starts with one request at a time; never exceeds `most`.
    #[must_use]
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), limit: 1.0, best: None, decreased: None }
    }

    /// Requests that may be under way at once.
    #[must_use]
    pub(super) fn limit(&self) -> usize {
        // Between 1 and `most`, so the cast keeps the value.
        (self.limit as usize).clamp(1, self.most)
    }

    /// An answer came after `latency` and the destination was not busy.
    pub(super) fn answered(&mut self, now: Moment, latency: Duration) {
        // The best decays, so that a destination that became slower for good is accepted.
        let best = self.best.map_or(latency, |best| best.mul_f64(1.01).min(latency));
        self.best = Some(best);
        if latency > ALWAYS_FAST && latency > best * SLOW {
            self.decrease(now, 0.9);
        } else {
            self.limit = (self.limit + 1.0 / self.limit).min(self.most as f64);
        }
    }

    /// The destination said that it is busy, or did not answer.
    pub(super) fn busy(&mut self, now: Moment) {
        self.decrease(now, 0.5);
    }

    fn decrease(&mut self, now: Moment, factor: f64) {
        if self.decreased.is_some_and(|last| now.since(last) < SETTLE) {
            return;
        }
        self.decreased = Some(now);
        self.limit = (self.limit * factor).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn it_grows_to_the_most_and_no_further() {
        let mut concurrency = Concurrency::new(8);
        for n in 0..200 {
            concurrency.answered(at(n), Duration::from_millis(20));
        }
        assert_eq!(concurrency.limit(), 8);
    }

    #[test]
    fn busy_halves_it_once_a_second() {
        let mut concurrency = Concurrency::new(8);
        (0..200).for_each(|n| concurrency.answered(at(n), Duration::from_millis(20)));
        (0..10).for_each(|_| concurrency.busy(at(300)));
        assert_eq!(concurrency.limit(), 4);
        (301..310).for_each(|n| concurrency.busy(at(n)));
        assert_eq!(concurrency.limit(), 1);
    }

    #[test]
    fn much_slower_answers_make_it_give_way() {
        let mut concurrency = Concurrency::new(8);
        (0..200).for_each(|n| concurrency.answered(at(n), Duration::from_millis(100)));
        (200..210).for_each(|n| concurrency.answered(at(n), Duration::from_secs(2)));
        assert!(concurrency.limit() < 5, "{concurrency:?}");
    }
}
