//! Owns one stream: finds its shards, gives them leases, and runs a consumer for each that may be
//! read now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::call_error::CallError;
use super::calls::{Connect, StreamCalls, StreamFacts};
use super::client::OpenError;
use super::config::{Start, StreamConfig};
use super::metrics::KinesisMetrics;
pub use super::shard_consumer::RecordSink;
use super::shard_consumer::{self, Outcome, Stream};
use super::shard_sync::{self, Plan};
use super::status::SourceHandle;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::event::{Moment, ShardId, StreamName, Timestamp};
use crate::lease::{Gap, GapKind, Lease, LeaseTable, LeaseTableError, Position};
use crate::memory::FetchBudget;
use crate::shutdown::Shutdown;
use crate::telemetry::chain::Chain;

/// From one shard sync to the next; a shard that ends brings it forward.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };

/// How often the same trouble is logged at most.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What a source works with.
pub struct SourceSetup {
    /// The name of the stream's table.
    pub stream: StreamName,
    /// The table.
    pub config: StreamConfig,
    /// How Kinesis is asked.
    pub connect: Connect,
    /// Where leases and checkpoints are kept.
    pub leases: LeaseTable,
    /// The daemon's budget for fetched pages.
    pub budget: FetchBudget,
    /// Where to count.
    pub metrics: KinesisMetrics,
    /// Where records go.
    pub records: RecordSink,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// The daemon's clock.
    pub clock: Clock,
    /// What its consumers are spawned on.
    pub tasks: TaskTracker,
}

/// The records of one stream.
pub struct Source {
    setup: SourceSetup,
    handle: SourceHandle,
    warned: Option<Moment>,
}

/// Why a step of the scheduler failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Open(OpenError),
    #[error("{}", .0.chain())]
    Call(CallError),
    #[error("{}", Chain(.0))]
    Leases(LeaseTableError),
    #[error("the stream was made again under its name")]
    MadeAgain,
}

impl Source {
    /// A source that has not begun to read.
    #[must_use]
    pub fn new(setup: SourceSetup) -> Self {
        let SourceSetup { stream, clock, metrics, .. } = &setup;
        let handle = SourceHandle::new(stream.clone(), *clock, metrics.clone());
        Self { setup, handle, warned: None }
    }

    /// To follow it from outside.
    #[must_use]
    pub fn handle(&self) -> SourceHandle {
        self.handle.clone()
    }

    /// Reads the stream. Returns when the daemon is draining and every consumer is done: what was
    /// read has its fate and its checkpoint, unless the drain was cut short.
    pub async fn run(mut self) {
        let shutdown = self.setup.shutdown.clone();
        while !shutdown.is_draining() {
            tokio::select! {
                biased;
                () = shutdown.draining() => {}
                stream = self.connect() => self.read(Arc::new(stream)).await,
            }
        }
    }

    /// Reads until the daemon is draining, or the stream was made again under its name.
    async fn read(&mut self, stream: Arc<Stream>) {
        let mut consumers = Consumers::new(Arc::clone(&stream), self.setup.tasks.clone());
        let mut sync_at = stream.clock.now();
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                () = stream.shutdown.draining() => break,
                () = consumers.next_end() => {
                    sync_at = stream.clock.now();
                    continue;
                }
                synced = self.sync(&stream, sync_at) => match synced {
                    Ok((plan, leases)) => {
                        failures = 0;
                        self.handle.set_problem(None);
                        consumers.start(&plan, &leases);
                        self.handle.set_waiting(&plan.waiting, &consumers.running);
                        sync_at = stream.clock.now().after(SYNC_INTERVAL);
                    }
                    Err(StepError::MadeAgain) => break stream.gone.cancel(),
                    Err(error) => {
                        failures += 1;
                        let wait = BACKOFF.jittered(failures, None);
                        sync_at = self.trouble(&error).after(wait);
                    }
                },
            }
        }
        consumers.all_end().await;
    }

    /// Tries until the stream has told what it is.
    async fn connect(&mut self) -> Stream {
        let mut failures = 0;
        loop {
            match self.try_connect().await {
                Ok((calls, facts)) => return self.stream(calls, facts),
                Err(error) => {
                    failures += 1;
                    self.trouble(&error);
                    tokio::time::sleep(BACKOFF.jittered(failures, None)).await;
                }
            }
        }
    }

    async fn try_connect(&self) -> Result<(Arc<dyn StreamCalls>, StreamFacts), StepError> {
        let SourceSetup { stream, config, connect, .. } = &self.setup;
        let calls = connect(stream.clone(), config.clone()).await.map_err(StepError::Open)?;
        let facts = calls.describe().await.map_err(StepError::Call)?;
        Ok((calls, facts))
    }

    fn stream(&self, calls: Arc<dyn StreamCalls>, facts: StreamFacts) -> Stream {
        let setup = &self.setup;
        info!(stream = %setup.stream, key = %facts.key, "stream found");
        self.handle.set_key(&facts.key);
        self.handle.set_retention(facts.retention);
        Stream {
            name: setup.stream.clone(),
            key: facts.key,
            key_prefix: facts.key_prefix,
            doubted: Notify::new(),
            gone: CancellationToken::new(),
            calls,
            leases: setup.leases.clone(),
            budget: setup.budget.clone(),
            records: Arc::clone(&setup.records),
            shutdown: setup.shutdown.clone(),
            clock: setup.clock,
            handle: self.handle.clone(),
        }
    }

    /// Shows what stops the scheduler, and logs it now and then. Returns the time.
    fn trouble(&mut self, error: &StepError) -> Moment {
        let now = self.setup.clock.now();
        let (told, remedy) = match error {
            StepError::Call(error) => {
                self.handle.count_retry(error);
                (error.with_remedy(), error.reason.remedy())
            }
            StepError::Open(_) | StepError::Leases(_) | StepError::MadeAgain => {
                (error.to_string(), "")
            }
        };
        self.handle.set_problem(Some(told));
        if self.warned.is_none_or(|at| now.since(at) >= WARN_EVERY) {
            self.warned = Some(now);
            warn!(stream = %self.setup.stream, %error, remedy, "stream not ready, trying again");
        }
        now
    }

    /// At `at`, or when a shard fails as if the stream had changed, lists shards and leases, makes
    /// the leases that are missing, and tells which shards may be read. Cancel safe: the next sync
    /// goes on where this one was.
    async fn sync(&self, stream: &Stream, at: Moment) -> Result<(Plan, Vec<Lease>), StepError> {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(stream.clock.instant(at)) => {}
            () = stream.doubted.notified() => {}
        }
        let facts = stream.calls.describe().await.map_err(StepError::Call)?;
        if facts.key != stream.key {
            return Err(StepError::MadeAgain);
        }
        self.handle.set_retention(facts.retention);
        let listed = stream.calls.shards().await.map_err(StepError::Call)?;
        self.sync_leases(stream, &listed).await.map_err(StepError::Leases)
    }

    async fn sync_leases(
        &self,
        stream: &Stream,
        listed: &[shard_sync::ListedShard],
    ) -> Result<(Plan, Vec<Lease>), LeaseTableError> {
        let key = &stream.key;
        let former = self.former_leases(stream).await?;
        let mut leases = stream.leases.list(key).await?;
        let plan = shard_sync::plan(listed, &leases, &self.start(!former.is_empty()));
        for (shard, position) in &plan.create {
            let lease = Lease {
                stream: key.clone(),
                shard: shard.id.clone(),
                parents: shard.parents.clone(),
                checkpoint: position.clone(),
                updated: Timestamp::now(),
            };
            if stream.leases.create(&lease).await? {
                self.handle.count_lease_made();
                info!(stream = %stream.name, shard = %lease.shard, from = %position, "lease made");
            }
        }
        if !plan.create.is_empty() {
            // As they are in the table: one may have been made by a sync that was broken off, and a
            // checkpoint is taken only from who knows the lease as it is.
            leases = stream.leases.list(key).await?;
        }
        for shard in &plan.forget {
            stream.leases.remove(key, shard).await?;
        }
        self.keep_gaps(stream, (&plan, &leases, &former)).await?;
        Ok((plan, leases))
    }

    /// Where a stream without leases begins. One that was made again is read whole: it continues
    /// what its namesake was.
    fn start(&self, is_made_again: bool) -> Position {
        if is_made_again {
            return Position::TrimHorizon;
        }
        match self.setup.config.start {
            Start::TrimHorizon => Position::TrimHorizon,
            Start::Latest => Position::At(Timestamp::now()),
            Start::At(time) => Position::At(time),
        }
    }

    /// Leases on streams that had this name and ARN before.
    async fn former_leases(&self, stream: &Stream) -> Result<Vec<Lease>, LeaseTableError> {
        let Stream { key, key_prefix, .. } = stream;
        let mut former = Vec::new();
        for other in stream.leases.streams().await? {
            if other != *key && other.as_str().starts_with(key_prefix) {
                former.extend(stream.leases.list(&other).await?);
            }
        }
        Ok(former)
    }

    /// Keeps the gaps that this sync found, and shows those that nobody has accepted.
    async fn keep_gaps(
        &self,
        stream: &Stream,
        (plan, leases, former): (&Plan, &[Lease], &[Lease]),
    ) -> Result<(), LeaseTableError> {
        let vanished = leases.iter().filter(|lease| plan.vanished.contains(&lease.shard));
        let vanished = vanished.map(|lease| (lease, GapKind::Vanished));
        let former = former.iter().map(|lease| (lease, GapKind::FormerStream));
        let found = Timestamp::now();
        for (lease, kind) in vanished.chain(former) {
            let length = u64::try_from(found.0 - lease.updated.0).unwrap_or(0);
            let length = Duration::from_millis(length);
            let (key, shard) = (lease.stream.clone(), lease.shard.clone());
            let gap = Gap { stream: key, shard, kind, found, length };
            if stream.leases.add_gap(&gap).await? {
                let (stream, shard, text) = (&self.setup.stream, &gap.shard, kind.text());
                error!(%stream, %shard, seconds = length.as_secs(), "possible gap: {text}");
            }
        }
        let gaps = stream.leases.gaps().await?;
        let ours = |gap: &Gap| gap.stream.as_str().starts_with(&stream.key_prefix);
        self.handle.set_gaps(gaps.into_iter().filter(ours));
        Ok(())
    }
}

/// The consumers that run.
struct Consumers {
    stream: Arc<Stream>,
    tasks: TaskTracker,
    running: BTreeSet<ShardId>,
    ends: FuturesUnordered<BoxFuture<'static, (ShardId, Result<Outcome, JoinError>)>>,
}

impl Consumers {
    fn new(stream: Arc<Stream>, tasks: TaskTracker) -> Self {
        Self { stream, tasks, running: BTreeSet::new(), ends: FuturesUnordered::new() }
    }

    /// Starts a consumer for every shard that may be read and has none.
    fn start(&mut self, plan: &Plan, leases: &[Lease]) {
        for (shard, _) in &plan.ready {
            let lease = leases.iter().find(|lease| lease.shard == *shard);
            let Some(lease) = lease.filter(|_| self.running.insert(shard.clone())) else {
                continue;
            };
            let consumer = shard_consumer::consume(Arc::clone(&self.stream), lease.clone());
            let task = self.tasks.spawn(Box::pin(consumer));
            let shard = shard.clone();
            self.ends.push(Box::pin(async move { (shard, task.await) }));
        }
        self.stream.handle.set_leases_held(self.running.len());
    }

    /// Resolves when a consumer has ended; never while none runs. Cancel safe.
    async fn next_end(&mut self) {
        let Some((shard, outcome)) = self.ends.next().await else {
            return std::future::pending().await;
        };
        self.running.remove(&shard);
        self.stream.handle.set_leases_held(self.running.len());
        match outcome {
            Ok(Outcome::Ended) => info!(%shard, "shard read to its end"),
            // Where the lease is lost the checkpointer has told.
            Ok(Outcome::LeaseLost) => self.stream.handle.count_lease_lost(),
            Ok(Outcome::Stopped) => {}
            Err(error) => error!(%shard, %error, "shard consumer failed, starting it again"),
        }
    }

    async fn all_end(&mut self) {
        while !self.ends.is_empty() {
            self.next_end().await;
        }
    }
}
