//! `logweir completions` and `logweir man`: what a shell and `man` want to know of the command line.
//!
//! Made by the program itself rather than when it is built: what is printed is then what this program
//! understands, and a package is made from nothing but the binary.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Exit;
use super::output::{say_part, tell};

/// Which completions.
#[derive(Clone, Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that is to read them.
    shell: Shell,
}

/// Where manual pages go.
#[derive(Clone, Debug, Args)]
pub(super) struct ManArgs {
    /// The folder to write them to; it must exist.
    folder: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Exit, Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "logweir", &mut script);
    say_part!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Clean)
}

pub(super) fn man(args: &ManArgs, command: Command) -> Result<Exit, Exit> {
    let written = clap_mangen::generate_to(command, &args.folder);
    written.map_err(|error| {
        tell!("error: could not write to {}: {error}", args.folder.display());
        Exit::Unavailable
    })?;
    Ok(Exit::Clean)
}
