//! A stream in memory: its shards, their records, and how they split, merge, close and expire.

use std::collections::VecDeque;

use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;

use super::protocol::ServiceError;
use super::protocol::ShardFilter;
use crate::event::SequenceNumber;
use crate::event::ShardId;
use crate::event::Timestamp;

/// What a new stream keeps, as on AWS.
pub(super) const RETENTION_HOURS: i64 = 24;

/// A record may be this large (`PutRecord` in the API reference, since 2025).
const MAX_RECORD: usize = 10 * 1024 * 1024;

/// A page holds at most this much data (`GetRecords` in the API reference).
const MAX_PAGE: usize = 10 * 1024 * 1024;

/// A stream and all shards that it ever had and still lists.
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) created: Timestamp,
    pub(super) shards: Vec<Shard>,
    shards_made: u32,
}

impl Stream {
    pub(super) fn new(name: &str, shards: u32, created: Timestamp) -> Self {
        let mut stream =
            Self { name: name.to_owned(), created, shards: Vec::new(), shards_made: 0 };
        // The last shard also takes what the division leaves over.
        let width = u128::MAX / u128::from(shards.max(1));
        for index in 0..shards {
            let first = width * u128::from(index);
            let last = if index + 1 == shards { u128::MAX } else { first + width - 1 };
            stream.open(HashKeys { first, last }, Vec::new(), created);
        }
        stream
    }

    /// The shard of that id, or the answer that Kinesis gives when there is none.
    pub(super) fn shard(&self, id: &str) -> Result<&Shard, ServiceError> {
        let found = self.shards.iter().find(|shard| shard.id.as_str() == id);
        found.ok_or_else(|| self.no_shard(id))
    }

    pub(super) fn shard_mut(&mut self, id: &str) -> Result<&mut Shard, ServiceError> {
        let missing = self.no_shard(id);
        self.shards.iter_mut().find(|shard| shard.id.as_str() == id).ok_or(missing)
    }

    fn no_shard(&self, id: &str) -> ServiceError {
        ServiceError::not_found(&format!("Shard {id} in stream {} does not exist.", self.name))
    }

    /// The open shard that takes this hash key.
    pub(super) fn shard_for(&mut self, hash_key: u128) -> Result<&mut Shard, ServiceError> {
        let name = &self.name;
        let mut open = self.shards.iter_mut().filter(|shard| shard.is_open());
        open.find(|shard| shard.hash_keys.contain(hash_key))
            .ok_or_else(|| ServiceError::not_found(&format!("Stream {name} has no open shard.")))
    }

    /// Closes a shard and opens two children; without a hash key, in its middle.
    pub(super) fn split(
        &mut self,
        id: &str,
        at: Option<u128>,
        now: Timestamp,
    ) -> Result<[ShardId; 2], ServiceError> {
        let parent = self.shard(id)?;
        let HashKeys { first, last } = parent.hash_keys;
        let at = at.unwrap_or(first + (last - first) / 2 + 1);
        if !parent.is_open() || at <= first || at > last {
            return Err(ServiceError::invalid(&format!("Shard {id} cannot be split at {at}.")));
        }
        let parents = vec![parent.id.clone()];
        let now = self.close(&parents, now);
        let low = self.open(HashKeys { first, last: at - 1 }, parents.clone(), now);
        let high = self.open(HashKeys { first: at, last }, parents, now);
        Ok([low, high])
    }

    /// Closes two neighbours and opens the child of both.
    pub(super) fn merge(
        &mut self,
        id: &str,
        adjacent: &str,
        now: Timestamp,
    ) -> Result<ShardId, ServiceError> {
        let (one, other) = (self.shard(id)?, self.shard(adjacent)?);
        let joined = one.hash_keys.joined(other.hash_keys);
        let Some(joined) = joined.filter(|_| one.is_open() && other.is_open()) else {
            let text = format!("Shards {id} and {adjacent} are not open neighbours.");
            return Err(ServiceError::invalid(&text));
        };
        let parents = vec![one.id.clone(), other.id.clone()];
        let now = self.close(&parents, now);
        Ok(self.open(joined, parents, now))
    }

    /// Closes these shards, and says when: later than any of them was opened, so that a child's
    /// sequence numbers follow its parents'.
    fn close(&mut self, ids: &[ShardId], now: Timestamp) -> Timestamp {
        let closing = || |shard: &&mut Shard| ids.contains(&shard.id);
        let opened = self.shards.iter_mut().filter(closing()).map(|shard| shard.created.0).max();
        let at = Timestamp(now.0.max(opened.unwrap_or(0) + 1));
        self.shards.iter_mut().filter(closing()).for_each(|shard| shard.closed = Some(at));
        at
    }

    fn open(&mut self, hash_keys: HashKeys, parents: Vec<ShardId>, now: Timestamp) -> ShardId {
        let index = self.shards_made;
        self.shards_made += 1;
        let id = ShardId::new(&format!("shardId-{index:012}"));
        self.shards.push(Shard {
            id: id.clone(),
            index,
            created: now,
            closed: None,
            parents,
            hash_keys,
            oldest: 1,
            records: VecDeque::new(),
        });
        id
    }

    /// The shards whose parent this is.
    pub(super) fn children<'a>(&'a self, id: &'a ShardId) -> impl Iterator<Item = &'a Shard> {
        self.shards.iter().filter(move |shard| shard.parents.contains(id))
    }

    /// The shards that a `ShardFilter` lets through.
    pub(super) fn filtered<'a>(
        &'a self,
        filter: &'a ShardFilter,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Shard> {
        let horizon = now.0 - RETENTION_HOURS * 3_600_000;
        let horizon = Timestamp(horizon.max(self.created.0));
        self.shards.iter().filter(move |shard| match filter {
            ShardFilter::FromTrimHorizon => shard.ends_after(horizon),
            ShardFilter::AtTrimHorizon => shard.created <= horizon && shard.ends_after(horizon),
            ShardFilter::AtLatest => shard.is_open(),
            ShardFilter::AfterShard(id) => shard.id.as_str() > id.as_str(),
            ShardFilter::AtTimestamp(at) => {
                shard.created <= (*at).max(horizon) && shard.ends_after((*at).max(horizon))
            }
            ShardFilter::FromTimestamp(from) => shard.ends_after((*from).max(horizon)),
        })
    }
}

/// The hash keys that a shard takes, both ends included.
#[derive(Clone, Copy)]
pub(super) struct HashKeys {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl HashKeys {
    const fn contain(self, key: u128) -> bool {
        self.first <= key && key <= self.last
    }

    fn joined(self, other: Self) -> Option<Self> {
        let (low, high) = if self.first < other.first { (self, other) } else { (other, self) };
        let touch = low.last.checked_add(1) == Some(high.first);
        touch.then_some(Self { first: low.first, last: high.last })
    }
}

/// The hash key of a partition key. Kinesis takes the MD5 of it; any hash spreads as well.
pub(super) fn hash_key(partition_key: &str) -> u128 {
    let digest = Sha256::digest(partition_key.as_bytes());
    digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// A shard; its records are counted from 1, and `oldest` is the first that is still there.
pub(super) struct Shard {
    pub(super) id: ShardId,
    index: u32,
    created: Timestamp,
    closed: Option<Timestamp>,
    pub(super) parents: Vec<ShardId>,
    pub(super) hash_keys: HashKeys,
    oldest: u64,
    records: VecDeque<StoredRecord>,
}

struct StoredRecord {
    arrival: Timestamp,
    partition_key: Box<str>,
    data: Bytes,
}

/// A record as `GetRecords` returns it.
pub(super) struct PageRecord {
    pub(super) number: SequenceNumber,
    pub(super) arrival: Timestamp,
    pub(super) partition_key: Box<str>,
    pub(super) data: Bytes,
}

/// What one `GetRecords` finds: the records, and where the next one goes on.
pub(super) struct Page {
    pub(super) records: Vec<PageRecord>,
    pub(super) next: u64,
    /// How old the first record that is left is; zero at the tip.
    pub(super) millis_behind: i64,
    /// The shard is closed and all of it was read.
    pub(super) ended: bool,
}

impl Shard {
    pub(super) const fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    fn ends_after(&self, at: Timestamp) -> bool {
        self.closed.is_none_or(|closed| closed >= at)
    }

    pub(super) fn push(
        &mut self,
        partition_key: &str,
        data: Bytes,
        arrival: Timestamp,
    ) -> Result<SequenceNumber, ServiceError> {
        if data.len() > MAX_RECORD || !(1..=256).contains(&partition_key.len()) {
            let text = "A record has at most 10 MiB and a partition key of 1 to 256 characters.";
            return Err(ServiceError::invalid(text));
        }
        if !self.is_open() {
            return Err(ServiceError::invalid(&format!("Shard {} is closed.", self.id)));
        }
        let number = self.number(self.next(), arrival);
        self.records.push_back(StoredRecord { arrival, partition_key: partition_key.into(), data });
        Ok(number)
    }

    /// The place after the newest record.
    pub(super) fn next(&self) -> u64 {
        self.oldest + self.records.len() as u64
    }

    /// The place of the first record that arrived at or after `time`.
    pub(super) fn place_at(&self, time: Timestamp) -> u64 {
        let earlier = self.records.iter().take_while(|record| record.arrival < time).count();
        self.oldest + earlier as u64
    }

    /// The place of a sequence number, whether or not its record is still there; none when the
    /// number is not of this shard.
    pub(super) fn place_of(&self, number: &str) -> Option<u64> {
        let prefix = self.number_prefix();
        let own = number.len() == SEQUENCE_DIGITS
            && number.starts_with(&prefix)
            && number.ends_with(&format!("{:010}", self.index));
        if !own {
            return None;
        }
        number.get(prefix.len()..prefix.len() + 18)?.parse().ok()
    }

    /// At most `limit` records from `place` on, within 10 MiB but at least one.
    pub(super) fn page(&self, place: u64, limit: usize, now: Timestamp) -> Page {
        // What was trimmed away is passed over without a word, as on AWS.
        let place = place.max(self.oldest);
        let skip = usize::try_from(place - self.oldest).unwrap_or(usize::MAX);
        let mut size = 0;
        let mut records = Vec::new();
        for record in self.records.iter().skip(skip).take(limit) {
            size += record.data.len();
            if size > MAX_PAGE && !records.is_empty() {
                break;
            }
            records.push(PageRecord {
                number: self.number(place + records.len() as u64, record.arrival),
                arrival: record.arrival,
                partition_key: record.partition_key.clone(),
                data: record.data.clone(),
            });
        }
        let left = self.records.get(skip.saturating_add(records.len()));
        let millis_behind = left.map_or(0, |record| (now.0 - record.arrival.0).max(1));
        let ended = left.is_none() && !self.is_open();
        Page { next: place + records.len() as u64, records, millis_behind, ended }
    }

    /// Forgets the oldest records, as retention does.
    pub(super) fn trim(&mut self, count: usize) {
        let count = count.min(self.records.len());
        self.records.drain(..count);
        self.oldest += count as u64;
    }

    pub(super) fn starting_number(&self) -> SequenceNumber {
        self.number(0, self.created)
    }

    pub(super) fn ending_number(&self) -> Option<SequenceNumber> {
        self.closed.map(|closed| self.number(self.next(), closed))
    }

    /// 56 digits, as long as the real ones: the shard's creation, the record's place, its arrival
    /// and the shard. It rises with the place, and a child's are above its parents'.
    fn number(&self, place: u64, arrival: Timestamp) -> SequenceNumber {
        let arrival = arrival.0.clamp(0, 9_999_999_999_999);
        let prefix = self.number_prefix();
        SequenceNumber::new(&format!("{prefix}{place:018}{arrival:013}{:010}", self.index))
    }

    fn number_prefix(&self) -> String {
        format!("49{:013}", self.created.0)
    }
}

const SEQUENCE_DIGITS: usize = 56;
