//! What the daemon tells about itself: the ledger of fates, the metric registry, and the log.

pub mod ledger;
