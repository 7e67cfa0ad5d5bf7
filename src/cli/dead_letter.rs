//! `logweir dead-letter list | show | replay | drop`.

pub(super) mod names;

use std::ops::ControlFlow;

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::dead_letter::Letter;
use crate::dead_letter::requests::Requests;
use crate::dead_letter::sqlite::{Filter, LetterStore, ago};
use crate::state::{self, Access, State, StateError};
use crate::telemetry::visible::{Visible, VisibleJson};
use crate::units::Period;

use super::output::{counted, say, tell};
use super::{ConfigFile, Exit, failed, output};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// List them, the last attempted first.
    List(ListArgs),
    /// Show one whole: the event, where it was to go, and what was said.
    Show(ShowArgs),
    /// Send them again, and remove what was delivered; what was not stays.
    ///
    /// Each event becomes a document again by today's route, with the same id, and goes to the
    /// destination that refused it: sending one twice changes nothing. A record that could not be
    /// decoded takes today's whole path. Ends with 1 when letters are left.
    ///
    /// A daemon that runs does it beside its work, when asked by this command. It refuses when the
    /// routes or destinations in the file are not those that it has loaded: restart it, or ask with
    /// --as-loaded. Ctrl-C withdraws the letters that it has not taken up yet and waits for the
    /// others; a second one leaves them to it. Without a daemon, the command takes its place
    /// meanwhile.
    Replay(super::replay::ReplayArgs),
    /// Throw them away for good.
    ///
    /// Those that a replay has on their way may be delivered all the same.
    Drop(DropArgs),
}

/// Which letters are meant; all that is given must agree.
#[derive(Clone, Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Only the one with this id, or those whose ids begin with it.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Only those of this reason, such as mapping or too_large.
    #[arg(long)]
    reason: Option<String>,
    /// Only those of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only those of this destination.
    #[arg(long)]
    destination: Option<String>,
    /// Only those last attempted longer ago than this, such as 12h or 7d.
    #[arg(long, value_name = "AGE")]
    older_than: Option<Period>,
    /// Only those last attempted within this.
    #[arg(long, value_name = "AGE")]
    newer_than: Option<Period>,
}

/// How letters are listed.
#[derive(Clone, Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Which letter is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Its id, or the start of it.
    id: String,
}

/// What is dropped.
#[derive(Clone, Debug, Args)]
pub(super) struct DropArgs {
    #[command(flatten)]
    which: Which,
    /// Do it. Without this, only says how many there are.
    #[arg(long)]
    yes: bool,
}

pub(super) fn dead_letter(command: &DeadLetterCommand) -> Result<Exit, Exit> {
    match command {
        DeadLetterCommand::List(args) => list(args),
        DeadLetterCommand::Show(args) => show(args),
        DeadLetterCommand::Replay(args) => super::replay::replay(args),
        DeadLetterCommand::Drop(args) => drop_letters(args),
    }
}

fn open(config: &Config, access: Access) -> Result<State, Exit> {
    State::open(&config.state, access).map_err(|error| failed(Exit::Unavailable, &error))
}

impl Which {
    /// Which letters are meant, in the words of the store.
    ///
    /// # Errors
    /// Nobody knows a name in it.
    pub(super) fn filter(&self, config: &Config) -> Result<Filter, Exit> {
        let time = |age: Option<Period>| age.map(|age| ago(age.0));
        let filter = Filter {
            reason: self.reason.clone(),
            route: self.route.clone(),
            destination: self.destination.clone(),
            id: self.id.clone(),
            before: time(self.older_than),
            since: time(self.newer_than),
        };
        names::check(&filter, config)?;
        Ok(filter)
    }
}

fn list(args: &ListArgs) -> Result<Exit, Exit> {
    let config = args.which.file.load()?;
    let store = LetterStore::new(open(&config, Access::Inspect)?, config.dead_letters);
    let filter = args.which.filter(&config)?;
    if args.json {
        let shown =
            store.each_blocking(&filter, args.limit, |letter| print_line(&as_json(&letter)));
        shown.map_err(|error| failed(Exit::Unavailable, &error))?;
        return Ok(Exit::Clean);
    }
    let all = store.count_blocking(&filter).map_err(|error| failed(Exit::Unavailable, &error))?;
    if all == 0 {
        say!("no dead letters");
        return Ok(Exit::Clean);
    }
    say!("{:<14}{:<26}{:<18}{:<14}{:<12}error", "id", "last attempt", "reason", "route", "to");
    let shown = store.each_blocking(&filter, args.limit, |letter| print_line(&row(&letter)));
    shown.map_err(|error| failed(Exit::Unavailable, &error))?;
    if (args.limit as u64) < all {
        say!("… {} of {all}; --limit shows more", args.limit);
    }
    say!("`logweir dead-letter show ID` shows one whole");
    Ok(Exit::Clean)
}

/// Breaks when nobody reads any more, as when `head` has enough.
fn print_line(line: &str) -> ControlFlow<()> {
    say!("{line}");
    if output::is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn as_json(letter: &Letter) -> String {
    // Text, numbers and JSON that was read as such: writing it cannot fail.
    serde_json::to_string(letter).unwrap_or_default()
}

fn row(letter: &Letter) -> String {
    let Letter { id, at, reason, error, .. } = letter;
    let id: String = id.chars().take(12).collect();
    let route = letter.route.as_deref().unwrap_or("–");
    let to = letter.destination.as_deref().unwrap_or("–");
    let error: String = error.chars().take(100).collect();
    // Those of earlier versions hold the engine's words as they came.
    Visible(format!("{id:<14}{at:<26}{reason:<18}{route:<14}{to:<12}{error}")).to_string()
}

fn show(args: &ShowArgs) -> Result<Exit, Exit> {
    names::is_given(&args.id)?;
    let config = args.file.load()?;
    let store = LetterStore::new(open(&config, Access::Inspect)?, config.dead_letters);
    let filter = Filter { id: Some(args.id.clone()), ..Filter::default() };
    let letters = store.list_blocking(&filter, 2);
    let letters = letters.map_err(|error| failed(Exit::Unavailable, &error))?;
    match letters.as_slice() {
        [letter] => {
            let json = serde_json::to_string_pretty(letter);
            let json = json.map_err(|error| failed(Exit::Software, &error))?;
            say!("{}", VisibleJson(&json));
            Ok(Exit::Clean)
        }
        [] => {
            tell!("error: there is no dead letter `{}`: `dead-letter list` shows all", args.id);
            Err(Exit::Usage)
        }
        [_, ..] => {
            tell!("error: more than one dead letter begins with `{}`: give more of it", args.id);
            Err(Exit::Usage)
        }
    }
}

fn drop_letters(args: &DropArgs) -> Result<Exit, Exit> {
    let config = args.which.file.load()?;
    let state = open(&config, Access::Edit)?;
    let store = LetterStore::new(state.clone(), config.dead_letters);
    let filter = args.which.filter(&config)?;
    warn_of_replay(&config, &Requests::new(state))?;
    if !args.yes {
        let count = store.count_blocking(&filter);
        let count = count.map_err(|error| failed(Exit::Unavailable, &error))?;
        say!("would drop {}; --yes does it", counted(count, "dead letter"));
        return Ok(Exit::Clean);
    }
    let dropped = store.drop_blocking(&filter);
    let dropped = dropped.and_then(|dropped| store.shrink_blocking().map(|()| dropped));
    let dropped = dropped.map_err(|error| failed(Exit::Unavailable, &error))?;
    say!("dropped {}", counted(dropped, "dead letter"));
    Ok(Exit::Clean)
}

/// Letters that are on their way are in memory: dropping them does not stop them.
fn warn_of_replay(config: &Config, requests: &Requests) -> Result<(), Exit> {
    let unavailable = |error: StateError| failed(Exit::Unavailable, &error);
    let holder = state::holder(&config.state).map_err(unavailable)?;
    let asked = requests.under_way_blocking().map_err(unavailable)?;
    let by = match (holder, asked) {
        (Some(holder), _) if replays(&holder) => holder,
        (Some(holder), Some(number)) => format!("replay {number} by {holder}"),
        (Some(_) | None, _) => return Ok(()),
    };
    tell!(
        "warning: a replay is under way ({by}): letters that it has on their way may be delivered \
         all the same; its report counts them as dropped"
    );
    Ok(())
}

/// Whether who holds the state file is a replay without a daemon, by what it says of itself.
pub(super) fn replays(holder: &str) -> bool {
    holder.contains(" dead-letter replay")
}
