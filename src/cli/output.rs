//! What commands print: the one place that knows what to do when nobody reads it, or it has no room.
//!
//! A closed pipe is no failure: `head` has enough. What else goes wrong is told at the end, for the
//! command's own work must not stop half way because of it. Nor because stderr is closed or full:
//! then nothing can be told at all, and the exit code alone says how it went.

use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, Write as _};
use std::sync::OnceLock;

use super::Exit;

/// The first failure.
static FAILURE: OnceLock<std::io::Error> = OnceLock::new();

/// Prints to stdout as `print!` does, without its panic.
macro_rules! say_part {
    ($($part:tt)*) => { $crate::cli::output::write(format_args!($($part)*)) };
}

/// Prints a line to stdout as `println!` does, without its panic.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::cli::output::write(format_args!("{}\n", format_args!($($part)*)))
    };
}

/// Prints to stderr as `eprint!` does, without its panic.
macro_rules! tell_part {
    ($($part:tt)*) => { $crate::cli::output::write_aside(format_args!($($part)*)) };
}

/// Prints a line to stderr as `eprintln!` does, without its panic.
macro_rules! tell {
    ($($part:tt)*) => {
        $crate::cli::output::write_aside(format_args!("{}\n", format_args!($($part)*)))
    };
}

pub(super) use {say, say_part, tell, tell_part};

/// A number with its noun, of one or of several.
pub(super) fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// Prints, unless that has failed before.
pub(super) fn write(text: Arguments<'_>) {
    if FAILURE.get().is_some() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text) {
        // The first one is told.
        _ = FAILURE.set(error);
    }
}

/// Prints to stderr, if anybody is there to read it.
pub(super) fn write_aside(text: Arguments<'_>) {
    // Where would it be told?
    _ = std::io::stderr().lock().write_fmt(text);
}

/// Whether there is no use in printing more.
pub(super) fn is_over() -> bool {
    FAILURE.get().is_some()
}

/// The exit of a command whose output has ended.
pub(super) fn finish(exit: Exit) -> Exit {
    if FAILURE.get().is_none()
        && let Err(error) = std::io::stdout().flush()
    {
        // As above.
        _ = FAILURE.set(error);
    }
    match FAILURE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            tell!("error: could not write the output: {error}");
            if exit == Exit::Clean { Exit::Partly } else { exit }
        }
        Some(_) | None => exit,
    }
}
