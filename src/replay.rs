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
use tokio::task::spawn_blocking;

use crate::dead_letter::Letter;
use crate::dead_letter::sqlite::{Filter, LetterStore, LetterStoreError, Stored};
use crate::encode::WorkQueue;
use crate::event::{
    DestinationId, DestinationName, SequenceNumber, ShardId, StreamName, Timestamp,
};
use crate::fate::KeptReason;
use crate::memory::{FetchBudget, FetchPermit, ShardBudget};
use crate::record::{LetterPayload, Origin, Place, Record, Returned, Returns, Ticket};
use crate::shutdown::Shutdown;

/// Letters that are read from the store at once, in bytes.
const PAGE: usize = 4 << 20;

/// Letters that are on their way at once, in bytes.
const BUDGET: usize = 8 << 20;

/// Which letters are sent again, and how.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Those that are meant.
    pub filter: Filter,
    /// Whether the stored document is sent, in place of one made from the event by today's route.
    pub as_is: bool,
    /// Where they go, in place of the destination that refused them.
    pub to: Option<DestinationId>,
}

/// How a replay ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters that were sent, and are gone from the store.
    pub removed: u64,
    /// Letters that are still there, by reason.
    pub kept: BTreeMap<KeptReason, u64>,
}

impl Report {
    /// Letters that were taken up.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.removed + self.kept.values().sum::<u64>()
    }
}

/// The replay of one order.
#[derive(Debug)]
pub struct Replay {
    store: LetterStore,
    order: Order,
    destinations: Arc<[DestinationName]>,
    queue: Arc<WorkQueue>,
    budget: ShardBudget,
    returns: Arc<Returns>,
}

impl Replay {
    /// A replay that has not begun. `queue` leads to encoders that keep the book of replays;
    /// `destinations` are the names behind the ids.
    #[must_use]
    pub fn new(
        store: LetterStore,
        order: Order,
        destinations: Arc<[DestinationName]>,
        queue: Arc<WorkQueue>,
    ) -> Self {
        let budget = FetchBudget::new(BUDGET).shard();
        Self { store, order, destinations, queue, budget, returns: Arc::default() }
    }

    /// Sends the letters that are there now, and returns when each has ended. When draining it
    /// sends no more; cutting short is the queue's business. `progress` is called now and then.
    ///
    /// # Errors
    /// The store cannot be read, or what was delivered cannot be removed from it. Letters are then
    /// left that may be sent again.
    pub async fn run(
        self,
        shutdown: &Shutdown,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, LetterStoreError> {
        let mut report = Report::default();
        let mut fed = None;
        let mut feeding = std::pin::pin!(self.feed(shutdown));
        while fed != Some(report.ended()) {
            tokio::select! {
                biased;
                sent = &mut feeding, if fed.is_none() => fed = Some(sent?),
                ended = self.returns.next() => {
                    self.remove(&ended).await?;
                    report.add(&ended);
                    progress(&report);
                }
            }
        }
        Ok(report)
    }

    /// Puts the letters on their way; how many those were.
    async fn feed(&self, shutdown: &Shutdown) -> Result<u64, LetterStoreError> {
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
                    () = shutdown.draining() => return Ok(sent),
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
        let named = letter.destination.as_deref();
        let ticket = self.ticket(&stored, kind, self.order.to.or_else(|| self.id(named?)));
        if self.order.as_is && letter.document.is_none() {
            return ticket.keep(KeptReason::NoDocument);
        }
        if ticket.to.is_none() && letter.destination.is_some() {
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
        self.queue.push(Record::begin(payload, at, Origin::Letter(ticket), permit));
    }

    fn ticket(&self, of: &Stored, payload: LetterPayload, to: Option<DestinationId>) -> Ticket {
        Ticket::new((of.number, of.id.clone()), payload, to, Arc::clone(&self.returns))
    }

    fn id(&self, name: &str) -> Option<DestinationId> {
        let place = self.destinations.iter().position(|known| known.as_str() == name)?;
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
        let store = self.store.clone();
        match spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            // Blocking tasks are never cancelled: this one panicked, and so does its caller.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Report {
    fn add(&mut self, ended: &[Returned]) {
        for letter in ended {
            match letter.kept {
                None => self.removed += 1,
                Some(reason) => *self.kept.entry(reason).or_default() += 1,
            }
        }
    }
}
