//! What a daemon has counted in its life, under the names that the table shows.

use logweir::telemetry::ledger::Accounts;
use prometheus::proto::MetricFamily;

type Counts = Vec<(String, u64)>;

/// Events by their fates.
pub(crate) fn fates(accounts: &Accounts) -> Counts {
    let mut all = vec![("fate: read".to_owned(), accounts.events_read)];
    all.extend(accounts.delivered.iter().map(|((_, how), n)| (format!("fate: {how}"), *n)));
    let lettered = accounts.dead_lettered.iter();
    all.extend(lettered.map(|((_, why), n)| (format!("letter: {why}"), *n)));
    let undecodable = accounts.records_undecodable.iter();
    all.extend(undecodable.map(|(why, n)| (format!("letter: record, {why}"), *n)));
    all.push(("fate: filtered".to_owned(), accounts.filtered.values().sum()));
    all.push(("fate: abandoned".to_owned(), accounts.abandoned.values().sum()));
    all.extend(accounts.replayed.iter().map(|((_, how), n)| (format!("replayed: {how}"), *n)));
    all
}

/// What was tried again: events at destinations, calls to Kinesis.
pub(crate) fn retries(families: &[MetricFamily]) -> Counts {
    const MEANT: [(&str, &str); 2] =
        [("logweir_retries_total", "retry"), ("logweir_kinesis_retries_total", "kinesis retry")];
    let mut all = Vec::new();
    for family in families {
        let Some((_, kind)) = MEANT.iter().find(|(name, _)| family.name() == *name) else {
            continue;
        };
        for metric in family.get_metric() {
            let reason = metric.get_label().iter().find(|label| label.name() == "reason");
            let count = metric.get_counter().get_value() as u64;
            let reason = reason.map_or("", |label| label.value());
            all.extend((count > 0).then(|| (format!("{kind}: {reason}"), count)));
        }
    }
    all
}
