//! Runs the daemons of one history, one after the other, each on a runtime of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logweir::app::{App, Encoders, Outcome, Outside};
use logweir::config::{Config, DestinationConfig};
use logweir::dead_letter::requests::{Order, Requests};
use logweir::event::{DestinationId, ShardId, StreamKey};
use logweir::lease::LeaseTable;
use logweir::shutdown::Shutdown;
use logweir::state::State;
use logweir::units::{ByteSize, Period};

use crate::cluster;
use crate::disk::SimulatedDisk;
use crate::history::{End, Fault, Happening};
use crate::stream;
use crate::world::Shared;

/// After faults have ended, everything must be done by then.
const PATIENCE: Duration = Duration::from_secs(3_600);

const CONFIG: &str = r#"
[stream.s]
region = "eu-west-1"
[state.sqlite]
path = "/nowhere/state.db"
[destination.search.opensearch]
url = "http://search.example:9200"
bulk = { max_body = "64KiB", max_wait = "500ms" }
[destination.soc.opensearch]
url = "http://soc.example:9200"
bulk = { max_body = "64KiB", max_wait = "500ms" }
[[route]]
name = "both"
log_group = "both/*"
parse = "plain"
to = ["search", "soc"]
index = "both-%Y.%m.%d"
[[route]]
name = "app"
log_group = "app/*"
parse = "plain"
to = ["search"]
index = "app-%Y.%m.%d"
[[route]]
name = "soc"
log_group = "soc/*"
parse = "auto"
to = ["soc"]
index = "soc-%Y.%m.%d"
[[route]]
name = "noise"
log_group = "noise/*"
discard = true
[[route]]
name = "other"
parse = "auto"
to = ["search"]
index = "other-%Y.%m.%d"
"#;

thread_local! {
    static PARSED: Config = Config::parse("simulated", CONFIG, |_| None).unwrap();
}

/// What came of a history.
pub(crate) struct History {
    pub(crate) steps: u64,
    pub(crate) hash: u64,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// Lives through the history of a seed.
pub(crate) fn live(seed: u64) -> History {
    let world = Shared::new(seed);
    let disk = Arc::new(SimulatedDisk::new(&world));
    let mut life = 0;
    while !run(&world, &disk, seed.wrapping_mul(1_000).wrapping_add(life)) {
        life += 1;
    }
    let mut world = world.lock();
    if world.violation.is_none() {
        disk.with(|connection| world.check_end(connection));
    }
    History {
        steps: world.steps,
        hash: world.hash,
        counts: std::mem::take(&mut world.counts),
        violation: world.violation.clone(),
        trace: world.trace.iter().cloned().collect(),
    }
}

/// One daemon; whether it was the last.
fn run(world: &Arc<Shared>, disk: &Arc<SimulatedDisk>, seed: u64) -> bool {
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let is_last = runtime.block_on(async {
        let later = world.lock().rng.u64(..30);
        world.begin(Duration::from_secs(later));
        let is_last = daemon(world, disk).await;
        world.end();
        is_last
    });
    drop(runtime);
    is_last || world.lock().violation.is_some()
}

async fn daemon(world: &Arc<Shared>, disk: &Arc<SimulatedDisk>) -> bool {
    let shutdown = Shutdown::default();
    let end = prepare(world);
    let disk: Arc<SimulatedDisk> = Arc::clone(disk);
    let state = State::on(disk).unwrap();
    let outside = Outside {
        state: state.clone(),
        connect: stream::connect(world),
        carry: cluster::carry(world),
        encoders: Encoders::tasks(),
        listener: None,
    };
    let app = App::start_in(config(world, end), shutdown.clone(), outside).unwrap();
    let ledger = Arc::clone(&app.view().ledger);
    world.lock().probe = Some((Arc::clone(&ledger), app.memory().clone()));
    let directed = direct(world, &state, (end, &shutdown));
    let living = async { tokio::join!(app.finish(), directed) };
    let ended = tokio::select! {
        biased;
        () = world.stop.notified() => None,
        (outcome, is_last) = living => Some((outcome, is_last)),
    };
    let mut world = world.lock();
    world.check_daemon();
    for (name, count) in fates(&ledger.snapshot()) {
        world.add(&name, count);
    }
    let Some((outcome, is_last)) = ended else { return false };
    if outcome == Outcome::Drained {
        let accounts = ledger.snapshot();
        if let Some(to) = (0..2).find(|to| accounts.in_flight(DestinationId(*to)) > 0) {
            world.violated(format!("drained with events in flight to {to}"));
        }
    }
    world.count(match outcome {
        Outcome::Drained => Fault::Drain,
        Outcome::CutShort => Fault::CutShort,
    });
    if is_last && outcome == Outcome::CutShort {
        world.violated("the last drain was cut short".to_owned());
    }
    is_last
}

/// How this daemon is to end; none for the last one.
fn prepare(world: &Shared) -> Option<End> {
    let mut world = world.lock();
    let end = if world.is_quiet { None } else { world.plan.ends.pop_front() };
    if let Some(End::Crash(step)) = end {
        world.crash_at = Some(world.steps + step);
    }
    end
}

fn config(world: &Shared, end: Option<End>) -> Config {
    let world = world.lock();
    let mut config = PARSED.with(Config::clone);
    config.memory.body = ByteSize(world.plan.body);
    config.memory.fetch = ByteSize(4 << 20);
    let is_hurried = matches!(end, Some(End::Term(_, false)));
    config.shutdown.deadline = Period(Duration::from_secs(if is_hurried { 1 } else { 1_200 }));
    if end.is_some() {
        config.dead_letters.max_size = world.plan.max_letters.map(ByteSize);
    }
    for (_, destination) in &mut config.destinations {
        if let DestinationConfig::OpenSearch(search) = destination {
            search.timeout = Period(Duration::from_secs(30));
        }
    }
    config
}

/// Asks for replays, deletes leases, and stops the daemon when it is time; whether for good.
async fn direct(world: &Arc<Shared>, state: &State, (end, stop): (Option<End>, &Shutdown)) -> bool {
    let began = world.lock().now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (now, asked) = {
            let mut world = world.lock();
            (world.now(), world.asked.pop_front())
        };
        match asked {
            Some(Happening::Replay) => ask_for_replay(world, state).await,
            Some(Happening::LoseLease) => lose_lease(world, state).await,
            _ => {}
        }
        let (is_complete, quiet) = {
            let world = world.lock();
            (world.is_complete(), world.plan.quiet)
        };
        let is_term = match end {
            Some(End::Term(after, _)) => now >= began + after,
            // It is to die, and lives on when it is quiet before: with its limits it may never end.
            Some(End::Crash(_)) => now >= quiet,
            None => false,
        };
        if is_term {
            stop_now(world, stop, now >= quiet);
            return false;
        }
        if end.is_none() && is_complete {
            stop.drain();
            return true;
        }
        if now > quiet + PATIENCE {
            world.lock().violated("no progress long after the faults have ended".to_owned());
            world.stop.notify_one();
        }
    }
}

/// A full letter store may hold a drain for ever once it is quiet.
fn stop_now(world: &Shared, stop: &Shutdown, is_quiet: bool) {
    let is_limited = world.lock().plan.max_letters.is_some();
    if is_quiet && is_limited { stop.cut_short() } else { stop.drain() }
}

async fn ask_for_replay(world: &Shared, state: &State) {
    if Requests::new(state.clone()).ask(&Order::default()).await.is_ok() {
        world.lock().count(Fault::Replay);
    }
}

async fn lose_lease(world: &Shared, state: &State) {
    let shard = {
        let mut world = world.lock();
        let shards = world.stream.shards.len();
        let at = world.rng.usize(..shards);
        let shard = world.stream.shards[at].id.clone();
        world.oracle.deleted.insert(shard.clone());
        shard
    };
    let leases = LeaseTable::new(state.clone());
    if leases.remove(&StreamKey::new(stream::KEY), &ShardId::new(&shard)).await.is_ok() {
        world.lock().count(Fault::LeaseLost);
    }
}

fn fates(accounts: &logweir::telemetry::ledger::Accounts) -> Vec<(String, u64)> {
    let mut all = vec![("fate: read".to_owned(), accounts.events_read)];
    all.extend(accounts.delivered.iter().map(|((_, how), n)| (format!("fate: {how}"), *n)));
    let lettered = accounts.dead_lettered.iter();
    all.extend(lettered.map(|((_, why), n)| (format!("fate: letter, {why}"), *n)));
    let undecodable = accounts.records_undecodable.values().sum();
    all.push(("fate: letter, undecodable".to_owned(), undecodable));
    all.push(("fate: filtered".to_owned(), accounts.filtered.values().sum()));
    all.push(("fate: abandoned".to_owned(), accounts.abandoned.values().sum()));
    all.extend(accounts.replayed.iter().map(|((_, how), n)| (format!("replayed: {how}"), *n)));
    all
}
