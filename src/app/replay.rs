//! The daemon's line for dead letters without the daemon: for one replay while none runs.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::dead_letter::requests::{Order, Report};
use crate::destination::opensearch::request::by_http;
use crate::replay::{Ended, Line, Replay};
use crate::shutdown::Shutdown;
use crate::state::{Access, State};
use crate::telemetry::ledger::Book;

use super::outside::Encoders;
use super::parts::Parts;
use super::{AppError, threads};

/// A replay that is ready to run. Holds the state file as a daemon does.
pub struct ReplayApp {
    line: Line,
    order: Order,
    encoders: Encoders,
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
        let state = State::open(&config.state, Access::Exclusive);
        let state = state.map_err(|source| AppError::State { source })?;
        let mut parts = Parts::new(config, shutdown, (state, by_http()));
        // Nothing comes by the live ones, which are dropped.
        let outlets = parts.outlets()?.replay;
        let mut encoders = Encoders::threads();
        parts.encoders(outlets, Book::Replay, (&mut encoders, threads()))?;
        parts.pools.close();
        let line = parts.line();
        let Parts { config, shutdown, pools, .. } = parts;
        let deadline = config.shutdown.deadline.0;
        Ok(Self { line, order, encoders, pools, shutdown, deadline })
    }

    /// Sends the letters and stops the pipeline. After a stop signal what is on its way has until
    /// the drain deadline.
    pub async fn finish(self, progress: impl FnMut(&Report)) -> Ended {
        let Self { line, order, encoders, pools, shutdown, deadline } = self;
        let queue = line.queue.clone();
        let replay = Replay::new(line, order);
        let mut running = std::pin::pin!(replay.run(shutdown.draining(), progress));
        let overdue = async {
            shutdown.draining().await;
            tokio::select! {
                () = shutdown.cut() => {}
                () = tokio::time::sleep(deadline) => shutdown.cut_short(),
            }
            queue.cut_short();
        };
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = overdue => running.await,
        };
        queue.close();
        encoders.joined().await;
        pools.wait().await;
        ended
    }
}
