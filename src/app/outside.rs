//! What a daemon deals with outside itself, all of which `tests/simulate` plays.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use aws_sdk_kinesis::config::Credentials;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::config::Config;
use crate::destination::opensearch::request::{Carry, by_http};
use crate::encode::{self, Shared};
use crate::kinesis::{Connect, by_sdk};
use crate::state::{Access, State};

use super::AppError;

/// What a daemon deals with outside itself.
pub struct Outside {
    /// Where it remembers what it did.
    pub state: State,
    /// How it asks Kinesis.
    pub connect: Connect,
    /// How its requests go to search engines.
    pub carry: Carry,
    /// What its encoders run on.
    pub encoders: Encoders,
    /// Where its status pages are asked for; none where nobody asks.
    pub listener: Option<TcpListener>,
}

impl Outside {
    /// What really is outside. `credentials` stand in for those of the environment.
    ///
    /// # Errors
    /// What a person has to mend first.
    pub async fn real(config: &Config, credentials: Option<Credentials>) -> Result<Self, AppError> {
        let address = config.http.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| AppError::Listen { address, source })?;
        let state = State::open(&config.state, Access::Daemon);
        let state = state.map_err(|source| AppError::State { source })?;
        let (connect, carry) = (by_sdk(credentials), by_http());
        Ok(Self { state, connect, carry, encoders: Encoders::threads(), listener: Some(listener) })
    }
}

/// The encoders of a daemon.
#[derive(Debug)]
pub enum Encoders {
    /// Each on a thread.
    Threads(Vec<JoinHandle<()>>),
    /// Each a task, where there is one thread for all.
    Tasks(TaskTracker),
}

impl Encoders {
    /// None yet; those to come run on threads.
    #[must_use]
    pub fn threads() -> Self {
        Self::Threads(Vec::new())
    }

    /// None yet; those to come run as tasks.
    #[must_use]
    pub fn tasks() -> Self {
        Self::Tasks(TaskTracker::new())
    }

    /// Starts `threads` more, or one more task.
    pub(super) fn start(&mut self, shared: &Arc<Shared>, threads: usize) -> io::Result<()> {
        match self {
            Self::Threads(all) => all.extend(encode::start(shared, threads)?),
            Self::Tasks(tasks) => drop(tasks.spawn(encode::task(shared))),
        }
        Ok(())
    }

    /// Waits for the encoders to end.
    pub(super) async fn joined(self) {
        let threads = match self {
            Self::Threads(threads) => threads,
            Self::Tasks(tasks) => {
                tasks.close();
                return tasks.wait().await;
            }
        };
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        let panicked = joined.await.unwrap_or(0);
        if panicked > 0 {
            warn!(panicked, "encoder threads ended by a bug in logweir");
        }
    }
}
