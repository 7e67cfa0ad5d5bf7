//! The release binary between two endpoints: one run of it, and what it cost.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::kinesis::{Plan, STREAM};
use super::process::Process;
use crate::routes::{Setting, routes};

/// How long nothing may come of a run.
const PATIENCE: Duration = Duration::from_secs(120);

/// How bodies are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

impl Compression {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}

/// A daemon, the stream it reads and the engine it writes to.
pub(super) struct Rig {
    pub(super) daemon: Process,
    pub(super) kinesis: Process,
    pub(super) bulk: Process,
    folder: tempfile::TempDir,
}

/// What a run over a backlog came to. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) events: f64,
    /// Processor time of the daemon, start included, and of the two endpoints.
    pub(crate) cpu: f64,
    pub(crate) kinesis_cpu: f64,
    pub(crate) bulk_cpu: f64,
    /// From the stream's first answer to the last acknowledgement.
    pub(crate) took: f64,
    /// From the stream's first answer to the first acknowledgement.
    pub(crate) first: f64,
    /// MiB.
    pub(crate) peak_rss: f64,
}

impl Rig {
    pub(super) fn start(plan: &Plan, compression: Compression, notes: usize) -> Self {
        let events = plan.records * plan.shape.events;
        let kinesis = Process::of_ours("kinesis", &plan.words());
        let bulk = Process::of_ours("bulk", &[events.to_string(), notes.to_string()]);
        let destination = format!(
            "[destination.search.opensearch]\nurl = \"http://{}\"\ntemplates = \"manual\"\n\
             bulk.compression = \"{}\"\n",
            bulk.says("listening", PATIENCE),
            compression.as_str()
        );
        let stream = kinesis.says("listening", PATIENCE);
        let folder = tempfile::tempdir().unwrap();
        let daemon = daemon(folder.path(), &stream, &destination);
        Self { daemon, kinesis, bulk, folder }
    }

    /// Waits for a moment that an endpoint tells of; shows the daemon's log where it never comes.
    pub(super) fn wait(&mut self, which: Endpoint, word: &str) -> u64 {
        let endpoint = match which {
            Endpoint::Kinesis => &self.kinesis,
            Endpoint::Bulk => &self.bulk,
        };
        let heard = endpoint.hear(word, PATIENCE);
        assert!(!self.daemon.has_ended(), "the daemon has ended:\n{}", self.log());
        let heard = heard.unwrap_or_else(|| panic!("nobody says {word}; the log:\n{}", self.log()));
        heard.parse().unwrap()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Either of the two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Kinesis,
    Bulk,
}

/// Starts the daemon in a folder of its own.
pub(super) fn daemon(folder: &std::path::Path, stream: &str, destination: &str) -> Process {
    let at = |name: &str| folder.join(name);
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n\
         [stream.{STREAM}]\nregion = \"eu-west-1\"\nendpoint = \"http://{stream}\"\n\
         [state.sqlite]\npath = \"{}\"\nephemeral = true\n{destination}{}",
        at("state.db").display(),
        routes(Setting::default())
    );
    fs::write(at("logweir.toml"), text).unwrap();
    // Its log goes to a file, by a shell that becomes the daemon.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" run --config \"$1\" 2>\"$2\""]);
    command.arg(env!("CARGO_BIN_EXE_logweir")).arg(at("logweir.toml")).arg(at("log"));
    command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
    // As systemd/logweir.service and the Dockerfile start it.
    command.env("MALLOC_ARENA_MAX", "2").env("MALLOC_MMAP_THRESHOLD_", "1048576");
    Process::start("daemon", &command)
}

/// Reads all that is in a stream as fast as it can.
pub(super) fn backlog(plan: &Plan, compression: Compression) -> Backlog {
    let mut rig = Rig::start(plan, compression, 0);
    let asked = rig.wait(Endpoint::Kinesis, "asked");
    let first = rig.wait(Endpoint::Bulk, "first");
    let done = rig.wait(Endpoint::Bulk, "done");
    let (cpu, kinesis_cpu, bulk_cpu) = (rig.daemon.cpu(), rig.kinesis.cpu(), rig.bulk.cpu());
    let seconds = |from: u64, to: u64| Duration::from_nanos(to - from).as_secs_f64();
    Backlog {
        events: (plan.records * plan.shape.events) as f64,
        cpu: cpu.as_secs_f64(),
        kinesis_cpu: kinesis_cpu.as_secs_f64(),
        bulk_cpu: bulk_cpu.as_secs_f64(),
        took: seconds(asked, done),
        first: seconds(asked, first),
        peak_rss: rig.daemon.peak_memory(),
    }
}
