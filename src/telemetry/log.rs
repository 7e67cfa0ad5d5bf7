//! The daemon's log: lines on stderr for people or for machines, with a level that can be changed
//! while it runs.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

/// Changes the level of a running log.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// Why the log cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter.
    #[error(
        "`{level}` is no log level: write error, warn, info, debug, trace, or a filter such as \"info,logweir::kinesis=debug\""
    )]
    Level {
        /// What was given.
        level: String,
        /// Why.
        source: ParseError,
    },
    /// A word in the filter.
    #[error(
        "`{part}` is no log level: write error, warn, info, debug, trace or off, or a filter such as \"info,logweir::kinesis=debug\""
    )]
    Unknown {
        /// The word.
        part: String,
    },
    /// No word where there should be one.
    #[error(
        "a log level is missing in \"{level}\": write one such as \"info\", or a filter such as \"info,logweir::kinesis=debug\""
    )]
    Missing {
        /// What was given.
        level: String,
    },
    /// A log is there already.
    #[error("could not set up the log")]
    Init {
        /// Why.
        source: TryInitError,
    },
    /// The log is gone.
    #[error("could not change the log level")]
    Reload {
        /// Why.
        source: reload::Error,
    },
}

impl LogLevel {
    /// Starts the log of this process; `json` for machines.
    ///
    /// # Errors
    /// The level is none, or a log was started before.
    pub fn start(level: &str, json: bool) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(parse(level)?);
        let lines = if json {
            fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
        } else {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed()
        };
        let log = tracing_subscriber::registry().with(filter).with(lines);
        log.try_init().map_err(|source| LogError::Init { source })?;
        Ok(Self(handle))
    }

    /// Changes the level.
    ///
    /// # Errors
    /// The level is none.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(parse(level)?).map_err(|source| LogError::Reload { source })
    }
}

/// Whether the log would take this level.
///
/// # Errors
/// It would not.
pub fn check(level: &str) -> Result<(), LogError> {
    parse(level).map(drop)
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    for part in level.split(',').map(str::trim) {
        if part.is_empty() {
            return Err(LogError::Missing { level: level.to_owned() });
        }
        if !is_understood(part) {
            return Err(LogError::Unknown { part: part.to_owned() });
        }
    }
    // At `info` the AWS library tells for each client whose access key it has found.
    let quiet = if level.trim() == "info" { "info,aws_config=warn" } else { level };
    let parsed = EnvFilter::try_new(quiet);
    parsed.map_err(|source| LogError::Level { level: level.to_owned(), source })
}

/// Stricter than the filter, which takes a level that does not exist for the name of a module, and
/// nothing for a level, and then is silent.
fn is_understood(part: &str) -> bool {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_module = |text: &str| {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        !text.is_empty() && text.chars().all(is_legal)
    };
    // Spans and their fields; what is between the brackets may hold anything, commas too.
    if part.contains(['[', '{', '}', ']']) {
        return true;
    }
    match part.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(part) || (part.contains("::") && is_module(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused_rather_than_taken_for_a_module() {
        let spans = "warn,logweir[batch{to=search}]=trace";
        let module = "warn, logweir::encode";
        for right in ["info", "OFF", "info,logweir::kinesis=debug", module, "hyper=off", spans] {
            assert!(check(right).is_ok(), "{right}");
        }
        for wrong in ["loud", "info,verbose", "logweir=loud", "logweir::kinesis=", "=debug"] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains("\"info,logweir::kinesis=debug\""), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_filter_with_a_level_left_out_is_refused_with_an_example() {
        for wrong in ["", "info,", "nonsense=,,", ",", "info,,logweir=debug"] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains("such as"), "{wrong}: {error}");
        }
    }
}
