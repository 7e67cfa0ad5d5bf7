//! Time that a processor has worked, which other programs on the machine do not lengthen; and which
//! processors.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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

/// Until it is dropped, this thread and every process that it starts share one processor.
///
/// Where two of them are one core, as those of most cloud machines are, each does little more than half
/// of what it does while the other one rests: then a second of processor time says how busy the
/// neighbour was. This way there is none.
pub(crate) struct OneProcessor {
    before: CpuSet,
}

impl OneProcessor {
    pub(crate) fn take() -> Self {
        let before = sched_getaffinity(None).unwrap();
        let first = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap();
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).unwrap();
        Self { before }
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.before).unwrap();
    }
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
