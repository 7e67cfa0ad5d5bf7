//! `logweir run` and `logweir validate`.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::app::{App, AppError, Outcome};
use crate::clock::Clock;
use crate::config::{Config, DestinationConfig, LOG_LEVEL, LogFormat, place, place_of_state};
use crate::destination::opensearch::OpenSearch;
use crate::destination::sqlite::SqliteDestination;
use crate::event::DestinationName;
use crate::shutdown::Shutdown;
use crate::state;
use crate::telemetry::chain::Chain;
use crate::telemetry::log::LogLevel;

use super::output::{counted, say, tell};
use super::signals::StopSignals;
use super::{ConfigFile, Exit, failed, panic, runtime, systemd};

pub(super) fn validate(file: &ConfigFile) -> Result<Exit, Exit> {
    let mut config = file.load()?;
    for (name, destination) in &config.destinations {
        let examined = examine(name, destination);
        config.warnings.extend(examined.map_err(|error| not_started(file, &error))?);
    }
    match state::examine(&config.state) {
        Err(source) if source.is_about_content() => {
            return Err(not_started(file, &AppError::State { source }));
        }
        // A warning only: the configuration may be meant for another machine, or another user.
        Err(error) => config.warnings.push(Chain(&error).to_string()),
        Ok(warning) => config.warnings.extend(warning.map(str::to_owned)),
    }
    for warning in &config.warnings {
        say!("warning: {warning}");
    }
    let streams = counted(config.streams.len(), "stream");
    let routes = counted(config.routes.len(), "route");
    let destinations = counted(config.destinations.len(), "destination");
    let name = file.config.display();
    say!("{name}: valid: {streams}, {routes}, {destinations}");
    Ok(Exit::Clean)
}

/// Looks at the files of a destination as `run` would, and returns what may be right elsewhere.
fn examine(
    name: &DestinationName,
    destination: &DestinationConfig,
) -> Result<Option<String>, AppError> {
    match destination {
        DestinationConfig::OpenSearch(config) => {
            // Reads the files of passwords and certificates, and connects to nothing.
            let built = OpenSearch::build((**config).clone(), Clock::start());
            let name = name.clone();
            built.map(|_| None).map_err(|source| AppError::OpenSearch { name, source })
        }
        DestinationConfig::Sqlite(config) => match SqliteDestination::examine(config) {
            Err(source) if source.is_about_content() => {
                Err(AppError::Sqlite { name: name.clone(), source })
            }
            Err(error) => Ok(Some(format!("destination `{name}`: {}", Chain(&error)))),
            Ok(()) => Ok(None),
        },
    }
}

pub(super) fn run(file: &ConfigFile) -> Result<Exit, Exit> {
    let config = file.load()?;
    let level = LogLevel::start(&config.log.level, config.log.format == LogFormat::Json);
    let level = level.map_err(|error| failed(Exit::Usage, &error))?;
    panic::end_process();
    runtime()?.block_on(daemon(file, config, level))
}

async fn daemon(file: &ConfigFile, config: Config, level: LogLevel) -> Result<Exit, Exit> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let signals = StopSignals::catch().map_err(|error| failed(Exit::Unavailable, &error))?;
    let shutdown = Shutdown::default();
    let app = App::start(config, shutdown.clone(), None).await;
    let app = app.map_err(|error| not_started(file, &error))?;
    info!(version = env!("CARGO_PKG_VERSION"), "started");
    let view = app.view().clone();
    let outcome = tokio::select! {
        outcome = app.finish() => outcome,
        () = systemd::keep_told(view) => Outcome::CutShort,
        () = signals.obey(shutdown) => Outcome::CutShort,
        () = reload_level(file, &level) => Outcome::CutShort,
    };
    Ok(match outcome {
        Outcome::Drained => Exit::Clean,
        Outcome::CutShort => Exit::Partly,
    })
}

/// Shows why nothing runs, with the place in the configuration where it has one.
pub(super) fn not_started(file: &ConfigFile, error: &AppError) -> Exit {
    let place = |name: &DestinationName, key| place(&file.config, name.as_str(), key);
    let (place, exit) = match error {
        AppError::OpenSearch { name, source } => (place(name, source.key()), Exit::Usage),
        AppError::Sqlite { name, .. } => (place(name, Some("path")), Exit::Usage),
        AppError::State { .. } => (place_of_state(&file.config), Exit::Unavailable),
        AppError::Letters { .. }
        | AppError::Listen { .. }
        | AppError::Metrics { .. }
        | AppError::Threads { .. } => (None, Exit::Unavailable),
    };
    let place = place.map_or_else(String::new, |place| format!("{place}: "));
    tell!("error: {place}{}", Chain(error));
    exit
}

/// Whoever changes the file should know when it does not count.
fn told_level(level: &str) {
    if std::env::var(LOG_LEVEL).is_ok() {
        warn!(level, "the log level stays that of {LOG_LEVEL}, whatever the file says");
    } else {
        info!(level, "the log level was read again");
    }
}

/// On SIGHUP, reads `log.level` again; nothing else changes while the daemon runs.
async fn reload_level(file: &ConfigFile, level: &LogLevel) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
        return std::future::pending().await;
    };
    while hang_up.recv().await.is_some() {
        systemd::reloading(|| match Config::load(&file.config, |name| std::env::var(name).ok()) {
            Ok(config) => match level.set(&config.log.level) {
                Ok(()) => told_level(&config.log.level),
                Err(error) => error!(error = %Chain(&error), "the log level stays as it was"),
            },
            Err(problem) => error!(%problem, "the log level stays as it was"),
        });
    }
}
