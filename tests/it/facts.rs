//! Finds the facts: real data of others, which is not part of this repository.
//!
//! Where it is not found a test takes samples of our own, if these do as well; else it says so and
//! passes, and `tests/run` counts it as skipped.

use std::path::PathBuf;
use std::{env, fs, io};

/// A file of the facts, or `None`, said loudly, where there are none.
pub(crate) fn fact(path: &str) -> Option<String> {
    let left_out = |error| {
        println!("LEFT OUT: no facts to test against ({path}: {error}); set LOGWEIR_FACTS");
    };
    read(path).map_err(left_out).ok()
}

/// A file of the facts.
pub(crate) fn read(path: &str) -> io::Result<String> {
    let root = env::var_os("LOGWEIR_FACTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/facts"),
        PathBuf::from,
    );
    fs::read_to_string(root.join(path))
}
