//! Time that a processor has worked, which other programs on the machine do not lengthen.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this thread has worked so far.
pub(crate) fn of_this_thread() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// What this thread works for something.
pub(crate) fn of<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let begin = of_this_thread();
    let result = act();
    (of_this_thread() - begin, result)
}

/// Nanoseconds on a clock that all processes of the machine share.
pub(crate) fn monotonic() -> u64 {
    u64::try_from(time(ClockId::Monotonic).as_nanos()).unwrap()
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
