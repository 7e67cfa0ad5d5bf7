//! Whole daemons through failures that are made up from seeds: `tests/simulate` says how to run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test, and a program that prints"
)]

mod cluster;
mod counts;
mod daemon;
mod disk;
mod history;
#[path = "../it/kpl.rs"]
mod kpl;
mod oracle;
mod payload;
mod report;
mod stream;
mod told;
mod watch;
mod world;

use std::panic::{catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::{History, PANICKED, live};
use crate::report::Sum;

/// Each of so many seeds is lived through twice, and must come out the same.
const TWICE: u64 = 50;

/// From one word on how far it is to the next.
const PROGRESS: Duration = Duration::from_secs(10);

/// What is asked for.
struct Arguments {
    first: u64,
    seeds: u64,
    /// Each of so many seeds is lived through twice.
    twice: u64,
    is_json: bool,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut seeds, mut first, mut twice, mut is_json) = (None, None, TWICE, false);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|text| text.parse().ok());
            match word.as_str() {
                "--seeds" => seeds = Some(number()?),
                "--seed" => first = Some(number()?),
                "--twice" => twice = 1,
                "--json" => is_json = true,
                _ => return None,
            }
        }
        // One that is named alone is looked at closely.
        let alone = first.is_some() && seeds.is_none();
        let twice = if alone { 1 } else { twice };
        let seeds = seeds.unwrap_or(if alone { 1 } else { 1_000 });
        Some(Self { first: first.unwrap_or(0), seeds, twice, is_json })
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        eprintln!("usage: tests/simulate [--seeds N] [--seed S] [--twice] [--json]");
        return ExitCode::from(64);
    };
    // A task that panics says so nowhere else.
    set_hook(Box::new(|panic| {
        PANICKED.with_borrow_mut(|first| _ = first.get_or_insert_with(|| panic.to_string()));
    }));
    let began = Instant::now();
    let sum = all(&arguments);
    let seconds = began.elapsed().as_secs_f64();
    if arguments.is_json {
        sum.json(seconds)
    } else {
        sum.table(seconds)
    }
    ExitCode::from(u8::from(!sum.is_passed()))
}

/// Lives through the seeds on all cores.
fn all(arguments: &Arguments) -> Sum {
    let Arguments { first, seeds, twice, .. } = *arguments;
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let told = Mutex::new(Instant::now());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        break;
                    }
                    let seed = first.wrapping_add(at);
                    let history = tried(seed, seed.is_multiple_of(twice));
                    let mut sum = sum.lock().unwrap();
                    sum.add(seed, history);
                    tell(&sum, seeds, &mut told.lock().unwrap());
                }
            });
        }
    });
    sum.into_inner().unwrap()
}

fn tell(sum: &Sum, seeds: u64, told: &mut Instant) {
    if told.elapsed() >= PROGRESS {
        *told = Instant::now();
        eprintln!("{} of {seeds} histories, {} failed", sum.histories, sum.failed.len());
    }
}

fn tried(seed: u64, twice: bool) -> History {
    let once = || {
        catch_unwind(|| live(seed)).unwrap_or_else(|_| {
            let why = PANICKED.take().unwrap_or_default();
            History { violation: Some(format!("panicked: {why}")), ..History::default() }
        })
    };
    let mut history = once();
    if history.violation.is_none() && twice && once().hash != history.hash {
        history.violation = Some("lived through twice it came out differently".to_owned());
    }
    history
}
