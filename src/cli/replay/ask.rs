//! Asks the running daemon for a replay, and follows it to its end.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::dead_letter::requests::{Order, Report, Requests, Standing};
use crate::dead_letter::sqlite::LetterStore;
use crate::event::Timestamp;
use crate::state::{self, Access, SqliteConfig, State, StateError};

use super::super::dead_letter::replays;
use super::super::signals::StopSignals;
use super::super::{Exit, failed};
use super::Answer;
use super::progress::{Progress, waits};

/// How often it looks how far the daemon is.
const LOOK: Duration = Duration::from_millis(200);

/// How often it looks whether there is a daemon.
const LOOK_FOR_HOLDER: Duration = Duration::from_secs(1);

/// A daemon that works on a request says so every second.
const SILENCE: Duration = Duration::from_secs(10);

/// A request, and what its daemon last said of it.
pub(super) struct Asking<'a> {
    requests: Requests,
    number: i64,
    /// Letters that were meant when it was asked for.
    meant: u64,
    state: &'a SqliteConfig,
    holder: Holder,
    progress: &'a mut Progress,
    withdrawn: Withdrawn,
    /// The replay that it was last said to wait for.
    waits_for: Option<i64>,
    report: Report,
}

/// Who has the state file.
struct Holder {
    /// In its own words; none when nobody has it.
    who: Option<String>,
    looked: Instant,
    silence: Silence,
}

/// How far a withdrawal is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withdrawn {
    No,
    /// The daemon had last spoken then.
    Asked(Option<Timestamp>),
    /// The daemon takes no more letters up.
    Heard,
}

fn unavailable(error: StateError) -> Exit {
    failed(Exit::Unavailable, &error)
}

impl<'a> Asking<'a> {
    /// Asks. `holder` is who has the state file.
    pub(super) async fn start(
        config: &'a Config,
        order: &Order,
        holder: String,
        progress: &'a mut Progress,
    ) -> Result<Self, Exit> {
        let state = State::open(&config.state, Access::Edit).map_err(unavailable)?;
        let store = LetterStore::new(state.clone(), config.dead_letters);
        let meant = store.count_blocking(&order.filter);
        let meant = meant.map_err(|error| failed(Exit::Unavailable, &error))?;
        let requests = Requests::new(state);
        let number = requests.ask(order).await.map_err(unavailable)?;
        if replays(&holder) {
            progress.notice(&format!("{holder} has the state file: {WAITS}"));
        }
        let silence = Silence::default();
        Ok(Self {
            requests,
            number,
            meant,
            state: &config.state,
            holder: Holder { who: Some(holder), looked: Instant::now(), silence },
            progress,
            withdrawn: Withdrawn::No,
            waits_for: None,
            report: Report::default(),
        })
    }

    /// Follows it to its end, shows how far it is, and says what stands in its way.
    pub(super) async fn follow(mut self, mut signals: StopSignals) -> Result<Answer, Exit> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = signals.next() => self.interrupted().await?,
            }
            let standing = self.requests.standing(self.number).await.map_err(unavailable)?;
            let Some(standing) = standing else { return self.gone() };
            if standing.ended {
                // Otherwise the daemon forgets it in a day.
                self.requests.forget(self.number).await.map_err(unavailable)?;
                let Standing { report, error, .. } = standing;
                return Ok(self.answer(report, error));
            }
            self.show(&standing);
            self.report = standing.report.clone();
            if self.holder.looked.elapsed() >= LOOK_FOR_HOLDER {
                self.look_for_holder(&standing)?;
            }
            if self.holder.who.is_none() && self.withdrawn != Withdrawn::No {
                // Nobody is left to end it.
                self.requests.forget(self.number).await.map_err(unavailable)?;
                return Ok(self.answer(standing.report, None));
            }
        }
    }

    fn answer(&self, report: Report, error: Option<String>) -> Answer {
        Answer { report, error, is_withdrawn: self.withdrawn != Withdrawn::No }
    }

    /// A first Ctrl-C withdraws, a second one leaves.
    async fn interrupted(&mut self) -> Result<(), Exit> {
        if self.withdrawn != Withdrawn::No {
            let text = "left: letters that are on their way come to their end all the same; \
                        `logweir dead-letter list` shows what is kept";
            self.progress.notice(text);
            return Err(Exit::Partly);
        }
        self.requests.withdraw(self.number).await.map_err(unavailable)?;
        let standing = self.requests.standing(self.number).await.map_err(unavailable)?;
        self.withdrawn = Withdrawn::Asked(standing.and_then(|standing| standing.seen));
        self.progress.notice("withdrawn: no more letters are taken up");
        Ok(())
    }

    /// The request is not in the state file.
    fn gone(self) -> Result<Answer, Exit> {
        if self.withdrawn == Withdrawn::No {
            let report = self.report.clone();
            let error = "the request is gone from the state file: somebody has removed it";
            return Ok(self.answer(report, Some(error.to_owned())));
        }
        // It was never taken up.
        Ok(self.answer(Report { letters: self.meant, ..Report::default() }, None))
    }

    fn show(&mut self, standing: &Standing) {
        let Standing { seen, report, ahead, .. } = standing;
        if seen.is_some() {
            self.progress.letters(report);
        } else if let Some(ahead) = ahead {
            if self.waits_for.replace(ahead.number) != Some(ahead.number) {
                self.progress.notice(&waits(ahead));
            }
            self.progress.waits(ahead);
        }
        if let Withdrawn::Asked(before) = self.withdrawn
            && *seen != before
        {
            self.withdrawn = Withdrawn::Heard;
            self.progress.notice(&format!(
                "{} letters are still on their way, and are followed to their end; Ctrl-C again \
                 leaves them to it",
                report.on_way
            ));
        }
    }

    /// A daemon that is gone is said to be, and so is the one that comes after it.
    fn look_for_holder(&mut self, standing: &Standing) -> Result<(), Exit> {
        self.holder.looked = Instant::now();
        let who = state::holder(self.state).map_err(unavailable)?;
        let heard = standing.seen.max(standing.ahead.as_ref().and_then(|ahead| ahead.seen));
        let is_silent = self.holder.silence.is_new(heard);
        let before = std::mem::replace(&mut self.holder.who, who);
        let notice = match (&self.holder.who, before) {
            (Some(who), before) if before.as_ref() != Some(who) => {
                self.holder.silence = Silence::default();
                if replays(who) {
                    format!("{who} has the state file now: {WAITS}")
                } else {
                    format!("the request goes on with {who}")
                }
            }
            (Some(who), _) if is_silent => format!(
                "no answer for {} s from {who}: it may be stopped. {WAITS}",
                SILENCE.as_secs()
            ),
            (None, Some(before)) => format!(
                "logweir is gone, that was {before}. {WAITS}; `replay` again does it without a daemon"
            ),
            (Some(_) | None, _) => return Ok(()),
        };
        self.progress.notice(&notice);
        Ok(())
    }
}

const WAITS: &str = "The request waits for the next logweir that runs on this state file; Ctrl-C \
                     withdraws it";

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
