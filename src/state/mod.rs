//! The one SQLite file on a box: checkpoints and dead letters, locked by the daemon that uses it.
//!
//! WAL, so that `dead-letter list` reads while the daemon writes. What must not be lost once it is
//! answered (letters, new leases) is committed with `synchronous=FULL`; checkpoints are committed
//! with `NORMAL`: a power cut may take the last ones back, and going back is safe.
//!
//! A file that is not ours, newer than this build, or damaged is refused and left as it is. An empty
//! one is taken for a new one, with a warning: what truncated it may have taken checkpoints away.

mod config;
mod disk;
mod error;
mod examine;
mod filesystem;
mod identity;
mod lock;
mod presence;
mod schema;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::task::JoinHandle;
use tracing::warn;

pub use self::config::{SqliteConfig, file_path};
use self::disk::Medium;
pub use self::disk::{Disk, Work};
pub use self::error::StateError;
pub use self::examine::{examine, may_write, peek};
use self::lock::{Lock, Refused};
use self::presence::Presence;
use self::schema::Kind;

/// How long a write waits for one of another process, such as `dead-letter drop`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Larger files are not read through after a crash, which would delay the start by minutes: then
/// only the leases, which decide where reading goes on, are checked.
const MOST_CHECKED: u64 = 512 << 20;

/// Free pages that the file keeps: 4 MiB, for what comes next.
const FREE_KEPT: u32 = 1_000;

/// Pages that are given back in one go: some milliseconds of writing.
const SHRINK_STEP: u32 = 1_000;

/// What is said of a file of no bytes.
const EMPTY: &str = "the state file is there and empty: checkpoints and dead letters, if it ever had \
                     some, are gone; streams are read from their `start` again";

/// What a process opens the state for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To run: takes the lock, makes the file if it is missing and brings it up to date.
    Daemon,
    /// To work in a daemon's place (`dead-letter replay`, `leases reset`): as `Daemon`, but the file
    /// must exist.
    Exclusive,
    /// To change dead letters beside a running daemon (`dead-letter drop`): no lock; the file must
    /// exist and be current.
    Edit,
    /// To look (`dead-letter list`, `leases`): as `Edit`, and every write fails.
    Inspect,
}

impl Access {
    /// Whether nobody else may have the file meanwhile.
    const fn is_exclusive(self) -> bool {
        match self {
            Self::Daemon | Self::Exclusive => true,
            Self::Edit | Self::Inspect => false,
        }
    }
}

/// How sure a commit must be before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut may take it back, a crash of the process may not.
    Normal,
    /// It is on the disk.
    Full,
}

/// An open state file. Clones share it; the last one closes it and gives the lock up.
#[derive(Clone, Debug)]
pub struct State(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    // Dropped before the lock: nobody else may have the file while it is being closed.
    medium: Medium,
    /// Of who has the file alone, and for long.
    presence: Option<Presence>,
    _lock: Option<Lock>,
}

impl State {
    /// Opens the state file for `access`. Blocks, possibly for the time it takes to read the file
    /// through when the last daemon did not end cleanly.
    pub fn open(config: &SqliteConfig, access: Access) -> Result<Self, StateError> {
        let path = resolve(&config.path)?;
        if access != Access::Daemon && !exists(&path)? {
            return Err(StateError::Missing { path });
        }
        identity::recognise(&path)?;
        let lock = access.is_exclusive().then(|| prepare(&path, config.ephemeral)).transpose()?;
        let crashed = is_filled(&beside(&path, "-wal"));
        let connection =
            connect(&path, access, crashed).map_err(|error| StateError::of(&path, error))?;
        let presence = || {
            let files = Presence::of([path.clone(), beside(&path, ".lock")]);
            files.map_err(|source| unusable(&path, source))
        };
        let presence = access.is_exclusive().then(presence).transpose()?;
        let state = Shared { path, medium: Medium::file(connection), presence, _lock: lock };
        state.admit(access)?;
        if access.is_exclusive() {
            state.check(crashed)?;
            state.work(|connection| keep_log(connection, false))?;
        }
        Ok(Self(Arc::new(state)))
    }

    /// The state on a disk that is simulated; see [`Disk`].
    ///
    /// # Errors
    /// As `open`, for what is on that disk.
    pub fn on(disk: Arc<dyn Disk>) -> Result<Self, StateError> {
        let path = PathBuf::from("simulated");
        let state = Shared { path, medium: Medium::Simulated(disk), presence: None, _lock: None };
        state.admit(Access::Daemon)?;
        Ok(Self(Arc::new(state)))
    }

    /// Works on the file, without waiting for the disk: for what may be taken back, and to read.
    ///
    /// Work that was begun is finished even if the future is dropped.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        self.spawn(Durability::Normal, work).await
    }

    /// Works on the file; what is committed when it answers is on the disk.
    ///
    /// Work that was begun is finished even if the future is dropped.
    pub async fn call_durable<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        self.spawn(Durability::Full, work).await
    }

    /// The same for threads that may block.
    pub fn call_blocking<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let missing = self.0.presence.as_ref().and_then(Presence::missing);
        if let Some(missing) = missing {
            let (path, pid) = (missing.to_owned(), std::process::id());
            return Err(StateError::Gone { path, pid });
        }
        let worked = self.0.medium.work(durability, work);
        worked.map_err(|error| StateError::of(&self.0.path, error))
    }

    /// Gives what deleted rows have left free back to the disk, all but `FREE_KEPT`; others have their
    /// turn in between.
    pub fn shrink_blocking(&self) -> Result<(), StateError> {
        while self.call_blocking(Durability::Normal, shrink)? {}
        Ok(())
    }

    /// Carries out what may block, off the async workers. What was begun is finished even if the
    /// handle is dropped.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.medium.spawn_blocking(work)
    }

    async fn spawn<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let state = self.clone();
        let work = self.spawn_blocking(move || state.call_blocking(durability, work));
        work.await.map_err(|source| StateError::BrokenOff { path: self.0.path.clone(), source })?
    }
}

/// Who has the state file to itself now, a daemon or a command in its place, in its own words: pid,
/// host, start and command. None when nobody has. Whoever wants the file meanwhile gets it.
///
/// # Errors
/// The lock file cannot be read.
pub fn holder(config: &SqliteConfig) -> Result<Option<String>, StateError> {
    let path = resolve(&config.path)?;
    Lock::holder(&beside(&path, ".lock")).map_err(|source| unusable(&path, source))
}

impl Shared {
    /// The version of the file, 0 if it is empty. Refuses what can never be a state file of this build.
    fn version(&self) -> Result<i64, StateError> {
        let kind = self.work(|connection| schema::kind(connection))?;
        let (path, known) = (self.path.clone(), schema::CURRENT);
        match kind {
            Kind::Foreign(application_id) => Err(StateError::Foreign { path, application_id }),
            Kind::State(found) if found > known => Err(StateError::Newer { path, found, known }),
            Kind::State(version) => Ok(version),
            Kind::Empty => Ok(0),
        }
    }

    /// Refuses what is not a state file of this version, or makes it one.
    fn admit(&self, access: Access) -> Result<(), StateError> {
        let (version, known) = (self.version()?, schema::CURRENT);
        match access {
            Access::Daemon | Access::Exclusive => {
                self.work(|connection| set_up(connection, version))
            }
            Access::Edit | Access::Inspect if version < known => {
                Err(StateError::Older { path: self.path.clone(), found: version, known })
            }
            Access::Edit | Access::Inspect => Ok(()),
        }
    }

    /// Looks for damage: after a crash everywhere, and always in the leases, without which nothing
    /// can be read.
    fn check(&self, crashed: bool) -> Result<(), StateError> {
        let is_small = self.path.metadata().is_ok_and(|file| file.len() <= MOST_CHECKED);
        let everywhere = crashed && is_small;
        let check = if everywhere { "PRAGMA quick_check(1)" } else { "PRAGMA quick_check(leases)" };
        let found: String =
            self.work(|connection| connection.query_row(check, [], |row| row.get(0)))?;
        if found == "ok" {
            return Ok(());
        }
        Err(StateError::Damaged { path: self.path.clone(), detail: found })
    }

    /// Before anybody else has it.
    fn work<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        self.medium.set_up(work).map_err(|error| StateError::of(&self.path, error))
    }
}

/// The real path: two names of one file must meet at one lock.
fn resolve(path: &Path) -> Result<PathBuf, StateError> {
    let unusable = |remedy, source| StateError::Unusable { path: path.to_owned(), remedy, source };
    if let Ok(real) = path.canonicalize() {
        return if real.is_dir() { Err(StateError::Folder { path: real }) } else { Ok(real) };
    }
    let name = path.file_name().ok_or_else(|| {
        unusable("`state.sqlite.path` must name a file", io::ErrorKind::InvalidInput.into())
    })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|source| {
        unusable("create its folder, owned by the user that logweir runs as", source)
    })?;
    Ok(folder.join(name))
}

/// All that must be right before a daemon lets SQLite near the file.
fn prepare(path: &Path, ephemeral: bool) -> Result<Lock, StateError> {
    trust(path, ephemeral)?;
    identity::alone(path)?;
    let lock = Lock::take(&beside(path, ".lock")).map_err(|refused| match refused {
        Refused::Held(holder) => StateError::Locked { path: path.to_owned(), holder },
        Refused::Io(source) => unusable(path, source),
    })?;
    if path.metadata().is_ok_and(|file| file.len() == 0) {
        warn!(path = %path.display(), "{EMPTY}");
    }
    // Made here rather than by SQLite, whose -wal and -shm files take the mode of this one: a
    // letter may hold anything that is in a log.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| unusable(path, source))?;
    Ok(lock)
}

/// Refuses file systems that keep neither files nor locks.
fn trust(path: &Path, ephemeral: bool) -> Result<(), StateError> {
    let filesystem = filesystem::untrusted(path.parent().unwrap_or(path)).map_err(|source| {
        let remedy = "its file system cannot be examined";
        StateError::Unusable { path: path.to_owned(), remedy, source }
    })?;
    match filesystem.filter(|_| !ephemeral) {
        Some(filesystem) => Err(StateError::Untrusted { path: path.to_owned(), filesystem }),
        None => Ok(()),
    }
}

/// The file system that a file is on, or would be, where the state would be refused.
#[must_use]
pub fn untrusted(path: &Path) -> Option<&'static str> {
    let path = resolve(path).ok()?;
    filesystem::untrusted(path.parent().unwrap_or(&path)).ok()?
}

fn unusable(path: &Path, source: io::Error) -> StateError {
    StateError::Unusable { path: path.to_owned(), remedy: remedy(&source), source }
}

fn remedy(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::PermissionDenied {
        "let the user that logweir runs as write to its folder and to the file"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        "mount a writable volume there"
    } else if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        "make room on its disk"
    } else {
        "it, or a file beside it, cannot be opened"
    }
}

fn connect(path: &Path, access: Access, crashed: bool) -> rusqlite::Result<Connection> {
    // Read-write even to look: a reader of a WAL database takes part in its locking.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Until a daemon has found no damage: who closes the file last would take the log away.
    keep_log(&connection, crashed)?;
    if access == Access::Inspect {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Whether the log stays beside a file that is closed: it shows the next daemon that the last one crashed.
fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

fn set_up(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    if version == 0 {
        // See `shrink_blocking`. Later it would change nothing but the file, which may be damaged.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A burst of letters must not leave a large -wal file behind for good.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    schema::migrate(connection, version)
}

/// Gives back a step of what is too much; whether there is more.
fn shrink(connection: &mut Connection) -> rusqlite::Result<bool> {
    let free: u32 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    let too_many = free.saturating_sub(FREE_KEPT);
    if too_many > 0 {
        let step = SHRINK_STEP.min(too_many);
        let mut step = connection.prepare(&format!("PRAGMA incremental_vacuum({step})"))?;
        // Each row that it returns is a page.
        let mut pages = step.query([])?;
        while pages.next()?.is_some() {}
    }
    // A file that was made without `auto_vacuum` stays as it is.
    let left: u32 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    Ok(left > FREE_KEPT && left < free)
}

/// A folder that may not be searched does not hide the file: that is told as what it is.
fn exists(path: &Path) -> Result<bool, StateError> {
    path.try_exists().map_err(|source| unusable(path, source))
}

fn is_filled(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.len() > 0)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
pub(crate) mod tests;
