//! The table `[destination.NAME.sqlite]`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::state::file_path;
use crate::units::ByteSize;

/// A SQLite file that events are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteDestinationConfig {
    /// The file; made if it is missing. Its folder must exist.
    #[serde(deserialize_with = "file_path")]
    pub path: PathBuf,
    /// A larger document is a dead letter.
    #[serde(default = "max_document", deserialize_with = "at_least_a_line")]
    pub max_document: ByteSize,
}

/// A log event has at most 1 MiB. As JSON text inside a document each quote and backslash of it
/// takes two bytes, which makes 2 MiB, and `@extracted` may hold all of it once more: 4 MiB.
fn max_document() -> ByteSize {
    ByteSize(4 << 20)
}

/// A smaller limit would make dead letters of ordinary events.
const LEAST: ByteSize = ByteSize(64 << 10);

fn at_least_a_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if size < LEAST {
        let text = format!("{size} are too little for a document: write {LEAST} or more");
        return Err(de::Error::custom(text));
    }
    Ok(size)
}
