//! Asks the running daemon for a replay, and follows it to its end.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::dead_letter::requests::{Order, Report, Requests, Standing};
use crate::event::Timestamp;
use crate::state::{Access, State, StateError};

use super::super::output::tell;
use super::super::signals::StopSignals;
use super::super::{Exit, failed};

/// How often it looks how far the daemon is.
const LOOK: Duration = Duration::from_millis(200);

/// A daemon that works on a request says so every second.
const SILENCE: Duration = Duration::from_secs(10);

/// `holder` is who has the state file.
pub(super) async fn ask(
    config: &Config,
    order: &Order,
    (mut signals, holder): (StopSignals, &str),
    mut progress: impl FnMut(&Report),
) -> Result<Report, Exit> {
    let unavailable = |error: StateError| failed(Exit::Unavailable, &error);
    let state = State::open(&config.state, Access::Edit).map_err(unavailable)?;
    let requests = Requests::new(state);
    let number = requests.ask(order).await.map_err(unavailable)?;
    let mut silence = Silence::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = signals.next() => {
                requests.withdraw(number).await.map_err(unavailable)?;
                tell!("withdrawn: the letters that the daemon has taken up already still come to their end; no more are taken up");
                return Err(Exit::Partly);
            }
        }
        let standing = requests.standing(number).await.map_err(unavailable)?;
        let Some(Standing { seen, report, ended, error }) = standing else {
            tell!("error: the request is gone from the state file");
            return Err(Exit::Unavailable);
        };
        if let Some(error) = error {
            tell!("error: {error}");
            return Err(Exit::Unavailable);
        }
        if ended {
            // Otherwise the daemon forgets it in a day.
            requests.withdraw(number).await.map_err(unavailable)?;
            progress(&report);
            return Ok(report);
        }
        if seen.is_some() {
            progress(&report);
        }
        if silence.is_new(seen) {
            tell!(
                "no answer for {} s from {holder}: it may be stopped, or work on an earlier replay. \
                 The request waits for the next logweir that runs on this state file; Ctrl-C withdraws it",
                SILENCE.as_secs()
            );
        }
    }
}

/// Notices when the daemon has said nothing for a while.
struct Silence {
    last: Option<Timestamp>,
    since: Instant,
    told: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self { last: None, since: Instant::now(), told: false }
    }
}

impl Silence {
    /// True once each time that it has lasted for long.
    fn is_new(&mut self, seen: Option<Timestamp>) -> bool {
        if seen != self.last {
            *self = Self { last: seen, ..Self::default() };
        }
        let is_long = self.since.elapsed() >= SILENCE;
        is_long && !std::mem::replace(&mut self.told, is_long)
    }
}
