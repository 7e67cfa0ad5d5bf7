//! Counts of one thread between two bookings, in flat tables: an event costs a few additions.

use std::collections::BTreeMap;

use crate::event::{DestinationId, RouteId};
use crate::fate::FilterReason;
use crate::parse::Kind;
use crate::telemetry::ledger::{Accounts, Book, Ledger};

/// What a thread has counted and not booked yet.
#[derive(Debug)]
pub(super) struct Tally {
    /// Rare counts, if there are any.
    rare: Option<Box<Accounts>>,
    records: u64,
    read: u64,
    routes: Vec<OfRoute>,
    routed: Vec<u64>,
    book: Book,
}

/// The counts of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfRoute {
    filtered: u64,
    matched: u64,
    fields_as_text: u64,
    /// For each kind, in the order of `Kind::DETECTED`.
    detected: [u64; 4],
}

impl Tally {
    pub(super) fn new(routes: usize, destinations: usize, book: Book) -> Self {
        Self {
            rare: None,
            records: 0,
            read: 0,
            routes: vec![OfRoute::default(); routes],
            routed: vec![0; destinations],
            book,
        }
    }

    /// A record was read.
    pub(super) fn record(&mut self) {
        self.records += 1;
    }

    /// Where rare counts go at once.
    pub(super) fn rare(&mut self) -> &mut Accounts {
        self.rare.get_or_insert_default()
    }

    pub(super) fn discarded(&mut self, route: RouteId, events: u64) {
        self.read += events;
        self.of(route, |counts| counts.filtered += events);
    }

    pub(super) fn matched(&mut self, route: RouteId, to: &[DestinationId]) {
        self.read += 1;
        self.of(route, |counts| counts.matched += 1);
        for destination in to {
            if let Some(events) = self.routed.get_mut(usize::from(destination.0)) {
                *events += 1;
            }
        }
    }

    pub(super) fn detected(&mut self, route: RouteId, kind: Kind) {
        // `lambda` is never found out, only asked for.
        let column = Kind::DETECTED.iter().position(|detected| *detected == kind);
        self.of(route, |counts| {
            if let Some(events) = column.and_then(|column| counts.detected.get_mut(column)) {
                *events += 1;
            }
        });
    }

    pub(super) fn as_text(&mut self, route: RouteId, fields: u32) {
        self.of(route, |counts| counts.fields_as_text += u64::from(fields));
    }

    fn of(&mut self, route: RouteId, count: impl FnOnce(&mut OfRoute)) {
        if let Some(counts) = self.routes.get_mut(usize::from(route.0)) {
            count(counts);
        }
    }

    /// Books all of it under one lock.
    pub(super) fn book(&mut self, ledger: &Ledger) {
        let rare = self.rare.take();
        if self.read == 0 && self.records == 0 && rare.is_none() {
            return;
        }
        // Straight into the ledger: accounts of our own would be made and dropped for each record.
        ledger.book(|all| match self.book {
            Book::Live => {
                if let Some(rare) = &rare {
                    all.add(rare);
                }
                self.add_to(all);
            }
            // They were read, matched and routed before.
            Book::Replay => {
                let mut accounts = Accounts::default();
                self.add_to(&mut accounts);
                all.add(&Accounts { replays_begun: accounts.routed, ..Accounts::default() });
            }
        });
    }

    /// Moves the counts of the tables.
    fn add_to(&mut self, accounts: &mut Accounts) {
        accounts.records_read += std::mem::take(&mut self.records);
        accounts.events_read += std::mem::take(&mut self.read);
        for (events, destination) in self.routed.iter_mut().zip(0..) {
            add(&mut accounts.routed, DestinationId(destination), std::mem::take(events));
        }
        for (counts, route) in self.routes.iter_mut().zip((0..).map(RouteId)) {
            // A record is nearly always of one route.
            if *counts == OfRoute::default() {
                continue;
            }
            let OfRoute { filtered, matched, fields_as_text, detected } = std::mem::take(counts);
            add(&mut accounts.filtered, (route, FilterReason::Discard), filtered);
            add(&mut accounts.matched, route, matched);
            add(&mut accounts.fields_as_text, route, fields_as_text);
            for (kind, events) in Kind::DETECTED.iter().zip(detected) {
                add(&mut accounts.detected, (route, kind.as_str()), events);
            }
        }
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, events: u64) {
    if events > 0 {
        *counts.entry(key).or_default() += events;
    }
}
