//! Runs the daemons of one history, one after the other, each on a runtime of its own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logweir::app::{App, Encoders, Outcome, Outside};
use logweir::config::{Config, DestinationConfig};
use logweir::dead_letter::requests::{Order, Requests};
use logweir::shutdown::Shutdown;
use logweir::state::State;
use logweir::units::{ByteSize, Period};

use crate::cluster;
use crate::counts;
use crate::disk::SimulatedDisk;
use crate::history::{End, Fault, Happening, Theme};
use crate::payload::LONGEST;
use crate::stream;
use crate::told::Listener;
use crate::watch::{FULL, Watch};
use crate::world::{Line, MIN_FAULTS, MIN_STEPS, Shared, World};

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
parse = "plain"
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

/// Destinations of each route.
const FAN_OUT: [u64; 5] = [2, 1, 1, 0, 1];

thread_local! {
    /// What a task of this history panicked with.
    pub(crate) static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
    static PARSED: Config = Config::parse("simulated", CONFIG, |_| None).unwrap();
}

/// What came of a history.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    pub(crate) hash: u64,
    pub(crate) counts: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<Line>,
}

/// Lives through the history of a seed.
pub(crate) fn live(seed: u64) -> History {
    PANICKED.take();
    let listener = Listener::default();
    let _listening = tracing::subscriber::set_default(listener.clone());
    let world = Shared::new(seed);
    let disk = Arc::new(SimulatedDisk::new(&world));
    let mut life = 0;
    while !run(&world, &disk, (seed.wrapping_mul(1_000), life)) {
        life += 1;
    }
    let mut world = world.lock();
    if world.violation.is_none() {
        disk.with(|connection| world.check_end(connection));
    }
    let told = std::mem::take(&mut *listener.0.lock().unwrap());
    told.counts.into_iter().for_each(|(what, count)| world.add(what, count));
    if let Some(panic) = PANICKED.take() {
        world.violation = Some(format!("panicked: {panic}"));
    } else if let Some(bug) = told.bug {
        world.violated(format!("told of a bug: {bug}"));
    } else if world.violation.is_none() && (world.steps < MIN_STEPS || world.faults < MIN_FAULTS) {
        let (steps, faults) = (world.steps, world.faults);
        world.violated(format!("a history of {steps} steps and {faults} faults is none"));
    }
    History {
        steps: world.steps,
        faults: world.faults,
        hash: world.hash,
        counts: std::mem::take(&mut world.counts),
        violation: world.violation.clone(),
        trace: world.trace.iter().copied().collect(),
    }
}

/// One daemon; whether it was the last.
fn run(world: &Arc<Shared>, disk: &Arc<SimulatedDisk>, (seed, life): (u64, u64)) -> bool {
    fastrand::seed(seed.wrapping_add(life));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let is_last = runtime.block_on(async {
        let later = down_time(&mut world.lock(), life);
        world.begin(later);
        let is_last = daemon(world, disk).await;
        world.end();
        is_last
    });
    drop(runtime);
    is_last || world.lock().violation.is_some()
}

/// How long no daemon has run before this one.
fn down_time(world: &mut World, life: u64) -> Duration {
    world.forget_told();
    let seconds = Duration::from_secs(world.rng.u64(..30));
    if life != 1 || world.is_quiet || !world.plan.expires {
        return seconds;
    }
    let later = stream::RETENTION + Duration::from_secs(86_400);
    world.postpone(later);
    world.expire();
    world.happened(Fault::Expired);
    later
}

async fn daemon(world: &Arc<Shared>, disk: &Arc<SimulatedDisk>) -> bool {
    let shutdown = Shutdown::default();
    let end = prepare(world);
    let state = State::on(Arc::<SimulatedDisk>::clone(disk)).unwrap();
    let outside = Outside {
        state: state.clone(),
        connect: stream::connect(world),
        carry: cluster::carry(world),
        encoders: Encoders::tasks(),
        listener: None,
    };
    let app = App::start_in(config(world, end), shutdown.clone(), outside).unwrap();
    let registry = app.view().registry.clone();
    let ledger = Arc::clone(&app.view().ledger);
    let document = if world.lock().plan.theme == Theme::Heavy { LONGEST + 4_096 } else { 0 };
    world.lock().watch = Some(Watch::new(ledger, app.memory().clone(), &FAN_OUT, document));
    let directed = direct(world, (&state, disk), (end, &shutdown));
    let living = async { tokio::join!(app.finish(), directed) };
    let ended = tokio::select! {
        biased;
        () = world.stop.notified() => None,
        (outcome, is_last) = living => Some((outcome, is_last)),
    };
    let retries = counts::retries(&registry.gather());
    let mut world = world.lock();
    world.look_at_daemon();
    let watch = world.watch.take().unwrap();
    world.add(FULL, watch.full());
    let fates = counts::fates(&watch.accounts());
    fates.into_iter().chain(retries).for_each(|(what, count)| world.add(what, count));
    let Some((outcome, is_last)) = ended else { return false };
    match (outcome, watch.look_at_end()) {
        (Outcome::Drained, Err(what)) => world.violated(what),
        (Outcome::CutShort, _) if is_last => {
            world.violated("the last drain was cut short".to_owned());
        }
        (Outcome::Drained | Outcome::CutShort, _) => {}
    }
    world.happened(match outcome {
        Outcome::Drained => Fault::Drain,
        Outcome::CutShort => Fault::CutShort,
    });
    is_last
}

/// How this daemon is to end; none for the last one.
fn prepare(world: &Shared) -> Option<End> {
    let mut world = world.lock();
    world.end = if world.is_quiet { None } else { world.plan.ends.pop_front() };
    match world.end {
        Some(End::Crash(step)) => world.crash_at = Some(world.steps + step),
        Some(End::CrashInReplay(_)) => world.asked.push_back(Happening::Replay),
        Some(End::Term(..)) | None => {}
    }
    world.end
}

fn config(world: &Shared, end: Option<End>) -> Config {
    let world = world.lock();
    let mut config = PARSED.with(Config::clone);
    config.memory.body = ByteSize(world.plan.body);
    config.memory.fetch = ByteSize(2 << 20);
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

/// Asks for replays, takes leases away, and stops the daemon when it is time; whether for good.
async fn direct(
    world: &Arc<Shared>,
    (state, disk): (&State, &SimulatedDisk),
    (end, stop): (Option<End>, &Shutdown),
) -> bool {
    let began = world.lock().now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (now, asked) = {
            let mut world = world.lock();
            (world.now(), world.asked.pop_front())
        };
        match asked {
            Some(Happening::Replay) => ask_for_replay(world, state).await,
            Some(Happening::LoseLease) => lose_lease(world, disk, Fault::LeaseLost),
            Some(Happening::TakeLease) => lose_lease(world, disk, Fault::LeaseTaken),
            _ => {}
        }
        let (is_complete, is_quiet, quiet) = {
            let world = world.lock();
            (world.is_complete(), world.is_quiet, world.plan.quiet)
        };
        let is_term = match end {
            Some(End::Term(after, _)) => now >= began + after,
            // It is to die, and lives on when it is quiet before: with its limits it may never end.
            Some(End::Crash(_) | End::CrashInReplay(_)) => is_quiet,
            None => false,
        };
        if is_term {
            stop_now(world, stop, is_quiet);
            return false;
        }
        if end.is_none() && is_complete {
            stop.drain();
            return true;
        }
        if is_quiet && now > quiet + PATIENCE {
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
        world.lock().happened(Fault::Replay);
    }
}

/// Somebody else deletes a lease, or moves it to a record that was read long ago.
fn lose_lease(world: &Shared, disk: &SimulatedDisk, how: Fault) {
    let mut world = world.lock();
    let leased = world.leased();
    if leased.is_empty() {
        return;
    }
    let (shard, read) = leased[world.rng.usize(..leased.len())].clone();
    let to = (how == Fault::LeaseTaken).then(|| world.earlier(&shard, read));
    disk.with(|connection| match &to {
        Some(to) => {
            let sql = "UPDATE leases SET checkpoint = ?1, updated = updated + 1 WHERE shard = ?2";
            connection.execute(sql, [to, &shard]).unwrap()
        }
        None => connection.execute("DELETE FROM leases WHERE shard = ?1", [&shard]).unwrap(),
    });
    world.lose_lease(&shard, to);
    world.happened(how);
}
