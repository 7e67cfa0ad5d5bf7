//! Documents in a SQLite file: for a first look, for a laptop, and for the demo.
//!
//! The same contract as a search engine's: an event is there once (index and id are unique), a
//! replay changes nothing, and `delivered` means that it is on the disk. What people ask:
//!
//! ```sql
//! SELECT document ->> '$.srcaddr', count(*) FROM documents
//!  WHERE index_name LIKE 'vpc-%' AND document ->> '$.action' = 'REJECT' GROUP BY 1 ORDER BY 2 DESC;
//! SELECT document FROM documents WHERE number IN (SELECT rowid FROM words WHERE words MATCH 'timeout');
//! ```

mod config;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};

use crate::batch::{Batch, Framing, ItemView};
use crate::destination::{
    Answer, Destination, Hold, HoldReason, HoldScope, Refusal, RetryReason, Trouble, Verdict,
};
use crate::fate::{Delivery, RefusalReason};

pub use self::config::SqliteDestinationConfig;

/// How long a batch waits for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// `words` holds no copy of the documents, only what is needed to find them.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS documents (
        number INTEGER PRIMARY KEY,
        index_name TEXT NOT NULL,
        id TEXT NOT NULL,
        time TEXT NOT NULL,
        document TEXT NOT NULL,
        UNIQUE (index_name, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS documents_by_time ON documents (time);
    CREATE VIRTUAL TABLE IF NOT EXISTS words
        USING fts5 (document, content='documents', content_rowid='number', detail=none);
    CREATE TRIGGER IF NOT EXISTS document_words AFTER INSERT ON documents BEGIN
        INSERT INTO words (rowid, document) VALUES (new.number, new.document);
    END;
    CREATE TRIGGER IF NOT EXISTS document_words_gone AFTER DELETE ON documents BEGIN
        INSERT INTO words (words, rowid, document) VALUES ('delete', old.number, old.document);
    END;";

/// A SQLite file that takes documents.
#[derive(Clone, Debug)]
pub struct SqliteDestination {
    config: SqliteDestinationConfig,
    connection: Arc<Mutex<Connection>>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("could not open {}: its folder must exist and be writable, and it must be a SQLite file", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: rusqlite::Error,
}

impl SqliteDestination {
    /// Opens the file, and makes its tables if it is new. Blocks.
    ///
    /// # Errors
    /// The file cannot be opened or is something else.
    pub fn open(config: SqliteDestinationConfig) -> Result<Self, OpenError> {
        let opened = connect(&config.path);
        let path = config.path.clone();
        let connection = opened.map_err(|source| OpenError { path, source })?;
        Ok(Self { config, connection: Arc::new(Mutex::new(connection)) })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // `delivered` is said only of what is on the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

impl Destination for SqliteDestination {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn deduplicates(&self) -> bool {
        true
    }

    async fn send(&self, batch: &mut Batch) -> Answer {
        let rows: Vec<Row> = batch.views().map(Row::of).collect();
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write(&rows)).await;
        match written {
            Ok(Ok(verdicts)) => Answer::Items(verdicts),
            Ok(Err(error)) => Answer::Whole(trouble(&error)),
            Err(broken) => Answer::Whole(Trouble::Retry {
                reason: RetryReason::Unreadable,
                retry_after: None,
                error: broken.to_string(),
            }),
        }
    }
}

/// An item of its own: the batch stays with the caller while the thread writes.
struct Row {
    index: Arc<str>,
    id: String,
    document: String,
}

impl Row {
    fn of(view: ItemView<'_>) -> Self {
        let document = String::from_utf8_lossy(view.document).into_owned();
        Self { index: Arc::clone(view.index), id: view.id.to_owned(), document }
    }
}

impl SqliteDestination {
    fn write(&self, rows: &[Row]) -> rusqlite::Result<Vec<Verdict>> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let verdicts = {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO documents (index_name, id, time, document) VALUES (?, ?, ?, ?)
                 ON CONFLICT (index_name, id) DO NOTHING",
            )?;
            let verdicts = rows.iter().map(|row| {
                if row.document.len() > self.config.max_document.0 {
                    return Ok(Verdict::Refused(self.too_large(row)));
                }
                let values = params![&*row.index, row.id, time(&row.document), row.document];
                Ok(Verdict::Delivered(match insert.execute(values)? {
                    0 => Delivery::AlreadyPresent,
                    _ => Delivery::Created,
                }))
            });
            verdicts.collect::<rusqlite::Result<Vec<_>>>()?
        };
        transaction.commit()?;
        Ok(verdicts)
    }

    fn too_large(&self, row: &Row) -> Refusal {
        let (size, most) = (row.document.len(), self.config.max_document);
        Refusal {
            reason: RefusalReason::TooLarge,
            status: 413,
            error_type: "document_too_large".to_owned(),
            error: format!("the document has {size} bytes, more than `max_document` ({most})"),
        }
    }
}

/// `@timestamp`, which every document begins with.
fn time(document: &str) -> &str {
    let rest = document.strip_prefix("{\"@timestamp\":\"").unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

fn trouble(error: &rusqlite::Error) -> Trouble {
    let hold = |reason| {
        let scope = HoldScope::Destination;
        Trouble::Hold(Hold { scope, reason, error: error.to_string() })
    };
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::DiskFull) => hold(HoldReason::DiskFull),
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied
            | ErrorCode::CannotOpen,
        ) => hold(HoldReason::FileUnusable),
        _ => Trouble::Retry {
            reason: RetryReason::ServerError,
            retry_after: None,
            error: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    fn open(folder: &Path, max_document: usize) -> SqliteDestination {
        let path = folder.join("documents.db");
        let max_document = crate::units::ByteSize(max_document);
        SqliteDestination::open(SqliteDestinationConfig { path, max_document }).unwrap()
    }

    fn count(destination: &SqliteDestination, sql: &str) -> i64 {
        destination.connection.lock().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_replay_changes_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let destination = open(folder.path(), 1000);
        for expected in [Delivery::Created, Delivery::AlreadyPresent] {
            let (mut batch, _acks, _) = batch_of(Framing::Lines, &[2, 1]);
            let answer = destination.send(&mut batch).await;
            assert_eq!(answer, Answer::Items(vec![Verdict::Delivered(expected); 3]));
            batch.settle_delivered(0);
        }
        assert_eq!(count(&destination, "SELECT count(*) FROM documents"), 3);
    }

    #[tokio::test]
    async fn a_document_over_the_limit_is_refused_and_its_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let destination = open(folder.path(), 6);
        let (mut batch, _acks, _) = batch_of(Framing::Lines, &[1]);
        let Answer::Items(verdicts) = destination.send(&mut batch).await else { panic!() };
        assert!(matches!(&verdicts[0], Verdict::Refused(r) if r.reason == RefusalReason::TooLarge));
        batch.settle_delivered(0);
    }

    #[tokio::test]
    async fn documents_are_found_by_their_words() {
        let folder = tempfile::tempdir().unwrap();
        let destination = open(folder.path(), 1000);
        let (mut batch, _acks, _) = batch_of(Framing::Lines, &[1, 1, 1]);
        destination.send(&mut batch).await;
        batch.settle_delivered(0);
        let found = "SELECT count(*) FROM words WHERE words MATCH '2'";
        assert_eq!(count(&destination, found), 1);
    }

    #[test]
    fn the_time_is_read_from_the_start_of_the_document() {
        assert_eq!(
            time(r#"{"@timestamp":"2024-09-05T13:47:15.523Z","a":1}"#),
            "2024-09-05T13:47:15.523Z"
        );
        assert_eq!(time("{}"), "");
    }
}
