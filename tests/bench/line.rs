//! One thread's work over records, from the queue to finished bodies: the product's own encoder with
//! its queue, acks, ids and index names, and nothing of the bench's inside it.
//!
//! The encoder is driven as `tests/simulate` drives it, as a task: each time it is polled it does one
//! record. Between two of them finished bodies are taken out, as a delivery pool would, so that their
//! memory comes back and is used again.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use logweir::ack::ShardAcks;
use logweir::batch::{Account, Batch, Framing, MIN_CHARGE};
use logweir::clock::Clock;
use logweir::config::Config;
use logweir::dead_letter::DeadLettersConfig;
use logweir::dead_letter::sqlite::LetterStore;
use logweir::encode::{self, Outlet, Shared, WorkQueue};
use logweir::event::{DestinationId, RouteId, SequenceNumber, ShardId, StreamName, Timestamp};
use logweir::memory::{BodyBudget, DecodeSlot, FetchPermit};
use logweir::record::{Origin, Place, Record};
use logweir::route::RouteTable;
use logweir::state::{Access, SqliteConfig, State};
use logweir::telemetry::ledger::{Accounts, Book, Ledger};
use tokio::sync::mpsc;

use crate::cpu;
use crate::data::DataSet;
use crate::routes::{Setting, place_of, routes};

/// As in a daemon with the default configuration.
const MAX_BODY: usize = 5 << 20;
const BODIES: usize = 28 << 20;

/// There is always another record, so that bodies become full, however slow callgrind is.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// When Kinesis took the records: after all of their events.
pub(crate) const ARRIVAL: Timestamp = Timestamp(1_764_010_000_000);

/// What a line is made with once, whatever goes through it.
pub(crate) struct Rig {
    routes: RouteTable,
    setting: Setting,
    letters: LetterStore,
    place: Arc<Place>,
    _folder: tempfile::TempDir,
}

/// A queue full of records, and all that an encoder needs to read them.
pub(crate) struct Line {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    batches: mpsc::Receiver<Batch>,
}

impl Rig {
    pub(crate) fn new(setting: Setting) -> Self {
        Self { setting, ..Self::with(&routes(setting)) }
    }

    /// With routes as a configuration has them.
    pub(crate) fn with(routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let text = format!(
            "[stream.bench]\nregion = \"eu-west-1\"\n\
             [state.sqlite]\npath = \"{}\"\nephemeral = true\n\
             [destination.search.opensearch]\nurl = \"http://127.0.0.1:9200\"\n{routes}",
            path.display(),
        );
        let config = Config::parse("bench", &text, |_| None).unwrap();
        let state = State::open(&SqliteConfig { path, ephemeral: true }, Access::Daemon).unwrap();
        let place = Place {
            stream: StreamName::new("bench"),
            region: "eu-west-1".to_owned(),
            shard: ShardId::new("shardId-000000000000"),
        };
        Self {
            routes: config.routes,
            setting: Setting::default(),
            letters: LetterStore::new(state, DeadLettersConfig::default()),
            place: Arc::new(place),
            _folder: folder,
        }
    }

    /// The records of a set, so many times in a row.
    pub(crate) fn line(&self, set: &DataSet, times: usize) -> Line {
        self.line_of((0..times).flat_map(|_| &set.records))
    }

    /// These records, in this order.
    pub(crate) fn line_of<'r>(&self, records: impl Iterator<Item = &'r Bytes>) -> Line {
        let queue: Arc<WorkQueue> = Arc::default();
        let acks: Arc<ShardAcks> = Arc::default();
        for (number, payload) in records.enumerate() {
            let at =
                SequenceNumber::new(&format!("{}", 49_650_000_000_000_000_000 + number as u128));
            let origin = Origin::Shard(Arc::clone(&acks), acks.open(at.clone()), None);
            let at = (Arc::clone(&self.place), at, ARRIVAL);
            queue.push(Record::begin(payload.clone(), at, origin, FetchPermit::default()));
        }
        queue.close();
        let ledger: Arc<Ledger> = Arc::default();
        let woken = Arc::clone(&queue);
        let budget = BodyBudget::new(BODIES, move || woken.wake());
        let (sender, batches) = mpsc::channel(BODIES / MIN_CHARGE + 2);
        let outlet = Outlet {
            account: Account {
                ledger: Arc::clone(&ledger),
                destination: DestinationId(0),
                book: Book::Live,
            },
            framing: Framing::Bulk,
            max_body: MAX_BODY,
            max_wait: MAX_WAIT,
            budget,
            batches: sender,
        };
        let woken = Arc::clone(&queue);
        let with = (self.letters.clone(), DecodeSlot::new(move || woken.wake()), Clock::start());
        let books = (Arc::clone(&ledger), Book::Live);
        let shared = Shared::new(queue, self.routes.clone(), vec![outlet], books, with);
        Line { shared: Arc::new(shared), ledger, batches }
    }

    /// Takes a set through a line so many times, and returns the processor's time for it. It has gone
    /// through once before: a daemon has its memory, and so have those that it is compared with.
    ///
    /// # Panics
    /// When an event did not become the document that its route is for: then something else was
    /// measured.
    pub(crate) fn time(&self, set: &DataSet, times: usize) -> Duration {
        let mut line = self.line(set, 1 + times);
        let mut begun = Duration::ZERO;
        let warm = (set.records.len(), || begun = cpu::of_this_thread());
        let documents = line.run_telling(warm, |batch| batch.settle_delivered(0));
        let took = cpu::of_this_thread() - begun;
        self.check(&line, set, (1 + times, documents));
        took
    }

    /// What a set becomes, looked at document by document.
    pub(crate) fn documents(&self, set: &DataSet) -> Vec<serde_json::Value> {
        let mut line = self.line(set, 1);
        let mut documents = Vec::new();
        let count = line.run(|mut batch| {
            let body = batch.body();
            let lines = body.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines, 2 * batch.len(), "an action and a document for each event");
            documents.extend(batch.views().map(|view| {
                let document: serde_json::Value = serde_json::from_slice(view.document).unwrap();
                assert!(document["@parse_error"].is_null(), "{document}");
                assert!(!view.index.contains("undated"), "{}: {document}", view.index);
                document
            }));
            batch.settle_delivered(0);
        });
        self.check(&line, set, (1, count));
        documents
    }

    fn check(&self, line: &Line, set: &DataSet, (times, documents): (usize, u64)) {
        let (name, expected) = (set.shape.name, set.events * times as u64);
        assert_eq!(documents, expected, "{name}: as many documents as events");
        let accounts = line.ledger.snapshot();
        let route = RouteId(self.setting.others as u16 + place_of(set.shape.content));
        assert_eq!(accounts.matched, [(route, expected)].into(), "{name}: all by its route");
        assert!(accounts.parse_errors.is_empty(), "{name}: {:?}", accounts.parse_errors);
        assert_eq!(accounts.delivered_to(DestinationId(0)), expected, "{name}");
    }
}

impl Line {
    /// What was counted on it.
    pub(crate) fn accounts(&self) -> Accounts {
        self.ledger.snapshot()
    }

    /// Reads everything in the queue, and hands on each finished body. Returns how many documents
    /// there were.
    #[inline(never)]
    pub(crate) fn run(&mut self, finished: impl FnMut(Batch)) -> u64 {
        self.run_telling((0, || {}), finished)
    }

    /// The same; tells when so many records were read.
    fn run_telling(
        &mut self,
        (records, tell): (usize, impl FnOnce()),
        mut finished: impl FnMut(Batch),
    ) -> u64 {
        let mut encoder = pin!(encode::task(&self.shared));
        let mut context = Context::from_waker(Waker::noop());
        let mut documents = 0;
        let mut tell = Some(tell);
        for read in 0.. {
            if read == records
                && let Some(tell) = tell.take()
            {
                tell();
            }
            let polled = encoder.as_mut().poll(&mut context);
            while let Ok(batch) = self.batches.try_recv() {
                documents += batch.len() as u64;
                finished(batch);
            }
            if let Poll::Ready(()) = polled {
                break;
            }
        }
        documents
    }
}
