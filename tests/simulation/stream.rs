//! Kinesis: shards with records of known events, their splits and merges, and calls that fail.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logweir::event::{SequenceNumber, ShardId, StreamKey, Timestamp};
use logweir::kinesis::{
    Admission, Call, CallError, Connect, FailureReason, FetchedRecord, ListedShard, Page,
    ShardCalls, StreamCalls, StreamFacts,
};
use logweir::lease::Position;

use crate::history::Fault;
use crate::world::{Shared, World};

/// The name, ARN and creation time of the stream.
pub(crate) const KEY: &str = "s arn:aws:kinesis:eu-west-1:111122223333:stream/s 1";

const DIGITS: &str = "4966480000000000000000000000000000000000000000";

/// What a route sends where: log group, route's clusters.
const GROUPS: [(&str, &[usize]); 5] =
    [("both/x", &[0, 1]), ("app/x", &[0]), ("soc/x", &[1]), ("noise/x", &[]), ("other", &[0])];

pub(crate) struct Stream {
    pub(crate) shards: Vec<Shard>,
    pub(crate) records: Vec<Record>,
    pub(crate) events: Vec<Event>,
}

pub(crate) struct Shard {
    pub(crate) id: String,
    parents: Vec<usize>,
    /// By their places among all records.
    pub(crate) records: Vec<usize>,
    pub(crate) is_closed: bool,
}

pub(crate) struct Record {
    payload: Bytes,
    arrival: Timestamp,
    pub(crate) is_decodable: bool,
    pub(crate) events: Vec<usize>,
}

pub(crate) struct Event {
    pub(crate) to: &'static [usize],
    pub(crate) is_refused: bool,
    pub(crate) is_poison: bool,
}

impl Stream {
    pub(crate) fn new(shards: usize) -> Self {
        let mut stream = Self { shards: Vec::new(), records: Vec::new(), events: Vec::new() };
        (0..shards).for_each(|_| stream.open(Vec::new()));
        stream
    }

    fn open(&mut self, parents: Vec<usize>) {
        let id = format!("shardId-{:012}", self.shards.len());
        self.shards.push(Shard { id, parents, records: Vec::new(), is_closed: false });
    }

    fn open_shards(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|shard| !self.shards[*shard].is_closed).collect()
    }

    /// The checkpoint at which everything of a shard is read.
    pub(crate) fn end(&self, shard: &Shard) -> Option<String> {
        if shard.is_closed {
            return Some("SHARD_END".to_owned());
        }
        shard.records.last().map(|record| number(*record))
    }
}

/// The sequence number of a record; of a checkpoint, its record.
fn number(record: usize) -> String {
    format!("{DIGITS}{record:010}")
}

pub(crate) fn record_of(checkpoint: &str) -> Option<usize> {
    checkpoint.split('/').next()?.strip_prefix(DIGITS)?.parse().ok()
}

impl World {
    pub(crate) fn put(&mut self) {
        let open = self.stream.open_shards();
        let shard = *self.rng.choice(&open).unwrap();
        let now = Timestamp::now();
        let (mut events, mut is_decodable) = (Vec::new(), true);
        let payload = match self.rng.u8(..20) {
            0 => {
                is_decodable = false;
                format!("garbage {}", self.stream.records.len())
            }
            1 => r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#.to_owned(),
            _ => {
                let (group, to) = GROUPS[self.rng.usize(..GROUPS.len())];
                let mut log = Vec::new();
                for _ in 0..self.rng.usize(1..9) {
                    let event = self.stream.events.len();
                    events.push(event);
                    let is_refused = self.rng.u64(..100) < self.plan.refused_percent;
                    let is_poison = self.rng.u8(..60) == 0;
                    self.stream.events.push(Event { to, is_refused, is_poison });
                    // Most have an id by CloudWatch Logs, for others one is made.
                    let id = if event.is_multiple_of(7) { format!("e{event}") } else { format!("{event:056}") };
                    let time = now.0 - self.rng.i64(0..2) * 86_400_000;
                    let long = if event.is_multiple_of(9) { "x".repeat(1500) } else { String::new() };
                    log.push(format!(r#"{{"id":"{id}","timestamp":{time},"message":"event {event} {long}"}}"#));
                }
                let log = log.join(",");
                format!(r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"{group}","logStream":"s","subscriptionFilters":["f"],"logEvents":[{log}]}}"#)
            }
        };
        self.stream.shards[shard].records.push(self.stream.records.len());
        let payload = Bytes::from(payload);
        self.stream.records.push(Record { payload, arrival: now, is_decodable, events });
    }

    pub(crate) fn split(&mut self) {
        let open = self.stream.open_shards();
        let shard = *self.rng.choice(&open).unwrap();
        self.stream.shards[shard].is_closed = true;
        self.stream.open(vec![shard]);
        self.stream.open(vec![shard]);
        self.count(Fault::Split);
    }

    pub(crate) fn merge(&mut self) {
        let open = self.stream.open_shards();
        let [one, other, ..] = *open else { return };
        for shard in [one, other] {
            self.stream.shards[shard].is_closed = true;
        }
        self.stream.open(vec![one, other]);
        self.count(Fault::Merge);
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
        Duration::from_millis(if is_slow {
            self.rng.u64(2_000..15_000)
        } else {
            self.rng.u64(5..150)
        })
    }
}

struct Simulated(Arc<Shared>);

struct SimulatedShard {
    world: Arc<Shared>,
    id: ShardId,
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

async fn call(world: &Shared, action: &'static str, of: &str) -> Result<(), CallError> {
    let (wait, fault) = world
        .step(|| format!("{action} {of}"), |world| (world.latency(), world.kinesis_fault()))
        .await;
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
            call(&self.0, "DescribeStreamSummary", "").await?;
            let key_prefix = KEY.trim_end_matches('1').to_owned();
            let retention = Duration::from_secs(7 * 86_400);
            Ok(StreamFacts { key: StreamKey::new(KEY), key_prefix, retention })
        })
    }

    fn shards(&self) -> Call<'_, Vec<ListedShard>> {
        Box::pin(async {
            call(&self.0, "ListShards", "").await?;
            let world = self.0.lock();
            let shards = &world.stream.shards;
            let listed = shards.iter().map(|shard| ListedShard {
                id: ShardId::new(&shard.id),
                parents: shard.parents.iter().map(|at| ShardId::new(&shards[*at].id)).collect(),
            });
            Ok(listed.collect())
        })
    }

    fn shard(&self, id: ShardId, admission: Admission) -> Box<dyn ShardCalls> {
        let world = Arc::clone(&self.0);
        let shards = &world.lock().stream.shards;
        let shard = shards.iter().position(|shard| shard.id == id.as_str()).unwrap();
        Box::new(SimulatedShard { world: Arc::clone(&self.0), id, shard, admission })
    }
}

impl ShardCalls for SimulatedShard {
    fn admission(&self) -> &Admission {
        &self.admission
    }

    fn iterator<'a>(&'a self, position: &'a Position) -> Call<'a, String> {
        Box::pin(async move {
            call(&self.world, "GetShardIterator", &format!("{} {position}", self.id)).await?;
            let world = self.world.lock();
            let records = &world.stream.shards[self.shard].records;
            let from = match position {
                Position::After(number) => record_of(number.as_str()).unwrap() + 1,
                Position::Within(number, _) => record_of(number.as_str()).unwrap(),
                Position::TrimHorizon | Position::At(_) | Position::ShardEnd => 0,
            };
            Ok(records.partition_point(|record| *record < from).to_string())
        })
    }

    fn page<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Page> {
        Box::pin(async move {
            const ACTION: &str = "GetRecords";
            drop(self.admission.take());
            let at = format!("{} from {iterator}", self.id);
            call(&self.world, ACTION, &at).await?;
            let from: usize = iterator.parse().unwrap();
            let found = self.world.step(
                || format!("page of {at}"),
                |world| {
                    if world.hits(Fault::ExpiredIterator, |_| true) {
                        return None;
                    }
                    let is_empty = world.hits(Fault::EmptyPage, |_| true);
                    Some(self.records(world, from, if is_empty { 0 } else { limit }))
                },
            );
            let Some((records, next, behind)) = found.await else {
                return Err(CallError::played(ACTION, FailureReason::ExpiredIterator));
            };
            let length = records.iter().map(|record| record.payload.len() * 4 / 3 + 200).sum();
            self.admission.admit(Some(length)).await;
            Ok(Page { records, permit: self.admission.take(), next, behind })
        })
    }
}

impl SimulatedShard {
    fn records(
        &self,
        world: &World,
        from: usize,
        limit: i32,
    ) -> (Vec<FetchedRecord>, Option<String>, Duration) {
        let shard = &world.stream.shards[self.shard];
        let to = shard.records.len().min(from + usize::try_from(limit).unwrap());
        let records = shard.records[from..to].iter().map(|at| {
            let record = &world.stream.records[*at];
            let sequence_number = SequenceNumber::new(&number(*at));
            FetchedRecord {
                payload: record.payload.clone(),
                sequence_number,
                arrival: record.arrival,
            }
        });
        let is_end = to == shard.records.len();
        let behind = if is_end { Duration::ZERO } else { Duration::from_secs(1) };
        (records.collect(), (!(is_end && shard.is_closed)).then(|| to.to_string()), behind)
    }
}
