//! Which way an envelope goes: the first route that matches, in file order.
//!
//! Routes are chosen once per envelope, by its log group; what depends on the single event is its
//! parser and its index.

mod index;

use wildmatch::WildMatch;

use crate::event::{DestinationId, RouteId, RouteName};
use crate::parse::Parser;

pub use self::index::{IndexTemplate, IndexTemplateError, Placed};

/// A compiled `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, for metrics and letters.
    pub name: RouteName,
    /// The log groups it takes.
    pub log_groups: Patterns,
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

/// Names with `*` (any text, also none) and `?` (one character); none at all takes everything.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<WildMatch>);

impl Patterns {
    /// Compiles patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(patterns.into_iter().map(WildMatch::new).collect())
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether every name matches.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.pattern() == "*")
    }
}

/// All routes. The last one takes everything, as the configuration makes sure.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(Vec<Route>);

impl RouteTable {
    /// Takes the routes in file order. `None` unless the last one takes everything: an event
    /// without a route would have no fate.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Option<Self> {
        let is_total = routes.last().is_some_and(|last| last.log_groups.matches_all());
        (is_total && routes.len() <= usize::from(u16::MAX)).then_some(Self(routes))
    }

    /// The first route that takes a log group.
    #[must_use]
    pub fn choose(&self, log_group: &str) -> RouteId {
        let first = self.0.iter().position(|route| route.log_groups.matches(log_group));
        // The last one takes everything.
        RouteId(u16::try_from(first.unwrap_or(self.0.len() - 1)).unwrap_or(u16::MAX))
    }

    /// A route by its place.
    #[must_use]
    pub fn get(&self, id: RouteId) -> Option<&Route> {
        self.0.get(usize::from(id.0))
    }

    /// All routes with their ids, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        (0..u16::MAX).map(RouteId).zip(&self.0)
    }

    /// The number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none; a table made by `new` is never empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, patterns: &[&str]) -> Route {
        let log_groups = Patterns::new(patterns.iter().copied());
        Route { name: RouteName::new(name), log_groups, way: Way::Discard }
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let flow = route("flow", &["flowlogs/*", "/vpc/*"]);
        let table =
            RouteTable::new(vec![flow, route("a", &["/vpc/a?"]), route("rest", &[])]).unwrap();
        assert_eq!(table.choose("/vpc/a1"), RouteId(0));
        assert_eq!(table.choose("flowlogs/x/y"), RouteId(0));
        assert_eq!(table.choose("/aws/lambda/x"), RouteId(2));
    }

    #[test]
    fn a_table_that_could_leave_an_event_without_a_route_is_refused() {
        assert!(RouteTable::new(vec![]).is_none());
        assert!(RouteTable::new(vec![route("a", &["x*"])]).is_none());
        assert!(RouteTable::new(vec![route("a", &["*"])]).is_some());
    }
}
