//! What is in the file of a SQLite destination, looked at from outside while a daemon writes to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};
use tokio::time::{Instant, sleep};

/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(50);

/// The documents of a destination.
#[derive(Debug)]
pub(crate) struct Documents(PathBuf);

/// How often each event is there, and where.
#[derive(Debug)]
pub(crate) struct Found {
    /// For each number, the place of its first document among all; `None` when there is none.
    pub(crate) places: Vec<Option<i64>>,
    /// Documents beyond the first of an event.
    pub(crate) doubled: usize,
}

impl Documents {
    /// Of the file at `path`, which need not be there yet.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        // They are only ever added, so the last one's number is their count, at no cost.
        let last: Option<i64> =
            self.rows("SELECT max(number) FROM documents", |row| row.get(0)).pop().flatten();
        usize::try_from(last.unwrap_or(0)).unwrap()
    }

    /// Waits until this many are there, for as long as there are ever more.
    pub(crate) async fn wait_for(&self, least: usize) {
        let (mut count, mut since) = (0, Instant::now());
        while count < least {
            assert!(since.elapsed() < PATIENCE, "only {count} of {least} documents arrived");
            sleep(POLL).await;
            let now = self.count();
            if now > count {
                (count, since) = (now, Instant::now());
            }
        }
    }

    /// Looks for the events of the numbers below `events` by their ids, which `number` reads. No
    /// others may be there.
    pub(crate) fn find(&self, events: usize, number: impl Fn(&str) -> Option<usize>) -> Found {
        let mut found = Found { places: vec![None; events], doubled: 0 };
        let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
        for (id, place) in self.rows("SELECT id, number FROM documents ORDER BY number", row) {
            let number = number(&id).filter(|number| *number < events);
            let number = number.unwrap_or_else(|| panic!("nobody has put {id}"));
            match &mut found.places[number] {
                none @ None => *none = Some(place),
                Some(_) => found.doubled += 1,
            }
        }
        found
    }

    /// How many there are of each index and region.
    pub(crate) fn by_index_and_region(&self) -> BTreeMap<(String, String), usize> {
        let sql = "SELECT index_name, document ->> '$.\"@aws.region\"', count(*) FROM documents
                   GROUP BY 1, 2";
        let row = |row: &Row<'_>| {
            let count: i64 = row.get(2)?;
            Ok(((row.get(0)?, row.get(1)?), usize::try_from(count).unwrap()))
        };
        self.rows(sql, row).into_iter().collect()
    }

    /// Nothing while there is no such file or table.
    fn rows<T>(&self, sql: &str, row: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let Ok(connection) = Connection::open_with_flags(&self.0, flags) else { return Vec::new() };
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }
}

impl Found {
    /// How many events are not there.
    pub(crate) fn missing(&self) -> usize {
        self.places.iter().filter(|place| place.is_none()).count()
    }
}
