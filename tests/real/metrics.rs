//! Reads a `/metrics` page, and checks on it the identity that must always hold (DESIGN §1).

use std::collections::{BTreeMap, BTreeSet};

/// A page of Prometheus text.
#[derive(Debug)]
pub(crate) struct Metrics {
    page: String,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    pub(crate) fn read(page: String) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(Series::read).collect();
        Self { page, series }
    }

    /// As it came.
    pub(crate) fn page(&self) -> &str {
        &self.page
    }

    /// The sum of all series of a name that carry these labels, 0 when there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |series: &&Series| {
            labels
                .iter()
                .all(|(label, value)| series.labels.get(*label).is_some_and(|v| v == value))
        };
        let sum: f64 = self.named(name).filter(has).map(|series| series.value).sum();
        assert!(
            sum >= 0.0 && sum.fract() == 0.0,
            "{name}{labels:?} is {sum}, which counts nothing"
        );
        sum as u64
    }

    /// How many series a name has.
    pub(crate) fn series(&self, name: &str) -> usize {
        self.named(name).count()
    }

    /// The values of a label, with the sum of each that is not 0.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let values = self.named(name).map(|series| series.labels[label].as_str());
        let values: BTreeSet<_> = values.collect();
        let sums = values.into_iter().map(|of| (of.to_owned(), self.sum(name, &[(label, of)])));
        sums.filter(|(_, sum)| *sum > 0).collect()
    }

    /// The names of all metrics on the page.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let types = self.page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|rest| rest.split_once(' ').unwrap().0).collect()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.name == name)
    }
}

impl Series {
    /// Reads `name{label="value",…} value`.
    fn read(line: &str) -> Self {
        let (key, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
        let labels = labels.strip_suffix('}').unwrap().split_terminator("\",");
        let pair = |pair: &str| {
            let (label, value) = pair.split_once("=\"").unwrap();
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        };
        let (name, value) = (name.to_owned(), value.parse().unwrap());
        Self { name, labels: labels.map(pair).collect(), value }
    }
}

/// Every event that was read has one fate and only one at each destination, for a daemon that has
/// come to rest and whose routes all have the same destinations.
pub(crate) fn identity(metrics: &Metrics) {
    conservation(metrics);
    assert_eq!(metrics.sum("logweir_events_in_flight", &[]), 0, "{}", metrics.page);
}

/// The same at any moment: at each destination an event has at most one fate, and else is in flight.
pub(crate) fn conservation(metrics: &Metrics) {
    let sum = |name: &str| metrics.sum(name, &[]);
    let (read, matched) = (sum("logweir_events_read_total"), sum("logweir_events_matched_total"));
    assert_eq!(read, sum("logweir_events_filtered_total") + matched, "{}", metrics.page);
    let routed = metrics.by("logweir_events_routed_total", "destination");
    assert_eq!(routed.is_empty(), matched == 0, "{}", metrics.page);
    for destination in routed.keys() {
        let of = |name: &str| metrics.sum(name, &[("destination", destination)]);
        let ended = of("logweir_events_delivered_total")
            + of("logweir_events_dead_lettered_total")
            + of("logweir_events_abandoned_total");
        let page = &metrics.page;
        assert_eq!(of("logweir_events_routed_total"), matched, "{destination}:\n{page}");
        assert_eq!(matched, ended + of("logweir_events_in_flight"), "{destination}:\n{page}");
    }
}
