//! Looks at a state file as a daemon would at its start, and leaves no trace: it makes no file, changes
//! none, and is in nobody's way.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use url::Url;

use super::disk::Medium;
use super::{BUSY_TIMEOUT, EMPTY, Shared, SqliteConfig, StateError};
use super::{beside, exists, holder, identity, is_filled, keep_log, resolve, trust, unusable};

/// Whether a daemon could have its state there, as far as that can be seen without making a file.
/// One that is there is judged by what is in it; an older one will do, for it is brought up to date.
///
/// Returns what a daemon would warn of.
///
/// # Errors
/// Why not; see [`StateError::is_about_content`].
pub fn examine(config: &SqliteConfig) -> Result<Option<&'static str>, StateError> {
    let path = resolve(&config.path)?;
    identity::recognise(&path)?;
    trust(&path, config.ephemeral)?;
    identity::alone(&path)?;
    let is_there = exists(&path)?;
    may_write(&path).map_err(|source| unusable(&path, source))?;
    if !is_there {
        return Ok(None);
    }
    let has_log = is_filled(&beside(&path, "-wal"));
    let connection = peek(&path).map_err(|error| StateError::of(&path, error))?;
    let Some(connection) = connection else { return Ok(None) };
    let is_empty = !has_log && !is_filled(&path);
    let state = Shared { path, medium: Medium::file(connection), presence: None, _lock: None };
    // An empty file has no leases to be damaged.
    if state.version()? == 0 {
        return Ok(is_empty.then_some(EMPTY));
    }
    let crashed = has_log && holder(config)?.is_none();
    state.check(crashed).map(|()| None)
}

/// Whether this user may write to a file and make files beside it; the file need not be there.
///
/// # Errors
/// Why not.
pub fn may_write(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    access(folder.unwrap_or_else(|| Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?;
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Err(Errno::NOENT) => Ok(()),
        answer => Ok(answer?),
    }
}

/// Opens a database to look at it, and makes no file. None where SQLite would make one.
///
/// # Errors
/// It cannot be opened.
pub fn peek(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let has_log = is_filled(&beside(path, "-wal"));
    // SQLite reads the log by that file, and would make it.
    let needs_file = has_log && !beside(path, "-shm").exists();
    if needs_file { Ok(None) } else { connect(path, has_log).map(Some) }
}

fn connect(path: &Path, has_log: bool) -> rusqlite::Result<Connection> {
    let invalid = |()| rusqlite::Error::InvalidPath(path.to_owned());
    let mut url = Url::from_file_path(path).map_err(invalid)?;
    if !has_log {
        // Without a log all is in the file, and SQLite need make none beside it to read that.
        url.set_query(Some("immutable=1"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(url.as_str(), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_log(&connection, true)?;
    Ok(connection)
}
