//! A Kinesis record on its way, and the fates it still owes.
//!
//! A record stays in memory, compressed, until every one of its events has a fate: a dead letter
//! is made from it. Its bytes in the fetch budget return with it.

mod ticket;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::ack::{ShardAcks, Slot};
use crate::event::{SequenceNumber, ShardId, StreamName, Timestamp};
use crate::fate::KeptReason;
use crate::memory::{FetchPermit, Waiting};

pub use self::ticket::{LetterPayload, Returned, Returns, Ticket};

/// The shard that records come from; shared by all its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream, as the configuration calls it.
    pub stream: StreamName,
    /// The AWS region of the stream.
    pub region: String,
    /// The shard.
    pub shard: ShardId,
}

/// The last user record of a KPL aggregate that was read before, if reading goes on inside it.
pub type ReadThrough = Option<u32>;

/// Who is told when a record is settled.
#[derive(Debug)]
pub enum Origin {
    /// A shard: its checkpoint may pass the record.
    Shard(Arc<ShardAcks>, Slot, ReadThrough),
    /// The dead-letter store: the letter may be removed.
    Letter(Ticket),
}

/// A fetched Kinesis record, or a dead letter that is sent again.
#[derive(Debug)]
pub struct Record {
    /// The bytes as Kinesis gave them; of a dead letter, what its ticket says.
    pub payload: Bytes,
    /// Where it was read.
    pub place: Arc<Place>,
    /// Its position in the shard.
    pub sequence_number: SequenceNumber,
    /// When Kinesis took it in (`ApproximateArrivalTimestamp`).
    pub arrival: Timestamp,
    origin: Origin,
    /// Fates not yet given; 0 settles the record.
    owed: AtomicU64,
    /// The last of its user records, once it was found to be a KPL aggregate.
    user_record: OnceLock<u32>,
    fetched: FetchPermit,
}

impl Record {
    /// Puts a record on its way. It owes one fate: the encoder's own, which the returned token
    /// stands for and which is settled when all its events have been declared.
    pub fn begin(
        payload: Bytes,
        at: (Arc<Place>, SequenceNumber, Timestamp),
        origin: Origin,
        fetched: FetchPermit,
    ) -> AckToken {
        let (place, sequence_number, arrival) = at;
        let owed = AtomicU64::new(1);
        let user_record = OnceLock::new();
        let record =
            Self { payload, place, sequence_number, arrival, origin, owed, user_record, fetched };
        AckToken { record: Arc::new(record), owed: 1 }
    }

    /// Takes `fates` off what it owes. True with the last of them: then it is settled.
    fn pay(&self, fates: u64) -> bool {
        // Release/acquire: whoever settles last sees all that the others did before.
        fates > 0 && self.owed.fetch_sub(fates, Ordering::AcqRel) == fates
    }

    /// Says, until the result is dropped, that it waits for a destination: its shard reads less then.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        self.fetched.wait()
    }

    /// Notes that it is a KPL aggregate, and the number of its last user record: a checkpoint says
    /// both, as KCL's do.
    pub fn is_aggregate(&self, last: u32) {
        _ = self.user_record.set(last);
    }

    /// Whether a user record of it was read before.
    #[must_use]
    pub fn was_read(&self, user_record: Option<u32>) -> bool {
        match &self.origin {
            Origin::Shard(_, _, through) => user_record.is_some() && user_record <= *through,
            Origin::Letter(_) => false,
        }
    }

    /// The order that it follows, where it is a dead letter that is sent again.
    #[must_use]
    pub fn ticket(&self) -> Option<&Ticket> {
        match &self.origin {
            Origin::Shard(..) => None,
            Origin::Letter(ticket) => Some(ticket),
        }
    }

    /// Notes that a destination refused an event of it. Where the record is a letter of that one
    /// event, the letter stays; the events of a whole record have become letters of their own.
    pub(crate) fn refused_again(&self) {
        if let Some(ticket) = self.ticket() {
            match ticket.payload {
                LetterPayload::Event | LetterPayload::Document => ticket.keep(KeptReason::Refused),
                LetterPayload::Record => {}
            }
        }
    }
}

/// What a shard is told of a record: its slot, and its last user record where it is an aggregate.
type SettledSlot = (Slot, Option<u32>);

/// A share of the fates that a record owes.
///
/// Dropped unsettled, the record stays open and its shard's checkpoint stays before it: the
/// events will be read again. That is safe, and never a fate.
#[derive(Debug)]
#[must_use = "an event without a fate holds the checkpoint back"]
pub struct AckToken {
    record: Arc<Record>,
    owed: u64,
}

impl AckToken {
    /// The record that owes.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Takes the record up: events are about to be taken out of it. False where its shard was
    /// given back meanwhile; then this token is to be dropped.
    #[must_use]
    pub fn begin(&self) -> bool {
        match &self.record.origin {
            Origin::Shard(acks, slot, _) => acks.begin(*slot),
            Origin::Letter(_) => true,
        }
    }

    /// Leaves the record for later, before any event was taken out of it.
    pub fn put_off(&self) {
        if let Origin::Shard(acks, slot, _) = &self.record.origin {
            acks.put_off(*slot);
        }
    }

    /// Whether the record was given back: another daemon will read it.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        match &self.record.origin {
            Origin::Shard(acks, slot, _) => acks.is_given_back(*slot),
            Origin::Letter(_) => false,
        }
    }

    /// The fates this token stands for.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// An empty share of the same record, to be grown.
    pub fn share(&self) -> Self {
        Self { record: Arc::clone(&self.record), owed: 0 }
    }

    /// Declares `events` more fates that the record owes. Only while another token of the record
    /// is unsettled, as the encoder's own is while it reads the record.
    pub fn grow(&mut self, events: u64) {
        self.record.owed.fetch_add(events, Ordering::Relaxed);
        self.owed += events;
    }

    /// Moves `part` of the fates into a token of its own; at most what is there.
    pub fn split(&mut self, part: u64) -> Self {
        let part = part.min(self.owed);
        self.owed -= part;
        Self { record: Arc::clone(&self.record), owed: part }
    }

    /// Every event of this share has a fate.
    pub fn settle(self) {
        Self::settle_each(&[self]);
    }

    /// Every event of these shares has a fate. Each shard is told once, of all its records.
    pub fn settle_all(shares: Vec<Self>) {
        Self::settle_each(&shares);
    }

    /// Who calls this has the shares, and nobody has them afterwards.
    fn settle_each(shares: &[Self]) {
        let mut shards: Vec<(&Arc<ShardAcks>, Vec<SettledSlot>)> = Vec::new();
        let settled = shares.iter().filter(|share| share.record.pay(share.owed));
        for record in settled.map(Self::record) {
            match &record.origin {
                Origin::Letter(ticket) => ticket.settle(),
                Origin::Shard(acks, slot, _) => {
                    let one = (*slot, record.user_record.get().copied());
                    // A body has records of a few shards.
                    match shards.iter_mut().find(|(of, _)| Arc::ptr_eq(of, acks)) {
                        Some((_, slots)) => slots.push(one),
                        None => shards.push((acks, vec![one])),
                    }
                }
            }
        }
        shards.into_iter().for_each(|(acks, slots)| acks.settle(slots));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of a shard whose acks the caller follows.
    pub(crate) fn record(acks: &Arc<ShardAcks>, number: u32, payload: &[u8]) -> AckToken {
        let place = Place {
            stream: StreamName::new("test"),
            region: "eu-west-1".to_owned(),
            shard: ShardId::new("shardId-000000000000"),
        };
        let at = SequenceNumber::new(&number.to_string());
        let slot = acks.open(at.clone());
        let origin = Origin::Shard(Arc::clone(acks), slot, None);
        let at = (Arc::new(place), at, Timestamp(1_700_000_000_000));
        Record::begin(Bytes::copy_from_slice(payload), at, origin, FetchPermit::default())
    }

    #[test]
    fn a_record_settles_with_its_last_fate() {
        let acks = Arc::new(ShardAcks::default());
        let own = record(&acks, 7, b"");
        let mut events = own.share();
        events.grow(3);
        own.settle();
        let one = events.split(1);
        events.settle();
        assert_eq!(acks.progress().borrow().settled, None);
        one.settle();
        let settled = acks.progress().borrow().settled.clone();
        assert_eq!(settled.unwrap().number, SequenceNumber::new("7"));
    }

    #[test]
    fn each_shard_is_told_once_of_all_its_records_in_a_body() {
        let shards = [Arc::new(ShardAcks::default()), Arc::new(ShardAcks::default())];
        let mut told = shards.each_ref().map(|acks| acks.progress());
        let tokens: Vec<_> = (0..6)
            .map(|number| {
                let mut own = record(&shards[number % 2], number as u32, b"");
                let in_body = own.split(1);
                // The last of each shard owes one more.
                if number >= 4 {
                    own.grow(1);
                }
                (own, in_body)
            })
            .collect();
        let (others, in_body): (Vec<_>, Vec<_>) = tokens.into_iter().unzip();
        told.iter_mut().for_each(|progress| progress.mark_unchanged());
        AckToken::settle_all(in_body);
        for (progress, last) in told.iter_mut().zip(["2", "3"]) {
            assert!(progress.has_changed().unwrap());
            let progress = progress.borrow_and_update();
            assert_eq!(progress.open, 1);
            assert_eq!(progress.settled.as_ref().unwrap().number, SequenceNumber::new(last));
        }
        AckToken::settle_all(others);
        assert!(shards.iter().all(|acks| acks.progress().borrow().open == 0));
    }

    #[test]
    fn a_dropped_token_leaves_its_record_open() {
        let acks = Arc::new(ShardAcks::default());
        let own = record(&acks, 7, b"");
        let mut events = own.share();
        events.grow(2);
        own.settle();
        drop(events.split(1));
        events.settle();
        assert_eq!(acks.progress().borrow().open, 1);
    }
}
