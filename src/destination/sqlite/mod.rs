//! Documents in a SQLite file: for a first look, for a laptop, and for the demo.
//!
//! The same contract as a search engine's: an event is there once (index and id are unique), a
//! replay changes nothing, and `delivered` means that it is on the disk. What people ask, with
//! SQLite 3.38 or later:
//!
//! ```sql
//! -- who is rejected most
//! SELECT document ->> 'srcaddr', count(*) FROM documents
//!  WHERE index_name LIKE 'vpc-%' AND document ->> 'action' = 'REJECT' GROUP BY 1 ORDER BY 2 DESC;
//! -- everything about an address: FTS5 wants quotes around what is more than letters and digits
//! SELECT document FROM documents JOIN words ON words.rowid = number WHERE words MATCH '"10.0.0.1"';
//! -- retention
//! DELETE FROM documents WHERE time < '2024-09-01';
//! ```

mod config;
mod file;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, params};

use crate::batch::{Batch, Framing, ItemView};
use crate::destination::{
    Answer, Destination, Hold, HoldReason, HoldScope, Refusal, RetryReason, Trouble, Verdict,
};
use crate::event::Timestamp;
use crate::fate::{Delivery, RefusalReason};
use crate::units::ByteSize;

pub use self::config::SqliteDestinationConfig;
pub use self::file::OpenError;

/// A SQLite file that takes documents. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteDestination {
    max_document: ByteSize,
    connection: Arc<Mutex<Connection>>,
}

impl SqliteDestination {
    /// Opens the file, and makes its tables if it is new. Blocks.
    ///
    /// # Errors
    /// The file cannot be opened, or holds something else.
    pub fn open(config: SqliteDestinationConfig) -> Result<Self, OpenError> {
        let connection = Arc::new(Mutex::new(file::open(&config.path)?));
        Ok(Self { max_document: config.max_document, connection })
    }

    /// Whether `open` would take the file, as far as that can be seen without making or changing one.
    ///
    /// # Errors
    /// Why not; see [`OpenError::is_about_content`].
    pub fn examine(config: &SqliteDestinationConfig) -> Result<(), OpenError> {
        file::examine(&config.path)
    }

    /// One transaction; it is on the disk when the verdicts are given.
    fn write(&self, rows: &[Row]) -> rusqlite::Result<Vec<Verdict>> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO documents (index_name, id, time, document) VALUES (?, ?, ?, ?)
             ON CONFLICT (index_name, id) DO NOTHING",
        )?;
        let verdicts = rows.iter().map(|row| {
            if row.document.len() > self.max_document.0 {
                return Ok(Verdict::Refused(self.too_large(row.document.len())));
            }
            let (id, document) = (Text(&row.id), Text(&row.document));
            let changed = match time(&row.document) {
                Some(time) => insert.execute(params![&*row.index, id, Text(time), document])?,
                None => {
                    insert.execute(params![&*row.index, id, row.arrival.to_string(), document])?
                }
            };
            let created = if changed == 0 { Delivery::AlreadyPresent } else { Delivery::Created };
            Ok(Verdict::Delivered(created))
        });
        let verdicts = verdicts.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(insert);
        transaction.commit()?;
        Ok(verdicts)
    }

    fn too_large(&self, size: usize) -> Refusal {
        let most = self.max_document;
        Refusal {
            reason: RefusalReason::TooLarge,
            status: 0,
            error_type: "document_too_large".to_owned(),
            error: format!("the document has {size} bytes, more than `max_document` ({most})"),
        }
    }
}

impl Destination for SqliteDestination {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn deduplicates(&self) -> bool {
        true
    }

    async fn send(&self, batch: &mut Batch) -> Answer {
        let rows = rows(batch);
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

/// An item, as slices of the batch's own body: the thread that writes may outlive the batch.
struct Row {
    index: Arc<str>,
    id: Bytes,
    document: Bytes,
    arrival: Timestamp,
}

fn rows(batch: &mut Batch) -> Vec<Row> {
    let body = batch.body();
    let row = |view: ItemView<'_>| Row {
        index: Arc::clone(view.index),
        id: body.slice_ref(view.id.as_bytes()),
        document: body.slice_ref(view.document),
        arrival: view.record.arrival,
    };
    batch.views().map(row).collect()
}

/// Bytes that are text, as the parts of a body are.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// `@timestamp`, which every document of ours begins with.
fn time(document: &[u8]) -> Option<&[u8]> {
    let rest = document.strip_prefix(b"{\"@timestamp\":\"")?;
    rest.split(|byte| *byte == b'"').next()
}

/// What an error of SQLite's means for the whole batch; nothing of it was stored.
fn trouble(error: &rusqlite::Error) -> Trouble {
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let (reason, error) = (RetryReason::Busy, error.to_string());
            return Trouble::Retry { reason, retry_after: None, error };
        }
        Some(ErrorCode::DiskFull) => HoldReason::DiskFull,
        // Damaged, read-only, a failing disk, a table that somebody dropped: a person must look,
        // and the probes find out by themselves if it has passed.
        _ => HoldReason::FileUnusable,
    };
    Trouble::Hold(Hold { scope: HoldScope::Destination, reason, error: error.to_string() })
}

#[cfg(test)]
mod tests;
