//! How fast logweir is: `tests/bench/run` says how to run it, and what it prints.
//!
//! This one binary is everything but the daemon that is measured: what makes the data, what measures,
//! and the two processes between which the daemon stands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measuring program, which prints and ends when something is wrong"
)]

mod cpu;
mod daemon;
mod data;
mod gzip;
mod instructions;
mod line;
mod naive;
mod report;
mod routes;
mod scaling;
#[path = "../real/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it")]
mod servers;
mod stage;
mod twin;

use std::process::ExitCode;

use crate::data::Shape;
use crate::report::Report;

const PARTS: [&str; 3] = ["stage", "daemon", "scaling"];

/// As the command line asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Fewer and shorter runs.
    pub(crate) quick: bool,
    only: Option<String>,
    set: Option<&'static str>,
}

impl Options {
    fn read(words: &[String]) -> Option<Self> {
        let (mut options, mut words) = (Self::default(), words.iter());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.quick = true,
                "--only" => {
                    let part = words.next().filter(|part| PARTS.contains(&part.as_str()))?;
                    options.only = Some(part.clone());
                }
                "--set" => options.set = Some(Shape::named(words.next()?)?.name),
                _ => return None,
            }
        }
        Some(options)
    }

    /// Whether a set is to be measured.
    pub(crate) fn measures(&self, set: &str) -> bool {
        self.set.is_none_or(|only| only == set)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((word, rest)) if word == "kinesis" => daemon::kinesis::run(rest),
        Some((word, rest)) if word == "bulk" => daemon::bulk::run(rest),
        Some((word, [set])) if word == "walk" => stage::walk(set),
        Some((word, [])) if word == "walk" => instructions::walk(),
        Some((word, rest)) if word == "twin" => return twin::compare(rest),
        Some((word, [])) if word == "instructions" => return instructions::compare(),
        _ => return measure(&words),
    }
    ExitCode::SUCCESS
}

fn measure(words: &[String]) -> ExitCode {
    let Some(options) = Options::read(words) else {
        eprintln!("usage: tests/bench/run [--quick] [--only {}] [--set SET]", PARTS.join("|"));
        return ExitCode::from(64);
    };
    let mut report = Report::default();
    if options.wants("stage") {
        report.stage(stage::measure(&options));
        report.gzip(gzip::measure(&options));
    }
    if options.wants("daemon") {
        let rows = daemon::measure(&options);
        report.daemon(rows, daemon::stores(&options), daemon::idle(&options));
    }
    if options.wants("scaling") {
        report.scaling(scaling::measure(&options));
    }
    report.write();
    ExitCode::SUCCESS
}
