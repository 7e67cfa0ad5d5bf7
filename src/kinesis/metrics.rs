//! What reading streams counts.

use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::call_error::FailureReason;
use crate::event::{ShardId, StreamName};

/// The metrics of all streams.
#[derive(Clone, Debug)]
pub struct KinesisMetrics {
    retention: IntGaugeVec,
    lag: GaugeVec,
    checkpoint_age: GaugeVec,
    retries: IntCounterVec,
    possible_gap: GaugeVec,
    checkpoint_failures: IntCounterVec,
    blocked: CounterVec,
    leases_held: IntGaugeVec,
    leases_made: IntCounterVec,
    leases_lost: IntCounterVec,
}

const SHARD: [&str; 2] = ["stream", "shard"];

impl KinesisMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &SHARD)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let help = "Time in which a stage waited for memory: shards for the fetch budget, records for a body.";
        let blocked =
            CounterVec::new(Opts::new("logweir_blocked_seconds_total", help), &["stage"])?;
        registry.register(Box::new(blocked.clone()))?;
        let of_stream = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["stream"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            retention: of_stream(
                "logweir_stream_retention_seconds",
                "How long the stream keeps records, once Kinesis has said.",
            )?,
            leases_held: of_stream("logweir_leases_held", "Shards that this daemon reads now.")?,
            blocked,
            leases_made: counter(
                "logweir_leases_made_total",
                "Shards that were found for the first time.",
                &["stream"],
            )?,
            leases_lost: counter(
                "logweir_leases_lost_total",
                "Shards whose lease another took while they were read.",
                &["stream"],
            )?,
            lag: gauge(
                "logweir_shard_lag_seconds",
                "How far reading is behind the newest record of the shard.",
            )?,
            checkpoint_age: gauge(
                "logweir_shard_checkpoint_age_seconds",
                "How long records of the shard have been read that no checkpoint covers yet.",
            )?,
            retries: counter(
                "logweir_kinesis_retries_total",
                "Calls to Kinesis that failed and were made again.",
                &["stream", "action", "reason"],
            )?,
            possible_gap: gauge(
                "logweir_possible_gap_seconds",
                "How much of the shard may have expired before it was read.",
            )?,
            checkpoint_failures: counter(
                "logweir_checkpoint_failures_total",
                "Checkpoints that could not be written and were tried again.",
                &["stream"],
            )?,
        })
    }

    /// Shows the counters of a stream, at 0.
    pub(super) fn begin(&self, stream: &StreamName) {
        let stream = stream.as_str();
        // The action that is called all the time: the others appear with their first failure.
        for reason in FailureReason::ALL {
            _ = self.retries.with_label_values(&[stream, "GetRecords", reason.as_str()]);
        }
        _ = self.checkpoint_failures.with_label_values(&[stream]);
        _ = self.blocked.with_label_values(&["fetch"]);
        _ = self.leases_held.with_label_values(&[stream]);
        _ = self.leases_made.with_label_values(&[stream]);
        _ = self.leases_lost.with_label_values(&[stream]);
    }

    /// Shows the gap of a shard that is read: at 0, unless there is one already.
    pub(super) fn begin_shard(&self, stream: &StreamName, shard: &ShardId) {
        _ = self.possible_gap.with_label_values(&[stream.as_str(), shard.as_str()]);
    }

    pub(super) fn set_retention(&self, stream: &StreamName, seconds: u64) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.retention.with_label_values(&[stream.as_str()]).set(seconds);
    }

    pub(super) fn set_lag(&self, stream: &StreamName, shard: &ShardId, seconds: f64) {
        self.lag.with_label_values(&[stream.as_str(), shard.as_str()]).set(seconds);
    }

    pub(super) fn set_checkpoint_age(&self, stream: &StreamName, shard: &ShardId, seconds: f64) {
        self.checkpoint_age.with_label_values(&[stream.as_str(), shard.as_str()]).set(seconds);
    }

    pub(super) fn set_gap(&self, stream: &StreamName, shard: &ShardId, seconds: f64) {
        self.possible_gap.with_label_values(&[stream.as_str(), shard.as_str()]).set(seconds);
    }

    pub(super) fn clear_gap(&self, stream: &StreamName, shard: &ShardId) {
        // An error means that there was none.
        self.possible_gap.remove_label_values(&[stream.as_str(), shard.as_str()]).ok();
    }

    /// Forgets a shard that is no longer read: a frozen lag would look like a stalled one.
    pub(super) fn forget(&self, stream: &StreamName, shard: &ShardId) {
        let labels = [stream.as_str(), shard.as_str()];
        self.lag.remove_label_values(&labels).ok();
        self.checkpoint_age.remove_label_values(&labels).ok();
    }

    pub(super) fn count_retry(&self, stream: &StreamName, action: &str, reason: FailureReason) {
        self.retries.with_label_values(&[stream.as_str(), action, reason.as_str()]).inc();
    }

    pub(super) fn set_leases_held(&self, stream: &StreamName, shards: usize) {
        let shards = i64::try_from(shards).unwrap_or(i64::MAX);
        self.leases_held.with_label_values(&[stream.as_str()]).set(shards);
    }

    pub(super) fn count_lease_made(&self, stream: &StreamName) {
        self.leases_made.with_label_values(&[stream.as_str()]).inc();
    }

    pub(super) fn count_lease_lost(&self, stream: &StreamName) {
        self.leases_lost.with_label_values(&[stream.as_str()]).inc();
    }

    pub(super) fn count_blocked(&self, seconds: f64) {
        self.blocked.with_label_values(&["fetch"]).inc_by(seconds);
    }

    pub(super) fn count_checkpoint_failure(&self, stream: &StreamName) {
        self.checkpoint_failures.with_label_values(&[stream.as_str()]).inc();
    }
}
