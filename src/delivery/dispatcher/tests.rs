//! What the dispatcher promises, whatever a destination answers.

mod stuck;

use super::*;
use crate::batch::tests::{batch_in, batch_of};
use crate::batch::{Account, Framing};
use crate::event::{DestinationId, RouteId};
use crate::fate::Delivery;
use crate::telemetry::ledger::{Accounts, Book};
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(10);

fn refusal(reason: RefusalReason) -> Refusal {
    Refusal { reason, status: 400, error_type: "x".to_owned(), error: "y".to_owned() }
}

fn hold(scope: HoldScope) -> Hold {
    Hold { scope, reason: HoldReason::WriteBlock, error: "blocked".to_owned() }
}

fn index(name: &str) -> HoldScope {
    HoldScope::Index(name.into())
}

/// Runs a dispatcher against scripted answers, with time under control.
struct Run {
    dispatcher: Dispatcher,
    now: Moment,
    buried: Vec<(String, RefusalReason)>,
    delivered: Vec<String>,
    sent: usize,
}

impl Run {
    fn new(breaker: bool) -> Self {
        let mut dispatcher = Dispatcher::new(4, breaker);
        let now = Moment::default();
        dispatcher.close(now, &Some(BTreeMap::new()));
        Self { dispatcher, now, buried: Vec::new(), delivered: Vec::new(), sent: 0 }
    }

    /// Takes every step that is possible now. Returns false when there is nothing more to do.
    fn turn(&mut self, answer: &mut impl FnMut(&Batch) -> Answer) -> bool {
        loop {
            match self.dispatcher.step(self.now) {
                Step::Send(outgoing) => {
                    self.sent += 1;
                    let answer = answer(&outgoing.batch);
                    self.dispatcher.answered(self.now, outgoing, answer, TICK);
                }
                Step::Bury(refused) => {
                    let ids = refused.batch.views().map(|view| view.id.to_owned());
                    let reasons: Vec<_> = refused.refusals.iter().map(|r| r.reason).collect();
                    assert_eq!(reasons.len(), refused.batch.len());
                    self.buried.extend(ids.zip(reasons.iter().copied()));
                    refused.batch.settle_dead_lettered(reasons.into_iter());
                }
                Step::Wait(at) => {
                    for (batch, present) in self.dispatcher.take_delivered() {
                        self.delivered.extend(batch.views().map(|view| view.id.to_owned()));
                        batch.settle_delivered(present);
                    }
                    let Some(at) = at else { return false };
                    assert!(at > self.now, "a wait that is over is a busy loop");
                    self.now = at;
                    return true;
                }
            }
        }
    }

    fn run(&mut self, turns: usize, mut answer: impl FnMut(&Batch) -> Answer) {
        for _ in 0..turns {
            if !self.turn(&mut answer) {
                break;
            }
        }
    }
}

fn each(batch: &Batch, verdict: impl Fn(&str, &str) -> Verdict) -> Answer {
    Answer::Items(batch.views().map(|view| verdict(view.index, view.id)).collect())
}

fn created() -> Verdict {
    Verdict::Delivered(Delivery::Created)
}

fn again(reason: RetryReason) -> Verdict {
    Verdict::Retry { reason, error: "not now".to_owned() }
}

fn all_created(batch: &Batch) -> Answer {
    each(batch, |_, _| created())
}

fn ended(account: &Account) -> Accounts {
    let accounts = account.ledger.snapshot();
    assert_eq!(accounts.in_flight(DestinationId(0)), 0);
    accounts
}

#[test]
fn only_the_items_that_may_pass_later_are_sent_again() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[4]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    let mut sizes = Vec::new();
    run.run(10, |batch| {
        sizes.push(batch.len());
        each(batch, |_, id| match (id, sizes.len()) {
            ("0-1", _) => Verdict::Refused(refusal(RefusalReason::Mapping)),
            ("0-2", 1) => again(RetryReason::Busy),
            ("0-3", _) => Verdict::Delivered(Delivery::AlreadyPresent),
            _ => created(),
        })
    });
    assert_eq!(sizes, [4, 1]);
    assert_eq!(run.buried, [("0-1".to_owned(), RefusalReason::Mapping)]);
    let accounts = ended(&account);
    assert_eq!(accounts.delivered[&(DestinationId(0), Delivery::Created)], 2);
    assert_eq!(accounts.delivered[&(DestinationId(0), Delivery::AlreadyPresent)], 1);
}

#[test]
fn nothing_is_sent_before_it_is_known_which_routes_may_be() {
    let (batch, acks, account) = batch_of(Framing::Bulk, &[4]);
    let mut run = Run::new(true);
    run.dispatcher = Dispatcher::new(4, true);
    run.dispatcher.offer(batch);
    run.run(10, all_created);
    assert_eq!((run.sent, run.dispatcher.is_empty()), (0, false));

    let closed = Some([(RouteId(0), (HoldReason::TemplateMissing, "no right".to_owned()))].into());
    run.dispatcher.close(run.now, &closed);
    run.run(10, all_created);
    let held: Vec<_> = run.dispatcher.holds().map(|(hold, _, n)| (hold.reason, n)).collect();
    assert_eq!((run.sent, held), (0, vec![(HoldReason::TemplateMissing, 4)]));
    assert!(!run.dispatcher.is_empty());

    run.dispatcher
        .close(run.now, &Some([(RouteId(1), (HoldReason::Unreachable, String::new()))].into()));
    run.run(10, all_created);
    assert_eq!((run.sent, run.delivered.len()), (1, 4));
    assert_eq!(acks.progress().borrow().open, 0);
    ended(&account);
}

#[test]
fn an_answer_with_one_item_too_few_delivers_nothing() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[3]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    let mut answers = 0;
    run.run(10, |batch| {
        answers += 1;
        if answers == 1 { Answer::Items(vec![created(); 2]) } else { all_created(batch) }
    });
    assert_eq!(run.delivered.len(), 3);
    assert_eq!(answers, 2);
    ended(&account);
}

#[test]
fn too_large_is_halved_down_to_the_item_at_fault() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[16]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    run.run(100, |batch| {
        let has_giant = batch.views().any(|view| view.id == "0-11");
        let error = "413".to_owned();
        if has_giant { Answer::Whole(Trouble::TooLarge { error }) } else { all_created(batch) }
    });
    assert_eq!(run.buried, [("0-11".to_owned(), RefusalReason::TooLarge)]);
    assert_eq!(run.delivered.len(), 15);
    ended(&account);
}

#[test]
fn items_that_are_too_much_together_go_in_smaller_parts() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[16]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    let oversized = |_: &str, _: &str| again(RetryReason::Oversized);
    run.run(100, |batch| if batch.len() > 4 { each(batch, oversized) } else { all_created(batch) });
    assert_eq!(run.delivered.len(), 16);
    assert!(run.buried.is_empty());
    ended(&account);
}

#[test]
fn a_firewall_that_refuses_one_item_costs_one_dead_letter() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[8]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch_of(Framing::Bulk, &[1]).0);
    run.dispatcher.offer(batch);
    run.run(100, |batch| {
        let is_bad = batch.views().any(|view| view.id == "0-5");
        let refused = Trouble::Refused(refusal(RefusalReason::Refused));
        if is_bad { Answer::Whole(refused) } else { all_created(batch) }
    });
    assert_eq!(run.buried, [("0-5".to_owned(), RefusalReason::Refused)]);
    ended(&account);
}

#[test]
fn when_every_request_is_refused_all_is_held_and_nothing_is_buried() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[64]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    run.run(20, |_| Answer::Whole(Trouble::Refused(refusal(RefusalReason::Refused))));
    assert!(run.buried.is_empty());
    assert!(run.sent < 40, "probes, not a storm: {}", run.sent);
    let reasons: Vec<_> = run.dispatcher.holds().map(|(hold, ..)| hold.reason).collect();
    assert_eq!(reasons, [HoldReason::AllRefused]);
    run.run(100, all_created);
    assert_eq!(run.delivered.len(), 64);
    assert_eq!(run.dispatcher.holds().count(), 0);
    ended(&account);
}

#[test]
fn a_held_index_does_not_stop_the_others() {
    let mut run = Run::new(true);
    let blocked = |index_name: &str, _: &str| match index_name {
        "index-0" => Verdict::Hold(hold(index("index-0"))),
        _ => created(),
    };
    let accounts: Vec<_> = (0..3)
        .map(|_| {
            let (batch, _acks, account) = batch_of(Framing::Bulk, &[4]);
            run.dispatcher.offer(batch);
            run.run(2, |batch| each(batch, blocked));
            account
        })
        .collect();
    assert_eq!(run.delivered.len(), 6);
    let held: usize = run.dispatcher.holds().map(|(_, _, events)| events).sum();
    assert_eq!(held, 6);
    run.run(20, all_created);
    assert_eq!(run.delivered.len(), 12);
    accounts.iter().for_each(|account| _ = ended(account));
}

fn first_index_blocked(index_name: &str, _: &str) -> Verdict {
    match index_name {
        "index-0" => Verdict::Hold(hold(index("index-0"))),
        _ => created(),
    }
}

/// Four events went to two indices, of which the first refuses writes.
fn after_ten_minutes_of_refusals() -> Run {
    let mut run = Run::new(true);
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(3, |batch| each(batch, first_index_blocked));
    run.now = run.now.after(Duration::from_secs(601));
    run
}

#[test]
fn an_index_that_refuses_writes_for_ten_minutes_is_given_up_if_others_work() {
    let mut run = after_ten_minutes_of_refusals();
    let then = run.now;
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(1, |batch| each(batch, first_index_blocked));
    assert_eq!(run.delivered.len(), 4);
    assert_eq!(run.buried.len(), 4);
    assert!(run.buried.iter().all(|(_, reason)| *reason == RefusalReason::IndexReadOnly));
    // Once an item passes as a probe, the index is used again.
    run.now = then.after(Duration::from_secs(61));
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(5, all_created);
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(5, all_created);
    assert_eq!(run.dispatcher.holds().count(), 0);
    assert_eq!(run.delivered.len(), 11, "one more was buried beside the probe");
}

#[test]
fn an_index_that_was_given_up_is_forgotten_when_nothing_comes_for_it() {
    let mut run = after_ten_minutes_of_refusals();
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(1, |batch| each(batch, first_index_blocked));
    assert_eq!((run.buried.len(), run.dispatcher.holds().count()), (4, 1));
    run.run(9, |batch| each(batch, first_index_blocked));
    assert_eq!(run.dispatcher.holds().count(), 0);
}

#[test]
fn an_index_is_never_given_up_while_nothing_else_works() {
    let mut run = Run::new(true);
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    run.run(300, |batch| each(batch, |name, _| Verdict::Hold(hold(HoldScope::Index(name.into())))));
    assert!(run.now > Moment(Duration::from_secs(3600)));
    assert!(run.buried.is_empty());
}

#[test]
fn the_breaker_holds_a_route_whose_template_is_wrong() {
    let mut run = Run::new(true);
    let refuse = |_: &str, _: &str| Verdict::Refused(refusal(RefusalReason::Mapping));
    for _ in 0..5 {
        run.dispatcher.offer(batch_of(Framing::Bulk, &[90]).0);
        run.run(2, |batch| each(batch, refuse));
    }
    assert_eq!(run.buried.len(), 90, "the first batch is under a hundred");
    let held: Vec<_> = run.dispatcher.holds().map(|(hold, ..)| hold.scope.clone()).collect();
    assert_eq!(held, [HoldScope::Route(RouteId(0))]);
    let before = run.sent;
    run.run(3, |batch| {
        assert_eq!(batch.len(), 1, "a probe of the breaker is one refused item");
        each(batch, refuse)
    });
    assert!(run.sent > before);
    run.run(20, all_created);
    assert_eq!(run.delivered.len(), 360);
    assert_eq!(run.dispatcher.holds().count(), 0);
}

#[test]
fn a_poison_item_is_buried_alone_after_ten_minutes() {
    let mut run = Run::new(true);
    run.dispatcher.offer(batch_of(Framing::Bulk, &[4]).0);
    for n in 0..200 {
        if n % 3 == 0 {
            run.dispatcher.offer(batch_of(Framing::Bulk, &[1, 2]).0);
        }
        run.run(1, |batch| {
            let is_old = |id: &str| id == "0-3";
            each(batch, |_, id| match is_old(id) {
                true => again(RetryReason::ServerError),
                false => created(),
            })
        });
    }
    assert!(run.now > Moment(Duration::from_secs(600)));
    assert_eq!(run.buried, [("0-3".to_owned(), RefusalReason::Poison)]);
}

#[derive(Clone, Debug)]
enum Mood {
    Fine,
    Mixed(u64),
    Whole(u8),
    TooFew,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        Just(Mood::Fine),
        any::<u64>().prop_map(Mood::Mixed),
        (0u8..6).prop_map(Mood::Whole),
        Just(Mood::TooFew)
    ]
}

fn in_mood(mood: &Mood, batch: &Batch) -> Answer {
    let retry = |reason| Trouble::Retry { reason, retry_after: None, error: String::new() };
    match mood {
        Mood::Fine => all_created(batch),
        Mood::TooFew => Answer::Items(vec![created(); batch.len() - 1]),
        Mood::Whole(0) => Answer::Whole(Trouble::TooLarge { error: String::new() }),
        Mood::Whole(1) => Answer::Whole(Trouble::Refused(refusal(RefusalReason::Refused))),
        Mood::Whole(2) => Answer::Whole(Trouble::Hold(hold(HoldScope::Destination))),
        Mood::Whole(3) => Answer::Whole(retry(RetryReason::ServerError)),
        Mood::Whole(4) => Answer::Whole(retry(RetryReason::Timeout)),
        Mood::Whole(_) => Answer::Whole(retry(RetryReason::Connection)),
        Mood::Mixed(seed) => {
            let mut random = fastrand::Rng::with_seed(*seed);
            let verdicts = batch.views().map(|view| match random.u8(0..8) {
                0 => Verdict::Refused(refusal(RefusalReason::Mapping)),
                1 => again(RetryReason::Busy),
                2 => again(RetryReason::ServerError),
                3 => Verdict::Hold(hold(HoldScope::Index(Arc::clone(view.index)))),
                4 => Verdict::Hold(hold(HoldScope::Destination)),
                5 => Verdict::Delivered(Delivery::AlreadyPresent),
                _ => created(),
            });
            Answer::Items(verdicts.collect())
        }
    }
}

proptest! {
    /// Whatever a destination answers for a while, once it works again every event has ended,
    /// exactly once, and no hold is left.
    #[test]
    fn every_event_ends_once_and_everything_moves_again(
        moods in prop::collection::vec(mood(), 0..60),
        batches in prop::collection::vec(prop::collection::vec(1u32..9, 1..4), 1..8),
        breaker in any::<bool>(),
    ) {
        let mut run = Run::new(breaker);
        let mut left = Vec::new();
        let mut moods = moods.into_iter();
        for shape in batches {
            let events: u32 = shape.iter().sum();
            let (batch, acks, account) = batch_of(Framing::Lines, &shape);
            run.dispatcher.offer(batch);
            run.run(2, |batch| in_mood(&moods.next().unwrap_or(Mood::Fine), batch));
            left.push((acks, account, events as usize));
        }
        run.run(100, |batch| in_mood(&moods.next().unwrap_or(Mood::Fine), batch));
        run.run(500, all_created);
        prop_assert!(run.dispatcher.is_empty(), "{:?}", run.dispatcher);
        prop_assert_eq!(run.dispatcher.holds().count(), 0);
        let events: usize = left.iter().map(|(_, _, events)| events).sum();
        prop_assert_eq!(run.delivered.len() + run.buried.len(), events);
        for (acks, account, _) in left {
            prop_assert_eq!(acks.progress().borrow().open, 0);
            prop_assert_eq!(account.ledger.snapshot().in_flight(DestinationId(0)), 0);
        }
    }
}

#[test]
fn dead_letters_wait_for_live_events_and_still_get_every_eighth_turn() {
    let mut run = Run::new(true);
    let mut kept = Vec::new();
    for book in [Book::Replay, Book::Live] {
        for _ in 0..20 {
            let (batch, acks, account) = batch_in(book, Framing::Bulk, &[1]);
            run.dispatcher.offer(batch);
            kept.push((acks, account));
        }
    }
    let mut sent = String::new();
    run.run(100, |batch| {
        sent.push(if batch.is_replay() { 'r' } else { 'l' });
        all_created(batch)
    });
    assert_eq!(sent, "lllllllrlllllllrllllllrrrrrrrrrrrrrrrrrr");
}
