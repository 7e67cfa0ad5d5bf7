//! The table that the run ends with, and the same for machines.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::Sums;
use crate::rig::Outcome;

/// How one scenario ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// To its end.
    Came(Outcome),
    /// An assertion of its own has failed.
    Panicked,
    /// What it needs cannot be had here.
    Skipped,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) end: End,
}

/// What came of all.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Row {
    fn outcome(&self) -> Option<&Outcome> {
        match &self.end {
            End::Came(outcome) => Some(outcome),
            End::Panicked | End::Skipped => None,
        }
    }

    fn result(&self) -> &'static str {
        match &self.end {
            End::Came(Outcome { sums: Sums { lost: 0, doubled: 0, .. }, broken: None, .. }) => {
                "passed"
            }
            End::Came(_) | End::Panicked => "FAILED",
            End::Skipped => "skipped",
        }
    }

    fn json(&self) -> Value {
        let sums = self.outcome().map(|outcome| outcome.sums);
        json!({
            "name": self.name,
            "put": sums.map(|sums| sums.put),
            "found": sums.map(|sums| sums.found),
            "lost": sums.map(|sums| sums.lost),
            "doubled": sums.map(|sums| sums.doubled),
            "recovery_seconds": self.outcome().map(|outcome| outcome.recovery.as_secs_f64()),
        })
    }

    fn line(&self) -> String {
        let result = self.result();
        let Some(Outcome { sums, recovery, broken }) = self.outcome() else {
            return format!("| {} | {result} | | | | | |", self.name);
        };
        let seconds = recovery.as_secs_f64();
        let broken = broken.as_ref().map_or_else(String::new, |broken| format!(": {broken}"));
        format!(
            "| {} | {result}{broken} | {} | {} | {} | {} | {seconds:.1} |",
            self.name, sums.put, sums.found, sums.lost, sums.doubled
        )
    }
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    fn count(&self, result: &str) -> usize {
        self.0.iter().filter(|row| row.result() == result).count()
    }

    /// 1 where something has failed, 69 where something could not be tried.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match (self.count("FAILED"), self.count("skipped")) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(69),
            (_, _) => ExitCode::from(1),
        }
    }

    /// The table, and as the last line the counts, as cargo gives them; with `as_json` both go to
    /// standard error, and JSON alone to standard output.
    pub(crate) fn print(&self, as_json: bool, elapsed: Duration) {
        // A test that skips itself counts as passed for `tests/run`, which subtracts it.
        let passed = self.count("passed") + self.count("skipped");
        let failed = self.count("FAILED");
        let lines: Vec<_> = self.0.iter().map(Row::line).collect();
        let word = if failed == 0 { "ok" } else { "FAILED" };
        let table = format!(
            "\n| scenario | result | put | found | lost | doubled | recovery, s |\n\
             |---|---|--:|--:|--:|--:|--:|\n{}\n\n\
             test result: {word}. {passed} passed; {failed} failed; 0 ignored; {:.0} s",
            lines.join("\n"),
            elapsed.as_secs_f64()
        );
        if as_json {
            eprintln!("{table}");
            println!("{}", json!({"scenarios": self.0.iter().map(Row::json).collect::<Vec<_>>()}));
        } else {
            println!("{table}");
        }
    }
}
