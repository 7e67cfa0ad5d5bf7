//! The folder of a demo's files: one that goes away with it, or one that is kept and was not used.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::Exit;
use crate::demo::session::FILES;

/// Why there is no folder for a demo.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// Where temporary files go, none can be made.
    #[error(
        "could not make a folder for the demo in {}: let TMPDIR name one that is there and can be written to, or give one by --keep",
        folder.display()
    )]
    Temporary { folder: PathBuf, source: io::Error },
    /// It is no folder.
    #[error("--keep {} is a file: give a folder, which is made if it is missing", folder.display())]
    File { folder: PathBuf },
    /// It cannot be made.
    #[error("could not make the folder {}: give another by --keep", folder.display())]
    Make { folder: PathBuf, source: io::Error },
    /// A demo, or something else, has left files there.
    #[error(
        "{} holds a {file} already, which the demo would write: give another folder by --keep",
        folder.display()
    )]
    Used { folder: PathBuf, file: &'static str },
    /// A configuration is UTF-8 and could not name it.
    #[error("the name of the folder {} is not in UTF-8: give another by --keep", folder.display())]
    NotText { folder: PathBuf },
}

impl FolderError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Temporary { .. } | Self::Make { .. } => Exit::Unavailable,
            Self::File { .. } | Self::Used { .. } | Self::NotText { .. } => Exit::Usage,
        }
    }
}

/// Where a demo's files are; one that is not to be kept goes away when this is dropped.
pub(super) struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// The folder that is to be kept, or else one for the time of the demo.
    pub(super) fn new(keep: Option<&Path>) -> Result<Self, FolderError> {
        match keep {
            Some(folder) => Ok(Self { path: kept(folder)?, _temporary: None }),
            None => temporary(),
        }
    }

    /// Its path from the root on, which commands and configurations can name from anywhere.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn kept(folder: &Path) -> Result<PathBuf, FolderError> {
    let make = |source| FolderError::Make { folder: folder.to_owned(), source };
    if folder.exists() && !folder.is_dir() {
        return Err(FolderError::File { folder: folder.to_owned() });
    }
    let path = text(std::path::absolute(folder).map_err(make)?)?;
    if let Some(file) = FILES.into_iter().find(|file| path.join(file).exists()) {
        return Err(FolderError::Used { folder: path, file });
    }
    std::fs::create_dir_all(&path).map_err(make)?;
    Ok(path)
}

fn temporary() -> Result<Folder, FolderError> {
    let made = std::path::absolute(std::env::temp_dir()).and_then(tempfile::tempdir_in);
    let folder = || std::env::temp_dir();
    let made = made.map_err(|source| FolderError::Temporary { folder: folder(), source })?;
    Ok(Folder { path: text(made.path().to_owned())?, _temporary: Some(made) })
}

fn text(folder: PathBuf) -> Result<PathBuf, FolderError> {
    if folder.to_str().is_some() { Ok(folder) } else { Err(FolderError::NotText { folder }) }
}
