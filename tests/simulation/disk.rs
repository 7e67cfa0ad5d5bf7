//! The disk with the state: in memory, outliving each daemon, full or slow for a while.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logweir::state::{Disk, Durability, Work};
use rusqlite::{Connection, Error, ffi};

use crate::history::Fault;
use crate::world::Shared;

pub(crate) struct SimulatedDisk {
    world: Arc<Shared>,
    connection: Mutex<Connection>,
}

impl SimulatedDisk {
    pub(crate) fn new(world: &Arc<Shared>) -> Self {
        let connection = Mutex::new(Connection::open_in_memory().unwrap());
        Self { world: Arc::clone(world), connection }
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&Connection) -> R) -> R {
        look(&self.connection.lock().unwrap())
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

fn full() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None)
}

impl Disk for SimulatedDisk {
    fn latency(&self) -> Duration {
        let mut world = self.world.lock();
        let is_slow = !world.is_over() && world.hits(Fault::SlowDisk, |_| true);
        Duration::from_millis(if is_slow {
            world.rng.u64(1_000..8_000)
        } else {
            world.rng.u64(..5)
        })
    }

    fn work(&self, durability: Durability, work: Work<'_>) -> rusqlite::Result<()> {
        let what = match durability {
            Durability::Normal => "work on the state",
            Durability::Full => "durable work on the state",
        };
        let begun = self.world.try_step((what, 0), |world| world.hits(Fault::DiskFull, |_| true));
        if begun != Some(false) {
            return Err(full());
        }
        let mut connection = self.connection.lock().unwrap();
        let before = connection.total_changes();
        work(&mut connection)?;
        if connection.total_changes() == before {
            return Ok(());
        }
        // It is there even if the daemon dies before it hears so.
        self.world.lock().check_state(&connection);
        self.world.try_step(("committed", 0), |_| ()).ok_or_else(full)
    }

    fn set_up(&self, work: Work<'_>) -> rusqlite::Result<()> {
        work(&mut self.connection.lock().unwrap())
    }
}
