//! Which way an event goes: the first route that matches, in file order.
//!
//! Routes are chosen once per envelope, by where it comes from. Only where a route asks for the kind
//! of an event is the choice one for each kind, and each event is read to know its own.

mod conditions;
mod index;
mod legal;

use crate::decode::LogEvent;
use crate::event::{DestinationId, RouteId, RouteName, StreamName};
use crate::parse::{Auto, Kind, Parsed, Parser, Source};

pub use self::conditions::{Conditions, Patterns};
pub use self::index::{IndexTemplate, IndexTemplateError, Placed};

/// A compiled `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, for metrics and letters.
    pub name: RouteName,
    /// Which events it takes.
    pub takes: Conditions,
    /// What becomes of their events.
    pub way: Way,
}

impl Route {
    /// Where it sends events; nowhere when it discards them.
    #[must_use]
    pub fn destinations(&self) -> &[DestinationId] {
        match &self.way {
            Way::Discard => &[],
            Way::Send { to, .. } => to,
        }
    }
}

/// What a route does with the events it takes.
#[derive(Clone, Debug)]
pub enum Way {
    /// They go to no destination; counted.
    Discard,
    /// They are parsed and sent on.
    Send {
        /// How messages are read.
        parser: Parser,
        /// Where documents go; at least one.
        to: Vec<DestinationId>,
        /// The index they go to.
        index: IndexTemplate,
    },
}

/// All routes. The last one takes everything, as the configuration makes sure.
#[derive(Clone, Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    asks: Asks,
    /// Finds out the kind of an event.
    auto: Parser,
}

/// Which facts of an event make a difference to some route.
#[derive(Clone, Copy, Debug, Default)]
struct Asks {
    stream: bool,
    account: bool,
    log_group: bool,
    log_stream: bool,
    kind: bool,
}

/// The routes of an envelope's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All of them go one way.
    Envelope(RouteId),
    /// Each goes as its kind says.
    Event(ByKind),
}

/// A route for each kind that an event can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByKind {
    cloudtrail: RouteId,
    vpc_flow: RouteId,
    json: RouteId,
    plain: RouteId,
}

impl ByKind {
    fn of(&self, kind: Kind) -> RouteId {
        match kind {
            Kind::CloudTrail => self.cloudtrail,
            Kind::VpcFlow => self.vpc_flow,
            Kind::Json => self.json,
            // `auto` takes nothing for what the Lambda makes.
            Kind::Plain | Kind::Lambda => self.plain,
        }
    }
}

impl RouteTable {
    /// Takes the routes in file order. `None` unless the last one takes everything: an event
    /// without a route would have no fate.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Option<Self> {
        let is_total = routes.last().is_some_and(|last| last.takes.take_everything());
        if !is_total || routes.len() > usize::from(u16::MAX) {
            return None;
        }
        let asks = |name| routes.iter().any(|route| route.takes.names().any(|asked| asked == name));
        let asks = Asks {
            stream: asks("stream"),
            account: asks("account"),
            log_group: asks("log_group"),
            log_stream: asks("log_stream"),
            kind: asks("kind"),
        };
        Some(Self { routes, asks, auto: Parser::Auto(Auto::default()) })
    }

    /// Chooses for all events of an envelope that was read from `stream`.
    #[must_use]
    pub fn choose(&self, stream: &StreamName, source: &Source<'_>) -> Choice {
        let of = |kind| self.first(|takes| takes.take(kind) && takes.agree(stream, source));
        let plain = of(Kind::Plain);
        if !self.asks.kind {
            return Choice::Envelope(plain);
        }
        let (cloudtrail, vpc_flow) = (of(Kind::CloudTrail), of(Kind::VpcFlow));
        let by_kind = ByKind { cloudtrail, vpc_flow, json: of(Kind::Json), plain };
        let is_one = [by_kind.cloudtrail, by_kind.vpc_flow, by_kind.json] == [plain; 3];
        if is_one { Choice::Envelope(plain) } else { Choice::Event(by_kind) }
    }

    /// Writes all that the choice for an envelope depends on: where two have the same key, they have
    /// the same choice. What no route asks for is left out, so that the keys are few.
    pub fn key(&self, stream: &StreamName, source: &Source<'_>, key: &mut Vec<u8>) {
        let facts = [
            (self.asks.stream, stream.as_str()),
            (self.asks.account, source.owner()),
            (self.asks.log_group, source.log_group()),
            (self.asks.log_stream, source.log_stream()),
        ];
        key.clear();
        for (_, fact) in facts.iter().filter(|(is_asked, _)| *is_asked) {
            // Its length tells where it ends, whatever is in it.
            key.extend_from_slice(&fact.len().to_ne_bytes());
            key.extend_from_slice(fact.as_bytes());
        }
    }

    /// The route of one event, with what `auto` made of it where that had to be found out.
    #[inline]
    pub fn route<'a>(
        &'a self,
        choice: Choice,
        source: &Source<'_>,
        event: &'a LogEvent<'a>,
    ) -> (RouteId, Option<Parsed<'a>>) {
        match choice {
            Choice::Envelope(route) => (route, None),
            Choice::Event(by_kind) => {
                let parsed = self.auto.read(source, event);
                (by_kind.of(parsed.kind()), Some(parsed))
            }
        }
    }

    /// The one that takes everything.
    #[must_use]
    pub fn last(&self) -> RouteId {
        RouteId(u16::try_from(self.routes.len().saturating_sub(1)).unwrap_or(u16::MAX))
    }

    fn first(&self, is_it: impl Fn(&Conditions) -> bool) -> RouteId {
        let first = (0..).map(RouteId).zip(&self.routes).find(|(_, route)| is_it(&route.takes));
        first.map_or_else(|| self.last(), |(id, _)| id)
    }

    /// A route by its place.
    #[must_use]
    pub fn get(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(usize::from(id.0))
    }

    /// All routes with their ids, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        (0..u16::MAX).map(RouteId).zip(&self.routes)
    }

    /// The number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none; a table made by `new` is never empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

#[cfg(test)]
mod tests;
