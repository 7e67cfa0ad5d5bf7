//! `logweir dead-letter replay` beside a running daemon, which does it.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Child;

use crate::fake_bulk::{FakeBulk, item, item_error};
use crate::replay::{EVENTS, Rig, refuse_every_fifth};
use crate::small::{PATIENCE, Small, envelope, route, signal, stop};

/// A replay of the twelve refused events.
fn ask(rig: &Rig) -> Child {
    let words = ["dead-letter", "replay", "--destination", "search", "--json"];
    let mut command = rig.0.command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(replay: Child) -> (Option<i32>, Value) {
    let ended = tokio::time::timeout(PATIENCE, replay.wait_with_output()).await;
    let Output { status, stdout, stderr } = ended.expect("the replay ends").unwrap();
    let json = serde_json::from_slice(&stdout);
    (status.code(), json.unwrap_or_else(|_| json!(String::from_utf8_lossy(&stderr))))
}

/// Waits until the daemon has taken up the replay, and its letters are on their way.
async fn taken_up(rig: &Rig) {
    let bulk = |fake: &FakeBulk| {
        fake.requests().iter().filter(|seen| seen.uri.path().ends_with("/_bulk")).count()
    };
    let before = bulk(&rig.0.fake);
    let begun = async {
        let sql = "SELECT count(*) FROM replays WHERE seen IS NOT NULL";
        while rig.0.database("state.db").query_row(sql, [], |row| row.get::<_, i64>(0)) != Ok(1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the daemon takes it up");
    rig.0.fake.wait_for("a bulk request", |fake| bulk(fake) > before).await;
}

fn all_sent() -> Value {
    json!({"letters": 12, "removed": 12, "kept": {}, "not_sent": 0,
           "replayed": {"search": {"created": 12}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_sends_them_and_goes_on_with_its_work() {
    let rig = Rig::start().await;
    let (daemon, address) = rig.0.daemon_that_listens().await;
    let expected = json!({"letters": 12, "removed": 0, "kept": {"refused": 12}, "not_sent": 0,
                          "replayed": {"search": {"refused": 12}}});
    assert_eq!(ended(ask(&rig)).await, (Some(1), expected));
    rig.0.fake.no_rule();
    assert_eq!(ended(ask(&rig)).await, (Some(0), all_sent()));
    assert_eq!(rig.letters().len(), 1, "the record that cannot be decoded");
    rig.0.put(envelope("/app/orders", EVENTS..EVENTS + 5));
    rig.0.fake.wait_for("live events", |fake| fake.count() == EVENTS + 5).await;
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "logweir_events_replayed_total{destination=\"search\",result=\"created\"} 12",
        "logweir_events_replayed_total{destination=\"search\",result=\"refused\"} 12",
        "logweir_replays_in_flight{destination=\"search\"} 0",
        "logweir_events_read_total 5",
        "logweir_events_delivered_total{destination=\"search\",result=\"created\"} 5",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    stop(daemon).await;
    let requests = "SELECT count(*) FROM replays";
    let left: i64 = rig.0.database("state.db").query_row(requests, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nobody asks any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_outlives_a_kill_and_a_stop_of_the_daemon() {
    for end in ["-KILL", "-TERM"] {
        let rig = Rig::start().await;
        rig.0.fake.rule(|_, _, _| Some(item(429)));
        let (mut daemon, _) = rig.0.daemon_that_listens().await;
        let replay = ask(&rig);
        taken_up(&rig).await;
        signal(&daemon, end).await;
        if end == "-TERM" {
            // Nothing can be delivered: a second one ends it.
            tokio::time::sleep(Duration::from_millis(200)).await;
            signal(&daemon, end).await;
        }
        daemon.wait().await.unwrap();
        assert_eq!(rig.letters().len(), 13);
        rig.0.fake.no_rule();
        let (daemon, _) = rig.0.daemon_that_listens().await;
        assert_eq!(ended(replay).await, (Some(0), all_sent()), "{end}");
        assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 1));
        stop(daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_it_loses_nothing_and_may_be_asked_for_again() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let replay = ask(&rig);
    taken_up(&rig).await;
    signal(&replay, "-INT").await;
    let (code, said) = ended(replay).await;
    assert_eq!(code, Some(1));
    assert!(said.as_str().unwrap().contains("withdrawn"), "{said}");
    assert_eq!(rig.letters().len(), 13);
    let again = ask(&rig);
    rig.0.fake.no_rule();
    // What was on its way is delivered by the first, and no longer there for the second.
    assert_eq!(ended(again).await.0, Some(0));
    assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 1));
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_emptied_while_live_events_wait_for_room() {
    let small = Small::new("").await;
    // A store takes one batch when it is empty, and is full then.
    let limit = "\n[dead_letters]\nmax_size = \"1KiB\"\n";
    small.configure(&format!("{limit}{}", route("app", "/app/*", "json")));
    refuse_every_fifth(&small.fake);
    small.put(envelope("/app/orders", 0..10));
    let (daemon, address) = small.daemon_that_listens().await;
    small.fake.wait_for("the first events", |fake| fake.count() == 8).await;
    small.put(envelope("/app/orders", 10..EVENTS));
    let ready = async |wanted: u16| {
        let status = async || {
            Some(reqwest::get(format!("http://{address}/health/ready")).await.ok()?.status())
        };
        tokio::time::timeout(PATIENCE, async {
            while status().await.is_none_or(|status| status != wanted) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
    };
    ready(503).await;
    small.fake.no_rule();
    while small.fake.count() < EVENTS {
        let (code, said) = small.ask(&["dead-letter", "replay"]).await;
        assert!(matches!(code, Some(0 | 1)), "{code:?} {said}");
    }
    ready(200).await;
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_command_has_the_state_it_says_who() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item_error(403, "cluster_block_exception", "read only")));
    let first = ask(&rig);
    let pid = first.id().unwrap().to_string();
    let lock = rig.0.path("state.db.lock");
    while !std::fs::read_to_string(&lock).unwrap_or_default().contains(&pid) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = ask(&rig);
    tokio::time::sleep(Duration::from_secs(11)).await;
    signal(&second, "-INT").await;
    let (code, said) = ended(second).await;
    assert_eq!(code, Some(1));
    assert!(said.as_str().unwrap().contains(&pid), "{said}");
    drop(first);
}
