//! Refuses a file that cannot be a state file before anything is made beside it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::StateError;

/// How every SQLite database begins (<https://www.sqlite.org/fileformat.html>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses what is neither a database nor empty: the lock would lie beside a file of somebody else.
/// What cannot be looked at is left to who opens it, and says why not.
pub(super) fn recognise(path: &Path) -> Result<(), StateError> {
    let Ok(found) = path.metadata() else { return Ok(()) };
    // To open a pipe would wait for who writes to it.
    if !found.is_file() {
        return Err(StateError::Strange { path: path.to_owned() });
    }
    if found.len() == 0 {
        return Ok(());
    }
    let Ok(file) = File::open(path) else { return Ok(()) };
    let mut begin = Vec::with_capacity(MAGIC.len());
    match file.take(MAGIC.len() as u64).read_to_end(&mut begin) {
        Ok(_) if begin != MAGIC => Err(StateError::Strange { path: path.to_owned() }),
        Ok(_) | Err(_) => Ok(()),
    }
}
