//! The daemon's pipeline with the dead letters as its only source, for one replay.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::dead_letter::sqlite::LetterStoreError;
use crate::delivery::PoolStatus;
use crate::encode::{self, Shared, WorkQueue};
use crate::event::DestinationName;
use crate::replay::{Order, Replay, Report};
use crate::shutdown::Shutdown;
use crate::state::{Access, State};
use crate::telemetry::ledger::{Book, Ledger};
use crate::telemetry::ledger_metrics::Names;

use super::{AppError, Parts, joined};

/// A replay that is ready to run. Holds the state file as a daemon does.
pub struct ReplayApp {
    /// Letters that are meant.
    pub letters: u64,
    /// Where its events are counted.
    pub ledger: Arc<Ledger>,
    /// The names of what it counts by.
    pub names: Names,
    /// What the destinations hold back.
    pub statuses: Vec<(DestinationName, Arc<PoolStatus>)>,
    replay: Replay,
    queue: Arc<WorkQueue>,
    encoders: Vec<JoinHandle<()>>,
    pools: TaskTracker,
    shutdown: Shutdown,
    deadline: Duration,
}

impl ReplayApp {
    /// Puts the pipeline together.
    ///
    /// # Errors
    /// What a person has to mend first; a daemon that runs on the same state file is one.
    pub fn start(config: Config, order: Order, shutdown: Shutdown) -> Result<Self, AppError> {
        let state = State::open(&config.state, Access::Daemon);
        let state = state.map_err(|source| AppError::State { source })?;
        let mut parts = Parts::new(config, shutdown, &state);
        let outlets = parts.outlets(Book::Replay)?;
        let (queue, routes) = (Arc::clone(&parts.queue), parts.config.routes.clone());
        let books = (Arc::clone(&parts.ledger), Book::Replay);
        let with = (parts.letters.clone(), parts.slot.clone(), parts.clock);
        let shared = Arc::new(Shared::new(queue, routes, outlets, books, with));
        let encoders = encode::start(&shared, super::threads());
        let encoders = encoders.map_err(|source| AppError::Threads { source })?;
        parts.pools.close();
        let letters = parts.letters.count_blocking(&order.filter);
        let letters = letters.map_err(|source| AppError::Letters { source })?;
        let Parts { config, shutdown, ledger, names, letters: store, .. } = parts;
        let (queue, pools, statuses) = (parts.queue, parts.pools, parts.statuses);
        // Nothing more will come that a body should wait for.
        queue.hurry();
        let destinations = Arc::clone(&names.destinations);
        let replay = Replay::new(store, order, destinations, Arc::clone(&queue));
        let deadline = config.shutdown.deadline.0;
        Ok(Self {
            letters,
            ledger,
            names,
            statuses,
            replay,
            queue,
            encoders,
            pools,
            shutdown,
            deadline,
        })
    }

    /// Sends the letters and stops the pipeline. After a stop signal what is on its way has until
    /// the drain deadline.
    ///
    /// # Errors
    /// The letter store; see [`Replay::run`].
    pub async fn finish(self, progress: impl FnMut(&Report)) -> Result<Report, LetterStoreError> {
        let Self { replay, queue, encoders, pools, shutdown, deadline, .. } = self;
        let mut running = std::pin::pin!(replay.run(&shutdown, progress));
        let overdue = async {
            shutdown.draining().await;
            tokio::select! {
                () = shutdown.cut() => {}
                () = tokio::time::sleep(deadline) => shutdown.cut_short(),
            }
            queue.cut_short();
        };
        let result = tokio::select! {
            biased;
            result = &mut running => result,
            () = overdue => running.await,
        };
        if result.is_err() {
            shutdown.cut_short();
            queue.cut_short();
        }
        queue.close();
        joined(encoders).await;
        pools.wait().await;
        result
    }
}
