//! A dead letter on its way again: what is to be done with it, and who is told how it ended.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::event::DestinationId;
use crate::fate::KeptReason;

/// What the payload of a record that is a dead letter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterPayload {
    /// The letter as JSON; its log event is made into a document again.
    Event,
    /// The letter as JSON; the document in it is sent as it is.
    Document,
    /// The Kinesis record that could not be decoded.
    Record,
}

/// The order to send one dead letter again. Settled, or dropped before that, it reports how it ended.
#[derive(Debug)]
pub struct Ticket {
    /// The letter's id.
    pub id: String,
    /// What the record's payload is.
    pub payload: LetterPayload,
    /// Where it goes in place of its route's destinations.
    pub to: Option<DestinationId>,
    number: i64,
    kept: OnceLock<KeptReason>,
    settled: OnceLock<()>,
    returns: Arc<Returns>,
}

impl Ticket {
    /// An order for the letter with this number in the store.
    #[must_use]
    pub fn new(
        (number, id): (i64, String),
        payload: LetterPayload,
        to: Option<DestinationId>,
        returns: Arc<Returns>,
    ) -> Self {
        let (kept, settled) = (OnceLock::new(), OnceLock::new());
        Self { id, payload, to, number, kept, settled, returns }
    }

    /// The letter stays in the store; the first reason counts.
    pub fn keep(&self, reason: KeptReason) {
        _ = self.kept.set(reason);
    }

    /// All its events have ended. It reports at once: a batch that was split holds the record, though
    /// it owes nothing any more, until its last part has ended.
    pub(super) fn settle(&self) {
        if self.settled.set(()).is_ok() {
            self.report(self.kept.get().copied());
        }
    }

    fn report(&self, kept: Option<KeptReason>) {
        self.returns.add(Returned { number: self.number, kept });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settled.get().is_none() {
            self.report(Some(self.kept.get().copied().unwrap_or(KeptReason::Abandoned)));
        }
    }
}

/// How the replay of a letter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The letter's number in the store.
    pub number: i64,
    /// Why it stays there; without a reason all its events are where they belong.
    pub kept: Option<KeptReason>,
}

/// Where tickets report; a few bytes for each letter that is on its way.
#[derive(Debug, Default)]
pub struct Returns {
    ended: Mutex<Vec<Returned>>,
    changed: Notify,
}

impl Returns {
    fn add(&self, returned: Returned) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(returned);
        self.changed.notify_one();
    }

    /// All that have ended since the last call; waits for the first. For one caller. Cancel safe.
    pub async fn next(&self) -> Vec<Returned> {
        loop {
            let ended =
                std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
            if !ended.is_empty() {
                return ended;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn ticket(returns: &Arc<Returns>, number: i64) -> Ticket {
        Ticket::new((number, "id".to_owned()), LetterPayload::Event, None, Arc::clone(returns))
    }

    #[tokio::test]
    async fn every_ticket_reports_once_how_it_ended() {
        let returns = Arc::new(Returns::default());
        let (settled, kept, lost) = (ticket(&returns, 1), ticket(&returns, 2), ticket(&returns, 3));
        assert!(returns.next().now_or_never().is_none());
        settled.settle();
        assert_eq!(
            returns.next().await,
            [Returned { number: 1, kept: None }],
            "before it is dropped"
        );
        drop(settled);
        kept.keep(KeptReason::Refused);
        kept.keep(KeptReason::Discarded);
        kept.settle();
        drop((kept, lost));
        let ended = returns.next().await;
        let ended: Vec<_> = ended.iter().map(|letter| (letter.number, letter.kept)).collect();
        let abandoned = Some(KeptReason::Abandoned);
        assert_eq!(ended, [(2, Some(KeptReason::Refused)), (3, abandoned)]);
        assert!(returns.next().now_or_never().is_none());
    }
}
