//! What must hold, worked out from what is in the stream, the clusters and the state, never from
//! the daemon's own word.

use std::collections::{BTreeMap, BTreeSet};

use logweir::dead_letter::Letter;
use rusqlite::Connection;

use crate::stream::record_of;
use crate::world::World;

#[derive(Default)]
pub(crate) struct Oracle {
    /// The checkpoint of each shard that has a lease.
    leases: BTreeMap<String, String>,
    /// Records of each shard that are known to be settled, from its start.
    settled: BTreeMap<String, usize>,
    /// Shards whose leases somebody deletes.
    pub(crate) deleted: BTreeSet<String>,
    /// What each letter is for, by its number.
    letters: BTreeMap<i64, About>,
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
        _ => record_of(&letter.sequence_number).map(About::Record),
    }
}

impl World {
    /// After each change of the state.
    pub(crate) fn check_state(&mut self, connection: &Connection) {
        let rows = leases(connection);
        for (shard, checkpoint) in &rows {
            let before = self.oracle.leases.get(shard);
            if before == Some(checkpoint) {
                continue;
            }
            if before.is_none() && checkpoint != "TRIM_HORIZON" {
                self.violated(format!(
                    "a lease on {shard} that was lost came back at {checkpoint}"
                ));
            }
            self.check_checkpoint(connection, (shard, checkpoint));
        }
        let gone = self.oracle.leases.keys().find(|shard| !rows.contains_key(*shard));
        if let Some(shard) = gone.filter(|shard| !self.oracle.deleted.contains(*shard)) {
            self.violated(format!("the lease on {shard} is gone"));
        }
        self.oracle.leases = rows;
    }

    /// No record at or before a checkpoint may hold an event without a fate.
    fn check_checkpoint(&mut self, connection: &Connection, (id, checkpoint): (&str, &str)) {
        let Some(shard) = self.stream.shards.iter().find(|shard| shard.id == id) else { return };
        let (records, is_closed) = (shard.records.clone(), shard.is_closed);
        if checkpoint == "SHARD_END" && !is_closed {
            self.violated(format!("{id} has no end yet"));
        }
        let until = match record_of(checkpoint) {
            Some(last) => records.partition_point(|record| *record <= last),
            None if checkpoint == "SHARD_END" => records.len(),
            None => 0,
        };
        let from = self.oracle.settled.get(id).copied().unwrap_or(0);
        let Some(unread) = records.get(from..until) else { return };
        let unsettled = self.unsettled(unread, || letters(connection));
        match unsettled {
            Some(what) => self.violated(format!("{id} is checkpointed at {checkpoint}, {what}")),
            None => _ = self.oracle.settled.insert(id.to_owned(), until),
        }
    }

    /// What of these records has no fate.
    fn unsettled(
        &mut self,
        records: &[usize],
        read: impl FnOnce() -> Vec<(i64, String)>,
    ) -> Option<String> {
        let mut missing = Vec::new();
        for at in records {
            let record = &self.stream.records[*at];
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
        let mut there = BTreeSet::new();
        for (number, letter) in read() {
            let known = self.oracle.letters.get(&number).copied().or_else(|| about(&letter));
            if let Some(known) = known {
                self.oracle.letters.insert(number, known);
                there.insert(known);
            }
        }
        let lost = missing.into_iter().find(|about| !there.contains(about))?;
        Some(match lost {
            About::Event(event, to) => {
                format!("event {event} is neither in cluster {to} nor a letter")
            }
            About::Record(record) => format!("undecodable record {record} is no letter"),
        })
    }

    /// Whether everything is read and checkpointed.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_quiet
            && self.asked.is_empty()
            && self.stream.shards.iter().all(|shard| {
                let end = self.stream.end(shard);
                let lease = self.oracle.leases.get(&shard.id);
                lease.is_some() && (end.is_none() || lease == end.as_ref())
            })
    }

    /// At the very end: nothing is lost.
    pub(crate) fn check_end(&mut self, connection: &Connection) {
        let all: Vec<usize> = (0..self.stream.records.len()).collect();
        if let Some(lost) = self.unsettled(&all, || letters(connection)) {
            self.violated(format!("at the end {lost}"));
        }
        if !self.is_complete() {
            self.violated("at the end not all is checkpointed".to_owned());
        }
    }
}

fn leases(connection: &Connection) -> BTreeMap<String, String> {
    let mut rows = connection.prepare_cached("SELECT shard, checkpoint FROM leases").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn letters(connection: &Connection) -> Vec<(i64, String)> {
    let mut rows = connection.prepare_cached("SELECT number, letter FROM dead_letters").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
