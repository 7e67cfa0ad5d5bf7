//! Carries batches to their destination until each event has its fate.
//!
//! The *dispatcher* decides, without I/O: what to send next, what an answer means for the batch,
//! what waits for how long. The *pool* carries its steps out.

pub mod breaker;
pub mod concurrency;
pub mod dispatcher;
pub mod hold;
mod judge;

pub use judge::Refused;
