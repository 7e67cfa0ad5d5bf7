//! Kinesis: shards with records, their splits and merges, and calls that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use logweir::event::{SequenceNumber, ShardId, StreamKey, Timestamp};
use logweir::kinesis::{
    Admission, Call, CallError, Connect, FailureReason, FetchedRecord, ListedShard, Page,
    ShardCalls, StreamCalls, StreamFacts,
};
use logweir::lease::Position;

use crate::history::{Fault, Theme};
use crate::world::{Shared, World};

/// The name, ARN and creation time of the stream.
pub(crate) const KEY: &str = "s arn:aws:kinesis:eu-west-1:111122223333:stream/s 1";

/// Bytes of payload in one page, unless it is of one record: as in Kinesis' 10 MiB of the default
/// budget, with what decoding takes it is less than half of what this daemon may fetch.
const PAGE: usize = 350_000;

/// How long records are kept.
pub(crate) const RETENTION: Duration = Duration::from_secs(7 * 86_400);

const DIGITS: &str = "4966480000000000000000000000000000000000000000";

pub(crate) struct Stream {
    pub(crate) shards: Vec<Shard>,
    pub(crate) records: Vec<Record>,
    pub(crate) events: Vec<Event>,
    /// Bytes of payloads that daemons were given and have not let go of.
    handed_out: Arc<AtomicUsize>,
}

pub(crate) struct Shard {
    pub(crate) id: String,
    parents: Vec<usize>,
    /// By their places among all records.
    pub(crate) records: Vec<usize>,
    pub(crate) is_closed: bool,
    /// Records that the stream does not hold any more.
    pub(crate) trimmed: usize,
    /// Whether all of it has expired.
    pub(crate) is_gone: bool,
    /// How often somebody began to read it.
    pub(crate) readers: u64,
}

pub(crate) struct Record {
    pub(crate) payload: Bytes,
    pub(crate) arrival: Timestamp,
    pub(crate) is_decodable: bool,
    /// Those of a KPL aggregate.
    pub(crate) user_records: u32,
    pub(crate) events: Vec<usize>,
    /// Whether it was in the stream for longer than the retention.
    pub(crate) is_expired: bool,
}

pub(crate) struct Event {
    pub(crate) to: &'static [usize],
    pub(crate) is_refused: bool,
    pub(crate) is_poison: bool,
}

impl Stream {
    pub(crate) fn new(shards: usize) -> Self {
        let mut stream = Self {
            shards: Vec::new(),
            records: Vec::new(),
            events: Vec::new(),
            handed_out: Arc::default(),
        };
        (0..shards).for_each(|_| stream.open(Vec::new()));
        stream
    }

    fn open(&mut self, parents: Vec<usize>) {
        self.shards.push(Shard {
            id: format!("shardId-{:012}", self.shards.len()),
            parents,
            records: Vec::new(),
            is_closed: false,
            trimmed: 0,
            is_gone: false,
            readers: 0,
        });
    }

    /// Bytes of payloads that the daemon holds.
    pub(crate) fn handed_out(&self) -> usize {
        self.handed_out.load(Ordering::Relaxed)
    }

    fn open_shards(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|shard| !self.shards[*shard].is_closed).collect()
    }
}

/// A payload in the daemon's hands.
struct HandedOut {
    payload: Bytes,
    all: Arc<AtomicUsize>,
}

impl HandedOut {
    fn payload(record: &Record, all: &Arc<AtomicUsize>) -> Bytes {
        all.fetch_add(record.payload.len(), Ordering::Relaxed);
        Bytes::from_owner(Self { payload: record.payload.clone(), all: Arc::clone(all) })
    }
}

impl AsRef<[u8]> for HandedOut {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        self.all.fetch_sub(self.payload.len(), Ordering::Relaxed);
    }
}

/// The sequence number of a record, and with it the checkpoint behind it.
fn number(record: usize) -> String {
    format!("{DIGITS}{record:010}")
}

/// The record that a checkpoint names, and the user record of it.
pub(crate) fn place_of(checkpoint: &str) -> Option<(usize, Option<u32>)> {
    let (number, within) = match checkpoint.split_once('/') {
        Some((number, within)) => (number, Some(within.parse().ok()?)),
        None => (checkpoint, None),
    };
    Some((number.strip_prefix(DIGITS)?.parse().ok()?, within))
}

fn record_of(number: &SequenceNumber) -> usize {
    place_of(number.as_str()).unwrap().0
}

impl World {
    pub(crate) fn put(&mut self) {
        let open = self.stream.open_shards();
        let shard = *self.rng.choice(&open).unwrap();
        let record = self.record();
        self.stream.shards[shard].records.push(self.stream.records.len());
        self.stream.records.push(record);
    }

    pub(crate) fn split(&mut self) {
        let open = self.stream.open_shards();
        let shard = *self.rng.choice(&open).unwrap();
        self.stream.shards[shard].is_closed = true;
        self.stream.open(vec![shard]);
        self.stream.open(vec![shard]);
        self.happened(Fault::Split);
    }

    pub(crate) fn merge(&mut self) {
        let open = self.stream.open_shards();
        let [one, other, ..] = *open else { return };
        for shard in [one, other] {
            self.stream.shards[shard].is_closed = true;
        }
        self.stream.open(vec![one, other]);
        self.happened(Fault::Merge);
    }

    /// A checkpoint of a shard that is no later than so many records, in the words of the lease table;
    /// some are in the middle of an aggregate.
    pub(crate) fn earlier(&mut self, id: &str, records: usize) -> String {
        let shard = self.stream.shards.iter().find(|shard| shard.id == id).unwrap();
        let at = self.rng.usize(..=records);
        let Some(last) = at.checked_sub(1).map(|at| shard.records[at]) else {
            return "TRIM_HORIZON".to_owned();
        };
        match self.stream.records[last].user_records {
            0 => number(last),
            of => format!("{}/{}", number(last), self.rng.u32(..of)),
        }
    }

    fn kinesis_fault(&mut self) -> Option<(FailureReason, Duration)> {
        let any = |_| true;
        if self.hits(Fault::Throttle, any) {
            return Some((FailureReason::Throttled, Duration::ZERO));
        }
        if self.hits(Fault::KinesisError, any) {
            return Some((FailureReason::ServerError, Duration::ZERO));
        }
        let wait = Duration::from_secs(20);
        self.hits(Fault::LostAnswer, any).then_some((FailureReason::Timeout, wait))
    }

    fn latency(&mut self) -> Duration {
        let is_slow = self.hits(Fault::SlowKinesis, |_| true);
        // What takes long is seen as well with fewer calls.
        let is_long = matches!(self.plan.theme, Theme::Poison | Theme::ReadOnly) && !self.is_quiet;
        Duration::from_millis(if is_long {
            self.rng.u64(5_000..15_000)
        } else if is_slow {
            self.rng.u64(2_000..15_000)
        } else {
            self.rng.u64(5..150)
        })
    }
}

struct Simulated(Arc<Shared>);

struct SimulatedShard {
    world: Arc<Shared>,
    shard: usize,
    admission: Admission,
}

/// Asks the simulated stream.
pub(crate) fn connect(world: &Arc<Shared>) -> Connect {
    let world = Arc::clone(world);
    Arc::new(move |_, _| {
        let calls: Arc<dyn StreamCalls> = Arc::new(Simulated(Arc::clone(&world)));
        Box::pin(async { Ok(calls) })
    })
}

async fn call(world: &Shared, action: &'static str, of: u64) -> Result<(), CallError> {
    let (wait, fault) =
        world.step((action, of), |world| (world.latency(), world.kinesis_fault())).await;
    tokio::time::sleep(wait).await;
    let Some((reason, wait)) = fault else { return Ok(()) };
    tokio::time::sleep(wait).await;
    Err(CallError::played(action, reason))
}

impl StreamCalls for Simulated {
    fn region(&self) -> &str {
        "eu-west-1"
    }

    fn describe(&self) -> Call<'_, StreamFacts> {
        Box::pin(async {
            call(&self.0, "DescribeStreamSummary", 0).await?;
            let key_prefix = KEY.trim_end_matches('1').to_owned();
            let retention = RETENTION;
            Ok(StreamFacts { key: StreamKey::new(KEY), key_prefix, retention })
        })
    }

    fn shards(&self) -> Call<'_, Vec<ListedShard>> {
        Box::pin(async {
            call(&self.0, "ListShards", 0).await?;
            let world = self.0.lock();
            let shards = &world.stream.shards;
            let there = shards.iter().filter(|shard| !shard.is_gone);
            let listed = there.map(|shard| ListedShard {
                id: ShardId::new(&shard.id),
                parents: shard.parents.iter().map(|at| ShardId::new(&shards[*at].id)).collect(),
            });
            Ok(listed.collect())
        })
    }

    fn shard(&self, id: ShardId, admission: Admission) -> Box<dyn ShardCalls> {
        let world = Arc::clone(&self.0);
        let shards = &mut world.lock().stream.shards;
        let shard = shards.iter().position(|shard| shard.id == id.as_str()).unwrap();
        shards[shard].readers += 1;
        Box::new(SimulatedShard { world: Arc::clone(&self.0), shard, admission })
    }
}

impl ShardCalls for SimulatedShard {
    fn admission(&self) -> &Admission {
        &self.admission
    }

    fn iterator<'a>(&'a self, position: &'a Position) -> Call<'a, String> {
        Box::pin(async move {
            call(&self.world, "GetShardIterator of shard", self.shard as u64).await?;
            let world = self.world.lock();
            let records = &world.stream.shards[self.shard].records;
            let from = match position {
                Position::After(number) => record_of(number) + 1,
                Position::Within(number, _) => record_of(number),
                Position::TrimHorizon | Position::At(_) | Position::ShardEnd => 0,
            };
            Ok(records.partition_point(|record| *record < from).to_string())
        })
    }

    fn page<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Page> {
        Box::pin(async move {
            drop(self.admission.take());
            let shard = self.shard as u64;
            call(&self.world, "GetRecords of shard", shard).await?;
            let from: usize = iterator.parse().unwrap();
            let found = self.world.step(("a page of shard", shard), |world| {
                if world.hits(Fault::ExpiredIterator, |_| true) {
                    return None;
                }
                let is_empty = world.hits(Fault::EmptyPage, |_| true);
                Some(self.range(world, from, if is_empty { 0 } else { limit }))
            });
            let Some((from, to)) = found.await else {
                return Err(CallError::played("GetRecords", FailureReason::ExpiredIterator));
            };
            let length = self.length(&self.world.lock(), (from, to));
            self.admission.admit(Some(length)).await;
            Ok(self.read(&self.world.lock(), (from, to)))
        })
    }
}

impl SimulatedShard {
    /// The records of a page that begins there.
    fn range(&self, world: &World, from: usize, limit: i32) -> (usize, usize) {
        let shard = &world.stream.shards[self.shard];
        let from = from.max(shard.trimmed);
        let (mut to, mut length) = (from, 0);
        while to < shard.records.len() && to - from < usize::try_from(limit).unwrap() {
            length += world.stream.records[shard.records[to]].payload.len();
            if length > PAGE && to > from {
                break;
            }
            to += 1;
        }
        (from, to)
    }

    /// Bytes of the answer with these records.
    fn length(&self, world: &World, (from, to): (usize, usize)) -> usize {
        let records = &world.stream.shards[self.shard].records[from..to];
        let lengths = records.iter().map(|at| world.stream.records[*at].payload.len());
        lengths.map(|length| length * 4 / 3 + 200).sum()
    }

    fn read(&self, world: &World, (from, to): (usize, usize)) -> Page {
        let shard = &world.stream.shards[self.shard];
        let records = shard.records[from..to].iter().map(|at| {
            let record = &world.stream.records[*at];
            FetchedRecord {
                payload: HandedOut::payload(record, &world.stream.handed_out),
                sequence_number: SequenceNumber::new(&number(*at)),
                arrival: record.arrival,
            }
        });
        let is_end = to == shard.records.len();
        Page {
            records: records.collect(),
            permit: self.admission.take(),
            next: (!(is_end && shard.is_closed)).then(|| to.to_string()),
            behind: if is_end { Duration::ZERO } else { Duration::from_secs(1) },
        }
    }
}
