//! The OpenSearch destination against a scripted engine, over real sockets.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logweir::ack::ShardAcks;
use logweir::batch::{Account, Batch, BatchBuilder, Entry, Framing};
use logweir::clock::Clock;
use logweir::destination::opensearch::OpenSearch;
use logweir::destination::opensearch::target::Target;
use logweir::destination::{
    Answer, Destination, HoldReason, HoldScope, RetryReason, Trouble, Verdict,
};
use logweir::event::{
    DestinationId, Moment, RouteId, RouteName, SequenceNumber, ShardId, StreamName, Timestamp,
};
use logweir::fate::{Delivery, RefusalReason};
use logweir::memory::{BodyBudget, FetchPermit};
use logweir::parse::Parser;
use logweir::record::{Origin, Place, Record};
use logweir::telemetry::ledger::Book;
use serde_json::json;
use tokio::net::TcpListener;

use crate::fake_bulk::{FakeBulk, Script, html_forbidden, item, item_error, whole};

pub(crate) const CREATED: Verdict = Verdict::Delivered(Delivery::Created);
const PRESENT: Verdict = Verdict::Delivered(Delivery::AlreadyPresent);

/// A batch of `count` documents with ids 0, 1, … in index `logs-1`.
pub(crate) fn batch(count: u32) -> Batch {
    let acks = Arc::new(ShardAcks::default());
    let place = Place {
        stream: StreamName::new("test"),
        region: "eu-west-1".to_owned(),
        shard: ShardId::new("shardId-000000000000"),
    };
    let at = SequenceNumber::new("1");
    let origin = Origin::Shard(Arc::clone(&acks), acks.open(at.clone()), None);
    let at = (Arc::new(place), at, Timestamp(1_700_000_000_000));
    let ack = Record::begin(Bytes::new(), at, origin, FetchPermit::default());
    let account =
        Account { ledger: Arc::default(), destination: DestinationId(0), book: Book::Live };
    let permit = BodyBudget::new(1 << 20, || {}).try_reserve(1 << 20).unwrap();
    let mut builder = BatchBuilder::open(Framing::Bulk, account, permit, Moment::default());
    let index: Arc<str> = "logs-1".into();
    for event in 0..count {
        let id = event.to_string();
        let entry = Entry { ack: &ack, event, route: RouteId(0), index: &index, id: &id };
        builder.push(entry, |out| write!(out, "{{\"n\":{event}}}").unwrap());
    }
    ack.settle();
    builder.seal()
}

pub(crate) fn destination(table: &str) -> OpenSearch {
    OpenSearch::build(toml::from_str(table).unwrap(), Clock::start()).unwrap()
}

fn of(fake: &FakeBulk) -> OpenSearch {
    destination(&format!("url = '{}'\ntimeout = '20s'", fake.url()))
}

pub(crate) fn retry_of(answer: &Answer) -> (RetryReason, Option<Duration>) {
    let Answer::Whole(Trouble::Retry { reason, retry_after, .. }) = answer else {
        panic!("no retry: {answer:?}")
    };
    (*reason, *retry_after)
}

#[tokio::test]
async fn what_is_sent_is_stored_and_sent_again_is_there_already() {
    let fake = FakeBulk::start().await;
    let table = format!("url = '{}'\nauth.basic = {{ user = 'u', password = 'p' }}", fake.url());
    let (destination, mut batch) = (destination(&table), batch(2));
    assert_eq!(destination.send(&mut batch).await, Answer::Created(2));
    assert_eq!(destination.send(&mut batch).await, Answer::Items(vec![PRESENT, PRESENT]));
    assert_eq!(fake.documents()[&("logs-1".to_owned(), "1".to_owned())], json!({"n": 1}));
    let seen = &fake.requests()[0];
    assert_eq!(seen.uri, "/_bulk?filter_path=errors,items.*.status,items.*.error");
    assert_eq!(seen.headers["content-type"], "application/x-ndjson");
    assert_eq!(seen.headers["authorization"], "Basic dTpw");
    assert_eq!(seen.headers["user-agent"], concat!("logweir/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.body, batch.body());
}

#[tokio::test]
async fn an_engine_that_wants_a_type_gets_it_at_once_and_from_then_on() {
    let fake = FakeBulk::start().await;
    let missing = "Validation Failed: 1: type is missing;2: type is missing;";
    let error = json!({"type": "action_request_validation_exception", "reason": missing});
    fake.answer(whole(400, &json!({"error": error, "status": 400})));
    let destination = of(&fake);
    assert_eq!(destination.send(&mut batch(2)).await, Answer::Created(2));
    assert_eq!(destination.send(&mut batch(2)).await, Answer::Items(vec![PRESENT, PRESENT]));
    let typed: Vec<_> =
        fake.requests().iter().map(|seen| seen.uri.to_string().contains("&type=_doc")).collect();
    assert_eq!(typed, [false, true, true]);
}

#[tokio::test]
async fn each_item_gets_its_own_verdict() {
    let fake = FakeBulk::start().await;
    let never = "operation_bytes=9, max_coordinating_and_primary_bytes=8";
    fake.answer([item(201), item(429), item(400), item(403)]);
    fake.answer([item_error(429, "rejected_execution_exception", never)]);
    let destination = of(&fake);
    let Answer::Items(verdicts) = destination.send(&mut batch(5)).await else { panic!("whole") };
    assert_eq!(verdicts[0], CREATED);
    let Verdict::Retry { reason: RetryReason::Busy, error } = &verdicts[1] else {
        panic!("{verdicts:?}")
    };
    assert!(error.starts_with("status 429"), "{error}");
    let Verdict::Refused(refusal) = &verdicts[2] else { panic!("{verdicts:?}") };
    assert_eq!(refusal.reason, RefusalReason::Mapping);
    let Verdict::Hold(hold) = &verdicts[3] else { panic!("{verdicts:?}") };
    let scope = HoldScope::Index("logs-1".into());
    assert_eq!((&hold.scope, hold.reason), (&scope, HoldReason::WriteBlock));
    assert_eq!(verdicts[4], CREATED);
    let answer = destination.send(&mut batch(1)).await;
    assert!(matches!(answer, Answer::Whole(Trouble::TooLarge { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_failure_of_the_whole_request_is_one_trouble() {
    let fake = FakeBulk::start().await;
    let destination = of(&fake);
    fake.answer(whole(503, &json!({"error": "busy"})).header("retry-after", "7"));
    let answer = destination.send(&mut batch(1)).await;
    assert_eq!(retry_of(&answer), (RetryReason::ServerError, Some(Duration::from_secs(7))));
    fake.answer(html_forbidden());
    let answer = destination.send(&mut batch(1)).await;
    assert!(matches!(answer, Answer::Whole(Trouble::Refused(_))), "{answer:?}");
    fake.answer(whole(403, &json!({"Message": "User: anonymous is not authorized"})));
    fake.answer(whole(
        404,
        &json!({"error": {"type": "index_not_found_exception",
        "reason": "no such index", "index": "logs-1"}}),
    ));
    for expected in [HoldScope::Destination, HoldScope::Index("logs-1".into())] {
        let answer = destination.send(&mut batch(1)).await;
        let Answer::Whole(Trouble::Hold(hold)) = answer else { panic!("{answer:?}") };
        assert_eq!(hold.scope, expected);
    }
    fake.max_body(10);
    let answer = destination.send(&mut batch(1)).await;
    assert!(matches!(answer, Answer::Whole(Trouble::TooLarge { .. })), "{answer:?}");
    assert_eq!(fake.count(), 0);
}

#[tokio::test]
async fn without_a_whole_answer_nothing_is_assumed_delivered() {
    let fake = FakeBulk::start().await;
    let destination = of(&fake);
    for script in [Script::CloseBefore, Script::CloseAfterStoring, Script::CloseMidAnswer] {
        fake.answer(script.clone());
        let answer = destination.send(&mut batch(3)).await;
        assert_eq!(retry_of(&answer).0, RetryReason::Connection, "{script:?}");
    }
    fake.answer(whole(200, &json!({"login": "please"})));
    assert_eq!(retry_of(&destination.send(&mut batch(3)).await).0, RetryReason::Unreadable);
    fake.answer(Script::OneItemShort);
    let Answer::Items(verdicts) = destination.send(&mut batch(3)).await else { panic!("whole") };
    assert_eq!(verdicts.len(), 2);
    assert_eq!(fake.count(), 3);
}

#[tokio::test]
async fn a_node_that_hangs_costs_no_more_than_the_timeout() {
    let fake = FakeBulk::start().await;
    fake.answer(Script::Hang);
    let destination = destination(&format!("url = '{}'\ntimeout = '200ms'", fake.url()));
    assert_eq!(retry_of(&destination.send(&mut batch(1)).await).0, RetryReason::Timeout);
    assert_eq!(fake.count(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (fake, elsewhere) = (FakeBulk::start().await, FakeBulk::start().await);
    fake.answer(whole(307, &json!({})).header("location", elsewhere.url()));
    let answer = of(&fake).send(&mut batch(1)).await;
    assert!(matches!(answer, Answer::Whole(Trouble::Refused(_))), "{answer:?}");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_dead_node_is_left_out_while_the_others_work() {
    let fake = FakeBulk::start().await;
    // A port that nobody listens on any more.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let destination = destination(&format!("urls = ['http://{dead}', '{}']", fake.url()));
    let mut failed = 0;
    for _ in 0..8 {
        if matches!(destination.send(&mut batch(1)).await, Answer::Whole(_)) {
            failed += 1;
        }
    }
    assert!((2..=3).contains(&failed), "{failed} requests went to the dead node");
    assert_eq!(destination.ejected_nodes(), 1);
}

#[tokio::test]
async fn connections_are_used_again() {
    let fake = FakeBulk::start().await;
    let destination = of(&fake);
    for _ in 0..3 {
        destination.send(&mut batch(1)).await;
    }
    assert_eq!((fake.requests().len(), fake.connections()), (3, 1));
}

fn target(route: u16, index: &str) -> Target {
    let (name, index) = (RouteName::new(&format!("route-{route}")), index.parse().unwrap());
    Target { route: RouteId(route), name, index, schema: Parser::Plain.schema() }
}

fn puts(fake: &FakeBulk) -> Vec<String> {
    let requests = fake.requests();
    let puts = requests.iter().filter(|seen| seen.method == "PUT");
    puts.map(|seen| seen.uri.to_string()).collect()
}

#[tokio::test]
async fn templates_and_policies_are_installed_once() {
    let fake = FakeBulk::start().await;
    let keeping = |keep: &str| destination(&format!("url = '{}'\nkeep = '{keep}'", fake.url()));
    let targets = [target(0, "cwl-%Y.%m.%d"), target(1, "cwl-%Y.%m.%d"), target(2, "audit")];
    assert_eq!(keeping("30d").ensure_templates(&targets).await, []);
    let (template, policy) =
        ("/_index_template/logweir-cwl", "/_plugins/_ism/policies/logweir-cwl");
    let expected = ["/_index_template/logweir-audit-exact", policy, template];
    assert_eq!(puts(&fake), expected);
    assert_eq!(fake.settings()[template]["_meta"]["managed_by"], "logweir");
    // Again: nothing. With another period: the policy alone, as it was read.
    assert_eq!(keeping("30d").ensure_templates(&targets).await, []);
    assert_eq!(puts(&fake).len(), 3);
    assert_eq!(keeping("7d").ensure_templates(&targets).await, []);
    assert_eq!(puts(&fake)[3..], [format!("{policy}?if_seq_no=7&if_primary_term=1")]);
}

#[tokio::test]
async fn what_is_not_ours_is_never_overwritten_and_its_routes_wait() {
    let fake = FakeBulk::start().await;
    let foreign = json!({"index_patterns": ["cwl*"], "template": {}});
    fake.put("/_index_template/logweir-cwl", foreign.clone());
    let targets = [target(0, "cwl-%Y"), target(1, "other-%Y")];
    let problems = of(&fake).ensure_templates(&targets).await;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].routes, [RouteId(0)]);
    assert!(problems[0].error.contains("not made by logweir"), "{problems:?}");
    assert_eq!(fake.settings()["/_index_template/logweir-cwl"], foreign);
    assert_eq!(puts(&fake), ["/_index_template/logweir-other"]);
}

#[tokio::test]
async fn what_may_not_be_installed_holds_its_routes_only() {
    let fake = FakeBulk::start().await;
    fake.refuse("/_index_template/logweir-cwl", 403)
        .refuse("/_plugins/_ism/policies/logweir-b", 400);
    let destination = destination(&format!("url = '{}'\nkeep = '1d'", fake.url()));
    let targets = [target(0, "cwl-%Y"), target(1, "b-%Y")];
    let problems = destination.ensure_templates(&targets).await;
    assert_eq!(problems.len(), 1, "a missing plugin for policies stops nothing: {problems:?}");
    assert_eq!(problems[0].routes, [RouteId(0)]);
    assert!(problems[0].error.contains("403"), "{problems:?}");
}

#[tokio::test]
async fn an_engine_that_cannot_be_asked_holds_every_route() {
    let fake = FakeBulk::start().await;
    fake.engine(json!({"name": "some other server"}));
    let targets = [target(0, "a"), target(1, "b")];
    let problems = of(&fake).ensure_templates(&targets).await;
    assert_eq!(problems[0].routes, [RouteId(0), RouteId(1)]);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let problems = destination(&format!("url = 'http://{dead}'")).ensure_templates(&targets).await;
    assert!(problems[0].error.contains("could not reach"), "{problems:?}");
    let manual = format!("url = 'http://{dead}'\ntemplates = 'manual'");
    assert_eq!(destination(&manual).ensure_templates(&targets).await, []);
}
