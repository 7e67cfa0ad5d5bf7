//! Looks at a state file as a daemon would at its start, and leaves no trace: it makes no file, changes
//! none, and is in nobody's way.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use url::Url;

use super::disk::Medium;
use super::{BUSY_TIMEOUT, Shared, SqliteConfig, StateError, identity};
use super::{beside, exists, holder, is_filled, keep_log, resolve, trust};

/// Whether a daemon could have its state there, as far as that can be seen without making a file.
/// One that is there is judged by what is in it; an older one will do, for it is brought up to date.
///
/// # Errors
/// Why not; see [`StateError::is_about_content`].
pub fn examine(config: &SqliteConfig) -> Result<(), StateError> {
    let path = resolve(&config.path)?;
    identity::recognise(&path)?;
    trust(&path, config.ephemeral)?;
    identity::alone(&path)?;
    let has_log = is_filled(&beside(&path, "-wal"));
    // SQLite reads the log by that file, and would make it.
    let needs_file = has_log && !beside(&path, "-shm").exists();
    if !exists(&path)? || needs_file {
        return Ok(());
    }
    let connection = connect(&path, has_log).map_err(|error| StateError::of(&path, error))?;
    let state = Shared { path, medium: Medium::file(connection), presence: None, _lock: None };
    // An empty file has no leases to be damaged.
    if state.version()? == 0 {
        return Ok(());
    }
    let crashed = has_log && holder(config)?.is_none();
    state.check(crashed)
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
