//! Carries batches to their destination until each event has its fate.
//!
//! The *dispatcher* decides, without I/O: what to send next, what an answer means for the batch,
//! what waits for how long. The *pool* carries its steps out.

mod breaker;
mod bury;
mod concurrency;
mod dispatcher;
mod gate;
mod hold;
mod judge;
mod metrics;
mod pool;
mod ready;
mod stuck;

pub use self::dispatcher::Dispatcher;
pub use self::gate::Closed;
pub use self::metrics::DeliveryMetrics;
pub use self::pool::{HeldView, Pool, PoolStatus, Surroundings};
