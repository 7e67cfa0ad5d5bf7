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
    routes: HashMap<Vec<u8>, Choice>,
    /// Whose choice was made last, and which it was: nearly always it is the next one's too.
    last: (Vec<u8>, Option<Choice>),
    /// What `routes` takes, in bytes.
    size: usize,
    key: Vec<u8>,
    /// The index name used last, by route.
    indices: Vec<Option<Named>>,
    /// How many envelopes were begun.
    envelope: u64,
}

/// An index name with what it was made from.
#[derive(Clone, Debug)]
struct Named {
    placed: Placed,
    filled_from: [Option<String>; 3],
    name: Arc<str>,
    /// The envelope that it was last used for: all of it comes from the same source.
    envelope: u64,
}

impl Named {
    /// What a name does not depend on is no text here, rather than an empty one: comparing two of
    /// those takes an AVX-512 `memcmp` longer than comparing names.
    fn is_filled_from(&self, texts: [Option<&str>; 3]) -> bool {
        self.filled_from.each_ref().map(Option::as_deref) == texts
    }
}

impl Choices {
    pub(super) fn new(routes: usize) -> Self {
        let (known, key) = (HashMap::new(), Vec::new());
        Self {
            routes: known,
            last: (Vec::new(), None),
            size: 0,
            key,
            indices: vec![None; routes],
            envelope: 0,
        }
    }

    /// The routes of an envelope that was read from `stream`; events until the next call are its.
    pub(super) fn routes(
        &mut self,
        table: &RouteTable,
        stream: &StreamName,
        source: &Source<'_>,
    ) -> Choice {
        self.envelope += 1;
        table.key(stream, source, &mut self.key);
        let (last, choice) = &self.last;
        if let Some(choice) = choice
            && *last == self.key
        {
            return *choice;
        }
        let choice = self.known_or_made(table, stream, source);
        std::mem::swap(&mut self.last.0, &mut self.key);
        self.last.1 = Some(choice);
        choice
    }

    /// The same, from among all that are remembered.
    fn known_or_made(
        &mut self,
        table: &RouteTable,
        stream: &StreamName,
        source: &Source<'_>,
    ) -> Choice {
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

    /// The name of the index for events of a route. Those of one envelope nearly always share it.
    #[inline]
    pub(super) fn index(
        &mut self,
        route: RouteId,
        template: &IndexTemplate,
        placed: Placed,
        source: &Source<'_>,
    ) -> Option<&Arc<str>> {
        let envelope = self.envelope;
        let cached = self.indices.get_mut(usize::from(route.0))?;
        let is_known = |known: &Named| known.envelope == envelope && known.placed == placed;
        if !cached.as_ref().is_some_and(is_known) {
            remember(cached, template, (placed, source), envelope);
        }
        Some(&cached.as_ref()?.name)
    }
}

/// Remembers the name for another envelope or another day; mostly it stays the same.
#[inline(never)]
fn remember(
    cached: &mut Option<Named>,
    template: &IndexTemplate,
    (placed, source): (Placed, &Source<'_>),
    envelope: u64,
) {
    let filled_from = template.filled_from(source);
    match cached {
        Some(known) if known.placed == placed && known.is_filled_from(filled_from) => {
            known.envelope = envelope;
        }
        _ => {
            let filled_from = filled_from.map(|text| text.map(str::to_owned));
            let name = template.name(placed, source);
            *cached = Some(Named { placed, filled_from, name, envelope });
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
            let source = Source::new("1", "g", &log_stream, "");
            let expected = RouteId(u16::from(n % 10 != 1));
            assert_eq!(choices.routes(&table, &stream, &source), Choice::Envelope(expected));
            assert!(choices.size <= MOST && choices.routes.len() * ENTRY <= MOST);
        }
        let log_stream = "x".repeat(MOST);
        let source = Source::new("1", "g", &log_stream, "");
        assert_eq!(choices.routes(&table, &stream, &source), Choice::Envelope(RouteId(1)));
        assert!(choices.size <= MOST);
    }

    #[test]
    fn an_index_name_is_remembered_only_for_where_it_comes_from() {
        let template: IndexTemplate = "cwl-{log_group}-%Y".parse().unwrap();
        let mut choices = Choices::new(1);
        let table = RouteTable::new(vec![Route {
            name: RouteName::new("r"),
            takes: Conditions::default(),
            way: Way::Discard,
        }]);
        let table = table.unwrap();
        let mut name = |log_group, day| {
            let source = Source::new("1", log_group, "s", "");
            choices.routes(&table, &StreamName::new("s"), &source);
            let mut name = || {
                let day = Placed::Day(day);
                choices.index(RouteId(0), &template, day, &source).unwrap().to_string()
            };
            assert_eq!(name(), name());
            name()
        };
        for (log_group, day, expected) in [
            ("/a/b", 20_000, "cwl-a.b-2024"),
            ("/a/b", 20_000, "cwl-a.b-2024"),
            ("/a/c", 20_000, "cwl-a.c-2024"),
            ("/a/c", 19_000, "cwl-a.c-2022"),
            ("/a/b", 20_000, "cwl-a.b-2024"),
        ] {
            assert_eq!(name(log_group, day), expected);
        }
    }
}
