//! `[dead_letters]`: how much the store may keep, and for how long.

use serde::Deserialize;

use crate::units::{ByteSize, Period};

/// The limits of the dead-letter store; without any it keeps everything until it is dropped or
/// replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// When the letters take more than this, no more are taken: what would become one waits, and
    /// its shard with it, until letters are replayed or dropped.
    pub max_size: Option<ByteSize>,
    /// Letters older than this are deleted, and counted. Without it none ever is.
    pub max_age: Option<Period>,
}
