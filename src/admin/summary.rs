//! What the daemon is doing, as `/health` shows it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{DestinationId, RouteId};
use crate::kinesis::SourceStatus;

use super::View;
use super::ready::{Readiness, held};

/// The state of the daemon at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `running` or `draining`.
    pub state: &'static str,
    /// logweir's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// What is not ready, and why; empty when all is.
    pub not_ready: Vec<String>,
    /// Records read.
    pub records_read: u64,
    /// Records that could not be decoded.
    pub records_undecodable: u64,
    /// Log events read.
    pub events_read: u64,
    /// Events that went to no destination, by route.
    pub filtered: BTreeMap<String, u64>,
    /// Events sent on, by route.
    pub matched: BTreeMap<String, u64>,
    /// The fates, by destination.
    pub destinations: BTreeMap<String, DestinationSummary>,
    /// The shards, by stream.
    pub streams: BTreeMap<String, Vec<ShardSummary>>,
}

/// One destination.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DestinationSummary {
    /// Events sent on their way to it.
    pub routed: u64,
    /// Events that it has.
    pub delivered: u64,
    /// Events that it will never take.
    pub dead_lettered: u64,
    /// Events on their way.
    pub in_flight: u64,
    /// What it holds back, and why.
    pub held: Vec<String>,
}

/// One shard.
#[derive(Clone, Debug, Serialize)]
pub struct ShardSummary {
    /// Its id.
    pub shard: String,
    /// What its consumer is doing.
    pub state: &'static str,
    /// Seconds behind the newest record, once known.
    pub lag_seconds: Option<f64>,
    /// Records read that have no fate yet.
    pub open_records: usize,
    /// What its last call failed with, and what to do.
    pub last_error: Option<String>,
}

impl Summary {
    /// Looks at everything once.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let accounts = view.ledger.snapshot();
        let sources: Vec<_> = view.sources.iter().map(|source| source.status()).collect();
        let not_ready = Readiness::of(view).troubles();
        let mut destinations = BTreeMap::new();
        for (id, (name, status)) in (0..u16::MAX).map(DestinationId).zip(&view.pools) {
            let sum = |count: u64| count;
            let summary = DestinationSummary {
                routed: accounts.routed.get(&id).copied().map_or(0, sum),
                delivered: accounts.delivered_to(id),
                dead_lettered: accounts.dead_lettered_at(id),
                in_flight: accounts.in_flight(id),
                held: held(status),
            };
            destinations.insert(name.to_string(), summary);
        }
        let by_route = |counts: &mut dyn Iterator<Item = (RouteId, u64)>| {
            counts.map(|(id, count)| (view.names.route(id).to_owned(), count)).collect()
        };
        Self {
            state: if view.shutdown.is_draining() { "draining" } else { "running" },
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: view.clock.now().0.as_secs(),
            not_ready,
            records_read: accounts.records_read,
            records_undecodable: accounts.records_undecodable.values().sum(),
            events_read: accounts.events_read,
            filtered: by_route(&mut accounts.filtered.iter().map(|((id, _), n)| (*id, *n))),
            matched: by_route(&mut accounts.matched.iter().map(|(id, n)| (*id, *n))),
            destinations,
            streams: sources.iter().map(shards).collect(),
        }
    }
}

fn shards(source: &SourceStatus) -> (String, Vec<ShardSummary>) {
    let shards = source.shards.iter().map(|shard| ShardSummary {
        shard: shard.shard.to_string(),
        state: shard.state.as_str(),
        lag_seconds: shard.lag.map(|lag| lag.as_secs_f64()),
        open_records: shard.open_records,
        last_error: shard.last_error.clone(),
    });
    (source.stream.to_string(), shards.collect())
}
