//! Shows the ledger on /metrics: all its counts as of one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::event::{DestinationId, DestinationName, RouteId, RouteName};
use crate::fate::{AbandonReason, Delivery, FilterReason, RefusalReason, ReplayResult};

use super::ledger::{Accounts, Ledger};

/// The names behind the ids that the ledger counts by.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Routes, in file order.
    pub routes: Arc<[RouteName]>,
    /// Destinations, by their ids.
    pub destinations: Arc<[DestinationName]>,
}

impl Names {
    /// The name of a route.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &str {
        self.routes.get(usize::from(id.0)).map_or("", RouteName::as_str)
    }

    /// The name of a destination.
    #[must_use]
    pub fn destination(&self, id: DestinationId) -> &str {
        self.destinations.get(usize::from(id.0)).map_or("", DestinationName::as_str)
    }
}

/// The labels that stages above this one count by.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Why records cannot be decoded.
    pub undecodable: Vec<&'static str>,
    /// Why events do not parse.
    pub parse_errors: Vec<&'static str>,
    /// What events are detected as.
    pub kinds: Vec<&'static str>,
}

/// A prometheus collector over the ledger.
pub struct LedgerMetrics {
    ledger: Arc<Ledger>,
    names: Names,
    labels: Labels,
    desc: Desc,
}

impl LedgerMetrics {
    /// Shows a ledger, what nothing was counted for yet as 0.
    ///
    /// # Errors
    /// Never: the name is a constant.
    pub fn new(ledger: Arc<Ledger>, names: Names, labels: Labels) -> prometheus::Result<Self> {
        let (name, help) = ("logweir_ledger".to_owned(), "The fates of events.".to_owned());
        let desc = Desc::new(name, help, Vec::new(), HashMap::new())?;
        Ok(Self { ledger, names, labels, desc })
    }
}

impl Collector for LedgerMetrics {
    // The registry tells collectors apart by their descriptions; which families there are is
    // known only when they are collected.
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut accounts = self.ledger.snapshot();
        add_zeros(&mut accounts, &self.names, &self.labels);
        let families = families(&accounts, &self.names);
        // The names and labels are constants, so making the families cannot fail.
        families.unwrap_or_default()
    }
}

/// Prometheus does not see the first step of a counter that appears with it, and a query by a name
/// that is not there yet fails as one by a wrong name does.
fn add_zeros(accounts: &mut Accounts, names: &Names, labels: &Labels) {
    for label in &labels.undecodable {
        accounts.records_undecodable.entry(label).or_default();
    }
    for (id, _) in (0..u16::MAX).map(RouteId).zip(names.routes.iter()) {
        for counts in [&mut accounts.matched, &mut accounts.undated, &mut accounts.fields_as_text] {
            counts.entry(id).or_default();
        }
        zeros(&mut accounts.filtered, id, FilterReason::ALL);
        zeros(&mut accounts.parse_errors, id, &labels.parse_errors);
        zeros(&mut accounts.detected, id, &labels.kinds);
    }
    for (id, _) in (0..u16::MAX).map(DestinationId).zip(names.destinations.iter()) {
        accounts.routed.entry(id).or_default();
        zeros(&mut accounts.delivered, id, Delivery::ALL);
        zeros(&mut accounts.dead_lettered, id, RefusalReason::ALL);
        zeros(&mut accounts.abandoned, id, AbandonReason::ALL);
        accounts.replays_begun.entry(id).or_default();
        zeros(&mut accounts.replayed, id, ReplayResult::ALL);
    }
}

fn zeros<I: Copy + Ord, L: Copy + Ord>(counts: &mut BTreeMap<(I, L), u64>, id: I, labels: &[L]) {
    for label in labels {
        counts.entry((id, *label)).or_default();
    }
}

/// One family: a counter per set of label values.
fn counter(
    name: &str,
    help: &str,
    labels: &[&str],
    values: impl Iterator<Item = (Vec<String>, u64)>,
) -> prometheus::Result<Vec<MetricFamily>> {
    let metric = IntCounterVec::new(Opts::new(format!("logweir_{name}_total"), help), labels)?;
    for (of, count) in values {
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        metric.get_metric_with_label_values(&of)?.inc_by(count);
    }
    Ok(metric.collect())
}

fn one(count: u64) -> std::iter::Once<(Vec<String>, u64)> {
    std::iter::once((Vec::new(), count))
}

fn families(accounts: &Accounts, names: &Names) -> prometheus::Result<Vec<MetricFamily>> {
    let mut all = of_records(accounts)?;
    all.extend(of_routes(accounts, names)?);
    all.extend(of_destinations(accounts, names)?);
    all.extend(of_replays(accounts, names)?);
    Ok(all)
}

fn of_records(accounts: &Accounts) -> prometheus::Result<Vec<MetricFamily>> {
    let undecodable = accounts.records_undecodable.iter();
    let undecodable = undecodable.map(|(reason, count)| (vec![(*reason).to_owned()], *count));
    let read = one(accounts.records_read);
    let control = one(accounts.records_control);
    let mut all = counter("records_read", "Kinesis records taken up for decoding.", &[], read)?;
    let help = "Envelopes by which CloudWatch Logs checks the stream; they hold no events.";
    all.extend(counter("records_control", help, &[], control)?);
    let help = "Records that could not be decoded; each is a dead letter.";
    all.extend(counter("records_undecodable", help, &["reason"], undecodable)?);
    let help = "Log events found in decoded records.";
    all.extend(counter("events_read", help, &[], one(accounts.events_read))?);
    Ok(all)
}

fn of_routes(accounts: &Accounts, names: &Names) -> prometheus::Result<Vec<MetricFamily>> {
    let plain = |counts: &BTreeMap<RouteId, u64>| -> Vec<(Vec<String>, u64)> {
        counts.iter().map(|(id, count)| (vec![names.route(*id).to_owned()], *count)).collect()
    };
    let by = |counts: &BTreeMap<(RouteId, &'static str), u64>| -> Vec<(Vec<String>, u64)> {
        let named = |id: RouteId, by: &str| vec![names.route(id).to_owned(), by.to_owned()];
        counts.iter().map(|((id, by), count)| (named(*id, by), *count)).collect()
    };
    let filtered = accounts.filtered.iter().map(|((id, reason), count)| {
        (vec![names.route(*id).to_owned(), reason.as_str().to_owned()], *count)
    });
    let help = "Events that go to no destination.";
    let mut all = counter("events_filtered", help, &["route", "reason"], filtered)?;
    let help = "Events that a route sends to its destinations.";
    let matched = plain(&accounts.matched).into_iter();
    all.extend(counter("events_matched", help, &["route"], matched)?);
    let help = "Events delivered as plain because they did not parse.";
    let errors = by(&accounts.parse_errors).into_iter();
    all.extend(counter("parse_errors", help, &["route", "reason"], errors)?);
    let help = "What parse = \"auto\" took events for.";
    let detected = by(&accounts.detected).into_iter();
    all.extend(counter("events_detected", help, &["route", "kind"], detected)?);
    let help = "Events whose time cannot name an index.";
    all.extend(counter("events_undated", help, &["route"], plain(&accounts.undated).into_iter())?);
    let help = "Fields kept as JSON text because no mapping takes them as they are.";
    let as_text = plain(&accounts.fields_as_text).into_iter();
    all.extend(counter("fields_as_text", help, &["route"], as_text)?);
    Ok(all)
}

fn of_destinations(accounts: &Accounts, names: &Names) -> prometheus::Result<Vec<MetricFamily>> {
    let named = |id: DestinationId, by: &str| vec![names.destination(id).to_owned(), by.to_owned()];
    let routed = accounts.routed.iter();
    let routed = routed.map(|(id, count)| (vec![names.destination(*id).to_owned()], *count));
    let help = "Events sent on their way to a destination.";
    let mut all = counter("events_routed", help, &["destination"], routed)?;
    let delivered = accounts.delivered.iter();
    let delivered = delivered.map(|((id, by), count)| (named(*id, by.as_str()), *count));
    let help = "Events that a destination has; already_present were there before.";
    all.extend(counter("events_delivered", help, &["destination", "result"], delivered)?);
    let dead = accounts.dead_lettered.iter();
    let dead = dead.map(|((id, reason), count)| (named(*id, reason.as_str()), *count));
    let help = "Events that a destination will never take, durable as dead letters.";
    all.extend(counter("events_dead_lettered", help, &["destination", "reason"], dead)?);
    let abandoned = accounts.abandoned.iter();
    let abandoned = abandoned.map(|((id, reason), count)| (named(*id, reason.as_str()), *count));
    let help = "Events let go of without a fate; they will be read again.";
    all.extend(counter("events_abandoned", help, &["destination", "reason"], abandoned)?);
    let help = "Events routed to a destination that have no fate yet.";
    let in_flight =
        IntGaugeVec::new(Opts::new("logweir_events_in_flight", help), &["destination"])?;
    for id in accounts.routed.keys() {
        let events = i64::try_from(accounts.in_flight(*id)).unwrap_or(i64::MAX);
        in_flight.get_metric_with_label_values(&[names.destination(*id)])?.set(events);
    }
    all.extend(in_flight.collect());
    Ok(all)
}

fn of_replays(accounts: &Accounts, names: &Names) -> prometheus::Result<Vec<MetricFamily>> {
    let replayed = accounts.replayed.iter().map(|((id, result), count)| {
        (vec![names.destination(*id).to_owned(), result.as_str().to_owned()], *count)
    });
    let help = "Dead letters sent again, by how that ended; in no other count.";
    let mut all = counter("events_replayed", help, &["destination", "result"], replayed)?;
    let help = "Dead letters on their way to a destination again.";
    let in_flight =
        IntGaugeVec::new(Opts::new("logweir_replays_in_flight", help), &["destination"])?;
    for id in accounts.replays_begun.keys() {
        let events = i64::try_from(accounts.replays_in_flight(*id)).unwrap_or(i64::MAX);
        in_flight.get_metric_with_label_values(&[names.destination(*id)])?.set(events);
    }
    all.extend(in_flight.collect());
    Ok(all)
}
