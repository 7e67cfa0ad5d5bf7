//! Counts what daemons tell in their log: holds that begin and end, leases lost, gaps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How messages begin, and what they count as.
const MEANT: [(&str, &str); 11] = [
    ("holding back events", "hold begun: "),
    ("the hold is over", "hold over: "),
    ("lease lost", "told: lease lost"),
    ("possible gap, not kept", "told: possible gap, not kept"),
    ("possible gap", "told: possible gap"),
    ("could not store", "told: dead letters wait"),
    ("checkpoint not written", "told: checkpoint not written"),
    ("the replay has ended", "told: replay ended"),
    ("the replay goes on", "told: replay to be gone on with"),
    ("the replay broke off", "told: replay broken off"),
    ("cut short", "told: cut short"),
];

/// What only a bug can bring about.
const BUGS: [&str; 3] = ["bug in logweir", "failed, starting it again", "broke off"];

/// What was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) bug: Option<String>,
}

/// Listens to the daemons of one history.
#[derive(Clone, Default)]
pub(crate) struct Listener(pub(crate) Arc<Mutex<Told>>);

#[derive(Default)]
struct Words {
    message: String,
    reason: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "reason" => self.reason = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "reason" {
            value.clone_into(&mut self.reason);
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("logweir")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let mut told = self.0.lock().unwrap();
        if *event.metadata().level() == Level::ERROR
            && BUGS.iter().any(|bug| words.message.contains(bug))
        {
            told.bug.get_or_insert_with(|| words.message.clone());
        }
        let meant = MEANT.iter().find(|(start, _)| words.message.starts_with(start));
        if let Some((_, what)) = meant {
            let of = if what.ends_with(' ') { words.reason.as_str() } else { "" };
            *told.counts.entry(format!("{what}{of}")).or_default() += 1;
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
