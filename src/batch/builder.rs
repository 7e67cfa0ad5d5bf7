//! The open body of one destination in one encoder.

use std::sync::Arc;

use crate::event::{Moment, RouteId, append_id};
use crate::memory::BodyPermit;
use crate::record::AckToken;

use super::{Account, Batch, Framing, Item, MIN_CHARGE, offset};

/// The indices that one body may go to. Each is looked for among the others, and the engine sends a
/// part of the body to the shards of each: where names have placeholders there could be thousands.
const MAX_INDICES: usize = 256;

/// How far ahead of what is written the body's memory is fetched, in bytes. An event that is longer is
/// stream enough for the processor to see it coming.
const AHEAD: usize = 1 << 10;

/// How many lines of it are fetched with each event, fewer than a document has: to fetch all of it, or to
/// count how many those are, took more time than it saved.
const LINES: usize = 8;

/// A line of the processor's caches, in bytes.
const LINE: usize = 64;

/// The longest of what leads to an id, in bytes, that is copied without a call: of most names of indices.
const LEAD: usize = 64;

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
    /// What leads to an id, for that index, in no less than [`LEAD`] bytes.
    lead: Vec<u8>,
    /// How many bytes of these it has.
    lead_length: usize,
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
            lead_length: 0,
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
    #[inline]
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
        self.fetch(end - start);
        written
    }

    /// Has memory of the body fetched for the next events, since no second-level cache holds a body, and all
    /// that is written waits behind what is not there yet.
    #[inline(always)]
    fn fetch(&mut self, written: u32) {
        if written as usize <= AHEAD
            && let Some(ahead) = self.body.spare_capacity_mut().get(AHEAD..)
            && let Some(lines) = ahead.as_chunks::<LINE>().0.first_chunk::<LINES>()
        {
            lines.iter().for_each(fetch);
        }
    }

    /// Writes the line before a document. Returns where the id is.
    #[inline(always)]
    fn lead(&mut self, id: &str) -> u32 {
        self.before_id();
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

    /// Writes what leads to an id. Copying more than is needed costs less than copying as much as it is long.
    #[inline(always)]
    fn before_id(&mut self) {
        let end = self.body.len() + self.lead_length;
        match self.lead.first_chunk::<LEAD>() {
            Some(chunk) if self.lead_length <= LEAD => self.body.extend_from_slice(chunk),
            Some(_) | None => self.body.extend_from_slice(&self.lead),
        }
        self.body.truncate(end);
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
    #[inline(always)]
    fn enter_index(&mut self, name: &Arc<str>) {
        let last = self.indices.get(usize::from(self.last_index));
        if last.is_none_or(|last| !Arc::ptr_eq(last, name)) {
            self.enter_other_index(name);
        }
    }

    #[inline(never)]
    fn enter_other_index(&mut self, name: &Arc<str>) {
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
        self.lead_length = self.lead.len();
        self.lead.resize(self.lead_length.max(LEAD), 0);
    }

    /// Nearly always the record of the event before, too.
    #[inline(always)]
    fn record(&mut self, ack: &AckToken) -> u32 {
        let last = self.records.last();
        if last.is_none_or(|last| !Arc::ptr_eq(last.record(), ack.record())) {
            self.enter_record(ack);
        }
        self.undeclared += 1;
        offset(&self.records) - 1
    }

    #[inline(never)]
    fn enter_record(&mut self, ack: &AckToken) {
        self.declare();
        self.records.push(ack.share());
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

/// Has memory fetched, where there is a safe way to tell the processor.
#[inline]
fn fetch<T>(line: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(line);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Returns where the id begins.
#[inline(always)]
fn append(to: &mut Vec<u8>, id: &str) -> u32 {
    let start = offset(to);
    append_id(to, id);
    start
}
