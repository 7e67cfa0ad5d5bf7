//! Into what really keeps documents: a SQLite file, and an OpenSearch that does far more work than we do.
//!
//! How much was delivered the daemon's own metrics say here, since nobody else counts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::kinesis::Plan;
use super::process::{Process, cpu_of};
use super::rig::daemon;
use crate::Options;
use crate::cpu::monotonic;
use crate::data::Shape;
use crate::report::{Store, say};
use crate::servers::OpenSearch;

/// How long a run may take: OpenSearch takes some ten thousand documents a second.
const PATIENCE: Duration = Duration::from_secs(180);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) fn sqlite(options: &Options) -> Store {
    say("daemon: into SQLite");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.db");
    let destination = format!("[destination.search.sqlite]\npath = \"{}\"\n", path.display());
    let events = if options.quick { 200_000 } else { 500_000 };
    run("SQLite", folder.path(), (&destination, events), || Duration::ZERO)
}

/// None where it cannot be had, which was said then.
pub(super) fn opensearch(options: &Options) -> Option<Store> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let search = runtime.block_on(OpenSearch::start())?;
    say("daemon: into OpenSearch");
    let url = search.url();
    let destination = format!("[destination.search.opensearch]\nurl = \"{url}\"\nreplicas = 0\n");
    let events = if options.quick { 100_000 } else { 500_000 };
    let folder = tempfile::tempdir().unwrap();
    Some(run("OpenSearch", folder.path(), (&destination, events), cpu_of_java))
}

fn run(
    into: &'static str,
    folder: &Path,
    (destination, events): (&str, usize),
    theirs: impl Fn() -> Duration,
) -> Store {
    let shape = Shape::named("vpc").unwrap();
    let plan = Plan { shape, shards: 4, records: events / shape.events, pace: 0 };
    let kinesis = Process::of_ours("kinesis", &plan.words());
    let stream = kinesis.says("listening", PATIENCE);
    let theirs_before = theirs();
    let mut daemon = daemon(folder, &stream, destination);
    let asked = kinesis.says("asked", PATIENCE).parse::<u64>().unwrap();
    let deadline = asked + PATIENCE.as_nanos() as u64;
    let log = folder.join("log");
    while delivered(&log).unwrap_or(0) < events as u64 {
        let log = || fs::read_to_string(&log).unwrap();
        assert!(!daemon.has_ended(), "the daemon has ended:\n{}", log());
        assert!(monotonic() < deadline, "it does not get through:\n{}", log());
        std::thread::park_timeout(LOOK_AGAIN);
    }
    let took = Duration::from_nanos(monotonic() - asked).as_secs_f64();
    let cpu = daemon.cpu().as_secs_f64();
    Store {
        into,
        events_per_cpu_second: events as f64 / cpu,
        events_per_second: events as f64 / took,
        peak_rss: daemon.peak_memory(),
        theirs: (theirs() - theirs_before).as_secs_f64() / cpu,
    }
}

/// Events that the daemon has delivered by now, once it listens.
fn delivered(log: &Path) -> Option<u64> {
    let log = fs::read_to_string(log).ok()?;
    let (_, address) = log.split_once("listening for /metrics and /health address=")?;
    let address = address.split_whitespace().next()?;
    let mut page = String::new();
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    stream.read_to_string(&mut page).ok()?;
    let counts = page.lines().filter(|line| line.starts_with("logweir_events_delivered_total{"));
    counts.map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// What every Java below this process has worked.
fn cpu_of_java() -> Duration {
    let own = std::process::id().to_string();
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let javas = pids.filter(|pid| parent_of(pid).is_some_and(|(name, _)| name == "java"));
    let ours = javas.filter(|pid| {
        let mut at = pid.clone();
        while let Some((_, parent)) = parent_of(&at) {
            if parent == own {
                return true;
            }
            at = parent;
        }
        false
    });
    ours.filter_map(|pid| cpu_of(&pid)).sum()
}

/// The name of a process, and who started it.
fn parent_of(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
    let parent = fields.split_ascii_whitespace().nth(1)?;
    Some((name.to_owned(), parent.to_owned()))
}
