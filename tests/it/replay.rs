//! `logweir dead-letter replay`, the real binary, against a scripted engine.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fake_bulk::{FakeBulk, item, item_error};
use crate::small::{PATIENCE, Small, envelope, route, signal, stop};

/// Log events in the stream; every fifth is refused.
pub(crate) const EVENTS: usize = 60;

/// A daemon has run: 48 documents are stored, 12 events and one record are dead letters.
pub(crate) struct Rig(pub(crate) Small);

pub(crate) fn refuse_every_fifth(fake: &FakeBulk) {
    fake.rule(|_, id, _| {
        let n: usize = id.parse().unwrap();
        let reason = format!("failed to parse field [n] of document [{n}]");
        n.is_multiple_of(5).then(|| item_error(400, "mapper_parsing_exception", &reason))
    });
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let rig = Self(Small::new("").await);
        for first in (0..EVENTS).step_by(20) {
            rig.0.put(envelope("/app/orders", first..first + 20));
        }
        rig.0.put("no envelope");
        rig.configure("/app/*");
        refuse_every_fifth(&rig.0.fake);
        let daemon = rig.0.daemon();
        rig.0.fake.wait_for("48 documents", |fake| fake.count() == 48).await;
        rig.letters_are(13).await;
        stop(daemon).await;
        rig
    }

    /// With a second destination, called `archive`.
    pub(crate) fn configure(&self, log_group: &str) {
        let archive = self.0.path("archive.db");
        let archive = format!("\n[destination.archive.sqlite]\npath = \"{}\"\n", archive.display());
        self.0.configure(&format!("{archive}{}", route("app", log_group, "json")));
    }

    pub(crate) async fn replay(&self, options: &[&str]) -> (Option<i32>, String) {
        self.0.ask(&[&["dead-letter", "replay"], options].concat()).await
    }

    pub(crate) async fn replay_json(&self, options: &[&str]) -> (Option<i32>, Value) {
        let (code, said) = self.replay(&[&["--json"], options].concat()).await;
        (code, serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}")))
    }

    /// The letters, oldest first.
    pub(crate) fn letters(&self) -> Vec<Value> {
        let connection = self.0.database("state.db");
        let mut statement =
            connection.prepare("SELECT letter FROM dead_letters ORDER BY number").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|json| serde_json::from_str(&json.unwrap()).unwrap()).collect()
    }

    pub(crate) async fn letters_are(&self, count: usize) {
        let waiting = async {
            while self.letters().len() != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(arrived.is_ok(), "{} letters, not {count}", self.letters().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mended_is_delivered_and_its_letters_are_gone() {
    let rig = Rig::start().await;
    let first = rig.letters();
    let (code, said) = rig.replay_json(&["--reason", "mapping"]).await;
    let expected = json!({"letters": 12, "removed": 0, "kept": {"refused": 12}, "dropped": 0, "not_sent": 0,
        "replayed": {"search": {"refused": 12}}});
    assert_eq!((code, said), (Some(1), expected));
    let again = rig.letters();
    let of = |letters: &[Value], key: &str| -> Vec<Value> {
        letters.iter().map(|letter| letter[key].clone()).collect()
    };
    for key in ["id", "source", "document", "first_attempt_at", "error", "index", "ordinal"] {
        assert_eq!(of(&first, key), of(&again, key), "{key}");
    }
    assert!(
        again.iter().filter(|letter| letter["reason"] == "mapping").all(|l| l["attempts"] == 2)
    );

    rig.0.fake.no_rule();
    let (code, said) = rig.replay_json(&["--reason", "mapping"]).await;
    let expected = json!({"letters": 12, "removed": 12, "kept": {}, "dropped": 0, "not_sent": 0,
        "replayed": {"search": {"created": 12}}});
    assert_eq!((code, said), (Some(0), expected));
    assert_eq!(rig.0.fake.count(), EVENTS, "the same ids, so each event once");
    let (code, said) = rig.replay(&[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("kept 1: the record can still not be decoded"), "{said}");
    assert_eq!(rig.letters()[0]["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_again_after_a_delivery_that_was_not_noted_it_is_already_present() {
    let rig = Rig::start().await;
    rig.0.fake.no_rule();
    let letters = rig.0.path("state.db");
    let before = rig.0.path("before.db");
    rig.0.database("state.db").execute("VACUUM INTO ?", [before.to_str().unwrap()]).unwrap();
    assert_eq!(rig.replay(&["--destination", "search"]).await.0, Some(0));
    // As a kill -9 between delivery and removal leaves it.
    for file in ["state.db-wal", "state.db-shm"] {
        _ = std::fs::remove_file(rig.0.path(file));
    }
    std::fs::copy(before, letters).unwrap();
    let (code, said) = rig.replay_json(&["--destination", "search"]).await;
    assert_eq!((code, &said["removed"]), (Some(0), &json!(12)), "{said}");
    assert_eq!(said["replayed"], json!({"search": {"already_present": 12}}));
    assert_eq!(rig.0.fake.count(), EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_be_decoded_now_takes_the_whole_path() {
    let rig = Rig::start().await;
    // One of its events is refused, and becomes a letter of its own.
    let record = [envelope("/app/new", 101..106), envelope("/other", 200..203)].concat();
    let raw = STANDARD.encode(record);
    let sql =
        "UPDATE dead_letters SET letter = json_set(letter, '$.raw', ?) WHERE reason = 'format'";
    assert_eq!(rig.0.database("state.db").execute(sql, [raw]).unwrap(), 1);
    let (code, said) = rig.replay_json(&["--reason", "format"]).await;
    assert_eq!((code, &said["removed"]), (Some(0), &json!(1)), "{said}");
    assert_eq!(said["replayed"], json!({"search": {"created": 4, "refused": 1}}));
    assert_eq!(rig.0.fake.count(), 48 + 4, "those of a discarded log group are not there");
    let letters = rig.letters();
    let new = letters.last().unwrap();
    assert_eq!((letters.len(), &new["ordinal"], &new["attempts"]), (13, &json!(4), &json!(1)));
    assert_eq!(new["source"]["log_group"], "/app/new");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_destination_and_the_document_as_it_was() {
    let rig = Rig::start().await;
    let letters = rig.letters();
    let letter = letters.iter().find(|letter| letter["reason"] == "mapping").unwrap();
    let id = letter["id"].as_str().unwrap();
    let (code, said) = rig.replay_json(&["--as-is", "--to", "archive", "--id", id]).await;
    assert_eq!(
        (code, &said["letters"], &said["removed"]),
        (Some(0), &json!(1), &json!(1)),
        "{said}"
    );
    let archive = rig.0.database("archive.db");
    let sql = "SELECT index_name, document ->> '$.log.n' FROM documents";
    let found = archive.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let (index, n): (String, i64) = found.unwrap();
    assert_eq!((index.as_str(), n % 5), ("app-2025.11.24", 0));
    let (code, said) = rig.replay(&["--as-is", "--reason", "format"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("kept 1: they hold no document"), "{said}");
    let (code, said) = rig.replay(&["--to", "nowhere"]).await;
    assert_eq!(code, Some(64), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_is_told_with_those_that_exist() {
    let rig = Rig::start().await;
    for (words, hint) in [
        (["list", "--reason", "maping"], "did you mean `mapping`"),
        (["replay", "--route", "ap"], "only `app`, `nowhere`; did you mean `app`"),
        (["drop", "--destination", "serch"], "did you mean `search`"),
        (["replay", "--to", "serch"], "did you mean `search`"),
        (["replay", "--id", "zz"], "no dead letter `zz`"),
    ] {
        let (code, said) = rig.0.ask(&[&["dead-letter"], &words[..]].concat()).await;
        assert_eq!(code, Some(64), "{words:?}: {said}");
        assert!(said.contains(hint), "{words:?}: {said}");
    }
    for name in [["--reason", "gzip"], ["--route", "nowhere"], ["--destination", "archive"]] {
        let (code, said) = rig.replay(&name).await;
        assert_eq!((code, said.as_str()), (Some(0), "no dead letters to send\n"), "{name:?}");
    }
    // The configuration has forgotten this one, its letters have not.
    rig.0.configure(&route("new", "/app/*", "json"));
    let (code, said) = rig.0.ask(&["dead-letter", "list", "--route", "app"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_todays_configuration_does_not_send_stays() {
    let rig = Rig::start().await;
    rig.configure("/nothing/*");
    let (code, said) = rig.replay(&["--reason", "mapping"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("kept 12: their route discards them now"), "{said}");
    rig.configure("/app/*");
    let path = rig.0.path("logweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(".search.", ".lookup.").replace("\"search\"", "\"lookup\""))
        .unwrap();
    let (code, said) = rig.replay(&["--reason", "mapping"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("kept 12: their destination is not in the configuration"), "{said}");
    assert_eq!(rig.letters().len(), 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_stopped_loses_nothing() {
    let rig = Rig::start().await;
    rig.0.fake.rule(|_, _, _| Some(item(429)));
    let mut replay = rig.0.command(&["dead-letter", "replay"]).spawn().unwrap();
    let before = rig.0.fake.requests().len();
    rig.0.fake.wait_for("a bulk request", |fake| fake.requests().len() > before + 1).await;
    // The first signal drains; nothing can be delivered, so a second one is needed.
    for _ in 0..2 {
        signal(&replay, "-INT").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(replay.wait().await.unwrap().code(), Some(1));
    assert_eq!(rig.letters().len(), 13);
    rig.0.fake.no_rule();
    assert_eq!(rig.replay(&["--destination", "search"]).await.0, Some(0));
    assert_eq!((rig.0.fake.count(), rig.letters().len()), (EVENTS, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_stored_are_seen_and_go_on_when_there_is_room() {
    let small = Small::new("").await;
    small.configure(&format!(
        "\n[dead_letters]\nmax_size = \"1KiB\"\n{}",
        route("app", "/app/*", "json")
    ));
    for _ in 0..3 {
        small.put("no envelope");
    }
    let (daemon, listen) = small.daemon_that_listens().await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{listen}{path}")).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    let waiting = async {
        loop {
            match get("/health/ready").await {
                Some((503, text)) if text.contains("dead letters") => return text,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let text = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(text.contains("dead_letters.max_size") && text.contains("replay or drop"), "{text}");
    let (_, metrics) = get("/metrics").await.unwrap();
    let held = "logweir_held{destination=\"\",reason=\"dead_letters\",scope=\"dead_letters\"} 1";
    assert!(metrics.contains(held), "{metrics}");
    assert_eq!(get("/health/live").await.unwrap().0, 200);
    while get("/health/ready").await.unwrap().0 != 200 {
        assert_eq!(small.ask(&["dead-letter", "drop", "--yes"]).await.0, Some(0));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop(daemon).await;
}
