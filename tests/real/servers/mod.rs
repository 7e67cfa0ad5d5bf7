//! Real servers for tests: installed at first use, on loopback, ended with this process.
//!
//! `let Some(search) = OpenSearch::start().await else { return };` is all a test needs. Where a
//! server cannot be had the test says so loudly and is skipped, or fails if `CI=true`. One server
//! of a kind serves the whole binary, empty at first: a test owns its indices and streams by name.

mod botocore;
mod cloudwatch_logs;
mod kcl;
mod kinesis;
mod opensearch;
mod promtool;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub(crate) use botocore::signed_by_botocore;
pub(crate) use cloudwatch_logs::{LogBatch, subscribe_and_put};
pub(crate) use kcl::{UserRecord, read_by_kcl};
pub(crate) use kinesis::{Emulator, Kinesis, PutAt};
pub(crate) use opensearch::{Engine, OpenSearch};
pub(crate) use promtool::{promtool_complaints, promtool_on_rules};

/// A cold start takes 6 s on an idle machine and 20 s beside a compiler.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server. Dropping it ends the server and removes its data.
pub(crate) struct Server {
    child: Child,
    /// `host:port`
    pub(crate) address: String,
}

/// How a server is started and how its log tells where it listens.
#[derive(Clone, Copy)]
struct Kind {
    /// As `tests/real/install` and `tests/real/start` know it.
    name: &'static str,
    /// What stands before `host:port` in the log, once it listens.
    listening: &'static str,
    /// Lines of its configuration besides the usual ones.
    settings: &'static [&'static str],
}

impl Server {
    /// `None` when it cannot be installed here.
    async fn start(kind: Kind) -> Option<Self> {
        let folder = install(kind.name).await?;
        // Between its choice of a free port and its use, another process may have taken that port.
        for _ in 0..3 {
            if let Some(server) = Self::launch(kind, &folder).await {
                return Some(server);
            }
        }
        panic!("{} is installed and does not start; its log is above", kind.name);
    }

    /// `None` when it ended before it listened.
    async fn launch(kind: Kind, folder: &Path) -> Option<Self> {
        let child = Command::new(script("start"))
            .arg(kind.name)
            .arg(folder)
            .args(kind.settings)
            // The script ends the server when this pipe closes: on drop, and however we end.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("could not run tests/real/start");
        let log = root().join(format!("target/servers/run/{}.{}/log", kind.name, child.id()));
        let mut server = Self { child, address: String::new() };
        let started = Instant::now();
        let mut progress = Duration::from_secs(5);
        while started.elapsed() < PATIENCE {
            if let Some(address) = address_after(kind.listening, &log) {
                say(&format!("{} listens after {:.1?}", kind.name, started.elapsed()));
                server.address = address;
                return Some(server);
            }
            if server.child.try_wait().expect("could not look after tests/real/start").is_some() {
                return None;
            }
            if started.elapsed() > progress {
                say(&format!("waiting for {} since {:.0?} …", kind.name, started.elapsed()));
                progress += Duration::from_secs(5);
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{} does not listen after {PATIENCE:?}", kind.name);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Milliseconds: the script kills, and removes the data.
        if let Err(error) = self.child.wait() {
            say(&format!("could not wait for the end of {}: {error}", self.address));
        }
    }
}

/// The folder of an installed server, `None` when it cannot be had here; stderr has said why.
pub(crate) async fn install(name: &'static str) -> Option<PathBuf> {
    let run = move || Command::new(script("install")).arg(name).stderr(Stdio::inherit()).output();
    let output = spawn_blocking(run).await.unwrap().expect("could not run tests/real/install");
    let folder = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| PathBuf::from(folder.trim_end()))
}

/// Says that a test cannot run here, and fails it where everything must run.
pub(crate) fn skip(name: &str) {
    say(&format!("SKIPPED: {name} cannot be installed here, so this test has checked nothing"));
    assert!(env::var("CI").as_deref() != Ok("true"), "{name} cannot be had, and CI=true");
}

/// Not by `eprintln!`, which cargo shows only when the test fails.
fn say(text: &str) {
    writeln!(io::stderr(), "{text}").expect("could not write to standard error");
}

/// The `host:port` that follows `marker` in the log.
fn address_after(marker: &str, log: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    let (_, rest) = text.split_once(marker)?;
    // Without what ends it, the line is not written out yet.
    let (address, _) = rest.split_once(['}', '\n'])?;
    Some(address.to_owned())
}

fn script(name: &str) -> PathBuf {
    root().join("tests/real").join(name)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
