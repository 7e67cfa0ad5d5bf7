//! The real binary between a Kinesis endpoint with a handful of records and a scripted engine.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use logweir::demo::endpoint::Endpoint;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::fake_bulk::FakeBulk;

pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Small {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fake: FakeBulk,
    pub(crate) endpoint: Endpoint,
}

/// One envelope; event n has n in its id and in its message.
pub(crate) fn envelope(log_group: &str, events: Range<usize>) -> String {
    let events: Vec<_> = events
        .map(|n| {
            let message = json!({"n": n}).to_string();
            json!({"id": format!("{n:056}"), "timestamp": 1_764_000_000_000_u64, "message": message})
        })
        .collect();
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
        "logGroup": log_group, "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events});
    envelope.to_string()
}

/// A route to the scripted engine, which is called `search`.
pub(crate) fn route(name: &str, log_group: &str, parse: &str) -> String {
    format!(
        "\n[[route]]\nname = \"{name}\"\nlog_group = \"{log_group}\"\nparse = \"{parse}\"\n\
         to = [\"search\"]\nindex = \"{name}-%Y.%m.%d\"\n"
    )
}

impl Small {
    /// Of one shard; what no route takes is discarded.
    pub(crate) async fn new(routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (fake, endpoint) = (FakeBulk::start().await, Endpoint::start(1).await.unwrap());
        let small = Self { folder, fake, endpoint };
        small.configure(routes);
        small
    }

    pub(crate) fn configure(&self, routes: &str) {
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"error\"\n\n\
             [stream.{stream}]\nregion = \"{region}\"\nendpoint = \"{kinesis}\"\n\n\
             [state.sqlite]\npath = \"{state}\"\nephemeral = true\n\n\
             [destination.search.opensearch]\nurl = \"{search}\"\n{routes}\n\
             [[route]]\nname = \"nowhere\"\ndiscard = true\n",
            stream = Endpoint::STREAM,
            region = Endpoint::REGION,
            kinesis = self.endpoint.url(),
            state = self.path("state.db").display(),
            search = self.fake.url(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("logweir.toml")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, record: impl Into<Vec<u8>>) -> String {
        let record: Vec<u8> = record.into();
        let (_, number) = self.endpoint.put(Endpoint::STREAM, "k", record).unwrap();
        number.to_string()
    }

    /// A command that is ended with the test.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
        command.args(words).arg("--config").arg(self.config());
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.kill_on_drop(true);
        command
    }

    /// Runs a command to its end: its exit code, and all that it said.
    pub(crate) async fn ask(&self, words: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(words).output().await.unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    pub(crate) fn daemon(&self) -> Child {
        self.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// With its address, which it logs to a file that is its stderr.
    pub(crate) async fn daemon_that_listens(&self) -> (Child, String) {
        let log = self.path("daemon.log");
        let mut command = self.command(&["run"]);
        command.env("LOGWEIR_LOG_LEVEL", "info").stderr(File::create(&log).unwrap());
        let daemon = command.spawn().unwrap();
        let listening = async {
            loop {
                let text = std::fs::read_to_string(&log).unwrap();
                let line = text.lines().find(|line| line.contains("listening for"));
                if let Some((_, address)) = line.and_then(|line| line.rsplit_once("address=")) {
                    return address.trim().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let address = tokio::time::timeout(Duration::from_secs(60), listening).await;
        let said = std::fs::read_to_string(&log).unwrap();
        (daemon, address.unwrap_or_else(|_| panic!("the daemon does not listen: {said}")))
    }

    pub(crate) fn database(&self, name: &str) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(self.path(name), flags).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }
}

pub(crate) async fn signal(process: &Child, name: &str) {
    let id = process.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

/// Drains a daemon. What it logged.
pub(crate) async fn stop(daemon: Child) -> String {
    signal(&daemon, "-TERM").await;
    let Output { status, stderr, .. } = daemon.wait_with_output().await.unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    said
}
