//! What no stage can count alone: memory, time parked, letters in store, the build.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, IntGaugeVec, Opts};

use crate::dead_letter::sqlite::LetterStore;
use crate::decode::Undecodable;
use crate::destination::HoldReason;
use crate::event::DestinationName;
use crate::fate::RefusalReason;
use crate::memory::{BodyBudget, FetchBudget};
use crate::parse::{Kind, ParseError};
use crate::telemetry::ledger::Book;
use crate::telemetry::ledger_metrics::Labels;

/// The labels that the ledger is counted by and does not know itself.
pub(super) fn labels() -> Labels {
    Labels {
        undecodable: Undecodable::LABELS.into(),
        parse_errors: ParseError::LABELS.into(),
        kinds: Kind::DETECTED.iter().map(|kind| kind.as_str()).collect(),
    }
}

/// How long the records of one queue were parked.
#[derive(Clone)]
pub(super) struct Parked {
    pub(super) book: Book,
    pub(super) milliseconds: Arc<AtomicU64>,
}

/// What bodies for a destination may take.
#[derive(Clone)]
pub(super) struct Budget {
    pub(super) book: Book,
    pub(super) to: DestinationName,
    pub(super) bodies: Arc<BodyBudget>,
}

/// The budgets that bound a daemon's memory.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(super) fetch: [FetchBudget; 2],
    pub(super) bodies: Vec<Arc<BodyBudget>>,
}

impl Memory {
    /// Each budget's size, and what is taken of it, in bytes.
    pub fn sizes_and_taken(&self) -> impl Iterator<Item = (usize, usize)> {
        let fetch = self.fetch.iter().map(FetchBudget::size_and_taken);
        fetch.chain(self.bodies.iter().map(|body| (body.size(), body.taken())))
    }
}

pub(super) struct DaemonMetrics {
    pub(super) parked: Vec<Parked>,
    pub(super) fetch: [(Book, FetchBudget); 2],
    pub(super) bodies: Vec<Budget>,
    pub(super) letters: LetterStore,
    pub(super) desc: Desc,
}

impl Collector for DaemonMetrics {
    // The registry tells collectors apart by their descriptions; which families there are is
    // known only when they are collected.
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Names and labels are constants, so making the families cannot fail.
        self.families().unwrap_or_default()
    }
}

impl DaemonMetrics {
    pub(super) fn desc() -> prometheus::Result<Desc> {
        let (name, help) = ("logweir_daemon".to_owned(), "The daemon as a whole.".to_owned());
        Desc::new(name, help, Vec::new(), HashMap::new())
    }

    fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let mut all = self.memory()?;
        let help = "Time in which a stage waited for memory: shards for the fetch budget, records for a body.";
        let blocked =
            CounterVec::new(Opts::new("logweir_blocked_seconds_total", help), &["stage"])?;
        for Parked { book, milliseconds } in &self.parked {
            let seconds = milliseconds.load(Ordering::Relaxed) as f64 / 1000.0;
            let stage = named(*book, ["encode", "replay_encode"]);
            blocked.get_metric_with_label_values(&[stage])?.inc_by(seconds);
        }
        all.extend(blocked.collect());
        // As of all that waits for a person; of no destination alone.
        let reason = HoldReason::DeadLetters.as_str();
        let held = IntGaugeVec::new(
            Opts::new("logweir_held", "Events waiting behind a hold, by its scope and reason."),
            &["destination", "scope", "reason"],
        )?;
        let waits = i64::from(self.letters.trouble().is_some());
        held.get_metric_with_label_values(&["", "dead_letters", reason])?.set(waits);
        all.extend(held.collect());
        // A store that cannot be read is missing from the page, as it is from the disk.
        if let Ok(totals) = self.letters.totals_blocking() {
            let help = "Dead letters in the store, by reason.";
            let stored =
                IntGaugeVec::new(Opts::new("logweir_dead_letters_stored", help), &["reason"])?;
            for reason in RefusalReason::ALL {
                stored.get_metric_with_label_values(&[reason.as_str()])?.set(0);
            }
            for total in totals {
                let letters = i64::try_from(total.letters).unwrap_or(i64::MAX);
                stored.get_metric_with_label_values(&[&total.reason])?.set(letters);
            }
            all.extend(stored.collect());
        }
        let build = GaugeVec::new(Opts::new("logweir_build_info", "The build."), &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1.0);
        all.extend(build.collect());
        Ok(all)
    }

    fn memory(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let labels = &["budget", "destination"];
        let help = "Bytes that a budget may give out.";
        let budget = IntGaugeVec::new(Opts::new("logweir_memory_budget_bytes", help), labels)?;
        let help = "Bytes of a budget that are taken.";
        let taken = IntGaugeVec::new(Opts::new("logweir_in_flight_bytes", help), labels)?;
        let set = |of: &[&str; 2], all: usize, used: usize| {
            budget.get_metric_with_label_values(of)?.set(i64::try_from(all).unwrap_or(i64::MAX));
            taken.get_metric_with_label_values(of)?.set(i64::try_from(used).unwrap_or(i64::MAX));
            prometheus::Result::Ok(())
        };
        for (book, fetch) in &self.fetch {
            let (size, taken) = fetch.size_and_taken();
            set(&[named(*book, ["fetch", "replay_fetch"]), ""], size, taken)?;
        }
        for Budget { book, to, bodies } in &self.bodies {
            let budget = named(*book, ["body", "replay_body"]);
            set(&[budget, to.as_str()], bodies.size(), bodies.taken())?;
        }
        Ok(budget.collect().into_iter().chain(taken.collect()).collect())
    }
}

fn named(book: Book, [live, replay]: [&'static str; 2]) -> &'static str {
    match book {
        Book::Live => live,
        Book::Replay => replay,
    }
}
