//! Cuts a batch into parts by the verdicts on its items.
//!
//! Items and verdicts are paired by their place, and only when their counts agree.

use crate::batch::Batch;
use crate::destination::{Hold, HoldScope, Refusal, RetryReason, Verdict};
use crate::event::RouteId;
use crate::fate::{Delivery, RefusalReason};

/// Items that the destination will never take, with the reason for each.
#[derive(Debug)]
pub(super) struct Refused {
    /// The items.
    pub(super) batch: Batch,
    /// A reason for each item, in order.
    pub(super) refusals: Vec<Refusal>,
}

/// Whether the answer to a probe says that the hold of this scope is over.
pub(super) fn passes(scope: &HoldScope, verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| match (verdict, scope) {
        (Verdict::Delivered(_), _) => true,
        // A document that is refused for itself says that the index takes writes again; where
        // the breaker holds a route it says the contrary.
        (Verdict::Refused(_), HoldScope::Route(_)) => false,
        (Verdict::Refused(_), HoldScope::Destination | HoldScope::Index(_)) => true,
        (Verdict::Retry { .. }, _) => false,
        // A hold of one index says that the destination as a whole works again.
        (Verdict::Hold(hold), HoldScope::Destination) => hold.scope != HoldScope::Destination,
        (Verdict::Hold(_), HoldScope::Index(_) | HoldScope::Route(_)) => false,
    })
}

/// A batch cut by the verdicts on its items; the delivered ones stay in it.
pub(super) struct Parts {
    /// Of the items that stay, those that were there before.
    pub(super) already_present: usize,
    /// To be sent again.
    pub(super) retry: Option<(Batch, RetryReason)>,
    /// Never to be taken.
    pub(super) refused: Option<Refused>,
    /// To wait for a person, by scope.
    pub(super) held: Vec<(Batch, Hold)>,
}

impl Parts {
    pub(super) fn cut(batch: &mut Batch, verdicts: Vec<Verdict>) -> Self {
        let is = |n: usize, wanted: fn(&Verdict) -> bool| verdicts.get(n).is_some_and(wanted);
        let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|v| wanted(v)).count();
        let already_present = count(|v| *v == Verdict::Delivered(Delivery::AlreadyPresent));
        if count(|v| matches!(v, Verdict::Delivered(_))) == verdicts.len() {
            return Self { already_present, retry: None, refused: None, held: Vec::new() };
        }
        // Cut from the original ordinals: all the others first, so that they stay valid.
        let mut undelivered = batch.take(|n, _| !is(n, |v| matches!(v, Verdict::Delivered(_))));
        let mut left: Vec<Verdict> =
            verdicts.into_iter().filter(|v| !matches!(v, Verdict::Delivered(_))).collect();
        let mut parts = Self { already_present, retry: None, refused: None, held: Vec::new() };
        while let Some(first) = left.first().cloned() {
            let alike = |verdict: &Verdict| match (&first, verdict) {
                (Verdict::Retry { .. }, Verdict::Retry { .. })
                | (Verdict::Refused(_), Verdict::Refused(_)) => true,
                (Verdict::Hold(one), Verdict::Hold(other)) => one.scope == other.scope,
                (
                    Verdict::Delivered(_)
                    | Verdict::Retry { .. }
                    | Verdict::Refused(_)
                    | Verdict::Hold(_),
                    _,
                ) => false,
            };
            let part = undelivered.take(|n, _| left.get(n).is_some_and(alike));
            let (alike, rest) = left.into_iter().partition(|verdict| alike(verdict));
            left = rest;
            parts.add(part, first, alike);
        }
        parts
    }

    fn add(&mut self, part: Batch, first: Verdict, verdicts: Vec<Verdict>) {
        match first {
            Verdict::Retry { reason, .. } => self.retry = Some((part, reason)),
            Verdict::Hold(hold) => self.held.push((part, hold)),
            Verdict::Refused(_) | Verdict::Delivered(_) => {
                let refusals = verdicts.into_iter().filter_map(|verdict| match verdict {
                    Verdict::Refused(refusal) => Some(refusal),
                    Verdict::Delivered(_) | Verdict::Retry { .. } | Verdict::Hold(_) => None,
                });
                self.refused = Some(Refused { batch: part, refusals: refusals.collect() });
            }
        }
    }
}

impl Refused {
    /// Moves the items of a route that were refused for a reason into a batch of their own.
    pub(super) fn take(&mut self, route: RouteId, reason: RefusalReason) -> (Batch, String) {
        let refusals = std::mem::take(&mut self.refusals);
        let wanted: Vec<bool> = self
            .batch
            .items()
            .iter()
            .zip(&refusals)
            .map(|(item, refusal)| item.route == route && refusal.reason == reason)
            .collect();
        let is_wanted = |n: usize| wanted.get(n).copied().unwrap_or(false);
        let part = self.batch.take(|n, _| is_wanted(n));
        let mut error = String::new();
        for (n, refusal) in refusals.into_iter().enumerate() {
            if !is_wanted(n) {
                self.refusals.push(refusal);
            } else if error.is_empty() {
                error = refusal.error;
            }
        }
        (part, error)
    }
}
