//! `logweir demo`.

mod folder;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;

use crate::admin::{DestinationSummary, Summary};
use crate::app::{App, Outcome};
use crate::demo::session::{Demo, DemoOptions, Report, config_text};
use crate::shutdown::Shutdown;
use crate::telemetry::log::LogLevel;

use super::health::Address;
use super::output::{say, say_part, tell};
use super::signals::StopSignals;
use super::{Exit, failed, runtime};

use self::folder::Folder;

/// What the demo is asked for.
#[derive(Clone, Debug, Args)]
pub(super) struct DemoArgs {
    /// Log events to generate.
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    events: u64,
    /// Shards of the demo's stream.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// The same seed generates the same events.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep the state, the documents and the configuration in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// Where the status page and /metrics are shown; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) fn demo(args: &DemoArgs) -> Result<Exit, Exit> {
    let level = LogLevel::start("error", false);
    let _level = level.map_err(|error| failed(Exit::Usage, &error))?;
    let folder = Folder::new(args.keep.as_deref());
    let folder = folder.map_err(|error| failed(error.exit(), &error))?;
    let report = runtime()?.block_on(session(args, folder.path()))?;
    let kept = args.keep.as_ref().map(|_| folder.path());
    if args.json {
        say!("{}", report.json());
    } else {
        say_part!("{}", report.table(kept));
        if kept.is_none() {
            say!("\nRun it with `--keep DIR` to look at the documents and dead letters.");
        }
    }
    Ok(match (report.holds(), report.outcome) {
        (false, Outcome::Drained) => Exit::Software,
        (_, Outcome::CutShort) => Exit::Partly,
        (true, Outcome::Drained) => Exit::Clean,
    })
}

async fn session(args: &DemoArgs, folder: &Path) -> Result<Report, Exit> {
    let options = DemoOptions {
        events: args.events,
        shards: args.shards,
        seed: args.seed,
        folder: folder.to_owned(),
        listen: args.listen,
    };
    let mut signals = StopSignals::catch().map_err(|error| failed(Exit::Unavailable, &error))?;
    let shutdown = Shutdown::default();
    let demo = Demo::start(options, shutdown.clone()).await;
    let demo = demo.map_err(|error| failed(Exit::Unavailable, &error))?;
    let address = demo.app.address();
    if args.keep.is_some() {
        // So that `dead-letter` and `validate` can be tried on it.
        let text = config_text(folder, "http://127.0.0.1:1", &address.to_string());
        let written = std::fs::write(folder.join("logweir.toml"), text);
        written.map_err(|error| failed(Exit::Unavailable, &error))?;
    }
    if !args.json {
        // As this machine reaches it: nobody can go to 0.0.0.0.
        let shown = Address::from(address);
        say!("status page http://{shown}/ · metrics http://{shown}/metrics");
    }
    let feed = demo.stopper();
    let progress = Progress::new(!args.json);
    let finish = demo.finish(|app, events| progress.show(app, events));
    let stop = async {
        signals.next().await;
        feed.stop();
        progress.leave_line();
        tell!("stopping: what was generated is still delivered; a second Ctrl-C stops at once");
        signals.next().await;
        tell!("stopping at once");
        shutdown.cut_short();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        report = finish => report.map_err(|error| failed(Exit::Software, &error)),
        () = stop => Err(Exit::Partly),
    }
}

/// One line that is written over on a terminal, one line a second elsewhere.
struct Progress {
    shown: bool,
    terminal: bool,
    last: AtomicU64,
}

impl Progress {
    fn new(shown: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { shown, terminal, last: AtomicU64::new(0) }
    }

    /// What is printed next begins a line of its own.
    fn leave_line(&self) {
        if self.shown && self.terminal {
            say!("");
        }
    }

    fn show(&self, app: &App, events: u64) {
        if !self.shown {
            return;
        }
        let summary = Summary::of(app.view());
        let read = summary.events_read;
        let rate = read - self.last.swap(read, Ordering::Relaxed).min(read);
        let lags = summary.streams.values().flatten().map(|shard| match shard.lag_seconds {
            Some(lag) => format!("{lag:.0}s"),
            None => "?".to_owned(),
        });
        let lags = lags.collect::<Vec<_>>().join(" ");
        let fates = |count: fn(&DestinationSummary) -> u64| -> u64 {
            summary.destinations.values().map(count).sum()
        };
        let (delivered, dead) = (fates(|to| to.delivered), fates(|to| to.dead_lettered));
        let filtered: u64 = summary.filtered.values().sum();
        let line = format!(
            "{read:>9} of {events} read · {rate:>7}/s · {delivered} delivered · {filtered} filtered \
             · {dead} dead letters · lag by shard {lags}"
        );
        if self.terminal {
            use std::io::Write as _;
            say_part!("\r{line}\x1b[K");
            // A terminal that cannot be flushed shows the line a little later.
            _ = std::io::stdout().flush();
        } else {
            say!("{line}");
        }
    }
}
