//! Where the state is: in a file, or for `tests/simulate` on a disk that is simulated.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::JoinHandle;

use super::Durability;

/// Work on a connection, with the place for what it returns beside it.
pub type Work<'a> = &'a mut dyn FnMut(&mut Connection) -> rusqlite::Result<()>;

/// A disk in memory that outlives a crashed daemon, with failures and latencies of its own.
///
/// A simulation has one thread and owns the time: what would block is carried out by a task.
pub trait Disk: fmt::Debug + Send + Sync {
    /// How long a task waits until the work is begun that it asks for.
    fn latency(&self) -> Duration;

    /// Carries out work, unless it is to fail.
    ///
    /// # Errors
    /// Those of the work, or one that was planned.
    fn work(&self, durability: Durability, work: Work<'_>) -> rusqlite::Result<()>;

    /// The same for opening, which never fails by plan.
    ///
    /// # Errors
    /// Those of the work.
    fn set_up(&self, work: Work<'_>) -> rusqlite::Result<()>;
}

/// Where the state is.
#[derive(Debug)]
pub(super) enum Medium {
    File(Mutex<Connection>),
    Simulated(Arc<dyn Disk>),
}

impl Medium {
    pub(super) fn file(connection: Connection) -> Self {
        Self::File(Mutex::new(connection))
    }

    pub(super) fn work<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let level = match durability {
            Durability::Normal => "NORMAL",
            Durability::Full => "FULL",
        };
        match self {
            Self::File(connection) => {
                let mut connection = lock(connection);
                connection.pragma_update(None, "synchronous", level)?;
                work(&mut connection)
            }
            Self::Simulated(disk) => returned(work, |work| disk.work(durability, work)),
        }
    }

    pub(super) fn set_up<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        match self {
            Self::File(connection) => work(&mut lock(connection)),
            Self::Simulated(disk) => returned(work, |work| disk.set_up(work)),
        }
    }

    pub(super) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        match self {
            Self::File(_) => tokio::task::spawn_blocking(work),
            Self::Simulated(disk) => {
                let latency = disk.latency();
                #[expect(clippy::disallowed_methods, reason = "as `spawn_blocking` would do it")]
                tokio::spawn(async move {
                    tokio::time::sleep(latency).await;
                    work()
                })
            }
        }
    }
}

fn lock(connection: &Mutex<Connection>) -> std::sync::MutexGuard<'_, Connection> {
    // Work that panicked has rolled its transaction back: the connection is as good as before.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings what `work` returns past a trait that cannot be generic.
fn returned<T>(
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    carry_out: impl FnOnce(Work<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<T> {
    let (mut work, mut result) = (Some(work), None);
    carry_out(&mut |connection| {
        if let Some(work) = work.take() {
            result = Some(work(connection)?);
        }
        Ok(())
    })?;
    // Only a disk that claims to have done what it has not done comes to this.
    result.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
