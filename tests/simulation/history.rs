//! A seed's plan: what is put into the stream, what fails when, and how each daemon ends.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// Something that goes wrong for a while, or once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault { $($(#[$doc])* $variant,)+ }

        impl Fault {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

faults! {
    Throttle = "kinesis throttles",
    KinesisError = "kinesis answers 500",
    ExpiredIterator = "iterator expired",
    LostAnswer = "kinesis' answer lost",
    SlowKinesis = "kinesis slow",
    EmptyPage = "empty page",
    Item429 = "items answered 429",
    Whole429 = "request answered 429",
    Whole503 = "request answered 503",
    Timeout = "timeout, not carried out",
    TimeoutAfter = "timeout, carried out later",
    Lost = "connection lost before",
    LostAfter = "connection lost after",
    Truncated = "answer cut off",
    OneTooFew = "answer with an item too few",
    OneTooMany = "answer with an item too many",
    Html403 = "403 by a proxy",
    Whole401 = "401",
    WriteBlock = "index write-blocked",
    Flood = "index over flood stage",
    Closed = "index closed",
    Whole413 = "413",
    SlowCluster = "cluster slow",
    OnlySome = "only some items carried out",
    Poison = "document answered 500",
    Refused = "document refused by mapping",
    DiskFull = "disk full",
    SlowDisk = "slow commits",
    // Those that happen once.
    Crash = "crash",
    Drain = "SIGTERM, drained",
    CutShort = "SIGTERM, cut short",
    WallClock = "wall clock set",
    LeaseLost = "lease deleted",
    Replay = "replay asked for",
    Split = "shard split",
    Merge = "shards merged",
}

/// A thing that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Put,
    Split,
    Merge,
    /// A fault that hits one call in `one_in` for so long; `which` chooses a cluster or an index.
    Fault {
        fault: Fault,
        lasts: Duration,
        one_in: u64,
        which: usize,
    },
    SetWallClock(i64),
    LoseLease,
    Mend,
    Replay,
}

/// How a daemon ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// By kill -9 at this step of its life.
    Crash(u64),
    /// By SIGTERM after this time, with time enough to drain, or not.
    Term(Duration, bool),
}

/// The plan of one history.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) happenings: VecDeque<(Duration, Happening)>,
    pub(crate) ends: VecDeque<End>,
    /// From then on nothing fails and nothing new comes.
    pub(crate) quiet: Duration,
    /// Documents of a hundred that the mapping refuses until it is mended.
    pub(crate) refused_percent: u64,
    /// Bytes of letters that the store takes until then.
    pub(crate) max_letters: Option<usize>,
    /// Bytes of bodies for each destination.
    pub(crate) body: usize,
    pub(crate) shards: usize,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        // Poison and given-up indices take more than ten minutes.
        let is_long = rng.u8(..20) == 0;
        let seconds = if is_long { 1_500 } else { rng.u64(60..180) };
        let mut happenings = Vec::new();
        let at = |rng: &mut Rng| Duration::from_millis(rng.u64(..seconds * 1000));
        for _ in 0..rng.u32(40..110) {
            happenings.push((at(rng), Happening::Put));
        }
        for _ in 0..rng.u32(3..9) {
            happenings.push((at(rng), fault(rng, is_long)));
        }
        for once in [Happening::Split, Happening::Merge, Happening::LoseLease, Happening::Replay] {
            if rng.u8(..3) == 0 {
                happenings.push((at(rng), once));
            }
        }
        if rng.bool() {
            let jump = if rng.bool() { 3_600_000 } else { -3_600_000 };
            happenings.push((at(rng), Happening::SetWallClock(jump)));
        }
        if rng.bool() {
            let mended = at(rng);
            happenings.push((mended, Happening::Mend));
            happenings.push((mended + Duration::from_secs(5), Happening::Replay));
        }
        happenings.sort_by_key(|(at, _)| *at);
        let lives = if is_long { 1 } else { rng.u32(1..5) };
        Self {
            happenings: happenings.into(),
            ends: (0..lives).map(|_| end(rng, is_long)).collect(),
            quiet: Duration::from_secs(seconds),
            refused_percent: *rng.choice(&[0, 5, 5, 50]).unwrap(),
            max_letters: (rng.u8(..4) == 0).then_some(4_000),
            // Of less, the part for replays would hold bodies below what a batch is charged at least.
            body: *rng.choice(&[2 << 20, 3 << 20, 4 << 20]).unwrap(),
            shards: rng.usize(2..5),
        }
    }
}

fn fault(rng: &mut Rng, is_long: bool) -> Happening {
    let lasting = Fault::ALL.iter().position(|fault| *fault == Fault::Crash).unwrap();
    let fault = Fault::ALL[rng.usize(..lasting)];
    let seconds = if is_long { rng.u64(30..1_000) } else { rng.u64(5..60) };
    let (lasts, one_in) = (Duration::from_secs(seconds), rng.u64(1..4));
    Happening::Fault { fault, lasts, one_in, which: rng.usize(..6) }
}

fn end(rng: &mut Rng, is_long: bool) -> End {
    if is_long {
        return End::Term(Duration::from_secs(1_400), true);
    }
    match rng.u8(..4) {
        0 => End::Term(Duration::from_secs(rng.u64(5..60)), true),
        1 => End::Term(Duration::from_secs(rng.u64(5..60)), false),
        _ => End::Crash(rng.u64(1..400)),
    }
}
