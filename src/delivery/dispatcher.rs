//! Decides what happens to each batch of one destination: send, retry, split, hold, end.
//!
//! A state machine without I/O or clock: batches, answers and the time go in, steps come out. The
//! pool carries the steps out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::batch::{Batch, Item};
use crate::destination::{
    Answer, Hold, HoldReason, HoldScope, Refusal, RetryReason, Trouble, Verdict,
};
use crate::event::Moment;
use crate::fate::RefusalReason;

use super::breaker::Breaker;
use super::concurrency::Concurrency;
use super::gate::{Closed, Gate};
use super::hold::Holds;
use super::judge::{Parts, Refused, passes};
use super::ready::Ready;
use super::stuck::{Fruitless, Stuck};

/// What is sent again waits between 50 ms and 30 s.
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };

/// A request that failed this often while others passed is halved, to find the item at fault.
const HALVE_AFTER: u32 = 3;

/// An item that alone failed with 5xx this often …
const POISON_ATTEMPTS: u32 = 10;

/// … over at least this long, while others to its index pass, is poison (DESIGN §8).
const POISON_AFTER: Duration = Duration::from_secs(600);

/// What the pool is to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Send a batch and report the answer.
    Send(Outgoing),
    /// Make these dead letters, then settle them.
    Bury(Refused),
    /// Nothing to do before this moment, an answer or a new batch.
    Wait(Option<Moment>),
}

/// A batch to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The batch.
    pub(super) batch: Batch,
    probes: Option<HoldScope>,
}

/// Something that the pool counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retried {
    /// Why.
    pub(super) reason: RetryReason,
    /// Events sent again.
    pub(super) events: usize,
}

/// The state of one destination.
#[derive(Debug)]
pub struct Dispatcher {
    ready: Ready,
    delayed: Vec<(Moment, Batch)>,
    buried: VecDeque<Refused>,
    holds: Holds,
    gate: Gate,
    in_flight: usize,
    /// Events of what is in flight.
    events_in_flight: usize,
    concurrency: Concurrency,
    breaker: Breaker,
    /// When each index, and any, last accepted an item.
    accepted: BTreeMap<Arc<str>, Moment>,
    retried: Vec<Retried>,
    fruitless: Fruitless,
    delivered: Vec<(Batch, usize)>,
}

impl Dispatcher {
    /// Nothing to do yet; at most `most` requests at once.
    #[must_use]
    pub fn new(most: usize, breaker: bool) -> Self {
        Self {
            ready: Ready::default(),
            delayed: Vec::new(),
            buried: VecDeque::new(),
            holds: Holds::default(),
            gate: Gate::default(),
            in_flight: 0,
            events_in_flight: 0,
            concurrency: Concurrency::new(most),
            breaker: Breaker::new(breaker),
            accepted: BTreeMap::new(),
            retried: Vec::new(),
            fruitless: Fruitless::default(),
            delivered: Vec::new(),
        }
    }

    /// Takes in a batch from an encoder.
    pub(super) fn offer(&mut self, batch: Batch) {
        self.ready.push_back(batch);
    }

    /// Closes these routes and opens all others. Nothing is sent before the first call.
    pub(super) fn close(&mut self, now: Moment, closed: &Closed) {
        for batch in self.gate.set(now, closed).into_iter().rev() {
            self.ready.push_front(batch);
        }
    }

    /// What to do now. Called until it says `Wait`.
    pub(super) fn step(&mut self, now: Moment) -> Step {
        self.give_up_indices(now);
        if let Some(refused) = self.buried.pop_front() {
            return Step::Bury(refused);
        }
        if self.gate.is_unknown() || self.in_flight >= self.concurrency.limit() {
            return Step::Wait(self.fruitless.stuck_at(now));
        }
        if let Some((scope, batch)) = self.holds.probe(now) {
            return self.send(now, batch, Some(scope));
        }
        self.wake_delayed(now);
        while let Some(mut batch) = self.ready.pop() {
            self.gate.intercept(&mut batch);
            let given_up = self.holds.intercept(now, &mut batch);
            self.bury_given_up(given_up);
            if !batch.is_empty() {
                return self.send(now, batch, None);
            }
        }
        if let Some(refused) = self.buried.pop_front() {
            return Step::Bury(refused);
        }
        // A batch that was just intercepted may be the probe that was due.
        if let Some((scope, batch)) = self.holds.probe(now) {
            return self.send(now, batch, Some(scope));
        }
        let delayed = self.delayed.iter().map(|(at, _)| *at).min();
        let others = [self.holds.wake_at(now), self.fruitless.stuck_at(now)];
        Step::Wait(delayed.into_iter().chain(others.into_iter().flatten()).min())
    }

    fn send(&mut self, now: Moment, mut batch: Batch, probes: Option<HoldScope>) -> Step {
        self.in_flight += 1;
        self.events_in_flight += batch.len();
        self.fruitless.asked(now);
        batch.first_sent.get_or_insert(now);
        Step::Send(Outgoing { batch, probes })
    }

    /// Whether no batch is anywhere in it.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0
            && self.ready.is_empty()
            && self.delayed.is_empty()
            && self.buried.is_empty()
            && self.gate.is_empty()
            && self.holds.iter().all(|held| held.events() == 0)
    }

    /// What is held now, since when, and how many events wait for it.
    pub(super) fn holds(&self) -> impl Iterator<Item = (&Hold, Moment, usize)> {
        let held = self.holds.iter().map(|held| (&held.hold, held.since, held.events()));
        held.chain(self.gate.iter())
    }

    /// Why the destination takes nothing, once that has gone on for a while; with the events that
    /// wait for it.
    pub(super) fn stuck(&self, now: Moment) -> Option<(Stuck, usize)> {
        let stuck = self.fruitless.stuck(now)?;
        let waiting = self.ready.iter().chain(self.delayed.iter().map(|(_, batch)| batch));
        Some((stuck, self.events_in_flight + waiting.map(Batch::len).sum::<usize>()))
    }

    /// Requests that may be under way at once.
    #[must_use]
    pub(super) fn limit(&self) -> usize {
        self.concurrency.limit()
    }

    /// What was decided to be sent again since the last call.
    pub(super) fn take_retried(&mut self) -> Vec<Retried> {
        std::mem::take(&mut self.retried)
    }

    /// Batches that are at the destination since the last call, each with the number of items
    /// that were there before. The caller settles them.
    #[must_use]
    pub(super) fn take_delivered(&mut self) -> Vec<(Batch, usize)> {
        std::mem::take(&mut self.delivered)
    }

    /// Takes in the answer to a batch that `step` gave out.
    pub(super) fn answered(
        &mut self,
        now: Moment,
        sent: Outgoing,
        answer: Answer,
        latency: Duration,
    ) {
        let Outgoing { mut batch, probes } = sent;
        self.in_flight -= 1;
        self.events_in_flight -= batch.len();
        batch.attempts += 1;
        match answer.of(batch.len()) {
            Answer::Created(_) => {
                self.fruitless.note(now, None);
                self.concurrency.answered(now, latency);
                self.accept(now, batch, 0);
                if let Some(scope) = &probes {
                    self.release(scope);
                }
            }
            Answer::Items(verdicts) => {
                self.fruitless.note_items(now, &verdicts);
                let busy =
                    |v: &Verdict| matches!(v, Verdict::Retry { reason: RetryReason::Busy, .. });
                if verdicts.iter().any(busy) {
                    self.concurrency.busy(now);
                } else {
                    self.concurrency.answered(now, latency);
                }
                self.items(now, batch, verdicts, probes);
            }
            Answer::Whole(trouble) => self.trouble(now, batch, probes.as_ref(), trouble),
        }
        self.fruitless.heard(now, self.in_flight > 0);
    }

    fn items(
        &mut self,
        now: Moment,
        mut batch: Batch,
        verdicts: Vec<Verdict>,
        probes: Option<HoldScope>,
    ) {
        let passed = probes.as_ref().is_some_and(|scope| passes(scope, &verdicts));
        let parts = Parts::cut(&mut batch, verdicts);
        if !batch.is_empty() {
            self.accept(now, batch, parts.already_present);
        }
        if passed && let Some(scope) = &probes {
            self.release(scope);
        }
        // A probe that passed is over: from here on the rest of it is like any batch.
        let probes = probes.filter(|_| !passed);
        if let Some((part, reason)) = parts.retry {
            self.retry(now, part, (reason, None), probes.as_ref());
        }
        if let Some(refused) = parts.refused {
            self.refused(now, refused, probes.as_ref());
        }
        for (part, hold) in parts.held {
            self.held(now, part, hold, probes.as_ref());
        }
        self.unprobe(now, probes.as_ref());
    }

    fn accept(&mut self, now: Moment, batch: Batch, already_present: usize) {
        // A batch has each name once.
        let index = |item: &Item| batch.index_of(item).map(|name| name.as_ptr());
        let is_alike =
            |one: &Item, next: &Item| one.route == next.route && index(one) == index(next);
        // They come in long runs of one route and one index.
        for run in batch.items().chunk_by(is_alike) {
            let Some(item) = run.first() else { continue };
            if let Some(index) = batch.index_of(item) {
                match self.accepted.get_mut(index) {
                    Some(at) => *at = now,
                    None => _ = self.accepted.insert(Arc::clone(index), now),
                }
            }
            if !batch.is_replay() {
                self.breaker.accepted(item.route, run.len() as u64);
            }
        }
        self.delivered.push((batch, already_present));
    }

    fn release(&mut self, scope: &HoldScope) {
        if let HoldScope::Route(route) = scope {
            self.breaker.reset(*route);
        }
        // What waited longest goes first.
        for batch in self.holds.release(scope).into_iter().rev() {
            self.ready.push_front(batch);
        }
    }

    fn retry(
        &mut self,
        now: Moment,
        batch: Batch,
        (reason, at_least): (RetryReason, Option<Duration>),
        probes: Option<&HoldScope>,
    ) {
        self.retried.push(Retried { reason, events: batch.len() });
        if let Some(scope) = probes {
            // The destination did not say whether the hold is over: ask again later.
            self.holds.unanswered(now, scope, batch, fastrand::f64());
            return;
        }
        let is_server_error = reason == RetryReason::ServerError;
        let smaller_may_pass =
            reason == RetryReason::Oversized || is_server_error && batch.attempts >= HALVE_AFTER;
        if smaller_may_pass && batch.len() > 1 {
            self.halve(batch);
        } else if is_server_error && self.is_poison(now, &batch) {
            let error = "alone answered with 5xx again and again while others to its index pass";
            self.bury(batch, RefusalReason::Poison, error);
        } else {
            let at = now.after(RETRY.jittered(batch.attempts, at_least));
            self.delayed.push((at, batch));
        }
    }

    fn is_poison(&self, now: Moment, batch: &Batch) -> bool {
        let Some(first_sent) = batch.first_sent else { return false };
        let others_pass = |index: &Arc<str>| {
            self.accepted.get(index).is_some_and(|accepted| *accepted > first_sent)
        };
        batch.len() == 1
            && batch.attempts >= POISON_ATTEMPTS
            && now.since(first_sent) >= POISON_AFTER
            && batch.items().iter().filter_map(|item| batch.index_of(item)).all(others_pass)
    }

    fn trouble(&mut self, now: Moment, batch: Batch, probes: Option<&HoldScope>, trouble: Trouble) {
        self.fruitless.note(
            now,
            match &trouble {
                Trouble::Retry { reason, error, .. } => Some((*reason, error)),
                Trouble::TooLarge { .. } | Trouble::Refused(_) | Trouble::Hold(_) => None,
            },
        );
        match trouble {
            Trouble::Retry { reason, retry_after, error: _ } => {
                if is_congestion(reason) {
                    self.concurrency.busy(now);
                }
                self.retry(now, batch, (reason, retry_after), probes);
            }
            Trouble::TooLarge { .. } | Trouble::Refused(_) if batch.len() > 1 => self.halve(batch),
            Trouble::TooLarge { error } => self.bury(batch, RefusalReason::TooLarge, &error),
            Trouble::Refused(refusal) if self.others_pass(&batch) => {
                self.buried.push_back(Refused { batch, refusals: vec![refusal] });
            }
            Trouble::Refused(refusal) => {
                let scope = HoldScope::Destination;
                let hold = Hold { scope, reason: HoldReason::AllRefused, error: refusal.error };
                self.held(now, batch, hold, probes);
            }
            Trouble::Hold(hold) => self.held(now, batch, hold, probes),
        }
        // A request that failed for another reason says nothing about the hold that it probed.
        self.unprobe(now, probes);
    }

    /// Whether the destination accepted anything since this batch was first sent.
    fn others_pass(&self, batch: &Batch) -> bool {
        let since = batch.first_sent.unwrap_or_default();
        self.accepted.values().any(|accepted| *accepted >= since)
    }

    fn halve(&mut self, mut batch: Batch) {
        let half = batch.size() / 2;
        let mut seen = 0;
        let mut first = batch.take(|_, item| {
            let is_first = seen < half;
            seen += item.size();
            is_first
        });
        if batch.is_empty() {
            // The last item is larger than all others together.
            let last = first.len() - 1;
            batch = first.take(|n, _| n == last);
        }
        // Depth first: an item at fault is found before the rest of the queue is halved too.
        for part in [batch, first] {
            self.ready.push_front(part);
        }
    }

    fn unprobe(&mut self, now: Moment, probes: Option<&HoldScope>) {
        if let Some(scope) = probes {
            self.holds.unprobe(now, scope);
        }
    }

    fn refused(&mut self, now: Moment, refused: Refused, probes: Option<&HoldScope>) {
        // Letters that are refused again add nothing to the letter store.
        if refused.batch.is_replay() {
            self.buried.push_back(refused);
            return;
        }
        let mut by_route: BTreeMap<_, u64> = BTreeMap::new();
        for (item, refusal) in refused.batch.items().iter().zip(&refused.refusals) {
            *by_route.entry((item.route, refusal.reason)).or_default() += 1;
        }
        let mut rest = refused;
        for ((route, reason), events) in by_route {
            let is_held = self.holds.has(&HoldScope::Route(route)) && reason.counts_for_breaker();
            if is_held || self.breaker.refuses(route, reason, events) {
                let (part, error) = rest.take(route, reason);
                let scope = HoldScope::Route(route);
                let hold = Hold { scope, reason: HoldReason::Breaker, error };
                self.held(now, part, hold, probes);
            }
        }
        if !rest.batch.is_empty() {
            self.buried.push_back(rest);
        }
    }

    fn held(&mut self, now: Moment, batch: Batch, hold: Hold, probes: Option<&HoldScope>) {
        let random = fastrand::f64();
        if probes == Some(&hold.scope) {
            let given_up = self.holds.failed(now, hold, batch, random);
            self.bury_given_up(given_up);
        } else {
            self.holds.hold(now, hold, batch, random);
        }
    }

    fn give_up_indices(&mut self, now: Moment) {
        let accepted = &self.accepted;
        let given_up = self.holds.give_up(now, |scope, since| {
            let is_other = |index: &Arc<str>| *scope != HoldScope::Index(Arc::clone(index));
            accepted.iter().any(|(index, at)| is_other(index) && *at > since)
        });
        self.bury_given_up(given_up);
    }

    fn bury_given_up(&mut self, given_up: impl IntoIterator<Item = (Batch, Hold)>) {
        for (batch, hold) in given_up {
            let error = format!("{}: {}", hold.reason.as_str(), hold.error);
            self.bury(batch, RefusalReason::IndexReadOnly, &error);
        }
    }

    fn bury(&mut self, batch: Batch, reason: RefusalReason, error: &str) {
        let refusal =
            Refusal { reason, status: 0, error_type: String::new(), error: error.to_owned() };
        let refusals = vec![refusal; batch.len()];
        self.buried.push_back(Refused { batch, refusals });
    }

    fn wake_delayed(&mut self, now: Moment) {
        let (due, later) =
            std::mem::take(&mut self.delayed).into_iter().partition(|(at, _)| *at <= now);
        self.delayed = later;
        let due: Vec<(Moment, Batch)> = due;
        due.into_iter().for_each(|(_, batch)| self.ready.push_front(batch));
    }
}

/// Whether fewer requests at once would help.
fn is_congestion(reason: RetryReason) -> bool {
    match reason {
        RetryReason::Busy | RetryReason::CircuitBreaker | RetryReason::Timeout => true,
        RetryReason::ServerError
        | RetryReason::Connection
        | RetryReason::Unreadable
        | RetryReason::Oversized => false,
    }
}

#[cfg(test)]
mod tests;
