//! `[dead_letters]`: how much the store may keep, and for how long.

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::units::{ByteSize, Period};

/// The limits of the dead-letter store; without any it keeps everything until it is dropped or
/// replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// When the letters take more than this, no more are taken: what would become one waits, and
    /// its shard with it, until letters are replayed or dropped. 1 KiB or more.
    #[serde(deserialize_with = "max_size")]
    pub max_size: Option<ByteSize>,
    /// Letters older than this are deleted, and counted. Without it none ever is.
    #[serde(deserialize_with = "max_age")]
    pub max_age: Option<Period>,
}

/// One letter of a short event: a store that takes less was not meant.
const LEAST: ByteSize = ByteSize(1 << 10);

// Checked where they are read, so that an error has the line of the value.
fn max_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if size < LEAST {
        let text =
            format!("{size} are too little for a letter: give it {LEAST} or more, or leave it out");
        return Err(de::Error::custom(text));
    }
    Ok(Some(size))
}

fn max_age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
    let age = Period::deserialize(deserializer)?;
    if age.0.is_zero() {
        let text = "no letter would be kept: give it a time, or leave it out";
        return Err(de::Error::custom(text));
    }
    Ok(Some(age))
}
