//! Follows the acks of one shard into the lease table.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch;
use tracing::{error, warn};

use super::status::{ShardReport, ShardState};
use crate::ack::Progress;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::event::Moment;
use crate::lease::{Lease, LeaseTable, LeaseTableError, Position};
use crate::shutdown::Shutdown;
use crate::telemetry::chain::Chain;

/// How often a checkpoint is written at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often failures are logged at most; all of them are counted.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How often a checkpoint is written again where nothing new comes, so that its age still tells
/// until when everything was read. Far below the shortest retention (24 hours).
const TOUCH: Duration = Duration::from_secs(600);

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };

/// The lease is not ours any more: nothing may be checkpointed, and reading must stop.
#[derive(Debug)]
pub(super) struct LeaseLost;

/// Writes the checkpoints of one shard.
#[derive(Debug)]
pub(super) struct Checkpointer {
    leases: LeaseTable,
    /// As it was written last.
    lease: Lease,
    progress: watch::Receiver<Progress>,
    report: ShardReport,
    clock: Clock,
    written_at: Moment,
    failures: u32,
    /// When a failure was last logged.
    warned: Option<Moment>,
    /// After a failure.
    not_before: Moment,
}

impl Checkpointer {
    /// Begins at the checkpoint that the lease has.
    pub(super) fn new(
        leases: LeaseTable,
        lease: Lease,
        progress: watch::Receiver<Progress>,
        (report, clock): (ShardReport, Clock),
    ) -> Self {
        let now = clock.now();
        Self {
            leases,
            lease,
            progress,
            report,
            clock,
            written_at: now,
            failures: 0,
            warned: None,
            not_before: now,
        }
    }

    /// Writes checkpoints until `until` is done, which goes on meanwhile. A write that has begun
    /// is waited for: left alone, a late one could overtake its successor.
    pub(super) async fn follow<T>(
        &mut self,
        until: impl Future<Output = T>,
    ) -> Result<T, LeaseLost> {
        let mut until = pin!(until);
        loop {
            self.observe();
            if let Some(position) = self.due() {
                let write = pin!(self.write(position));
                match select(until.as_mut(), write).await {
                    Either::Left((done, write)) => return write.await.map(|_| done),
                    Either::Right((written, _)) => _ = written?,
                }
            }
            let pause = pin!(tokio::time::sleep(INTERVAL));
            if let Either::Left((done, _)) = select(until.as_mut(), pause).await {
                return Ok(done);
            }
        }
    }

    /// Waits, still writing checkpoints, until every record that was read is settled or given back.
    /// Returns whether all are settled; not when the daemon is cut short.
    pub(super) async fn settle(&mut self, shutdown: &Shutdown) -> Result<bool, LeaseLost> {
        let mut progress = self.progress.clone();
        self.follow(async {
            tokio::select! {
                biased;
                // The sender lives as long as a record; without it there is nothing to wait for.
                settled = progress.wait_for(|progress| progress.open == 0) => {
                    settled.is_ok_and(|progress| progress.given_back == 0)
                }
                () = shutdown.cut() => false,
            }
        })
        .await
    }

    /// Writes the settled prefix, or the end of the shard when `ended`, at once. Tries until it is
    /// written; when the daemon is cut short, once.
    pub(super) async fn finish(
        mut self,
        ended: bool,
        shutdown: &Shutdown,
    ) -> Result<(), LeaseLost> {
        let last = if ended { Some(Position::ShardEnd) } else { self.unwritten() };
        let Some(last) = last else { return Ok(()) };
        loop {
            if self.write(last.clone()).await? || shutdown.is_cut_short() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = shutdown.cut() => {}
                () = tokio::time::sleep_until(self.clock.instant(self.not_before)) => {}
            }
        }
    }

    /// The settled prefix, when no checkpoint says it yet.
    fn unwritten(&self) -> Option<Position> {
        let settled = self.progress.borrow().settled.clone()?;
        let settled = match settled.user_record {
            Some(user_record) => Position::Within(settled.number, user_record),
            None => Position::After(settled.number),
        };
        (settled != self.lease.checkpoint).then_some(settled)
    }

    /// What is to be written now.
    fn due(&self) -> Option<Position> {
        let now = self.clock.now();
        if now < self.not_before {
            return None;
        }
        let touch = || {
            let is_due = now.since(self.written_at) >= TOUCH && self.report.is_idle_at_tip();
            is_due.then(|| self.lease.checkpoint.clone())
        };
        self.unwritten().or_else(touch)
    }

    /// Brings status and gauges up to date.
    fn observe(&self) {
        let now = self.clock.now();
        let open = self.progress.borrow().open;
        let is_covered = open == 0 && self.unwritten().is_none();
        self.report.update(|facts| {
            facts.open_records = open;
            if is_covered {
                facts.covered = now;
            }
        });
        self.report.measure(now);
        self.report.warn_of_expiry(now);
    }

    /// Returns whether it is written.
    async fn write(&mut self, to: Position) -> Result<bool, LeaseLost> {
        let written = self.leases.checkpoint(&self.lease, &to).await;
        let now = self.clock.now();
        match written {
            Ok(lease) => {
                (self.lease, self.written_at) = (lease, now);
                (self.failures, self.warned) = (0, None);
                self.report.update(|facts| {
                    (facts.checkpoint, facts.covered, facts.unwritten) = (to, now, None);
                });
                Ok(true)
            }
            Err(
                error @ (LeaseTableError::Missing { .. }
                | LeaseTableError::Taken { .. }
                | LeaseTableError::Ended { .. }),
            ) => {
                error!(shard = %self.lease.shard, %error, "lease lost: the shard is not read any more");
                self.report.set_state(ShardState::LeaseLost);
                Err(LeaseLost)
            }
            Err(
                error @ (LeaseTableError::List { .. }
                | LeaseTableError::Streams { .. }
                | LeaseTableError::Create { .. }
                | LeaseTableError::Checkpoint { .. }
                | LeaseTableError::Remove { .. }
                | LeaseTableError::Gaps { .. }
                | LeaseTableError::Reset { .. }
                | LeaseTableError::Unreadable { .. }),
            ) => {
                self.failed(&error);
                Ok(false)
            }
        }
    }

    fn failed(&mut self, error: &LeaseTableError) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = self.clock.now().after(BACKOFF.jittered(self.failures, None));
        self.report.checkpoint_failed(&Chain(error));
        let now = self.clock.now();
        if self.warned.is_none_or(|at| now.since(at) >= WARN_EVERY) {
            self.warned = Some(now);
            let (shard, failures, error) = (&self.lease.shard, self.failures, Chain(error));
            warn!(%shard, %error, failures, "checkpoint not written, trying again");
        }
    }
}
