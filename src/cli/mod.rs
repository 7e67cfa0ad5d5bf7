//! The command line: what can be asked, and how an answer becomes an exit code.

mod dead_letter;
mod demo;
mod health;
mod leases;
mod manual;
mod output;
mod panic;
mod replay;
mod run;
mod setup;
mod signals;
mod systemd;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, HttpConfig, Problem, unread};
use crate::telemetry::chain::Chain;

use self::output::tell;

/// How a command ended. The codes are those of sysexits.h where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All done, a drained Ctrl-C included.
    Clean = 0,
    /// Cut short, or not all done.
    Partly = 1,
    /// The configuration or the command line is wrong.
    Usage = 64,
    /// Something that is needed is not there: the state is locked, an endpoint does not answer.
    Unavailable = 69,
    /// An identity that must hold does not, or another bug.
    Software = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// CloudWatch Logs out of Kinesis into OpenSearch, Elasticsearch or SQLite, with every event
/// accounted for.
#[derive(Debug, Parser)]
#[command(name = "logweir", version, after_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  logweir demo                                  see the whole path work, without AWS or a cluster
  logweir validate --config ./logweir.toml      check a configuration
  logweir setup --dry-run                       show the index templates that the routes need
  logweir run                                   run the daemon with /etc/logweir/logweir.toml
  logweir dead-letter list --reason mapping     what a destination would not take, and why
  logweir dead-letter replay --reason mapping   send that again, when the mapping is mended

Exit codes: 0 clean · 1 cut short or not all done · 64 bad configuration or command line ·
69 something needed is not available · 70 an identity that must hold does not, or a bug";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: read the streams, deliver every event, until SIGTERM or Ctrl-C.
    ///
    /// A first signal drains: nothing more is read, and what was read gets its fate within
    /// `shutdown.deadline`. A second one cuts short: what has no fate is read again next time.
    /// SIGHUP reads `log.level` again.
    Run(ConfigFile),
    /// Check a configuration and say what is wrong with it.
    ///
    /// Reads the files that it names, too: those of secrets and certificates, and the state file and
    /// those of SQLite destinations where they are there, which must be such as `run` would take. Makes
    /// and changes no file, connects to nothing, and may be asked while a daemon runs.
    Validate(ConfigFile),
    /// Install the index templates and lifecycle policies that the routes need at each destination.
    ///
    /// `run` installs missing ones by itself unless `templates = "manual"`: this is for a user with
    /// more rights than the daemon's. Doing it again changes nothing; what was not made by logweir,
    /// or by a newer one, is left alone.
    Setup(setup::SetupArgs),
    /// See the whole path work on this machine: a Kinesis endpoint, generated logs, and the daemon.
    Demo(demo::DemoArgs),
    /// Look at the shards' checkpoints and gaps, and move or accept them.
    #[command(subcommand)]
    Leases(leases::LeasesCommand),
    /// Look at events that could not be delivered, and send or throw them away.
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// Ask a running daemon whether it lives and is ready, as container checks do.
    Health(health::HealthArgs),
    /// Print completions for a shell, to be loaded by it.
    Completions(manual::CompletionsArgs),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(manual::ManArgs),
}

/// Names the configuration file where the command line does not.
const CONFIG: &str = "LOGWEIR_CONFIG";

/// The configuration that a command works with.
#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/logweir/logweir.toml")]
    #[arg(env = CONFIG)]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Exit> {
        let read = RefCell::new(BTreeSet::from([CONFIG.to_owned()]));
        let environment = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            std::env::var(name).ok()
        };
        let mut config =
            Config::load(&self.config, environment).map_err(|problem| wrong(&problem))?;
        let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        config.warnings.extend(unread(set, &read.into_inner()));
        Ok(config)
    }

    /// Where its daemon listens, be the rest of it right or wrong.
    fn listen(&self) -> Result<SocketAddr, Exit> {
        let http = HttpConfig::load(&self.config, |name| std::env::var(name).ok());
        http.map(|http| http.listen).map_err(|problem| wrong(&problem))
    }
}

fn wrong(problem: &Problem) -> Exit {
    tell!("error: {problem}");
    Exit::Usage
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> Exit {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => {
            // Nothing can be done about a closed terminal.
            _ = error.print();
            return Exit::Usage;
        }
        // What was asked for, help or the version.
        Err(asked) => {
            output::write(format_args!("{}", asked.render()));
            return output::finish(Exit::Clean);
        }
    };
    let exit = match command_line.command {
        Command::Run(file) => run::run(&file),
        Command::Validate(file) => run::validate(&file),
        Command::Setup(args) => setup::setup(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Leases(command) => leases::leases(&command),
        Command::DeadLetter(command) => dead_letter::dead_letter(&command),
        Command::Health(args) => health::health(&args),
        Command::Completions(args) => manual::completions(&args, CommandLine::command()),
        Command::Man(args) => manual::man(&args, CommandLine::command()),
    };
    output::finish(exit.unwrap_or_else(|exit| exit))
}

/// Shows an error with its causes, as the reason for an exit.
fn failed(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Exit {
    tell!("error: {}", Chain(error));
    exit
}

fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| failed(Exit::Unavailable, &error))
}
