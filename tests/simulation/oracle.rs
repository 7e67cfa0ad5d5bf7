//! What must hold, worked out from what is in the stream, the clusters and the state, never from
//! the daemon's own word.

use std::collections::{BTreeMap, BTreeSet};

use logweir::dead_letter::Letter;
use logweir::lease::GapKind;
use rusqlite::Connection;

use crate::history::End;
use crate::stream::{Shard, place_of};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Oracle {
    /// The checkpoint of each shard that has a lease.
    leases: BTreeMap<String, String>,
    /// Records of each shard that are known to be settled, from its start.
    settled: BTreeMap<String, usize>,
    /// Shards whose leases the daemon has lost, each with the readers that it had by then: none of
    /// them may write a checkpoint.
    lost: BTreeMap<String, u64>,
    /// Shards of which records have expired that the daemon should have read.
    untold: BTreeMap<String, GapKind>,
    /// What each letter is for, by its number.
    letters: BTreeMap<i64, Option<About>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Event(usize, usize),
    Record(usize),
}

fn about(letter: &str) -> Option<About> {
    let letter: Letter = serde_json::from_str(letter).ok()?;
    match (&letter.source, &letter.destination) {
        (Some(source), Some(to)) => {
            let event = source.id.trim_start_matches('e').parse().ok()?;
            Some(About::Event(event, usize::from(to == "soc")))
        }
        _ => place_of(&letter.sequence_number).map(|(record, _)| About::Record(record)),
    }
}

impl World {
    /// After each change of the state.
    pub(crate) fn check_state(&mut self, connection: &Connection) {
        self.oracle.note_told(connection);
        let rows = leases(connection);
        for (shard, checkpoint) in &rows {
            match self.oracle.leases.get(shard) {
                Some(before) if before == checkpoint => {}
                Some(_) => self.check_move(connection, (shard, checkpoint)),
                None if checkpoint == "TRIM_HORIZON" => {}
                None => self.violated(format!("the first checkpoint of {shard} is {checkpoint}")),
            }
        }
        let oracle = &self.oracle;
        let gone = oracle.leases.iter().find(|(shard, checkpoint)| {
            let is_over = *checkpoint == "SHARD_END" && self.is_gone(shard);
            !rows.contains_key(*shard) && !is_over
        });
        if let Some((shard, _)) = gone {
            self.violated(format!("the lease on {shard} is gone"));
        }
        self.oracle.leases = rows;
        self.look_for_replay(connection);
    }

    fn is_gone(&self, id: &str) -> bool {
        self.stream.shards.iter().any(|shard| shard.id == id && shard.is_gone)
    }

    /// A checkpoint may be written by who reads the shard now, after gaps were kept, and behind
    /// records that are settled.
    fn check_move(&mut self, connection: &Connection, (id, checkpoint): (&str, &str)) {
        let Some(shard) = self.stream.shards.iter().find(|shard| shard.id == id) else { return };
        let (readers, is_closed) = (shard.readers, shard.is_closed);
        if self.oracle.lost.get(id) == Some(&readers) {
            self.violated(format!("who has lost the lease on {id} has checkpointed {checkpoint}"));
        }
        self.oracle.lost.remove(id);
        if self.oracle.untold.get(id) == Some(&GapKind::Expired) {
            self.violated(format!("{id} is read behind records that are gone, untold"));
        }
        if checkpoint == "SHARD_END" && !is_closed {
            self.violated(format!("{id} has no end yet"));
        }
        self.check_checkpoint(connection, (id, checkpoint));
    }

    /// No record at or before a checkpoint may hold an event without a fate.
    fn check_checkpoint(&mut self, connection: &Connection, (id, checkpoint): (&str, &str)) {
        let Some(shard) = self.stream.shards.iter().find(|shard| shard.id == id) else { return };
        let until = self.records_until(shard, checkpoint);
        let from = self.oracle.settled.get(id).copied().unwrap_or(0);
        let unread = shard.records.get(from..until).unwrap_or_default().to_vec();
        if unread.is_empty() {
            return;
        }
        match self.unsettled(&unread, connection) {
            Some(what) => self.violated(format!("{id} is checkpointed at {checkpoint}, {what}")),
            None => _ = self.oracle.settled.insert(id.to_owned(), until),
        }
    }

    /// How many of the records of a shard a checkpoint says are done.
    fn records_until(&self, shard: &Shard, checkpoint: &str) -> usize {
        let Some((last, within)) = place_of(checkpoint) else {
            return if checkpoint == "SHARD_END" { shard.records.len() } else { 0 };
        };
        let of = self.stream.records.get(last).map_or(0, |record| record.user_records);
        let is_whole = within.is_none_or(|within| within + 1 >= of);
        shard.records.partition_point(|record| *record < last || is_whole && *record == last)
    }

    /// What of these records has no fate.
    fn unsettled(&mut self, records: &[usize], connection: &Connection) -> Option<String> {
        let mut missing = Vec::new();
        for at in records {
            let record = &self.stream.records[*at];
            if record.is_expired {
                continue;
            }
            if !record.is_decodable {
                missing.push(About::Record(*at));
            }
            for event in &record.events {
                let to = self.stream.events[*event].to.iter();
                let absent = to.filter(|to| !self.clusters[**to].has(*event));
                missing.extend(absent.map(|to| About::Event(*event, *to)));
            }
        }
        if missing.is_empty() {
            return None;
        }
        let there = self.oracle.letters(connection);
        let lost = missing.into_iter().find(|about| !there.contains(about))?;
        Some(match lost {
            About::Event(event, to) => {
                format!("event {event} is neither in cluster {to} nor a letter")
            }
            About::Record(record) => format!("undecodable record {record} is no letter"),
        })
    }

    /// The daemon has lost the lease on a shard, by somebody who had the state to himself for a
    /// moment, and has it deleted or moved.
    pub(crate) fn lose_lease(&mut self, id: &str, to: Option<String>) {
        let Some(shard) = self.stream.shards.iter().find(|shard| shard.id == id) else { return };
        self.oracle.lost.insert(id.to_owned(), shard.readers);
        self.oracle.untold.remove(id);
        match to {
            Some(to) => _ = self.oracle.leases.insert(id.to_owned(), to),
            None => _ = self.oracle.leases.remove(id),
        }
        self.has_lost_lease = true;
    }

    /// The shards that have leases, each with the records before its checkpoint.
    pub(crate) fn leased(&self) -> Vec<(String, usize)> {
        let shards = self.stream.shards.iter().filter_map(|shard| {
            let checkpoint = self.oracle.leases.get(&shard.id)?;
            let is_read = !shard.is_gone && checkpoint != "SHARD_END";
            is_read.then(|| (shard.id.clone(), self.records_until(shard, checkpoint)))
        });
        shards.collect()
    }

    /// All that is in the stream now expires, and with it the shards that take no more.
    pub(crate) fn expire(&mut self) {
        for at in 0..self.stream.shards.len() {
            let shard = &mut self.stream.shards[at];
            (shard.is_gone, shard.trimmed) = (shard.is_closed, shard.records.len());
            let (id, is_gone) = (shard.id.clone(), shard.is_gone);
            for record in shard.records.clone() {
                self.stream.records[record].is_expired = true;
            }
            let kind = match self.oracle.leases.get(&id).map(String::as_str) {
                None | Some("SHARD_END") => continue,
                Some(_) if is_gone => GapKind::Vanished,
                // Nothing was promised about what is before the oldest record.
                Some("TRIM_HORIZON") => continue,
                Some(_) => GapKind::Expired,
            };
            self.oracle.untold.insert(id, kind);
        }
    }

    /// Whether letters are on their way; who is to die meanwhile, dies soon.
    fn look_for_replay(&mut self, connection: &Connection) {
        let exists = |sql| connection.prepare_cached(sql).unwrap().exists([]).unwrap();
        self.is_replay_wanted = exists("SELECT 1 FROM replays WHERE ended IS NULL");
        let is_replaying = self.is_replay_wanted
            && exists(
                "SELECT 1 FROM replays WHERE ended IS NULL AND seen IS NOT NULL
                 AND json_extract(report, '$.letters') > 0",
            );
        let begins = is_replaying && !self.is_replaying;
        self.is_replaying = is_replaying;
        if let (true, None, Some(End::CrashInReplay(after))) = (begins, self.crash_at, self.end) {
            self.crash_at = Some(self.steps + after);
        }
    }

    /// Whether everything is read and checkpointed.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_quiet
            && self.asked.is_empty()
            && self.oracle.untold.is_empty()
            && self.stream.shards.iter().filter(|shard| !shard.is_gone).all(|shard| {
                let lease = self.oracle.leases.get(&shard.id);
                let until = lease.map(|checkpoint| self.records_until(shard, checkpoint));
                let is_ended = lease.is_some_and(|checkpoint| checkpoint == "SHARD_END");
                let is_read = shard.records.len() == shard.trimmed;
                until.is_some_and(|until| is_read || until == shard.records.len())
                    && (is_ended || !shard.is_closed)
            })
    }

    /// At the very end: nothing is lost.
    pub(crate) fn check_end(&mut self, connection: &Connection) {
        let all: Vec<usize> = (0..self.stream.records.len()).collect();
        if let Some(lost) = self.unsettled(&all, connection) {
            self.violated(format!("at the end {lost}"));
        }
        if !self.is_complete() {
            self.violated("at the end not all is checkpointed".to_owned());
        }
    }
}

impl Oracle {
    /// That a shard's records have expired must come to stand in the state.
    fn note_told(&mut self, connection: &Connection) {
        if self.untold.is_empty() {
            return;
        }
        let sql = "SELECT 1 FROM possible_gaps WHERE shard = ? AND kind = ?";
        let mut told = connection.prepare_cached(sql).unwrap();
        self.untold.retain(|id, kind| !told.exists([id.as_str(), kind.as_str()]).unwrap());
    }

    /// What the letters in the store are for.
    fn letters(&mut self, connection: &Connection) -> BTreeSet<About> {
        let mut numbers = connection.prepare_cached("SELECT number FROM dead_letters").unwrap();
        let numbers = numbers.query_map([], |row| row.get(0)).unwrap();
        let mut there = BTreeSet::new();
        for number in numbers.map(Result::unwrap) {
            let known = self.letters.entry(number).or_insert_with(|| {
                let sql = "SELECT letter FROM dead_letters WHERE number = ?";
                let mut letter = connection.prepare_cached(sql).unwrap();
                about(&letter.query_row([number], |row| row.get::<_, String>(0)).unwrap())
            });
            there.extend(*known);
        }
        there
    }
}

fn leases(connection: &Connection) -> BTreeMap<String, String> {
    let mut rows = connection.prepare_cached("SELECT shard, checkpoint FROM leases").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
