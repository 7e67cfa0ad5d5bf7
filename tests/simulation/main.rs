//! Whole daemons through failures that are made up from seeds: `tests/simulate` says how to run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, and a program that prints"
)]

mod cluster;
mod daemon;
mod disk;
mod history;
mod oracle;
mod stream;
mod world;

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::daemon::{History, live};
use crate::history::Fault;

/// Each of so many seeds is lived through twice, and must come out the same.
const TWICE: u64 = 50;

/// Failures that are shown.
const SHOWN: usize = 3;

#[derive(Default)]
struct Sum {
    histories: u64,
    steps: u64,
    counts: BTreeMap<String, u64>,
    failed: Vec<u64>,
}

fn main() -> ExitCode {
    let (mut seeds, mut first, mut one) = (1_000, 0, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--seeds" => seeds = number().unwrap_or(seeds),
            "--seed" => (first, seeds, one) = (number().unwrap_or(0), 1, true),
            "--show-output" | "--nocapture" => {}
            other => {
                println!("what is {other}? There are --seeds N and --seed S");
                return ExitCode::from(64);
            }
        }
    }
    let began = Instant::now();
    let sum = all(first, seeds, one);
    let passed = sum.histories - sum.failed.len() as u64;
    table(&sum);
    let (failed, steps, seconds) = (sum.failed.len(), sum.steps, began.elapsed().as_secs_f64());
    println!(
        "{} histories, {steps} steps, {seconds:.1} s; failed: {:?}",
        sum.histories, sum.failed
    );
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored;");
    ExitCode::from(u8::from(failed > 0))
}

/// Lives through the seeds on all cores.
fn all(first: u64, seeds: u64, one: bool) -> Sum {
    let (next, sum) = (AtomicU64::new(first), Mutex::new(Sum::default()));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let history = tried(seed, one);
                    add(&mut sum.lock().unwrap(), seed, &history, one);
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

fn tried(seed: u64, one: bool) -> History {
    let mut history = catch_unwind(|| live(seed)).unwrap_or_else(|_| History {
        steps: 0,
        hash: 0,
        counts: BTreeMap::new(),
        violation: Some("the simulation panicked".to_owned()),
        trace: Vec::new(),
    });
    if history.violation.is_none() && (one || seed.is_multiple_of(TWICE)) {
        let again = live(seed);
        if again.hash != history.hash {
            history.violation = Some("lived through twice it came out differently".to_owned());
        }
    }
    history
}

fn add(sum: &mut Sum, seed: u64, history: &History, one: bool) {
    sum.histories += 1;
    sum.steps += history.steps;
    for (what, count) in &history.counts {
        *sum.counts.entry(what.clone()).or_default() += count;
    }
    if let Some(violation) = &history.violation {
        sum.failed.push(seed);
        if sum.failed.len() <= SHOWN {
            println!("\nseed {seed}: {violation}\n  again: tests/simulate --seed {seed}");
            let lines = if one { 60 } else { 40 };
            let skip = history.trace.len().saturating_sub(lines);
            history.trace.iter().skip(skip).for_each(|line| println!("  {line}"));
        }
    }
    if sum.histories.is_multiple_of(500) {
        println!("{} histories, {} failed", sum.histories, sum.failed.len());
    }
}

fn table(sum: &Sum) {
    println!("\n| what happened | how often |\n|---|--:|");
    for fault in Fault::ALL {
        let count = sum.counts.get(fault.as_str()).copied().unwrap_or(0);
        println!("| {} | {count} |", fault.as_str());
    }
    for (what, count) in sum.counts.iter().filter(|(what, _)| what.contains(": ")) {
        println!("| {what} | {count} |");
    }
}
