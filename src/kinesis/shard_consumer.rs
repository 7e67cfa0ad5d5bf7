//! Reads one shard: from its lease's checkpoint to its end, or until the daemon stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::admission::Admission;
use super::call_error::{CallError, FailureReason};
use super::calls::{FetchedRecord, Page, ShardCalls, StreamCalls};
use super::checkpointer::{Checkpointer, LeaseLost};
use super::gap_watch::GapWatch;
use super::poll::Pace;
use super::status::{ShardReport, ShardState, SourceHandle};
use crate::ack::ShardAcks;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::event::{Moment, StreamKey, StreamName, Timestamp};
use crate::lease::{Gap, GapKind, Lease, LeaseTable, Position};
use crate::memory::{FetchBudget, FetchPermit};
use crate::record::{self, AckToken, Origin, Record};
use crate::shutdown::Shutdown;
use crate::telemetry::chain::Chain;

/// Where records go. Must not block: what it holds is bounded by the fetch budget.
pub type RecordSink = Arc<dyn Fn(AckToken) + Send + Sync>;

/// What a record costs of the fetch budget however small it is: its place in our own tables.
const MIN_CHARGE: usize = 512;

const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30) };

/// How often failures of a shard are logged at most; all of them are counted.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the consumers of one stream share.
pub(super) struct Stream {
    pub(super) name: StreamName,
    /// Name, ARN and creation time.
    pub(super) key: StreamKey,
    /// What the keys of all streams under that name and ARN begin with.
    pub(super) key_prefix: String,
    pub(super) calls: Arc<dyn StreamCalls>,
    pub(super) leases: LeaseTable,
    pub(super) budget: FetchBudget,
    pub(super) records: RecordSink,
    pub(super) shutdown: Shutdown,
    pub(super) clock: Clock,
    pub(super) handle: SourceHandle,
    /// Told when a shard fails as it would if the stream had changed.
    pub(super) doubted: Notify,
    /// Cancelled when the stream turns out to be another one by now.
    pub(super) gone: CancellationToken,
}

impl Stream {
    /// Resolves when nothing more may be read.
    async fn stopping(&self) {
        tokio::select! {
            biased;
            () = self.shutdown.draining() => {}
            () = self.gone.cancelled() => {}
        }
    }
}

/// How reading a shard came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it has a fate; its children may be read now.
    Ended,
    /// The daemon is stopping.
    Stopped,
    /// Somebody took the lease away.
    LeaseLost,
}

/// Why no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadEnd {
    ShardEnd,
    Drain,
}

/// Consumes the shard of `lease`.
pub(super) async fn consume(stream: Arc<Stream>, lease: Lease) -> Outcome {
    let acks = Arc::new(ShardAcks::default());
    let report = stream.handle.shard(lease.shard.clone(), &lease.checkpoint);
    let (leases, with) = (stream.leases.clone(), (report.clone(), stream.clock));
    let checkpointer = Checkpointer::new(leases, lease.clone(), acks.progress(), with);
    info!(stream = %stream.name, shard = %lease.shard, from = %lease.checkpoint, "reading shard");
    let reader = Reader::new(&stream, &lease, Arc::clone(&acks), report.clone());
    let outcome = tokio::select! {
        biased;
        never = give_back(&acks, &stream.shutdown) => match never {},
        outcome = run(reader, checkpointer, &stream.shutdown, &report) => outcome,
    };
    let given_back = acks.progress().borrow().given_back;
    if given_back > 0 {
        let (stream, shard) = (&stream.name, &lease.shard);
        info!(%stream, %shard, records = given_back, "given back unread: the next start reads them");
    }
    report.forget();
    outcome.unwrap_or(Outcome::LeaseLost)
}

/// Once the daemon is to stop, gives back what waits for an encoder: there may be minutes of work in it.
async fn give_back(acks: &ShardAcks, shutdown: &Shutdown) -> Infallible {
    shutdown.draining().await;
    acks.give_back();
    std::future::pending().await
}

async fn run(
    reader: Reader<'_>,
    mut checkpointer: Checkpointer,
    shutdown: &Shutdown,
    report: &ShardReport,
) -> Result<Outcome, LeaseLost> {
    let end = checkpointer.follow(Box::pin(reader.read())).await?;
    report.set_state(match end {
        ReadEnd::ShardEnd => ShardState::Ending,
        ReadEnd::Drain => ShardState::Draining,
    });
    let settled = checkpointer.settle(shutdown).await?;
    let ended = settled && end == ReadEnd::ShardEnd;
    checkpointer.finish(ended, shutdown).await?;
    Ok(if ended { Outcome::Ended } else { Outcome::Stopped })
}

/// Pages through a shard.
struct Reader<'a> {
    stream: &'a Stream,
    calls: Box<dyn ShardCalls>,
    place: Arc<record::Place>,
    acks: Arc<ShardAcks>,
    report: ShardReport,
    pace: Pace,
    gaps: GapWatch,
    position: Position,
    iterator: Option<String>,
    warned: Option<Moment>,
}

impl<'a> Reader<'a> {
    fn new(stream: &'a Stream, lease: &Lease, acks: Arc<ShardAcks>, report: ShardReport) -> Self {
        let place = record::Place {
            stream: stream.name.clone(),
            region: stream.calls.region().to_owned(),
            shard: lease.shard.clone(),
        };
        let admission = Admission::new(stream.budget.shard(), report.clone());
        Self {
            stream,
            calls: stream.calls.shard(lease.shard.clone(), admission),
            place: Arc::new(place),
            acks,
            report,
            pace: Pace::default(),
            gaps: GapWatch::new(&lease.checkpoint, lease.updated),
            position: lease.checkpoint.clone(),
            iterator: None,
            warned: None,
        }
    }

    async fn read(mut self) -> ReadEnd {
        loop {
            tokio::select! {
                biased;
                () = self.stream.stopping() => return ReadEnd::Drain,
                ended = self.step() => if ended { return ReadEnd::ShardEnd },
            }
        }
    }

    /// One call and what follows from it. Returns whether the shard has ended. Cancel safe: a page
    /// is taken in without a pause, or not at all.
    async fn step(&mut self) -> bool {
        tokio::time::sleep_until(self.stream.clock.instant(self.pace.next())).await;
        self.wait_for_room().await;
        match self.fetch().await {
            Ok(page) if self.look_for_gap(&page).await => self.take_in(page),
            // It is asked for again.
            Ok(_) => false,
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Asks for nothing while not even one record would be admitted.
    async fn wait_for_room(&self) {
        self.calls.admission().wait_for_room(self.pace.record_cost()).await;
    }

    async fn fetch(&mut self) -> Result<Page, CallError> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator,
            None => self.iterator.insert(self.calls.iterator(&self.position).await?),
        };
        let limit = self.pace.limit(self.calls.admission().room());
        self.calls.page(iterator, limit).await
    }

    fn take_in(&mut self, page: Page) -> bool {
        let Page { records, mut permit, next, behind } = page;
        let now = self.stream.clock.now();
        self.pace.answered(now, (records.len(), permit.bytes()), behind);
        self.report.update(|facts| {
            facts.state = ShardState::Reading;
            facts.page = Some((behind, now));
            facts.error = None;
        });
        for record in records {
            self.hand_on(record, &mut permit);
        }
        self.iterator = next;
        self.iterator.is_none()
    }

    fn hand_on(&mut self, record: FetchedRecord, page: &mut FetchPermit) {
        let FetchedRecord { payload, sequence_number, arrival } = record;
        let through = match &self.position {
            Position::Within(number, user_record) if *number == sequence_number => {
                Some(*user_record)
            }
            Position::Within(..)
            | Position::TrimHorizon
            | Position::At(_)
            | Position::After(_)
            | Position::ShardEnd => None,
        };
        self.position = Position::After(sequence_number.clone());
        let slot = self.acks.open(sequence_number.clone());
        let origin = Origin::Shard(Arc::clone(&self.acks), slot, through);
        let at = (Arc::clone(&self.place), sequence_number, arrival);
        let charge = page.split(payload.len().max(MIN_CHARGE));
        (self.stream.records)(Record::begin(payload, at, origin, charge));
    }

    fn failed(&mut self, error: &CallError) {
        let failures = self.pace.failed();
        let now = self.stream.clock.now();
        let is_expired = error.reason == FailureReason::ExpiredIterator;
        // The next one begins after the last record that was read. Once is usual after a long
        // wait for memory; again and again, it waits like any failure.
        let wait = if is_expired && failures == 1 {
            Duration::ZERO
        } else {
            BACKOFF.jittered(failures, None)
        };
        if is_expired {
            self.iterator = None;
        }
        self.pace.wait(now, wait);
        self.report.retrying(error);
        if error.reason.needs_a_person() {
            self.stream.doubted.notify_one();
        }
        if self.warned.is_none_or(|at| now.since(at) >= WARN_EVERY) {
            self.warned = Some(now);
            let (stream, shard) = (&self.place.stream, &self.place.shard);
            let (error, remedy) = (error.chain(), error.reason.remedy());
            warn!(%stream, %shard, error, remedy, failures, "reading failed, trying again");
        }
    }

    /// Keeps a gap before anything behind it is read: the checkpoint, which shows it, stays before.
    /// Returns whether the page may be read; while a gap cannot be kept it may not.
    async fn look_for_gap(&mut self, page: &Page) -> bool {
        let found = Timestamp::now();
        let mut gaps = self.gaps.clone();
        if let Some(length) = gaps.page(found, page.behind, self.stream.handle.retention())
            && !self.keep_gap(found, length).await
        {
            return false;
        }
        self.gaps = gaps;
        true
    }

    async fn keep_gap(&mut self, found: Timestamp, length: Duration) -> bool {
        let Stream { name, key, leases, .. } = self.stream;
        let (stream, shard, kind) = (key.clone(), self.place.shard.clone(), GapKind::Expired);
        let gap = Gap { stream, shard, kind, found, length };
        let (shard, text) = (&gap.shard, kind.text());
        match leases.add_gap(&gap).await {
            Ok(false) => {}
            Ok(true) => {
                error!(stream = %name, %shard, seconds = length.as_secs(), "possible gap: {text}");
            }
            Err(error) => {
                let (error, failures) = (Chain(&error), self.pace.failed());
                error!(stream = %name, %shard, %error, "possible gap, not kept, so the shard waits: {text}");
                self.pace.wait(self.stream.clock.now(), BACKOFF.jittered(failures, None));
                return false;
            }
        }
        self.report.add_gap(gap);
        true
    }
}
