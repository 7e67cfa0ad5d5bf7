//! The daemon under systemd: what it tells it, and how the unit holds it.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use logweir::config::ShutdownConfig;
use logweir::demo::endpoint::Endpoint;
use logweir::demo::session::config_text;

use crate::fake_bulk::FakeBulk;

/// Longer than anything takes, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// systemd's end of `NOTIFY_SOCKET`.
struct Supervisor {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { folder, socket }
    }

    fn run(&self, config: &str) -> Child {
        let path = self.folder.path().join("logweir.toml");
        std::fs::write(&path, config).unwrap();
        Command::new(env!("CARGO_BIN_EXE_logweir"))
            .args(["run", "--config"])
            .arg(path)
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "300000")
            .env("CREDENTIALS_DIRECTORY", self.folder.path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("LOGWEIR_LOG_LEVEL", "error")
            .spawn()
            .unwrap()
    }

    /// Reads until one message has this line.
    fn wait_for(&self, wanted: &str) {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        for _ in 0..100 {
            let Ok(length) = self.socket.recv(&mut buffer) else { break };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
            seen.push(message);
        }
        panic!("no {wanted:?} after {seen:?}");
    }
}

fn signal(daemon: &Child, name: &str) {
    let id = daemon.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_ready_alive_reloading_and_stopping() {
    let (supervisor, endpoint) = (Supervisor::new(), Endpoint::start(2).await.unwrap());
    let config = config_text(supervisor.folder.path(), &endpoint.url(), "127.0.0.1:0");
    let mut daemon = supervisor.run(&config);
    supervisor.wait_for("READY=1");
    supervisor.wait_for("STATUS=running");
    for _ in 0..3 {
        supervisor.wait_for("WATCHDOG=1");
    }
    signal(&daemon, "-HUP");
    supervisor.wait_for("RELOADING=1");
    supervisor.wait_for("READY=1");
    signal(&daemon, "-TERM");
    supervisor.wait_for("STOPPING=1");
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    endpoint.stop().await;
}

/// What `LoadCredential=search-password:…` puts where `password_file` finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_a_credential_of_systemd() {
    let (supervisor, fake) = (Supervisor::new(), FakeBulk::start().await);
    let endpoint = Endpoint::start(1).await.unwrap();
    std::fs::write(supervisor.folder.path().join("search-password"), "open sesame\n").unwrap();
    let config = config_text(supervisor.folder.path(), &endpoint.url(), "127.0.0.1:0");
    let (before, rest) = config.split_once("[destination.search.sqlite]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let line = unit_text();
    let line = line.lines().find_map(|line| line.split_once("password_file = ")).unwrap().1;
    let (password_file, _) = line.split_once(" }").unwrap();
    let config = format!(
        "{before}[destination.search.opensearch]\nurl = \"{}\"\n\
         auth.basic = {{ user = \"Aladdin\", password_file = {password_file} }}\n\n{after}",
        fake.url()
    );
    let mut daemon = supervisor.run(&config);
    fake.wait_for("a request with the password", |fake| {
        fake.requests().iter().any(|request| {
            let header = request.headers.get("authorization");
            header.is_some_and(|header| header == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        })
    })
    .await;
    signal(&daemon, "-TERM");
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    endpoint.stop().await;
}

#[test]
fn systemd_waits_longer_than_the_daemon_drains() {
    let text = unit_text();
    let setting = |name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.strip_suffix('s').unwrap().parse().unwrap()
    };
    let deadline = ShutdownConfig::default().deadline.0;
    let margin = Duration::from_secs(setting("TimeoutStopSec=")).checked_sub(deadline).unwrap();
    assert!(margin >= Duration::from_secs(10), "{margin:?}");
    // A daemon whose loops are stuck is killed about when /health/live would have had it restarted.
    assert_eq!(setting("WatchdogSec="), 60);
}

#[test]
fn systemd_has_nothing_against_the_unit() {
    // Elsewhere than here the program is where the package puts it.
    let folder = tempfile::tempdir().unwrap();
    let text = unit_text().replace("/usr/bin/logweir", env!("CARGO_BIN_EXE_logweir"));
    let path = folder.path().join("logweir.service");
    std::fs::write(&path, text).unwrap();
    let Some((good, said)) = analyze(&["verify", "--man=no"], &path) else { return };
    assert!(good && said.is_empty(), "{said}");
}

#[test]
fn the_unit_is_exposed_as_little_as_it_can_be() {
    let security = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let Some((good, said)) = analyze(&security, &unit()) else { return };
    assert!(good, "{said}");
}

/// Whether `systemd-analyze` is content, and what it said; nothing where there is none.
fn analyze(arguments: &[&str], unit: &Path) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: there is no systemd-analyze here, so this test has checked nothing");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no systemd-analyze, and CI=true");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(said).unwrap()))
}

/// Settings are given once: the second would win without a word.
#[test]
fn the_unit_gives_each_setting_once() {
    let text = unit_text();
    let settings = text.lines().filter(|line| !line.starts_with(['#', '[']) && line.contains('='));
    let mut seen = BTreeSet::new();
    for (name, _) in settings.filter_map(|line| line.split_once('=')) {
        assert!(seen.insert(name.to_owned()) || name == "SystemCallFilter", "{name}");
    }
    assert!(seen.len() > 30, "{seen:?}");
}

fn unit_text() -> String {
    std::fs::read_to_string(unit()).unwrap()
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/logweir.service")
}
