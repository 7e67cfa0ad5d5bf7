//! Keeps a trouble that repeats from filling the log: one line per reason and half minute.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Moment;

const EVERY: Duration = Duration::from_secs(30);

/// Log lines of one place, by what they are about. The keys must be few.
#[derive(Debug, Default)]
pub struct RateLimit(BTreeMap<&'static str, (Moment, u64)>);

impl RateLimit {
    /// Whether a line about `what` may be written now; if so, how many were not since the last.
    pub fn admit(&mut self, now: Moment, what: &'static str) -> Option<u64> {
        let Some((last, silenced)) = self.0.get_mut(what) else {
            self.0.insert(what, (now, 0));
            return Some(0);
        };
        if now.since(*last) < EVERY {
            *silenced += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(silenced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_written_and_the_rest_is_counted() {
        let mut limit = RateLimit::default();
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert_eq!(limit.admit(at(0), "timeout"), Some(0));
        assert_eq!(limit.admit(at(1), "timeout"), None);
        assert_eq!(limit.admit(at(1), "busy"), Some(0));
        assert_eq!(limit.admit(at(29), "timeout"), None);
        assert_eq!(limit.admit(at(31), "timeout"), Some(2));
    }
}
