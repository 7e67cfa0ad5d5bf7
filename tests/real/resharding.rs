//! Streams that are split and merged while they are read, and several streams in one process, by
//! daemons that are stopped in the middle: nothing may be missing or doubled.
//!
//! With LOGWEIR_LONG=1 (`tests/run --all`) a million events in place of 20,000.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::future::Future;

use fastrand::Rng;
use logweir::event::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::documents::{Documents, Found};
use crate::envelopes::{LogEvent, record};
use crate::metrics::{Metrics, conservation};
use crate::rig::{Daemon, Rig, route, stream};
use crate::servers::{Emulator, Kinesis, PutAt};

/// The first two are the stream's when it is made. The first is split into the next two; the upper
/// one of these and the second are merged into the last.
const SHARDS: [&str; 5] = [
    "shardId-000000000000",
    "shardId-000000000001",
    "shardId-000000000002",
    "shardId-000000000003",
    "shardId-000000000004",
];

/// After a split and a merge, a child with its parents.
const FAMILY: [(&str, &[&str]); 3] =
    [(SHARDS[2], &[SHARDS[0]]), (SHARDS[3], &[SHARDS[0]]), (SHARDS[4], &[SHARDS[1], SHARDS[3]])];

/// Table, region and name of three streams: two are called the same, two are in one region.
const THREE: [(&str, &str, &str); 3] = [
    ("near", "us-east-1", "central"),
    ("far", "ap-northeast-1", "central"),
    ("more", "us-east-1", "more"),
];

/// Records in one request.
const REQUEST: usize = 8;

fn is_long() -> bool {
    env::var("LOGWEIR_LONG").as_deref() == Ok("1")
}

fn size(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

fn parents(shard: &str) -> &'static [&'static str] {
    FAMILY.iter().find(|(child, _)| *child == shard).map_or(&[], |(_, parents)| parents)
}

/// Puts events of one route into one stream, numbered in the order in which they are put.
struct Feed {
    kinesis: Kinesis,
    stream: &'static str,
    route: &'static str,
    /// The number of the first.
    first: usize,
    events_per_record: usize,
    rng: Rng,
    /// For each record, where it went.
    put_at: Vec<PutAt>,
}

impl Feed {
    fn new(kinesis: Kinesis, stream: &'static str, route: &'static str, first: usize) -> Self {
        let (events_per_record, rng) = (size(100, 2_500), Rng::with_seed(9));
        Self { kinesis, stream, route, first, events_per_record, rng, put_at: Vec::new() }
    }

    fn put(&self) -> usize {
        self.put_at.len() * self.events_per_record
    }

    /// Puts until there were so many events in all.
    async fn put_until(&mut self, events: usize) {
        while self.put() < events {
            let missing = (events - self.put()).div_ceil(self.events_per_record);
            let records: Vec<_> = (0..missing.min(REQUEST)).map(|n| self.next_record(n)).collect();
            let records: Vec<_> =
                records.iter().map(|(key, data)| (key.as_str(), data.as_slice())).collect();
            self.put_at.extend(self.kinesis.put_records(self.stream, &records).await);
        }
    }

    /// The key and content of the record that comes `ahead` of those that were put.
    fn next_record(&mut self, ahead: usize) -> (String, Vec<u8>) {
        let first = self.first + (self.put_at.len() + ahead) * self.events_per_record;
        let (now, rng) = (Timestamp::now().0, &mut self.rng);
        let events = (first..first + self.events_per_record).map(|number| {
            let [from, to, port] = [rng.u8(..).into(), rng.u8(..).into(), rng.u16(1024..)];
            let (packets, time) = (rng.u8(1..), now / 1000);
            let message = format!(
                "2 123456789010 eni-0a1b2c3d 10.0.1.{from} 10.0.2.{to} {port} 443 6 {packets} \
                 {} {} {time} ACCEPT OK",
                u32::from(packets) * 52,
                time - 60
            );
            LogEvent::new(number, now, &message)
        });
        (format!("key-{first}"), record(self.route, &events.collect::<Vec<_>>()))
    }

    /// The numbers of the events that each shard got.
    fn numbers_by_shard(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut numbers = BTreeMap::<_, Vec<_>>::new();
        for (record, at) in self.put_at.iter().enumerate() {
            let first = self.first + record * self.events_per_record;
            numbers.entry(&*at.shard).or_default().extend(first..first + self.events_per_record);
        }
        numbers
    }
}

/// The number in an id of `LogEvent::new`.
fn number(id: &str) -> Option<usize> {
    id.strip_prefix("38")?.parse().ok()
}

#[tokio::test]
async fn a_split_a_merge_and_sigterm_lose_and_double_nothing() {
    let Some(kinesis) = Kinesis::start_own(Emulator::KinesisLocal).await else { return };
    let (events, name) = (size(20_000, 1_000_000), "resharded");
    kinesis.create_stream(name, 2).await;
    let mut feed = Feed::new(kinesis.in_region(kinesis.region()), name, "flow", 0);
    let routes = route("flow", "parse = \"vpc_flow\"", "flow-%Y.%m.%d");
    let rig = Rig::with_documents(&stream(&kinesis, name, name), &routes);
    let (documents, since) = (rig.documents(), Instant::now());

    feed.put_until(events / 5).await;
    let first = rig.start().await;
    tokio::join!(feed.put_until(events * 2 / 5), kinesis.split(name, SHARDS[0]));
    feed.put_until(events / 2).await;
    documents.wait_for(events / 4).await;
    let before =
        stop_in_the_middle(&documents, first, Box::pin(feed.put_until(events * 3 / 5))).await;
    tokio::join!(feed.put_until(events * 4 / 5), kinesis.merge(name, SHARDS[3], SHARDS[1]));
    let second = rig.start().await;
    feed.put_until(events).await;
    documents.wait_for(events).await;
    let metrics = second.settled((events - before.documents) as u64).await;
    let seconds = since.elapsed().as_secs_f64();
    let errors = second.errors();
    let log = [before.log, second.stop().await].concat();

    let found = documents.find(events, number);
    let (missing, doubled) = (found.missing(), found.doubled);
    println!("{events} events in {seconds:.1} s: {missing} missing, {doubled} doubled");
    assert_eq!((missing, doubled, feed.put(), errors), (0, 0, events, vec![]));
    assert_all_created(&metrics, events - before.documents);
    assert_children_came_after_their_parents(&feed, &found);
    assert_children_were_begun_after_their_parents(&log);
    assert_leases_are_at_the_ends(&rig, &feed);
}

/// What the first daemon has left.
struct Before {
    documents: usize,
    log: Vec<Value>,
}

/// Stops it by SIGTERM, with events in flight, while the stream goes on. It must leave nothing half
/// done: all that it has read has arrived.
async fn stop_in_the_middle(
    documents: &Documents,
    daemon: Daemon,
    goes_on: impl Future<Output = ()>,
) -> Before {
    let stop = async {
        let metrics = daemon.at_work().await;
        conservation(&metrics);
        assert_eq!(daemon.errors(), Vec::<Value>::new());
        let in_flight = metrics.sum("logweir_events_in_flight", &[]);
        println!("SIGTERM at {} documents, {in_flight} events in flight", documents.count());
        daemon.stop().await
    };
    let (log, ()) = tokio::join!(stop, goes_on);
    let documents = documents.count();
    println!("drained to {documents} documents");
    Before { documents, log }
}

/// Nothing was read twice, for the daemon before this one has drained.
fn assert_all_created(metrics: &Metrics, events: usize) {
    let delivered = metrics.by("logweir_events_delivered_total", "result");
    assert_eq!(delivered, [("created".to_owned(), events as u64)].into());
}

/// Each event of a parent has arrived before any of its children.
fn assert_children_came_after_their_parents(feed: &Feed, found: &Found) {
    let numbers = feed.numbers_by_shard();
    assert!(numbers.keys().eq(&SHARDS), "every shard got events: {:?}", numbers.keys());
    let places = |shard| numbers[shard].iter().map(|number| found.places[*number].unwrap());
    for (child, parents) in FAMILY {
        let first = places(child).min().unwrap();
        for parent in parents {
            let last = places(parent).max().unwrap();
            assert!(last < first, "{parent} ends at {last}, {child} begins at {first}");
        }
    }
    let counts = numbers.iter().map(|(shard, numbers)| format!("{shard}: {}", numbers.len()));
    println!("{}", counts.collect::<Vec<_>>().join(", "));
}

/// By the log of both daemons.
fn assert_children_were_begun_after_their_parents(log: &[Value]) {
    let mut ended = BTreeSet::new();
    let mut begun = BTreeSet::new();
    for line in log {
        let shard = line["shard"].as_str().unwrap_or_default();
        match line["message"].as_str() {
            Some("shard read to its end") => assert!(ended.insert(shard), "{shard} ends twice"),
            Some("reading shard") => {
                for parent in parents(shard) {
                    assert!(ended.contains(parent), "{shard} is begun before {parent} has ended");
                }
                begun.insert(shard);
            }
            _ => {}
        }
    }
    assert!(begun.iter().eq(&SHARDS), "{begun:?}");
    assert!(ended.iter().eq(&[SHARDS[0], SHARDS[1], SHARDS[3]]), "{ended:?}");
}

/// Parents were read to their end, the others to their last record, and no gap is feared.
fn assert_leases_are_at_the_ends(rig: &Rig, feed: &Feed) {
    let listed = rig.run(&["leases", "list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["possible_gaps"], json!([]));
    let leases = listed["leases"].as_array().unwrap().iter().map(|lease| {
        let parents = lease["parents"].as_array().unwrap().iter();
        let parents: BTreeSet<_> = parents.map(|parent| parent.as_str().unwrap()).collect();
        (lease["shard"].as_str().unwrap(), (lease["checkpoint"].as_str().unwrap(), parents))
    });
    let expected = SHARDS.map(|shard| {
        let is_parent = FAMILY.iter().any(|(_, parents)| parents.contains(&shard));
        let last = feed.put_at.iter().rfind(|at| at.shard == shard).unwrap();
        let checkpoint = if is_parent { "SHARD_END" } else { &last.sequence_number };
        (shard, (checkpoint, parents(shard).iter().copied().collect()))
    });
    assert_eq!(leases.collect::<BTreeMap<_, _>>(), BTreeMap::from(expected));
}

#[tokio::test]
async fn three_streams_in_one_process_lose_and_double_nothing() {
    let Some(kinesis) = Kinesis::start_own(Emulator::KinesisLocal).await else { return };
    let each = size(6_000, 60_000);
    let (mut feeds, mut streams, mut routes) = (Vec::new(), String::new(), String::new());
    for (number, (table, region, name)) in THREE.into_iter().enumerate() {
        let kinesis = kinesis.in_region(region);
        kinesis.create_stream(name, 2).await;
        streams += &stream(&kinesis, table, name);
        routes += &route(table, "parse = \"vpc_flow\"", table);
        feeds.push(Feed::new(kinesis, name, table, number * each));
    }
    let rig = Rig::with_documents(&streams, &routes);
    let (documents, since, events) = (rig.documents(), Instant::now(), THREE.len() * each);

    put_until(&mut feeds, each / 2).await;
    let first = rig.start().await;
    documents.wait_for(events / 4).await;
    let before =
        stop_in_the_middle(&documents, first, Box::pin(put_until(&mut feeds, each * 3 / 4))).await;
    let second = rig.start().await;
    put_until(&mut feeds, each).await;
    documents.wait_for(events).await;
    let metrics = second.settled((events - before.documents) as u64).await;
    let seconds = since.elapsed().as_secs_f64();
    assert_eq!(second.errors(), Vec::<Value>::new());
    second.stop().await;

    let found = documents.find(events, number);
    let (missing, doubled) = (found.missing(), found.doubled);
    println!("{events} events in {seconds:.1} s: {missing} missing, {doubled} doubled");
    assert_eq!((missing, doubled), (0, 0));
    assert_all_created(&metrics, events - before.documents);
    let expected = THREE.map(|(table, region, _)| ((table.to_owned(), region.to_owned()), each));
    assert_eq!(documents.by_index_and_region(), BTreeMap::from(expected));
}

async fn put_until(feeds: &mut [Feed], events_of_each: usize) {
    for feed in feeds {
        feed.put_until(events_of_each).await;
    }
}
