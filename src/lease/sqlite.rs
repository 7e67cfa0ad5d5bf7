//! The lease table in the state file: one row per shard.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Gap, GapKind, Lease, LeaseTableError, Position};
use crate::event::{ShardId, StreamKey, Timestamp};
use crate::state::{Durability, State};

/// The leases of this box. Clones share the state file.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    state: State,
}

impl LeaseTable {
    /// The lease table in `state`.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// All leases of a stream, in the order of their shard ids.
    pub async fn list(&self, stream: &StreamKey) -> Result<Vec<Lease>, LeaseTableError> {
        let key = stream.clone();
        let rows = self.state.call(move |connection| rows(connection, &key)).await;
        let rows =
            rows.map_err(|source| LeaseTableError::List { stream: stream.clone(), source })?;
        rows.into_iter().map(|row| row.into_lease(stream)).collect()
    }

    /// Makes a lease; false, and nothing changed, when the shard has one already.
    ///
    /// On the disk when it answers: a lease that starts at a time must not be made a second time,
    /// with a later one.
    pub async fn create(&self, lease: &Lease) -> Result<bool, LeaseTableError> {
        let shard = lease.shard.clone();
        let lease = lease.clone();
        let created = self.state.call_durable(move |connection| insert(connection, &lease)).await;
        created.map_err(|source| LeaseTableError::Create { shard, source })
    }

    /// Moves the checkpoint of a lease to wherever the caller says, backwards too: what has a fate
    /// is the ack tracker's to know. Only a shard that was read to its end stays so. Returns the
    /// lease as it is now; by a lease that somebody else has moved or made again, nothing is.
    ///
    /// A power cut may take it back, which is safe.
    pub async fn checkpoint(&self, held: &Lease, to: &Position) -> Result<Lease, LeaseTableError> {
        let now = Timestamp::now();
        let moved = Lease { checkpoint: to.clone(), updated: now, ..held.clone() };
        let (from, to) = (held.clone(), moved.clone());
        let written = self.state.call(move |connection| advance(connection, &from, &to));
        let shard = held.shard.clone();
        match written.await {
            Ok(Moved::Yes) => Ok(moved),
            Ok(Moved::Ended) => Err(LeaseTableError::Ended { shard }),
            Ok(Moved::Missing) => Err(LeaseTableError::Missing { shard }),
            Ok(Moved::Taken) => Err(LeaseTableError::Taken { shard }),
            Err(source) => Err(LeaseTableError::Checkpoint { shard, source }),
        }
    }

    /// Forgets a lease; nothing happens when there is none.
    pub async fn remove(&self, stream: &StreamKey, shard: &ShardId) -> Result<(), LeaseTableError> {
        let (key, name) = (stream.clone(), shard.clone());
        let removed = self.state.call(move |connection| {
            let sql = "DELETE FROM leases WHERE stream = ?1 AND shard = ?2";
            connection.prepare_cached(sql)?.execute([key.as_str(), name.as_str()])
        });
        let removed = removed.await.map(drop);
        removed.map_err(|source| LeaseTableError::Remove { shard: shard.clone(), source })
    }

    /// Every stream that has a lease: a stream made again under its name shows up as two keys.
    pub async fn streams(&self) -> Result<Vec<StreamKey>, LeaseTableError> {
        let found = self.state.call(|connection| {
            let sql = "SELECT DISTINCT stream FROM leases ORDER BY stream";
            let mut statement = connection.prepare_cached(sql)?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names.collect::<rusqlite::Result<Vec<_>>>()
        });
        let found = found.await.map_err(|source| LeaseTableError::Streams { source })?;
        Ok(found.iter().map(|name| StreamKey::new(name)).collect())
    }
}

/// Which leases or gaps are meant; all that is set must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// The name of the stream's table in the configuration.
    pub stream: Option<String>,
    /// The shard.
    pub shard: Option<String>,
}

impl Which {
    const SQL: &str = "(?1 IS NULL OR substr(stream, 1, length(?1) + 1) = ?1 || ' ')
                       AND (?2 IS NULL OR shard = ?2)";

    fn values(&self) -> [Option<&str>; 2] {
        [self.stream.as_deref(), self.shard.as_deref()]
    }
}

/// For commands, which may block; and for gaps.
impl LeaseTable {
    /// The leases that are meant, by stream and shard.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn leases_blocking(&self, which: &Which) -> Result<Vec<Lease>, LeaseTableError> {
        let read = self.state.call_blocking(Durability::Normal, |connection| {
            let sql = format!(
                "SELECT stream, shard, parents, checkpoint, updated FROM leases WHERE {}
                               ORDER BY stream, shard",
                Which::SQL
            );
            let mut statement = connection.prepare(&sql)?;
            let found = statement.query_map(which.values(), |row| {
                let stream = row.get::<_, String>(0)?;
                let (shard, parents) = (row.get(1)?, row.get(2)?);
                let (checkpoint, updated) = (row.get(3)?, row.get(4)?);
                Ok((stream, Row { shard, parents, checkpoint, updated }))
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = read.map_err(|source| LeaseTableError::Streams { source })?;
        rows.into_iter().map(|(stream, row)| row.into_lease(&StreamKey::new(&stream))).collect()
    }

    /// Moves the checkpoints that are meant, those of shards read to their end too; how many those
    /// were. Only while no daemon reads them: it would write its own again.
    ///
    /// # Errors
    /// None was moved.
    pub fn reset_blocking(&self, which: &Which, to: &Position) -> Result<usize, LeaseTableError> {
        let [stream, shard] = which.values();
        let moved = self.state.call_blocking(Durability::Full, |connection| {
            let sql =
                format!("UPDATE leases SET checkpoint = ?3, updated = ?4 WHERE {}", Which::SQL);
            connection.execute(&sql, params![stream, shard, to.to_string(), Timestamp::now().0])
        });
        moved.map_err(|source| LeaseTableError::Reset { source })
    }

    /// Keeps a gap until it is accepted; whether it is the first of its kind in its shard. What
    /// has expired adds up.
    ///
    /// On the disk when it answers.
    pub async fn add_gap(&self, gap: &Gap) -> Result<bool, LeaseTableError> {
        let gap = gap.clone();
        let added = self.state.call_durable(move |connection| insert_gap(connection, &gap)).await;
        added.map_err(|source| LeaseTableError::Gaps { source })
    }

    /// The gaps that nobody has accepted, of all streams.
    pub async fn gaps(&self) -> Result<Vec<Gap>, LeaseTableError> {
        let read = self.state.call(|connection| gaps(connection, &Which::default())).await;
        read.map_err(|source| LeaseTableError::Gaps { source })
    }

    /// The same, of those that are meant.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn gaps_blocking(&self, which: &Which) -> Result<Vec<Gap>, LeaseTableError> {
        let read =
            self.state.call_blocking(Durability::Normal, |connection| gaps(connection, which));
        read.map_err(|source| LeaseTableError::Gaps { source })
    }

    /// Forgets these gaps, and the leases that are of no use without them. A daemon may run
    /// meanwhile: its next shard sync finds them gone.
    ///
    /// # Errors
    /// None was accepted.
    pub fn accept_blocking(&self, accepted: &[Gap]) -> Result<(), LeaseTableError> {
        let done = self.state.call_blocking(Durability::Full, |connection| {
            let transaction = connection.transaction()?;
            for gap in accepted {
                let (stream, shard) = (gap.stream.as_str(), gap.shard.as_str());
                let sql =
                    "DELETE FROM possible_gaps WHERE stream = ?1 AND shard = ?2 AND kind = ?3";
                transaction.execute(sql, [stream, shard, gap.kind.as_str()])?;
                if gap.kind.ends_lease() {
                    let sql = "DELETE FROM leases WHERE stream = ?1 AND shard = ?2";
                    transaction.execute(sql, [stream, shard])?;
                }
            }
            transaction.commit()
        });
        done.map_err(|source| LeaseTableError::Gaps { source })
    }
}

fn insert_gap(connection: &mut Connection, gap: &Gap) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let key = [gap.stream.as_str(), gap.shard.as_str(), gap.kind.as_str()];
    let [stream, shard, kind] = key;
    let sql = "SELECT 1 FROM possible_gaps WHERE stream = ?1 AND shard = ?2 AND kind = ?3";
    let known = transaction.prepare_cached(sql)?.exists(key)?;
    let adds_up = match gap.kind {
        GapKind::Expired => true,
        GapKind::Vanished | GapKind::FormerStream => false,
    };
    if !known || adds_up {
        let length = i64::try_from(gap.length.as_millis()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO possible_gaps VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET length = length + excluded.length";
        let values = params![stream, shard, kind, gap.found.0, length];
        transaction.prepare_cached(sql)?.execute(values)?;
    }
    transaction.commit()?;
    Ok(!known)
}

fn gaps(connection: &Connection, which: &Which) -> rusqlite::Result<Vec<Gap>> {
    let sql = format!(
        "SELECT stream, shard, kind, found, length FROM possible_gaps WHERE {}
                       ORDER BY stream, shard, kind",
        Which::SQL
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(which.values(), |row| {
        let kind: String = row.get(2)?;
        let length: i64 = row.get(4)?;
        Ok(Gap {
            stream: StreamKey::new(&row.get::<_, String>(0)?),
            shard: ShardId::new(&row.get::<_, String>(1)?),
            // A kind of a later logweir says at least that something is gone.
            kind: GapKind::ALL
                .into_iter()
                .find(|known| known.as_str() == kind)
                .unwrap_or(GapKind::Vanished),
            found: Timestamp(row.get(3)?),
            length: Duration::from_millis(length.unsigned_abs()),
        })
    })?;
    rows.collect()
}

/// A lease as it is stored.
struct Row {
    shard: String,
    parents: String,
    checkpoint: String,
    updated: i64,
}

impl Row {
    fn into_lease(self, stream: &StreamKey) -> Result<Lease, LeaseTableError> {
        let shard = ShardId::new(&self.shard);
        let unreadable = |text: &str| LeaseTableError::Unreadable {
            shard: shard.clone(),
            text: text.to_owned(),
        };
        let parents: Vec<String> =
            serde_json::from_str(&self.parents).map_err(|_| unreadable(&self.parents))?;
        let checkpoint = self.checkpoint.parse().map_err(|_| unreadable(&self.checkpoint))?;
        Ok(Lease {
            stream: stream.clone(),
            shard,
            parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
            checkpoint,
            updated: Timestamp(self.updated),
        })
    }
}

fn rows(connection: &Connection, stream: &StreamKey) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT shard, parents, checkpoint, updated FROM leases
               WHERE stream = ?1 ORDER BY shard";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([stream.as_str()], |row| {
        Ok(Row {
            shard: row.get(0)?,
            parents: row.get(1)?,
            checkpoint: row.get(2)?,
            updated: row.get(3)?,
        })
    })?;
    rows.collect()
}

fn insert(connection: &Connection, lease: &Lease) -> rusqlite::Result<bool> {
    let parents: Vec<_> = lease.parents.iter().map(ShardId::as_str).collect();
    let sql = "INSERT INTO leases (stream, shard, parents, checkpoint, updated)
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let made = connection.prepare_cached(sql)?.execute(params![
        lease.stream.as_str(),
        lease.shard.as_str(),
        serde_json::json!(parents).to_string(),
        lease.checkpoint.to_string(),
        lease.updated.0,
    ])?;
    Ok(made == 1)
}

enum Moved {
    Yes,
    Ended,
    Missing,
    Taken,
}

fn advance(connection: &mut Connection, from: &Lease, to: &Lease) -> rusqlite::Result<Moved> {
    let (stream, shard) = (from.stream.as_str(), from.shard.as_str());
    let transaction = connection.transaction()?;
    let sql = "SELECT checkpoint, updated FROM leases WHERE stream = ?1 AND shard = ?2";
    let found: Option<(String, i64)> = transaction
        .prepare_cached(sql)?
        .query_row([stream, shard], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((checkpoint, updated)) = found else { return Ok(Moved::Missing) };
    if checkpoint == Position::ShardEnd.to_string() {
        return Ok(if to.checkpoint == Position::ShardEnd { Moved::Yes } else { Moved::Ended });
    }
    if (checkpoint, updated) != (from.checkpoint.to_string(), from.updated.0) {
        return Ok(Moved::Taken);
    }
    let sql = "UPDATE leases SET checkpoint = ?3, updated = ?4 WHERE stream = ?1 AND shard = ?2";
    let values = params![stream, shard, to.checkpoint.to_string(), to.updated.0];
    transaction.prepare_cached(sql)?.execute(values)?;
    transaction.commit()?;
    Ok(Moved::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SequenceNumber;
    use crate::state::tests::{config, copy_as_if_killed, state};
    use crate::state::{Access, Durability};

    fn stream() -> StreamKey {
        StreamKey::new("central arn:aws:kinesis:eu-west-1:123456789012:stream/central 1700000000")
    }

    fn lease(shard: &str, checkpoint: Position) -> Lease {
        let parents = vec![ShardId::new("shardId-000000000000"), ShardId::new("odd \"one\"")];
        let (stream, shard, updated) =
            (stream(), ShardId::new(shard), Timestamp(1_700_000_000_123));
        Lease { stream, shard, parents, checkpoint, updated }
    }

    #[tokio::test]
    async fn a_lease_is_made_once_and_read_back_as_it_was() {
        let (_folder, state) = state();
        let table = LeaseTable::new(state);
        let first = lease("shardId-000000000001", Position::At(Timestamp(-5)));
        assert!(table.create(&first).await.unwrap());
        let second = Lease { checkpoint: Position::TrimHorizon, ..first.clone() };
        assert!(!table.create(&second).await.unwrap());
        assert_eq!(table.list(&stream()).await.unwrap(), [first]);
        assert_eq!(table.list(&StreamKey::new("other")).await.unwrap(), []);
        assert_eq!(table.streams().await.unwrap(), [stream()]);
    }

    #[tokio::test]
    async fn a_checkpoint_survives_a_kill() {
        let (folder, state) = state();
        let table = LeaseTable::new(state);
        let lease = lease("shardId-000000000001", Position::TrimHorizon);
        table.create(&lease).await.unwrap();
        let to = Position::After(SequenceNumber::new(&"9".repeat(129)));
        table.checkpoint(&lease, &to).await.unwrap();

        let copy = copy_as_if_killed(&folder);
        let table = LeaseTable::new(State::open(&config(copy.path()), Access::Daemon).unwrap());
        let found = table.list(&stream()).await.unwrap();
        assert_eq!(found.iter().map(|lease| &lease.checkpoint).collect::<Vec<_>>(), [&to]);
        assert!(found[0].updated > lease.updated);
    }

    #[tokio::test]
    async fn a_shard_that_has_ended_stays_so() {
        let (_folder, state) = state();
        let table = LeaseTable::new(state);
        let lease = lease("shardId-000000000001", Position::TrimHorizon);
        table.create(&lease).await.unwrap();
        for _ in 0..2 {
            table.checkpoint(&lease, &Position::ShardEnd).await.unwrap();
        }
        let back = table.checkpoint(&lease, &Position::TrimHorizon).await;
        assert!(matches!(back, Err(LeaseTableError::Ended { .. })));
        assert_eq!(table.list(&stream()).await.unwrap()[0].checkpoint, Position::ShardEnd);
    }

    #[tokio::test]
    async fn a_lease_that_is_gone_takes_no_checkpoint() {
        let (_folder, state) = state();
        let table = LeaseTable::new(state);
        let lease = lease("shardId-000000000001", Position::TrimHorizon);
        table.create(&lease).await.unwrap();
        table.remove(&lease.stream, &lease.shard).await.unwrap();
        table.remove(&lease.stream, &lease.shard).await.unwrap();
        let lost = table.checkpoint(&lease, &Position::ShardEnd).await;
        assert!(matches!(lost, Err(LeaseTableError::Missing { .. })));
    }

    #[tokio::test]
    async fn a_lease_that_was_made_again_or_moved_takes_no_checkpoint_of_who_had_it_before() {
        let (_folder, state) = state();
        let table = LeaseTable::new(state);
        let to = |digits| Position::After(SequenceNumber::new(digits));
        let first = lease("shardId-000000000001", Position::TrimHorizon);
        table.create(&first).await.unwrap();
        let held = table.checkpoint(&first, &to("7")).await.unwrap();
        let late = table.checkpoint(&first, &to("3")).await;
        assert!(matches!(late, Err(LeaseTableError::Taken { .. })));

        table.remove(&first.stream, &first.shard).await.unwrap();
        let again = Lease { updated: Timestamp(first.updated.0 + 1), ..first.clone() };
        table.create(&again).await.unwrap();
        for old in [&held, &first] {
            let lost = table.checkpoint(old, &to("9")).await;
            assert!(matches!(lost, Err(LeaseTableError::Taken { .. })));
        }
        let moved = table.checkpoint(&again, &to("5")).await.unwrap();
        assert_eq!(table.list(&stream()).await.unwrap(), [moved]);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_an_error_and_not_a_fresh_start() {
        let (_folder, state) = state();
        let table = LeaseTable::new(state.clone());
        table.create(&lease("shardId-000000000001", Position::TrimHorizon)).await.unwrap();
        let spoil = |connection: &mut Connection| {
            connection.execute("UPDATE leases SET checkpoint = 'LATEST'", [])
        };
        state.call_blocking(Durability::Normal, spoil).unwrap();
        let error = table.list(&stream()).await.unwrap_err().to_string();
        assert!(error.contains("shardId-000000000001") && error.contains("LATEST"), "{error}");
    }
}
