//! Refuses a file that cannot be a state file, or that has a second name, before anything is made
//! beside it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
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

/// Refuses a file with several names (hard links): each name would have a lock of its own, and a log.
pub(super) fn alone(path: &Path) -> Result<(), StateError> {
    match path.metadata() {
        Ok(found) if found.nlink() > 1 => {
            Err(StateError::Linked { path: path.to_owned(), names: found.nlink() })
        }
        // What cannot be looked at cannot be opened either.
        Ok(_) | Err(_) => Ok(()),
    }
}
