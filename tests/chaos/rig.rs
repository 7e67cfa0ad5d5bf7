//! What a scenario works with: a stream and indices of its own, a proxy on either side of the
//! daemon, and the ledger that all is compared with in the end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::daemon::Daemon;
use crate::ledger::{Found, Ledger, Sums};
use crate::proxy::Proxy;
use crate::servers::{Kinesis, OpenSearch};

/// How long nothing new may arrive before the rest is taken for lost.
const PATIENCE: Duration = Duration::from_secs(150);

const POLL: Duration = Duration::from_millis(200);

/// TOML of a destination: small requests, so that faults come in the middle of many.
pub(crate) const SMALL_BODIES: &str = "bulk.max_body = \"64KiB\"\n";

/// What all scenarios share.
pub(crate) struct Servers {
    pub(crate) kinesis: Kinesis,
    pub(crate) search: Arc<OpenSearch>,
    /// Whether all is done at full length.
    pub(crate) long: bool,
}

impl Servers {
    /// What a scenario does in its short form, or in its long one.
    pub(crate) fn size<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) sums: Sums,
    /// From the end of the last fault until every event had its fate.
    pub(crate) recovery: Duration,
    /// A promise besides that was broken.
    pub(crate) broken: Option<String>,
}

/// The rig of one scenario.
pub(crate) struct Rig {
    pub(crate) servers: Arc<Servers>,
    folder: tempfile::TempDir,
    /// The stream's name, which its indices begin with.
    pub(crate) name: &'static str,
    pub(crate) kinesis: Proxy,
    pub(crate) search: Proxy,
    pub(crate) ledger: Ledger,
    /// What the documents are in.
    pub(crate) engine: Arc<OpenSearch>,
    /// TOML of the destination besides its `url`.
    pub(crate) destination: String,
    /// Other tables.
    pub(crate) tables: String,
    /// Variables of the daemon's environment.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What starts the daemon in place of the shell: a command and its arguments.
    pub(crate) wrapper: Vec<String>,
    /// What the engine had before somebody deleted it.
    pub(crate) deleted: Found,
    /// Records that were put and are none.
    pub(crate) undecodable: usize,
    began: Instant,
    daemons: usize,
}

/// The log group of a route.
pub(crate) fn log_group(route: &str) -> String {
    format!("/chaos/{route}")
}

impl Rig {
    /// With a stream of two shards.
    pub(crate) async fn new(servers: &Arc<Servers>, name: &'static str) -> Self {
        servers.kinesis.create_stream(name, 2).await;
        let search = Arc::clone(&servers.search);
        Self::on(servers, name, search, &servers.kinesis.url()).await
    }

    /// With an engine of its own, and a stream that is there, at this endpoint.
    pub(crate) async fn on(
        servers: &Arc<Servers>,
        name: &'static str,
        engine: Arc<OpenSearch>,
        endpoint: &str,
    ) -> Self {
        Self {
            servers: Arc::clone(servers),
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            name,
            kinesis: Proxy::start(address(endpoint)).await,
            search: Proxy::start(address(&engine.url())).await,
            ledger: Ledger::new(name),
            engine,
            destination: "timeout = \"5s\"\nbulk.max_wait = \"200ms\"\n".to_owned(),
            tables: String::new(),
            variables: Vec::new(),
            wrapper: Vec::new(),
            deleted: Found::default(),
            undecodable: 0,
            began: Instant::now(),
            daemons: 0,
        }
    }

    /// Shows what is happening.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("   {:6.1} s  {}: {what}", self.began.elapsed().as_secs_f64(), self.name);
    }

    /// Where configuration and state are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts so many more events.
    pub(crate) async fn put(&mut self, events: usize) {
        self.ledger.put(&self.servers.kinesis, events).await;
    }

    /// The name of the index of a day: 0 is today.
    pub(crate) fn index(&self, days_ago: i64) -> String {
        let now = logweir::event::Timestamp::now().0;
        let day = logweir::event::Timestamp(now - days_ago * 86_400_000).to_string();
        format!("{}-{}", self.name, day[..10].replace('-', "."))
    }

    /// All indices of this scenario.
    pub(crate) fn indices(&self) -> String {
        format!("{}-*", self.name)
    }

    fn configure(&self) {
        let (name, folder) = (self.name, self.folder().display());
        let (kinesis, region) = (self.kinesis.url(), self.servers.kinesis.region());
        let url = if self.destination.contains("url") {
            String::new()
        } else {
            format!("url = \"{}\"\n", self.search.url())
        };
        let config = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n\
             [stream.{name}]\nregion = \"{region}\"\nendpoint = \"{kinesis}\"\n\n\
             [state.sqlite]\npath = \"{folder}/state/state.db\"\nephemeral = true\n\n\
             [destination.search.opensearch]\n{url}{}\n\
             {}\n\
             [[route]]\nname = \"chaos\"\nparse = \"plain\"\nto = [\"search\"]\n\
             index = \"{name}-%Y.%m.%d\"\n",
            self.destination, self.tables,
        );
        fs::create_dir_all(self.folder().join("state")).unwrap();
        fs::write(self.folder().join("logweir.toml"), config).unwrap();
    }

    fn logweir(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_logweir").to_owned();
        let mut line = self.wrapper.iter().chain([&binary]);
        let mut logweir = Command::new(line.next().unwrap());
        logweir.args(line).args(arguments).arg("--config").arg(self.folder().join("logweir.toml"));
        // Without the variables, that a scenario may leave out or name a file by.
        logweir.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
        logweir.env("AWS_ACCESS_KEY_ID", "nobody").env("AWS_SECRET_ACCESS_KEY", "nothing");
        logweir.env("LOGWEIR_LOG_LEVEL", "info").env("LOGWEIR_LOG_FORMAT", "json");
        for (name, value) in &self.variables {
            if value.is_empty() {
                logweir.env_remove(name);
            } else {
                logweir.env(name, value);
            }
        }
        logweir
    }

    /// Starts a daemon, without a look at whether it comes up.
    pub(crate) fn spawn(&mut self) -> Daemon {
        self.configure();
        self.daemons += 1;
        let log = self.folder().join(format!("log-{}", self.daemons));
        Daemon::spawn(self.logweir(&["run"]), log)
    }

    /// Starts a daemon and waits until it listens.
    pub(crate) async fn daemon(&mut self) -> Daemon {
        self.spawn().listening().await
    }

    /// Runs another command to its end: its exit code and what it has printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        // Not simply waited for: the proxy that it may talk to could be the next task of this thread.
        let output = tokio::task::block_in_place(|| self.logweir(arguments).output());
        let output = output.expect("could not run logweir");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    /// How many documents there are; those of an index that is just being made come later.
    pub(crate) async fn delivered(&self) -> usize {
        let indices = self.indices();
        self.refreshed().await;
        let count = self.engine.get(&format!("{indices}/_count")).await;
        usize::try_from(count.body["count"].as_u64().unwrap_or(0)).unwrap()
    }

    /// Makes what was written visible, or tries to: an engine at its limits may refuse.
    async fn refreshed(&self) -> bool {
        self.engine.post(&format!("{}/_refresh", self.indices()), &Value::Null).await.status == 200
    }

    /// Waits until there are so many documents, for as long as there are ever more.
    pub(crate) async fn delivered_at_least(&self, least: usize) {
        let (mut count, mut since) = (0, Instant::now());
        while count < least {
            assert!(since.elapsed() < PATIENCE, "only {count} of {least} documents arrived");
            sleep(POLL).await;
            let now = self.delivered().await;
            if now > count {
                (count, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until every event has its fate, ends the daemon, and compares.
    pub(crate) async fn finish(mut self, daemon: Daemon, fault_ended: Instant) -> Outcome {
        let recovery = self.settled(&daemon, fault_ended).await;
        let peak = daemon.peak_memory() >> 20;
        let (code, log) = daemon.stop().await;
        assert_eq!(code, Some(0), "a drained daemon exits with 0:\n{log}");
        self.read_to_the_end();
        let sums = self.sums().await;
        self.say(&format!("{sums:?}, {:.1} s, {peak} MiB", recovery.as_secs_f64()));
        Outcome { sums, recovery, broken: None }
    }

    /// Waits until what was put is there, or nothing more comes, and nothing is in flight.
    pub(crate) async fn settled(&self, daemon: &Daemon, since: Instant) -> Duration {
        let put = self.ledger.put_so_far() + self.undecodable - self.deleted.deleted.len();
        let (mut ended, mut last) = (0, Instant::now());
        loop {
            let metrics = daemon.metrics().await;
            let letters = metrics.sum("logweir_dead_letters_stored", &[]);
            let now = self.delivered().await + usize::try_from(letters).unwrap();
            let in_flight = metrics.sum("logweir_events_in_flight", &[]);
            if now >= put && in_flight == 0 {
                return since.elapsed();
            }
            if now > ended {
                (ended, last) = (now, Instant::now());
            }
            if last.elapsed() > PATIENCE {
                self.say(&format!("{now} of {put} and nothing more, {in_flight} in flight"));
                return since.elapsed();
            }
            sleep(POLL).await;
        }
    }

    /// Every shard's checkpoint is its last record: nothing is frozen.
    fn read_to_the_end(&self) {
        let (code, listed) = self.run(&["leases", "list", "--json"]);
        assert_eq!(code, Some(0), "{listed}");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let leases = listed["leases"].as_array().unwrap();
        for (shard, last) in self.ledger.last() {
            let lease = leases.iter().rfind(|lease| lease["shard"] == json!(shard));
            let checkpoint = lease.map(|lease| &lease["checkpoint"]);
            assert_eq!(checkpoint, Some(&json!(last)), "{shard} is not read to its end: {listed}");
        }
    }

    /// Waits until one of the proxies has struck so often; there is always something to do meanwhile.
    pub(crate) async fn struck(&mut self, strikes: u64, by: fn(&Self) -> &Proxy) {
        let deadline = Instant::now() + PATIENCE * 4;
        while by(self).struck() < strikes {
            let so_far = by(self).struck();
            assert!(Instant::now() < deadline, "only {so_far} of {strikes} requests were struck");
            if self.search.acknowledged().len() + 1_000 > self.ledger.put_so_far() {
                self.put(200).await;
            }
            sleep(POLL).await;
        }
    }

    /// Compares what is there with the ledger.
    pub(crate) async fn sums(&mut self) -> Sums {
        let mut found = std::mem::take(&mut self.deleted);
        for (_, id) in self.documents().await {
            *found.documents.entry(id).or_default() += 1;
        }
        let (records, events): (Vec<_>, Vec<_>) =
            self.letters().into_iter().partition(|letter| letter["stage"] == "decode");
        assert_eq!(records.len(), self.undecodable, "letters of whole records");
        for letter in events {
            let id = letter["document_id"].as_str().unwrap().to_owned();
            *found.letters.entry(id).or_default() += 1;
        }
        self.ledger.sums(&found)
    }

    /// The dead letters, as the command lists them.
    pub(crate) fn letters(&self) -> Vec<Value> {
        let (code, listed) = self.run(&["dead-letter", "list", "--json"]);
        assert_eq!(code, Some(0), "{listed}");
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Index and id of every document.
    pub(crate) async fn documents(&self) -> Vec<(String, String)> {
        let (indices, mut documents) = (self.indices(), Vec::new());
        let deadline = Instant::now() + PATIENCE;
        while !self.refreshed().await {
            assert!(Instant::now() < deadline, "the engine does not refresh {indices}");
            sleep(POLL).await;
        }
        // Once more for as long as the engine has no memory for it.
        let search = async |path: &str, body: &Value| loop {
            let answer = self.engine.post(path, body).await;
            if answer.status != 429 || Instant::now() > deadline {
                break answer;
            }
            sleep(POLL).await;
        };
        let first = json!({"size": 5_000, "_source": false});
        let mut page = search(&format!("{indices}/_search?scroll=1m"), &first).await;
        loop {
            assert_eq!(page.status, 200, "{page:?}");
            let hits = page.body["hits"]["hits"].as_array().unwrap();
            if hits.is_empty() {
                return documents;
            }
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            documents.extend(hits.iter().map(|hit| (text(&hit["_index"]), text(&hit["_id"]))));
            let next = json!({"scroll": "1m", "scroll_id": page.body["_scroll_id"]});
            page = search("_search/scroll", &next).await;
        }
    }
}

/// `host:port` of a URL.
fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}
