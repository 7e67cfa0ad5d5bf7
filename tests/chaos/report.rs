//! The table that the run ends with, and the same for machines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::Outcome;

/// What came of one scenario; nothing, where an assertion of its own has failed.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcome: Option<Outcome>,
}

/// What came of all.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Row {
    /// Nothing is lost, nothing doubled, and the fault has struck.
    fn is_clean(&self) -> bool {
        self.outcome.is_some_and(|outcome| outcome.sums.lost == 0 && outcome.sums.doubled == 0)
    }

    fn json(&self) -> Value {
        let sums = self.outcome.map(|outcome| outcome.sums);
        json!({
            "name": self.name,
            "put": sums.map(|sums| sums.put),
            "found": sums.map(|sums| sums.found),
            "lost": sums.map(|sums| sums.lost),
            "doubled": sums.map(|sums| sums.doubled),
            "recovery_seconds": self.outcome.map(|outcome| outcome.recovery.as_secs_f64()),
        })
    }

    fn line(&self) -> String {
        let result = if self.is_clean() { "passed" } else { "FAILED" };
        let Some(Outcome { sums, recovery }) = self.outcome else {
            return format!("| {} | {result} | | | | | |", self.name);
        };
        let seconds = recovery.as_secs_f64();
        format!(
            "| {} | {result} | {} | {} | {} | {} | {seconds:.1} |",
            self.name, sums.put, sums.found, sums.lost, sums.doubled
        )
    }
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.0.iter().all(Row::is_clean)
    }

    /// The table, and as the last line the counts, as cargo gives them; with `as_json` both go to
    /// standard error, and JSON alone to standard output.
    pub(crate) fn print(&self, as_json: bool, elapsed: Duration) {
        let passed = self.0.iter().filter(|row| row.is_clean()).count();
        let failed = self.0.len() - passed;
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
