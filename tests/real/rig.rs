//! The whole daemon as a process of its own, between a real Kinesis and a real engine: started,
//! watched through `/metrics`, stopped by a signal.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::documents::Documents;
use crate::metrics::{Metrics, identity};
use crate::servers::Kinesis;

/// For anything a daemon is waited for: seconds, or minutes beside compilers.
const PATIENCE: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(50);

/// A folder with a configuration and the state that daemons leave in it.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
}

/// A running `logweir run`. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// `host:port` of its listener.
    address: String,
    http: Client,
}

/// A route of the log group `/real/NAME` to the one destination; `parse` is TOML, such as
/// `parse = "json"`.
pub(crate) fn route(name: &str, parse: &str, index: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nlog_group = \"{}\"\n{parse}\nto = [\"search\"]\n\
         index = \"{index}\"\n\n",
        log_group(name)
    )
}

/// The log group of a route.
pub(crate) fn log_group(route: &str) -> String {
    format!("/real/{route}")
}

/// The table of a stream whose name there is `name`; a daemon calls it `table`.
pub(crate) fn stream(kinesis: &Kinesis, table: &str, name: &str) -> String {
    let (region, url) = (kinesis.region(), kinesis.url());
    format!(
        "[stream.{table}]\nstream_name = \"{name}\"\nregion = \"{region}\"\nendpoint = \"{url}\"\n\n"
    )
}

impl Rig {
    /// `destination` is TOML: its `url` and whatever else. What no route takes is discarded.
    pub(crate) fn new(kinesis: &Kinesis, stream: &str, destination: &str, routes: &str) -> Self {
        let rig = Self { folder: tempfile::tempdir().unwrap() };
        rig.configure(kinesis, stream, destination, routes);
        rig
    }

    /// With a SQLite file for a destination, and the tables of any number of streams.
    pub(crate) fn with_documents(streams: &str, routes: &str) -> Self {
        let rig = Self { folder: tempfile::tempdir().unwrap() };
        let path = rig.documents_path();
        let destination = format!("[destination.search.sqlite]\npath = \"{}\"", path.display());
        // Records that compress well are many events: beside compilers it takes longer than usual
        // until all that are in memory have their fates.
        let destination = format!("[shutdown]\ndeadline = \"4m\"\n\n{destination}");
        rig.write(streams, &destination, routes);
        rig
    }

    /// What is in that file.
    pub(crate) fn documents(&self) -> Documents {
        Documents::of(self.documents_path())
    }

    fn documents_path(&self) -> PathBuf {
        self.folder.path().join("documents.db")
    }

    /// Writes another configuration, for the next daemon or command.
    pub(crate) fn configure(&self, kinesis: &Kinesis, name: &str, destination: &str, routes: &str) {
        let destination = format!("[destination.search.opensearch]\n{destination}");
        self.write(&stream(kinesis, name, name), &destination, routes);
    }

    fn write(&self, streams: &str, destination: &str, routes: &str) {
        let state = self.folder.path().join("state.db");
        let config = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n\
             {streams}\
             [state.sqlite]\npath = \"{}\"\nephemeral = true\n\n\
             {destination}\n\n\
             {routes}[[route]]\nname = \"rest\"\ndiscard = true\n",
            state.display(),
        );
        fs::write(self.folder.path().join("logweir.toml"), config).unwrap();
    }

    /// Starts a daemon and waits until it listens.
    pub(crate) async fn start(&self) -> Daemon {
        let log = self.folder.path().join("log");
        let child = self.logweir(&["run"]).stderr(File::create(&log).unwrap()).spawn();
        let child = child.expect("could not start logweir");
        let mut daemon = Daemon { child, log, address: String::new(), http: Client::new() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = daemon.listening() {
                daemon.address = address;
                return daemon;
            }
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "logweir ended: {ended:?}\n{}", daemon.log());
            assert!(Instant::now() < deadline, "logweir does not listen:\n{}", daemon.log());
            sleep(POLL).await;
        }
    }

    /// Runs another command of logweir with the same configuration to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.logweir(arguments).output().expect("could not run logweir")
    }

    /// Deletes the state, as if nothing had ever been read. No daemon may be running.
    pub(crate) fn forget(&self) {
        for file in fs::read_dir(self.folder.path()).unwrap() {
            let file = file.unwrap();
            if file.file_name().to_string_lossy().starts_with("state.db") {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }

    fn logweir(&self, arguments: &[&str]) -> Command {
        let mut logweir = Command::new(env!("CARGO_BIN_EXE_logweir"));
        logweir
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("logweir.toml"))
            .env("AWS_ACCESS_KEY_ID", "nobody")
            .env("AWS_SECRET_ACCESS_KEY", "nothing")
            .env("LOGWEIR_LOG_LEVEL", "info")
            .env("LOGWEIR_LOG_FORMAT", "json");
        logweir
    }
}

impl Daemon {
    /// Waits until `events` events were read, all that was routed has its fate, and the memory that
    /// it took is given back; the identity must then hold.
    pub(crate) async fn settled(&self, events: u64) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            let read = metrics.sum("logweir_events_read_total", &[]);
            let in_flight = metrics.sum("logweir_events_in_flight", &[]);
            let bytes = metrics.sum("logweir_in_flight_bytes", &[]);
            if read >= events && in_flight == 0 && bytes == 0 {
                assert_eq!(read, events, "more was read than was put");
                identity(&metrics);
                return metrics;
            }
            let state = format!("{read} of {events} read, {in_flight} in flight, {bytes} bytes");
            assert!(Instant::now() < deadline, "{state}:\n{}", self.log());
            sleep(POLL).await;
        }
    }

    /// Waits until a metric has this many series.
    pub(crate) async fn metrics_with(&self, name: &str, series: usize) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if metrics.series(name) >= series {
                return metrics;
            }
            assert!(Instant::now() < deadline, "no {name}:\n{}", metrics.page());
            sleep(POLL).await;
        }
    }

    /// Waits until events are in flight.
    pub(crate) async fn at_work(&self) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if metrics.sum("logweir_events_in_flight", &[]) > 0 {
                return metrics;
            }
            assert!(Instant::now() < deadline, "nothing is in flight:\n{}", self.log());
        }
    }

    async fn metrics(&self) -> Metrics {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        Metrics::read(page)
    }

    /// A page of its listener.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.http.get(&url).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {error:?}\n{}", self.log()));
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// Drains it by SIGTERM, which must end it well, and soon. Returns what it has logged.
    pub(crate) async fn stop(mut self) -> Vec<Value> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                break ended;
            }
            assert!(Instant::now() < deadline, "logweir does not stop:\n{}", self.log());
            sleep(POLL).await;
        };
        assert_eq!(ended.code(), Some(0), "a drained SIGTERM exits with 0:\n{}", self.log());
        self.lines().collect()
    }

    /// What it has logged as an error: data lost, or a person must act.
    pub(crate) fn errors(&self) -> Vec<Value> {
        self.lines().filter(|line| line["level"] == "ERROR").collect()
    }

    /// The address that it logs once it listens.
    fn listening(&self) -> Option<String> {
        let said = "listening for /metrics and /health";
        let line = self.lines().find(|line| line["message"] == said)?;
        Some(line["address"].as_str().unwrap().to_owned())
    }

    /// Its log; a line that is not written out yet is left out.
    fn lines(&self) -> impl Iterator<Item = Value> {
        let lines: Vec<_> =
            self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
