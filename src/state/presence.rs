//! Whether the files under their names are still those that are open: a state file that is removed or
//! replaced under a daemon takes every write and keeps none, and a second daemon may have its lock.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files as they were when they were opened.
#[derive(Debug)]
pub(super) struct Presence(Vec<(PathBuf, Mark)>);

/// A file, whatever it is called: its device and inode.
type Mark = (u64, u64);

impl Presence {
    /// Takes note of the files; they must be there.
    pub(super) fn of<const N: usize>(files: [PathBuf; N]) -> io::Result<Self> {
        let marked = files.map(|file| mark(&file).map(|mark| (file, mark)));
        marked.into_iter().collect::<io::Result<_>>().map(Self)
    }

    /// The first that is gone or another one by now.
    pub(super) fn missing(&self) -> Option<&Path> {
        let is_other = |(file, then): &&(PathBuf, Mark)| mark(file).ok().as_ref() != Some(then);
        self.0.iter().find(is_other).map(|(file, _)| file.as_path())
    }
}

fn mark(file: &Path) -> io::Result<Mark> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}
