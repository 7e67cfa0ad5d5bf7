//! The delivery pool of each destination, and where the encoders put their batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::batch::{Account, Framing, MIN_CHARGE};
use crate::config::DestinationConfig;
use crate::delivery::{Closed, DeliveryMetrics, Dispatcher, Pool, PoolStatus, Surroundings};
use crate::destination::Destination;
use crate::destination::opensearch::OpenSearch;
use crate::destination::opensearch::config::Switch;
use crate::destination::opensearch::target::targets;
use crate::destination::sqlite::SqliteDestination;
use crate::encode::Outlet;
use crate::event::{DestinationId, DestinationName};
use crate::memory::BodyBudget;
use crate::telemetry::ledger::Book;

use super::AppError;
use super::metrics::Budget;
use super::parts::{Parts, REPLAY_PART, live_part};
use super::prepare;

/// A SQLite file has one writer, so a second request would only wait for the first.
const SQLITE_REQUESTS: usize = 1;

/// Documents in one transaction of a SQLite destination, in bytes.
const SQLITE_BODY: usize = 4 << 20;

/// How long a body of a SQLite destination may stay open.
const SQLITE_WAIT: Duration = Duration::from_millis(500);

/// Bodies of dead letters that fit into their share of a body budget.
const REPLAY_BODIES: usize = 4;

/// Where the encoders put their batches, by destination: those of live events, and of replays.
#[derive(Default)]
pub(super) struct Outlets {
    pub(super) live: Vec<Outlet>,
    pub(super) replay: Vec<Outlet>,
}

/// The destination that an outlet is made for.
struct To {
    id: DestinationId,
    name: DestinationName,
    metrics: DeliveryMetrics,
}

impl Parts {
    /// Starts the pool of each destination. Returns where the encoders put their batches.
    pub(super) fn outlets(&mut self) -> Result<Outlets, AppError> {
        let metrics = DeliveryMetrics::register(&self.registry, &self.names.destinations);
        let metrics = metrics.map_err(|source| AppError::Metrics { source })?;
        let destinations = self.config.destinations.clone();
        let mut outlets = Outlets::default();
        for (id, (name, config)) in (0..u16::MAX).map(DestinationId).zip(destinations) {
            let to = To { id, name, metrics: metrics.clone() };
            let (live, replay) = match config {
                DestinationConfig::OpenSearch(config) => {
                    let bulk = config.bulk.clone();
                    let breaker = config.dead_letter_breaker == Switch::On;
                    let (carried, name) = ((self.carry)(&config), to.name.clone());
                    let transport =
                        carried.map_err(|source| AppError::OpenSearch { name, source })?;
                    let search = Arc::new(OpenSearch::over(*config, self.clock, transport));
                    let (tell, closed) = watch::channel(None);
                    let targets = targets(&self.config.routes, id);
                    self.pools.spawn(prepare::templates(Arc::clone(&search), targets, tell));
                    let dispatcher = Dispatcher::new(bulk.max_in_flight.get(), breaker);
                    let body = (bulk.max_body.0, bulk.max_wait.0);
                    self.outlet(to, search, (dispatcher, closed), body)
                }
                DestinationConfig::Sqlite(config) => {
                    let name = to.name.clone();
                    let opened = SqliteDestination::open(config);
                    let file = opened.map_err(|source| AppError::Sqlite { name, source })?;
                    let (_, closed) = watch::channel(Some(BTreeMap::new()));
                    let dispatcher = Dispatcher::new(SQLITE_REQUESTS, true);
                    let body = (SQLITE_BODY, SQLITE_WAIT);
                    self.outlet(to, Arc::new(file), (dispatcher, closed), body)
                }
            };
            outlets.live.push(live);
            outlets.replay.push(replay);
        }
        Ok(outlets)
    }

    fn outlet<D: Destination>(
        &mut self,
        to: To,
        destination: Arc<D>,
        (dispatcher, closed): (Dispatcher, watch::Receiver<Closed>),
        (max_body, max_wait): (usize, Duration),
    ) -> (Outlet, Outlet) {
        let To { id, name, metrics } = to;
        let whole = self.config.memory.body.0;
        // Every batch takes MIN_CHARGE of its budget, so there are never more than this.
        let (batches, received) = mpsc::channel(whole / MIN_CHARGE + 2);
        let framing: Framing = destination.framing();
        let status: Arc<PoolStatus> = Arc::default();
        let around = Surroundings {
            name: name.clone(),
            routes: Arc::clone(&self.names.routes),
            letters: self.letters.clone(),
            slot: self.slot.clone(),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
            metrics,
            status: Arc::clone(&status),
        };
        self.pools.spawn(Pool::new(destination, dispatcher, received, closed, around).run());
        self.statuses.push((name.clone(), status));
        let mut outlet = |book, size, max_body| {
            let queue = Arc::clone(self.queues.of(book));
            let budget = BodyBudget::new(size, move || queue.wake());
            self.budgets.push(Budget { book, to: name.clone(), bodies: Arc::clone(&budget) });
            let account = Account { ledger: Arc::clone(&self.ledger), destination: id, book };
            Outlet { account, framing, max_body, max_wait, budget, batches: batches.clone() }
        };
        let share = whole / REPLAY_PART;
        let replay = outlet(Book::Replay, share, max_body.min(share / REPLAY_BODIES));
        (outlet(Book::Live, live_part(whole), max_body), replay)
    }
}
