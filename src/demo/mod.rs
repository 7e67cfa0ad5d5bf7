//! What `logweir demo` and the tests need in place of AWS: a Kinesis endpoint in this process, a
//! generator that writes what CloudWatch Logs would, and a ledger of what must become of it.

pub mod endpoint;
pub mod generator;
pub mod ledger;
pub mod log_group;
mod report;
pub mod session;
mod shell;
