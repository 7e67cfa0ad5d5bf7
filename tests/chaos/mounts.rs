//! Mounts for single scenarios. `tests/chaos/run` gives the program a mount namespace of its own,
//! where it can: whatever is left mounted ends with it, and nobody else sees it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the program may mount what it likes.
pub(crate) fn are_ours() -> bool {
    std::env::var_os("CHAOS_OWN_MOUNTS").is_some()
}

/// Something mounted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A file or folder, seen in another place too.
    pub(crate) fn bind(from: &Path, at: impl AsRef<Path>) -> Self {
        Self::of(&["--bind", from.to_str().unwrap()], at.as_ref())
    }

    /// A disk in memory of so many bytes.
    pub(crate) fn small_disk(at: &Path, bytes: usize) -> Self {
        Self::of(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"], at)
    }

    /// Nothing can be written there from now on, or it can again.
    pub(crate) fn read_only(&self, is_read_only: bool) {
        let how = if is_read_only { "remount,bind,ro" } else { "remount,bind,rw" };
        mount(&["-o", how, self.0.to_str().unwrap()]);
    }

    fn of(arguments: &[&str], at: &Path) -> Self {
        mount(&[arguments, &[at.to_str().unwrap()]].concat());
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What is busy ends with the namespace.
        _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str]) {
    let mounted = Command::new("mount").args(arguments).status().expect("could not run mount");
    assert!(mounted.success(), "mount {arguments:?} failed");
}
