//! The dead-letter store in the state file.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{
    Connection, OptionalExtension as _, Row, TransactionBehavior, params, params_from_iter,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::event::{Moment, Timestamp};
use crate::state::{Durability, State, StateError};
use crate::telemetry::chain::Chain;
use crate::units::ByteSize;

use super::trouble::{Trouble, Unstored};
use super::{DeadLettersConfig, Letter};

/// How many letters are deleted at once.
const DROP_STEP: usize = 1_000;

/// The letters of this box. Clones share the state file.
#[derive(Clone, Debug)]
pub struct LetterStore {
    pub(super) state: State,
    config: DeadLettersConfig,
    /// Of writes that failed: what could not be written is tried again.
    trouble: Arc<Trouble>,
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum LetterStoreError {
    /// It holds as much as it may.
    #[error(
        "the dead-letter store holds {bytes} bytes, and more would exceed `dead_letters.max_size`: \
         replay or drop letters, or raise it"
    )]
    Full {
        /// Bytes of letters in it.
        bytes: u64,
    },
    /// A letter could not be written as JSON.
    #[error("could not write a dead letter as JSON")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// The state file.
    #[error("could not use the dead letters in the state file")]
    State {
        /// Why.
        source: StateError,
    },
}

/// Which letters are meant; all that is set must agree.
///
/// The times are fixed when it is asked for, so that it means the same letters however long it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The class of the reason.
    pub reason: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The destination.
    pub destination: Option<String>,
    /// The start of the id.
    pub id: Option<String>,
    /// Last attempted before this.
    pub before: Option<Timestamp>,
    /// Last attempted then or since.
    pub since: Option<Timestamp>,
}

/// What letters are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The class of the reason.
    Reason,
    /// The route.
    Route,
    /// The destination.
    Destination,
}

impl Column {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Route => "route",
            Self::Destination => "destination",
        }
    }
}

/// A letter as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Later letters have higher numbers; a letter keeps its number when it is written again.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// The letter.
    pub json: String,
}

/// Letters of one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The class of the reason.
    pub reason: String,
    /// How many.
    pub letters: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl LetterStore {
    /// The letters in `state`.
    #[must_use]
    pub fn new(state: State, config: DeadLettersConfig) -> Self {
        Self { state, config, trouble: Arc::default() }
    }

    /// Works on the letters off the async workers; see [`State::spawn_blocking`].
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let store = self.clone();
        self.state.spawn_blocking(move || work(&store))
    }

    /// Why letters cannot be stored now; what would become one waits, and its shard with it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.error()
    }

    /// To be held from a write that failed so until those letters are stored, though others are: there
    /// is trouble as long.
    #[must_use]
    pub fn wait(&self, error: &LetterStoreError) -> Unstored {
        self.trouble.wait(Chain(error).to_string())
    }

    /// Notifies all that wait whenever somebody's letters were stored: there may be room for more.
    #[must_use]
    pub fn stored(&self) -> Arc<Notify> {
        self.trouble.stored()
    }

    /// Whether a failed write may be logged now; if so, how many were not since the last.
    #[must_use]
    pub fn may_tell(&self, now: Moment) -> Option<u64> {
        self.trouble.may_tell(now)
    }

    fn note<T>(&self, result: Result<T, LetterStoreError>) -> Result<T, LetterStoreError> {
        self.trouble.note(result.as_ref().err().map(|error| Chain(error).to_string()));
        result
    }

    /// Stores letters, all or none; they are on the disk when it returns. A letter that is there
    /// already is replaced, keeps its first attempt and counts one more.
    ///
    /// # Errors
    /// Nothing was stored: `Full`, or the state file refused.
    pub fn write_blocking(&self, letters: &[Letter]) -> Result<(), LetterStoreError> {
        let rows = to_json(letters);
        self.note(rows.and_then(|rows| self.upsert_all(&rows, self.config.max_size)))
    }

    /// Brings letters that are sent again up to date, where they were not dropped meanwhile, or adds
    /// those of the events of a record that is one. Never `Full`: a full store must be able to empty
    /// itself.
    ///
    /// # Errors
    /// Nothing was stored.
    pub fn rewrite_blocking(&self, letters: &[Letter]) -> Result<(), LetterStoreError> {
        self.note(to_json(letters).and_then(|rows| self.upsert_all(&rows, None)))
    }

    fn upsert_all(
        &self,
        rows: &[(&Letter, String)],
        limit: Option<ByteSize>,
    ) -> Result<(), LetterStoreError> {
        let more: u64 = rows.iter().map(|(_, json)| json.len() as u64).sum();
        let written = self.state.call_blocking(Durability::Full, |connection| {
            // What there is is read before more is written: nobody may write between.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(limit) = limit {
                let bytes = stored_bytes(&transaction)?;
                // An empty store takes what is larger than its limit: it would wait for ever.
                if bytes > 0 && bytes.saturating_add(more) > limit.0 as u64 {
                    return Ok(Err(LetterStoreError::Full { bytes }));
                }
            }
            rows.iter().try_for_each(|(letter, json)| upsert(&transaction, letter, json))?;
            transaction.commit().map(Ok)
        });
        written.map_err(|source| LetterStoreError::State { source })?
    }

    /// Letters to be sent again, oldest first: those that `filter` means, with numbers after
    /// `after` and up to `last`, until they take `bytes` together; at least one if there is one.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn page_blocking(
        &self,
        filter: &Filter,
        (after, last): (i64, i64),
        bytes: usize,
    ) -> Result<Vec<Stored>, LetterStoreError> {
        let (condition, mut values) = filter.condition();
        values.extend([Value::Integer(after), Value::Integer(last)]);
        let sql = format!(
            "SELECT number, id, letter FROM dead_letters
             WHERE {condition} AND number > ? AND number <= ? ORDER BY number"
        );
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let (mut page, mut taken) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let json: String = row.get(2)?;
                taken += json.len();
                if taken > bytes && !page.is_empty() {
                    break;
                }
                page.push(Stored { number: row.get(0)?, id: row.get(1)?, json });
            }
            Ok(page)
        })
    }

    /// The number of the newest letter, 0 when there is none.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn last_number_blocking(&self) -> Result<i64, LetterStoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM dead_letters";
        self.read(|connection| connection.query_row(sql, [], |row| row.get(0)))
    }

    /// How many letters `page_blocking` would give, all pages together.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn count_between_blocking(
        &self,
        filter: &Filter,
        (after, last): (i64, i64),
    ) -> Result<u64, LetterStoreError> {
        let (condition, mut values) = filter.condition();
        values.extend([Value::Integer(after), Value::Integer(last)]);
        let sql = format!(
            "SELECT count(*) FROM dead_letters WHERE {condition} AND number > ? AND number <= ?"
        );
        self.read(|connection| {
            connection.query_row(&sql, params_from_iter(values), |row| count(row, 0))
        })
    }

    /// The letters that `filter` means, the last attempted first, at most `limit`.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn list_blocking(
        &self,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Letter>, LetterStoreError> {
        let mut letters = Vec::new();
        self.each_blocking(filter, limit, |letter| {
            letters.push(letter);
            ControlFlow::Continue(())
        })?;
        Ok(letters)
    }

    /// Shows them one after the other for as long as `show` goes on; a letter of an undecodable
    /// record may take 13 MiB.
    ///
    /// # Errors
    /// As `list_blocking`.
    pub fn each_blocking(
        &self,
        filter: &Filter,
        limit: usize,
        mut show: impl FnMut(Letter) -> ControlFlow<()>,
    ) -> Result<(), LetterStoreError> {
        let (condition, mut values) = filter.condition();
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let sql = format!(
            "SELECT letter FROM dead_letters WHERE {condition} ORDER BY time DESC, number DESC LIMIT ?"
        );
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                match parse(row.get_ref(0)?.as_str()?) {
                    Ok(letter) => {
                        if show(letter).is_break() {
                            break;
                        }
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Deletes the letters that `filter` means; how many those were.
    ///
    /// In steps, between which checkpoints and new letters get their turn.
    ///
    /// # Errors
    /// What was deleted before the error stays deleted.
    pub fn drop_blocking(&self, filter: &Filter) -> Result<usize, LetterStoreError> {
        let (condition, values) = filter.condition();
        let sql = format!(
            "DELETE FROM dead_letters WHERE number IN
             (SELECT number FROM dead_letters WHERE {condition} LIMIT {DROP_STEP})"
        );
        let mut dropped = 0;
        loop {
            let step = self.state.call_blocking(Durability::Full, |connection| {
                connection.prepare_cached(&sql)?.execute(params_from_iter(&values))
            });
            let step = step.map_err(|source| LetterStoreError::State { source })?;
            dropped += step;
            if step < DROP_STEP {
                return Ok(dropped);
            }
        }
    }

    /// How many letters `filter` means.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn count_blocking(&self, filter: &Filter) -> Result<u64, LetterStoreError> {
        self.count_between_blocking(filter, (0, i64::MAX))
    }

    /// All names that letters have in a column. Reads through the letters.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn names_blocking(&self, column: Column) -> Result<Vec<String>, LetterStoreError> {
        let name = column.as_str();
        let sql = format!("SELECT DISTINCT {name} FROM dead_letters WHERE {name} IS NOT NULL");
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Letters and bytes, by reason; cheap however many there are.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn totals_blocking(&self) -> Result<Vec<Total>, LetterStoreError> {
        self.read(|connection| {
            let sql = "SELECT reason, letters, bytes FROM dead_letter_totals WHERE letters > 0";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let reason = row.get(0)?;
                Ok(Total { reason, letters: count(row, 1)?, bytes: count(row, 2)? })
            })?;
            rows.collect()
        })
    }

    /// Deletes what is older than `max_age` allows; how many those were.
    ///
    /// # Errors
    /// What was deleted before the error stays deleted.
    pub fn expire_blocking(&self) -> Result<usize, LetterStoreError> {
        let Some(age) = self.config.max_age else { return Ok(0) };
        self.drop_blocking(&Filter { before: Some(ago(age.0)), ..Filter::default() })
    }

    /// Gives the room that letters have left in the file back to its disk.
    ///
    /// # Errors
    /// The state file cannot be written.
    pub fn shrink_blocking(&self) -> Result<(), LetterStoreError> {
        self.state.shrink_blocking().map_err(|source| LetterStoreError::State { source })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LetterStoreError> {
        let read = self.state.call_blocking(Durability::Normal, work);
        read.map_err(|source| LetterStoreError::State { source })
    }
}

/// The time that is `age` ago.
#[must_use]
pub fn ago(age: Duration) -> Timestamp {
    Timestamp(Timestamp::now().0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
}

/// SQLite's numbers are signed; counts are not.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn to_json(letters: &[Letter]) -> Result<Vec<(&Letter, String)>, LetterStoreError> {
    let rows = letters.iter().map(|letter| Ok((letter, serde_json::to_string(letter)?)));
    rows.collect::<Result<_, _>>().map_err(|source| LetterStoreError::Json { source })
}

fn parse(json: &str) -> Result<Letter, LetterStoreError> {
    serde_json::from_str(json).map_err(|source| LetterStoreError::Json { source })
}

fn stored_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(bytes), 0) FROM dead_letter_totals";
    connection.prepare_cached(sql)?.query_row([], |row| count(row, 0))
}

fn upsert(connection: &Connection, letter: &Letter, json: &str) -> rusqlite::Result<()> {
    let known: Option<String> = connection
        .prepare_cached("SELECT letter FROM dead_letters WHERE id = ?")?
        .query_row([&letter.id], |row| row.get(0))
        .optional()?;
    if letter.is_again && known.is_none() {
        return Ok(());
    }
    let known = known.and_then(|json| serde_json::from_str::<Letter>(&json).ok());
    let raised = known.and_then(|known| {
        let attempts = known.attempts.saturating_add(letter.attempts);
        let first_attempt_at = known.first_attempt_at;
        serde_json::to_string(&Letter { attempts, first_attempt_at, ..letter.clone() }).ok()
    });
    let json = raised.as_deref().unwrap_or(json);
    let size = i64::try_from(json.len()).unwrap_or(i64::MAX);
    let Letter { id, reason, route, destination, .. } = letter;
    connection
        .prepare_cached(
            "INSERT INTO dead_letters (id, time, reason, route, destination, size, letter)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET time = ?2, reason = ?3, route = ?4, destination = ?5,
             size = ?6, letter = ?7",
        )?
        .execute(params![id, Timestamp::now().0, reason, route, destination, size, json])?;
    Ok(())
}

impl Filter {
    fn condition(&self) -> (String, Vec<Value>) {
        let mut conditions = vec!["1".to_owned()];
        let mut values = Vec::new();
        let texts =
            [("reason", &self.reason), ("route", &self.route), ("destination", &self.destination)];
        for (column, value) in texts {
            if let Some(value) = value {
                conditions.push(format!("{column} = ?"));
                values.push(Value::Text(value.clone()));
            }
        }
        if let Some(prefix) = &self.id {
            // A range, which the index on ids serves; ids are hexadecimal.
            conditions.push("id >= ? AND id < ?".to_owned());
            values.extend([Value::Text(prefix.clone()), Value::Text(format!("{prefix}g"))]);
        }
        for (sign, time) in [("<", self.before), (">=", self.since)] {
            if let Some(time) = time {
                conditions.push(format!("time {sign} ?"));
                values.push(Value::Integer(time.0));
            }
        }
        (conditions.join(" AND "), values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::dead_letter::requests::{Part, Report};
    use crate::fate::KeptReason;
    use crate::record::Returned;
    use crate::record::tests::record;
    use crate::state::{Access, Disk, SqliteConfig, Work};

    fn store(folder: &std::path::Path, config: DeadLettersConfig) -> LetterStore {
        let state = SqliteConfig { path: folder.join("state.db"), ephemeral: true };
        LetterStore::new(State::open(&state, Access::Daemon).unwrap(), config)
    }

    fn letter(number: u32, reason: &'static str) -> Letter {
        let acks = Arc::default();
        Letter::undecodable(record(&acks, number, b"x").record(), reason, "broken")
    }

    /// A disk at which another thread writes a letter as soon as it has a turn.
    #[derive(Debug)]
    struct Contended {
        connection: Mutex<Connection>,
        other: Mutex<Option<(LetterStore, Letter)>>,
    }

    impl Disk for Contended {
        fn latency(&self) -> Duration {
            Duration::ZERO
        }

        fn work(&self, _: Durability, work: Work<'_>) -> rusqlite::Result<()> {
            work(&mut self.connection.lock().unwrap())?;
            let other = self.other.lock().unwrap().take();
            if let Some((store, letter)) = other {
                assert!(store.write_blocking(&[letter]).is_err());
            }
            Ok(())
        }

        fn set_up(&self, work: Work<'_>) -> rusqlite::Result<()> {
            work(&mut self.connection.lock().unwrap())
        }
    }

    #[test]
    fn writing_a_letter_twice_raises_its_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        store.write_blocking(&[letter(1, "gzip")]).unwrap();
        let first = store.list_blocking(&Filter::default(), 9).unwrap();
        store.write_blocking(&[letter(1, "json"), letter(2, "gzip")]).unwrap();
        let id = Some(first[0].id.chars().take(8).collect());
        let again = store.list_blocking(&Filter { id, ..Filter::default() }, 9).unwrap();
        assert_eq!((again.len(), again[0].attempts), (1, 2));
        assert_eq!(again[0].first_attempt_at, first[0].first_attempt_at);
        assert_eq!(again[0].reason, "json");
        let totals = store.totals_blocking().unwrap();
        let counts: Vec<_> = totals.iter().map(|t| (t.reason.as_str(), t.letters)).collect();
        assert_eq!(counts, [("gzip", 1), ("json", 1)]);
    }

    #[test]
    fn letters_are_there_after_the_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store_now = store(folder.path(), DeadLettersConfig::default());
        store_now.write_blocking(&[letter(1, "gzip")]).unwrap();
        // What a kill -9 leaves: the files as they are, nothing closed.
        let copy = tempfile::tempdir().unwrap();
        for file in ["state.db", "state.db-wal"] {
            std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
        }
        let reopened = store(copy.path(), DeadLettersConfig::default());
        assert_eq!(reopened.count_blocking(&Filter::default()).unwrap(), 1);
    }

    #[test]
    fn a_full_store_takes_no_more_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let max_size = Some(ByteSize(100));
        let store = store(folder.path(), DeadLettersConfig { max_size, max_age: None });
        store.write_blocking(&[letter(1, "gzip")]).unwrap();
        let error = store.write_blocking(&[letter(2, "gzip")]).unwrap_err();
        assert!(error.to_string().contains("replay or drop"), "{error}");
        assert!(store.trouble().unwrap().contains("replay or drop"));
        assert_eq!(store.drop_blocking(&Filter::default()).unwrap(), 1);
        store.write_blocking(&[letter(2, "gzip")]).unwrap();
        assert_eq!(store.trouble(), None);
    }

    #[test]
    fn there_is_trouble_until_nobody_waits_for_room_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let max_size = Some(ByteSize(100));
        let store = store(folder.path(), DeadLettersConfig { max_size, max_age: None });
        store.write_blocking(&[letter(1, "gzip")]).unwrap();
        let stored = store.stored();
        let mut told = std::pin::pin!(stored.notified());
        let full = store.write_blocking(&[letter(2, "gzip")]).unwrap_err();
        let one_waits = store.wait(&full);
        assert!(!told.as_mut().enable());
        assert_eq!(store.drop_blocking(&Filter::default()).unwrap(), 1);
        // Another's letter takes the room.
        store.write_blocking(&[letter(3, "gzip")]).unwrap();
        assert!(told.as_mut().enable());
        assert!(store.trouble().is_some());
        // It may have come before the first began to wait.
        drop(one_waits);
        assert_eq!(store.trouble(), None);
        let one_waits = store.wait(&full);
        assert!(store.trouble().is_some());
        assert_eq!(store.drop_blocking(&Filter::default()).unwrap(), 1);
        store.write_blocking(&[letter(2, "gzip")]).unwrap();
        drop(one_waits);
        assert_eq!(store.trouble(), None);
    }

    #[test]
    fn two_threads_do_not_share_the_last_room() {
        let connection = Mutex::new(Connection::open_in_memory().unwrap());
        let disk = Arc::new(Contended { connection, other: Mutex::default() });
        let letters = [1, 2, 3].map(|number| letter(number, "gzip"));
        let limit = 2 * serde_json::to_string(&letters[0]).unwrap().len();
        let config = DeadLettersConfig { max_size: Some(ByteSize(limit)), max_age: None };
        let store = LetterStore::new(State::on(disk.clone()).unwrap(), config);
        let [first, second, third] = letters;
        store.write_blocking(&[first]).unwrap();
        *disk.other.lock().unwrap() = Some((store.clone(), third));
        store.write_blocking(&[second]).unwrap();
        assert_eq!(store.count_blocking(&Filter::default()).unwrap(), 2);
    }

    #[test]
    fn a_full_store_can_bring_its_letters_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let max_size = Some(ByteSize(100));
        let store = store(folder.path(), DeadLettersConfig { max_size, max_age: None });
        store.write_blocking(&[letter(1, "gzip")]).unwrap();
        store.rewrite_blocking(&[letter(1, "json")]).unwrap();
        assert_eq!(store.list_blocking(&Filter::default(), 9).unwrap()[0].attempts, 2);
    }

    #[test]
    fn a_letter_that_was_dropped_while_it_was_sent_again_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        store.write_blocking(&[letter(1, "gzip")]).unwrap();
        let again = |number| Letter { is_again: true, ..letter(number, "json") };
        store.rewrite_blocking(&[again(1), again(2)]).unwrap();
        let left = store.list_blocking(&Filter::default(), 9).unwrap();
        assert_eq!((left.len(), left[0].reason.as_str(), left[0].attempts), (1, "json", 2));
    }

    #[test]
    fn what_has_become_of_letters_and_the_word_about_it_are_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        let letters: Vec<_> = (1..=5).map(|number| letter(number, "gzip")).collect();
        store.write_blocking(&letters).unwrap();
        store
            .drop_blocking(&Filter { id: Some(letters[3].id.clone()), ..Filter::default() })
            .unwrap();
        store
            .drop_blocking(&Filter { id: Some(letters[4].id.clone()), ..Filter::default() })
            .unwrap();
        let kept = Some(KeptReason::Refused);
        let ended = [(1, None), (2, None), (3, kept), (4, kept), (5, None)];
        let ended = ended.map(|(number, kept)| Returned { number, kept });
        let begun = Report { letters: 6, ..Report::default() };
        let (report, is_wanted) = store.settle_blocking(&ended, &begun, None).unwrap();
        assert_eq!((report.removed, report.dropped, report.not_sent()), (2, 2, 1));
        assert_eq!((report.kept[&KeptReason::Refused], is_wanted), (1, true));
        assert_eq!(store.count_blocking(&Filter::default()).unwrap(), 1);

        // Where the word cannot be written, the letter is still there.
        let broken = |connection: &mut Connection| connection.execute("DROP TABLE replays", []);
        store.state.call_blocking(Durability::Full, broken).unwrap();
        let last = [Returned { number: 3, kept: None }];
        assert!(store.settle_blocking(&last, &report, Some(&Part::default())).is_err());
        assert_eq!(store.count_blocking(&Filter::default()).unwrap(), 1);
    }

    #[test]
    fn letters_come_page_by_page_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        let letters: Vec<_> = (0..20).map(|n| letter(n, "gzip")).collect();
        store.write_blocking(&letters).unwrap();
        let last = store.last_number_blocking().unwrap();
        store.write_blocking(&[letter(99, "gzip")]).unwrap();
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = store.page_blocking(&Filter::default(), (after, last), 1000).unwrap();
            let Some(end) = page.last() else { break };
            after = end.number;
            assert!(page.len() == 1 || page.iter().map(|s| s.json.len()).sum::<usize>() <= 1000);
            // Written again it keeps its place, and is not met a second time.
            store.rewrite_blocking(&[serde_json::from_str(&end.json).unwrap()]).unwrap();
            seen.extend(page.into_iter().map(|stored| stored.id));
        }
        assert!(seen.iter().eq(letters.iter().map(|letter| &letter.id)));
        assert_eq!(store.count_between_blocking(&Filter::default(), (5, last)).unwrap(), 15);
        assert_eq!(store.count_blocking(&Filter::default()).unwrap(), 21);
    }

    #[test]
    fn a_drop_of_many_letters_leaves_none_and_counts_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        let many = u32::try_from(DROP_STEP).unwrap() * 2;
        let letters: Vec<_> = (0..many).map(|n| letter(n, "gzip")).collect();
        store.write_blocking(&letters).unwrap();
        assert_eq!(store.drop_blocking(&Filter::default()).unwrap(), letters.len());
        assert_eq!(store.totals_blocking().unwrap(), []);
    }

    #[test]
    fn filters_must_all_agree() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), DeadLettersConfig::default());
        store.write_blocking(&[letter(1, "gzip"), letter(2, "json")]).unwrap();
        let reason = Some("gzip".to_owned());
        let count = |filter: &Filter| store.count_blocking(filter).unwrap();
        assert_eq!(count(&Filter { reason: reason.clone(), ..Filter::default() }), 1);
        let hour = Some(ago(Duration::from_secs(3600)));
        assert_eq!(count(&Filter { before: hour, ..Filter::default() }), 0);
        assert_eq!(count(&Filter { since: hour, reason, ..Filter::default() }), 1);
        let route = Some("none".to_owned());
        assert_eq!(count(&Filter { route, ..Filter::default() }), 0);
    }
}
