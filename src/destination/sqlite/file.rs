//! The file of documents: its tables, and why it may not be used.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::state::{may_write, peek};

/// How long a batch waits for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Marks the file as logweir's documents: "LgWd" in ASCII. The state file has a mark of its own.
const APPLICATION_ID: i64 = 0x4c67_5764;

const VERSION: i64 = 1;

/// The table, and the index of its words.
///
/// `words` holds no copy of the documents. It is made of their values, without their keys, which
/// every document repeats, and without time and id, which are columns: a quarter less work than the
/// whole text. It keeps the places of words, because an address or an ARN is found as a phrase.
/// Triggers keep it right whoever deletes documents. (Not `contentless_delete`, which the `sqlite3`
/// of older distributions does not know, nor `content = 'document_values'`, which FTS5 cannot scan.)
const SCHEMA: &str = "
    CREATE TABLE documents (
        number INTEGER PRIMARY KEY,
        index_name TEXT NOT NULL,
        id TEXT NOT NULL,
        time TEXT NOT NULL,
        document TEXT NOT NULL,
        UNIQUE (index_name, id)
    ) STRICT;
    CREATE INDEX documents_by_time ON documents (time);
    CREATE VIEW document_values AS SELECT number, (
        SELECT group_concat(atom, ' ')
        FROM json_tree(iif(json_valid(document), document, json_quote(document)))
        WHERE atom IS NOT NULL AND coalesce(key, '') NOT IN ('@timestamp', '@id')
    ) AS text FROM documents;
    CREATE VIRTUAL TABLE words USING fts5 (
        text, content = '', columnsize = 0
    );
    CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
        INSERT INTO words (rowid, text)
        SELECT number, text FROM document_values WHERE number = new.number;
    END;
    CREATE TRIGGER document_removed BEFORE DELETE ON documents BEGIN
        INSERT INTO words (words, rowid, text)
        SELECT 'delete', number, text FROM document_values WHERE number = old.number;
    END;
    CREATE TRIGGER document_unfound BEFORE UPDATE ON documents BEGIN
        INSERT INTO words (words, rowid, text)
        SELECT 'delete', number, text FROM document_values WHERE number = old.number;
    END;
    CREATE TRIGGER document_changed AFTER UPDATE ON documents BEGIN
        INSERT INTO words (rowid, text)
        SELECT number, text FROM document_values WHERE number = new.number;
    END;";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error(
        "could not open {path}: its folder must exist, and it must be writable by the user that logweir runs as"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no file.
    #[error("{path} is a folder, a device or the like: let `path` name a file")]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// It holds something else.
    #[error(
        "{path} is a SQLite file of something else (application id {application_id:#x}), so it is left alone; give the destination a file of its own"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The id in its header.
        application_id: i64,
    },
    /// A later logweir made it.
    #[error(
        "{path} has version {found} and this logweir knows version {VERSION}, so it is left alone; run the logweir that made it, or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite cannot use it.
    #[error("could not use {path}: it must be a SQLite file on a disk with space left")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Whether it is what is there that no daemon takes, whoever runs it.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::NoFile { .. } | Self::Foreign { .. } | Self::Newer { .. } => true,
            Self::File { .. } => false,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ),
        }
    }
}

/// Whether `open` would take the file, as far as that can be seen without making or changing one.
pub(super) fn examine(path: &Path) -> Result<(), OpenError> {
    is_no_other(path)?;
    may_write(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    match peek(&real).map_err(sqlite)? {
        Some(connection) => recognise(path, header(&connection).map_err(sqlite)?),
        None => Ok(()),
    }
}

/// Refuses what is there and no file: to open a pipe would wait for who reads it.
fn is_no_other(path: &Path) -> Result<(), OpenError> {
    match path.metadata() {
        Ok(found) if !found.is_file() => Err(OpenError::NoFile { path: path.to_owned() }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Refuses the file of something else, or of a later version.
fn recognise(path: &Path, header: (i64, i64, i64)) -> Result<(), OpenError> {
    let path = path.to_owned();
    match header {
        (0, 0, 0) => Ok(()),
        (APPLICATION_ID, found, _) if found <= VERSION => Ok(()),
        (APPLICATION_ID, found, _) => Err(OpenError::Newer { path, found }),
        (application_id, ..) => Err(OpenError::Foreign { path, application_id }),
    }
}

/// Opens the file, and makes it if it is missing.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    is_no_other(path)?;
    // Made here rather than by SQLite, whose -wal and -shm files take the mode of this one: only
    // the operator decides who else may read the logs.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    // Without the flag for URIs: `file:x?mode=memory` is the name of a file, as it was for the check.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    let header = header(&connection).map_err(sqlite)?;
    recognise(path, header)?;
    set_up(&mut connection, header.1 == 0).map_err(sqlite)?;
    Ok(connection)
}

/// Application id, version, and the number of tables and the like.
fn header(connection: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let number = |sql| connection.query_row(sql, [], |row| row.get(0));
    let entries = number("SELECT count(*) FROM sqlite_schema")?;
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, entries))
}

fn set_up(connection: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // `delivered` is said only of what is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A batch with its words is some MiB: not every commit should end in copying the -wal file.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -(16 << 10))?;
    if !is_new {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
