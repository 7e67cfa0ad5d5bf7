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
    #[error("`{part}` is no log level: write error, warn, info, debug, trace or off")]
    Unknown {
        /// The word.
        part: String,
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
    // The filter would take a level that does not exist for the name of a module, and be silent.
    let is_unknown =
        |part: &&str| !part.contains(['=', ':', '[']) && part.parse::<LevelFilter>().is_err();
    if let Some(part) = level.split(',').map(str::trim).find(is_unknown) {
        return Err(LogError::Unknown { part: part.to_owned() });
    }
    let parsed = EnvFilter::try_new(level);
    parsed.map_err(|source| LogError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused_rather_than_taken_for_a_module() {
        for right in ["info", "OFF", "info,logweir::kinesis=debug", "warn, logweir::encode"] {
            assert!(check(right).is_ok(), "{right}");
        }
        for wrong in ["loud", "info,verbose", "logweir=loud"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
