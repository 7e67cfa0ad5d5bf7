//! What was put into a stream, and what of it is found again.

use std::collections::{BTreeMap, BTreeSet};

use logweir::event::Timestamp;

use crate::bulk::Name;
use crate::envelopes::{LogEvent, record};
use crate::servers::Kinesis;

/// Events of one record.
const PER_RECORD: usize = 20;

/// Records of one request.
const REQUEST: usize = 50;

const DAY: i64 = 86_400_000;

/// The events of one stream: numbers from 0, each in the id of its event.
#[derive(Debug)]
pub(crate) struct Ledger {
    stream: String,
    put: usize,
    /// Events are of so many days, today the last.
    pub(crate) days: usize,
    /// The route that events are for.
    pub(crate) route: &'static str,
    /// What stands in a message after its number.
    pub(crate) text: String,
    /// The sequence number of the last record of each shard.
    last: BTreeMap<String, String>,
}

/// What became of the events that were put.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// For each document that was found, how often, in whatever index.
    pub(crate) documents: BTreeMap<String, usize>,
    /// The document ids of dead letters.
    pub(crate) letters: BTreeMap<String, usize>,
    /// What the engine had acknowledged before somebody deleted it.
    pub(crate) deleted: BTreeSet<Name>,
}

/// The arithmetic of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) put: usize,
    /// Of these, as documents, as dead letters, or acknowledged before a deletion.
    pub(crate) found: usize,
    pub(crate) lost: usize,
    /// Documents of one event beyond the first, and events both delivered and dead-lettered.
    pub(crate) doubled: usize,
}

impl Ledger {
    pub(crate) fn new(stream: &str) -> Self {
        let stream = stream.to_owned();
        Self {
            stream,
            put: 0,
            days: 1,
            route: "chaos",
            text: "x".repeat(60),
            last: BTreeMap::new(),
        }
    }

    /// How many events were put.
    pub(crate) fn put_so_far(&self) -> usize {
        self.put
    }

    /// The sequence number of the last record of each shard.
    pub(crate) fn last(&self) -> &BTreeMap<String, String> {
        &self.last
    }

    /// Notes where a record went that somebody else has put.
    pub(crate) fn put_at(&mut self, shard: &str, sequence_number: &str) {
        self.last.insert(shard.to_owned(), sequence_number.to_owned());
    }

    /// Forgets where records went: the stream is another one from now on.
    pub(crate) fn forget_places(&mut self) {
        self.last.clear();
    }

    /// Puts so many more events, evenly over the shards.
    pub(crate) async fn put(&mut self, kinesis: &Kinesis, events: usize) {
        let records = self.records(events);
        for some in records.chunks(REQUEST) {
            let some: Vec<_> =
                some.iter().map(|(key, data)| (key.as_str(), data.as_slice())).collect();
            for at in kinesis.put_records(&self.stream, &some).await {
                self.last.insert(at.shard, at.sequence_number);
            }
        }
    }

    /// The records of so many more events, each with its partition key, for whoever puts them.
    pub(crate) fn records(&mut self, events: usize) -> Vec<(String, Vec<u8>)> {
        let end = self.put + events;
        let mut records = Vec::new();
        while self.put < end {
            let numbers = self.put..end.min(self.put + PER_RECORD);
            self.put = numbers.end;
            let key = format!("key-{}", numbers.start);
            let events: Vec<_> = numbers.map(|number| self.event(number)).collect();
            records.push((key, record(self.route, &events)));
        }
        records
    }

    fn event(&self, number: usize) -> LogEvent {
        let age = i64::try_from(number % self.days).unwrap() * DAY;
        let message = format!("event-{number} {}", self.text);
        LogEvent::new(number, Timestamp::now().0 - age, &message)
    }

    /// Counts what is missing and what is there too often.
    pub(crate) fn sums(&self, found: &Found) -> Sums {
        let ids: BTreeSet<_> = (0..self.put).map(|number| format!("38{number:054}")).collect();
        let deleted: BTreeSet<_> = found.deleted.iter().map(|(_, id)| id).collect();
        let there = |id: &&String| {
            found.documents.contains_key(*id)
                || found.letters.contains_key(*id)
                || deleted.contains(id)
        };
        let kept = ids.iter().filter(there).count();
        let times = |id: &String| {
            let count = |of: &BTreeMap<String, usize>| of.get(id).copied().unwrap_or(0);
            count(&found.documents) + count(&found.letters)
        };
        // What nobody has put is one too many.
        let strangers = found.documents.keys().chain(found.letters.keys());
        let strangers = strangers.filter(|id| !ids.contains(*id)).count();
        let doubled = ids.iter().map(|id| times(id).saturating_sub(1)).sum::<usize>() + strangers;
        Sums { put: self.put, found: kept, lost: self.put - kept, doubled }
    }
}
