//! Tells a destination that takes nothing for long from one that is slow for a moment: nobody need act
//! for it to go on, but somebody should know.

use std::time::Duration;

use crate::destination::{RetryReason, Verdict};
use crate::event::Moment;

/// What takes nothing for this long is shown as if it were held.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Nothing but retries came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// Since when.
    pub(super) since: Moment,
    /// Why, in the last answer.
    pub(super) reason: RetryReason,
    /// What was said.
    pub(super) error: String,
}

/// What the answers of a destination say of it, and their lack.
#[derive(Debug, Default)]
pub(super) struct Fruitless {
    /// The run of fruitless answers, if the last one was.
    run: Option<Stuck>,
    /// Since when requests are under way and nothing has been answered.
    silent_since: Option<Moment>,
}

impl Fruitless {
    /// Takes note of a request.
    pub(super) fn asked(&mut self, now: Moment) {
        self.silent_since.get_or_insert(now);
    }

    /// Takes note that there was an answer of some kind, and whether others are still to come.
    pub(super) fn heard(&mut self, now: Moment, others_come: bool) {
        self.silent_since = others_come.then_some(now);
    }

    /// Takes note of an answer, before it is `heard`: of why it was good for nothing, or that it was
    /// good for something.
    pub(super) fn note(&mut self, now: Moment, retry: Option<(RetryReason, &str)>) {
        let begun = self.run.as_ref().map(|stuck| stuck.since).or(self.silent_since);
        self.run = retry.map(|(reason, error)| Stuck {
            since: begun.unwrap_or(now),
            reason,
            error: error.to_owned(),
        });
    }

    /// Takes note of an answer by items.
    pub(super) fn note_items(&mut self, now: Moment, verdicts: &[Verdict]) {
        let mut retry = None;
        for verdict in verdicts {
            match verdict {
                Verdict::Retry { reason, error } => retry = Some((*reason, error.as_str())),
                Verdict::Delivered(_) | Verdict::Refused(_) | Verdict::Hold(_) => {
                    return self.note(now, None);
                }
            }
        }
        self.note(now, retry);
    }

    /// Why nothing is taken, once that has gone on for long.
    pub(super) fn stuck(&self, now: Moment) -> Option<Stuck> {
        let is_long = |since: &Moment| now.since(*since) >= STUCK_AFTER;
        let run = self.run.as_ref().filter(|stuck| is_long(&stuck.since)).cloned();
        run.or_else(|| {
            let since = self.silent_since.filter(is_long)?;
            let error = "no bulk request has been answered so far".to_owned();
            Some(Stuck { since, reason: RetryReason::Timeout, error })
        })
    }

    /// When `stuck` will say so, if nothing better comes until then.
    pub(super) fn stuck_at(&self, now: Moment) -> Option<Moment> {
        let since = self.run.as_ref().map(|stuck| stuck.since).or(self.silent_since)?;
        Some(since.after(STUCK_AFTER)).filter(|at| *at > now)
    }
}
