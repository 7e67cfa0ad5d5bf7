//! One encoder thread: takes a record, reads it event by event into the open bodies.

mod choices;
mod letters;

use std::ops::ControlFlow;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{error, trace, warn};

use crate::batch::{BatchBuilder, Entry};
use crate::dead_letter::Letter;
use crate::decode::{self, Envelope, LogEvent, Undecodable};
use crate::event::{DestinationId, Moment, RouteId};
use crate::fate::KeptReason;
use crate::parse::{self, Parsed, Parser, Source, Stamp};
use crate::record::{AckToken, LetterPayload, Record};
use crate::route::{Choice, IndexTemplate, Placed, Way};
use crate::telemetry::chain::Chain;
use crate::telemetry::rate_limit::RateLimit;

use self::choices::Choices;
use super::queue::{Next, Place, Work};
use super::tally::Tally;
use super::{Outlet, Shared};

/// How long the letter store is left alone after it refused a letter.
const LETTER_RETRY: Duration = Duration::from_secs(5);

/// What a document has around its message, roughly: the `@` fields and the action line.
const OVERHEAD: usize = 512;

/// The thread's own buffer beside its bench, so that what borrows from the one can be written
/// with the other.
pub(super) struct Encoder {
    buffers: decode::Buffers,
    bench: Bench,
}

/// Everything of a thread but the inflated record.
struct Bench {
    shared: Arc<Shared>,
    /// The open body of each destination.
    open: Vec<Option<BatchBuilder>>,
    tally: Tally,
    choices: Choices,
    memory: parse::Memory,
    letters_again: Moment,
    undecodable_limit: RateLimit,
}

/// How a pass over a record ended.
enum Pass {
    /// Every event of it is in a body or filtered, or the record is a durable dead letter.
    Done,
    /// It must wait, and then go on from this event.
    Park(Place, u32),
}

impl Encoder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (routes, destinations) = (shared.routes.len(), shared.outlets.len());
        let bench = Bench {
            open: (0..destinations).map(|_| None).collect(),
            tally: Tally::new(routes, destinations, shared.book),
            choices: Choices::new(routes),
            memory: parse::Memory::default(),
            letters_again: Moment::default(),
            undecodable_limit: RateLimit::default(),
            shared,
        };
        Self { buffers: decode::Buffers::default(), bench }
    }

    /// On a thread of its own.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.bench.shared);
        loop {
            let now = shared.clock.now();
            let open_for = self.bench.seal_old(now);
            let next = shared.queue.next(|place| self.bench.may_run(place, now), open_for);
            if self.step(next).is_break() {
                break;
            }
        }
    }

    /// As a task, for a simulation: one record at a time, and then others have their turn.
    pub(super) async fn run_as_task(mut self) {
        let shared = Arc::clone(&self.bench.shared);
        loop {
            let told = shared.queue.told();
            let now = shared.clock.now();
            let open_for = self.bench.seal_old(now);
            let may_run = |place| self.bench.may_run(place, now);
            let Some(next) = shared.queue.try_next(may_run, open_for.is_some()) else {
                shared.queue.wait(told, open_for).await;
                continue;
            };
            if self.step(next).is_break() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    fn step(&mut self, next: Next) -> ControlFlow<()> {
        match next {
            Next::Work(work) => self.work(work),
            Next::Timeout => {}
            Next::Hurry => self.bench.seal_all(),
            Next::Closed => {
                self.bench.seal_all();
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn work(&mut self, mut work: Work) {
        if let Some(since) = work.parked.take() {
            self.bench.count_parked(since);
        }
        if !work.ack.begin() {
            return;
        }
        let pass = self.read(&mut work);
        self.bench.open.iter_mut().flatten().for_each(BatchBuilder::declare);
        self.bench.tally.book(&self.bench.shared.ledger);
        match pass {
            Pass::Done => work.ack.settle(),
            Pass::Park(place, next_event) => {
                if next_event == 0 {
                    work.ack.put_off();
                }
                let now = self.bench.shared.clock.now();
                let work = Work { next_event, parked: Some(now), ..work };
                self.bench.shared.queue.park(place, work);
            }
        }
        let usual = self.bench.shared.limits.usual;
        if self.buffers.capacity() > usual {
            self.buffers = decode::Buffers::default();
        }
    }

    fn read(&mut self, work: &mut Work) -> Pass {
        let record = Arc::clone(work.ack.record());
        match record.ticket().map(|ticket| (ticket, ticket.payload)) {
            Some((ticket, LetterPayload::Event | LetterPayload::Document)) => {
                self.bench.letter(work, ticket)
            }
            Some((_, LetterPayload::Record)) | None => self.record(work, &record),
        }
    }

    fn record(&mut self, work: &mut Work, record: &Record) -> Pass {
        let limits = self.bench.shared.limits;
        match self.pass(work, record, limits.usual) {
            Ok(pass) => pass,
            Err(Undecodable::TooLarge { .. }) => {
                let shared = Arc::clone(&self.bench.shared);
                let Some(_taken) = shared.slot.try_take() else {
                    return Pass::Park(Place::Large, work.next_event);
                };
                let pass = self.pass(work, record, limits.most);
                pass.unwrap_or_else(|why| self.bench.undecodable(work, &why))
            }
            Err(why) => self.bench.undecodable(work, &why),
        }
    }

    fn pass(&mut self, work: &mut Work, record: &Record, cap: usize) -> Result<Pass, Undecodable> {
        let decoded = decode::decode(&record.payload, cap, &mut self.buffers)?;
        if let Some(last) = decoded.user_records {
            record.is_aggregate(last);
        }
        let parked = self.bench.envelopes(work, &decoded.envelopes);
        // One that is put off may be given back, and is then as if it had never been read.
        let is_put_off = parked.is_some_and(|(_, event)| event == 0);
        if !is_put_off && !std::mem::replace(&mut work.counted, true) {
            self.bench.tally.record();
            if decoded.control_messages > 0 {
                self.bench.tally.rare().records_control += u64::from(decoded.control_messages);
            }
        }
        Ok(parked.map_or(Pass::Done, |(place, event)| Pass::Park(place, event)))
    }
}

/// An event with where it comes from, and the route that it takes.
struct At<'a> {
    ack: &'a AckToken,
    source: &'a Source<'a>,
    event: &'a LogEvent<'a>,
    /// Its place among the events of its record.
    ordinal: u32,
    route: RouteId,
}

impl Bench {
    /// Reads the events that are left of a record, until a body has no room.
    fn envelopes(&mut self, work: &Work, envelopes: &[Envelope<'_>]) -> Option<(Place, u32)> {
        let mut first = 0;
        for envelope in envelopes {
            if !work.ack.record().was_read(envelope.user_record)
                && let Some(parked) = self.envelope(work, envelope, first)
            {
                return Some(parked);
            }
            first += u32::try_from(envelope.log_events.len()).unwrap_or(u32::MAX);
        }
        None
    }

    /// Reads the events of an envelope whose first has the ordinal `first`. Returns where to park
    /// and the event to go on from, if a body has no room.
    fn envelope(
        &mut self,
        work: &Work,
        envelope: &Envelope<'_>,
        first: u32,
    ) -> Option<(Place, u32)> {
        let skip = work.next_event.saturating_sub(first) as usize;
        let events = envelope.log_events.get(skip..).filter(|events| !events.is_empty())?;
        let first = first.max(work.next_event);
        let Envelope { owner, log_group, log_stream, .. } = envelope;
        let source = Source::new(owner, log_group, log_stream, &work.ack.record().place.region);
        let source = source.with_memory(std::mem::take(&mut self.memory));
        let parked = self.events(work, &source, events, first);
        self.memory = source.into_memory();
        parked
    }

    /// Reads events of one source, the first of which has the ordinal `first`; returns what
    /// `envelope` does.
    fn events(
        &mut self,
        work: &Work,
        source: &Source<'_>,
        events: &[LogEvent<'_>],
        first: u32,
    ) -> Option<(Place, u32)> {
        let shared = Arc::clone(&self.shared);
        let choice = self.choices.routes(&shared.routes, &work.ack.record().place.stream, source);
        if let Choice::Envelope(route) = choice {
            let way = &shared.routes.get(route)?.way;
            return self.all_one_way((&work.ack, source), events, first, (route, way));
        }
        for (ordinal, event) in (first..).zip(events) {
            let (route, read) = shared.routes.route(choice, source, event);
            match &shared.routes.get(route)?.way {
                Way::Discard => self.tally.discarded(route, 1),
                Way::Send { parser, to, index } => {
                    let at = At { ack: &work.ack, source, event, ordinal, route };
                    let way = (parser, index, only(&work.ack).unwrap_or(to));
                    if let Err(full) = self.event(at, read, way) {
                        return Some((Place::Destination(full), ordinal));
                    }
                }
            }
        }
        None
    }

    /// The same for events that all take one route, as nearly all do.
    fn all_one_way(
        &mut self,
        (ack, source): (&AckToken, &Source<'_>),
        events: &[LogEvent<'_>],
        first: u32,
        (route, way): (RouteId, &Way),
    ) -> Option<(Place, u32)> {
        let Way::Send { parser, to, index } = way else {
            self.tally.discarded(route, events.len() as u64);
            return None;
        };
        let way = (parser, index, only(ack).unwrap_or(to));
        for (ordinal, event) in (first..).zip(events) {
            let at = At { ack, source, event, ordinal, route };
            if let Err(full) = self.event(at, None, way) {
                return Some((Place::Destination(full), ordinal));
            }
        }
        None
    }

    /// Writes one event into the body of each of its destinations, or of none: then the
    /// destination without room is returned. `read` is what `auto` made of it, where its route
    /// depends on that.
    #[inline]
    fn event(
        &mut self,
        at: At<'_>,
        read: Option<Parsed<'_>>,
        (parser, index, to): (&Parser, &IndexTemplate, &[DestinationId]),
    ) -> Result<(), DestinationId> {
        let need = at.event.message.len() + OVERHEAD;
        if let Some(full) = to.iter().find(|to| !self.has_open(**to, need)) {
            return Err(*full);
        }
        let arrival = at.ack.record().arrival;
        // Every `auto` reads alike.
        let parsed = match read {
            Some(read) if matches!(parser, Parser::Auto(_)) => read,
            Some(_) | None => parser.read(at.source, at.event),
        };
        let time = parsed.time().unwrap_or(arrival);
        let placed = index.place(time, arrival);
        let stamp = match placed {
            Placed::Day(_) => Stamp { timestamp: time, undated: false },
            Placed::Undated => Stamp { timestamp: arrival, undated: true },
        };
        let made;
        let index = match self.choices.index(at.route, index, placed, at.source) {
            Some(known) => known,
            // Not remembered, it is made for this event: none may be left without a fate.
            None => {
                made = index.name(placed, at.source);
                &made
            }
        };
        let id = parsed.document_id(at.source);
        let entry = Entry { ack: at.ack, event: at.ordinal, route: at.route, index, id: &id };
        let Some((first, others)) = to.split_first() else { return Ok(()) };
        let Some(Some(body)) = self.open.get_mut(usize::from(first.0)) else { return Ok(()) };
        let written = body.push(entry, |out| parsed.write(at.source, stamp, out));
        for other in others {
            let pair = [usize::from(first.0), usize::from(other.0)];
            if let Ok([Some(from), Some(to)]) = self.open.get_disjoint_mut(pair) {
                to.push(entry, |out| out.extend_from_slice(from.last_document()));
            }
        }
        self.tally.matched(at.route, to);
        self.count(at.route, parser, &parsed, (placed, written.fields_as_text));
        parsed.give_back(at.source);
        Ok(())
    }

    fn count(
        &mut self,
        route: RouteId,
        parser: &Parser,
        parsed: &Parsed<'_>,
        (placed, as_text): (Placed, u32),
    ) {
        if matches!(parser, Parser::Auto(_)) {
            self.tally.detected(route, parsed.kind());
        }
        if let Some(error) = parsed.parse_error() {
            *self.tally.rare().parse_errors.entry((route, error.label())).or_default() += 1;
        }
        if placed == Placed::Undated {
            *self.tally.rare().undated.entry(route).or_default() += 1;
        }
        self.tally.as_text(route, as_text);
    }

    /// Makes sure that the destination has an open body with `need` bytes left, or an empty one.
    /// False when the budget has no room for another body.
    #[inline]
    fn has_open(&mut self, to: DestinationId, need: usize) -> bool {
        let fits = |(body, outlet): (&BatchBuilder, &Outlet)| {
            body.size() + need <= outlet.max_body && body.has_room_for_index() || body.size() == 0
        };
        self.open_body(to).is_some_and(fits) || self.open_another(to)
    }

    /// Opens a body, after that which may be open is closed.
    #[inline(never)]
    fn open_another(&mut self, to: DestinationId) -> bool {
        self.seal(to);
        let shared = Arc::clone(&self.shared);
        let place = usize::from(to.0);
        let Some(outlet) = shared.outlets.get(place) else { return false };
        let Some(permit) = outlet.budget.try_reserve(outlet.charge()) else { return false };
        let now = shared.clock.now();
        let body = BatchBuilder::open(outlet.framing, outlet.account.clone(), permit, now);
        if let Some(open) = self.open.get_mut(place) {
            *open = Some(body);
        }
        true
    }

    /// Closes a body and sends it on its way.
    fn seal(&mut self, to: DestinationId) {
        let place = usize::from(to.0);
        let Some(body) = self.open.get_mut(place).and_then(Option::take) else { return };
        // Routed is booked before any of it can be delivered.
        self.tally.book(&self.shared.ledger);
        let Some(outlet) = self.shared.outlets.get(place) else { return };
        if let Err(refused) = outlet.batches.try_send(body.seal()) {
            // The pool is gone: the daemon was cut short, and the batch is abandoned.
            trace!(error = %refused, "no pool takes the batch");
        }
    }

    /// Closes the bodies that have been open for long enough. Returns how long the oldest of the
    /// others may stay open, or none if no body is open.
    fn seal_old(&mut self, now: Moment) -> Option<Duration> {
        let mut open_for: Option<Duration> = None;
        for to in self.destinations() {
            let Some((body, outlet)) = self.open_body(to) else { continue };
            let left = outlet.max_wait.saturating_sub(now.since(body.opened()));
            if left.is_zero() {
                self.seal(to);
            } else {
                open_for = Some(open_for.map_or(left, |least| least.min(left)));
            }
        }
        open_for
    }

    fn open_body(&self, to: DestinationId) -> Option<(&BatchBuilder, &Outlet)> {
        let place = usize::from(to.0);
        Some((self.open.get(place)?.as_ref()?, self.shared.outlets.get(place)?))
    }

    fn seal_all(&mut self) {
        for to in self.destinations() {
            self.seal(to);
        }
        self.tally.book(&self.shared.ledger);
    }

    fn destinations(&self) -> impl Iterator<Item = DestinationId> + use<> {
        let count = u16::try_from(self.shared.outlets.len()).unwrap_or(u16::MAX);
        (0..count).map(DestinationId)
    }

    /// Whether what a parked record waits for is there now.
    fn may_run(&self, place: Place, now: Moment) -> bool {
        match place {
            Place::Large => self.shared.slot.is_free(),
            Place::Letters => now >= self.letters_again,
            Place::Destination(to) => {
                let outlet = self.shared.outlets.get(usize::from(to.0));
                self.open_body(to).is_some()
                    || outlet.is_some_and(|outlet| outlet.budget.has_room(outlet.charge()))
            }
        }
    }

    fn undecodable(&mut self, work: &mut Work, why: &Undecodable) -> Pass {
        let record = work.ack.record();
        let letter = [Letter::undecodable(record, why.label(), &Chain(why).to_string())];
        let written = match record.ticket() {
            Some(ticket) => {
                ticket.keep(KeptReason::Undecodable);
                self.shared.letters.rewrite_blocking(&letter)
            }
            None => self.shared.letters.write_blocking(&letter),
        };
        if let Err(error) = written {
            let (shard, sequence_number) = (&record.place.shard, &record.sequence_number);
            let now = self.shared.clock.now();
            work.unstored = Some(self.shared.letters.wait(&error));
            if self.shared.letters.may_tell(now).is_some() {
                let error = Chain(&error);
                error!(%shard, %sequence_number, %error, "could not store a dead letter: its record waits");
            }
            self.letters_again = now.after(LETTER_RETRY);
            return Pass::Park(Place::Letters, work.next_event);
        }
        if !std::mem::replace(&mut work.counted, true) {
            self.tally.record();
        }
        *self.tally.rare().records_undecodable.entry(why.label()).or_default() += 1;
        if record.ticket().is_none() {
            self.tell_undecodable(work, why);
        }
        Pass::Done
    }

    fn tell_undecodable(&mut self, work: &Work, why: &Undecodable) {
        let (reason, now) = (why.label(), self.shared.clock.now());
        if let Some(silenced) = self.undecodable_limit.admit(now, reason) {
            let Record { place, sequence_number, .. } = work.ack.record().as_ref();
            let (stream, shard, error) = (place.stream.as_str(), &place.shard, Chain(why));
            let remedy = format!("see `logweir dead-letter list --reason {reason}`");
            let what = "a record that cannot be decoded became a dead letter";
            warn!(stream, %shard, %sequence_number, reason, %error, silenced, remedy, "{what}");
        }
    }

    fn count_parked(&self, since: Moment) {
        let parked = self.shared.clock.now().since(since).as_millis();
        let parked = u64::try_from(parked).unwrap_or(u64::MAX);
        self.shared.parked_milliseconds.fetch_add(parked, Ordering::Relaxed);
    }
}

/// The one destination of a letter that is sent again to no other.
fn only(ack: &AckToken) -> Option<&[DestinationId]> {
    ack.record().ticket()?.to.as_ref().map(from_ref)
}
