//! Finds the facts: real data of others, which is not part of this repository.
//!
//! Where it is not found a test says so and passes; `tests/run` counts it as skipped.

use std::path::PathBuf;
use std::{env, fs};

/// A file of the facts, or `None`, said loudly, where there are none.
pub(crate) fn fact(path: &str) -> Option<String> {
    let root = env::var_os("LOGWEIR_FACTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/facts"),
        PathBuf::from,
    );
    match fs::read_to_string(root.join(path)) {
        Ok(text) => Some(text),
        Err(error) => {
            println!("LEFT OUT: no facts to test against ({path}: {error}); set LOGWEIR_FACTS");
            None
        }
    }
}
