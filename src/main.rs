//! The `logweir` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    logweir::cli::main().into()
}
