//! Everything outside the daemons of one history: one plain state, its time, its trace.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt as _;
use logweir::event::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::history::{End, Episode, Fault, Happening, Plan, episode};
use crate::oracle::Oracle;
use crate::stream::Stream;
use crate::watch::Watch;

/// 2027-01-15, in the middle of a day.
const BEGIN: i64 = 1_800_014_400_000;

/// Steps that a history has at least …
pub(crate) const MIN_STEPS: u64 = 500;

/// … and faults that have hit something.
pub(crate) const MIN_FAULTS: u64 = 5;

/// Ten times what the longest takes: a daemon that makes more does not end.
const MAX_STEPS: u64 = 200_000;

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

/// When, what, and a number that belongs to it.
pub(crate) type Line = (Duration, &'static str, u64);

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) stream: Stream,
    pub(crate) clusters: [Cluster; 2],
    pub(crate) oracle: Oracle,
    pub(crate) counts: BTreeMap<Cow<'static, str>, u64>,
    /// What the driver is to carry out.
    pub(crate) asked: VecDeque<Happening>,
    pub(crate) is_quiet: bool,
    pub(crate) is_mended: bool,
    pub(crate) watch: Option<Watch>,
    pub(crate) violation: Option<String>,
    pub(crate) crashed: bool,
    pub(crate) crash_at: Option<u64>,
    /// How this daemon is to end.
    pub(crate) end: Option<End>,
    /// Whether letters are on their way again.
    pub(crate) is_replaying: bool,
    /// Whether letters may be sent again at any time.
    pub(crate) is_replay_wanted: bool,
    /// Whether this daemon has lost a lease.
    pub(crate) has_lost_lease: bool,
    pub(crate) steps: u64,
    /// Faults that have hit something.
    pub(crate) faults: u64,
    pub(crate) trace: VecDeque<Line>,
    pub(crate) hash: u64,
    active: Vec<Active>,
    /// The virtual time at which this daemon began.
    base: Duration,
}

struct Active {
    episode: Episode,
    until: Duration,
    has_hit: bool,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        // A history that panicked has left its own.
        EPOCH.set(None);
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::new(&mut rng);
        let world = World {
            stream: Stream::new(plan.shards),
            clusters: [Cluster::default(), Cluster::default()],
            oracle: Oracle::default(),
            counts: BTreeMap::new(),
            asked: VecDeque::new(),
            is_quiet: false,
            is_mended: false,
            watch: None,
            violation: None,
            crashed: false,
            crash_at: None,
            end: None,
            is_replaying: false,
            is_replay_wanted: false,
            has_lost_lease: false,
            steps: 0,
            faults: 0,
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
        what: (&'static str, u64),
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
        (what, of): (&'static str, u64),
        act: impl FnOnce(&mut World) -> R,
    ) -> Option<R> {
        let mut world = self.lock();
        if world.is_over() {
            self.stop.notify_one();
            return None;
        }
        self.advance(&mut world);
        world.note(what, of);
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
        // Who was stopped may have been told so more than once.
        _ = self.stop.notified().now_or_never();
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
        world.watch = None;
        world.is_replaying = false;
        EPOCH.set(None);
    }

    /// Lets happen what is due.
    fn advance(&self, world: &mut World) {
        let now = world.now();
        while world.plan.happenings.front().is_some_and(|(at, _)| *at <= now) {
            let (_, happening) = world.plan.happenings.pop_front().unwrap();
            world.note(happening.as_str(), 0);
            match happening {
                Happening::Put => world.put(),
                Happening::Split => world.split(),
                Happening::Merge => world.merge(),
                Happening::Fault(episode) => world.begin_fault(episode),
                Happening::SetWallClock(by) => {
                    world.happened(Fault::WallClock);
                    self.wall.fetch_add(by, Ordering::Relaxed);
                }
                Happening::Mend => world.is_mended = true,
                asked @ (Happening::LoseLease | Happening::TakeLease | Happening::Replay) => {
                    world.asked.push_back(asked);
                }
            }
        }
        if !world.is_quiet && now >= world.plan.quiet {
            world.become_quiet();
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

    pub(crate) fn add(&mut self, what: impl Into<Cow<'static, str>>, by: u64) {
        *self.counts.entry(what.into()).or_default() += by;
    }

    /// A fault that happens once.
    pub(crate) fn happened(&mut self, fault: Fault) {
        self.faults += 1;
        self.add(fault.as_str(), 1);
    }

    fn begin_fault(&mut self, episode: Episode) {
        let until = self.now() + episode.lasts;
        self.active.push(Active { episode, until, has_hit: false });
    }

    /// Nothing fails from now on; not before the history was one.
    fn become_quiet(&mut self) {
        if self.steps < MIN_STEPS || self.faults < MIN_FAULTS {
            self.plan.quiet = self.now() + Duration::from_secs(10);
            // Shards are asked all the time, so that these are sure to hit.
            let fault = *self.rng.choice(&[Fault::Throttle, Fault::KinesisError]).unwrap();
            let lasting = episode(&mut self.rng);
            return self.begin_fault(Episode { fault, one_in: 2, ..lasting });
        }
        self.is_quiet = true;
        self.is_mended = true;
        self.active.clear();
        self.plan.happenings.clear();
        self.crash_at = None;
        self.asked.push_back(Happening::Replay);
        self.note("quiet", 0);
    }

    /// All that is planned is so much later.
    pub(crate) fn postpone(&mut self, by: Duration) {
        self.plan.happenings.iter_mut().for_each(|(at, _)| *at += by);
        self.active.iter_mut().for_each(|active| active.until += by);
        self.plan.quiet += by;
    }

    /// Whether a fault hits this call. `fits` says whether one of that `which` may.
    pub(crate) fn hits(&mut self, fault: Fault, fits: impl Fn(usize) -> bool) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let now = self.now();
        let found = self.active.iter_mut().find(|active| {
            active.episode.fault == fault && active.until > now && fits(active.episode.which)
        });
        let Some(active) = found else { return false };
        if self.rng.u64(..active.episode.one_in) > 0 {
            return false;
        }
        self.faults += u64::from(!std::mem::replace(&mut active.has_hit, true));
        self.add(fault.as_str(), 1);
        self.note(fault.as_str(), 0);
        true
    }

    /// A step of the history, at which the daemon may die.
    pub(crate) fn note(&mut self, what: &'static str, of: u64) {
        self.steps += 1;
        let now = self.now();
        self.mix(now.as_nanos() as u64);
        self.mix(of);
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back((now, what, of));
        if self.crash_at.is_some_and(|at| self.steps >= at) {
            (self.crashed, self.crash_at) = (true, None);
            let is_within = self.is_replaying;
            self.happened(if is_within { Fault::CrashInReplay } else { Fault::Crash });
            self.trace.push_back((now, "kill -9", 0));
        }
        if self.steps > MAX_STEPS {
            self.violated("it does not come to an end".to_owned());
        }
        self.look_at_daemon();
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// At every step.
    pub(crate) fn look_at_daemon(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        if let Err(what) = watch.look(self.stream.handed_out()) {
            self.violated(what);
        }
    }
}
