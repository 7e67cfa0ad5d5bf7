//! One daemon process: started, signalled, killed, looked at through its listener and its log.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;

/// For anything a daemon is waited for: seconds, or minutes beside compilers.
const PATIENCE: Duration = Duration::from_secs(240);

const POLL: Duration = Duration::from_millis(50);

/// A running `logweir run`. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    /// The daemon's own, where something else has started it.
    pid: u32,
    log: PathBuf,
    /// `host:port` of its listener.
    address: String,
    http: Client,
}

impl Daemon {
    /// Starts it, without a look at whether it comes up.
    pub(crate) fn spawn(mut command: Command, log: PathBuf) -> Self {
        let child = command.stderr(File::create(&log).unwrap()).spawn();
        let child = child.expect("could not start logweir");
        let http = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let pid = child.id();
        Self { child, pid, log, address: String::new(), http }
    }

    /// Waits until it listens.
    pub(crate) async fn listening(mut self) -> Self {
        let said = "listening for /metrics and /health";
        let line = self.logged(|line| line["message"] == said).await;
        self.address = line["address"].as_str().unwrap().to_owned();
        self
    }

    /// Waits until it has ended by itself, and gives its exit code and all that it has said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = self.wait().await;
        (status.code(), self.log())
    }

    async fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "logweir does not end:\n{}", self.log());
            sleep(POLL).await;
        }
    }

    /// `-STOP`, `-CONT`, …
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid.to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// By SIGKILL, and gone when this returns.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Drains it by SIGTERM; how it ends is for the caller to judge.
    pub(crate) async fn stop(mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        let status = self.wait().await;
        (status.code(), self.log())
    }

    /// A page of its listener: the status and the text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.http.get(&url).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {error:?}\n{}", self.log()));
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// Its metrics, on which every event that was read has at most one fate.
    pub(crate) async fn metrics(&self) -> Metrics {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        let metrics = Metrics::read(page);
        conserved(&metrics);
        metrics
    }

    /// Waits until its metrics are so.
    pub(crate) async fn metrics_when(&self, what: &str, are: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if are(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "never {what}:\n{}\n{}", metrics.page(), self.log());
            sleep(POLL).await;
        }
    }

    /// Waits until `/health/ready` answers 503 and says this; gives all that it says.
    pub(crate) async fn not_ready(&self, saying: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, text) = self.get("/health/ready").await;
            if status == 503 && text.contains(saying) {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "/health/ready never says {saying:?}, but: {status} {text}\n{}",
                self.log()
            );
            sleep(POLL).await;
        }
    }

    /// Waits for a line of its log.
    pub(crate) async fn logged(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines().into_iter().find(&is) {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "logweir ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "a line is missing in the log:\n{}", self.log());
            sleep(POLL).await;
        }
    }

    /// Its log; a line that is not written out yet is left out.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The most memory that it has ever had resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

/// Every event that was read is filtered or on its way to its one destination, and has there at most
/// one fate.
fn conserved(metrics: &Metrics) {
    let (sum, page) = (|name: &str| metrics.sum(name, &[]), metrics.page());
    let matched = sum("logweir_events_matched_total");
    assert_eq!(
        sum("logweir_events_read_total"),
        sum("logweir_events_filtered_total") + matched,
        "{page}"
    );
    let routed = metrics.by("logweir_events_routed_total", "destination");
    assert_eq!(routed.values().sum::<u64>(), matched, "{page}");
    for (destination, routed) in routed {
        let of = |name: &str| metrics.sum(name, &[("destination", &destination)]);
        let ended = of("logweir_events_delivered_total")
            + of("logweir_events_dead_lettered_total")
            + of("logweir_events_abandoned_total");
        assert_eq!(routed, ended + of("logweir_events_in_flight"), "{destination}:\n{page}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
