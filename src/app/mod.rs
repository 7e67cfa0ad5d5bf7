//! Puts the daemon together: the only place that knows every stage.
//!
//! Start: state, pools, encoders, sources, listener. Stop, in the order of the flow: sources stop
//! reading and give back the records that no encoder has begun, what was begun gets its fates,
//! checkpoints are written, the queues close, encoders end, pools end. If that takes longer than the
//! deadline it is cut short.
//!
//! Dead letters that are sent again have a line of their own beside the live one: a queue, an
//! encoder thread and a share of each budget, so that a store can be emptied whatever else waits.
//! The two meet in the pools, under the same holds.

mod desk;
mod metrics;
mod outside;
mod parts;
mod pools;
mod prepare;
mod replay;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::config::Credentials;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::{self, View};
use crate::config::Config;
use crate::dead_letter::requests::Requests;
use crate::dead_letter::sqlite::{LetterStore, LetterStoreError};
use crate::destination::opensearch::config::BuildError;
use crate::destination::sqlite::OpenError;
use crate::event::DestinationName;
use crate::memory::FetchBudget;
use crate::shutdown::Shutdown;
use crate::state::StateError;
use crate::telemetry::chain::Chain;
use crate::telemetry::ledger::{Accounts, Book};
use crate::telemetry::rate_limit::RateLimit;

use self::desk::Desk;
pub use self::metrics::Memory;
pub use self::outside::{Encoders, Outside};
use self::parts::{Parts, Queues, live_part};
pub use self::replay::ReplayApp;

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
    /// Every event that was read has its fate and is checkpointed.
    Drained,
    /// Some of it has not, and will be read again.
    CutShort,
}

/// A running daemon.
pub struct App {
    view: View,
    memory: Memory,
    address: SocketAddr,
    queues: Queues,
    encoders: Encoders,
    sources: TaskTracker,
    pools: TaskTracker,
    background: TaskTracker,
    shutdown: Shutdown,
    deadline: Duration,
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
        let outside = Outside::real(&config, credentials).await?;
        Self::start_in(config, shutdown, outside)
    }

    /// Starts the daemon in whatever is outside it.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_in(
        config: Config,
        shutdown: Shutdown,
        outside: Outside,
    ) -> Result<Self, AppError> {
        let Outside { state, connect, carry, mut encoders, listener } = outside;
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let address = bound.unwrap_or(config.http.listen);
        let mut parts = Parts::new(config, shutdown, (state.clone(), carry));
        let outlets = parts.outlets()?;
        parts.encoders(outlets.live, Book::Live, (&mut encoders, threads()))?;
        parts.encoders(outlets.replay, Book::Replay, (&mut encoders, 1))?;
        let fetch = FetchBudget::new(live_part(parts.config.memory.fetch.0));
        let line = parts.line();
        parts.register(&fetch, &line).map_err(|source| AppError::Metrics { source })?;
        let memory = parts.memory([&fetch, &line.budget]);
        let sources = TaskTracker::new();
        let handles = parts.sources(&fetch, (&sources, &connect))?;
        // Letters are read as shards are: what is on its way has its time at the end.
        let desk = Desk {
            requests: Requests::new(state),
            line,
            digest: parts.config.digest.clone(),
            clock: parts.clock,
            shutdown: parts.shutdown.clone(),
            rate_limit: RateLimit::default(),
        };
        sources.spawn(desk.serve());
        sources.close();
        parts.pools.close();
        let view = parts.view(handles);
        view.register_ready().map_err(|source| AppError::Metrics { source })?;
        let background = TaskTracker::new();
        let cut = parts.shutdown.clone();
        background.spawn(in_background(cut, view.clone(), listener));
        info!(%address, "listening for /metrics and /health");
        let Parts { config, shutdown, queues, pools, .. } = parts;
        let deadline = config.shutdown.deadline.0;
        Ok(Self {
            view,
            memory,
            address,
            queues,
            encoders,
            sources,
            pools,
            background,
            shutdown,
            deadline,
        })
    }

    /// The budgets that bound its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What the status pages show.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The dead letters.
    #[must_use]
    pub fn letters(&self) -> &LetterStore {
        &self.view.letters
    }

    /// Where the status pages are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the daemon is told to stop, and then until it has stopped.
    pub async fn finish(self) -> Outcome {
        let Self { view, queues, encoders, sources, pools, background, shutdown, deadline, .. } =
            self;
        let ledger = Arc::clone(&view.ledger);
        drop(view);
        shutdown.draining().await;
        info!(?deadline, "draining: reading nothing more");
        queues.live.hurry();
        let stopping = async {
            sources.wait().await;
            queues.close();
            encoders.joined().await;
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
            warn!("cut short: what has no fate or no checkpoint yet will be read again");
            shutdown.cut_short();
            queues.cut_short();
            stopping.await;
        }
        // Ends the listener, which has shown the drain until now.
        shutdown.cut_short();
        background.close();
        background.wait().await;
        tell_of(&ledger.snapshot(), outcome);
        outcome
    }
}

/// The last line of the log.
fn tell_of(accounts: &Accounts, outcome: Outcome) {
    let read = accounts.events_read;
    let filtered: u64 = accounts.filtered.values().sum();
    let delivered: u64 = accounts.delivered.values().sum();
    let dead_lettered: u64 = accounts.dead_lettered.values().sum();
    let abandoned: u64 = accounts.abandoned.values().sum();
    match outcome {
        Outcome::Drained => {
            info!(read, filtered, delivered, dead_lettered, abandoned, "stopped: drained");
        }
        Outcome::CutShort => {
            warn!(
                read,
                filtered, delivered, dead_lettered, abandoned, "stopped before all was done"
            );
        }
    }
}

/// One encoder for each core.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What goes on beside the flow, until the daemon is cut short or has ended.
async fn in_background(cut: Shutdown, view: View, listener: Option<TcpListener>) {
    let (clock, heartbeat) = (view.clock, Arc::clone(&view.heartbeat));
    let letters = view.letters.clone();
    let serving = async {
        match listener {
            Some(listener) => admin::serve(listener, view).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cut.cut() => {}
        () = heartbeat.beat(clock) => {}
        () = expire(letters) => {}
        result = serving => warn!(?result, "the status listener ended"),
    }
}

/// Deletes the dead letters that are older than `dead_letters.max_age`, and gives back the room that
/// letters have left, now and every hour.
async fn expire(letters: LetterStore) {
    loop {
        let tidied = letters.spawn_blocking(|letters| {
            let expired = letters.expire_blocking()?;
            letters.shrink_blocking().map(|()| expired)
        });
        match tidied.await {
            Ok(Ok(0)) => {}
            Ok(Ok(expired)) => warn!(expired, "deleted dead letters older than `max_age`"),
            Ok(Err(error)) => warn!(error = %Chain(&error), "could not tidy up the dead letters"),
            Err(error) => warn!(%error, "tidying up the dead letters broke off"),
        }
        tokio::time::sleep(EXPIRE_EVERY).await;
    }
}
