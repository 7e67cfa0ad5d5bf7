//! Dead letters as one more source of the same pipeline: read in order, sent again, removed when
//! all they held is where it belongs (DESIGN §10).
//!
//! A letter is removed only after its events have ended elsewhere, durably. Broken off anywhere,
//! a replay leaves letters whose events are delivered; sending those again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::dead_letter::Letter;
use crate::dead_letter::requests::{Order, Report};
use crate::dead_letter::sqlite::{LetterStore, LetterStoreError, Stored};
use crate::encode::WorkQueue;
use crate::event::{DestinationId, SequenceNumber, ShardId, StreamName, Timestamp};
use crate::fate::{KeptReason, ReplayResult};
use crate::memory::{FetchBudget, FetchPermit, ShardBudget};
use crate::record::{LetterPayload, Origin, Place, Record, Returned, Returns, Ticket};
use crate::telemetry::ledger::{Accounts, Ledger};
use crate::telemetry::ledger_metrics::Names;

/// Letters that are read from the store at once, in bytes.
const PAGE: usize = 1 << 20;

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
    budget: ShardBudget,
    returns: Arc<Returns>,
    before: Accounts,
}

impl Replay {
    /// A replay that has not begun. One line carries one at a time.
    #[must_use]
    pub fn new(line: Line, order: Order) -> Self {
        let (budget, before) = (line.budget.shard(), line.ledger.snapshot());
        Self { line, order, budget, returns: Arc::default(), before }
    }

    /// Sends the letters that are there now, and returns when each has ended. Once `stop` resolves
    /// it sends no more; cutting short is the queue's business. `progress` is called now and then.
    ///
    /// # Errors
    /// The store cannot be read, or what was delivered cannot be removed from it. Letters are then
    /// left that may be sent again.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, LetterStoreError> {
        let filter = self.order.filter.clone();
        let letters = self.with_store(move |store| store.count_blocking(&filter)).await?;
        let mut report = Report { letters, ..Report::default() };
        progress(&report);
        let mut fed = None;
        let mut feeding = std::pin::pin!(self.feed(stop));
        while fed != Some(report.ended()) {
            tokio::select! {
                biased;
                sent = &mut feeding, if fed.is_none() => fed = Some(sent?),
                ended = self.returns.next() => {
                    self.remove(&ended).await?;
                    add(&mut report, &ended);
                    report.sent = self.sent();
                    progress(&report);
                }
            }
        }
        Ok(report)
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

    /// Puts the letters on their way; how many those were.
    async fn feed(&self, stop: impl Future<Output = ()>) -> Result<u64, LetterStoreError> {
        let mut stop = std::pin::pin!(stop);
        // New letters, some of them of this replay, have higher numbers.
        let last = self.with_store(LetterStore::last_number_blocking).await?;
        let (mut after, mut sent) = (0, 0);
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
                sent += 1;
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

    /// Removes the letters that have ended well.
    async fn remove(&self, ended: &[Returned]) -> Result<(), LetterStoreError> {
        let done = ended.iter().filter(|letter| letter.kept.is_none());
        let done: Vec<i64> = done.map(|letter| letter.number).collect();
        if done.is_empty() {
            return Ok(());
        }
        self.with_store(move |store| store.remove_blocking(&done)).await
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

fn add(report: &mut Report, ended: &[Returned]) {
    for letter in ended {
        match letter.kept {
            None => report.removed += 1,
            Some(reason) => *report.kept.entry(reason).or_default() += 1,
        }
    }
}
