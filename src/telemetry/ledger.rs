//! The one account in which every event's way is booked, and the identity that must hold on it.
//!
//! All counts change together under one lock, a batch at a time, and are read together: a scrape
//! never sees an event that is routed but neither in flight nor ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::event::{DestinationId, RouteId};
use crate::fate::{AbandonReason, Delivery, FilterReason, RefusalReason, ReplayResult};

/// Which account an event is booked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Book {
    /// It was read from a stream: the identity of DESIGN §1 holds on these.
    #[default]
    Live,
    /// It was a dead letter, and its first fate stays counted as it was.
    Replay,
}

/// Counts of records and events since the daemon started. Also serves as the difference that an
/// encoder books at the end of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Kinesis records taken up for decoding.
    pub records_read: u64,
    /// Envelopes that CloudWatch Logs sent to check the stream; they hold no events.
    pub records_control: u64,
    /// Records that could not be decoded, by reason; each is one dead letter.
    pub records_undecodable: BTreeMap<&'static str, u64>,
    /// Log events found in decoded records.
    pub events_read: u64,
    /// Events that go to no destination.
    pub filtered: BTreeMap<(RouteId, FilterReason), u64>,
    /// Events that a route sends to its destinations.
    pub matched: BTreeMap<RouteId, u64>,
    /// Events sent on their way to a destination: matched events times destinations.
    pub routed: BTreeMap<DestinationId, u64>,
    /// Events that a destination has.
    pub delivered: BTreeMap<(DestinationId, Delivery), u64>,
    /// Events that a destination will never take, durable in the dead-letter store.
    pub dead_lettered: BTreeMap<(DestinationId, RefusalReason), u64>,
    /// Events let go of without a fate; they will be read again.
    pub abandoned: BTreeMap<(DestinationId, AbandonReason), u64>,
    /// Events delivered as `plain` because they did not parse, by route and reason.
    pub parse_errors: BTreeMap<(RouteId, &'static str), u64>,
    /// What `parse = "auto"` took events for.
    pub detected: BTreeMap<(RouteId, &'static str), u64>,
    /// Events whose time cannot name an index.
    pub undated: BTreeMap<RouteId, u64>,
    /// Fields kept as JSON text because no mapping takes them as they are.
    pub fields_as_text: BTreeMap<RouteId, u64>,
    /// Replayed events sent on their way to a destination; in no other count.
    pub replays_begun: BTreeMap<DestinationId, u64>,
    /// How their replays ended.
    pub replayed: BTreeMap<(DestinationId, ReplayResult), u64>,
}

impl Accounts {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.records_read += other.records_read;
        self.records_control += other.records_control;
        self.events_read += other.events_read;
        add_all(&mut self.records_undecodable, &other.records_undecodable);
        add_all(&mut self.filtered, &other.filtered);
        add_all(&mut self.matched, &other.matched);
        add_all(&mut self.routed, &other.routed);
        add_all(&mut self.delivered, &other.delivered);
        add_all(&mut self.dead_lettered, &other.dead_lettered);
        add_all(&mut self.abandoned, &other.abandoned);
        add_all(&mut self.parse_errors, &other.parse_errors);
        add_all(&mut self.detected, &other.detected);
        add_all(&mut self.undated, &other.undated);
        add_all(&mut self.fields_as_text, &other.fields_as_text);
        add_all(&mut self.replays_begun, &other.replays_begun);
        add_all(&mut self.replayed, &other.replayed);
    }

    /// Events of a destination that have no fate yet and were not abandoned.
    #[must_use]
    pub fn in_flight(&self, destination: DestinationId) -> u64 {
        let ended = self.delivered_to(destination)
            + of(&self.dead_lettered, destination)
            + of(&self.abandoned, destination);
        self.routed.get(&destination).copied().unwrap_or(0).saturating_sub(ended)
    }

    /// Events that a destination has, however they came there.
    #[must_use]
    pub fn delivered_to(&self, destination: DestinationId) -> u64 {
        of(&self.delivered, destination)
    }

    /// Events that a destination will never take.
    #[must_use]
    pub fn dead_lettered_at(&self, destination: DestinationId) -> u64 {
        of(&self.dead_lettered, destination)
    }

    /// Events let go of without a fate.
    #[must_use]
    pub fn abandoned_at(&self, destination: DestinationId) -> u64 {
        of(&self.abandoned, destination)
    }

    /// Replayed events of a destination whose replay has not ended.
    #[must_use]
    pub fn replays_in_flight(&self, destination: DestinationId) -> u64 {
        let begun = self.replays_begun.get(&destination).copied().unwrap_or(0);
        begun.saturating_sub(of(&self.replayed, destination))
    }

    /// Checks the identity of DESIGN §1; `fan_out` is the number of destinations of each route.
    ///
    /// # Errors
    /// The first equation that does not hold, with its figures.
    pub fn check(&self, fan_out: &BTreeMap<RouteId, u64>) -> Result<(), String> {
        let filtered: u64 = self.filtered.values().sum();
        let matched: u64 = self.matched.values().sum();
        if self.events_read != filtered + matched {
            let read = self.events_read;
            return Err(format!("read {read} ≠ filtered {filtered} + matched {matched}"));
        }
        let routed: u64 = self.routed.values().sum();
        let owed: u64 = self
            .matched
            .iter()
            .map(|(route, events)| events * fan_out.get(route).copied().unwrap_or(0))
            .sum();
        if routed != owed {
            return Err(format!("routed {routed} ≠ matched × destinations {owed}"));
        }
        self.routed.iter().try_for_each(|(destination, routed)| {
            let ended = self.delivered_to(*destination)
                + of(&self.dead_lettered, *destination)
                + of(&self.abandoned, *destination);
            if ended > *routed {
                return Err(format!(
                    "destination {}: ended {ended} > routed {routed}",
                    destination.0
                ));
            }
            Ok(())
        })
    }
}

fn add_all<K: Copy + Ord>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(*key).or_default() += count;
    }
}

fn of<R>(counts: &BTreeMap<(DestinationId, R), u64>, destination: DestinationId) -> u64 {
    counts.iter().filter(|((of, _), _)| *of == destination).map(|(_, count)| count).sum()
}

/// The account that all stages book into.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Accounts>);

impl Ledger {
    /// Books a change, all at once.
    pub fn book(&self, change: impl FnOnce(&mut Accounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counts at one moment.
    #[must_use]
    pub fn snapshot(&self) -> Accounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: RouteId = RouteId(0);
    const TO: DestinationId = DestinationId(3);

    fn one_event() -> Accounts {
        Accounts {
            events_read: 1,
            matched: [(ROUTE, 1)].into(),
            routed: [(TO, 1)].into(),
            ..Accounts::default()
        }
    }

    #[test]
    fn in_flight_is_what_has_not_ended() {
        let mut accounts = one_event();
        assert_eq!(accounts.in_flight(TO), 1);
        accounts.add(&one_event());
        accounts.delivered.insert((TO, Delivery::Created), 1);
        assert_eq!(accounts.in_flight(TO), 1);
        accounts.dead_lettered.insert((TO, RefusalReason::Mapping), 1);
        assert_eq!(accounts.in_flight(TO), 0);
    }

    #[test]
    fn the_identity_names_the_equation_that_fails() {
        let fan_out = [(ROUTE, 1)].into();
        let accounts = one_event();
        assert_eq!(accounts.check(&fan_out), Ok(()));
        let lost = Accounts { events_read: 2, ..accounts.clone() };
        assert!(lost.check(&fan_out).unwrap_err().starts_with("read 2"));
        assert!(accounts.check(&[(ROUTE, 2)].into()).unwrap_err().starts_with("routed 1"));
        let twice = Accounts { delivered: [((TO, Delivery::Created), 2)].into(), ..accounts };
        assert!(twice.check(&fan_out).unwrap_err().contains("ended 2"));
    }
}
