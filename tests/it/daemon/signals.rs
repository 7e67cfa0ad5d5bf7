//! What signals do to a daemon besides a clean stop.

use std::time::Duration;

use logweir::demo::ledger::ExpectedFate::DeadLettered;
use logweir::demo::ledger::FoundDocument;
use serde_json::json;
use tokio::time::Instant;

use super::rig::Rig;
use crate::fake_bulk::{FakeBulk, Script, whole};

/// Far below the drain deadline, which is what the first signal alone would wait for.
const AT_ONCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_short_and_the_next_daemon_delivers_the_rest() {
    let fake = FakeBulk::start().await;
    // Without an answer the daemon cannot know that the second request was carried out.
    fake.answer([]).answer(Script::Hang).always(Some(Script::Stall));
    let rig = Rig::for_search(20_000, &fake).await;
    // Small requests, so that those two are a small part of all.
    let table = "[destination.search.opensearch]\n";
    rig.configure(|text| text.replace(table, &format!("{table}bulk.max_body = \"256KiB\"\n")));
    let first = rig.daemon().await;
    fake.wait_for("the engine hangs", |fake| bulk_requests(fake) > 2).await;
    first.signal("-TERM");
    first.log.line("draining: reading nothing more").await;
    let (status, health) = first.get("/health").await;
    assert!(status == 200 && health.contains("\"draining\""), "{health}");
    let since = Instant::now();
    first.stop("-TERM", Some(1)).await;
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    let (before, expected) = (fake.count(), rig.expected_of_search());
    assert!(before > 0 && before < expected / 2, "{before} of {expected}: the rest is left");

    fake.always(None);
    let second = rig.daemon().await;
    fake.wait_for("all is there", |fake| fake.count() >= rig.expected_of_search()).await;
    second.settled().await;
    second.stop("-TERM", Some(0)).await;
    let documents = fake.documents().into_keys().map(|(index, id)| FoundDocument { id, index });
    let found = rig.ledger.reconcile(documents, rig.letters().into_iter());
    assert_eq!((found.missing, found.doubled), (0, 0), "{found:#?}");
    // This destination takes the large documents too.
    assert_eq!(found.unexpected, rig.ledger.count(DeadLettered), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_back_the_backlog_and_the_next_daemon_reads_exactly_that() {
    let fake = FakeBulk::start().await;
    // Every request waits for a good while, so that all the memory there is fills up.
    fake.always(Some(Script::Late(Duration::from_millis(300))));
    let rig = Rig::for_search(40_000, &fake).await;
    let table = "[destination.search.opensearch]\n";
    let bulk = "bulk.max_body = \"256KiB\"\nbulk.max_in_flight = 1\n";
    let memory = "[memory]\nbody = \"10MiB\"\n\n";
    rig.configure(|text| text.replace(table, &format!("{memory}{table}{bulk}")));
    rig.configure(|text| text.replace("logweir::app=info", "logweir=info"));
    let first = rig.daemon().await;
    fake.wait_for("it delivers", |fake| bulk_requests(fake) > 5).await;
    first.signal("-TERM");
    first.log.line("given back unread").await;
    fake.always(None);
    first.ends(Some(0)).await;
    let (before, expected) = (fake.count(), rig.expected_of_search());
    assert!(before < expected, "{before} of {expected}: the backlog is left");

    let second = rig.daemon().await;
    fake.wait_for("all is there", |fake| fake.count() >= expected).await;
    second.settled().await;
    let page = second.metrics().await;
    second.stop("-TERM", Some(0)).await;
    let found = |result| page.sum("logweir_events_delivered_total", result);
    let created = u64::try_from(expected - before).unwrap();
    assert_eq!(found("result=\"created\""), created);
    assert_eq!(found("result=\"already_present\""), 0, "nothing was read twice");
    assert_eq!(fake.count(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_log_level_again_and_nothing_else() {
    let fake = FakeBulk::start().await;
    // So that there is always something to log at debug.
    fake.always(Some(Script::from(whole(503, &json!({"error": "busy", "status": 503})))));
    let rig = Rig::for_search(2_000, &fake).await;
    rig.configure(|text| text.replace("level = \"warn,", "level = \"warn,logweir::cli=info,"));
    let daemon = rig.daemon().await;
    rig.configure(|text| text.replace("logweir::cli=info,", "logweir::cli=info,loud,"));
    daemon.signal("-HUP");
    let refused = daemon.log.line("the log level stays as it was").await;
    assert!(refused.contains("loud"), "{refused}");
    assert!(!daemon.log.lines().iter().any(|line| line.contains("DEBUG")), "not before it is told");

    rig.configure(|text| text.replace("loud,", "logweir=debug,"));
    daemon.signal("-HUP");
    daemon.log.line("the log level was read again").await;
    daemon.log.line("DEBUG logweir::").await;
    fake.always(None);
    fake.wait_for("all is there", |fake| fake.count() >= rig.expected_of_search()).await;
    daemon.settled().await;
    daemon.stop("-TERM", Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_says_when_a_variable_has_the_level() {
    let mut rig = Rig::start(10).await;
    rig.variables.push(("LOGWEIR_LOG_LEVEL", "info".to_owned()));
    let daemon = rig.daemon().await;
    rig.wait_for(1).await;
    daemon.signal("-HUP");
    let said = daemon.log.line("the log level ").await;
    let wins = "WARN logweir::cli::run: the log level stays that of LOGWEIR_LOG_LEVEL";
    assert!(said.contains(wins) && said.contains("level=\"info\""), "{said}");
    daemon.settled().await;
    daemon.stop("-TERM", Some(0)).await;
}

fn bulk_requests(fake: &FakeBulk) -> usize {
    fake.requests().iter().filter(|request| request.uri.path() == "/_bulk").count()
}
