//! `logweir dead-letter replay` beside a running daemon, which does it.

use std::fs::File;
use std::path::PathBuf;
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
    json!({"letters": 12, "removed": 12, "kept": {}, "dropped": 0, "not_sent": 0,
           "replayed": {"search": {"created": 12}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_sends_them_and_goes_on_with_its_work() {
    let rig = Rig::start().await;
    let (daemon, address) = rig.0.daemon_that_listens().await;
    let expected = json!({"letters": 12, "removed": 0, "kept": {"refused": 12}, "dropped": 0, "not_sent": 0,
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

/// A replay whose stderr can be read while it runs.
struct Heard {
    replay: Child,
    log: PathBuf,
}

impl Heard {
    fn start(rig: &Rig, name: &str, options: &[&str]) -> Self {
        let log = rig.0.path(name);
        let words = ["dead-letter", "replay", "--destination", "search"];
        let mut command = rig.0.command(&[&words, options].concat());
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        Self { replay: command.spawn().unwrap(), log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn says(&self, words: &str) {
        let waiting = async {
            while !self.said().contains(words) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(heard.is_ok(), "{words} in {}", self.said());
    }

    /// Its exit code, what it printed, and what it said beside that.
    async fn ended(self) -> (Option<i32>, String, String) {
        let ended = tokio::time::timeout(PATIENCE, self.replay.wait_with_output()).await;
        let Output { status, stdout, .. } = ended.expect("the replay ends").unwrap();
        let said = std::fs::read_to_string(&self.log).unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_it_is_followed_to_the_end_of_what_is_on_its_way() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let replay = Heard::start(&rig, "replay.log", &[]);
    taken_up(&rig).await;
    signal(&replay.replay, "-INT").await;
    replay.says("12 letters are still on their way").await;
    assert_eq!(rig.letters().len(), 13);
    rig.0.fake.no_rule();
    let (code, printed, said) = replay.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(printed.starts_with("sent and removed 12 of 12 dead letters\n"), "{printed}");
    assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 1));
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_leaves_letters_that_come_to_their_end_all_the_same() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let replay = Heard::start(&rig, "replay.log", &[]);
    taken_up(&rig).await;
    signal(&replay.replay, "-INT").await;
    replay.says("withdrawn").await;
    signal(&replay.replay, "-INT").await;
    let (code, printed, said) = replay.ended().await;
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(said.contains("come to their end all the same"), "{said}");
    assert_eq!(rig.letters().len(), 13);
    rig.0.fake.no_rule();
    rig.letters_are(1).await;
    assert_eq!(rig.0.fake.count(), EVENTS);
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_other_routes_than_the_loaded_ones_it_is_refused_or_said_so() {
    let rig = Rig::start().await;
    rig.0.fake.no_rule();
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let text = std::fs::read_to_string(rig.0.config()).unwrap();
    std::fs::write(rig.0.config(), text.replace("app-%Y", "other-%Y")).unwrap();
    let (code, said) = rig.replay(&[]).await;
    let pid = format!("pid {}", daemon.id().unwrap());
    assert_eq!(code, Some(69), "{said}");
    for word in ["logweir.toml", &pid, "restart it", "--as-loaded"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    assert_eq!(rig.letters().len(), 13);
    let (code, said) = rig.replay(&["--destination", "search", "--as-loaded"]).await;
    assert_eq!(code, Some(0), "{said}");
    let mut documents = rig.0.fake.documents().into_keys();
    assert!(documents.all(|(index, _)| index.starts_with("app-")));
    let log = std::fs::read_to_string(rig.0.path("daemon.log")).unwrap();
    assert!(log.contains("destination=\"search\"") && !log.contains("Some("), "{log}");
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_are_dropped_meanwhile_are_counted_and_do_not_come_back() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let replay = ask(&rig);
    taken_up(&rig).await;
    let ids: Vec<_> = rig.letters().iter().map(|l| l["document_id"].clone()).collect();
    let dropped: Vec<String> =
        ids.iter().filter_map(Value::as_str).take(3).map(str::to_owned).collect();
    for letter in rig.letters().iter().filter(|letter| {
        letter["document_id"].as_str().is_some_and(|id| dropped.iter().any(|of| of == id))
    }) {
        let id = letter["id"].as_str().unwrap();
        let (code, said) = rig.0.ask(&["dead-letter", "drop", "--yes", "--id", id]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("warning: a replay is under way (replay 1 by pid"), "{said}");
    }
    // One that was dropped is refused again, two are delivered.
    let refused = dropped[0].clone();
    let error = "failed to parse field [n]";
    rig.0.fake.rule(move |_, id, _| {
        (id == refused).then(|| item_error(400, "mapper_parsing_exception", error))
    });
    let expected = json!({"letters": 12, "removed": 9, "kept": {}, "dropped": 3, "not_sent": 0,
        "replayed": {"search": {"created": 11, "refused": 1}}});
    assert_eq!(ended(replay).await, (Some(0), expected));
    assert_eq!(rig.letters().len(), 1, "the record that cannot be decoded");
    let (_, said) = rig.0.ask(&["dead-letter", "drop"]).await;
    assert!(!said.contains("warning"), "{said}");
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_gone_and_the_one_after_it_are_told() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (mut daemon, _) = rig.0.daemon_that_listens().await;
    let replay = Heard::start(&rig, "replay.log", &[]);
    taken_up(&rig).await;
    signal(&daemon, "-KILL").await;
    daemon.wait().await.unwrap();
    replay.says("logweir is gone").await;
    let (mut daemon, _) = rig.0.daemon_that_listens().await;
    replay.says(&format!("goes on with pid {}", daemon.id().unwrap())).await;
    signal(&daemon, "-KILL").await;
    daemon.wait().await.unwrap();
    let gone = async {
        while replay.said().matches("logweir is gone").count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    signal(&replay.replay, "-INT").await;
    let (code, printed, said) = replay.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(printed.starts_with("sent and removed 0 of 12 dead letters\n"), "{printed}");
    rig.0.fake.no_rule();
    assert_eq!(rig.replay(&["--destination", "search"]).await.0, Some(0));
    assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_another_says_so() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let first = ask(&rig);
    taken_up(&rig).await;
    let second = Heard::start(&rig, "second.log", &["--json"]);
    second.says("waits for replay 1, which is at 0 of 12").await;
    let third = Heard::start(&rig, "third.log", &[]);
    third.says("waits for replay 1").await;
    signal(&third.replay, "-INT").await;
    let (code, printed, _) = third.ended().await;
    let expected =
        "sent and removed 0 of 12 dead letters\nkept 12: stopped before they were sent\n";
    assert_eq!((code, printed.as_str()), (Some(1), expected));
    rig.0.fake.no_rule();
    assert_eq!(ended(first).await, (Some(0), all_sent()));
    assert_eq!(second.ended().await.0, Some(0));
    stop(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_off_by_its_store_it_waits_for_what_is_on_its_way() {
    let rig = Rig::start().await;
    let is_slow = |id: &str| id.parse::<usize>().unwrap() >= 30;
    rig.0.fake.rule(move |_, id, _| is_slow(id).then(|| item(429)));
    let sql = "CREATE TRIGGER broken BEFORE DELETE ON dead_letters
               BEGIN SELECT RAISE(ABORT, 'no room'); END";
    rig.0.database("state.db").execute_batch(sql).unwrap();
    let (daemon, _) = rig.0.daemon_that_listens().await;
    let mut replay = ask(&rig);
    rig.0.fake.wait_for("the first half", |fake| fake.count() == 54).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(replay.try_wait().unwrap(), None, "half of them are on their way");
    rig.0.fake.no_rule();
    let (code, said) = ended(replay).await;
    assert_eq!((code, &said["removed"]), (Some(69), &json!(0)), "{said}");
    assert_eq!(said["kept"], json!({"abandoned": 12}), "{said}");
    assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 13));
    rig.0.database("state.db").execute_batch("DROP TRIGGER broken").unwrap();
    let (code, said) = ended(ask(&rig)).await;
    assert_eq!(code, Some(0));
    assert_eq!(said["replayed"], json!({"search": {"already_present": 12}}));
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
    let second = Heard::start(&rig, "second.log", &[]);
    second.says(&format!("pid {pid} on ")).await;
    let (_, said) = rig.0.ask(&["dead-letter", "drop"]).await;
    assert!(said.contains("warning: a replay is under way (pid"), "{said}");
    signal(&second.replay, "-INT").await;
    let (code, _, said) = second.ended().await;
    assert_eq!(code, Some(1), "{said}");
    drop(first);
}
