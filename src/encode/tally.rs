//! Counts of one thread between two bookings, in flat tables: an event costs a few additions.

use crate::event::{DestinationId, RouteId};
use crate::fate::FilterReason;
use crate::parse::Kind;
use crate::telemetry::ledger::{Accounts, Book, Ledger};

/// What a thread has counted and not booked yet.
#[derive(Debug)]
pub(super) struct Tally {
    /// Rare counts go here at once.
    pub(super) rare: Accounts,
    read: u64,
    filtered: Vec<u64>,
    matched: Vec<u64>,
    /// A column for each kind, in the order of `Kind::DETECTED`.
    detected: Vec<[u64; 4]>,
    routed: Vec<u64>,
    book: Book,
}

impl Tally {
    pub(super) fn new(routes: usize, destinations: usize, book: Book) -> Self {
        Self {
            rare: Accounts::default(),
            read: 0,
            filtered: vec![0; routes],
            matched: vec![0; routes],
            detected: vec![[0; 4]; routes],
            routed: vec![0; destinations],
            book,
        }
    }

    pub(super) fn discarded(&mut self, route: RouteId, events: u64) {
        self.read += events;
        add(&mut self.filtered, route.0, events);
    }

    pub(super) fn matched(&mut self, route: RouteId, to: &[DestinationId]) {
        self.read += 1;
        add(&mut self.matched, route.0, 1);
        to.iter().for_each(|destination| add(&mut self.routed, destination.0, 1));
    }

    pub(super) fn detected(&mut self, route: RouteId, kind: Kind) {
        let column = match kind {
            Kind::CloudTrail => 0,
            Kind::VpcFlow => 1,
            Kind::Json => 2,
            Kind::Plain => 3,
            // Never found out, only asked for.
            Kind::Lambda => return,
        };
        if let Some(row) = self.detected.get_mut(usize::from(route.0)) {
            add(row, column, 1);
        }
    }

    /// Books all of it under one lock.
    pub(super) fn book(&mut self, ledger: &Ledger) {
        let rare = std::mem::take(&mut self.rare);
        if self.read == 0 && rare == Accounts::default() {
            return;
        }
        // Straight into the ledger: accounts of our own would be made and dropped for each record.
        ledger.book(|all| match self.book {
            Book::Live => {
                all.add(&rare);
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
        accounts.events_read += std::mem::take(&mut self.read);
        for (route, events) in drain(&mut self.filtered) {
            *accounts.filtered.entry((RouteId(route), FilterReason::Discard)).or_default() +=
                events;
        }
        for (route, events) in drain(&mut self.matched) {
            *accounts.matched.entry(RouteId(route)).or_default() += events;
        }
        for (destination, events) in drain(&mut self.routed) {
            *accounts.routed.entry(DestinationId(destination)).or_default() += events;
        }
        for (route, row) in (0..u16::MAX).zip(&mut self.detected) {
            for (kind, events) in Kind::DETECTED.iter().zip(row).filter(|(_, events)| **events > 0)
            {
                let detected = accounts.detected.entry((RouteId(route), kind.as_str()));
                *detected.or_default() += std::mem::take(events);
            }
        }
    }
}

fn add(row: &mut [u64], column: u16, events: u64) {
    if let Some(count) = row.get_mut(usize::from(column)) {
        *count += events;
    }
}

fn drain(row: &mut [u64]) -> impl Iterator<Item = (u16, u64)> {
    let counts = (0..u16::MAX).zip(row.iter_mut().map(std::mem::take));
    counts.filter(|(_, events)| *events > 0)
}
