//! How long to wait before trying again: exponential, jittered, capped.

use std::time::Duration;

/// Waits that double from `first` to `most`, each between half and all of its step.
///
/// The jitter keeps many shards or requests that failed together from coming back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first step.
    pub first: Duration,
    /// The longest step.
    pub most: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 = the first), never shorter than what the
    /// server asked for by `Retry-After`; `random` is in 0.0 ..= 1.0.
    #[must_use]
    pub fn wait(&self, failures: u32, at_least: Option<Duration>, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let step = self.first.saturating_mul(1 << doublings).min(self.most);
        let jittered = step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        jittered.max(at_least.unwrap_or_default())
    }

    /// `wait` with a fresh random number.
    #[must_use]
    pub fn jittered(&self, failures: u32, at_least: Option<Duration>) -> Duration {
        self.wait(failures, at_least, fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_all_of_its_step(failures in 1u32..200, random in 0.0..1.0) {
            let wait = BACKOFF.wait(failures, None, random);
            prop_assert!(wait >= Duration::from_millis(50));
            prop_assert!(wait <= BACKOFF.most);
        }
    }

    #[test]
    fn steps_double_up_to_the_cap() {
        let steps: Vec<_> = (1..=10).map(|n| BACKOFF.wait(n, None, 1.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    }

    #[test]
    fn the_server_may_ask_for_longer() {
        let asked = Duration::from_secs(90);
        assert_eq!(BACKOFF.wait(1, Some(asked), 0.3), asked);
    }
}
