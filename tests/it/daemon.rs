//! The real binary, stopped in the middle of its work: nothing may be missing or doubled.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use logweir::demo::endpoint::Endpoint;
use logweir::demo::generator::{Generator, GeneratorOptions};
use logweir::demo::ledger::{FoundDocument, FoundLetter, Ledger};
use logweir::demo::session::config_text;
use logweir::event::Timestamp;
use rusqlite::{Connection, OpenFlags};

const EVENTS: u64 = 30_000;

struct Rig {
    folder: tempfile::TempDir,
    endpoint: Endpoint,
    ledger: Ledger,
}

impl Rig {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(3).await.unwrap();
        let options = GeneratorOptions { seed: 7, events: EVENTS, now: Timestamp::now() };
        let (mut generator, mut ledger) = (Generator::new(options), Ledger::default());
        while let Some(record) = generator.next_record(&mut ledger) {
            endpoint.put(Endpoint::STREAM, &record.partition_key, record.data).unwrap();
        }
        let text = config_text(folder.path(), &endpoint.url(), "127.0.0.1:0");
        std::fs::write(folder.path().join("logweir.toml"), text).unwrap();
        Self { folder, endpoint, ledger }
    }

    fn daemon(&self) -> Child {
        let config = self.folder.path().join("logweir.toml");
        Command::new(env!("CARGO_BIN_EXE_logweir"))
            .args(["run", "--config"])
            .arg(config)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("LOGWEIR_LOG_LEVEL", "error")
            .spawn()
            .unwrap()
    }

    fn documents(&self) -> Vec<FoundDocument> {
        let sql = "SELECT id, index_name FROM documents";
        rows(&self.folder.path().join("documents.db"), sql, |row| {
            Ok(FoundDocument { id: row.get(0)?, index: row.get(1)? })
        })
    }

    fn letters(&self) -> Vec<FoundLetter> {
        let sql = "SELECT letter ->> '$.document_id', reason FROM dead_letters";
        rows(&self.folder.path().join("state.db"), sql, |row| {
            Ok(FoundLetter { document_id: row.get(0)?, reason: row.get(1)? })
        })
    }

    /// Waits until this many documents are there.
    async fn delivered(&self, least: usize) {
        for _ in 0..1200 {
            if self.documents().len() >= least {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("only {} of {least} documents arrived", self.documents().len());
    }

    /// Runs a daemon to the end of the stream and compares.
    async fn check(self) {
        use logweir::demo::ledger::ExpectedFate::{Delivered, DeliveredUndated};
        let expected = self.ledger.count(Delivered) + self.ledger.count(DeliveredUndated);
        let last = self.daemon();
        self.delivered(usize::try_from(expected).unwrap()).await;
        assert_eq!(stop(last, "-TERM"), Some(0), "a drained SIGTERM exits with 0");
        let found = self.ledger.reconcile(self.documents().into_iter(), self.letters().into_iter());
        assert!(found.is_clean(), "{found:#?}");
        self.endpoint.stop().await;
    }
}

fn rows<T>(
    path: &Path,
    sql: &str,
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let Ok(connection) = Connection::open_with_flags(path, flags) else { return Vec::new() };
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn stop(mut daemon: Child, signal: &str) -> Option<i32> {
    let id = daemon.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    daemon.wait().unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_loses_and_doubles_nothing() {
    let rig = Rig::start().await;
    let first = rig.daemon();
    rig.delivered(3000).await;
    assert_eq!(stop(first, "-TERM"), Some(0));
    rig.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_again_and_again_loses_and_doubles_nothing() {
    let rig = Rig::start().await;
    for round in 1..=5 {
        let daemon = rig.daemon();
        rig.delivered(round * 3000).await;
        assert_eq!(stop(daemon, "-KILL"), None);
    }
    rig.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_engine_gets_its_templates_first_and_then_every_event() {
    use logweir::demo::ledger::ExpectedFate::{DeadLettered, Delivered, DeliveredUndated};
    let rig = Rig::start().await;
    let fake = crate::fake_bulk::FakeBulk::start().await;
    let path = rig.folder.path().join("logweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, sqlite) = text.split_once("[destination.search.sqlite]\n").unwrap();
    let (_, after) = sqlite.split_once("\n\n").unwrap();
    let url = fake.url();
    let text = format!("{before}[destination.search.opensearch]\nurl = \"{url}\"\n\n{after}");
    std::fs::write(&path, text).unwrap();
    // This destination takes the large documents too.
    let expected = [Delivered, DeliveredUndated, DeadLettered].map(|fate| rig.ledger.count(fate));
    let expected = usize::try_from(expected.iter().sum::<u64>()).unwrap();
    let daemon = rig.daemon();
    for _ in 0..600 {
        if fake.documents().len() >= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stop(daemon, "-TERM"), Some(0));
    assert_eq!(fake.documents().len(), expected);
    let requests = fake.requests();
    let first_bulk =
        requests.iter().position(|request| request.uri.to_string().contains("_bulk")).unwrap();
    let template =
        requests.iter().position(|request| request.uri.to_string().contains("_index_template"));
    assert!(template.unwrap() < first_bulk, "templates come first");
}
