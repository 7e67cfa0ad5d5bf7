//! A source that reads from the in-process endpoint, and a sink that keeps what it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::config::Credentials;
use logweir::clock::Clock;
use logweir::demo::endpoint::Endpoint;
use logweir::event::{ShardId, StreamKey, StreamName};
use logweir::kinesis::{
    KinesisMetrics, Source, SourceHandle, SourceSetup, SourceStatus, StreamConfig, by_sdk,
};
use logweir::lease::{Lease, LeaseTable, Position};
use logweir::memory::FetchBudget;
use logweir::record::AckToken;
use logweir::shutdown::Shutdown;
use logweir::state::{Access, SqliteConfig, State};
use prometheus::Registry;
use tokio_util::task::TaskTracker;

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(300);

/// What outlives a daemon: the stream and the state.
pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) leases: LeaseTable,
    pub(crate) config: StreamConfig,
    pub(crate) budget: usize,
    /// None: those of the environment.
    pub(crate) credentials: Option<Credentials>,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(shards: u32) -> Self {
        let endpoint = Endpoint::start(shards).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig { path: folder.path().join("state.db"), ephemeral: true };
        let state = State::open(&config, Access::Daemon).unwrap();
        let config = StreamConfig {
            region: Some(Endpoint::REGION.to_owned()),
            endpoint: Some(endpoint.url().parse().unwrap()),
            ..StreamConfig::default()
        };
        let leases = LeaseTable::new(state);
        let credentials = Some(Credentials::new("key", "secret", None, None, "test"));
        Self { endpoint, leases, config, budget: 64 << 20, credentials, folder }
    }

    /// Changes the state file behind the daemon's back.
    pub(crate) fn execute(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("state.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn shards(&self) -> Vec<ShardId> {
        self.endpoint.open_shards(Endpoint::STREAM).unwrap()
    }

    pub(crate) fn put(&self, shard: &ShardId, payload: impl Into<String>) {
        self.endpoint.put_in(Endpoint::STREAM, shard, payload.into()).unwrap();
    }

    /// A daemon whose sink settles records at once.
    pub(crate) fn start(&self) -> Daemon {
        let daemon = self.start_holding();
        daemon.sink.release();
        daemon
    }

    /// A daemon whose sink keeps records open.
    pub(crate) fn start_holding(&self) -> Daemon {
        let (sink, registry) = (Arc::new(Sink::default()), Registry::new());
        let (shutdown, tasks) = (Shutdown::default(), TaskTracker::new());
        let budget = FetchBudget::new(self.budget);
        let taken = Arc::clone(&sink);
        let source = Source::new(SourceSetup {
            stream: StreamName::new(Endpoint::STREAM),
            config: self.config.clone(),
            connect: by_sdk(self.credentials.clone()),
            leases: self.leases.clone(),
            budget: budget.clone(),
            metrics: KinesisMetrics::new(&registry).unwrap(),
            records: Arc::new(move |token| taken.take(token)),
            shutdown: shutdown.clone(),
            clock: Clock::start(),
            tasks: tasks.clone(),
        });
        let handle = source.handle();
        tasks.spawn(source.run());
        Daemon { sink, registry, shutdown, tasks, budget, handle }
    }

    pub(crate) async fn lease(&self, shard: &ShardId) -> Lease {
        let mut leases = Vec::new();
        for stream in self.leases.streams().await.unwrap() {
            leases.extend(self.leases.list(&stream).await.unwrap());
        }
        leases.into_iter().rfind(|lease| lease.shard == *shard).unwrap()
    }

    pub(crate) async fn checkpoint(&self, shard: &ShardId) -> Position {
        self.lease(shard).await.checkpoint
    }

    pub(crate) async fn keys(&self) -> Vec<StreamKey> {
        self.leases.streams().await.unwrap()
    }
}

/// A running source.
pub(crate) struct Daemon {
    pub(crate) sink: Arc<Sink>,
    pub(crate) registry: Registry,
    pub(crate) shutdown: Shutdown,
    pub(crate) tasks: TaskTracker,
    pub(crate) budget: FetchBudget,
    pub(crate) handle: SourceHandle,
}

impl Daemon {
    pub(crate) fn status(&self) -> SourceStatus {
        self.handle.status()
    }

    pub(crate) async fn received(&self, count: usize) {
        wait_for(&format!("{count} records"), || self.sink.payloads().len() >= count).await;
    }

    /// Drains and waits for the end.
    pub(crate) async fn stop(self) -> Arc<Sink> {
        self.shutdown.drain();
        self.ended().await
    }

    /// As kill -9: nothing that is open gets a fate.
    pub(crate) async fn kill(self) -> Arc<Sink> {
        self.shutdown.cut_short();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Arc<Sink> {
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the source ends");
        self.sink
    }

    /// The sum of a counter or gauge over the labels that have this value.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        let metrics = family.flat_map(|family| family.get_metric());
        let labelled =
            metrics.filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label));
        labelled
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
            .sum()
    }
}

/// Takes records.
#[derive(Default)]
pub(crate) struct Sink {
    settles: AtomicBool,
    held: Mutex<Vec<AckToken>>,
    taken: Mutex<Vec<(ShardId, String)>>,
}

impl Sink {
    fn take(&self, token: AckToken) {
        if !token.begin() {
            return;
        }
        let record = token.record();
        let payload = String::from_utf8_lossy(&record.payload[..record.payload.len().min(40)]);
        let entry = (record.place.shard.clone(), payload.into_owned());
        self.taken.lock().unwrap().push(entry);
        self.held.lock().unwrap().push(token);
        if self.settles.load(Ordering::Relaxed) {
            self.settle(|_| true);
        }
    }

    /// Settles everything held, and from now on everything at once.
    pub(crate) fn release(&self) {
        self.settles.store(true, Ordering::Relaxed);
        self.settle(|_| true);
    }

    /// Settles the held records whose payload is wanted.
    pub(crate) fn settle(&self, wanted: impl Fn(&str) -> bool) {
        let mut held = self.held.lock().unwrap();
        let wanted =
            |token: &mut AckToken| wanted(std::str::from_utf8(&token.record().payload).unwrap());
        held.extract_if(.., wanted).for_each(AckToken::settle);
    }

    /// Leaves the held records whose payload is wanted for later, as an encoder without room does.
    pub(crate) fn put_off(&self, wanted: impl Fn(&str) -> bool) {
        self.held(wanted, AckToken::put_off);
    }

    /// Takes them up again.
    pub(crate) fn take_up(&self, wanted: impl Fn(&str) -> bool) {
        self.held(wanted, |token| assert!(token.begin()));
    }

    fn held(&self, wanted: impl Fn(&str) -> bool, act: impl Fn(&AckToken)) {
        let held = self.held.lock().unwrap();
        let is_wanted =
            |token: &&AckToken| wanted(std::str::from_utf8(&token.record().payload).unwrap());
        held.iter().filter(is_wanted).for_each(act);
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(_, payload)| payload.clone()).collect()
    }

    pub(crate) fn of(&self, shard: &ShardId) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let of = taken.iter().filter(|(of, _)| of == shard);
        of.map(|(_, payload)| payload.clone()).collect()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.lock().unwrap().iter().map(|token| token.record().payload.len()).sum()
    }
}

/// Waits until a condition holds.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let tries = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap_or_else(|_| panic!("waited for {what}"));
}
