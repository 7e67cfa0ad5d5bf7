//! Dead letters as one more source of the same pipeline: read in order, sent again, removed when
//! all they held is where it belongs (DESIGN §10).
//!
//! A letter is removed only after its events have ended elsewhere, durably. Broken off anywhere,
//! a replay leaves letters whose events are delivered; sending those again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::dead_letter::Letter;
use crate::dead_letter::requests::{Order, Part, Report};
use crate::dead_letter::sqlite::{LetterStore, LetterStoreError, Stored};
use crate::encode::WorkQueue;
use crate::event::{DestinationId, SequenceNumber, ShardId, StreamName, Timestamp};
use crate::fate::{KeptReason, ReplayResult};
use crate::memory::{FetchBudget, FetchPermit, ShardBudget};
use crate::record::{LetterPayload, Origin, Place, Record, Returned, Returns, Ticket};
use crate::telemetry::chain::Chain;
use crate::telemetry::ledger::{Accounts, Ledger};
use crate::telemetry::ledger_metrics::Names;

/// Letters that are read from the store at once, in bytes.
const PAGE: usize = 1 << 20;

/// How often it writes how far it is.
const TELL: Duration = Duration::from_secs(1);

/// What carries letters: a queue to encoders that keep the book of replays, and what they book in.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where the letters are.
    pub store: LetterStore,
    /// Where they go.
    pub queue: Arc<WorkQueue>,
    /// What those that are on their way may take of memory.
    pub budget: FetchBudget,
    /// Where their events are counted.
    pub ledger: Arc<Ledger>,
    /// The names of what is counted by.
    pub names: Names,
}

/// The replay of one order.
#[derive(Debug)]
pub struct Replay {
    line: Line,
    order: Order,
    part: Option<Part>,
    budget: ShardBudget,
    returns: Arc<Returns>,
    before: Accounts,
    fed: AtomicU64,
}

/// How a replay ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What has become of the letters.
    pub report: Report,
    /// Whether nobody wants the rest any more.
    pub is_withdrawn: bool,
    /// What broke it off: the store cannot be read, or what was delivered cannot be removed from
    /// it. Letters are then left that may be sent again.
    pub error: Option<LetterStoreError>,
}

/// A replay that is under way.
#[derive(Debug, Default)]
struct Course {
    ended: Ended,
    /// Letters that have come back.
    returned: u64,
    /// Those of them that could not be settled yet.
    open: Vec<Returned>,
    /// No more is to be sent.
    enough: CancellationToken,
    /// Whether it was said that nothing can be written of it.
    was_told: bool,
}

impl Replay {
    /// A replay that has not begun. One line carries one at a time.
    #[must_use]
    pub fn new(line: Line, order: Order) -> Self {
        let (budget, before) = (line.budget.shard(), line.ledger.snapshot());
        let (returns, fed) = (Arc::default(), AtomicU64::new(0));
        Self { line, order, part: None, budget, returns, before, fed }
    }

    /// The same for one that was asked for; how far it is is written there every second.
    #[must_use]
    pub fn on_request(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// Sends the letters that are there now, and returns when each has ended. Once `stop` resolves,
    /// or the store fails, it sends no more and waits for those on their way: asked again, they would
    /// be sent twice. Cutting short is the queue's business. `progress` is called now and then.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&Report),
    ) -> Ended {
        let mut course = Course::default();
        let last = match self.begin(&mut course).await {
            Ok(last) => last,
            Err(error) => return Ended { error: Some(error), ..course.ended },
        };
        progress(&course.ended.report);
        let enough = course.enough.clone();
        let stop = async {
            tokio::select! {
                biased;
                () = enough.cancelled() => {}
                () = stop => {}
            }
        };
        let mut feeding = std::pin::pin!(self.feed(last, stop));
        let mut all_fed = None;
        let mut tell = tokio::time::interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while all_fed.is_none() || course.returned < self.fed.load(Ordering::Relaxed) {
            tokio::select! {
                biased;
                fed = &mut feeding, if all_fed.is_none() => all_fed = Some(course.note(fed)),
                ended = self.returns.next() => {
                    course.add(ended);
                    self.settle(&mut course).await;
                }
                _ = tell.tick(), if self.part.is_some() => self.settle(&mut course).await,
            }
            progress(&course.ended.report);
        }
        self.finish(course, (all_fed.flatten(), last)).await
    }

    /// Counts what is meant. The number of the last letter: new ones, some of them of this replay,
    /// have higher numbers.
    async fn begin(&self, course: &mut Course) -> Result<i64, LetterStoreError> {
        let last = self.with_store(LetterStore::last_number_blocking).await?;
        course.ended.report.letters = self.count((0, last)).await?;
        self.settle(course).await;
        Ok(last)
    }

    async fn count(&self, between: (i64, i64)) -> Result<u64, LetterStoreError> {
        let filter = self.order.filter.clone();
        self.with_store(move |store| store.count_between_blocking(&filter, between)).await
    }

    /// The last words: all that were sent have ended. `after` is the number of the last of them.
    async fn finish(&self, mut course: Course, (after, last): (Option<i64>, i64)) -> Ended {
        if let Some(after) = after {
            match self.count((after, last)).await {
                Ok(left) => {
                    let report = &mut course.ended.report;
                    let gone = self.fed.load(Ordering::Relaxed) + left;
                    // They were dropped before they were read.
                    report.dropped += report.letters.saturating_sub(gone);
                }
                Err(error) => course.fail(error),
            }
        }
        self.settle(&mut course).await;
        let Course { mut ended, open, .. } = course;
        for letter in open {
            let reason = letter.kept.unwrap_or(KeptReason::Abandoned);
            *ended.report.kept.entry(reason).or_default() += 1;
        }
        if let Some(part) = &self.part {
            ended.report = ended.report.after(&part.done);
        }
        ended
    }

    /// Settles what has come back, and writes how far it is.
    async fn settle(&self, course: &mut Course) {
        let mut report = course.ended.report.clone();
        report.sent = self.sent();
        report.on_way = self.fed.load(Ordering::Relaxed).saturating_sub(course.returned);
        let (open, part) = (course.open.clone(), self.part.clone());
        let settle =
            move |store: &LetterStore| store.settle_blocking(&open, &report, part.as_ref());
        match self.with_store(settle).await {
            Ok((report, is_wanted)) => {
                course.open.clear();
                course.ended.report = report;
                if !is_wanted {
                    course.ended.is_withdrawn = true;
                    course.enough.cancel();
                }
            }
            // The letters are safe: only the word about them is missing.
            Err(error) if course.open.is_empty() => {
                if !std::mem::replace(&mut course.was_told, true) {
                    warn!(error = %Chain(&error), "could not write how far a replay is");
                }
            }
            Err(error) => course.fail(error),
        }
    }

    /// What has become of the events so far.
    fn sent(&self) -> BTreeMap<String, BTreeMap<ReplayResult, u64>> {
        let mut sent: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((to, result), events) in self.line.ledger.snapshot().replayed {
            let before = self.before.replayed.get(&(to, result)).copied().unwrap_or(0);
            if events > before {
                let name = self.line.names.destination(to).to_owned();
                sent.entry(name).or_default().insert(result, events - before);
            }
        }
        sent
    }

    /// Puts the letters on their way; the number of the last one.
    async fn feed(
        &self,
        last: i64,
        stop: impl Future<Output = ()>,
    ) -> Result<i64, LetterStoreError> {
        let mut stop = std::pin::pin!(stop);
        let (mut sent, mut after) = (0, 0);
        loop {
            let filter = self.order.filter.clone();
            let page = move |store: &LetterStore| store.page_blocking(&filter, (after, last), PAGE);
            let page = self.with_store(page).await?;
            let Some(end) = page.last() else { return Ok(sent) };
            after = end.number;
            for stored in page {
                let permit = tokio::select! {
                    biased;
                    () = &mut stop => return Ok(sent),
                    permit = self.budget.reserve(stored.json.len()) => permit,
                };
                sent = stored.number;
                self.fed.fetch_add(1, Ordering::Relaxed);
                self.send(stored, permit);
            }
        }
    }

    fn send(&self, stored: Stored, permit: FetchPermit) {
        let Ok(letter) = serde_json::from_str::<Letter>(&stored.json) else {
            return self.ticket(&stored, LetterPayload::Event, None).keep(KeptReason::Unreadable);
        };
        let (kind, payload) = match &letter.raw {
            _ if self.order.as_is => (LetterPayload::Document, None),
            Some(raw) => (LetterPayload::Record, Some(STANDARD.decode(raw))),
            None => (LetterPayload::Event, None),
        };
        let named = self.order.to.as_ref().or(letter.destination.as_ref());
        let ticket = self.ticket(&stored, kind, named.and_then(|name| self.id(name)));
        if self.order.as_is && letter.document.is_none() {
            return ticket.keep(KeptReason::NoDocument);
        }
        if ticket.to.is_none() && named.is_some() {
            return ticket.keep(KeptReason::NoDestination);
        }
        let payload = match payload {
            None => Bytes::from(stored.json),
            Some(Ok(raw)) => Bytes::from(raw),
            Some(Err(_)) => return ticket.keep(KeptReason::Unreadable),
        };
        let place = Place {
            stream: StreamName::new(&letter.stream),
            region: letter.region,
            shard: ShardId::new(&letter.shard),
        };
        let sequence_number = SequenceNumber::new(&letter.sequence_number);
        let arrival = Timestamp::parse(&letter.arrival).unwrap_or_else(Timestamp::now);
        let at = (Arc::new(place), sequence_number, arrival);
        self.line.queue.push(Record::begin(payload, at, Origin::Letter(ticket), permit));
    }

    fn ticket(&self, of: &Stored, payload: LetterPayload, to: Option<DestinationId>) -> Ticket {
        Ticket::new((of.number, of.id.clone()), payload, to, Arc::clone(&self.returns))
    }

    fn id(&self, name: &str) -> Option<DestinationId> {
        let place = self.line.names.destinations.iter().position(|known| known.as_str() == name)?;
        u16::try_from(place).ok().map(DestinationId)
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LetterStore) -> Result<T, LetterStoreError> + Send + 'static,
    ) -> Result<T, LetterStoreError> {
        match self.line.store.spawn_blocking(work).await {
            Ok(result) => result,
            // Blocking tasks are never cancelled: this one panicked, and so does its caller.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Course {
    fn add(&mut self, ended: Vec<Returned>) {
        self.returned += ended.len() as u64;
        self.open.extend(ended);
    }

    /// The store does not do its part: no more is sent. The first error counts.
    fn fail(&mut self, error: LetterStoreError) {
        self.enough.cancel();
        self.ended.error.get_or_insert(error);
    }

    fn note(&mut self, fed: Result<i64, LetterStoreError>) -> Option<i64> {
        fed.map_err(|error| self.fail(error)).ok()
    }
}
