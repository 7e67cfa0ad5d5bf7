//! What choosing a route promises.

use std::borrow::Cow;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::decode::Marks;
use crate::event::Timestamp;

const TRAIL: &str = r#"{"eventVersion":"1.11","eventTime":"2026-01-31T06:00:00Z","eventID":"11111111-2222-3333-4444-555555555555","eventName":"GetObject"}"#;
const FLOW: &str =
    "2 111122223333 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1700000000 1700000060 ACCEPT OK";

fn route(name: &str, takes: Conditions) -> Route {
    Route { name: RouteName::new(name), takes, way: Way::Discard }
}

fn groups(patterns: &[&str]) -> Conditions {
    Conditions { log_groups: Patterns::new(patterns.iter().copied()), ..Conditions::default() }
}

fn kinds(kinds: &[Kind]) -> Conditions {
    Conditions { kinds: kinds.to_vec(), ..Conditions::default() }
}

/// With a last route that takes everything.
fn table(conditions: impl IntoIterator<Item = Conditions>) -> RouteTable {
    let routes = conditions.into_iter().chain([Conditions::default()]);
    RouteTable::new(routes.map(|takes| route("r", takes)).collect()).unwrap()
}

fn source<'a>(owner: &'a str, log_group: &'a str, log_stream: &'a str) -> Source<'a> {
    Source::new(owner, log_group, log_stream, "eu-west-1")
}

fn event(message: &str) -> LogEvent<'_> {
    LogEvent {
        id: Cow::Borrowed("1"),
        timestamp: Some(Timestamp(1)),
        message: Cow::Borrowed(message),
        marks: Marks::default(),
        extracted_fields: None,
    }
}

/// The place of the route that an event takes.
fn taken(table: &RouteTable, stream: &str, source: &Source<'_>, message: &str) -> u16 {
    let choice = table.choose(&StreamName::new(stream), source);
    let event = event(message);
    table.route(choice, source, &event).0.0
}

#[test]
fn the_first_route_that_matches_wins() {
    let table = table([groups(&["flowlogs/*", "/vpc/*"]), groups(&["/vpc/a?"])]);
    let taken = |group| taken(&table, "s", &source("1", group, "x"), "");
    assert_eq!(taken("/vpc/a1"), 0);
    assert_eq!(taken("flowlogs/x/y"), 0);
    assert_eq!(taken("/aws/lambda/x"), 2);
}

#[test]
fn all_conditions_of_a_route_must_agree() {
    let all = Conditions {
        streams: vec![StreamName::new("central")],
        accounts: vec!["111122223333".to_owned(), "444455556666".to_owned()],
        log_groups: Patterns::new(["/app/*"]),
        log_streams: Patterns::new(["web-*"]),
        kinds: vec![Kind::Json],
    };
    let table = table([all]);
    let right = ("central", "444455556666", "/app/a", "web-1", "{}");
    let is_taken = |(stream, owner, group, log_stream, message)| {
        taken(&table, stream, &source(owner, group, log_stream), message) == 0
    };
    assert!(is_taken(right));
    assert!(!is_taken(("audit", right.1, right.2, right.3, right.4)));
    assert!(!is_taken((right.0, "44445555666", right.2, right.3, right.4)));
    assert!(!is_taken((right.0, right.1, "/other", right.3, right.4)));
    assert!(!is_taken((right.0, right.1, right.2, "batch-1", right.4)));
    assert!(!is_taken((right.0, right.1, right.2, right.3, "text")));
}

#[test]
fn events_of_one_envelope_part_by_what_auto_takes_them_for() {
    let table = table([
        kinds(&[Kind::CloudTrail, Kind::VpcFlow]),
        groups(&["/app/*"]),
        kinds(&[Kind::Json]),
    ]);
    let routes = |group: &'static str| {
        [TRAIL, FLOW, "{}", "text"].map(|it| taken(&table, "s", &source("1", group, "x"), it))
    };
    assert_eq!(routes("/app/x"), [0, 0, 1, 1]);
    assert_eq!(routes("/other"), [0, 0, 2, 3]);
    // The name promises flow logs: what is not one is an event that did not parse, and so plain.
    assert_eq!(taken(&table, "s", &source("1", "/vpc/x", "x"), "not a flow log"), 3);
}

#[test]
fn no_event_is_read_where_its_kind_makes_no_difference() {
    let stream = StreamName::new("s");
    let by_kind = table([groups(&["/vpc/*"]), kinds(&[Kind::Json])]);
    let choice = by_kind.choose(&stream, &source("1", "/vpc/x", "x"));
    assert_eq!(choice, Choice::Envelope(RouteId(0)));
    let choice = by_kind.choose(&stream, &source("1", "/app/x", "x"));
    assert!(matches!(choice, Choice::Event(_)), "{choice:?}");
    let all = table([kinds(&Kind::DETECTED)]);
    assert_eq!(all.choose(&stream, &source("1", "g", "x")), Choice::Envelope(RouteId(0)));
}

#[test]
fn what_no_route_asks_for_makes_no_new_key() {
    let stream = StreamName::new("s");
    let key = |table: &RouteTable, owner, group, log_stream| {
        let mut key = b"old".to_vec();
        table.key(&stream, &source(owner, group, log_stream), &mut key);
        key
    };
    let by_group = table([groups(&["/vpc/*"])]);
    assert_eq!(key(&by_group, "1", "g", "a"), key(&by_group, "2", "g", "b"));
    assert_ne!(key(&by_group, "1", "g", "a"), key(&by_group, "1", "h", "a"));
    let by_log_stream = Conditions { log_streams: Patterns::new(["a*"]), ..Conditions::default() };
    let by_log_stream = table([by_log_stream]);
    assert_eq!(key(&by_log_stream, "1", "g", "a"), key(&by_log_stream, "2", "h", "a"));
    assert_ne!(key(&by_log_stream, "1", "g", "a"), key(&by_log_stream, "1", "g", "b"));
    assert_eq!(key(&table([]), "1", "g", "a"), b"");
}

#[test]
fn a_table_that_could_leave_an_event_without_a_route_is_refused() {
    assert!(RouteTable::new(vec![]).is_none());
    let one = |takes| RouteTable::new(vec![route("a", takes)]);
    assert!(one(groups(&["x*"])).is_none());
    assert!(one(kinds(&Kind::DETECTED)).is_none());
    assert!(one(groups(&["*"])).is_some());
}

proptest! {
    #[test]
    fn envelopes_with_one_key_have_one_choice(
        asked in prop::collection::vec((0usize..5, "[ab1:]{0,2}"), 0..6),
        envelopes in prop::collection::vec(prop::array::uniform4("[ab1:]{0,2}"), 1..40),
    ) {
        let conditions = asked.iter().map(|(which, value)| {
            let none = Conditions::default();
            match which {
                0 => Conditions { streams: vec![StreamName::new(value)], ..none },
                1 => Conditions { accounts: vec![value.clone()], ..none },
                2 => Conditions { log_groups: Patterns::new([&**value]), ..none },
                3 => Conditions { log_streams: Patterns::new([&**value]), ..none },
                _ => kinds(&[Kind::Json]),
            }
        });
        let table = table(conditions);
        let mut known: HashMap<Vec<u8>, Choice> = HashMap::new();
        for [stream, owner, group, log_stream] in &envelopes {
            let (stream, source) = (StreamName::new(stream), source(owner, group, log_stream));
            let (mut key, choice) = (Vec::new(), table.choose(&stream, &source));
            table.key(&stream, &source, &mut key);
            prop_assert_eq!(*known.entry(key).or_insert(choice), choice);
        }
    }

    #[test]
    fn patterns_that_cover_others_match_all_that_these_match(
        own in prop::collection::vec("[ab*?]{0,4}", 0..3),
        others in prop::collection::vec("[ab*?]{0,4}", 0..3),
        names in prop::collection::vec("[ab]{0,5}", 1..40),
    ) {
        let [own, others] = [own, others].map(|it| Patterns::new(it.iter().map(String::as_str)));
        for name in names.iter().filter(|name| own.cover(&others) && others.matches(name)) {
            prop_assert!(own.matches(name), "{name}");
        }
    }
}
