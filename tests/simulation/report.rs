//! What came of all histories, for people and for programs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use logweir::destination::RetryReason;
use logweir::fate::RefusalReason;
use serde_json::json;

use crate::cluster::Said;
use crate::daemon::History;
use crate::history::Fault;
use crate::watch::FULL;

/// Each fault and verdict is seen once in so many histories on the average: a thousand times in
/// 10,000.
const ONE_IN: u64 = 10;

/// A run of so many histories must have seen all of it; fewer may miss the rarest by chance.
const MANY: u64 = 10_000;

/// Failures that are shown.
const SHOWN: usize = 3;

#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) histories: u64,
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    /// Of the shortest history, and of the one with the fewest.
    pub(crate) least: Option<(u64, u64)>,
    pub(crate) counts: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) failed: BTreeSet<u64>,
}

impl Sum {
    pub(crate) fn add(&mut self, seed: u64, history: History) {
        self.histories += 1;
        self.steps += history.steps;
        self.faults += history.faults;
        if history.violation.is_none() {
            let (steps, faults) = self.least.unwrap_or((u64::MAX, u64::MAX));
            self.least = Some((steps.min(history.steps), faults.min(history.faults)));
        }
        for (what, count) in history.counts {
            *self.counts.entry(what).or_default() += count;
        }
        let Some(violation) = history.violation else { return };
        self.failed.insert(seed);
        if self.failed.len() <= SHOWN {
            eprintln!("\nseed {seed}: {violation}\n  again: tests/simulate --seed {seed}");
            for (at, what, of) in history.trace {
                eprintln!("  {:>9.3} {what} {of}", at.as_secs_f64());
            }
        }
    }

    /// Faults and verdicts that were seen too rarely for so many histories.
    pub(crate) fn rare(&self) -> Vec<String> {
        let all = Fault::ALL.iter().map(|fault| fault.as_str());
        let all = all.chain(Said::ALL.iter().map(|said| said.as_str())).map(str::to_owned);
        let letters = RefusalReason::ALL.iter().map(|reason| format!("letter: {reason}"));
        let retries = RetryReason::ALL.iter().map(|reason| format!("retry: {}", reason.as_str()));
        let breaker = ["begun", "over"].map(|what| format!("hold {what}: breaker"));
        let all = all.chain(letters).chain(retries).chain(breaker).chain([FULL.to_owned()]);
        let count = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        all.filter(|what| self.histories >= MANY && count(what) < self.histories / ONE_IN).collect()
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.failed.is_empty() && self.rare().is_empty()
    }

    pub(crate) fn table(&self, seconds: f64) {
        println!("\n| what happened | how often |\n|---|--:|");
        for (what, count) in &self.counts {
            println!("| {what} | {count} |");
        }
        let Self { histories, steps, faults, .. } = self;
        let (least_steps, least_faults) = self.least.unwrap_or_default();
        println!(
            "\n{histories} histories, {steps} steps (no fewer than {least_steps} in one), {faults} faults \
             (no fewer than {least_faults}), {seconds:.1} s"
        );
        for rare in self.rare() {
            println!("too rare in {histories} histories: {rare}");
        }
        for seed in &self.failed {
            println!("failed: tests/simulate --seed {seed}");
        }
        let word = if self.is_passed() { "ok" } else { "FAILED" };
        let failed = self.failed.len() as u64;
        let passed = histories - failed;
        println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored;");
    }

    pub(crate) fn json(&self, seconds: f64) {
        let (least_steps, least_faults) = self.least.unwrap_or_default();
        println!(
            "{}",
            json!({
                "histories": self.histories,
                "steps": self.steps,
                "least_steps": least_steps,
                "faults": self.faults,
                "least_faults": least_faults,
                "seconds": (seconds * 10.0).round() / 10.0,
                "counts": self.counts,
                "rare": self.rare(),
                "failed": self.failed,
            })
        );
    }
}
