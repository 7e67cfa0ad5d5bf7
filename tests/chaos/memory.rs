//! Shards full of records of the largest size, bombs among them, and a destination that stalls:
//! reading stops, and the process does not grow.
//!
//! Emulators take no records of 10 MiB, so the stream is at the endpoint of `logweir demo`.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use logweir::demo::endpoint::Endpoint;
use logweir::event::ShardId;
use tokio::time::{Instant, sleep};

use crate::bulk::is_bulk;
use crate::daemon::Daemon;
use crate::proxy::Fault;
use crate::rig::{Outcome, Rig, Servers};

const SHARDS: u32 = 16;

/// Of one record, and in all 10 MiB when they are compressed.
const EVENTS: usize = 20;
const MESSAGE: usize = 690_000;

/// What DESIGN §1.4 allows the process.
const MOST_MEMORY: u64 = 256 << 20;

/// Within which deliveries are at full speed again.
const SOON: Duration = Duration::from_secs(10);

/// How long all that waits may take then.
const PATIENCE: Duration = Duration::from_secs(240);

/// The memory allocator's settings, as the unit has them for the daemon.
fn allocator() -> Vec<(&'static str, String)> {
    let unit = include_str!("../../systemd/logweir.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("Environment=MALLOC_")).unwrap();
    let settings = line.split(" MALLOC_").map(|setting| setting.split_once('=').unwrap());
    settings
        .map(|(name, value)| match name {
            "ARENA_MAX" => ("MALLOC_ARENA_MAX", value.to_owned()),
            "MMAP_THRESHOLD_" => ("MALLOC_MMAP_THRESHOLD_", value.to_owned()),
            other => panic!("what is {other}?"),
        })
        .collect()
}

/// A record of some hundred KiB that would be 200 MiB.
fn bomb() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let zeros = vec![b'0'; 1 << 20];
    for _ in 0..200 {
        gzip.write_all(&zeros).unwrap();
    }
    gzip.finish().unwrap()
}

/// It compresses by a quarter, and the same again is too far away for gzip to see.
fn noise() -> String {
    (0..MESSAGE).map(|_| fastrand::alphanumeric()).collect()
}

/// Puts one record of the largest size and some bombs into every shard.
fn fill(rig: &mut Rig, endpoint: &Endpoint, bombs: usize) {
    let shards = endpoint.open_shards(rig.name).unwrap();
    for (number, shard) in shards.iter().enumerate() {
        if number < bombs {
            endpoint.put_in(rig.name, shard, bomb()).unwrap();
            rig.undecodable += 1;
        }
        let (_, record) = rig.ledger.records(EVENTS).remove(0);
        assert!((9 << 20..=10 << 20).contains(&record.len()), "{} bytes", record.len());
        let number = endpoint.put_in(rig.name, shard, record).unwrap();
        rig.ledger.put_at(shard.as_str(), number.as_str());
    }
}

/// The largest lag of a shard, in seconds.
async fn lag(daemon: &Daemon) -> f64 {
    let (_, page) = daemon.get("/metrics").await;
    let lags = page.lines().filter(|line| line.starts_with("logweir_shard_lag_seconds{"));
    let lags = lags.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    lags.fold(0.0, f64::max)
}

/// The destination answers nothing for ten minutes (one).
pub(crate) async fn backpressure(servers: Arc<Servers>) -> Outcome {
    let endpoint = Endpoint::start(1).await.unwrap();
    endpoint.create_stream("backpressure", SHARDS).unwrap();
    let engine = Arc::clone(&servers.search);
    let mut rig = Rig::on(&servers, "backpressure", engine, &endpoint.url()).await;
    rig.destination = "timeout = \"20s\"\n".to_owned();
    rig.variables = allocator();
    rig.ledger.text = noise();
    fill(&mut rig, &endpoint, 4);
    if servers.long {
        fill(&mut rig, &endpoint, SHARDS as usize);
    }
    let stalled = Duration::from_secs(servers.size(60, 600));
    rig.search.plan(|request| is_bulk(request).then_some(Fault::Stalled(Duration::from_secs(25))));
    let daemon = rig.daemon().await;
    let began = Instant::now();
    while began.elapsed() < stalled {
        sleep(Duration::from_secs(20).min(stalled - began.elapsed())).await;
        let (peak, lag) = (daemon.peak_memory() >> 20, lag(&daemon).await);
        rig.say(&format!(
            "stalled for {:.0?}: {peak} MiB at most, lag {lag:.0} s",
            began.elapsed()
        ));
    }
    let (struck, ended) = (rig.search.calm(), Instant::now());
    let behind = lag(&daemon).await;
    assert!(struck > 0 && behind > 1.0, "{struck} requests stalled, lag {behind} s");
    let metrics = daemon.metrics().await;
    let leases = ["held", "lost"].map(|of| metrics.sum(&lease_metric(of), &[]));
    assert_eq!(leases, [u64::from(SHARDS), 0], "leases held and lost");
    let pace = pace(&daemon, rig.ledger.put_so_far()).await;
    rig.say(&format!("delivers again after {:.1} s, {pace}", pace.first.as_secs_f64()));
    rig.settled(&daemon, ended).await;
    let peak = daemon.peak_memory();
    rig.say(&format!("{} MiB at most, {struck} requests stalled", peak >> 20));
    let mut outcome = rig.finish(daemon, ended).await;
    if peak > MOST_MEMORY {
        outcome.broken = Some(format!("{} MiB, of 256 that it may take", peak >> 20));
    } else if !pace.is_full_at_once() {
        outcome.broken = Some(format!("it does not go on as fast as it can: {pace}"));
    }
    outcome
}

/// How deliveries went on when nothing stalled any more.
struct Pace {
    /// Until the first.
    first: Duration,
    /// From then until the last.
    rest: Duration,
    /// How many there were in the first ten seconds of that, and in all of it.
    soon: u64,
    all: u64,
}

impl Pace {
    /// Whether the first ten seconds were at least half as busy as all of it.
    fn is_full_at_once(&self) -> bool {
        let share = (SOON.as_secs_f64() / self.rest.as_secs_f64()).min(1.0);
        self.soon as f64 >= 0.5 * share * self.all as f64
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, rest) = (self.all, self.rest.as_secs_f64());
        write!(f, "{} events in the {SOON:.0?} from then on, {all} in {rest:.1} s", self.soon)
    }
}

/// Watches deliveries until so many events in all have been delivered.
async fn pace(daemon: &Daemon, events: usize) -> Pace {
    let began = Instant::now();
    let delivered = async || daemon.metrics().await.sum("logweir_events_delivered_total", &[]);
    let (before, mut soon, mut all, mut first) = (delivered().await, 0, 0, None);
    while before + all < events as u64 {
        assert!(began.elapsed() < PATIENCE, "{all} of {events} events after {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
        all = delivered().await - before;
        if all > 0 && first.get_or_insert_with(Instant::now).elapsed() <= SOON {
            soon = all;
        }
    }
    let first = first.unwrap_or(began);
    Pace { first: first - began, rest: first.elapsed(), soon, all }
}

/// One of two destinations stalls, with more waiting for it than fits into memory: the shards that
/// feed the other one go on.
pub(crate) async fn other_shards(servers: Arc<Servers>) -> Outcome {
    let endpoint = Endpoint::start(1).await.unwrap();
    endpoint.create_stream("other_shards", 4).unwrap();
    let engine = Arc::clone(&servers.search);
    let mut rig = Rig::on(&servers, "other_shards", engine, &endpoint.url()).await;
    rig.destination = "timeout = \"20s\"\n".to_owned();
    rig.tables = format!(
        "[memory]\nfetch = \"56MiB\"\n\n[destination.free.opensearch]\nurl = \"{}\"\n\n\
         [[route]]\nname = \"free\"\nlog_group = \"/chaos/free\"\nparse = \"plain\"\n\
         to = [\"free\"]\nindex = \"other_shards-%Y.%m.%d\"\n\n",
        rig.engine.url()
    );
    // For longer than all of it takes: in the end a stalled request is carried out.
    rig.search
        .plan(|request| is_bulk(request).then_some(Fault::Stalled(Duration::from_secs(3_600))));
    let shards = endpoint.open_shards(rig.name).unwrap();
    let (small, noise) = (rig.ledger.text.clone(), noise());
    let put = |rig: &mut Rig, route, text: &str, shards: &[ShardId], events| {
        (rig.ledger.route, rig.ledger.text) = (route, text.to_owned());
        for ((_, record), shard) in
            rig.ledger.records(events).into_iter().zip(shards.iter().cycle())
        {
            let number = endpoint.put_in(rig.name, shard, record).unwrap();
            rig.ledger.put_at(shard.as_str(), number.as_str());
        }
    };
    // 100 MiB for the one that stalls.
    put(&mut rig, "chaos", &noise, &shards[..2], 10 * EVENTS);
    let daemon = rig.daemon().await;
    daemon.metrics_when("stalled", |_| rig.search.struck() > 0).await;
    let (rounds, each) = (servers.size(5, 50), 1_000);
    for round in 1..=rounds {
        put(&mut rig, "free", &small, &shards[2..], each);
        rig.delivered_at_least(round * each).await;
    }
    let free = rig.delivered().await;
    assert_eq!(free, rounds * each, "the other destination has taken something");
    rig.say(&format!("{free} events of the other shards delivered meanwhile"));
    assert!(rig.search.calm() > 0);
    rig.finish(daemon, Instant::now()).await
}

fn lease_metric(of: &str) -> String {
    let total = if of == "lost" { "_total" } else { "" };
    format!("logweir_leases_{of}{total}")
}
