//! A seed's plan: what is put into the stream, what fails when, and how each daemon ends.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}
pub(crate) use labels;

labels! {
    /// Something that goes wrong for a while, or once.
    Fault {
        Throttle = "fault: kinesis throttles",
        KinesisError = "fault: kinesis answers 500",
        ExpiredIterator = "fault: iterator expired",
        LostAnswer = "fault: kinesis' answer lost",
        SlowKinesis = "fault: kinesis slow",
        EmptyPage = "fault: empty page",
        Item429 = "fault: items answered 429",
        Item503 = "fault: only some items carried out",
        CircuitBreaker = "fault: circuit breaker of the engine",
        Pressure = "fault: indexing pressure that never admits",
        Whole429 = "fault: request answered 429",
        Whole503 = "fault: request answered 503",
        Timeout = "fault: timeout, not carried out",
        TimeoutAfter = "fault: timeout, carried out later",
        Lost = "fault: connection lost before",
        LostAfter = "fault: connection lost after",
        Truncated = "fault: answer cut off",
        OneTooFew = "fault: answer with an item too few",
        OneTooMany = "fault: answer with an item too many",
        Html403 = "fault: 403 by a proxy",
        Forbidden = "fault: 403 by the engine",
        Whole401 = "fault: 401",
        Whole413 = "fault: 413",
        WriteBlock = "fault: index write-blocked",
        Flood = "fault: index over flood stage",
        Closed = "fault: index closed",
        ShardLimit = "fault: no more shards allowed",
        Poison = "fault: document answered 500",
        SlowCluster = "fault: cluster slow",
        DiskFull = "fault: disk full",
        SlowDisk = "fault: slow commits",
        // Those that happen once.
        Refused = "fault: document refused",
        Crash = "fault: crash",
        CrashInReplay = "fault: crash in the middle of a replay",
        Drain = "fault: SIGTERM, drained",
        CutShort = "fault: SIGTERM, cut short",
        WallClock = "fault: wall clock set",
        LeaseLost = "fault: lease deleted",
        LeaseTaken = "fault: lease taken by another",
        Replay = "fault: replay asked for",
        Split = "fault: shard split",
        Merge = "fault: shards merged",
        Expired = "fault: down for longer than the retention",
    }
}

/// A thing that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Put,
    Split,
    Merge,
    Fault(Episode),
    SetWallClock(i64),
    LoseLease,
    TakeLease,
    Mend,
    Replay,
}

impl Happening {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Put => "a record is put",
            Self::Split => "a shard is split",
            Self::Merge => "shards are merged",
            Self::Fault(episode) => episode.fault.as_str(),
            Self::SetWallClock(_) => "the wall clock is set",
            Self::LoseLease => "a lease is to be deleted",
            Self::TakeLease => "a lease is to be taken",
            Self::Mend => "the mapping is mended",
            Self::Replay => "a replay is to be asked for",
        }
    }
}

/// A fault that hits one call in `one_in` for so long; `which` chooses a cluster or an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    pub(crate) fault: Fault,
    pub(crate) lasts: Duration,
    pub(crate) one_in: u64,
    pub(crate) which: usize,
}

/// How a daemon ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// By kill -9 at this step of its life.
    Crash(u64),
    /// By kill -9 so many steps after a replay has begun.
    CrashInReplay(u64),
    /// By SIGTERM after this time, with time enough to drain, or not.
    Term(Duration, bool),
}

/// What a history is about, besides what may happen in any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Usual,
    /// A few documents are answered 500 for a quarter of an hour, until they are given up.
    Poison,
    /// An index takes no writes for a quarter of an hour, until it is given up.
    ReadOnly,
    /// More documents are refused than the breaker lets pass.
    WrongTemplate,
    /// Records that strain the budget for what is fetched.
    Heavy,
    /// Many records for a cluster that nobody reaches for a minute or more: its bodies fill their budget.
    Unreachable,
}

/// The plan of one history.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) theme: Theme,
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
    /// Whether the first daemon is not followed by a second one before all it left has expired.
    pub(crate) expires: bool,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let theme = match rng.u8(..32) {
            0..=1 => Theme::Poison,
            2..=3 => Theme::ReadOnly,
            4..=11 => Theme::WrongTemplate,
            12..=13 => Theme::Heavy,
            14..=18 => Theme::Unreachable,
            _ => Theme::Usual,
        };
        let is_long = matches!(theme, Theme::Poison | Theme::ReadOnly);
        let seconds = match theme {
            Theme::Poison | Theme::ReadOnly => 1_000,
            Theme::Unreachable => rng.u64(100..120),
            Theme::Usual | Theme::WrongTemplate | Theme::Heavy => rng.u64(40..120),
        };
        let mut happenings = happenings(rng, theme, seconds);
        happenings.sort_by_key(|(at, _)| *at);
        let lives = match theme {
            Theme::Poison | Theme::ReadOnly => 1,
            // The breaker forgets what it saw with its daemon.
            Theme::WrongTemplate => rng.u32(1..3),
            // A new daemon begins with empty budgets.
            Theme::Unreachable => rng.u32(..2),
            Theme::Usual | Theme::Heavy => rng.u32(1..5),
        };
        Self {
            theme,
            happenings: happenings.into(),
            ends: (0..lives).map(|_| end(rng, is_long)).collect(),
            quiet: Duration::from_secs(seconds),
            refused_percent: match theme {
                Theme::WrongTemplate => 80,
                Theme::Usual
                | Theme::Poison
                | Theme::ReadOnly
                | Theme::Heavy
                | Theme::Unreachable => *rng.choice(&[0, 5, 5, 40]).unwrap(),
            },
            max_letters: (!is_long && rng.u8(..4) == 0).then_some(4_000),
            // Of less, the part for replays would hold bodies below what a batch is charged at least.
            body: if theme == Theme::Unreachable {
                2 << 20
            } else {
                *rng.choice(&[2 << 20, 3 << 20, 4 << 20]).unwrap()
            },
            shards: rng.usize(2..5),
            expires: !is_long && rng.u8(..6) == 0,
        }
    }
}

fn happenings(rng: &mut Rng, theme: Theme, seconds: u64) -> Vec<(Duration, Happening)> {
    let mut all = Vec::new();
    let at = |rng: &mut Rng| Duration::from_millis(rng.u64(..seconds * 1000));
    let puts = if theme == Theme::Unreachable { 200..300 } else { 30..80 };
    for _ in 0..rng.u32(puts) {
        // What is to be given up must come early.
        let early = if theme == Theme::Poison { rng.u32(1..4) } else { 1 };
        all.push((at(rng) / early, Happening::Put));
    }
    let lasts = Duration::from_secs(seconds - 30);
    let first = Duration::from_secs(10);
    if let Some(fault) = match theme {
        Theme::Poison => Some(Fault::Poison),
        Theme::ReadOnly => Some(*rng.choice(&[Fault::WriteBlock, Fault::Closed]).unwrap()),
        Theme::Unreachable => Some(Fault::Lost),
        Theme::Usual | Theme::WrongTemplate | Theme::Heavy => None,
    } {
        let which = rng.usize(..6);
        all.push((first, Happening::Fault(Episode { fault, lasts, one_in: 1, which })));
    }
    for _ in 0..rng.u32(6..12) {
        all.push((at(rng), Happening::Fault(episode(rng))));
    }
    for once in [Happening::Split, Happening::Merge, Happening::LoseLease, Happening::Replay] {
        if rng.u8(..3) == 0 {
            all.push((at(rng), once));
        }
    }
    if rng.u8(..3) == 0 {
        all.push((at(rng), Happening::TakeLease));
    }
    if rng.bool() {
        let jump = if rng.bool() { 3_600_000 } else { -3_600_000 };
        all.push((at(rng), Happening::SetWallClock(jump)));
    }
    if rng.bool() {
        let mended = at(rng);
        all.push((mended, Happening::Mend));
        all.push((mended + Duration::from_secs(5), Happening::Replay));
    }
    all
}

/// Any of the faults that last.
pub(crate) fn episode(rng: &mut Rng) -> Episode {
    let lasting = Fault::ALL.iter().position(|fault| *fault == Fault::Refused).unwrap();
    let fault = Fault::ALL[rng.usize(..lasting)];
    let lasts = Duration::from_secs(rng.u64(5..50));
    Episode { fault, lasts, one_in: rng.u64(1..4), which: rng.usize(..6) }
}

fn end(rng: &mut Rng, is_long: bool) -> End {
    if is_long {
        return End::Term(Duration::from_secs(900), true);
    }
    match rng.u8(..8) {
        0 | 1 => End::Term(Duration::from_secs(rng.u64(5..50)), true),
        2 | 3 => End::Term(Duration::from_secs(rng.u64(5..50)), false),
        4 => End::CrashInReplay(rng.u64(1..60)),
        _ => End::Crash(rng.u64(1..400)),
    }
}
