//! What is seen of a daemon at every step: its account must hold, its memory must be bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logweir::app::Memory;
use logweir::event::{DestinationId, RouteId};
use logweir::telemetry::ledger::{Accounts, Ledger};

/// The budgets that come first are of what is fetched: live, and for replays.
const FETCH_BUDGETS: usize = 2;

/// What an open body takes of its budget, in bytes: the `bulk.max_body` of the configuration.
const BODY: usize = 64 << 10;

/// Under which a budget for bodies is counted that had no room for another one, once in a daemon's life.
pub(crate) const FULL: &str = "memory: no room for another body";

/// A running daemon.
pub(crate) struct Watch {
    ledger: Arc<Ledger>,
    memory: Memory,
    /// The number of destinations of each route.
    fan_out: BTreeMap<RouteId, u64>,
    /// By as much as one document may exceed what was reserved for it.
    document: usize,
    /// The budgets for bodies that had no room for another one.
    full: BTreeSet<usize>,
}

impl Watch {
    /// `fan_out` is in the order of the routes.
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        memory: Memory,
        fan_out: &[u64],
        document: usize,
    ) -> Self {
        let fan_out = (0..).map(RouteId).zip(fan_out.iter().copied()).collect();
        Self { ledger, memory, fan_out, document, full: BTreeSet::new() }
    }

    /// What does not hold. `payloads` are the bytes of records that the daemon was given and has
    /// not let go of.
    pub(crate) fn look(&mut self, payloads: usize) -> Result<(), String> {
        let mut identity = Ok(());
        self.ledger.book(|accounts| identity = accounts.check(&self.fan_out));
        identity.map_err(|error| format!("the ledger's identity: {error}"))?;
        for (n, (size, taken)) in self.memory.sizes_and_taken().enumerate() {
            let is_of_bodies = n >= FETCH_BUDGETS;
            let most = if is_of_bodies { size + self.document } else { size };
            if taken > most {
                return Err(format!("{taken} bytes are taken of budget {n}, which has {size}"));
            }
            if is_of_bodies && taken + BODY > size {
                self.full.insert(n);
            }
        }
        let (size, _) = self.memory.sizes_and_taken().next().unwrap_or_default();
        if payloads > size {
            return Err(format!("records of {payloads} bytes are held, of a budget of {size}"));
        }
        Ok(())
    }

    /// How many budgets had no room for another body.
    pub(crate) fn full(&self) -> u64 {
        self.full.len() as u64
    }

    pub(crate) fn accounts(&self) -> Accounts {
        self.ledger.snapshot()
    }

    /// What it has after it has drained: nothing on its way, and no memory taken.
    pub(crate) fn look_at_end(&self) -> Result<(), String> {
        let accounts = self.ledger.snapshot();
        if let Some(to) = (0..2).find(|to| accounts.in_flight(DestinationId(*to)) > 0) {
            return Err(format!("drained with events in flight to {to}"));
        }
        match self.memory.sizes_and_taken().find(|(_, taken)| *taken > 0) {
            Some((_, taken)) => Err(format!("drained with {taken} bytes still taken")),
            None => Ok(()),
        }
    }
}
