//! Whether all is ready, and why not: for `/health/ready`, the status page and `logweir_ready`.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};

use crate::dead_letter::sqlite::LetterStore;
use crate::delivery::{HeldView, PoolStatus};
use crate::destination::HoldReason;
use crate::event::DestinationName;
use crate::kinesis::{SourceHandle, SourceStatus};

use super::View;

/// Routes or indices that are held for the same reason and named; the others are counted.
const SCOPES_SHOWN: usize = 5;

/// How what is not ready begins.
const STREAM: &str = "stream ";
const LETTERS: &str = "dead letters: ";
const DESTINATION: &str = "destination ";

/// Whether a text tells what is not ready, as `troubles` does.
pub(super) fn is_trouble(text: &str) -> bool {
    [STREAM, LETTERS, DESTINATION].iter().any(|start| text.starts_with(start))
}

/// What is asked whether it is ready.
#[derive(Clone)]
pub(super) struct Readiness {
    sources: Vec<SourceHandle>,
    letters: LetterStore,
    pools: Vec<(DestinationName, Arc<PoolStatus>)>,
}

impl Readiness {
    pub(super) fn of(view: &View) -> Self {
        let View { sources, letters, pools, .. } = view;
        Self { sources: sources.clone(), letters: letters.clone(), pools: pools.clone() }
    }

    /// What is not ready, and why; empty when all is.
    pub(super) fn troubles(&self) -> Vec<String> {
        let sources = self.sources.iter().flat_map(|source| of_source(&source.status()));
        let letters = self.letters.trouble().map(|error| {
            let remedy = HoldReason::DeadLetters.remedy();
            format!("{LETTERS}what would become one waits, and its shard: {error}; {remedy}")
        });
        let pools = self.pools.iter().flat_map(|(name, status)| {
            held(status).into_iter().map(move |held| format!("{DESTINATION}{name}: holds {held}"))
        });
        sources.chain(letters).chain(pools).collect()
    }
}

fn of_source(source: &SourceStatus) -> Vec<String> {
    let reasons = source.not_ready.iter();
    reasons.map(|reason| format!("{STREAM}{}: {reason}", source.stream)).collect()
}

/// What a destination holds back, and why: one line for all that have the same reason.
pub(super) fn held(status: &PoolStatus) -> Vec<String> {
    let mut lines: Vec<(HeldView, Vec<String>)> = Vec::new();
    for held in status.held() {
        let same = lines
            .iter_mut()
            .find(|(first, _)| (first.reason, &first.error) == (held.reason, &held.error));
        match same {
            Some((first, scopes)) => {
                first.events += held.events;
                scopes.push(held.scope);
            }
            None => {
                let scope = held.scope.clone();
                lines.push((held, vec![scope]));
            }
        }
    }
    let line = |(held, scopes): (HeldView, Vec<String>)| {
        let HeldView { reason, events, error, remedy, .. } = held;
        let wait = if events == 1 { "event waits" } else { "events wait" };
        format!("{}: {reason}, {events} {wait}: {error}; {remedy}", listed(&scopes))
    };
    lines.into_iter().map(line).collect()
}

fn listed(scopes: &[String]) -> String {
    let shown = scopes.iter().take(SCOPES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match scopes.len().saturating_sub(SCOPES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The answer of `/health/ready` as a number.
pub(super) struct ReadyMetric {
    of: Readiness,
    gauge: IntGauge,
}

impl ReadyMetric {
    pub(super) fn new(of: Readiness) -> prometheus::Result<Self> {
        let help = "1 when /health/ready answers 200, 0 when something is held back or stuck.";
        Ok(Self { of, gauge: IntGauge::with_opts(Opts::new("logweir_ready", help))? })
    }
}

impl Collector for ReadyMetric {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(i64::from(self.of.troubles().is_empty()));
        self.gauge.collect()
    }
}
