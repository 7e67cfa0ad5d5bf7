//! Why the state file cannot be opened or used, and the way out of it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the state cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A daemon has it.
    #[error(
        "the state file {path} is in use by {holder}; stop that logweir, or give this one a state file of its own"
    )]
    Locked {
        /// The state file.
        path: PathBuf,
        /// Pid, host, start and command of the holder.
        holder: String,
    },
    /// It would not be kept.
    #[error(
        "the state file {path} would lie on {filesystem}, which loses it with a restart or does not keep its locks; use a path on a local disk or volume, or set `state.sqlite.ephemeral = true` if losing checkpoints and dead letters is acceptable"
    )]
    Untrusted {
        /// The state file.
        path: PathBuf,
        /// The file system's name.
        filesystem: &'static str,
    },
    /// The folder or file cannot be used.
    #[error("could not use the state file {path}: {remedy}")]
    Unusable {
        /// The state file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It was taken away from under the daemon.
    #[error(
        "{path} was removed or replaced while this logweir (pid {pid}) has it open, so nothing more is written: move it back, or save what `/proc/{pid}/fd` still has of it, and restart"
    )]
    Gone {
        /// The state file, or the lock beside it.
        path: PathBuf,
        /// This process.
        pid: u32,
    },
    /// It was never made, or is another one.
    #[error(
        "there is no state file {path}: `logweir run` makes it when it first starts; if it has run, let `state.sqlite.path` name the file that it uses"
    )]
    Missing {
        /// The state file.
        path: PathBuf,
    },
    /// It has other names, under which another daemon would find another lock.
    #[error(
        "the state file {path} has {names} names (hard links), and the lock on one does not hold under another; remove the others (`find DIR -samefile {path}` shows them; a backup must be a copy), or set `state.sqlite.path` to a file of its own"
    )]
    Linked {
        /// The state file.
        path: PathBuf,
        /// How many there are.
        names: u64,
    },
    /// It is no file.
    #[error("{path} is a folder; let `state.sqlite.path` name a file in it")]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// It is no database.
    #[error(
        "{path} is not a state file (it is no SQLite database), so it is left alone; set `state.sqlite.path` to a file of logweir's own, or restore a copy if this was one"
    )]
    Strange {
        /// What is there.
        path: PathBuf,
    },
    /// It belongs to something else.
    #[error(
        "{path} is a database of another program (application id {application_id:#x}), so it is left alone; set `state.sqlite.path` to a file of logweir's own"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The id in its header.
        application_id: i64,
    },
    /// It was written by a later version.
    #[error(
        "the state file {path} has version {found} and this logweir knows versions up to {known}, so it is left alone; run the logweir that wrote it, or a later one"
    )]
    Newer {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// This build's version.
        known: i64,
    },
    /// It was written by an earlier version, and only a daemon may bring it up to date.
    #[error(
        "the state file {path} has version {found} and this logweir needs version {known}; start `logweir run` once, which brings it up to date"
    )]
    Older {
        /// The state file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// This build's version.
        known: i64,
    },
    /// It cannot be believed.
    #[error(
        "the state file {path} is damaged ({detail}), so it is left alone; restore a copy, save what `sqlite3 {path} .recover` finds, or move it away to start without checkpoints and dead letters"
    )]
    Damaged {
        /// The state file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// The disk is full.
    #[error("no space left for the state file {path}; make room on its disk")]
    DiskFull {
        /// The state file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It may be looked at only by who may write to its folder.
    #[error(
        "the state file {path} or its folder cannot be written to: do this as the user that logweir runs as; even to look, both must be writable (copy the file elsewhere if its disk is read-only)"
    )]
    NoAccess {
        /// The state file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Anything else that SQLite said.
    #[error("could not read or write the state file {path}")]
    Sqlite {
        /// The state file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The runtime is going down, or the work panicked.
    #[error("the work on the state file {path} was broken off")]
    BrokenOff {
        /// The state file.
        path: PathBuf,
        /// What tokio said.
        source: tokio::task::JoinError,
    },
}

impl StateError {
    /// Whether it is what is there that no daemon takes, whoever runs it.
    #[must_use]
    pub const fn is_about_content(&self) -> bool {
        match self {
            Self::Folder { .. }
            | Self::Linked { .. }
            | Self::Strange { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. } => true,
            Self::Locked { .. }
            | Self::Untrusted { .. }
            | Self::Unusable { .. }
            | Self::Gone { .. }
            | Self::Missing { .. }
            | Self::Older { .. }
            | Self::DiskFull { .. }
            | Self::NoAccess { .. }
            | Self::Sqlite { .. }
            | Self::BrokenOff { .. } => false,
        }
    }

    /// What SQLite's error means for the file.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, detail: source.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::NoAccess { path, source }
            }
            // The list belongs to SQLite.
            _ => Self::Sqlite { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_write_to_the_folder_is_told_what_to_do() {
        // Cannot open; a read-only database; one whose folder is read-only.
        for code in [14, 8, 1544] {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let said = StateError::of(Path::new("/var/lib/logweir/state.db"), source).to_string();
            assert!(said.contains("as the user that logweir runs as"), "{code}: {said}");
        }
    }
}
