//! Puts the daemon together: the only place that knows every stage.
//!
//! Start: state, pools, encoders, sources, listener. Stop, in the order of the flow: sources stop
//! reading, what was read gets its fates, checkpoints are written, the queue closes, encoders end,
//! pools end. If that takes longer than the deadline it is cut short.

mod metrics;
mod prepare;
mod replay;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_kinesis::config::Credentials;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::{self, Heartbeat, View};
use crate::batch::{Account, Framing, MIN_CHARGE};
use crate::clock::Clock;
use crate::config::{Config, DestinationConfig};
use crate::dead_letter::sqlite::{LetterStore, LetterStoreError};
use crate::delivery::{Closed, DeliveryMetrics, Dispatcher, Pool, PoolStatus, Surroundings};
use crate::destination::Destination;
use crate::destination::opensearch::OpenSearch;
use crate::destination::opensearch::config::{BuildError, Switch};
use crate::destination::sqlite::{OpenError, SqliteDestination};
use crate::encode::{self, Outlet, Shared, WorkQueue};
use crate::event::{DestinationId, DestinationName, RouteName};
use crate::kinesis::{KinesisMetrics, Source, SourceSetup};
use crate::lease::LeaseTable;
use crate::memory::{BodyBudget, DecodeSlot, FetchBudget};
use crate::shutdown::Shutdown;
use crate::state::{Access, State, StateError};
use crate::telemetry::chain::Chain;
use crate::telemetry::ledger::{Book, Ledger};
use crate::telemetry::ledger_metrics::{LedgerMetrics, Names};

pub use self::prepare::targets;
pub use self::replay::ReplayApp;

/// A SQLite file has one writer, so a second request would only wait for the first.
const SQLITE_REQUESTS: usize = 1;

/// Documents in one transaction of a SQLite destination, in bytes.
const SQLITE_BODY: usize = 4 << 20;

/// How long a body of a SQLite destination may stay open.
const SQLITE_WAIT: Duration = Duration::from_millis(500);

/// `dead_letters.max_age` is days: an hour more is nothing.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// What keeps the daemon from starting.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The state file.
    #[error("could not open the state file")]
    State {
        /// Why.
        source: StateError,
    },
    /// A destination's files.
    #[error("could not set up destination `{name}`")]
    OpenSearch {
        /// The destination.
        name: DestinationName,
        /// Why.
        source: BuildError,
    },
    /// A destination's file.
    #[error("could not set up destination `{name}`")]
    Sqlite {
        /// The destination.
        name: DestinationName,
        /// Why.
        source: OpenError,
    },
    /// The listener.
    #[error("could not listen on {address}: give another by `http.listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A metric's name is taken.
    #[error("could not register the metrics")]
    Metrics {
        /// Why.
        source: prometheus::Error,
    },
    /// The dead letters cannot be read.
    #[error("could not look at the dead letters")]
    Letters {
        /// Why.
        source: LetterStoreError,
    },
    /// The system refuses threads.
    #[error("could not start the encoder threads")]
    Threads {
        /// Why.
        source: io::Error,
    },
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was read has its fate and is checkpointed.
    Drained,
    /// Some of it has not, and will be read again.
    CutShort,
}

/// A running daemon.
pub struct App {
    view: View,
    letters: LetterStore,
    address: SocketAddr,
    queue: Arc<WorkQueue>,
    encoders: Vec<JoinHandle<()>>,
    sources: TaskTracker,
    pools: TaskTracker,
    background: TaskTracker,
    shutdown: Shutdown,
    deadline: Duration,
}

/// What all parts are put together with.
struct Parts {
    config: Config,
    clock: Clock,
    shutdown: Shutdown,
    registry: Registry,
    ledger: Arc<Ledger>,
    names: Names,
    letters: LetterStore,
    queue: Arc<WorkQueue>,
    slot: DecodeSlot,
    pools: TaskTracker,
    budgets: Vec<(DestinationName, Arc<BodyBudget>)>,
    statuses: Vec<(DestinationName, Arc<PoolStatus>)>,
}

impl App {
    /// Starts the daemon; it runs until `shutdown` says otherwise. `credentials` stand in for
    /// those of the environment.
    ///
    /// # Errors
    /// What a person has to mend first. Nothing runs then.
    pub async fn start(
        config: Config,
        shutdown: Shutdown,
        credentials: Option<Credentials>,
    ) -> Result<Self, AppError> {
        let address = config.http.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| AppError::Listen { address, source })?;
        let address = listener.local_addr().unwrap_or(address);
        let state = State::open(&config.state, Access::Daemon);
        let state = state.map_err(|source| AppError::State { source })?;
        let mut parts = Parts::new(config, shutdown, &state);
        let outlets = parts.outlets(Book::Live)?;
        let (queue, routes) = (Arc::clone(&parts.queue), parts.config.routes.clone());
        let books = (Arc::clone(&parts.ledger), Book::Live);
        let with = (parts.letters.clone(), parts.slot.clone(), parts.clock);
        let shared = Arc::new(Shared::new(queue, routes, outlets, books, with));
        let fetch = FetchBudget::new(parts.config.memory.fetch.0);
        parts.register(&shared, &fetch).map_err(|source| AppError::Metrics { source })?;
        let encoders = encode::start(&shared, threads());
        let encoders = encoders.map_err(|source| AppError::Threads { source })?;
        let sources = TaskTracker::new();
        let handles = parts.sources(&state, &fetch, (&sources, credentials))?;
        sources.close();
        parts.pools.close();
        let background = TaskTracker::new();
        let view = parts.view(handles);
        let (clock, heartbeat) = (view.clock, Arc::clone(&view.heartbeat));
        let (cut, letters) = (parts.shutdown.clone(), parts.letters.clone());
        let serving = admin::serve(listener, view.clone());
        background.spawn(async move {
            tokio::select! {
                () = cut.cut() => {}
                () = heartbeat.beat(clock) => {}
                () = expire(letters) => {}
                result = serving => warn!(?result, "the status listener ended"),
            }
        });
        info!(%address, "listening for /metrics and /health");
        let Parts { config, shutdown, letters, queue, pools, .. } = parts;
        let deadline = config.shutdown.deadline.0;
        Ok(Self {
            view,
            letters,
            address,
            queue,
            encoders,
            sources,
            pools,
            background,
            shutdown,
            deadline,
        })
    }

    /// What the status pages show.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The dead letters.
    #[must_use]
    pub fn letters(&self) -> &LetterStore {
        &self.letters
    }

    /// Where the status pages are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the daemon is told to stop, and then until it has stopped.
    pub async fn finish(self) -> Outcome {
        let Self { queue, encoders, sources, pools, background, shutdown, deadline, .. } = self;
        shutdown.draining().await;
        info!(?deadline, "draining: reading nothing more");
        queue.hurry();
        let stopping = async {
            sources.wait().await;
            queue.close();
            joined(encoders).await;
            pools.wait().await;
        };
        let mut stopping = std::pin::pin!(stopping);
        let outcome = tokio::select! {
            biased;
            () = shutdown.cut() => Outcome::CutShort,
            () = &mut stopping => Outcome::Drained,
            () = tokio::time::sleep(deadline) => Outcome::CutShort,
        };
        if outcome == Outcome::CutShort {
            warn!("cut short: events without a fate will be read again");
            shutdown.cut_short();
            queue.cut_short();
            stopping.await;
        }
        // Ends the listener, which has shown the drain until now.
        shutdown.cut_short();
        background.close();
        background.wait().await;
        outcome
    }
}

/// One encoder for each core.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Waits for the encoders to end.
async fn joined(encoders: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        encoders.into_iter().filter_map(|thread| thread.join().err()).count()
    });
    let panicked = joined.await.unwrap_or(0);
    if panicked > 0 {
        warn!(panicked, "encoder threads ended by a bug in logweir");
    }
}

impl Parts {
    fn new(config: Config, shutdown: Shutdown, state: &State) -> Self {
        let routes: Vec<RouteName> =
            config.routes.iter().map(|(_, route)| route.name.clone()).collect();
        let destinations: Vec<DestinationName> =
            config.destinations.iter().map(|(name, _)| name.clone()).collect();
        let letters = LetterStore::new(state.clone(), config.dead_letters);
        let queue: Arc<WorkQueue> = Arc::default();
        let woken = Arc::clone(&queue);
        Self {
            clock: Clock::start(),
            shutdown,
            registry: Registry::new(),
            ledger: Arc::default(),
            names: Names { routes: routes.into(), destinations: destinations.into() },
            letters,
            slot: DecodeSlot::new(move || woken.wake()),
            queue,
            pools: TaskTracker::new(),
            budgets: Vec::new(),
            statuses: Vec::new(),
            config,
        }
    }

    /// Starts the pool of each destination. Returns where the encoders put their batches.
    fn outlets(&mut self, book: Book) -> Result<Vec<Outlet>, AppError> {
        let metrics = DeliveryMetrics::register(&self.registry, &self.names.destinations);
        let metrics = metrics.map_err(|source| AppError::Metrics { source })?;
        let destinations = self.config.destinations.clone();
        let mut outlets = Vec::new();
        for (id, (name, config)) in (0..u16::MAX).map(DestinationId).zip(destinations) {
            let to = To { id, name, book, metrics: metrics.clone() };
            outlets.push(match config {
                DestinationConfig::OpenSearch(config) => {
                    let bulk = config.bulk.clone();
                    let breaker = config.dead_letter_breaker == Switch::On;
                    let built = OpenSearch::build(*config, self.clock);
                    let name = to.name.clone();
                    let search = built.map_err(|source| AppError::OpenSearch { name, source })?;
                    let search = Arc::new(search);
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
            });
        }
        Ok(outlets)
    }

    fn outlet<D: Destination>(
        &mut self,
        to: To,
        destination: Arc<D>,
        (dispatcher, closed): (Dispatcher, watch::Receiver<Closed>),
        (max_body, max_wait): (usize, Duration),
    ) -> Outlet {
        let To { id, name, book, metrics } = to;
        let queue = Arc::clone(&self.queue);
        let budget = BodyBudget::new(self.config.memory.body.0, move || queue.wake());
        let account = Account { ledger: Arc::clone(&self.ledger), destination: id, book };
        // Every batch takes MIN_CHARGE of the budget, so there are never more than this.
        let (batches, received) = mpsc::channel(budget.size() / MIN_CHARGE + 1);
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
        self.budgets.push((name.clone(), Arc::clone(&budget)));
        self.statuses.push((name, status));
        Outlet { account, framing, max_body, max_wait, budget, batches }
    }

    /// Starts the source of each stream.
    fn sources(
        &self,
        state: &State,
        fetch: &FetchBudget,
        (tasks, credentials): (&TaskTracker, Option<Credentials>),
    ) -> Result<Vec<crate::kinesis::SourceHandle>, AppError> {
        let metrics = KinesisMetrics::new(&self.registry);
        let metrics = metrics.map_err(|source| AppError::Metrics { source })?;
        let streams = self.config.streams.clone().into_iter();
        let handles = streams.map(|(stream, config)| {
            let queue = Arc::clone(&self.queue);
            let source = Source::new(SourceSetup {
                stream,
                config,
                credentials: credentials.clone(),
                leases: LeaseTable::new(state.clone()),
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

    fn register(&self, shared: &Shared, fetch: &FetchBudget) -> prometheus::Result<()> {
        let names = self.names.clone();
        let ledger = LedgerMetrics::new(Arc::clone(&self.ledger), names, metrics::labels())?;
        self.registry.register(Box::new(ledger))?;
        let memory = metrics::DaemonMetrics {
            parked_milliseconds: Arc::clone(&shared.parked_milliseconds),
            fetch: fetch.clone(),
            bodies: self.budgets.clone(),
            letters: self.letters.clone(),
            desc: metrics::DaemonMetrics::desc()?,
        };
        self.registry.register(Box::new(memory))
    }

    fn view(&self, sources: Vec<crate::kinesis::SourceHandle>) -> View {
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

/// Deletes the dead letters that are older than `dead_letters.max_age`, now and every hour.
async fn expire(letters: LetterStore) {
    loop {
        let store = letters.clone();
        match tokio::task::spawn_blocking(move || store.expire_blocking()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(expired)) => warn!(expired, "deleted dead letters older than `max_age`"),
            Ok(Err(error)) => warn!(error = %Chain(&error), "could not delete old dead letters"),
            Err(error) => warn!(%error, "deleting old dead letters broke off"),
        }
        tokio::time::sleep(EXPIRE_EVERY).await;
    }
}

/// The destination that an outlet is made for.
struct To {
    id: DestinationId,
    name: DestinationName,
    book: Book,
    metrics: DeliveryMetrics,
}
