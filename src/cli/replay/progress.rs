//! What a replay shows of itself on stderr while it runs: one line that changes where a person
//! looks, a line now and then where a log does, and nothing beside `--json`.

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::dead_letter::requests::{Ahead, Report};

use super::super::output::{tell, tell_part};

/// Between two lines of a log.
const EVERY: Duration = Duration::from_secs(10);

/// The end of what was on the line before.
const CLEAR: &str = "\x1b[K";

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct Progress {
    way: Way,
    /// When a line was written last, or might have been first.
    last: Instant,
    /// Whether the cursor stands behind a line that changes.
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Terminal,
    Log,
    Nowhere,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let way = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Way::Nowhere,
            (false, true) => Way::Terminal,
            (false, false) => Way::Log,
        };
        Self { way, last: Instant::now(), is_open: false }
    }

    /// How far it is.
    pub(super) fn letters(&mut self, report: &Report) {
        self.show(|| of(report));
    }

    /// How far the one is that it waits for.
    pub(super) fn waits(&mut self, ahead: &Ahead) {
        self.show(|| waits(ahead));
    }

    /// Says something, whatever is shown.
    pub(super) fn notice(&mut self, text: &str) {
        self.end();
        tell!("{text}");
        self.last = Instant::now();
    }

    /// Leaves the line that changes.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            tell!("");
        }
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        match self.way {
            Way::Terminal => {
                tell_part!("\r{}{CLEAR}", text());
                self.is_open = true;
            }
            Way::Log => {
                if self.is_due() {
                    tell!("{}", text());
                }
            }
            Way::Nowhere => {}
        }
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.last.elapsed() >= EVERY;
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }
}

fn of(report: &Report) -> String {
    format!("{} of {} letters", report.ended(), report.letters)
}

/// For the notice, and the line, of one that waits.
pub(super) fn waits(ahead: &Ahead) -> String {
    let Ahead { number, seen, report } = ahead;
    match seen {
        None => format!("waits for replay {number}, which waits itself"),
        Some(_) => {
            let (ended, letters) = (report.ended(), report.letters);
            format!("waits for replay {number}, which is at {ended} of {letters}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_gets_a_line_every_ten_seconds() {
        let mut progress = Progress { way: Way::Log, last: Instant::now(), is_open: false };
        let mut lines = 0;
        for _ in 0..300 {
            tokio::time::advance(Duration::from_millis(200)).await;
            lines += u32::from(progress.is_due());
        }
        assert_eq!(lines, 6);
        let report = Report { letters: 5000, removed: 1200, ..Report::default() };
        assert_eq!(of(&report), "1200 of 5000 letters");
        let ahead = Ahead { number: 3, seen: Some(crate::event::Timestamp(1)), report };
        assert_eq!(waits(&ahead), "waits for replay 3, which is at 1200 of 5000");
    }
}
