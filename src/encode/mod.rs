//! From records to batches, on CPU threads: decode → route → parse → body, or a dead letter.
//!
//! Inside a thread these are plain calls; its two ends are a queue of records and a channel of
//! batches per destination. **A thread never waits for a destination**: where there is no room for
//! a body, the record is parked at that destination and the thread takes another one.

mod encoder;
mod queue;
mod tally;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::batch::{Account, Batch, Framing, MIN_CHARGE};
use crate::clock::Clock;
use crate::dead_letter::sqlite::LetterStore;
use crate::memory::{BodyBudget, DecodeSlot};
use crate::route::RouteTable;
use crate::telemetry::ledger::{Book, Ledger};

use self::encoder::Encoder;
pub use self::queue::WorkQueue;

/// Where the encoders put the batches of one destination.
#[derive(Debug)]
pub struct Outlet {
    /// The destination, and the ledger its fates are booked in.
    pub account: Account,
    /// How it wants its bodies.
    pub framing: Framing,
    /// A body is closed when it has this many bytes. One document may exceed it.
    pub max_body: usize,
    /// A body is closed when it has been open for this long.
    pub max_wait: Duration,
    /// What its bodies may take of memory.
    pub budget: Arc<BodyBudget>,
    /// Has room for as many batches as the budget admits, so it is never full.
    pub batches: mpsc::Sender<Batch>,
}

impl Outlet {
    /// What an open body takes of the budget: never less than what it costs once it is closed, or
    /// many small ones would overdraw the budget, and be more than `batches` has room for.
    fn charge(&self) -> usize {
        self.max_body.max(MIN_CHARGE)
    }
}

/// How far records may expand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpandLimits {
    /// Beyond this, one record at a time is in decode, in bytes.
    pub usual: usize,
    /// Beyond this a record is undecodable, in bytes.
    pub most: usize,
}

impl Default for ExpandLimits {
    fn default() -> Self {
        // Gzip'd CloudTrail expands 5 to 13 times, so 1 MiB of it stays inside the usual; a
        // 10 MiB record, the most Kinesis takes, has some 96 MiB of log lines in it.
        Self { usual: 16 << 20, most: 96 << 20 }
    }
}

/// What all encoder threads share.
#[derive(Debug)]
pub struct Shared {
    /// The records to be read.
    pub queue: Arc<WorkQueue>,
    /// The routes.
    pub routes: RouteTable,
    /// A place for the batches of each destination, in the order of their ids.
    pub outlets: Vec<Outlet>,
    /// Where undecodable records go.
    pub letters: LetterStore,
    /// Where events are booked.
    pub ledger: Arc<Ledger>,
    /// Where in the ledger.
    pub book: Book,
    /// The daemon's clock.
    pub clock: Clock,
    /// How far records may expand.
    pub limits: ExpandLimits,
    /// How long records were parked, in milliseconds. Shared on its own: whoever counts must not
    /// keep the outlets, whose end is the end of the pools.
    pub parked_milliseconds: Arc<AtomicU64>,
    /// For records that expand beyond the usual.
    pub slot: DecodeSlot,
}

impl Shared {
    /// Puts together what the threads need.
    #[must_use]
    pub fn new(
        queue: Arc<WorkQueue>,
        routes: RouteTable,
        outlets: Vec<Outlet>,
        (ledger, book): (Arc<Ledger>, Book),
        (letters, slot, clock): (LetterStore, DecodeSlot, Clock),
    ) -> Self {
        Self {
            queue,
            routes,
            outlets,
            letters,
            ledger,
            book,
            clock,
            limits: ExpandLimits::default(),
            parked_milliseconds: Arc::default(),
            slot,
        }
    }
}

/// Starts `threads` encoder threads. They end when the queue is closed and read, and then drop
/// their senders, which ends the delivery pools.
///
/// # Errors
/// When the system refuses a thread.
pub fn start(shared: &Arc<Shared>, threads: usize) -> io::Result<Vec<JoinHandle<()>>> {
    (0..threads.max(1))
        .map(|n| {
            let encoder = Encoder::new(Arc::clone(shared));
            std::thread::Builder::new().name(format!("encode-{n}")).spawn(move || encoder.run())
        })
        .collect()
}

/// One encoder as a task, for a simulation, which has one thread. It ends as a thread does.
pub fn task(shared: &Arc<Shared>) -> impl Future<Output = ()> + Send + use<> {
    Encoder::new(Arc::clone(shared)).run_as_task()
}

#[cfg(test)]
mod tests;
