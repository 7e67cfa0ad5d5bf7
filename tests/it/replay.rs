//! `logweir dead-letter replay`, the real binary, against a scripted engine.

use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logweir::demo::endpoint::Endpoint;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::fake_bulk::{FakeBulk, item, item_error};

/// Log events in the stream; every fifth is refused.
const EVENTS: usize = 60;

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon has run: 48 documents are stored, 12 events and one record are dead letters.
struct Rig {
    folder: tempfile::TempDir,
    fake: FakeBulk,
    endpoint: Endpoint,
}

fn envelope(log_group: &str, events: impl Iterator<Item = usize>) -> String {
    let events: Vec<_> = events
        .map(|n| {
            let message = json!({"log": {"n": n}, "n": n}).to_string();
            json!({"id": format!("{n:056}"), "timestamp": 1_764_000_000_000_u64, "message": message})
        })
        .collect();
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
        "logGroup": log_group, "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events});
    envelope.to_string()
}

fn refuse_every_fifth(fake: &FakeBulk) {
    fake.rule(|_, id, _| {
        let n: usize = id.parse().unwrap();
        let reason = format!("failed to parse field [n] of document [{n}]");
        n.is_multiple_of(5).then(|| item_error(400, "mapper_parsing_exception", &reason))
    });
}

impl Rig {
    async fn start() -> Self {
        let (folder, fake) = (tempfile::tempdir().unwrap(), FakeBulk::start().await);
        let endpoint = Endpoint::start(1).await.unwrap();
        for first in (0..EVENTS).step_by(20) {
            let record = envelope("/app/orders", first..first + 20);
            endpoint.put(Endpoint::STREAM, "k", record.into_bytes()).unwrap();
        }
        endpoint.put(Endpoint::STREAM, "k", b"no envelope".to_vec()).unwrap();
        let rig = Self { folder, fake, endpoint };
        rig.write_config("/app/*");
        refuse_every_fifth(&rig.fake);
        let mut daemon = rig.command(&["run"]).spawn().unwrap();
        rig.fake.wait_for("48 documents", |fake| fake.count() == 48).await;
        rig.letters_are(13).await;
        terminate(&mut daemon).await;
        rig
    }

    fn write_config(&self, log_group: &str) {
        let Self { folder, fake, endpoint } = self;
        let (state, archive) = (folder.path().join("state.db"), folder.path().join("archive.db"));
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"error\"\n\n\
             [stream.{stream}]\nregion = \"{region}\"\nendpoint = \"{kinesis}\"\n\n\
             [state.sqlite]\npath = \"{state}\"\nephemeral = true\n\n\
             [destination.search.opensearch]\nurl = \"{search}\"\n\n\
             [destination.archive.sqlite]\npath = \"{archive}\"\n\n\
             [[route]]\nname = \"app\"\nlog_group = \"{log_group}\"\nparse = \"json\"\n\
             to = [\"search\"]\nindex = \"app-%Y.%m.%d\"\n\n\
             [[route]]\nname = \"rest\"\ndiscard = true\n",
            stream = Endpoint::STREAM,
            region = Endpoint::REGION,
            kinesis = endpoint.url(),
            state = state.display(),
            search = fake.url(),
            archive = archive.display(),
        );
        std::fs::write(folder.path().join("logweir.toml"), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
        command.args(words).arg("--config").arg(self.folder.path().join("logweir.toml"));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.kill_on_drop(true);
        command
    }

    async fn replay(&self, options: &[&str]) -> (Option<i32>, String) {
        let output = self.command(&["dead-letter", "replay"]).args(options).output();
        let Output { status, stdout, stderr } = output.await.unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    async fn replay_json(&self, options: &[&str]) -> (Option<i32>, Value) {
        let (code, said) = self.replay(&[&["--json"], options].concat()).await;
        (code, serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}")))
    }

    fn database(&self, name: &str) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(self.folder.path().join(name), flags).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    /// The letters, oldest first.
    fn letters(&self) -> Vec<Value> {
        let connection = self.database("state.db");
        let mut statement =
            connection.prepare("SELECT letter FROM dead_letters ORDER BY number").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|json| serde_json::from_str(&json.unwrap()).unwrap()).collect()
    }

    async fn letters_are(&self, count: usize) {
        let waiting = async {
            while self.letters().len() != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(arrived.is_ok(), "{} letters, not {count}", self.letters().len());
    }
}

async fn terminate(daemon: &mut Child) {
    let id = daemon.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    assert_eq!(daemon.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mended_is_delivered_and_its_letters_are_gone() {
    let rig = Rig::start().await;
    let first = rig.letters();
    let (code, said) = rig.replay_json(&["--reason", "mapping"]).await;
    let expected = json!({"letters": 12, "removed": 0, "kept": {"refused": 12}, "not_sent": 0,
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

    rig.fake.no_rule();
    let (code, said) = rig.replay_json(&["--reason", "mapping"]).await;
    let expected = json!({"letters": 12, "removed": 12, "kept": {}, "not_sent": 0,
        "replayed": {"search": {"created": 12}}});
    assert_eq!((code, said), (Some(0), expected));
    assert_eq!(rig.fake.count(), EVENTS, "the same ids, so each event once");
    let (code, said) = rig.replay(&[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("kept 1: the record can still not be decoded"), "{said}");
    assert_eq!(rig.letters()[0]["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_again_after_a_delivery_that_was_not_noted_it_is_already_present() {
    let rig = Rig::start().await;
    rig.fake.no_rule();
    let letters = rig.folder.path().join("state.db");
    let before = rig.folder.path().join("before.db");
    rig.database("state.db").execute("VACUUM INTO ?", [before.to_str().unwrap()]).unwrap();
    assert_eq!(rig.replay(&["--destination", "search"]).await.0, Some(0));
    // As a kill -9 between delivery and removal leaves it.
    for file in ["state.db-wal", "state.db-shm"] {
        _ = std::fs::remove_file(rig.folder.path().join(file));
    }
    std::fs::copy(before, letters).unwrap();
    let (code, said) = rig.replay_json(&["--destination", "search"]).await;
    assert_eq!((code, &said["removed"]), (Some(0), &json!(12)), "{said}");
    assert_eq!(said["replayed"], json!({"search": {"already_present": 12}}));
    assert_eq!(rig.fake.count(), EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_be_decoded_now_takes_the_whole_path() {
    let rig = Rig::start().await;
    // One of its events is refused, and becomes a letter of its own.
    let record = [envelope("/app/new", 101..106), envelope("/other", 200..203)].concat();
    let raw = STANDARD.encode(record);
    let sql =
        "UPDATE dead_letters SET letter = json_set(letter, '$.raw', ?) WHERE reason = 'format'";
    assert_eq!(rig.database("state.db").execute(sql, [raw]).unwrap(), 1);
    let (code, said) = rig.replay_json(&["--reason", "format"]).await;
    assert_eq!((code, &said["removed"]), (Some(0), &json!(1)), "{said}");
    assert_eq!(said["replayed"], json!({"search": {"created": 4, "refused": 1}}));
    assert_eq!(rig.fake.count(), 48 + 4, "those of a discarded log group are not there");
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
    let archive = rig.database("archive.db");
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
async fn what_todays_configuration_does_not_send_stays() {
    let rig = Rig::start().await;
    rig.write_config("/nothing/*");
    let (code, said) = rig.replay(&["--reason", "mapping"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("kept 12: their route discards them now"), "{said}");
    rig.write_config("/app/*");
    let path = rig.folder.path().join("logweir.toml");
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
    rig.fake.rule(|_, _, _| Some(item(429)));
    let mut replay = rig.command(&["dead-letter", "replay"]).spawn().unwrap();
    let before = rig.fake.requests().len();
    rig.fake.wait_for("a bulk request", |fake| fake.requests().len() > before + 1).await;
    let id = replay.id().unwrap().to_string();
    // The first signal drains; nothing can be delivered, so a second one is needed.
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(replay.wait().await.unwrap().code(), Some(1));
    assert_eq!(rig.letters().len(), 13);
    rig.fake.no_rule();
    assert_eq!(rig.replay(&["--destination", "search"]).await.0, Some(0));
    assert_eq!((rig.fake.count(), rig.letters().len()), (EVENTS, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_it_says_who_has_the_state() {
    let rig = Rig::start().await;
    let mut daemon = rig.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    let lock = rig.folder.path().join("state.db.lock");
    let pid = daemon.id().unwrap().to_string();
    let held = async {
        while !std::fs::read_to_string(&lock).unwrap_or_default().contains(&pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    let (code, said) = rig.replay(&[]).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&pid), "{said}");
    terminate(&mut daemon).await;
}
