//! Routes whose events may not be sent yet: an index made before its template is there would have
//! the wrong mapping for good.

use std::collections::BTreeMap;

use crate::batch::{Batch, Item};
use crate::destination::{Hold, HoldReason, HoldScope};
use crate::event::{Moment, RouteId};

/// The routes that must wait, each with what is wrong; `None` until that is known.
pub type Closed = Option<BTreeMap<RouteId, (HoldReason, String)>>;

/// What waits for routes to be opened.
#[derive(Debug, Default)]
pub(super) struct Gate {
    known: bool,
    closed: BTreeMap<RouteId, (Hold, Moment)>,
    waiting: Vec<Batch>,
}

impl Gate {
    /// Whether nothing may be sent, since nobody has said which routes are open.
    pub(super) fn is_unknown(&self) -> bool {
        !self.known
    }

    /// Closes these routes and opens all others. Returns what may be tried again now, in the order
    /// in which it came.
    pub(super) fn set(&mut self, now: Moment, closed: &Closed) -> Vec<Batch> {
        let Some(closed) = closed else { return Vec::new() };
        self.known = true;
        let before = std::mem::take(&mut self.closed);
        for (route, (reason, error)) in closed {
            let since = before.get(route).map_or(now, |(_, since)| *since);
            let scope = HoldScope::Route(*route);
            let hold = Hold { scope, reason: *reason, error: error.clone() };
            self.closed.insert(*route, (hold, since));
        }
        std::mem::take(&mut self.waiting)
    }

    /// Keeps back the items of a batch whose routes are closed.
    pub(super) fn intercept(&mut self, batch: &mut Batch) {
        if self.closed.is_empty() {
            return;
        }
        let is_closed = |item: &Item| self.closed.contains_key(&item.route);
        if batch.items().iter().any(is_closed) {
            self.waiting.push(batch.take(|_, item| is_closed(item)));
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is closed, since when, and how many events wait for it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Hold, Moment, usize)> {
        self.closed.iter().map(|(route, (hold, since))| {
            let items = self.waiting.iter().flat_map(Batch::items);
            (hold, *since, items.filter(|item| item.route == *route).count())
        })
    }
}
