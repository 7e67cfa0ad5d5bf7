//! What is held, since when, and when it is tried again.
//!
//! A hold has the narrowest scope that the answer named. It ends by itself: now and then the
//! smallest held batch is sent again, and when that passes, all of it goes on. Probing with real
//! items, never with a GET, means a hold cannot flap.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::batch::{Batch, Item};
use crate::destination::{Hold, HoldReason, HoldScope};
use crate::event::Moment;

/// A hold is probed after a second first, and at least once a minute.
const PROBE: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) };

/// An index that refuses writes for this long is given up, if other indices accept them.
pub(super) const GIVE_UP: Duration = Duration::from_secs(600);

/// One hold and what waits behind it.
#[derive(Debug)]
pub(super) struct Held {
    /// Why.
    pub(super) hold: Hold,
    /// Since when.
    pub(super) since: Moment,
    /// Whether items go to the dead letters now instead of waiting.
    pub(super) given_up: bool,
    batches: Vec<Batch>,
    failures: u32,
    /// When an item last came for it.
    touched: Moment,
    next_probe: Moment,
    probing: bool,
}

/// All holds of one destination.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<HoldScope, Held>);

/// Whether an item is in a scope.
fn concerns(scope: &HoldScope, batch: &Batch, item: &Item) -> bool {
    match scope {
        HoldScope::Destination => true,
        HoldScope::Index(index) => batch.index_of(item) == Some(index),
        HoldScope::Route(route) => item.route == *route,
    }
}

impl Holds {
    /// Holds a batch for a reason; the hold begins if there is none of its scope yet.
    pub(super) fn hold(&mut self, now: Moment, hold: Hold, batch: Batch, random: f64) {
        let held = self.0.entry(hold.scope.clone()).or_insert_with(|| Held {
            hold: hold.clone(),
            since: now,
            given_up: false,
            batches: Vec::new(),
            failures: 0,
            touched: now,
            next_probe: now.after(PROBE.wait(1, None, random)),
            probing: false,
        });
        held.hold = hold;
        held.batches.push(batch);
    }

    /// Takes out of a batch that is about to be sent what is held. Returns the parts whose scope
    /// was given up, with the reason: they are dead letters.
    pub(super) fn intercept(&mut self, now: Moment, batch: &mut Batch) -> Vec<(Batch, Hold)> {
        let mut given_up = Vec::new();
        for (scope, held) in &mut self.0 {
            if batch.is_empty() {
                break;
            }
            let matching: Vec<bool> =
                batch.items().iter().map(|item| concerns(scope, batch, item)).collect();
            if !matching.contains(&true) {
                continue;
            }
            held.touched = now;
            let mut part = batch.take(|n, _| matching.get(n).copied().unwrap_or(false));
            if !held.given_up {
                held.batches.push(part);
                continue;
            }
            if held.batches.is_empty() && !held.probing && held.next_probe <= now {
                // One item tries whether the index takes writes again.
                held.batches.push(part.take(|n, _| n == 0));
            }
            if !part.is_empty() {
                given_up.push((part, held.hold.clone()));
            }
        }
        given_up
    }

    /// The next probe that is due: the smallest batch of a hold, or one item of it where the
    /// breaker holds a route.
    pub(super) fn probe(&mut self, now: Moment) -> Option<(HoldScope, Batch)> {
        let (scope, held) = self.0.iter_mut().find(|(_, held)| {
            !held.probing && held.next_probe <= now && !held.batches.is_empty()
        })?;
        let smallest = held
            .batches
            .iter()
            .enumerate()
            // The breaker's first batch is the refused one; later ones were never sent.
            .take(if held.hold.reason == HoldReason::Breaker { 1 } else { usize::MAX })
            .min_by_key(|(_, batch)| batch.size())
            .map(|(n, _)| n)?;
        let mut batch = held.batches.swap_remove(smallest);
        if held.hold.reason == HoldReason::Breaker && batch.len() > 1 {
            let one = batch.take(|n, _| n == 0);
            held.batches.insert(0, batch);
            batch = one;
        }
        held.probing = true;
        Some((scope.clone(), batch))
    }

    /// The probe of a scope failed: its batch waits again, at the front. Where the scope was
    /// given up it is returned instead: it is dead letters.
    pub(super) fn failed(
        &mut self,
        now: Moment,
        hold: Hold,
        batch: Batch,
        random: f64,
    ) -> Option<(Batch, Hold)> {
        let held = self.0.get_mut(&hold.scope)?;
        held.probing = false;
        held.failures += 1;
        held.next_probe = now.after(PROBE.wait(held.failures + 1, None, random));
        held.hold = hold;
        if held.given_up {
            return Some((batch, held.hold.clone()));
        }
        held.batches.insert(0, batch);
        None
    }

    /// The probe of a scope got no answer: its batch waits again, at the front.
    pub(super) fn unanswered(&mut self, now: Moment, scope: &HoldScope, batch: Batch, random: f64) {
        let Some(held) = self.0.get_mut(scope) else { return };
        held.probing = false;
        held.failures += 1;
        held.next_probe = now.after(PROBE.wait(held.failures + 1, None, random));
        held.batches.insert(0, batch);
    }

    /// The probe of a scope, if one is still out, told nothing about it; the next one may go.
    /// A hold with nothing left behind it ends: the next item to come finds out.
    pub(super) fn unprobe(&mut self, now: Moment, scope: &HoldScope) {
        let Some(held) = self.0.get_mut(scope).filter(|held| held.probing) else { return };
        held.probing = false;
        held.next_probe = now.after(PROBE.first);
        if held.batches.is_empty() && !held.given_up {
            self.0.remove(scope);
        }
    }

    /// The probe of a scope passed: the hold ends, and what waited is returned.
    pub(super) fn release(&mut self, scope: &HoldScope) -> Vec<Batch> {
        self.0.remove(scope).map(|held| held.batches).unwrap_or_default()
    }

    /// Gives up the indices that refuse writes for longer than [`GIVE_UP`], if `accepts` says
    /// that another index has accepted an item since. Returns what waited for them. One that was
    /// given up and that nothing came for since is forgotten: the next item finds out.
    pub(super) fn give_up(
        &mut self,
        now: Moment,
        accepts: impl Fn(&HoldScope, Moment) -> bool,
    ) -> Vec<(Batch, Hold)> {
        let mut given_up = Vec::new();
        self.0.retain(|_, held| held.forget_at().is_none_or(|at| at > now));
        for (scope, held) in &mut self.0 {
            let is_index = matches!(scope, HoldScope::Index(_));
            let is_due = is_index && !held.given_up && now.since(held.since) >= GIVE_UP;
            if is_due && accepts(scope, held.since) {
                held.given_up = true;
                held.touched = now;
                let waiting = held.batches.drain(..);
                given_up.extend(waiting.map(|batch| (batch, held.hold.clone())));
            }
        }
        given_up
    }

    /// When a probe is due next, or an index may be given up.
    #[must_use]
    pub(super) fn wake_at(&self, now: Moment) -> Option<Moment> {
        let waiting = self.0.values().filter(|held| !held.probing);
        let due = waiting.flat_map(|held| {
            let probe = (!held.batches.is_empty()).then_some(held.next_probe);
            // Past its time it is given up when another index accepts an item, not by a timer.
            let give_up = Some(held.since.after(GIVE_UP)).filter(|at| *at > now && !held.given_up);
            [probe, give_up, held.forget_at()]
        });
        due.flatten().min()
    }

    /// What is held now.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.values()
    }

    /// Whether anything of this scope is held.
    #[must_use]
    pub(super) fn has(&self, scope: &HoldScope) -> bool {
        self.0.contains_key(scope)
    }
}

impl Held {
    /// When it is forgotten, if nothing comes for it until then.
    fn forget_at(&self) -> Option<Moment> {
        let is_idle = self.given_up && self.batches.is_empty() && !self.probing;
        is_idle.then(|| self.touched.after(GIVE_UP))
    }

    /// Events that wait behind it.
    #[must_use]
    pub(super) fn events(&self) -> usize {
        self.batches.iter().map(Batch::len).sum()
    }
}
