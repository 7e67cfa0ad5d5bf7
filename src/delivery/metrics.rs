//! What the delivery pools count besides the fates, which are in the ledger.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use crate::destination::{HoldReason, RetryReason};
use crate::event::DestinationName;

/// The metrics of all delivery pools of a daemon.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics {
    /// Size of the requests, in bytes.
    pub request_bytes: HistogramVec,
    /// Time from sending a request to its answer, in seconds.
    pub request_seconds: HistogramVec,
    /// From a record's arrival in Kinesis to its fate, in seconds; once per record and batch.
    pub event_to_delivered_seconds: HistogramVec,
    /// Events sent again, by reason.
    pub retries: IntCounterVec,
    /// Events that wait behind a hold, by scope and reason.
    pub held: IntGaugeVec,
    /// Events sent again after an unclear answer to a destination that cannot tell.
    pub possible_duplicates: IntCounterVec,
    /// Requests that may be under way at once.
    pub concurrency: IntGaugeVec,
}

impl DeliveryMetrics {
    /// Makes the metrics and registers them, at 0 for each destination.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub fn register(
        registry: &Registry,
        destinations: &[DestinationName],
    ) -> prometheus::Result<Self> {
        let metrics = Self::new(registry)?;
        for destination in destinations {
            metrics.start_at_zero(destination.as_str());
        }
        Ok(metrics)
    }

    fn start_at_zero(&self, destination: &str) {
        for histogram in
            [&self.request_bytes, &self.request_seconds, &self.event_to_delivered_seconds]
        {
            _ = histogram.with_label_values(&[destination]);
        }
        for reason in RetryReason::ALL {
            _ = self.retries.with_label_values(&[destination, reason.as_str()]);
        }
        // The holds of routes and indices come and go with their scopes.
        for reason in HoldReason::ALL {
            _ = self.held.with_label_values(&[destination, "destination", reason.as_str()]);
        }
        _ = self.possible_duplicates.with_label_values(&[destination]);
        _ = self.concurrency.with_label_values(&[destination]);
    }

    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let metric = HistogramVec::new(
                HistogramOpts::new(name, help).buckets(buckets),
                &["destination"],
            )?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        Ok(Self {
            request_bytes: histogram(
                "logweir_bulk_request_bytes",
                "Size of bulk requests.",
                exponential_buckets(1024.0, 4.0, 8)?,
            )?,
            request_seconds: histogram(
                "logweir_bulk_request_seconds",
                "Time from sending a bulk request to its answer.",
                exponential_buckets(0.005, 2.0, 14)?,
            )?,
            event_to_delivered_seconds: histogram(
                "logweir_event_to_delivered_seconds",
                "Time from a record's arrival in Kinesis to its events being delivered.",
                exponential_buckets(0.25, 2.0, 16)?,
            )?,
            retries: counter(
                "logweir_retries_total",
                "Events sent again, by reason.",
                &["destination", "reason"],
            )?,
            held: gauge(
                "logweir_held",
                "Events waiting behind a hold, by its scope and reason.",
                &["destination", "scope", "reason"],
            )?,
            possible_duplicates: counter(
                "logweir_possible_duplicates_total",
                "Events sent again after an unclear answer to a destination that cannot tell.",
                &["destination"],
            )?,
            concurrency: gauge(
                "logweir_bulk_concurrency",
                "Bulk requests that may be under way at once.",
                &["destination"],
            )?,
        })
    }
}
