//! A systemd to try a package under: `tests/real/machine` starts it, commands run inside of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Booting takes a second or two, and longer beside compilers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running machine. Dropping it ends it.
pub(crate) struct Machine {
    child: Child,
    pid: String,
    folder: tempfile::TempDir,
}

impl Machine {
    /// Boots one; `None` (said loudly) where that cannot be.
    pub(crate) async fn boot() -> Option<Self> {
        // On the disk, where a database that is killed behaves as everywhere.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/machine");
        let child = Command::new(script).arg(folder.path()).stdin(Stdio::piped()).spawn();
        let mut machine = Self { child: child.unwrap(), pid: String::new(), folder };
        let started = Instant::now();
        loop {
            if let Some(ended) = machine.child.try_wait().unwrap() {
                assert_eq!(ended.code(), Some(69), "tests/real/machine failed");
                crate::servers::skip("a machine with a systemd of its own");
                return None;
            }
            machine.pid = fs::read_to_string(machine.path("pid")).unwrap_or_default();
            if !machine.pid.is_empty() && machine.is_up() {
                return Some(machine);
            }
            let log = fs::read_to_string(machine.path("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "the machine does not boot: {log}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn is_up(&self) -> bool {
        let state = self.command("systemctl is-system-running").output().unwrap();
        // Degraded: something that this machine has and a namespace cannot run.
        ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the machine has in `/var/lib/private`, as seen from here.
    pub(crate) fn private(&self) -> PathBuf {
        self.path("private")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", self.pid.trim(), "--mount", "--pid", "--uts", "--ipc"]);
        command.args(["--cgroup", "--root", "--wd", "bash", "-euc", line]);
        command
    }

    /// Runs a line of shell to its end, and gives what it said.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        assert!(output.status.success(), "{line}: {said}\n{}", self.journal());
        said
    }

    /// What the machine's log has about the service.
    fn journal(&self) -> String {
        let journal = self.command("journalctl --no-pager --lines=50 --unit=logweir").output();
        String::from_utf8_lossy(&journal.unwrap().stdout).into_owned()
    }

    /// Puts a file into the machine.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let inside = format!("/proc/{}/root{path}", self.pid.trim());
        fs::create_dir_all(Path::new(&inside).parent().unwrap()).unwrap();
        fs::write(inside, content).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("could not wait for tests/real/machine");
    }
}
