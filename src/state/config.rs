//! `[state.sqlite]`: where checkpoints and dead letters are kept.

use std::path::PathBuf;

use serde::Deserialize;

/// The one state file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file; its folder must exist, on a local disk. `-wal`, `-shm` and `.lock` files appear
    /// beside it.
    pub path: PathBuf,
    /// Accepts a file system that does not outlive a restart or does not keep locks (tmpfs,
    /// overlayfs, network file systems): checkpoints and dead letters may then be lost.
    #[serde(default)]
    pub ephemeral: bool,
}
