//! What the daemon tells about itself: the ledger of fates, the metric registry, and the log.

pub mod chain;
pub mod ledger;
pub mod ledger_metrics;
pub mod log;
pub mod rate_limit;
pub mod visible;
