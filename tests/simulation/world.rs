//! Everything outside the daemons of one history: one plain state, its time, its trace.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use logweir::app::Memory;
use logweir::event::{RouteId, Timestamp};
use logweir::telemetry::ledger::Ledger;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::history::{Fault, Happening, Plan};
use crate::oracle::Oracle;
use crate::stream::Stream;

/// 2027-01-15, in the middle of a day.
const BEGIN: i64 = 1_800_014_400_000;

const TRACE: usize = 60;

thread_local! {
    static EPOCH: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The world of one history, shared by what plays its parts.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Told when the daemon is to be dropped where it stands.
    pub(crate) stop: Notify,
    wall: AtomicI64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) stream: Stream,
    pub(crate) clusters: [Cluster; 2],
    pub(crate) oracle: Oracle,
    pub(crate) counts: BTreeMap<String, u64>,
    /// What the driver is to carry out.
    pub(crate) asked: VecDeque<Happening>,
    pub(crate) is_quiet: bool,
    pub(crate) is_mended: bool,
    pub(crate) probe: Option<(Arc<Ledger>, Memory)>,
    pub(crate) violation: Option<String>,
    pub(crate) crashed: bool,
    pub(crate) crash_at: Option<u64>,
    pub(crate) steps: u64,
    pub(crate) trace: VecDeque<String>,
    pub(crate) hash: u64,
    active: Vec<Active>,
    /// The virtual time at which this daemon began.
    base: Duration,
}

struct Active {
    fault: Fault,
    until: Duration,
    one_in: u64,
    which: usize,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        let world = World {
            stream: Stream::new(plan.shards),
            clusters: [Cluster::new(0), Cluster::new(1)],
            oracle: Oracle::default(),
            counts: BTreeMap::new(),
            asked: VecDeque::new(),
            is_quiet: false,
            is_mended: false,
            probe: None,
            violation: None,
            crashed: false,
            crash_at: None,
            steps: 0,
            trace: VecDeque::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            active: Vec::new(),
            base: Duration::ZERO,
            rng,
            plan,
        };
        let (world, stop) = (Mutex::new(world), Notify::new());
        Arc::new(Self { world, stop, wall: AtomicI64::new(BEGIN) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// One step: never returns where the daemon dies at it.
    pub(crate) async fn step<R>(
        &self,
        what: impl FnOnce() -> String,
        act: impl FnOnce(&mut World) -> R,
    ) -> R {
        match self.try_step(what, act) {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    /// The same where waiting is impossible: none when the daemon is dead.
    pub(crate) fn try_step<R>(
        &self,
        what: impl FnOnce() -> String,
        act: impl FnOnce(&mut World) -> R,
    ) -> Option<R> {
        let mut world = self.lock();
        if world.is_over() {
            return None;
        }
        self.advance(&mut world);
        world.note(what());
        let result = if world.is_over() { None } else { Some(act(&mut world)) };
        if world.is_over() {
            self.stop.notify_one();
            return None;
        }
        result
    }

    /// A daemon begins to live, `later` than the last one ended.
    pub(crate) fn begin(self: &Arc<Self>, later: Duration) {
        let mut world = self.lock();
        world.base = world.now() + later;
        EPOCH.set(Some(Instant::now()));
        world.crashed = false;
        let (shared, base) = (Arc::clone(self), world.base);
        let began = Instant::now();
        Timestamp::simulate(move || {
            let millis = (base + began.elapsed()).as_millis();
            Timestamp(shared.wall.load(Ordering::Relaxed) + i64::try_from(millis).unwrap())
        });
    }

    /// Keeps the time at which a daemon ended, before its runtime goes.
    pub(crate) fn end(&self) {
        let mut world = self.lock();
        world.base = world.now();
        world.probe = None;
        EPOCH.set(None);
    }

    /// Lets happen what is due.
    fn advance(&self, world: &mut World) {
        let now = world.now();
        while world.plan.happenings.front().is_some_and(|(at, _)| *at <= now) {
            let (_, happening) = world.plan.happenings.pop_front().unwrap();
            world.note(format!("{happening:?}"));
            match happening {
                Happening::Put => world.put(),
                Happening::Split => world.split(),
                Happening::Merge => world.merge(),
                Happening::Fault { fault, lasts, one_in, which } => {
                    world.active.push(Active { fault, until: now + lasts, one_in, which });
                }
                Happening::SetWallClock(by) => {
                    world.count(Fault::WallClock);
                    self.wall.fetch_add(by, Ordering::Relaxed);
                }
                Happening::Mend => world.is_mended = true,
                asked @ (Happening::LoseLease | Happening::Replay) => world.asked.push_back(asked),
            }
        }
        if !world.is_quiet && now >= world.plan.quiet {
            world.is_quiet = true;
            world.is_mended = true;
            world.active.clear();
            world.crash_at = None;
            world.asked.push_back(Happening::Replay);
            world.note("quiet".to_owned());
        }
        world.late_effects(now);
    }
}

impl World {
    /// Virtual time since the history began.
    pub(crate) fn now(&self) -> Duration {
        self.base + EPOCH.get().map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.crashed || self.violation.is_some()
    }

    pub(crate) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.add(fault.as_str(), 1);
    }

    pub(crate) fn add(&mut self, what: &str, by: u64) {
        match self.counts.get_mut(what) {
            Some(count) => *count += by,
            None => _ = self.counts.insert(what.to_owned(), by),
        }
    }

    /// Whether a fault hits this call. `fits` says whether one of that `which` may.
    pub(crate) fn hits(&mut self, fault: Fault, fits: impl Fn(usize) -> bool) -> bool {
        let now = self.now();
        let found = self
            .active
            .iter()
            .find(|active| active.fault == fault && active.until > now && fits(active.which));
        let Some(one_in) = found.map(|active| active.one_in) else { return false };
        let hit = self.rng.u64(..one_in) == 0;
        if hit {
            self.count(fault);
            self.note(fault.as_str().to_owned());
        }
        hit
    }

    /// A step of the history, at which the daemon may die.
    pub(crate) fn note(&mut self, what: String) {
        self.steps += 1;
        let line = format!("{:>9.3} {what}", self.now().as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
        if self.crash_at.is_some_and(|at| self.steps >= at) {
            (self.crashed, self.crash_at) = (true, None);
            self.count(Fault::Crash);
            self.trace.push_back("          kill -9".to_owned());
        }
        if self.steps.is_multiple_of(8) {
            self.check_daemon();
        }
    }

    /// The identity of the ledger, and the budgets.
    pub(crate) fn check_daemon(&mut self) {
        let Some((ledger, memory)) = &self.probe else { return };
        let fan_out: BTreeMap<RouteId, u64> =
            [2, 1, 1, 0, 1].into_iter().zip(0..).map(|(to, id)| (RouteId(id), to)).collect();
        let identity = ledger.snapshot().check(&fan_out);
        let overdrawn = memory.sizes_and_taken().find(|(size, taken)| taken > size);
        if let Err(error) = identity {
            self.violated(format!("the ledger's identity: {error}"));
        }
        if let Some((size, taken)) = overdrawn {
            self.violated(format!("{taken} bytes are taken of a budget of {size}"));
        }
    }
}
