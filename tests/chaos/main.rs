//! The promises of README's "Guarantees" under fire: the real binary between a real Kinesis
//! endpoint and a real OpenSearch, with proxies of ours on both sides that break what they are
//! told to. `tests/chaos/run` says how to run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test, and a program that prints"
)]

mod bulk;
mod clock;
mod cluster;
mod daemon;
#[path = "../real/envelopes.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod envelopes;
mod http;
mod identity;
mod ledger;
mod memory;
#[path = "../real/metrics.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod metrics;
mod mounts;
mod processes;
mod proxy;
mod report;
mod requests;
mod rig;
mod scenarios;
#[path = "../real/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it")]
mod servers;
mod state;
mod streams;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::report::{End, Report, Row};
use crate::rig::Servers;
use crate::scenarios::{SCENARIOS, Scenario};
use crate::servers::{Kinesis, OpenSearch};

/// As the command line asks for.
#[derive(Debug, Default)]
struct Options {
    long: bool,
    json: bool,
    list: bool,
    only: Vec<String>,
}

impl Options {
    /// What is wrong with the arguments, if something is.
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut options, mut arguments) = (Self::default(), arguments);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--long" => options.long = true,
                "--json" => options.json = true,
                "--list" => options.list = true,
                "--only" => {
                    let name = arguments.next().ok_or("--only NAME: which?")?;
                    if !SCENARIOS.iter().any(|scenario| scenario.name == name) {
                        return Err(format!("there is no scenario {name}: see --list"));
                    }
                    options.only.push(name);
                }
                other => return Err(format!("what is {other}? See --help")),
            }
        }
        Ok(options)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.name)
    }
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    if options.list {
        let lines = SCENARIOS.iter().map(|each| format!("{:24} {}\n", each.name, each.what));
        // `println!` would panic at `--list | head`.
        _ = std::io::stdout().write_all(lines.collect::<String>().as_bytes());
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("could not start the runtime");
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> ExitCode {
    let (Some(kinesis), Some(search)) = (Kinesis::start().await, OpenSearch::start().await) else {
        return ExitCode::from(69);
    };
    let servers = Arc::new(Servers { kinesis, search: Arc::new(search), long: options.long });
    let (mut report, wanted) = (Report::default(), SCENARIOS.iter().filter(|s| options.wants(s)));
    let (count, began) = (wanted.clone().count(), Instant::now());
    for (number, scenario) in wanted.enumerate() {
        let elapsed = began.elapsed().as_secs();
        eprintln!("== {} of {count}, {elapsed} s: {}", number + 1, scenario.name);
        if let Some(missing) = scenario.misses().await {
            eprintln!("SKIPPED: {} needs {missing}, which cannot be had here", scenario.name);
            report.add(Row { name: scenario.name, end: End::Skipped });
            continue;
        }
        // As a task, so that a scenario that panics ends itself alone.
        let mut task = JoinSet::new();
        task.spawn((scenario.run)(Arc::clone(&servers)));
        let end = task.join_next().await.unwrap().map_or(End::Panicked, End::Came);
        report.add(Row { name: scenario.name, end });
    }
    report.print(options.json, began.elapsed());
    report.exit_code()
}
