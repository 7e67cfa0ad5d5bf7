//! One daemon per state file: a lock that ends with the process, and says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::event::Timestamp;

/// The lock on a state file; dropping it, or the end of the process, gives it up.
///
/// The file itself stays: removing it would let two daemons lock two files of one name.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why the lock could not be taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another process has it; this is what it wrote about itself.
    Held(String),
    /// The lock file could not be used.
    Io(io::Error),
}

/// Who only looks for the holder has the lock for microseconds: it is tried again for as long.
const TRIES: u32 = 10;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, Refused> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(Refused::Io)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => pause(),
                Err(TryLockError::WouldBlock) => return Err(Refused::Held(signature(&mut file))),
                Err(TryLockError::Error(error)) => return Err(Refused::Io(error)),
            }
            tries += 1;
        }
        sign(&mut file).map_err(Refused::Io)?;
        Ok(Self { _file: file })
    }

    /// What the holder wrote about itself; none when nobody has the lock.
    pub(super) fn holder(path: &Path) -> io::Result<Option<String>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Shared, so that two who look do not see each other; given back at once.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(signature(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "opening a state file blocks in any case")]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn sign(file: &mut File) -> io::Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "this host" } else { host.trim() };
    let command: Vec<_> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let (pid, since) = (std::process::id(), Timestamp::now());
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid {pid} on {host} since {since}: {}", command.join(" "))?;
    // For whoever finds the file after a crash and takes it for what keeps the next one from starting.
    writeln!(file, "\nThe lock ends with that process. Never remove this file.")
}

fn signature(file: &mut File) -> String {
    let mut text = String::new();
    // A holder that is just starting may not have signed yet.
    match file.take(1024).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => {
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
        Ok(_) | Err(_) => "a process that did not say who it is".to_owned(),
    }
}
