//! What a source tells about itself: for the health answer, the status page and the gauges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::error;

use super::call_error::CallError;
use super::metrics::KinesisMetrics;
use crate::clock::Clock;
use crate::event::{Moment, ShardId, StreamKey, StreamName};
use crate::lease::{Gap, GapKind, Position};

/// Lines about one shard whose records are about to expire, at most.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What a shard is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// Its parents are not read to their end yet.
    WaitingForParents,
    /// It is being read.
    Reading,
    /// It would be read if the fetch budget had room: its destinations are slow or held.
    WaitingForMemory,
    /// The last call failed and will be made again.
    Retrying,
    /// All of it was read; its last records have no fate yet.
    Ending,
    /// The daemon is stopping; what was read has no fate yet.
    Draining,
    /// Its lease is gone; nothing is read or checkpointed any more.
    LeaseLost,
}

impl ShardState {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingForParents => "waiting for parents",
            Self::Reading => "reading",
            Self::WaitingForMemory => "waiting for memory",
            Self::Retrying => "retrying",
            Self::Ending => "ending",
            Self::Draining => "draining",
            Self::LeaseLost => "lease lost",
        }
    }
}

/// One shard, at one moment.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// What it is doing.
    pub state: ShardState,
    /// Its checkpoint.
    pub checkpoint: Position,
    /// How long there have been read records that the checkpoint does not cover.
    pub checkpoint_age: Duration,
    /// How far reading is behind the tip, as far as is known.
    pub lag: Option<Duration>,
    /// Records read that have no fate yet.
    pub open_records: usize,
    /// What the last call failed with and what to do, while it has not succeeded since.
    pub last_error: Option<String>,
}

/// Records that may have been lost before they were read, through no fault of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PossibleGap {
    /// The shard.
    pub shard: ShardId,
    /// How much time of it, at the least.
    pub length: Duration,
    /// What happened, and how to accept it.
    pub text: String,
}

impl PossibleGap {
    fn of(gap: Gap) -> Self {
        let shard = match gap.kind {
            GapKind::FormerStream => ShardId::new(&format!("{} (former stream)", gap.shard)),
            GapKind::Expired | GapKind::Vanished => gap.shard,
        };
        let text = format!("{}; accept it by `logweir leases accept-gap`", gap.kind.text());
        Self { shard, length: gap.length, text }
    }
}

/// A stream, at one moment.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// The stream, as the configuration calls it.
    pub stream: StreamName,
    /// The stream, as the state knows it; once Kinesis has said.
    pub key: Option<StreamKey>,
    /// Why the source is not ready; ready when empty.
    pub not_ready: Vec<String>,
    /// What may have been lost.
    pub possible_gaps: Vec<PossibleGap>,
    /// The shards that are read or will be.
    pub shards: Vec<ShardStatus>,
}

/// Follows a source from outside; cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct SourceHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: StreamName,
    clock: Clock,
    metrics: KinesisMetrics,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    key: Option<StreamKey>,
    /// What the scheduler itself is stopped by.
    problem: Option<String>,
    /// How long the stream keeps records; it can be changed while it is read.
    retention: Duration,
    /// What nobody has accepted yet, by the name that it is shown under.
    gaps: BTreeMap<ShardId, PossibleGap>,
    shards: BTreeMap<ShardId, ShardFacts>,
}

/// What a consumer and its checkpointer know of a shard.
#[derive(Clone, Debug)]
pub(super) struct ShardFacts {
    pub(super) state: ShardState,
    pub(super) checkpoint: Position,
    /// When the checkpoint last covered all that was read, or last moved.
    pub(super) covered: Moment,
    /// How far the last page was behind, and when it came.
    pub(super) page: Option<(Duration, Moment)>,
    pub(super) open_records: usize,
    /// The last error, and whether a person must act.
    pub(super) error: Option<(String, bool)>,
    /// Why the last checkpoint could not be written, while none was since.
    pub(super) unwritten: Option<String>,
    /// When it was last said that its records are about to expire.
    warned: Option<Moment>,
}

impl ShardFacts {
    /// Nothing is left to read, and all that was read is settled.
    pub(super) fn is_idle_at_tip(&self) -> bool {
        self.open_records == 0 && self.page.is_some_and(|(behind, _)| behind.is_zero())
    }

    fn lag(&self, now: Moment) -> Option<Duration> {
        // A page every second at the tip is no lag; a longer silence adds up.
        const USUAL: Duration = Duration::from_secs(5);
        let (behind, at) = self.page?;
        let silence = now.since(at);
        Some(if silence > USUAL { behind.saturating_add(silence) } else { behind })
    }
}

impl Facts {
    /// What to say of a shard that is behind by more than half of what the stream keeps.
    fn at_risk(&self, shard: &ShardFacts, now: Moment) -> Option<String> {
        let hours = |time: Duration| time.as_secs_f64() / 3600.0;
        let lag = shard.lag(now).filter(|lag| *lag > self.retention / 2)?;
        Some(format!(
            "{:.1} hours behind, and the stream keeps {:.0}: raise that first (`aws kinesis \
             increase-stream-retention-period` works at once), then see what holds it up",
            hours(lag),
            hours(self.retention)
        ))
    }
}

impl SourceHandle {
    pub(super) fn new(stream: StreamName, clock: Clock, metrics: KinesisMetrics) -> Self {
        let facts = Mutex::new(Facts {
            key: None,
            problem: Some("the stream's shards are not known yet".to_owned()),
            retention: Duration::MAX,
            gaps: BTreeMap::new(),
            shards: BTreeMap::new(),
        });
        metrics.begin(&stream);
        Self(Arc::new(Shared { stream, clock, metrics, facts }))
    }

    /// How the source is now.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        let now = self.0.clock.now();
        let facts = self.facts();
        let possible_gaps: Vec<_> = facts.gaps.values().cloned().collect();
        let stuck = facts.shards.iter().filter_map(|(shard, of)| match &of.error {
            Some((error, true)) => Some(format!("{shard}: {error}")),
            Some((_, false)) | None => None,
        });
        let gaps =
            possible_gaps.iter().map(|gap| format!("possible gap: {}: {}", gap.shard, gap.text));
        let unwritten = facts.shards.iter().filter_map(|(shard, of)| {
            of.unwritten.as_ref().map(|error| format!("{shard}: checkpoint not written: {error}"))
        });
        let at_risk = facts.shards.iter().filter_map(|(shard, of)| {
            facts.at_risk(of, now).map(|text| format!("retention at risk: {shard}: {text}"))
        });
        let not_ready = facts.problem.iter().cloned();
        let not_ready =
            not_ready.chain(stuck).chain(unwritten).chain(at_risk).chain(gaps).collect();
        let shards = facts.shards.iter().map(|(shard, of)| ShardStatus {
            shard: shard.clone(),
            state: of.state,
            checkpoint: of.checkpoint.clone(),
            checkpoint_age: now.since(of.covered),
            lag: of.lag(now),
            open_records: of.open_records,
            last_error: of.error.as_ref().map(|(error, _)| error.clone()),
        });
        SourceStatus {
            stream: self.0.stream.clone(),
            key: facts.key.clone(),
            not_ready,
            possible_gaps,
            shards: shards.collect(),
        }
    }

    pub(super) fn set_key(&self, key: &StreamKey) {
        self.facts().key = Some(key.clone());
    }

    /// Notes how long the stream keeps records.
    pub(super) fn set_retention(&self, retention: Duration) {
        self.facts().retention = retention;
        self.0.metrics.set_retention(&self.0.stream, retention.as_secs());
    }

    /// How long the stream keeps records.
    pub(super) fn retention(&self) -> Duration {
        self.facts().retention
    }

    /// Notes what stops the scheduler; none when nothing does.
    pub(super) fn set_problem(&self, problem: Option<String>) {
        self.facts().problem = problem;
    }

    /// Counts a call that will be made again.
    pub(super) fn count_retry(&self, error: &CallError) {
        self.0.metrics.count_retry(&self.0.stream, error.action, error.reason);
    }

    /// Shows how many shards are read.
    pub(super) fn set_leases_held(&self, shards: usize) {
        self.0.metrics.set_leases_held(&self.0.stream, shards);
    }

    /// Counts a shard that was found for the first time.
    pub(super) fn count_lease_made(&self) {
        self.0.metrics.count_lease_made(&self.0.stream);
    }

    /// Counts a lease that another took.
    pub(super) fn count_lease_lost(&self) {
        self.0.metrics.count_lease_lost(&self.0.stream);
    }

    /// Shows these gaps, and no others.
    pub(super) fn set_gaps(&self, gaps: impl Iterator<Item = Gap>) {
        let mut facts = self.facts();
        let gaps: BTreeMap<_, _> =
            gaps.map(PossibleGap::of).map(|gap| (gap.shard.clone(), gap)).collect();
        let old = std::mem::replace(&mut facts.gaps, gaps);
        for shard in old.keys().filter(|shard| !facts.gaps.contains_key(*shard)) {
            self.0.metrics.clear_gap(&self.0.stream, shard);
            if facts.shards.contains_key(shard) {
                self.0.metrics.begin_shard(&self.0.stream, shard);
            }
        }
        facts.gaps.values().for_each(|gap| self.measure(gap));
    }

    fn measure(&self, gap: &PossibleGap) {
        self.0.metrics.set_gap(&self.0.stream, &gap.shard, gap.length.as_secs_f64());
    }

    /// Shows the shards that wait for their parents, and no other that nobody reads.
    pub(super) fn set_waiting(&self, waiting: &[ShardId], running: &BTreeSet<ShardId>) {
        let mut facts = self.facts();
        facts.shards.retain(|shard, _| running.contains(shard));
        for shard in waiting {
            let new = self.fresh(ShardState::WaitingForParents, &Position::TrimHorizon);
            facts.shards.entry(shard.clone()).or_insert(new);
        }
    }

    fn fresh(&self, state: ShardState, checkpoint: &Position) -> ShardFacts {
        ShardFacts {
            state,
            checkpoint: checkpoint.clone(),
            covered: self.0.clock.now(),
            page: None,
            open_records: 0,
            error: None,
            unwritten: None,
            warned: None,
        }
    }

    /// Begins to report on a shard.
    pub(super) fn shard(&self, shard: ShardId, checkpoint: &Position) -> ShardReport {
        let facts = self.fresh(ShardState::Reading, checkpoint);
        self.facts().shards.insert(shard.clone(), facts);
        self.0.metrics.begin_shard(&self.0.stream, &shard);
        ShardReport { source: self.clone(), shard }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer's and its checkpointer's way to report on their shard. The shard leaves the status
/// and the metrics with the last clone's `forget`.
#[derive(Clone, Debug)]
pub(super) struct ShardReport {
    source: SourceHandle,
    shard: ShardId,
}

impl ShardReport {
    pub(super) fn update(&self, change: impl FnOnce(&mut ShardFacts)) {
        if let Some(facts) = self.source.facts().shards.get_mut(&self.shard) {
            change(facts);
        }
    }

    pub(super) fn set_state(&self, state: ShardState) {
        self.update(|facts| facts.state = state);
    }

    pub(super) fn is_idle_at_tip(&self) -> bool {
        let facts = self.source.facts();
        facts.shards.get(&self.shard).is_some_and(ShardFacts::is_idle_at_tip)
    }

    /// Brings the gauges up to date.
    pub(super) fn measure(&self, now: Moment) {
        let Shared { stream, metrics, .. } = &*self.source.0;
        let facts = self.source.facts();
        let Some(of) = facts.shards.get(&self.shard) else { return };
        let age = now.since(of.covered);
        metrics.set_checkpoint_age(stream, &self.shard, age.as_secs_f64());
        if let Some(lag) = of.lag(now) {
            metrics.set_lag(stream, &self.shard, lag.as_secs_f64());
        }
    }

    /// Says now and then that records are about to expire, if they are.
    pub(super) fn warn_of_expiry(&self, now: Moment) {
        let mut facts = self.source.facts();
        let Some(of) = facts.shards.get(&self.shard) else { return };
        let Some(text) = facts.at_risk(of, now) else { return };
        if of.warned.is_some_and(|at| now.since(at) < WARN_EVERY) {
            return;
        }
        if let Some(of) = facts.shards.get_mut(&self.shard) {
            of.warned = Some(now);
        }
        let (stream, shard) = (&self.source.0.stream, &self.shard);
        error!(%stream, %shard, "retention at risk: {text}");
    }

    /// Counts a call that will be made again, and shows why.
    pub(super) fn retrying(&self, error: &CallError) {
        self.source.count_retry(error);
        let text = error.with_remedy();
        self.update(|facts| {
            facts.state = ShardState::Retrying;
            facts.error = Some((text, error.reason.needs_a_person()));
        });
    }

    /// Counts time in which a page waited for the fetch budget.
    pub(super) fn count_blocked(&self, waited: Duration) {
        self.source.0.metrics.count_blocked(waited.as_secs_f64());
    }

    /// Counts a checkpoint that will be written again, and shows why.
    pub(super) fn checkpoint_failed(&self, error: &impl ToString) {
        self.source.0.metrics.count_checkpoint_failure(&self.source.0.stream);
        self.update(|facts| facts.unwritten = Some(error.to_string()));
    }

    /// Adds to what may have been lost.
    pub(super) fn add_gap(&self, gap: Gap) {
        let mut gap = PossibleGap::of(gap);
        let mut facts = self.source.facts();
        if let Some(known) = facts.gaps.get(&gap.shard) {
            gap.length = gap.length.saturating_add(known.length);
        }
        self.source.measure(&gap);
        facts.gaps.insert(gap.shard.clone(), gap);
    }

    /// The shard is no longer read.
    pub(super) fn forget(&self) {
        let Shared { stream, metrics, .. } = &*self.source.0;
        let mut facts = self.source.facts();
        facts.shards.remove(&self.shard);
        metrics.forget(stream, &self.shard);
        // A gap stays after its shard.
        if !facts.gaps.contains_key(&self.shard) {
            metrics.clear_gap(stream, &self.shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::FailureReason;
    use prometheus::Registry;

    fn handle() -> SourceHandle {
        let metrics = KinesisMetrics::new(&Registry::new()).unwrap();
        let handle = SourceHandle::new(StreamName::new("logs"), Clock::start(), metrics);
        handle.set_problem(None);
        handle
    }

    #[test]
    fn a_shard_that_waits_for_a_person_says_what_to_do() {
        let handle = handle();
        let report = handle.shard(ShardId::new("shardId-7"), &Position::TrimHorizon);
        report.retrying(&CallError::played("GetRecords", FailureReason::Credentials));
        let SourceStatus { not_ready, shards, .. } = handle.status();
        let remedy = "; check the credentials, the profile and the role";
        assert!(not_ready[0].ends_with(remedy), "{not_ready:?}");
        assert!(shards[0].last_error.as_ref().unwrap().ends_with(remedy), "{shards:?}");
    }

    #[test]
    fn a_shard_half_of_the_retention_behind_is_said_to_be_at_risk() {
        let handle = handle();
        handle.set_retention(Duration::from_hours(24));
        let report = handle.shard(ShardId::new("shardId-7"), &Position::TrimHorizon);
        let behind = |hours| {
            let page = Some((Duration::from_hours(hours), handle.0.clock.now()));
            report.update(|facts| facts.page = page);
            handle.status().not_ready
        };
        assert_eq!(behind(12), [] as [String; 0]);
        let [said] = <[String; 1]>::try_from(behind(13)).unwrap();
        let expected =
            "retention at risk: shardId-7: 13.0 hours behind, and the stream keeps 24: raise";
        assert!(said.starts_with(expected), "{said}");
        handle.set_retention(Duration::from_hours(48));
        assert_eq!(behind(13), [] as [String; 0]);
    }
}
