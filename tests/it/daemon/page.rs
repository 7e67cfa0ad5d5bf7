//! A daemon's /metrics page, and the identity that must hold on it.

use std::collections::BTreeSet;

/// The samples of the page.
#[derive(Debug)]
pub(crate) struct Page(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    /// `destination="search",result="created"`
    labels: String,
    value: u64,
}

impl Page {
    /// Reads Prometheus text; what is no whole number is left out.
    pub(crate) fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let (labels, value) = (labels.strip_suffix('}')?.to_owned(), value.parse().ok()?);
            Some(Sample { name: name.to_owned(), labels, value })
        });
        Self(samples.collect())
    }

    /// The sum of all samples of this name whose labels contain `label`.
    pub(crate) fn sum(&self, name: &str, label: &str) -> u64 {
        self.of(name).filter(|sample| sample.labels.contains(label)).map(|s| s.value).sum()
    }

    /// DESIGN §1, for routes with one destination each.
    pub(crate) fn check_identity(&self) {
        let (read, filtered) = (self.total("events_read"), self.total("events_filtered"));
        let (matched, routed) = (self.total("events_matched"), self.total("events_routed"));
        assert!(read > 0, "the page has the figures: {self:#?}");
        assert_eq!(read, filtered + matched, "read = filtered + matched: {self:#?}");
        assert_eq!(routed, matched, "routed = matched × 1 destination: {self:#?}");
        let destinations: BTreeSet<&str> =
            self.of("logweir_events_routed_total").map(|sample| sample.labels.as_str()).collect();
        for to in destinations {
            let of = |name: &str| self.sum(&format!("logweir_events_{name}"), to);
            let ended = of("delivered_total") + of("dead_lettered_total") + of("abandoned_total");
            assert_eq!(of("routed_total"), ended + of("in_flight"), "{to}: {self:#?}");
        }
    }

    fn total(&self, name: &str) -> u64 {
        self.sum(&format!("logweir_{name}_total"), "")
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}
