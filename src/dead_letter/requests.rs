//! Replays that a running daemon is asked for, through the state file that it holds.
//!
//! A command writes down what it wants and follows how far that is; the daemon looks here once a
//! second. What a daemon has not finished when it stops it goes on with when it starts again.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::event::Timestamp;
use crate::fate::{KeptReason, ReplayResult};
use crate::state::{Durability, State, StateError};

use super::sqlite::Filter;

/// How long the end of a replay is kept for a command that does not come for it.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// A daemon that works on a request writes of it every second, unless its disk is slow.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// Which letters are sent again, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Those that are meant.
    pub filter: Filter,
    /// Whether the stored document is sent, in place of one made from the event by today's route.
    pub as_is: bool,
    /// The destination they go to, in place of the one that refused them.
    pub to: Option<String>,
    /// By which routes and destinations; without, by those that the daemon has loaded.
    pub written: Option<Written>,
}

/// Routes and destinations as a configuration file had them when a replay was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The file.
    pub file: String,
    /// A digest of them.
    pub digest: String,
}

/// How far a replay is, or how it ended: `letters = removed + kept + dropped + not_sent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Letters that are meant.
    pub letters: u64,
    /// Letters that were sent, and are gone from the store.
    pub removed: u64,
    /// Letters that were sent and are still there, by reason.
    pub kept: BTreeMap<KeptReason, u64>,
    /// Letters that somebody else removed meanwhile: some of them may have been delivered.
    pub dropped: u64,
    /// Letters that are on their way now.
    pub on_way: u64,
    /// Events by destination and by what it said.
    pub sent: BTreeMap<String, BTreeMap<ReplayResult, u64>>,
}

/// A replay that a daemon is to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number; earlier ones are carried out first.
    pub number: i64,
    /// What is wanted; none where a logweir of another version has asked for it.
    pub order: Option<Order>,
    /// What a daemon had done of it before it stopped.
    pub done: Report,
}

/// The request that a replay belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: i64,
    /// What was done of it before a restart.
    pub done: Report,
}

/// How a request stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When a daemon last wrote of it; none before it is taken up.
    pub seen: Option<Timestamp>,
    /// How far it is.
    pub report: Report,
    /// Whether no more will happen.
    pub ended: bool,
    /// What broke it off.
    pub error: Option<String>,
    /// The one that is carried out before it.
    pub ahead: Option<Ahead>,
}

/// A replay that others wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Its number.
    pub number: i64,
    /// When a daemon last wrote of it; none before it is taken up.
    pub seen: Option<Timestamp>,
    /// How far it is.
    pub report: Report,
}

/// The requests in a state file.
#[derive(Clone, Debug)]
pub struct Requests {
    state: State,
}

impl Report {
    /// Letters that were taken up and have come to their end, or were dropped.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.removed + self.dropped + self.kept.values().sum::<u64>()
    }

    /// Letters that were not sent.
    #[must_use]
    pub fn not_sent(&self) -> u64 {
        self.letters.saturating_sub(self.ended())
    }

    /// Whether it was stopped before each letter was delivered or kept for a reason of its own.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.not_sent() > 0 || self.kept.contains_key(&KeptReason::Abandoned)
    }

    /// With what was done before a restart. What was kept or abandoned then was taken up again.
    #[must_use]
    pub fn after(&self, before: &Self) -> Self {
        let mut sum = self.clone();
        sum.letters += before.removed + before.dropped;
        sum.removed += before.removed;
        sum.dropped += before.dropped;
        for (name, counts) in &before.sent {
            let all = sum.sent.entry(name.clone()).or_default();
            for (result, events) in counts {
                match result {
                    ReplayResult::Created | ReplayResult::AlreadyPresent => {
                        *all.entry(*result).or_default() += events;
                    }
                    ReplayResult::Refused | ReplayResult::Abandoned => {}
                }
            }
        }
        sum
    }
}

impl Requests {
    /// Those in `state`.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Asks for a replay. It is on the disk when it answers.
    pub async fn ask(&self, order: &Order) -> Result<i64, StateError> {
        let wanted = to_json(order);
        let asked = self.state.call_durable(move |connection| {
            connection.execute("INSERT INTO replays (wanted) VALUES (?1)", [wanted])?;
            Ok(connection.last_insert_rowid())
        });
        asked.await
    }

    /// How a request stands; none when there is no such request any more.
    pub async fn standing(&self, number: i64) -> Result<Option<Standing>, StateError> {
        let read = self.state.call(move |connection| {
            let transaction = connection.transaction()?;
            let sql = "SELECT seen, report, ended, error FROM replays WHERE number = ?1";
            let standing = transaction.query_row(sql, [number], |row| {
                let (seen, report) = (seen(row.get(0)?), report(row.get(1)?));
                let ended = row.get::<_, Option<i64>>(2)?.is_some();
                Ok(Standing { seen, report, ended, error: row.get(3)?, ahead: None })
            });
            let Some(standing) = standing.optional()? else { return Ok(None) };
            let sql = "SELECT number, seen, report FROM replays
                       WHERE ended IS NULL AND number < ?1 ORDER BY number LIMIT 1";
            let ahead = transaction.query_row(sql, [number], |row| {
                let (seen, report) = (seen(row.get(1)?), report(row.get(2)?));
                Ok(Ahead { number: row.get(0)?, seen, report })
            });
            Ok(Some(Standing { ahead: ahead.optional()?, ..standing }))
        });
        read.await
    }

    /// Asks for no more of it: letters that are on their way still come to their end. One that was
    /// never taken up is forgotten.
    pub async fn withdraw(&self, number: i64) -> Result<(), StateError> {
        let withdrawn = self.state.call_durable(move |connection| {
            let sql = "DELETE FROM replays WHERE number = ?1 AND seen IS NULL";
            connection.execute(sql, [number])?;
            connection.execute("UPDATE replays SET withdrawn = 1 WHERE number = ?1", [number])?;
            Ok(())
        });
        withdrawn.await
    }

    /// Forgets it, however it stands. A daemon that works on it takes that for withdrawn.
    pub async fn forget(&self, number: i64) -> Result<(), StateError> {
        let forgotten = self.state.call_durable(move |connection| {
            connection.execute("DELETE FROM replays WHERE number = ?1", [number]).map(drop)
        });
        forgotten.await
    }

    /// The request that a daemon has written of within the last half minute and not ended.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn under_way_blocking(&self) -> Result<Option<i64>, StateError> {
        self.state.call_blocking(Durability::Normal, |connection| {
            let age = i64::try_from(UNDER_WAY.as_millis()).unwrap_or(i64::MAX);
            let since = Timestamp::now().0.saturating_sub(age);
            let sql = "SELECT number FROM replays WHERE ended IS NULL AND seen >= ?1";
            connection.query_row(sql, [since], |row| row.get(0)).optional()
        })
    }

    /// The request that is to be carried out next.
    pub async fn next(&self) -> Result<Option<Request>, StateError> {
        let read = self.state.call(|connection| {
            let sql = "SELECT number, wanted, report FROM replays
                       WHERE ended IS NULL ORDER BY number LIMIT 1";
            let row = connection.prepare_cached(sql)?.query_row([], |row| {
                let order = serde_json::from_str(row.get_ref(1)?.as_str()?).ok();
                Ok(Request { number: row.get(0)?, order, done: report(row.get(2)?) })
            });
            row.optional()
        });
        read.await
    }

    /// Writes how it ended, and forgets those that ended long ago.
    pub async fn end(
        &self,
        number: i64,
        report: &Report,
        error: Option<String>,
    ) -> Result<(), StateError> {
        let report = to_json(report);
        let ended = self.state.call_durable(move |connection| {
            let now = Timestamp::now().0;
            let sql = "UPDATE replays SET seen = ?2, report = ?3, ended = ?2, error = ?4
                       WHERE number = ?1";
            connection.execute(sql, params![number, now, report, error])?;
            let long_ago = now.saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX));
            connection.execute("DELETE FROM replays WHERE ended < ?1", [long_ago])?;
            Ok(())
        });
        ended.await
    }
}

/// Writes how far a replay is; whether it is still wanted.
pub(super) fn tell(
    connection: &Connection,
    number: i64,
    report: &Report,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE replays SET seen = ?2, report = ?3 WHERE number = ?1 RETURNING withdrawn";
    let values = params![number, Timestamp::now().0, to_json(report)];
    let mut statement = connection.prepare_cached(sql)?;
    let withdrawn = statement.query_row(values, |row| row.get::<_, bool>(0)).optional()?;
    Ok(withdrawn == Some(false))
}

fn to_json(value: &impl Serialize) -> String {
    // Text and numbers under text keys: writing it cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn seen(time: Option<i64>) -> Option<Timestamp> {
    time.map(Timestamp)
}

/// What was told last; nothing is told before the first letter has ended.
fn report(json: Option<String>) -> Report {
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Access, SqliteConfig};

    fn requests(folder: &std::path::Path) -> Requests {
        let state = SqliteConfig { path: folder.join("state.db"), ephemeral: true };
        Requests::new(State::open(&state, Access::Daemon).unwrap())
    }

    fn order(to: &str) -> Order {
        let filter = Filter { reason: Some("mapping".to_owned()), ..Filter::default() };
        Order { filter, as_is: true, to: Some(to.to_owned()), written: None }
    }

    fn report() -> Report {
        let kept = [(KeptReason::Refused, 2)].into();
        let sent = [("search".to_owned(), [(ReplayResult::Created, 5)].into())].into();
        Report { letters: 9, removed: 5, kept, sent, dropped: 1, on_way: 0 }
    }

    #[tokio::test]
    async fn requests_are_taken_up_in_order_and_their_ends_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let requests = requests(folder.path());
        let (one, two) = (requests.ask(&order("a")).await, requests.ask(&order("b")).await);
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(requests.standing(one).await.unwrap(), Some(Standing::default()));
        let next = requests.next().await.unwrap().unwrap();
        assert_eq!((next.number, next.order), (one, Some(order("a"))));
        assert_eq!(requests.under_way_blocking().unwrap(), None);
        assert!(told(&requests, one, &report()));
        // A daemon that starts again finds what was done before.
        assert_eq!(requests.next().await.unwrap().unwrap().done, report());
        assert_eq!(requests.under_way_blocking().unwrap(), Some(one));
        let ahead = requests.standing(two).await.unwrap().unwrap().ahead.unwrap();
        assert_eq!((ahead.number, ahead.report, ahead.seen.is_some()), (one, report(), true));
        requests.end(one, &report(), Some("full".to_owned())).await.unwrap();
        let standing = requests.standing(one).await.unwrap().unwrap();
        assert_eq!((standing.ended, standing.error.as_deref()), (true, Some("full")));
        assert_eq!(standing.report, report());
        assert_eq!(requests.next().await.unwrap().unwrap().number, two);
    }

    fn told(requests: &Requests, number: i64, report: &Report) -> bool {
        let told = |connection: &mut Connection| tell(connection, number, report);
        requests.state.call_blocking(Durability::Normal, told).unwrap()
    }

    #[tokio::test]
    async fn what_is_withdrawn_is_stopped_or_never_begun() {
        let folder = tempfile::tempdir().unwrap();
        let requests = requests(folder.path());
        let one = requests.ask(&order("a")).await.unwrap();
        requests.withdraw(one).await.unwrap();
        assert_eq!(requests.next().await.unwrap(), None);
        assert!(!told(&requests, one, &Report::default()));
        let two = requests.ask(&order("a")).await.unwrap();
        assert!(told(&requests, two, &Report::default()));
        requests.withdraw(two).await.unwrap();
        assert!(!told(&requests, two, &Report::default()));
        requests.end(two, &report(), None).await.unwrap();
        requests.withdraw(two).await.unwrap();
        assert!(requests.standing(two).await.unwrap().unwrap().ended, "its report is still there");
        requests.forget(two).await.unwrap();
        assert_eq!(requests.standing(two).await.unwrap(), None);
    }

    #[test]
    fn an_order_with_a_condition_of_another_version_is_not_carried_out_without_it() {
        let order = r#"{"filter":{"reason":null,"severity":"low"},"as_is":false,"to":null}"#;
        assert!(serde_json::from_str::<Order>(order).is_err());
    }

    #[test]
    fn a_report_goes_on_from_the_one_before_a_restart() {
        let kept = [(KeptReason::Refused, 1)].into();
        let again = Report { letters: 4, removed: 3, dropped: 0, kept, ..report() };
        let sum = again.after(&report());
        assert_eq!((sum.letters, sum.removed, sum.dropped, sum.ended()), (10, 8, 1, 10));
        assert_eq!(sum.sent["search"][&ReplayResult::Created], 10);
    }
}
