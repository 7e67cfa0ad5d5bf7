//! `logweir dead-letter replay`: asks the daemon that has the state, or takes its place.

mod ask;
mod progress;

use clap::Args;
use serde_json::json;

use crate::app::{AppError, ReplayApp};
use crate::config::{Config, LogFormat};
use crate::dead_letter::requests::{Order, Report, Written};
use crate::fate::KeptReason;
use crate::replay::Ended;
use crate::shutdown::Shutdown;
use crate::state::StateError;
use crate::telemetry::chain::Chain;
use crate::telemetry::log::LogLevel;

use self::ask::Asking;
use self::progress::Progress;
use super::dead_letter::Which;
use super::dead_letter::names::unknown;
use super::output::{counted, say, say_part, tell};
use super::run::not_started;
use super::signals::StopSignals;
use super::{ConfigFile, Exit, failed, runtime};

/// What is sent again.
#[derive(Clone, Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    /// Send the stored document to the index it was for, in place of making it again from the
    /// event by today's route.
    #[arg(long)]
    as_is: bool,
    /// Send to this destination, in place of the one that refused.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Replay by the routes and destinations that the running daemon has loaded, even if the file
    /// has others by now.
    #[arg(long)]
    as_loaded: bool,
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, Exit> {
    let config = args.which.file.load()?;
    let level = LogLevel::start(&config.log.level, config.log.format == LogFormat::Json);
    let _level = level.map_err(|error| failed(Exit::Usage, &error))?;
    if let Some(to) = &args.to {
        check_destination(&config, to)?;
    }
    let order = Order {
        filter: args.which.filter(&config)?,
        as_is: args.as_is,
        to: args.to.clone(),
        written: (!args.as_loaded).then(|| written(&args.which.file, &config)),
    };
    runtime()?.block_on(run(args, config, order))
}

fn check_destination(config: &Config, name: &str) -> Result<(), Exit> {
    let known: Vec<_> = config.destinations.iter().map(|(name, _)| name.as_str()).collect();
    if known.contains(&name) {
        return Ok(());
    }
    tell!("error: {}", unknown("destination", name, &known));
    Err(Exit::Usage)
}

fn written(file: &ConfigFile, config: &Config) -> Written {
    let path = std::path::absolute(&file.config).unwrap_or_else(|_| file.config.clone());
    Written { file: path.display().to_string(), digest: config.digest.clone() }
}

/// How a replay ended for who wanted it.
struct Answer {
    report: Report,
    /// Ctrl-C.
    is_withdrawn: bool,
    /// What broke it off.
    error: Option<String>,
}

async fn run(args: &ReplayArgs, config: Config, order: Order) -> Result<Exit, Exit> {
    let signals = StopSignals::catch().map_err(|error| failed(Exit::Unavailable, &error))?;
    let shutdown = Shutdown::default();
    let mut progress = Progress::new(args.json);
    let answer = match ReplayApp::start(config.clone(), order.clone(), shutdown.clone()) {
        Err(AppError::State { source: StateError::Locked { holder, .. } }) => {
            let asking = Asking::start(&config, &order, holder, &mut progress).await?;
            asking.follow(signals).await?
        }
        Err(error) => return Err(not_started(&args.which.file, &error)),
        Ok(app) => {
            let Ended { report, error, .. } = tokio::select! {
                ended = app.finish(|report| progress.letters(report)) => ended,
                () = signals.obey(shutdown) => return Err(Exit::Partly),
            };
            let error = error.map(|error| Chain(&error).to_string());
            Answer { report, is_withdrawn: false, error }
        }
    };
    progress.end();
    Ok(show(args, answer))
}

fn show(args: &ReplayArgs, answer: Answer) -> Exit {
    let Answer { report, is_withdrawn, error } = answer;
    if args.json {
        say!("{}", as_json(&report));
    } else if report.letters > 0 || error.is_none() {
        say_part!("{}", as_text(&report));
    }
    if let Some(error) = error {
        tell!("error: {error}");
        return Exit::Unavailable;
    }
    let is_all = report.removed + report.dropped == report.letters;
    if is_all && !is_withdrawn { Exit::Clean } else { Exit::Partly }
}

fn as_json(report: &Report) -> serde_json::Value {
    let Report { letters, removed, kept, dropped, on_way: _, sent } = report;
    json!({"letters": letters, "removed": removed, "kept": kept, "dropped": dropped,
           "not_sent": report.not_sent(), "replayed": sent})
}

fn as_text(report: &Report) -> String {
    if report.letters == 0 {
        return "no dead letters to send\n".to_owned();
    }
    let letters = counted(report.letters, "dead letter");
    let mut text = format!("sent and removed {} of {letters}\n", report.removed);
    for (name, counts) in &report.sent {
        let counts = counts.iter().map(|(result, events)| format!("{events} {result}"));
        text.push_str(&format!("  {name}: {}\n", counts.collect::<Vec<_>>().join(", ")));
    }
    for (reason, kept) in &report.kept {
        text.push_str(&format!("kept {kept}: {}\n", why(*reason)));
    }
    if report.dropped > 0 {
        text.push_str(&format!(
            "dropped meanwhile {}: by `drop` or `max_age`; some may be delivered all the same\n",
            report.dropped
        ));
    }
    let not_sent = report.not_sent();
    if not_sent > 0 {
        text.push_str(&format!("kept {not_sent}: stopped before they were sent\n"));
    }
    text
}

const fn why(reason: KeptReason) -> &'static str {
    match reason {
        KeptReason::Refused => "refused again; `logweir dead-letter list` shows why",
        KeptReason::Undecodable => "the record can still not be decoded",
        KeptReason::NoDestination => {
            "their destination is not in the configuration; --to names another"
        }
        KeptReason::Discarded => {
            "their route discards them now; --as-is sends them, `drop` removes them"
        }
        KeptReason::NoDocument => "they hold no document to send as it is; replay without --as-is",
        KeptReason::Unreadable => "the letter is damaged; `logweir dead-letter show` shows it",
        KeptReason::Abandoned => "stopped while they were on their way; replay again, that is safe",
    }
}
