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

/// The run of fruitless answers, if the last one was.
#[derive(Debug, Default)]
pub(super) struct Fruitless(Option<Stuck>);

impl Fruitless {
    /// Takes note of an answer: of why it was good for nothing, or that it was good for something.
    pub(super) fn note(&mut self, now: Moment, retry: Option<(RetryReason, &str)>) {
        self.0 = retry.map(|(reason, error)| Stuck {
            since: self.0.as_ref().map_or(now, |stuck| stuck.since),
            reason,
            error: error.to_owned(),
        });
    }

    /// Takes note of an answer by items.
    pub(super) fn note_items(&mut self, now: Moment, verdicts: &[Verdict]) {
        let mut retry = None;
        for verdict in verdicts {
            match verdict {
                Verdict::Retry(reason) => retry = Some(*reason),
                Verdict::Delivered(_) | Verdict::Refused(_) | Verdict::Hold(_) => {
                    return self.note(now, None);
                }
            }
        }
        self.note(now, retry.map(|reason| (reason, "every item is to be sent again")));
    }

    /// The run, once it is long.
    pub(super) fn stuck(&self, now: Moment) -> Option<&Stuck> {
        self.0.as_ref().filter(|stuck| now.since(stuck.since) >= STUCK_AFTER)
    }
}
