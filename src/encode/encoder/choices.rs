//! Remembers what an encoder thread would choose again and again: the routes of an envelope, and the
//! name of an index.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{RouteId, StreamName};
use crate::parse::Source;
use crate::route::{Choice, IndexTemplate, Placed, RouteTable};

/// What the remembered choices may take, in bytes; beyond, all are forgotten and made again. Some
/// ten thousand log groups of usual names: where there are more log streams than that, choosing
/// again costs each envelope a few pattern matches.
const MOST: usize = 1 << 20;

/// What an entry takes besides the text of its key, roughly.
const ENTRY: usize = 64;

/// The choices of one thread.
#[derive(Debug)]
pub(super) struct Choices {
    routes: HashMap<String, Choice>,
    /// What `routes` takes, in bytes.
    size: usize,
    key: String,
    /// The index name used last, by route.
    indices: Vec<Option<(Placed, Arc<str>)>>,
}

impl Choices {
    pub(super) fn new(routes: usize) -> Self {
        let (known, key) = (HashMap::new(), String::new());
        Self { routes: known, size: 0, key, indices: vec![None; routes] }
    }

    /// The routes of an envelope that was read from `stream`.
    pub(super) fn routes(
        &mut self,
        table: &RouteTable,
        stream: &StreamName,
        source: &Source<'_>,
    ) -> Choice {
        table.key(stream, source, &mut self.key);
        if let Some(known) = self.routes.get(&self.key) {
            return *known;
        }
        let choice = table.choose(stream, source);
        let size = self.key.len() + ENTRY;
        if self.size + size > MOST {
            self.routes.clear();
            self.size = 0;
        }
        if size <= MOST {
            self.routes.insert(self.key.clone(), choice);
            self.size += size;
        }
        choice
    }

    /// The name of the index for events of a route.
    pub(super) fn index(
        &mut self,
        route: RouteId,
        template: &IndexTemplate,
        placed: Placed,
    ) -> Arc<str> {
        let Some(cached) = self.indices.get_mut(usize::from(route.0)) else {
            return template.name(placed);
        };
        match cached {
            Some((known, name)) if *known == placed => Arc::clone(name),
            Some(_) | None => {
                let name = template.name(placed);
                *cached = Some((placed, Arc::clone(&name)));
                name
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RouteName;
    use crate::route::{Conditions, Patterns, Route, Way};

    #[test]
    fn what_is_remembered_stays_bounded_and_right() {
        let odd = Conditions { log_streams: Patterns::new(["*1"]), ..Conditions::default() };
        let routes = [odd, Conditions::default()].map(|takes| {
            let name = RouteName::new("r");
            Route { name, takes, way: Way::Discard }
        });
        let table = RouteTable::new(routes.into()).unwrap();
        let mut choices = Choices::new(2);
        let stream = StreamName::new("s");
        for n in 0..100_000 {
            let log_stream = format!("2026/01/31/[$LATEST]{n}");
            let source = Source { owner: "1", log_group: "g", log_stream: &log_stream, region: "" };
            let expected = RouteId(u16::from(n % 10 != 1));
            assert_eq!(choices.routes(&table, &stream, &source), Choice::Envelope(expected));
            assert!(choices.size <= MOST && choices.routes.len() * ENTRY <= MOST);
        }
        let log_stream = "x".repeat(MOST);
        let source = Source { owner: "1", log_group: "g", log_stream: &log_stream, region: "" };
        assert_eq!(choices.routes(&table, &stream, &source), Choice::Envelope(RouteId(1)));
        assert!(choices.size <= MOST);
    }
}
