//! What the stages of a daemon, or of a replay without one, are put together with.

use std::sync::Arc;

use prometheus::Registry;
use tokio_util::task::TaskTracker;

use crate::admin::{Heartbeat, View};
use crate::clock::Clock;
use crate::config::Config;
use crate::dead_letter::sqlite::LetterStore;
use crate::delivery::PoolStatus;
use crate::destination::opensearch::request::Carry;
use crate::encode::{Outlet, Shared, WorkQueue};
use crate::event::{DestinationName, RouteName};
use crate::kinesis::{Connect, KinesisMetrics, Source, SourceHandle, SourceSetup};
use crate::lease::LeaseTable;
use crate::memory::{DecodeSlot, FetchBudget};
use crate::replay::Line;
use crate::shutdown::Shutdown;
use crate::state::State;
use crate::telemetry::ledger::{Book, Ledger};
use crate::telemetry::ledger_metrics::{LedgerMetrics, Names};

use super::AppError;
use super::metrics::{self, Budget, Parked};
use super::outside::Encoders;

/// Dead letters that are sent again have this part of each budget to themselves: an eighth.
pub(super) const REPLAY_PART: usize = 8;

/// What all parts are put together with.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) registry: Registry,
    pub(super) ledger: Arc<Ledger>,
    pub(super) names: Names,
    pub(super) letters: LetterStore,
    pub(super) queues: Queues,
    pub(super) slot: DecodeSlot,
    pub(super) pools: TaskTracker,
    pub(super) budgets: Vec<Budget>,
    pub(super) parked: Vec<Parked>,
    pub(super) statuses: Vec<(DestinationName, Arc<PoolStatus>)>,
    pub(super) carry: Carry,
    state: State,
}

/// The records that wait for encoders, live ones and dead letters.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    pub(super) live: Arc<WorkQueue>,
    pub(super) replay: Arc<WorkQueue>,
}

impl Queues {
    /// No record will come; encoders end when all is read.
    pub(super) fn close(&self) {
        self.live.close();
        self.replay.close();
    }

    pub(super) fn cut_short(&self) {
        self.live.cut_short();
        self.replay.cut_short();
    }

    pub(super) fn of(&self, book: Book) -> &Arc<WorkQueue> {
        match book {
            Book::Live => &self.live,
            Book::Replay => &self.replay,
        }
    }
}

/// What dead letters leave of a budget.
pub(super) fn live_part(whole: usize) -> usize {
    whole - whole / REPLAY_PART
}

impl Parts {
    pub(super) fn new(config: Config, shutdown: Shutdown, (state, carry): (State, Carry)) -> Self {
        let routes: Vec<RouteName> =
            config.routes.iter().map(|(_, route)| route.name.clone()).collect();
        let destinations: Vec<DestinationName> =
            config.destinations.iter().map(|(name, _)| name.clone()).collect();
        let letters = LetterStore::new(state.clone(), config.dead_letters);
        let queues = Queues::default();
        // Nothing more will come that a body of letters should wait for.
        queues.replay.hurry();
        let woken = queues.clone();
        Self {
            clock: Clock::start(),
            shutdown,
            registry: Registry::new(),
            ledger: Arc::default(),
            names: Names { routes: routes.into(), destinations: destinations.into() },
            letters,
            slot: DecodeSlot::new(move || {
                woken.live.wake();
                woken.replay.wake();
            }),
            queues,
            pools: TaskTracker::new(),
            budgets: Vec::new(),
            parked: Vec::new(),
            statuses: Vec::new(),
            carry,
            state,
            config,
        }
    }

    /// Starts encoders for one of the two queues.
    pub(super) fn encoders(
        &mut self,
        outlets: Vec<Outlet>,
        book: Book,
        (encoders, threads): (&mut Encoders, usize),
    ) -> Result<(), AppError> {
        let (queue, routes) = (Arc::clone(self.queues.of(book)), self.config.routes.clone());
        let books = (Arc::clone(&self.ledger), book);
        let with = (self.letters.clone(), self.slot.clone(), self.clock);
        let shared = Arc::new(Shared::new(queue, routes, outlets, books, with));
        let milliseconds = Arc::clone(&shared.parked_milliseconds);
        self.parked.push(Parked { book, milliseconds });
        encoders.start(&shared, threads).map_err(|source| AppError::Threads { source })
    }

    /// What carries dead letters.
    pub(super) fn line(&self) -> Line {
        Line {
            store: self.letters.clone(),
            queue: Arc::clone(&self.queues.replay),
            budget: FetchBudget::new(self.config.memory.fetch.0 / REPLAY_PART),
            ledger: Arc::clone(&self.ledger),
            names: self.names.clone(),
        }
    }

    /// Starts the source of each stream.
    pub(super) fn sources(
        &self,
        fetch: &FetchBudget,
        (tasks, connect): (&TaskTracker, &Connect),
    ) -> Result<Vec<SourceHandle>, AppError> {
        let metrics = KinesisMetrics::new(&self.registry);
        let metrics = metrics.map_err(|source| AppError::Metrics { source })?;
        let streams = self.config.streams.clone().into_iter();
        let handles = streams.map(|(stream, config)| {
            let queue = Arc::clone(&self.queues.live);
            let source = Source::new(SourceSetup {
                stream,
                config,
                connect: Arc::clone(connect),
                leases: LeaseTable::new(self.state.clone()),
                budget: fetch.clone(),
                metrics: metrics.clone(),
                records: Arc::new(move |ack| queue.push(ack)),
                shutdown: self.shutdown.clone(),
                clock: self.clock,
                tasks: tasks.clone(),
            });
            let handle = source.handle();
            tasks.spawn(source.run());
            handle
        });
        Ok(handles.collect())
    }

    pub(super) fn register(&self, fetch: &FetchBudget, line: &Line) -> prometheus::Result<()> {
        let names = self.names.clone();
        let ledger = LedgerMetrics::new(Arc::clone(&self.ledger), names, metrics::labels())?;
        self.registry.register(Box::new(ledger))?;
        let memory = metrics::DaemonMetrics {
            parked: self.parked.clone(),
            fetch: [(Book::Live, fetch.clone()), (Book::Replay, line.budget.clone())],
            bodies: self.budgets.clone(),
            letters: self.letters.clone(),
            desc: metrics::DaemonMetrics::desc()?,
        };
        self.registry.register(Box::new(memory))
    }

    pub(super) fn memory(&self, fetch: [&FetchBudget; 2]) -> metrics::Memory {
        let bodies = self.budgets.iter().map(|budget| Arc::clone(&budget.bodies));
        metrics::Memory { fetch: fetch.map(Clone::clone), bodies: bodies.collect() }
    }

    pub(super) fn view(&self, sources: Vec<SourceHandle>) -> View {
        View {
            registry: self.registry.clone(),
            ledger: Arc::clone(&self.ledger),
            names: self.names.clone(),
            sources,
            letters: self.letters.clone(),
            pools: self.statuses.clone(),
            clock: self.clock,
            shutdown: self.shutdown.clone(),
            heartbeat: Arc::new(Heartbeat::default()),
        }
    }
}
