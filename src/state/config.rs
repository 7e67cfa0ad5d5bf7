//! `[state.sqlite]`: where checkpoints and dead letters are kept.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// The one state file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file; its folder must exist, on a local disk. `-wal`, `-shm` and `.lock` files appear
    /// beside it.
    #[serde(deserialize_with = "file_path")]
    pub path: PathBuf,
    /// Accepts a file system that does not outlive a restart or does not keep locks (tmpfs,
    /// overlayfs, network file systems): checkpoints and dead letters may then be lost.
    #[serde(default)]
    pub ephemeral: bool,
}

/// Reads the path of a file. Nothing, `/` and `..` name none.
///
/// # Errors
/// For those.
pub fn file_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.file_name().is_none() {
        let text = format!(
            "\"{}\" names no file: write the path of one, such as \"/var/lib/logweir/NAME.db\"",
            path.display()
        );
        return Err(de::Error::custom(text));
    }
    Ok(path)
}
