//! The daemon's own clock: where `Moment`s come from.

use tokio::time::Instant;

use crate::event::Moment;

/// Counts time since the daemon started; copies agree with each other.
///
/// Reads tokio's clock, so a paused test clock moves it.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts counting now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.0.elapsed())
    }

    /// When `moment` is, for tokio's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        // A moment past the end of time is one that no timer reaches: a century will do.
        let century = std::time::Duration::from_secs(100 * 365 * 86_400);
        self.0 + moment.0.min(century)
    }
}
