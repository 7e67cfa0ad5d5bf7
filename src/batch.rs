//! What travels to a destination: one body, a table of spans into it, and shares of the acks.
//!
//! A flow-log event is some hundred bytes, so events never travel one by one. An encoder writes
//! documents straight into the open body; the sealed body is sent as it is; a refused or retried
//! item is cut out by its span.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{DestinationId, Moment, RouteId};
use crate::fate::{AbandonReason, Delivery, RefusalReason, ReplayResult};
use crate::memory::BodyPermit;
use crate::record::{AckToken, Record};
use crate::telemetry::ledger::{Accounts, Book, Ledger};

/// The indices that one body may go to. Each is looked for among the others, and the engine sends a
/// part of the body to the shards of each: where names have placeholders there could be thousands.
const MAX_INDICES: usize = 256;

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

/// What an event brings to a body besides its document.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The record that the event came in; its own token must still be unsettled.
    pub ack: &'a AckToken,
    /// The event's ordinal in the record.
    pub event: u32,
    /// The route that chose the destination.
    pub route: RouteId,
    /// The index. Must need no escaping in JSON, as index templates make sure.
    pub index: &'a Arc<str>,
    /// The document id. Must need no escaping in JSON: ids are GUIDs, digits or hashes.
    pub id: &'a str,
}

/// The open body of one destination in one encoder.
#[derive(Debug)]
pub struct BatchBuilder {
    framing: Framing,
    account: Account,
    permit: BodyPermit,
    opened: Moment,
    body: Vec<u8>,
    /// Ids that do not stand in the body; a dead letter needs them.
    ids: Vec<u8>,
    items: Vec<Item>,
    records: Vec<AckToken>,
    /// Events of the last record that it does not know of yet.
    undeclared: u64,
    indices: Vec<Arc<str>>,
    /// The place of the index of the event before.
    last_index: u16,
    /// What leads to an id, for that index.
    lead: Vec<u8>,
}

impl BatchBuilder {
    /// Opens a body; `permit` is what it may grow to.
    #[must_use]
    pub fn open(framing: Framing, account: Account, mut permit: BodyPermit, now: Moment) -> Self {
        Self {
            framing,
            account,
            opened: now,
            body: permit.buffer(),
            ids: Vec::new(),
            items: Vec::new(),
            records: Vec::new(),
            undeclared: 0,
            indices: Vec::new(),
            last_index: 0,
            lead: Vec::new(),
            permit,
        }
    }

    /// When it was opened.
    #[must_use]
    pub fn opened(&self) -> Moment {
        self.opened
    }

    /// Bytes written so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + self.ids.len()
    }

    /// Writes one event: its leading line, then what `write` appends as the document, which must
    /// be one line.
    pub fn push<R>(&mut self, entry: Entry<'_>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = offset(&self.body);
        self.enter_index(entry.index);
        let id = self.lead(entry.id);
        let document = offset(&self.body);
        let written = write(&mut self.body);
        let end = offset(&self.body);
        self.body.push(b'\n');
        let item = Item {
            start,
            id,
            id_length: u16::try_from(entry.id.len()).unwrap_or(u16::MAX),
            index: self.last_index,
            document,
            end,
            record: self.record(entry.ack),
            event: entry.event,
            route: entry.route,
        };
        self.items.push(item);
        written
    }

    /// Writes the line before a document. Returns where the id is.
    fn lead(&mut self, id: &str) -> u32 {
        self.body.extend_from_slice(&self.lead);
        match self.framing {
            Framing::Bulk => {
                let at = append(&mut self.body, id);
                self.body.extend_from_slice(b"\"}}\n");
                at
            }
            Framing::BulkWithoutIds => append(&mut self.ids, id),
            Framing::Lines => {
                let at = append(&mut self.body, id);
                self.body.push(b'\n');
                at
            }
        }
    }

    /// The document written last, so that a second destination of the event can copy it.
    #[must_use]
    pub fn last_document(&self) -> &[u8] {
        let span = self.items.last().map_or(0..0, |item| item.document as usize..item.end as usize);
        self.body.get(span).unwrap_or_default()
    }

    /// Closes the body. It keeps as much of the permit as it is long.
    #[must_use]
    pub fn seal(mut self) -> Batch {
        self.declare();
        let body = std::mem::take(&mut self.body);
        self.permit.resize((body.len() + self.ids.len()).max(MIN_CHARGE));
        let body = self.permit.complete(body);
        Batch {
            framing: self.framing,
            account: self.account,
            permit: self.permit,
            body,
            ids: self.ids.into(),
            items: self.items,
            records: self.records,
            indices: self.indices.into(),
            attempts: 0,
            first_sent: None,
        }
    }

    /// Nearly always the index of the event before; a body holds a handful of indices.
    fn enter_index(&mut self, name: &Arc<str>) {
        let last = self.indices.get(usize::from(self.last_index));
        if last.is_some_and(|last| Arc::ptr_eq(last, name)) {
            return;
        }
        let known = self.indices.iter().rposition(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.indices.push(Arc::clone(name));
            self.indices.len() - 1
        });
        self.last_index = u16::try_from(place).unwrap_or(u16::MAX);
        let (create, before_id): (_, &[u8]) = match self.framing {
            Framing::Bulk => (true, b"\",\"_id\":\""),
            Framing::BulkWithoutIds => (true, b"\"}}\n"),
            Framing::Lines => (false, b""),
        };
        self.lead.clear();
        if create {
            self.lead.extend_from_slice(b"{\"create\":{\"_index\":\"");
            self.lead.extend_from_slice(name.as_bytes());
            self.lead.extend_from_slice(before_id);
        }
    }

    fn record(&mut self, ack: &AckToken) -> u32 {
        let is_last =
            self.records.last().is_some_and(|last| Arc::ptr_eq(last.record(), ack.record()));
        if !is_last {
            self.declare();
            self.records.push(ack.share());
        }
        self.undeclared += 1;
        offset(&self.records) - 1
    }

    /// Declares what the record of the last events owes for them. To be done before the encoder's own
    /// token of that record is settled; not for each event, since all that share a record count there.
    pub fn declare(&mut self) {
        let events = std::mem::take(&mut self.undeclared);
        if events > 0
            && let Some(last) = self.records.last_mut()
        {
            last.grow(events);
        }
    }

    /// Whether an event to yet another index still fits in.
    #[must_use]
    pub fn has_room_for_index(&self) -> bool {
        self.indices.len() < MAX_INDICES
    }
}

/// What a batch costs of the body budget however small it is: bounds the number of batches, so
/// that the channel to a destination can be sized never to be full.
pub const MIN_CHARGE: usize = 64 << 10;

/// Returns where the text begins.
fn append(to: &mut Vec<u8>, text: &str) -> u32 {
    let start = offset(to);
    to.extend_from_slice(text.as_bytes());
    start
}

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
        std::mem::take(&mut self.records).into_iter().for_each(AckToken::settle);
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
