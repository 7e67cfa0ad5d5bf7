//! The Kinesis endpoint: a process that answers with records it has prepared in base64, so that it
//! costs next to nothing, and needs none of what the daemon is made of.
//!
//! As Kinesis does, a page has at most 10,000 records and 10 MiB. Unlike it there is no limit of 2 MB/s a
//! shard: what the daemon can take is what is measured.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::http::{Answer, Request, serve};
use crate::cpu::monotonic;
use crate::data::{Maker, Shape};

/// The stream as the configuration and the requests call it.
pub(super) const STREAM: &str = "bench";

const MOST_BYTES: usize = 10 << 20;

/// What sequence numbers begin with: 56 digits in all.
const SEQUENCE: &str = "496500000000000000000000000000000000";

const ARRIVAL: i64 = 1_764_010_000;

/// What there is to read, and when.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    pub(super) shards: usize,
    /// Records in all; the distinct ones of the shape again and again, where there are not as many.
    pub(super) records: usize,
    /// Nanoseconds from one record to the next, in turn to each shard; 0 for a backlog, which is all there
    /// from the beginning.
    pub(super) pace: u64,
}

struct Server {
    plan: Plan,
    /// `"Data":"…"` of each distinct record, and how many bytes it holds.
    data: Vec<(Bytes, usize)>,
    /// When the first record is there.
    begun: OnceLock<u64>,
    was_asked: AtomicBool,
    /// Shards that were not read from yet.
    unread: AtomicUsize,
    is_read: Vec<AtomicBool>,
}

impl Plan {
    /// As arguments of the process.
    pub(super) fn words(&self) -> Vec<String> {
        let Shape { name, events, records, log_groups, padding, .. } = self.shape;
        let numbers = [events, records, log_groups, padding, self.shards, self.records];
        let mut words = vec![name.to_owned()];
        words.extend(numbers.iter().map(usize::to_string));
        words.push(self.pace.to_string());
        words
    }

    fn read(words: &[String]) -> Option<Self> {
        let [name, numbers @ .., pace] = words else { return None };
        let numbers: Vec<usize> = numbers.iter().map_while(|word| word.parse().ok()).collect();
        let [events, distinct, log_groups, padding, shards, records] = numbers[..] else {
            return None;
        };
        let named = Shape::named(name)?;
        let shape = Shape { events, records: distinct, log_groups, padding, ..named };
        Some(Self { shape, shards, records, pace: pace.parse().ok()? })
    }
}

/// The process: runs until its standard input ends. `go` there lets paced records begin.
pub(crate) fn run(words: &[String]) {
    let plan = Plan::read(words).expect("not the arguments of the kinesis endpoint");
    let mut maker = Maker::new(plan.shape);
    let distinct = plan.shape.records.min(plan.records);
    let data = (0..distinct).map(|number| {
        let record = maker.record(number);
        (format!("\"Data\":\"{}\"", BASE64_STANDARD.encode(&record)).into(), record.len())
    });
    let server = Server {
        data: data.collect(),
        begun: OnceLock::new(),
        was_asked: AtomicBool::new(false),
        unread: AtomicUsize::new(plan.shards),
        is_read: (0..plan.shards).map(|_| AtomicBool::new(false)).collect(),
        plan,
    };
    if server.plan.pace == 0 {
        server.begun.get_or_init(monotonic);
    }
    serve(Arc::new(server), Server::answer, |_, _| {}, Server::told);
}

impl Server {
    fn told(&self, line: &str) {
        assert_eq!(line, "go");
        println!("begun {}", self.begun.get_or_init(monotonic));
    }

    fn answer(&self, request: &Request) -> Answer {
        if !self.was_asked.swap(true, Ordering::Relaxed) {
            println!("asked {}", monotonic());
        }
        let (_, operation) = request.target.split_once('.').expect("a call to Kinesis");
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let body = match operation {
            "DescribeStreamSummary" => self.summary(),
            "ListShards" => self.shards(),
            "GetShardIterator" => self.iterator(&asked),
            "GetRecords" => return self.records(&asked),
            other => panic!("the daemon is not expected to call {other}"),
        };
        answer(vec![body.to_string().into()])
    }

    fn summary(&self) -> Value {
        json!({"StreamDescriptionSummary": {
            "StreamName": STREAM,
            "StreamARN": format!("arn:aws:kinesis:eu-west-1:111122223333:stream/{STREAM}"),
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1_700_000_000.0,
            "EnhancedMonitoring": [],
            "OpenShardCount": self.plan.shards,
        }})
    }

    fn shards(&self) -> Value {
        let shard = |number: usize| {
            json!({
                "ShardId": format!("shardId-{number:012}"),
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
                "SequenceNumberRange": {"StartingSequenceNumber": sequence_number(0)},
            })
        };
        json!({"Shards": (0..self.plan.shards).map(shard).collect::<Vec<_>>()})
    }

    fn iterator(&self, asked: &Value) -> Value {
        let shard = asked["ShardId"].as_str().unwrap().strip_prefix("shardId-").unwrap();
        let shard: usize = shard.parse().unwrap();
        let after = asked["StartingSequenceNumber"].as_str();
        let place =
            after.map_or(0, |number| number[SEQUENCE.len()..].parse::<usize>().unwrap() + 1);
        json!({"ShardIterator": format!("{shard}-{place}")})
    }

    fn records(&self, asked: &Value) -> Answer {
        let (shard, place) = asked["ShardIterator"].as_str().unwrap().split_once('-').unwrap();
        let (shard, place): (usize, usize) = (shard.parse().unwrap(), place.parse().unwrap());
        let limit = asked["Limit"].as_u64().unwrap_or(10_000) as usize;
        self.note_read(shard);
        let there = self.there(shard);
        let (mut next, mut bytes) = (place, 0);
        let mut body = vec![Bytes::new()];
        while next < there && next - place < limit {
            let (data, size) = &self.data[(next * self.plan.shards + shard) % self.data.len()];
            if bytes + size > MOST_BYTES && next > place {
                break;
            }
            bytes += size;
            let comma = if next == place { "" } else { "," };
            let number = sequence_number(next);
            body.push(
                format!(
                    "{comma}{{\"ApproximateArrivalTimestamp\":{ARRIVAL}.0,\"PartitionKey\":\"0\",\
                     \"SequenceNumber\":\"{number}\","
                )
                .into(),
            );
            body.extend([data.clone(), Bytes::from_static(b"}")]);
            next += 1;
        }
        let behind = if next < there { 60_000 } else { 0 };
        body[0] = format!(
            "{{\"MillisBehindLatest\":{behind},\"NextShardIterator\":\"{shard}-{next}\",\"Records\":["
        )
        .into();
        body.push(Bytes::from_static(b"]}"));
        answer(body)
    }

    /// How many records of a shard are there by now.
    fn there(&self, shard: usize) -> usize {
        let Plan { shards, records, pace, .. } = self.plan;
        let Some(begun) = self.begun.get() else { return 0 };
        let passed = monotonic().saturating_sub(*begun).checked_div(pace);
        let all = passed.map_or(records, |passed| records.min(passed as usize + 1));
        all.saturating_sub(shard).div_ceil(shards)
    }

    /// Says when every shard is being read.
    fn note_read(&self, shard: usize) {
        let is_first = !self.is_read[shard].swap(true, Ordering::Relaxed);
        if is_first && self.unread.fetch_sub(1, Ordering::Relaxed) == 1 {
            println!("reading {}", monotonic());
        }
    }
}

fn answer(body: Vec<Bytes>) -> Answer {
    Answer { content_type: "application/x-amz-json-1.1", body }
}

fn sequence_number(place: usize) -> String {
    format!("{SEQUENCE}{place:020}")
}
