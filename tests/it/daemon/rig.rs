//! The real binary on an in-process Kinesis endpoint with generated events, and what came of them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logweir::demo::endpoint::Endpoint;
use logweir::demo::generator::{Generator, GeneratorOptions};
use logweir::demo::ledger::ExpectedFate::{DeadLettered, Delivered, DeliveredUndated};
use logweir::demo::ledger::{FoundDocument, FoundLetter, Ledger};
use logweir::demo::session::config_text;
use logweir::event::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

use super::page::Page;
use crate::fake_bulk::FakeBulk;

/// How long nothing may happen before a test fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(150);

/// The log line with the address, and time enough to drain on a busy machine.
const SETTINGS: &str =
    "[log]\nlevel = \"warn,logweir::app=info\"\n\n[shutdown]\ndeadline = \"2m\"\n\n";

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The stream, and the folder with configuration, state and documents: what outlives a daemon.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    endpoint: Endpoint,
    generator: Generator,
    pub(crate) ledger: Ledger,
    /// What daemons find in their environment besides.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Rig {
    /// A stream with this many events in it, for a SQLite destination.
    pub(crate) async fn start(events: u64) -> Self {
        let mut rig = Self::empty(events).await;
        rig.put(events);
        rig
    }

    /// A stream that will get this many events.
    pub(crate) async fn empty(events: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(3).await.unwrap();
        let options = GeneratorOptions { seed: 7, events, now: Timestamp::now() };
        let (generator, ledger) = (Generator::new(options), Ledger::default());
        let variables = Vec::new();
        let rig = Self { folder, endpoint, generator, ledger, variables };
        let text = config_text(rig.folder.path(), &rig.endpoint.url(), "127.0.0.1:0");
        rig.configure(|_| format!("{SETTINGS}{text}"));
        rig
    }

    /// Puts records until the stream has had this many events, or all of them.
    pub(crate) fn put(&mut self, events: u64) {
        while (self.ledger.events().len() as u64) < events {
            let Some(record) = self.generator.next_record(&mut self.ledger) else { break };
            self.endpoint.put(Endpoint::STREAM, &record.partition_key, record.data).unwrap();
        }
    }

    /// The same for a search engine.
    pub(crate) async fn for_search(events: u64, fake: &FakeBulk) -> Self {
        let rig = Self::start(events).await;
        rig.deliver_to(fake);
        rig
    }

    /// From now on the destination is this search engine.
    pub(crate) fn deliver_to(&self, fake: &FakeBulk) {
        self.configure(|text| {
            let (before, sqlite) = text.split_once("[destination.search.sqlite]\n").unwrap();
            let (_, after) = sqlite.split_once("\n\n").unwrap();
            let url = fake.url();
            format!("{before}[destination.search.opensearch]\nurl = \"{url}\"\n\n{after}")
        });
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).unwrap_or_default();
        std::fs::write(self.config(), change(text)).unwrap();
    }

    /// Where configuration, state and documents are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("logweir.toml")
    }

    /// Starts a daemon, and kills it after so long.
    pub(crate) async fn kill_young(&self, age: Duration) {
        let mut child = self.spawn();
        tokio::time::sleep(age).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a daemon, and waits until it listens.
    pub(crate) async fn daemon(&self) -> Daemon {
        let mut child = self.spawn();
        let log = Log::of(child.stderr.take().unwrap());
        let line = log.line("listening for /metrics and /health").await;
        let address = line.rsplit_once("address=").unwrap().1.trim().parse().unwrap();
        Daemon { child, log, address }
    }

    fn spawn(&self) -> Child {
        let mut command = logweir();
        command.args(["run", "--config"]).arg(self.config());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stderr(Stdio::piped()).spawn().unwrap()
    }

    /// How many documents the SQLite destination has.
    pub(crate) fn delivered(&self) -> u64 {
        let sql = "SELECT coalesce(max(number), 0) FROM documents";
        let path = self.folder.path().join("documents.db");
        let count: Option<i64> = rows(&path, sql, |row| row.get(0)).pop();
        count.unwrap_or(0).unsigned_abs()
    }

    /// Waits until this many documents are there, for as long as there are ever more.
    pub(crate) async fn wait_for(&self, least: u64) {
        let (mut count, mut since) = (0, Instant::now());
        while count < least {
            assert!(since.elapsed() < PATIENCE, "only {count} of {least} documents arrived");
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = self.delivered();
            if now > count {
                (count, since) = (now, Instant::now());
            }
        }
    }

    /// How many documents a destination gets that refuses large ones.
    pub(crate) fn expected(&self) -> u64 {
        self.ledger.count(Delivered) + self.ledger.count(DeliveredUndated)
    }

    /// How many a destination gets that takes them all.
    pub(crate) fn expected_of_search(&self) -> usize {
        usize::try_from(self.expected() + self.ledger.count(DeadLettered)).unwrap()
    }

    /// Runs a daemon to the end of the stream, and compares what is there with what must be.
    pub(crate) async fn finish(self) {
        let last = self.daemon().await;
        self.wait_for(self.expected()).await;
        last.settled().await;
        last.stop("-TERM", Some(0)).await;
        let found = self.ledger.reconcile(self.documents().into_iter(), self.letters().into_iter());
        let (missing, doubled, unexpected) = (found.missing, found.doubled, found.unexpected);
        println!("{missing} missing, {doubled} doubled, {unexpected} unexpected");
        assert!(found.is_clean(), "{found:#?}");
        self.endpoint.stop().await;
    }

    fn documents(&self) -> Vec<FoundDocument> {
        let sql = "SELECT id, index_name FROM documents";
        rows(&self.folder.path().join("documents.db"), sql, |row| {
            Ok(FoundDocument { id: row.get(0)?, index: row.get(1)? })
        })
    }

    pub(crate) fn letters(&self) -> Vec<FoundLetter> {
        let sql = "SELECT letter ->> '$.document_id', reason FROM dead_letters";
        rows(&self.folder.path().join("state.db"), sql, |row| {
            Ok(FoundLetter { document_id: row.get(0)?, reason: row.get(1)? })
        })
    }
}

/// The binary, with what it needs of the environment.
pub(crate) fn logweir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

/// None while the file is not there or has no tables yet.
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

/// A running daemon. It is killed when a test fails.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) log: Log,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Its page of this path: the status and the text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn metrics(&self) -> Page {
        Page::read(&self.get("/metrics").await.1)
    }

    /// Waits until every event that was read has its fate.
    pub(crate) async fn settled(&self) {
        let since = Instant::now();
        while self.metrics().await.sum("logweir_events_in_flight", "") > 0 {
            assert!(since.elapsed() < PATIENCE, "{:#?}", self.metrics().await);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Checks the identity, gives the signal, and checks how the daemon ends.
    pub(crate) async fn stop(self, signal: &str, code: Option<i32>) {
        self.metrics().await.check_identity();
        self.signal(signal);
        self.ends(code).await;
    }

    /// Waits until it has ended, and checks how.
    pub(crate) async fn ends(mut self, code: Option<i32>) {
        let status = self.wait().await;
        assert_eq!(status.code(), code, "{:#?}", self.log.lines());
    }

    async fn wait(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < DRAIN, "it does not end: {:#?}", self.log.lines());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What a daemon wrote to stderr so far.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Self(Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        log
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line with this text.
    pub(crate) async fn line(&self, text: &str) -> String {
        let since = Instant::now();
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            assert!(since.elapsed() < PATIENCE, "no {text:?} in {:#?}", self.lines());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
