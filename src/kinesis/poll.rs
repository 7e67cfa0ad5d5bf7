//! When a shard may be asked again, and for how many records: a plain state machine.
//!
//! Kinesis allows five `GetRecords` a second per shard, for all its consumers together.

use std::time::Duration;

use crate::event::Moment;

/// From an answer to the next call. Counted from the answer, so that whatever the way takes, the
/// calls arrive at least this far apart.
pub(super) const SPACING: Duration = Duration::from_millis(200);

/// From an answer to the next call at the tip of a shard where records keep coming: half the
/// calls are left to other consumers, such as the Lambda that is being replaced.
pub(super) const AT_TIP: Duration = Duration::from_millis(400);

/// From an answer to the next call at the tip of a shard where nothing new is.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// What one call may ask for (`GetRecords` in the API reference).
const MOST_RECORDS: usize = 10_000;

/// What a page may cost of the fetch budget, in bytes: as much as a shard gives in a second, which is 2 MB of
/// records (API reference), in Base64 and out of it. Larger ones would take memory and no time.
const MOST_BYTES: usize = 5 << 20;

/// The cost assumed for a record before the first was seen. Large, so that the first page fits a
/// small budget whatever is in the shard; the average is near the truth after a second.
const FIRST_GUESS: usize = 1 << 20;

/// The pace of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    next: Moment,
    failures: u32,
    /// A running average of what a record costs of the fetch budget, in bytes; none before the first.
    record_cost: Option<usize>,
}

impl Pace {
    /// When the next call may be made.
    #[must_use]
    pub(super) fn next(&self) -> Moment {
        self.next
    }

    /// How many records to ask for, so that their page fits `room` bytes of the budget and is no larger
    /// than it need be; at least one, or nothing would ever move.
    #[must_use]
    pub(super) fn limit(&self, room: usize) -> i32 {
        // The guess keeps the first page small enough: by the other limit too it would be a few records.
        let room = if self.record_cost.is_some() { room.min(MOST_BYTES) } else { room };
        let records = (room / self.record_cost().max(1)).clamp(1, MOST_RECORDS);
        i32::try_from(records).unwrap_or(i32::MAX)
    }

    /// What the next record is expected to cost of the budget, in bytes.
    #[must_use]
    pub(super) fn record_cost(&self) -> usize {
        self.record_cost.unwrap_or(FIRST_GUESS)
    }

    /// Takes note of an answer: `records` that cost `bytes` in all, `behind` the tip.
    pub(super) fn answered(
        &mut self,
        now: Moment,
        (records, bytes): (usize, usize),
        behind: Duration,
    ) {
        self.failures = 0;
        self.next = now.after(match (behind.is_zero(), records) {
            (true, 0) => IDLE,
            (true, _) => AT_TIP,
            (false, _) => SPACING,
        });
        if let Some(cost) = bytes.checked_div(records) {
            // Larger records count at once, smaller ones by and by: a page too large waits long.
            self.record_cost = Some(cost.max(usize::midpoint(self.record_cost(), cost)));
        }
    }

    /// Takes note of a failure; returns how many there were in a row.
    pub(super) fn failed(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Lets `wait` pass before the next call, and never less than the spacing.
    pub(super) fn wait(&mut self, now: Moment, wait: Duration) {
        self.next = self.next.max(now.after(wait.max(SPACING)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    proptest! {
        /// Whatever the answers, and however long each takes.
        #[test]
        fn there_are_never_more_than_five_calls_in_any_second(
            steps in prop::collection::vec((0usize..3, 0u64..3, 0u64..500, any::<bool>()), 1..200),
        ) {
            let mut pace = Pace::default();
            let mut now = Moment(ms(7));
            let mut arrivals: Vec<Moment> = Vec::new();
            for (records, behind, latency, fails) in steps {
                now = now.max(pace.next());
                // The call reaches Kinesis somewhere between its start and its answer.
                arrivals.push(now.after(ms(latency / 2)));
                now = now.after(ms(latency));
                if fails {
                    let failures = pace.failed();
                    pace.wait(now, ms(u64::from(failures % 3) * 150));
                } else {
                    pace.answered(now, (records, records * 1000), ms(behind));
                }
            }
            for window in arrivals.windows(6) {
                prop_assert!(window[5].since(window[0]) >= ms(1000));
            }
        }

        #[test]
        fn a_limit_is_one_that_kinesis_takes_and_fits_the_room(room: u32, cost in 1usize..1 << 25) {
            let mut pace = Pace::default();
            for _ in 0..60 {
                pace.answered(Moment::default(), (1, cost), Duration::ZERO);
            }
            let limit = pace.limit(room as usize);
            prop_assert!((1..=10_000).contains(&limit));
            let most = MOST_BYTES.min(room as usize);
            prop_assert!(limit == 1 || limit as usize * cost <= most);
        }
    }

    #[test]
    fn an_idle_shard_is_asked_once_a_second_and_a_backlog_without_delay() {
        let mut pace = Pace::default();
        let now = Moment(ms(5000));
        pace.answered(now, (0, 0), Duration::ZERO);
        assert_eq!(pace.next(), now.after(IDLE));
        pace.answered(now, (0, 0), ms(1));
        assert_eq!(pace.next(), now.after(SPACING));
        pace.answered(now, (3, 300), Duration::ZERO);
        assert_eq!(pace.next(), now.after(AT_TIP));
        pace.answered(now, (3, 300), ms(60_000));
        assert_eq!(pace.next(), now.after(SPACING));
    }

    #[test]
    fn failures_are_counted_until_an_answer_comes() {
        let mut pace = Pace::default();
        assert_eq!([pace.failed(), pace.failed()], [1, 2]);
        pace.answered(Moment::default(), (0, 0), Duration::ZERO);
        assert_eq!(pace.failed(), 1);
    }

    #[test]
    fn the_first_page_goes_by_the_guess_and_later_ones_by_what_a_shard_gives_in_a_second() {
        let mut pace = Pace::default();
        assert_eq!(pace.limit(28 << 20), 28);
        for _ in 0..60 {
            pace.answered(Moment::default(), (1, 1 << 10), Duration::ZERO);
        }
        assert_eq!(pace.limit(28 << 20), 5 << 10);
    }

    #[test]
    fn large_records_shrink_the_next_page_at_once() {
        let mut pace = Pace::default();
        pace.answered(Moment::default(), (10, 10 << 20), Duration::ZERO);
        assert_eq!(pace.limit(4 << 20), 4);
        pace.answered(Moment::default(), (10, 10 << 10), Duration::ZERO);
        assert!(pace.limit(4 << 20) < 10);
    }
}
