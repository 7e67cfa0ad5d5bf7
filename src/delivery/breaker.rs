//! Notices when so many events of a route are refused that the template must be wrong, not the
//! events: a wrong template must not pour a stream into the dead-letter store.

use std::collections::{BTreeMap, VecDeque};

use crate::event::RouteId;
use crate::fate::RefusalReason;

/// The window: this many of a route's last live events at one destination.
const WINDOW: u64 = 10_000;

/// The window moves in steps of this many events.
const STEP: u64 = 500;

/// More than one in this many must be refused for one reason …
const ONE_IN: u64 = 20;

/// … and at least this many.
const AT_LEAST: u64 = 100;

/// The breakers of all routes at one destination.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    enabled: bool,
    routes: BTreeMap<RouteId, Window>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    steps: VecDeque<Step>,
}

#[derive(Clone, Debug, Default)]
struct Step {
    events: u64,
    refused: BTreeMap<RefusalReason, u64>,
}

impl Breaker {
    /// A breaker that never trips unless `enabled`.
    #[must_use]
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, routes: BTreeMap::new() }
    }

    /// Takes in that `events` of a route were accepted.
    pub(super) fn accepted(&mut self, route: RouteId, events: u64) {
        let window = self.routes.entry(route).or_default();
        let mut left = events;
        // A step that was larger would leave the window all at once.
        while left > 0 {
            let last = window.last();
            let part = left.min(STEP.saturating_sub(last.events).max(1));
            last.events += part;
            left -= part;
        }
        window.trim();
    }

    /// Whether `events` more refusals for `reason` would be too many. If so they should be held;
    /// if not they are taken in.
    pub(super) fn refuses(&mut self, route: RouteId, reason: RefusalReason, events: u64) -> bool {
        if !self.enabled || !reason.counts_for_breaker() {
            self.accepted(route, events);
            return false;
        }
        let window = self.routes.entry(route).or_default();
        let refused = window.refused(reason) + events;
        let all = window.events() + events;
        if refused >= AT_LEAST && refused * ONE_IN > all {
            return true;
        }
        let last = window.last();
        last.events += events;
        *last.refused.entry(reason).or_default() += events;
        false
    }

    /// Forgets a route's past, as when its hold ends.
    pub(super) fn reset(&mut self, route: RouteId) {
        self.routes.remove(&route);
    }
}

impl Window {
    fn events(&self) -> u64 {
        self.steps.iter().map(|step| step.events).sum()
    }

    fn refused(&self, reason: RefusalReason) -> u64 {
        self.steps.iter().filter_map(|step| step.refused.get(&reason)).sum()
    }

    fn trim(&mut self) {
        while self.steps.len() > 1 && self.events() > WINDOW {
            self.steps.pop_front();
        }
    }

    fn last(&mut self) -> &mut Step {
        let is_full = self.steps.back().is_none_or(|step| step.events >= STEP);
        if is_full {
            self.steps.push_back(Step::default());
        }
        self.trim();
        let end = self.steps.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "a step was pushed above if there was none")]
        &mut self.steps[end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RefusalReason::{Mapping, Poison};

    const ROUTE: RouteId = RouteId(0);

    #[test]
    fn one_in_twenty_trips_it_but_never_fewer_than_a_hundred() {
        let mut breaker = Breaker::new(true);
        for n in 0..99 {
            assert!(!breaker.refuses(ROUTE, Mapping, 1), "{n}");
        }
        assert!(breaker.refuses(ROUTE, Mapping, 1));
    }

    #[test]
    fn a_few_bad_events_among_many_do_not_trip_it() {
        let mut breaker = Breaker::new(true);
        for n in 0..1000 {
            breaker.accepted(ROUTE, 96);
            assert!(!breaker.refuses(ROUTE, Mapping, 4), "{n}");
        }
    }

    #[test]
    fn old_refusals_are_forgotten() {
        let mut breaker = Breaker::new(true);
        breaker.accepted(ROUTE, 10_000);
        assert!(!breaker.refuses(ROUTE, Mapping, 400));
        (0..30).for_each(|_| breaker.accepted(ROUTE, 500));
        assert!(!breaker.refuses(ROUTE, Mapping, 400));
    }

    #[test]
    fn it_is_the_same_whether_events_come_together_or_one_by_one() {
        let (mut together, mut single) = (Breaker::new(true), Breaker::new(true));
        for events in [1, 499, 501, 2600, 14_000, 77] {
            together.accepted(ROUTE, events);
            (0..events).for_each(|_| single.accepted(ROUTE, 1));
            let steps = |breaker: &Breaker| {
                breaker.routes[&ROUTE].steps.iter().map(|step| step.events).collect::<Vec<_>>()
            };
            assert_eq!(steps(&together), steps(&single), "after {events}");
        }
    }

    #[test]
    fn reasons_that_are_not_the_engines_own_never_trip_it() {
        let mut breaker = Breaker::new(true);
        assert!(!breaker.refuses(ROUTE, Poison, 5000));
        let mut off = Breaker::new(false);
        assert!(!off.refuses(ROUTE, Mapping, 5000));
    }

    #[test]
    fn routes_do_not_trip_each_other() {
        let mut breaker = Breaker::new(true);
        assert!(breaker.refuses(ROUTE, Mapping, 500));
        assert!(!breaker.refuses(RouteId(1), Mapping, 99));
    }
}
