//! What encoder threads promise: every event reaches each of its destinations once, however often
//! its record was parked, and nothing waits for ever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use proptest::prelude::*;

use super::queue::Next;
use super::*;
use crate::ack::ShardAcks;
use crate::batch::MIN_CHARGE;
use crate::dead_letter::DeadLettersConfig;
use crate::event::{DestinationId, RouteId, RouteName};
use crate::fate::RefusalReason;
use crate::parse::{Kind, Parser};
use crate::record::tests::record;
use crate::route::{Conditions, Patterns, Route, Way};
use crate::state::{Access, SqliteConfig, State};

const MAX_BODY: usize = 2 * MIN_CHARGE;

/// Encoders with two destinations, whose batches the test takes out as slowly as it likes.
struct World {
    queue: Arc<WorkQueue>,
    ledger: Arc<Ledger>,
    acks: Arc<ShardAcks>,
    received: Vec<mpsc::Receiver<Batch>>,
    threads: Vec<JoinHandle<()>>,
    records: u32,
    _folder: tempfile::TempDir,
}

impl World {
    /// `both` goes to two destinations, `one` to the second, anything else nowhere.
    fn new(bodies: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = SqliteConfig { path: folder.path().join("state.db"), ephemeral: true };
        let state = State::open(&state, Access::Daemon).unwrap();
        let letters = LetterStore::new(state, DeadLettersConfig::default());
        let (queue, ledger): (Arc<WorkQueue>, Arc<Ledger>) = Default::default();
        let mut received = Vec::new();
        let outlets = (0..2).map(|id| {
            let woken = Arc::clone(&queue);
            let budget = BodyBudget::new(bodies * MAX_BODY, move || woken.wake());
            let (batches, receiver) = mpsc::channel(budget.size() / MIN_CHARGE + 1);
            received.push(receiver);
            let destination = DestinationId(id);
            let account = Account { ledger: Arc::clone(&ledger), destination, book: Book::Live };
            let (framing, max_wait) = (Framing::Bulk, Duration::from_millis(20));
            Outlet { account, framing, max_body: MAX_BODY, max_wait, budget, batches }
        });
        let outlets = outlets.collect();
        let send = |to: &[u16]| Way::Send {
            parser: Parser::Plain,
            to: to.iter().copied().map(DestinationId).collect(),
            index: "logs".parse().unwrap(),
        };
        let route = |name: &str, way| Route {
            name: RouteName::new(name),
            takes: Conditions { log_groups: Patterns::new([name]), ..Conditions::default() },
            way,
        };
        let mut json = route("mixed", send(&[0, 1]));
        json.takes.kinds = vec![Kind::Json];
        let nowhere = route("*", Way::Discard);
        let routes = vec![route("both", send(&[0, 1])), route("one", send(&[1])), json, nowhere];
        let woken = Arc::clone(&queue);
        let slot = DecodeSlot::new(move || woken.wake());
        let with = (letters, slot, Clock::start());
        let books = (Arc::clone(&ledger), Book::Live);
        let routes = RouteTable::new(routes).unwrap();
        let shared = Shared::new(Arc::clone(&queue), routes, outlets, books, with);
        let threads = start(&Arc::new(shared), 2).unwrap();
        let (acks, records) = (Arc::default(), 0);
        Self { queue, ledger, acks, received, threads, records, _folder: folder }
    }

    fn put(&mut self, log_group: &str, events: usize, size: usize) {
        let events: Vec<_> = (0..events)
            .map(|n| {
                let (id, mut message) = (format!("{}-{n}", self.records), "x".repeat(size));
                if log_group == "mixed" && n % 2 == 1 {
                    message = format!("{{\"x\":\"{message}\"}}");
                }
                serde_json::json!({"id": id, "timestamp": 1, "message": message})
            })
            .collect();
        let envelope = serde_json::json!({"messageType": "DATA_MESSAGE", "owner": "1",
            "logGroup": log_group, "logStream": "s", "subscriptionFilters": [],
            "logEvents": events});
        self.records += 1;
        self.queue.push(record(&self.acks, self.records, envelope.to_string().as_bytes()));
    }

    /// Takes in and delivers everything until the encoders have ended. How often each document
    /// came to each destination.
    fn end(mut self, mut settle: impl FnMut(Batch)) -> BTreeMap<(u16, String), usize> {
        self.queue.close();
        let mut seen = BTreeMap::new();
        eventually(|| {
            let mut open = 0;
            for (id, receiver) in (0..).zip(&mut self.received) {
                while let Ok(batch) = receiver.try_recv() {
                    let ids = batch.views().map(|view| (id, view.id.to_owned()));
                    ids.for_each(|event| *seen.entry(event).or_insert(0) += 1);
                    settle(batch);
                }
                open += usize::from(!(receiver.is_closed() && receiver.is_empty()));
            }
            (open == 0).then_some(())
        });
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let fan_out = [(RouteId(0), 2), (RouteId(1), 1), (RouteId(2), 2)].into();
        self.ledger.snapshot().check(&fan_out).unwrap();
        seen
    }
}

/// Tries until there is something.
fn eventually<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let since = tokio::time::Instant::now();
    while since.elapsed() < Duration::from_secs(60) {
        if let Some(found) = find() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("it never came");
}

#[test]
fn a_record_that_found_no_room_goes_on_where_it_was() {
    let mut world = World::new(1);
    // Twenty bodies for each destination, of which one fits into the budget at a time.
    world.put("both", 200, MAX_BODY / 10);
    let acks = Arc::clone(&world.acks);
    let seen = world.end(|batch| batch.settle_delivered(0));
    assert_eq!(seen.len(), 400);
    assert!(seen.values().all(|count| *count == 1));
    assert_eq!(acks.progress().borrow().open, 0);
}

#[test]
fn a_destination_without_room_stops_only_those_who_feed_it() {
    let mut world = World::new(1);
    // Fills the first destination's budget and waits for more of it.
    world.put("both", 40, MAX_BODY / 10);
    let held = eventually(|| world.received[0].try_recv().ok());
    eventually(|| (world.queue.parked() > 0).then_some(()));
    world.put("one", 1, 10);
    eventually(|| {
        let batch = world.received[1].try_recv().ok()?;
        let is_there = batch.views().any(|view| view.route == RouteId(1));
        batch.settle_delivered(0);
        is_there.then_some(())
    });
    held.settle_delivered(0);
    world.end(|batch| batch.settle_delivered(0));
}

#[test]
fn an_open_body_waits_no_longer_for_all_that_wakes_the_queue() {
    let queue = WorkQueue::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                queue.wake();
            }
        });
        let next = queue.next(|_| false, Some(Duration::from_millis(20)));
        is_over.store(true, Relaxed);
        assert!(matches!(next, Next::Timeout));
    });
}

#[test]
fn cut_short_it_abandons_what_has_no_fate_and_keeps_its_records_open() {
    let mut world = World::new(1);
    world.put("both", 200, MAX_BODY / 10);
    world.put("nowhere", 5, 10);
    world.queue.cut_short();
    let acks = Arc::clone(&world.acks);
    let ledger = Arc::clone(&world.ledger);
    world.end(drop);
    let accounts = ledger.snapshot();
    let in_flight: u64 = (0..2).map(|id| accounts.in_flight(DestinationId(id))).sum();
    assert_eq!(in_flight, 0, "what was routed was abandoned");
    assert_eq!(acks.progress().borrow().settled, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_event_reaches_each_of_its_destinations_once(
        records in prop::collection::vec((0usize..4, 0usize..30, 1usize..MAX_BODY / 4), 1..25),
        bodies in 1usize..4,
        refuse in any::<bool>(),
    ) {
        let mut world = World::new(bodies);
        let mut expected = BTreeMap::new();
        for (kind, events, size) in records {
            let log_group = ["both", "one", "nowhere", "mixed"][kind];
            world.put(log_group, events, size);
            // Every second one of a mixed envelope is an object, the others go nowhere.
            let taken = if log_group == "mixed" { events / 2 } else { events };
            *expected.entry(log_group).or_insert(0) += taken;
        }
        let acks = Arc::clone(&world.acks);
        let seen = world.end(|batch| {
            if refuse {
                let reasons = vec![RefusalReason::Mapping; batch.len()];
                batch.settle_dead_lettered(reasons.into_iter());
            } else {
                batch.settle_delivered(0);
            }
        });
        let of = |name: &str| expected.get(name).copied().unwrap_or(0);
        prop_assert_eq!(seen.len(), 2 * (of("both") + of("mixed")) + of("one"));
        prop_assert!(seen.values().all(|count| *count == 1));
        prop_assert_eq!(acks.progress().borrow().open, 0);
    }
}
