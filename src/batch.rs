//! What travels to a destination: one body, a table of spans into it, and shares of the acks.
//!
//! A flow-log event is some hundred bytes, so events never travel one by one. An encoder writes
//! documents straight into the open body; the sealed body is sent as it is; a refused or retried
//! item is cut out by its span.

mod builder;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{DestinationId, Moment, RouteId};
use crate::fate::{AbandonReason, Delivery, RefusalReason, ReplayResult};
use crate::memory::BodyPermit;
use crate::record::{AckToken, Record};
use crate::telemetry::ledger::{Accounts, Book, Ledger};

pub use self::builder::{BatchBuilder, Entry};

/// How a destination wants its documents in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Elasticsearch bulk: a `create` action line with index and id before each document.
    Bulk,
    /// The same without an id, for destinations that take none of ours.
    BulkWithoutIds,
    /// A line with the id before each document; the destination reads spans, not the text.
    Lines,
}

impl Framing {
    /// Whether ids stand in the body, or are kept beside it.
    fn has_ids(self) -> bool {
        match self {
            Self::Bulk | Self::Lines => true,
            Self::BulkWithoutIds => false,
        }
    }
}

/// One event in a body. Offsets are bytes from the body's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    start: u32,
    id: u32,
    id_length: u16,
    index: u16,
    document: u32,
    /// The newline that ends the document.
    end: u32,
    record: u32,
    /// The event's ordinal among all events of its record.
    pub event: u32,
    /// The route that sent it here.
    pub route: RouteId,
}

impl Item {
    /// The bytes it takes in the body.
    #[must_use]
    pub fn size(&self) -> usize {
        (self.end + 1 - self.start) as usize
    }
}

/// Where a batch's fates are booked.
#[derive(Clone, Debug)]
pub struct Account {
    /// The daemon's ledger.
    pub ledger: Arc<Ledger>,
    /// The destination that the batch goes to.
    pub destination: DestinationId,
    /// The account for its events, which are all of one kind.
    pub book: Book,
}

/// What a batch costs of the body budget however small it is: bounds the number of batches, so
/// that the channel to a destination can be sized never to be full.
pub const MIN_CHARGE: usize = 64 << 10;

/// Offsets in a body fit: a body is at most its limit (≤ 100 MiB) plus one document (≤ 96 MiB).
fn offset<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// One event of a batch, as a destination or a dead letter needs it.
#[derive(Clone, Copy, Debug)]
pub struct ItemView<'a> {
    /// The index it goes to.
    pub index: &'a Arc<str>,
    /// Its document id.
    pub id: &'a str,
    /// The document: one JSON object.
    pub document: &'a [u8],
    /// The record it came in.
    pub record: &'a Arc<Record>,
    /// Its ordinal in the record.
    pub event: u32,
    /// The route that sent it here.
    pub route: RouteId,
}

/// A sealed body on its way to one destination.
///
/// Dropped with items in it, they are booked as abandoned and their records stay open.
#[derive(Debug)]
pub struct Batch {
    framing: Framing,
    account: Account,
    permit: BodyPermit,
    body: Bytes,
    ids: Bytes,
    items: Vec<Item>,
    records: Vec<AckToken>,
    indices: Arc<[Arc<str>]>,
    /// How often it was sent without an end.
    pub attempts: u32,
    /// When it was first sent.
    pub first_sent: Option<Moment>,
}

impl Batch {
    /// Its events.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether every event was taken out of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The bytes of its items.
    #[must_use]
    pub fn size(&self) -> usize {
        self.items.iter().map(Item::size).sum()
    }

    /// The destination it goes to.
    #[must_use]
    pub fn destination(&self) -> DestinationId {
        self.account.destination
    }

    /// Whether its events are dead letters that are sent again.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.account.book == Book::Replay
    }

    /// One of its events.
    #[must_use]
    pub fn view(&self, item: &Item) -> Option<ItemView<'_>> {
        let id = item.id as usize..item.id as usize + usize::from(item.id_length);
        let ids = if self.framing.has_ids() { &self.body } else { &self.ids };
        Some(ItemView {
            index: self.indices.get(usize::from(item.index))?,
            id: std::str::from_utf8(ids.get(id)?).ok()?,
            document: self.body.get(item.document as usize..item.end as usize)?,
            record: self.records.get(item.record as usize)?.record(),
            event: item.event,
            route: item.route,
        })
    }

    /// All of its events, in order.
    pub fn views(&self) -> impl Iterator<Item = ItemView<'_>> {
        self.items.iter().filter_map(|item| self.view(item))
    }

    /// The records that its events came in.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.iter().filter(|ack| ack.owed() > 0).map(AckToken::record)
    }

    /// The index that an item goes to.
    #[must_use]
    pub fn index_of(&self, item: &Item) -> Option<&Arc<str>> {
        self.indices.get(usize::from(item.index))
    }

    /// The body to send: just its own items. Free of copying unless items were taken out.
    pub fn body(&mut self) -> Bytes {
        if self.size() != self.body.len() {
            self.compact();
        }
        self.body.clone()
    }

    fn compact(&mut self) {
        let mut body = Vec::with_capacity(self.size());
        for item in &mut self.items {
            let bytes = self.body.get(item.start as usize..=item.end as usize).unwrap_or_default();
            let moved = offset(&body);
            body.extend_from_slice(bytes);
            let shift = |at: u32| at - item.start + moved;
            let id = if self.framing.has_ids() { shift(item.id) } else { item.id };
            let (document, end) = (shift(item.document), shift(item.end));
            *item = Item { start: moved, id, document, end, ..*item };
        }
        self.body = body.into();
    }

    /// Moves the items whose ordinal in the batch is `wanted` into a batch of their own, with
    /// their shares of the acks and of the body budget.
    #[must_use]
    pub fn take(&mut self, mut wanted: impl FnMut(usize, &Item) -> bool) -> Self {
        let whole = self.size().max(1);
        let items = std::mem::take(&mut self.items);
        let mut owed = vec![0u64; self.records.len()];
        let mut taken = Vec::new();
        for (n, item) in items.into_iter().enumerate() {
            if !wanted(n, &item) {
                self.items.push(item);
                continue;
            }
            if let Some(owed) = owed.get_mut(item.record as usize) {
                *owed += 1;
            }
            taken.push(item);
        }
        let records = self.records.iter_mut().zip(owed).map(|(ack, part)| ack.split(part));
        let records = records.collect();
        let bytes: usize = taken.iter().map(Item::size).sum();
        let share = (self.permit.bytes() as u128 * bytes as u128 / whole as u128) as usize;
        Self {
            framing: self.framing,
            account: self.account.clone(),
            permit: self.permit.split(share),
            body: self.body.clone(),
            ids: self.ids.clone(),
            items: taken,
            records,
            indices: Arc::clone(&self.indices),
            attempts: self.attempts,
            first_sent: self.first_sent,
        }
    }

    /// Every event of the batch is at its destination; `already_present` of them were before.
    pub fn settle_delivered(mut self, already_present: usize) {
        let present = already_present.min(self.items.len()) as u64;
        let created = self.items.len() as u64 - present;
        self.book(|accounts, to, book| match book {
            Book::Live => {
                add(&mut accounts.delivered, (to, Delivery::Created), created);
                add(&mut accounts.delivered, (to, Delivery::AlreadyPresent), present);
            }
            Book::Replay => {
                add(&mut accounts.replayed, (to, ReplayResult::Created), created);
                add(&mut accounts.replayed, (to, ReplayResult::AlreadyPresent), present);
            }
        });
        self.settle();
    }

    /// Every event of the batch is durable in the dead-letter store, for the reason at its place.
    pub fn settle_dead_lettered(mut self, reasons: impl Iterator<Item = RefusalReason>) {
        let events = self.items.len() as u64;
        self.book(|accounts, to, book| match book {
            Book::Live => {
                reasons.for_each(|reason| add(&mut accounts.dead_lettered, (to, reason), 1));
            }
            Book::Replay => add(&mut accounts.replayed, (to, ReplayResult::Refused), events),
        });
        self.records().for_each(|record| record.refused_again());
        self.settle();
    }

    fn book(&self, change: impl FnOnce(&mut Accounts, DestinationId, Book)) {
        let Account { ledger, destination, book } = &self.account;
        ledger.book(|accounts| change(accounts, *destination, *book));
    }

    fn settle(&mut self) {
        self.items.clear();
        AckToken::settle_all(std::mem::take(&mut self.records));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.items.is_empty() {
            return;
        }
        let events = self.items.len() as u64;
        self.book(|accounts, to, book| match book {
            Book::Live => add(&mut accounts.abandoned, (to, AbandonReason::Shutdown), events),
            Book::Replay => add(&mut accounts.replayed, (to, ReplayResult::Abandoned), events),
        });
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, events: u64) {
    if events > 0 {
        *counts.entry(key).or_default() += events;
    }
}

#[cfg(test)]
pub(crate) mod tests;
