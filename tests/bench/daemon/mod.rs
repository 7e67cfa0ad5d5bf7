//! The release binary between a Kinesis endpoint and a search engine that only counts, each a process
//! of its own whose cost is reported apart.

pub(crate) mod bulk;
mod http;
pub(crate) mod kinesis;
mod process;
mod rig;
mod stores;

use std::fs;
use std::process::Command;
use std::time::Duration;

use self::kinesis::Plan;
use self::rig::{Backlog, Compression, Endpoint, Rig, backlog};
use crate::Options;
use crate::cpu::OneProcessor;
use crate::data::Shape;
use crate::report::{Daemon, Idle, Latency, Scaling, Store, median, say};
use crate::stage::Gunzip;

/// One row: what is read from how many shards, and how it is sent.
#[derive(Clone, Copy, Debug)]
struct Case {
    set: &'static str,
    shards: usize,
    compression: Compression,
    on: Processors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processors {
    /// One for all three processes: what an event costs.
    One,
    /// All of them: what the machine does, how much memory that takes …
    All,
    /// … and how long a record takes while there is little to do.
    AllAndPaced,
}
use Processors::{All, AllAndPaced, One};

const fn case(set: &'static str, shards: usize, compression: Compression, on: Processors) -> Case {
    Case { set, shards, compression, on }
}

const PLAIN: Compression = Compression::None;
const GZIP: Compression = Compression::Gzip;

const CASES: [Case; 17] = [
    case("vpc", 4, PLAIN, One),
    case("vpc", 4, GZIP, One),
    case("vpc_small", 4, PLAIN, One),
    case("cloudtrail", 4, PLAIN, One),
    case("cloudtrail", 4, GZIP, One),
    case("vpc", 1, PLAIN, AllAndPaced),
    case("vpc", 4, PLAIN, AllAndPaced),
    case("vpc", 16, PLAIN, AllAndPaced),
    case("vpc", 64, PLAIN, AllAndPaced),
    case("vpc", 4, GZIP, AllAndPaced),
    case("vpc", 64, GZIP, All),
    case("vpc_small", 4, PLAIN, All),
    case("cloudtrail", 1, PLAIN, All),
    case("cloudtrail", 4, PLAIN, All),
    case("cloudtrail", 16, PLAIN, All),
    case("cloudtrail", 64, PLAIN, All),
    case("cloudtrail", 4, GZIP, All),
];

const QUICK: [Case; 6] = [
    case("vpc", 4, PLAIN, One),
    case("vpc", 4, GZIP, One),
    case("cloudtrail", 4, PLAIN, One),
    case("cloudtrail", 4, GZIP, One),
    case("vpc", 4, PLAIN, AllAndPaced),
    case("vpc", 64, PLAIN, AllAndPaced),
];

/// Seconds of a paced run that do not count: what has had nothing to read asks once a second.
const WARM_UP: f64 = 2.0;

pub(crate) fn measure(options: &Options) -> Vec<Daemon> {
    let cases = if options.quick { &QUICK[..] } else { &CASES[..] };
    let cases = cases.iter().filter(|case| options.measures(case.set));
    cases.map(|case| case.measure(options)).collect()
}

impl Case {
    fn measure(&self, options: &Options) -> Daemon {
        let Self { set, shards, compression, on } = *self;
        let processors = if on == One { "one processor" } else { "all processors" };
        let how = compression.as_str();
        say(&format!("daemon: {set}, {shards} shards, compression {how}, {processors}"));
        let rounds = if options.quick { 3 } else { 5 };
        let plan = self.backlog(options);
        let records = plan.shape.make();
        let _one = (on == One).then(OneProcessor::take);
        // The yardstick is of the same seconds as what is measured with it.
        let run = |_| (Gunzip::of(&records).rate(), backlog(&plan, compression));
        let runs: Vec<(f64, Backlog)> = (0..rounds).map(run).collect();
        let of = |value: fn(&Backlog) -> f64| median(runs.iter().map(|(_, run)| value(run)));
        let events_per_second = of(|run| run.events / run.took);
        let shares = runs.iter().map(|(gunzip, run)| run.events / run.cpu / gunzip);
        Daemon {
            set,
            shards,
            compression: how,
            is_on_one: on == One,
            events_per_cpu_second: of(|run| run.events / run.cpu),
            share_of_gunzip: median(shares),
            events_per_second,
            peak_rss: runs.iter().map(|(_, run)| run.peak_rss).fold(0.0, f64::max),
            kinesis_share: of(|run| run.kinesis_cpu / run.cpu),
            bulk_share: of(|run| run.bulk_cpu / run.cpu),
            first: of(|run| run.first),
            latency: (on == AllAndPaced).then(|| self.latency(events_per_second / 10.0, options)),
        }
    }

    /// Enough that starting does not matter, and that memory fills as far as it does: some seconds of
    /// work, and more than a second of what each of 64 busy shards gets.
    fn backlog(&self, options: &Options) -> Plan {
        let shape = Shape::named(self.set).unwrap();
        let events = if self.set == "cloudtrail" { 250_000 } else { 2_500_000 };
        let events = if options.quick { events } else { events * 2 };
        // As long as the others, since it takes as much longer.
        let events = if self.compression == Compression::Gzip { events / 3 } else { events };
        Plan { shape, shards: self.shards, records: events / shape.events, pace: 0 }
    }

    /// How long each record takes from being there to being acknowledged, at so many events a second.
    fn latency(&self, events_per_second: f64, options: &Options) -> Latency {
        let seconds = WARM_UP + if options.quick { 8.0 } else { 20.0 };
        let shape = Shape::named(self.set).unwrap();
        let records_per_second = events_per_second / shape.events as f64;
        let records = (records_per_second * seconds) as usize;
        let pace = (1e9 / records_per_second) as u64;
        // Each is another, whose documents tell which.
        let shape = Shape { records, ..shape };
        let plan = Plan { shape, shards: self.shards, records, pace };
        let mut rig = Rig::start(&plan, self.compression, records);
        rig.wait(Endpoint::Kinesis, "reading");
        rig.kinesis.tell("go");
        let begun = rig.wait(Endpoint::Kinesis, "begun");
        rig.wait(Endpoint::Bulk, "done");
        rig.bulk.tell("tell");
        let told = rig.bulk.says("acknowledged", Duration::from_secs(10));
        let acknowledged = told.split(',').map(|time| time.parse::<u64>().unwrap());
        let steady = (0..).zip(acknowledged).skip((records_per_second * WARM_UP) as usize);
        let added = steady.map(|(record, acknowledged)| {
            let was_there = begun + record * pace;
            assert!(
                acknowledged > was_there,
                "record {record} was acknowledged before it was there"
            );
            Duration::from_nanos(acknowledged - was_there).as_secs_f64() * 1e3
        });
        Latency::of(added.collect(), events_per_second)
    }
}

/// What an event costs a daemon as its shards grow.
pub(crate) fn shards(options: &Options) -> Vec<Scaling> {
    let counts = if options.quick { vec![4, 64] } else { vec![4, 16, 64] };
    let cost = |shards: &usize| {
        let run = backlog(&case("vpc", *shards, PLAIN, All).backlog(options), PLAIN);
        run.cpu / run.events * 1e9
    };
    let rounds = if options.quick { 3 } else { 5 };
    let rounds: Vec<Vec<f64>> = (0..rounds).map(|_| counts.iter().map(cost).collect()).collect();
    let row = |(place, at)| Scaling {
        grows: "shards (daemon)",
        at,
        nanoseconds: median(rounds.iter().map(|round| round[place])),
        times: median(rounds.iter().map(|round| round[place] / round[0])),
    };
    counts.into_iter().enumerate().map(row).collect()
}

/// Into what keeps it: SQLite, and OpenSearch where that can be had.
pub(crate) fn stores(options: &Options) -> Vec<Store> {
    let mut rows = vec![stores::sqlite(options)];
    rows.extend(stores::opensearch(options));
    rows
}

/// What a daemon costs that has nothing to do.
pub(crate) fn idle(options: &Options) -> Idle {
    let shards = 16;
    say(&format!("daemon: idle, {shards} shards"));
    let shape = Shape::named("vpc").unwrap();
    let plan = Plan { shape, shards, records: 0, pace: 0 };
    let mut rig = Rig::start(&plan, Compression::None, 0);
    rig.wait(Endpoint::Kinesis, "reading");
    std::thread::park_timeout(Duration::from_secs(1));
    let watched = Duration::from_secs(if options.quick { 5 } else { 20 });
    let before = rig.daemon.cpu();
    std::thread::park_timeout(watched);
    let share = (rig.daemon.cpu() - before).as_secs_f64() / watched.as_secs_f64();
    Idle { share, binary: stripped() }
}

/// The size of the binary as packages have it, in MiB.
fn stripped() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logweir");
    let ran =
        Command::new("strip").arg("-o").arg(&path).arg(env!("CARGO_BIN_EXE_logweir")).status();
    assert!(ran.is_ok_and(|status| status.success()), "strip comes with a C compiler");
    fs::metadata(&path).unwrap().len() as f64 / f64::from(1 << 20)
}
