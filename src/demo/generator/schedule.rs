//! When the rare things happen: a few times in a small run, seldom in a large one.

/// A rare event, or a rare record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// A control message.
    Control,
    /// A record that cannot be decoded.
    Undecodable(Undecodable),
    /// An event whose document the destination refuses.
    Oversized,
    /// An event that is not in its group's format.
    Unparsable,
    /// An event of 2001.
    LongAgo,
    /// An event of years to come.
    FarAhead,
}

/// Why a record cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// The gzip ends in the middle.
    Truncated,
    /// What it inflates to is not JSON.
    BadJson,
    /// The `messageType` is none that is known.
    UnknownType,
}

/// What is due next of each kind.
pub(super) struct Schedule {
    entries: Vec<Entry>,
}

struct Entry {
    special: Special,
    next: u64,
    every: u64,
}

impl Schedule {
    /// Spreads each kind evenly over so many events.
    pub(super) fn new(events: u64) -> Self {
        // How many events there are to one, in a run so large that chance would show them.
        let entry = |(special, rate, least): (Special, u64, u64)| {
            let every = (events / (events / rate).max(least)).max(1);
            Entry { special, next: every / 2, every }
        };
        let kinds = [
            (Special::Oversized, 250_000, 2),
            (Special::Control, 50_000, 2),
            (Special::Undecodable(Undecodable::Truncated), 150_000, 1),
            (Special::Undecodable(Undecodable::BadJson), 150_000, 1),
            (Special::Undecodable(Undecodable::UnknownType), 150_000, 1),
            (Special::Unparsable, 20_000, 2),
            (Special::LongAgo, 100_000, 1),
            (Special::FarAhead, 100_000, 1),
        ];
        Self { entries: kinds.into_iter().map(entry).collect() }
    }

    /// What is due now that so many events are made.
    pub(super) fn due(&mut self, made: u64) -> Option<Special> {
        let entry = self.entries.iter_mut().find(|entry| entry.next <= made)?;
        entry.next += entry.every;
        Some(entry.special)
    }
}
