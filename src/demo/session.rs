//! `logweir demo`: the whole path on one machine, checked against a ledger of what was generated.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::config::Credentials;
use rusqlite::{Connection, OpenFlags};

use crate::app::{App, AppError, Outcome};
use crate::config::{Config, Problem, quoted};
use crate::dead_letter::sqlite::{Filter, LetterStoreError};
use crate::event::{DestinationId, RouteId, Timestamp};
use crate::shutdown::Shutdown;
use crate::telemetry::ledger::Accounts;

use super::endpoint::Endpoint;
use super::generator::{Generator, GeneratorOptions};
use super::ledger::{FoundDocument, FoundLetter, Ledger, Reconciliation};
use super::log_group::{EDGE_FLOW_FORMAT, LogGroup};

/// Every file that a demo, or a daemon with its configuration, writes into its folder. The names of
/// the first three are in that configuration.
pub const FILES: [&str; 8] = [
    "logweir.toml",
    "state.db",
    "documents.db",
    "state.db-wal",
    "state.db-shm",
    "state.db.lock",
    "documents.db-wal",
    "documents.db-shm",
];

/// What the demo is asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Log events to generate.
    pub events: u64,
    /// Shards of the stream.
    pub shards: u32,
    /// The same seed gives the same events.
    pub seed: u64,
    /// Where the files go.
    pub folder: PathBuf,
    /// Where the status page is shown.
    pub listen: SocketAddr,
}

/// What keeps the demo from running.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The endpoint's socket.
    #[error("could not start the demo's Kinesis endpoint")]
    Endpoint {
        /// Why.
        source: std::io::Error,
    },
    /// Its own configuration.
    #[error("could not use the demo's configuration: {problem}")]
    Config {
        /// What is wrong with it.
        problem: Problem,
    },
    /// The daemon.
    #[error("could not start the daemon")]
    App {
        /// Why.
        source: AppError,
    },
    /// The generator's thread.
    #[error("the generator broke off")]
    Generator {
        /// Why.
        source: tokio::task::JoinError,
    },
    /// The documents.
    #[error("could not read the delivered documents back")]
    Documents {
        /// Why.
        source: rusqlite::Error,
    },
    /// The letters.
    #[error("could not read the dead letters back")]
    Letters {
        /// Why.
        source: LetterStoreError,
    },
}

/// How a demo ended.
#[derive(Debug)]
pub struct Report {
    /// The daemon's counts.
    pub accounts: Accounts,
    /// The configuration it ran with.
    pub config: Config,
    /// Generated against found.
    pub reconciliation: Reconciliation,
    /// Events that were generated.
    pub generated: u64,
    /// The first equation of DESIGN §1 that does not hold.
    pub identity: Result<(), String>,
    /// From the start to the last fate.
    pub seconds: f64,
    /// Whether everything got its fate.
    pub outcome: Outcome,
}

impl Report {
    /// Whether nothing is missing, doubled or unexplained.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.identity.is_ok() && self.reconciliation.is_clean()
    }
}

/// A running demo.
pub struct Demo {
    /// The daemon.
    pub app: App,
    options: DemoOptions,
    config: Config,
    endpoint: Arc<Endpoint>,
    feeder: tokio::task::JoinHandle<Ledger>,
    feed: Arc<Feed>,
    shutdown: Shutdown,
}

/// How far the generator has got.
#[derive(Debug, Default)]
pub struct Feed {
    records: AtomicU64,
    done: AtomicBool,
    stop: AtomicBool,
}

/// The configuration that the demo runs with; `folder` is in UTF-8.
#[must_use]
pub fn config_text(folder: &Path, endpoint: &str, listen: &str) -> String {
    let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
    let (state, documents) = (path("state.db"), path("documents.db"));
    let (listen, endpoint) = (quoted(listen), quoted(endpoint));
    let mut text = format!(
        "[http]\nlisten = {listen}\n\n\
         [stream.{stream}]\nregion = \"{region}\"\nendpoint = {endpoint}\n\n\
         [state.sqlite]\npath = {state}\nephemeral = true\n\n\
         # So low that the demo has documents that are refused.\n\
         [destination.search.sqlite]\npath = {documents}\nmax_document = \"1MiB\"\n",
        stream = Endpoint::STREAM,
        region = Endpoint::REGION,
    );
    for group in LogGroup::ALL {
        let (route, name) = (group.route(), group.name());
        text.push_str(&format!("\n[[route]]\nname = \"{route}\"\nlog_group = \"{name}\"\n"));
        text.push_str(&match group.index() {
            None => "discard = true\n".to_owned(),
            Some(index) => {
                let parse = parse(group);
                format!("{parse}\nto = [\"search\"]\nindex = \"{index}\"\n")
            }
        });
    }
    text.push_str(
        "\n[[route]]\nname = \"rest\"\nparse = \"auto\"\nto = [\"search\"]\n\
         index = \"cwl-%Y.%m.%d\"\n",
    );
    text
}

fn parse(group: LogGroup) -> String {
    match group {
        LogGroup::CloudTrail => "parse = \"cloudtrail\"".to_owned(),
        LogGroup::Flow => "parse = \"vpc_flow\"".to_owned(),
        LogGroup::EdgeFlow => format!("parse.vpc_flow = \"{EDGE_FLOW_FORMAT}\""),
        LogGroup::Checkout => "parse.json = { lift = [\"level\", \"requestId\"] }".to_owned(),
        LogGroup::Web | LogGroup::Trace => "parse = \"plain\"".to_owned(),
    }
}

impl Demo {
    /// Starts the endpoint, the generator and the daemon.
    ///
    /// # Errors
    /// One of them cannot start.
    pub async fn start(options: DemoOptions, shutdown: Shutdown) -> Result<Self, DemoError> {
        let endpoint = Endpoint::start(options.shards).await;
        let endpoint = Arc::new(endpoint.map_err(|source| DemoError::Endpoint { source })?);
        let text = config_text(&options.folder, &endpoint.url(), &options.listen.to_string());
        let config = Config::parse("demo", &text, |_| None);
        let config = config.map_err(|problem| DemoError::Config { problem })?;
        let feed: Arc<Feed> = Arc::default();
        let feeder = {
            let (feed, endpoint, options) = (feed.clone(), endpoint.clone(), options.clone());
            tokio::task::spawn_blocking(move || generate(&options, &endpoint, &feed))
        };
        // The endpoint takes any credentials.
        let credentials = Credentials::new("demo", "demo", None, None, "demo");
        let app = App::start(config.clone(), shutdown.clone(), Some(credentials)).await;
        let app = app.map_err(|source| DemoError::App { source })?;
        Ok(Self { app, options, config, endpoint, feeder, feed, shutdown })
    }

    /// Asks the generator to stop; what it has put is still read.
    #[must_use]
    pub fn stopper(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Waits until all that was generated has its fate, calling `progress` now and then; then
    /// stops the daemon and checks.
    ///
    /// # Errors
    /// What was delivered cannot be read back.
    pub async fn finish(self, mut progress: impl FnMut(&App, u64)) -> Result<Report, DemoError> {
        let started = tokio::time::Instant::now();
        let mut last = 0;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.draining() => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            last += 1;
            if last % 10 == 0 {
                progress(&self.app, self.options.events);
            }
            if self.is_settled() {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.feed.stop.store(true, Ordering::Relaxed);
        self.shutdown.drain();
        let (ledger, letters) = (self.app.view().ledger.clone(), self.app.letters().clone());
        let outcome = self.app.finish().await;
        let generated = self.feeder.await;
        let generated = generated.map_err(|source| DemoError::Generator { source })?;
        drop(self.endpoint);
        let accounts = ledger.snapshot();
        let documents = documents(&self.options.folder.join("documents.db"));
        let documents = documents.map_err(|source| DemoError::Documents { source })?;
        let letters = letters.list_blocking(&Filter::default(), usize::MAX);
        let letters = letters.map_err(|source| DemoError::Letters { source })?;
        let letters = letters
            .into_iter()
            .map(|letter| FoundLetter { document_id: letter.document_id, reason: letter.reason });
        let reconciliation = generated.reconcile(documents.into_iter(), letters);
        let identity = accounts.check(&fan_out(&self.config));
        Ok(Report {
            identity,
            reconciliation,
            generated: generated.events().len() as u64,
            config: self.config,
            accounts,
            seconds,
            outcome,
        })
    }

    /// Whether the generator is done and every event it made has its fate.
    fn is_settled(&self) -> bool {
        if !self.feed.done.load(Ordering::Acquire) {
            return false;
        }
        let accounts = self.app.view().ledger.snapshot();
        let undecided: u64 =
            (0..self.config.destinations.len()).map(|n| in_flight(&accounts, n)).sum();
        accounts.records_read == self.feed.records.load(Ordering::Relaxed) && undecided == 0
    }
}

impl Feed {
    /// Stops the generator.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn in_flight(accounts: &Accounts, destination: usize) -> u64 {
    u16::try_from(destination).map_or(0, |id| accounts.in_flight(DestinationId(id)))
}

/// The number of destinations of each route.
fn fan_out(config: &Config) -> BTreeMap<RouteId, u64> {
    config.routes.iter().map(|(id, route)| (id, route.destinations().len() as u64)).collect()
}

fn generate(options: &DemoOptions, endpoint: &Endpoint, feed: &Feed) -> Ledger {
    let DemoOptions { seed, events, .. } = *options;
    let mut generator = Generator::new(GeneratorOptions { seed, events, now: Timestamp::now() });
    let mut ledger = Ledger::default();
    while !feed.stop.load(Ordering::Relaxed) {
        let Some(record) = generator.next_record(&mut ledger) else { break };
        // The stream exists for as long as the demo: putting cannot fail.
        _ = endpoint.put(Endpoint::STREAM, &record.partition_key, record.data);
        feed.records.fetch_add(1, Ordering::Relaxed);
    }
    feed.done.store(true, Ordering::Release);
    ledger
}

/// Every document that is there, read from the file as anybody would.
fn documents(path: &Path) -> rusqlite::Result<Vec<FoundDocument>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut statement = connection.prepare("SELECT id, index_name FROM documents")?;
    let rows =
        statement.query_map([], |row| Ok(FoundDocument { id: row.get(0)?, index: row.get(1)? }))?;
    rows.collect()
}
