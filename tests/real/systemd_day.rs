//! A day in the life: the package is installed, configured, started, killed, hung, stopped, removed.
//!
//! Under a systemd that really sandboxes it, on the generated logs of the demo: at the end no event is
//! missing and none is doubled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use logweir::demo::endpoint::Endpoint;
use logweir::demo::generator::{Generator, GeneratorOptions};
use logweir::demo::ledger::ExpectedFate::{Delivered, DeliveredUndated};
use logweir::demo::ledger::{FoundDocument, FoundLetter, Ledger};
use logweir::demo::session::config_text;
use logweir::event::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::time::{Instant, sleep};

use crate::machine::Machine;

const EVENTS: u64 = 60_000;

const PATIENCE: Duration = Duration::from_secs(120);

/// What an operator adds: a credential, and here a watchdog that the test can wait for.
const DROP_IN: &str = "[Service]\nLoadCredential=aws:/etc/logweir/aws-credentials\n\
    Environment=AWS_SHARED_CREDENTIALS_FILE=%d/aws LOGWEIR_LOG_LEVEL=warn\nWatchdogSec=2s\n\
    TimeoutAbortSec=2s\nRestartSec=100ms\n";

const AWS: &str = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_day_under_systemd_loses_and_doubles_nothing() {
    let Some(machine) = Machine::boot().await else { return };
    let endpoint = Endpoint::start(3).await.unwrap();
    let options = GeneratorOptions { seed: 11, events: EVENTS, now: Timestamp::now() };
    let (mut generator, mut ledger) = (Generator::new(options), Ledger::default());
    let mut feed = |records: usize| {
        for _ in 0..records {
            let Some(record) = generator.next_record(&mut ledger) else { return };
            endpoint.put(Endpoint::STREAM, &record.partition_key, record.data).unwrap();
        }
    };
    let config = config_text(Path::new("/var/lib/logweir"), &endpoint.url(), "127.0.0.1:0");

    install(&machine, &config);
    feed(50);
    machine.run("systemctl enable --now logweir");
    let day = Day { machine };
    assert_eq!(day.show("ActiveState"), "active");
    assert_eq!(day.machine.run("stat --format %a /var/lib/private/logweir"), "700");
    let documents = day.delivered(1000).await;

    feed(50);
    day.machine.run("systemctl kill --signal=KILL logweir");
    day.restarted(1).await;
    let documents = day.delivered(documents + 1000).await;

    // Stopped by a signal it is as stuck as can be: nobody feeds the watchdog.
    feed(50);
    day.machine.run("systemctl kill --signal=STOP logweir");
    day.restarted(2).await;
    day.delivered(documents + 1000).await;

    day.machine.run("systemctl reload logweir && systemctl restart logweir");
    feed(usize::MAX);
    let expected = ledger.count(Delivered) + ledger.count(DeliveredUndated);
    day.delivered(usize::try_from(expected).unwrap()).await;
    assert!(day.show("StatusText").starts_with("running"), "{}", day.show("StatusText"));
    day.machine.run("systemctl stop logweir");
    assert_eq!(day.show("Result"), "success", "a drained stop is no failure");
    let found = ledger.reconcile(day.documents().into_iter(), day.letters().into_iter());
    assert!(found.is_clean(), "{found:#?}");

    // As root, beside no daemon: what is left must still be the service's own.
    day.machine.run("logweir dead-letter list");
    let said = day.machine.run("dpkg --purge logweir");
    assert!(said.contains("stay in /var/lib/private/logweir"), "{said}");
    assert!(!day.letters().is_empty(), "dead letters outlive the package");
    endpoint.stop().await;
}

/// Installs the package and configures it. The program is this build's.
fn install(machine: &Machine, config: &str) {
    let folder = tempfile::tempdir().unwrap();
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/make-deb");
    let mut make = Command::new(make);
    make.arg(env!("CARGO_BIN_EXE_logweir")).arg(folder.path());
    let output = make.env("DPKG_DEB_COMPRESSOR_TYPE", "none").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    machine.put("/var/tmp/logweir.deb", &fs::read(package).unwrap());
    let said = machine.run("dpkg --install /var/tmp/logweir.deb");
    assert!(said.contains("systemctl enable --now logweir"), "{said}");
    assert_eq!(machine.run("systemctl is-enabled logweir || true"), "disabled");
    let owner = machine.run("stat --format '%U:%G %a' /etc/logweir/logweir.toml");
    assert_eq!(owner, "root:logweir-config 640");
    machine.put("/etc/logweir/logweir.toml", config.as_bytes());
    machine.put("/etc/logweir/aws-credentials", AWS.as_bytes());
    machine.put("/etc/systemd/system/logweir.service.d/override.conf", DROP_IN.as_bytes());
    machine.run("chmod 600 /etc/logweir/aws-credentials && systemctl daemon-reload");
}

struct Day {
    machine: Machine,
}

impl Day {
    fn show(&self, property: &str) -> String {
        self.machine.run(&format!("systemctl show --value --property={property} logweir"))
    }

    /// Waits until systemd has started it anew this many times, and it is ready again.
    async fn restarted(&self, times: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.show("NRestarts") != times.to_string() || self.show("ActiveState") != "active" {
            assert!(Instant::now() < deadline, "not restarted {times} times");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until this many documents are there, and counts them.
    async fn delivered(&self, least: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let documents = self.documents().len();
            if documents >= least {
                return documents;
            }
            assert!(Instant::now() < deadline, "only {documents} of {least} documents");
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn documents(&self) -> Vec<FoundDocument> {
        self.rows("documents.db", "SELECT id, index_name FROM documents", |row| {
            Ok(FoundDocument { id: row.get(0)?, index: row.get(1)? })
        })
    }

    fn letters(&self) -> Vec<FoundLetter> {
        let sql = "SELECT letter ->> '$.document_id', reason FROM dead_letters";
        self.rows("state.db", sql, |row| {
            Ok(FoundLetter { document_id: row.get(0)?, reason: row.get(1)? })
        })
    }

    fn rows<T>(
        &self,
        file: &str,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let path = self.machine.private().join("logweir").join(file);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let Ok(connection) = Connection::open_with_flags(path, flags) else { return Vec::new() };
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }
}
