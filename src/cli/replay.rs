//! `logweir dead-letter replay`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::app::ReplayApp;
use crate::config::{Config, LogFormat};
use crate::event::DestinationId;
use crate::fate::{KeptReason, ReplayResult};
use crate::replay::{Order, Report};
use crate::shutdown::Shutdown;
use crate::telemetry::ledger::Ledger;
use crate::telemetry::ledger_metrics::Names;
use crate::telemetry::log::LogLevel;

use super::dead_letter::Which;
use super::output::{say, say_part};
use super::run::exit_of;
use super::signals::StopSignals;
use super::{Exit, failed, runtime};

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
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<Exit, Exit> {
    let config = args.which.file.load()?;
    let level = LogLevel::start(&config.log.level, config.log.format == LogFormat::Json);
    let _level = level.map_err(|error| failed(Exit::Usage, &error))?;
    let to = args.to.as_deref().map(|name| destination(&config, name)).transpose()?;
    let order = Order { filter: args.which.filter(), as_is: args.as_is, to };
    runtime()?.block_on(run(args, config, order))
}

fn destination(config: &Config, name: &str) -> Result<DestinationId, Exit> {
    let place = config.destinations.iter().position(|(known, _)| known.as_str() == name);
    let id = place.and_then(|place| u16::try_from(place).ok()).map(DestinationId);
    id.ok_or_else(|| {
        let known: Vec<_> = config.destinations.iter().map(|(name, _)| name.as_str()).collect();
        eprintln!("error: there is no destination `{name}`: there is {}", known.join(", "));
        Exit::Usage
    })
}

async fn run(args: &ReplayArgs, config: Config, order: Order) -> Result<Exit, Exit> {
    let signals = StopSignals::catch().map_err(|error| failed(Exit::Unavailable, &error))?;
    let shutdown = Shutdown::default();
    let app = ReplayApp::start(config, order, shutdown.clone());
    let app = app.map_err(|error| failed(exit_of(&error), &error))?;
    let (letters, ledger, names) = (app.letters, Arc::clone(&app.ledger), app.names.clone());
    let shows_progress = std::io::stderr().is_terminal() && !args.json;
    let progress = |report: &Report| {
        if shows_progress {
            eprint!("\r{} of {letters} letters", report.ended());
        }
    };
    let report = tokio::select! {
        report = app.finish(progress) => report,
        () = signals.obey(shutdown) => return Err(Exit::Partly),
    };
    if shows_progress {
        eprintln!();
    }
    let report = report.map_err(|error| failed(Exit::Unavailable, &error))?;
    let sent = sent(&ledger, &names);
    if args.json {
        say!("{}", as_json(letters, &report, &sent));
    } else {
        say_part!("{}", as_text(letters, &report, &sent));
    }
    Ok(if report.removed == letters { Exit::Clean } else { Exit::Partly })
}

/// Events by destination and result.
type Sent = BTreeMap<String, BTreeMap<ReplayResult, u64>>;

fn sent(ledger: &Ledger, names: &Names) -> Sent {
    let mut sent = Sent::new();
    for ((to, result), events) in ledger.snapshot().replayed {
        sent.entry(names.destination(to).to_owned()).or_default().insert(result, events);
    }
    sent
}

fn as_json(letters: u64, report: &Report, sent: &Sent) -> serde_json::Value {
    let kept: BTreeMap<_, _> = report.kept.iter().map(|(why, n)| (why.as_str(), n)).collect();
    let of = |counts: &BTreeMap<ReplayResult, u64>| -> BTreeMap<&str, u64> {
        counts.iter().map(|(result, events)| (result.as_str(), *events)).collect()
    };
    let sent: BTreeMap<_, _> = sent.iter().map(|(name, counts)| (name, of(counts))).collect();
    let not_sent = letters.saturating_sub(report.ended());
    json!({"letters": letters, "removed": report.removed, "kept": kept, "not_sent": not_sent,
           "replayed": sent})
}

fn as_text(letters: u64, report: &Report, sent: &Sent) -> String {
    if letters == 0 {
        return "no dead letters to send\n".to_owned();
    }
    let mut text = format!("sent and removed {} of {letters} dead letters\n", report.removed);
    for (name, counts) in sent {
        let counts = counts.iter().map(|(result, events)| format!("{events} {result}"));
        text.push_str(&format!("  {name}: {}\n", counts.collect::<Vec<_>>().join(", ")));
    }
    for (reason, kept) in &report.kept {
        text.push_str(&format!("kept {kept}: {}\n", why(*reason)));
    }
    let not_sent = letters.saturating_sub(report.ended());
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
