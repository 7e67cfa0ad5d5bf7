//! Reads a dead letter that is sent again: its event as today's route says, or its document as it is.

use std::borrow::Cow;
use std::sync::Arc;

use crate::batch::Entry;
use crate::dead_letter::Letter;
use crate::decode::{LogEvent, Marks};
use crate::event::{DestinationId, RouteId, Timestamp};
use crate::fate::KeptReason;
use crate::parse::Source;
use crate::record::{self, LetterPayload, Ticket};
use crate::route::Way;

use super::super::queue::{Place, Work};
use super::{At, Bench, OVERHEAD, Pass};

impl Bench {
    /// Writes the event or document of a letter into the body of its one destination.
    pub(super) fn letter(&mut self, work: &Work, ticket: &Ticket) -> Pass {
        let payload = work.ack.record().payload.clone();
        let letter: Result<Letter, _> = serde_json::from_slice(&payload);
        let done = match (&letter, ticket.to) {
            (Err(_), _) => Err(KeptReason::Unreadable),
            (Ok(_), None) => Err(KeptReason::NoDestination),
            (Ok(letter), Some(to)) => match ticket.payload {
                LetterPayload::Document => self.as_it_is(work, letter, to),
                LetterPayload::Event | LetterPayload::Record => self.again(work, letter, to),
            },
        };
        match done {
            Ok(true) => Pass::Done,
            Ok(false) => Pass::Park(Place::Destination(ticket.to.unwrap_or_default()), 0),
            Err(reason) => {
                ticket.keep(reason);
                Pass::Done
            }
        }
    }

    /// False when the destination has no room for another body.
    fn again(
        &mut self,
        work: &Work,
        letter: &Letter,
        to: DestinationId,
    ) -> Result<bool, KeptReason> {
        let place = &work.ack.record().place;
        let (source, event) = event_of(letter, place).ok_or(KeptReason::Unreadable)?;
        let shared = Arc::clone(&self.shared);
        let choice = self.choices.routes(&shared.routes, &place.stream, &source);
        let (route, read) = shared.routes.route(choice, &source, &event);
        let way = shared.routes.get(route).map(|route| &route.way);
        let Some(Way::Send { parser, index, .. }) = way else {
            return Err(KeptReason::Discarded);
        };
        let ordinal = letter.ordinal.unwrap_or_default();
        let at = At { ack: &work.ack, source: &source, event: &event, ordinal, route };
        Ok(self.event(at, read, (parser, index, &[to])).is_ok())
    }

    /// False when the destination has no room for another body.
    fn as_it_is(
        &mut self,
        work: &Work,
        letter: &Letter,
        to: DestinationId,
    ) -> Result<bool, KeptReason> {
        let stored = (&letter.document, &letter.index, &letter.document_id);
        let (Some(document), Some(index), Some(id)) = stored else {
            return Err(KeptReason::NoDocument);
        };
        // Framing takes them as they are, as it may of what logweir itself has made.
        let is_framed = |text: &str| !text.contains(|c: char| c.is_control() || "\"\\".contains(c));
        let document = document.get();
        if !is_framed(index) || !is_framed(id) || document.contains('\n') {
            return Err(KeptReason::Unreadable);
        }
        if !self.has_open(to, document.len() + OVERHEAD) {
            return Ok(false);
        }
        let route = self.route_of(letter, &work.ack.record().place);
        let index: Arc<str> = index.as_str().into();
        let event = letter.ordinal.unwrap_or_default();
        let entry = Entry { ack: &work.ack, event, route, index: &index, id };
        if let Some(Some(body)) = self.open.get_mut(usize::from(to.0)) {
            body.push(entry, |out| out.extend_from_slice(document.as_bytes()));
        }
        self.tally.matched(route, &[to]);
        Ok(true)
    }

    /// The route of that name today, else the one that its event takes.
    fn route_of(&mut self, letter: &Letter, place: &record::Place) -> RouteId {
        let name = letter.route.as_deref().unwrap_or_default();
        let named = self.shared.routes.iter().find(|(_, route)| route.name.as_str() == name);
        match (named, event_of(letter, place)) {
            (Some((id, _)), _) => id,
            (None, Some((source, event))) => {
                let routes = &self.shared.routes;
                let choice = self.choices.routes(routes, &place.stream, &source);
                routes.route(choice, &source, &event).0
            }
            (None, None) => self.shared.routes.last(),
        }
    }
}

/// The event of a letter, where it has one, as it was in its envelope.
fn event_of<'a>(
    letter: &'a Letter,
    place: &'a record::Place,
) -> Option<(Source<'a>, LogEvent<'a>)> {
    let event = letter.source.as_ref()?;
    let (owner, log_group, log_stream) = (&event.owner, &event.log_group, &event.log_stream);
    let source = Source::new(owner, log_group, log_stream, &place.region);
    let event = LogEvent {
        id: Cow::Borrowed(&event.id),
        timestamp: event.timestamp.map(Timestamp),
        message: Cow::Borrowed(&event.message),
        marks: Marks::default(),
        extracted_fields: event.extracted_fields.as_deref(),
    };
    Some((source, event))
}
