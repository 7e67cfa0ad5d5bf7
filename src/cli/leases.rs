//! `logweir leases list | reset | accept-gap`.

mod course;

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::closest;
use crate::event::Timestamp;
use crate::kinesis::Start;
use crate::lease::{Gap, Lease, LeaseTable, LeaseTableError, Position, Which};
use crate::state::{Access, State};

use super::output::{counted, say, tell};
use super::{ConfigFile, Exit, failed};

use self::course::{Course, Shown};

/// Shards that are named where one is asked for that is not there.
const SHARDS_SHOWN: usize = 10;

/// What to do with leases.
#[derive(Debug, Subcommand)]
pub(super) enum LeasesCommand {
    /// List the shards with their checkpoints, and the gaps that nobody has accepted.
    List(ListArgs),
    /// Read shards from another place on, at the next start.
    ///
    /// The daemon must not run meanwhile. Going back reads events again: where the destination
    /// knows their ids they count as already_present. Going forward leaves events out for good.
    Reset(ResetArgs),
    /// Accept that records may have been lost before they were read.
    ///
    /// The daemon is not ready, and says why, until that is done. It may run meanwhile, and notices
    /// within a minute.
    AcceptGap(AcceptArgs),
}

/// Which shards are meant; all that is given must agree.
#[derive(Clone, Debug, Args)]
pub(super) struct Shards {
    #[command(flatten)]
    file: ConfigFile,
    /// Only those of this stream, as the configuration calls it.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only this shard.
    #[arg(long, value_name = "ID")]
    shard: Option<String>,
}

/// How leases are listed.
#[derive(Clone, Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    shards: Shards,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where reading goes on.
#[derive(Clone, Debug, Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    shards: Shards,
    /// trim_horizon, latest, a time such as 2026-01-31T06:00:00Z, or with --shard the sequence
    /// number of the last record that is not to be read.
    #[arg(long, value_name = "PLACE")]
    to: Place,
    /// Do it. Without this, only says what would be moved.
    #[arg(long)]
    yes: bool,
}

/// Which gaps are accepted.
#[derive(Clone, Debug, Args)]
pub(super) struct AcceptArgs {
    #[command(flatten)]
    shards: Shards,
    /// Do it. Without this, only says what would be accepted.
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Debug)]
struct Place(Position);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let position = match text.parse::<Start>() {
            Ok(Start::TrimHorizon) => Position::TrimHorizon,
            Ok(Start::Latest) => Position::At(Timestamp::now()),
            Ok(Start::At(time)) => Position::At(time),
            Err(error) => match text.parse() {
                Ok(number @ (Position::After(_) | Position::Within(..))) => number,
                Ok(Position::TrimHorizon | Position::At(_) | Position::ShardEnd) | Err(_) => {
                    return Err(format!("{error}, or a sequence number"));
                }
            },
        };
        Ok(Self(position))
    }
}

pub(super) fn leases(command: &LeasesCommand) -> Result<Exit, Exit> {
    match command {
        LeasesCommand::List(args) => list(args),
        LeasesCommand::Reset(args) => reset(args),
        LeasesCommand::AcceptGap(args) => accept(args),
    }
}

impl Shards {
    fn table(&self, access: Access) -> Result<LeaseTable, Exit> {
        let config = self.file.load()?;
        if let Some(wanted) = &self.stream
            && !config.streams.iter().any(|(name, _)| name.as_str() == wanted)
        {
            let known: Vec<_> = config.streams.iter().map(|(name, _)| name.as_str()).collect();
            tell!("error: there is no stream `{wanted}`: there is {}", known.join(", "));
            return Err(Exit::Usage);
        }
        let state = State::open(&config.state, access);
        Ok(LeaseTable::new(state.map_err(|error| failed(Exit::Unavailable, &error))?))
    }

    fn which(&self) -> Which {
        Which { stream: self.stream.clone(), shard: self.shard.clone() }
    }

    /// The leases and the gaps that are meant.
    ///
    /// # Errors
    /// Nobody knows the shard.
    fn found(&self, table: &LeaseTable) -> Result<(Vec<Lease>, Vec<Gap>), Exit> {
        let unavailable = |error: LeaseTableError| failed(Exit::Unavailable, &error);
        let read = |which: &Which| {
            let leases = table.leases_blocking(which).map_err(unavailable)?;
            Ok((leases, table.gaps_blocking(which).map_err(unavailable)?))
        };
        let (leases, gaps) = read(&self.which())?;
        match &self.shard {
            Some(shard) if leases.is_empty() && gaps.is_empty() => {
                let (leases, gaps) = read(&Which { shard: None, ..self.which() })?;
                let shards = leases.iter().map(|lease| lease.shard.as_str());
                let shards = shards.chain(gaps.iter().map(|gap| gap.shard.as_str()));
                tell!("error: {}", unknown_shard(shard, &shards.collect()));
                Err(Exit::Usage)
            }
            Some(_) | None => Ok((leases, gaps)),
        }
    }
}

fn list(args: &ListArgs) -> Result<Exit, Exit> {
    let table = args.shards.table(Access::Inspect)?;
    let (leases, gaps) = args.shards.found(&table)?;
    if args.json {
        say!("{}", as_json(&leases, &gaps));
        return Ok(Exit::Clean);
    }
    if leases.is_empty() {
        say!("no shard was read yet");
    }
    leases.iter().for_each(print_lease);
    gaps.iter().for_each(print_gap);
    if !gaps.is_empty() {
        say!("`logweir leases accept-gap` accepts gaps");
    }
    Ok(Exit::Clean)
}

fn unknown_shard(shard: &str, known: &BTreeSet<&str>) -> String {
    if known.is_empty() {
        return format!("there is no shard `{shard}`: no shard was read yet");
    }
    let shown: Vec<_> = known.iter().take(SHARDS_SHOWN).map(|known| format!("`{known}`")).collect();
    let more = match known.len().saturating_sub(SHARDS_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more, which `logweir leases list` shows"),
    };
    let best = closest(shard, known.iter().copied());
    let hint = best.map_or_else(String::new, |best| format!("; did you mean `{best}`?"));
    format!("there is no shard `{shard}`, only {}{more}{hint}", shown.join(", "))
}

/// The name that a person gave the stream, which its key begins with.
fn stream_name(key: &str) -> &str {
    key.split(' ').next().unwrap_or(key)
}

fn print_lease(lease: &Lease) {
    let Lease { stream, shard, checkpoint, updated, .. } = lease;
    let stream = stream_name(stream.as_str());
    say!("{stream} {shard}  read to {}  since {updated}", Shown(checkpoint));
}

fn print_gap(gap: &Gap) {
    let Gap { stream, shard, kind, found, length } = gap;
    let (stream, seconds) = (stream_name(stream.as_str()), length.as_secs());
    say!("possible gap: {stream} {shard}: {}, {seconds} s, found {found}", kind.text());
}

fn as_json(leases: &[Lease], gaps: &[Gap]) -> serde_json::Value {
    let lease = |lease: &Lease| {
        json!({"stream": stream_name(lease.stream.as_str()), "key": lease.stream.as_str(),
               "shard": lease.shard.as_str(), "checkpoint": lease.checkpoint.to_string(),
               "updated": lease.updated.to_string(),
               "parents": lease.parents.iter().map(|parent| parent.as_str()).collect::<Vec<_>>()})
    };
    let gap = |gap: &Gap| {
        json!({"stream": stream_name(gap.stream.as_str()), "key": gap.stream.as_str(),
               "shard": gap.shard.as_str(), "kind": gap.kind.as_str(),
               "found": gap.found.to_string(), "seconds": gap.length.as_secs_f64()})
    };
    json!({"leases": leases.iter().map(lease).collect::<Vec<_>>(),
           "possible_gaps": gaps.iter().map(gap).collect::<Vec<_>>()})
}

fn reset(args: &ResetArgs) -> Result<Exit, Exit> {
    let Place(to) = &args.to;
    if matches!(to, Position::After(_) | Position::Within(..)) && args.shards.shard.is_none() {
        tell!("error: a sequence number is of one shard: give it by --shard");
        return Err(Exit::Usage);
    }
    let access = if args.yes { Access::Exclusive } else { Access::Inspect };
    let table = args.shards.table(access)?;
    let (leases, _) = args.shards.found(&table)?;
    if leases.is_empty() {
        tell!("error: no checkpoint is meant: `logweir leases list` shows all");
        return Err(Exit::Usage);
    }
    for lease @ Lease { stream, shard, checkpoint, .. } in &leases {
        let (stream, from) = (stream_name(stream.as_str()), Shown(checkpoint));
        let course = Course::of(lease, to, Timestamp::now());
        say!("{stream} {shard}: from {from} to {}: {course}", Shown(to));
    }
    if !args.yes {
        say!("nothing is moved yet; --yes does it");
        return Ok(Exit::Clean);
    }
    let moved = table.reset_blocking(&args.shards.which(), to);
    let moved = moved.map_err(|error| failed(Exit::Unavailable, &error))?;
    say!("moved {}", counted(moved, "checkpoint"));
    Ok(Exit::Clean)
}

fn accept(args: &AcceptArgs) -> Result<Exit, Exit> {
    let table = args.shards.table(if args.yes { Access::Edit } else { Access::Inspect })?;
    let (_, gaps) = args.shards.found(&table)?;
    if gaps.is_empty() {
        say!("no possible gaps");
        return Ok(Exit::Clean);
    }
    gaps.iter().for_each(print_gap);
    if !args.yes {
        say!("nothing is accepted yet; --yes does it");
        return Ok(Exit::Clean);
    }
    table.accept_blocking(&gaps).map_err(|error| failed(Exit::Unavailable, &error))?;
    say!("accepted {}", counted(gaps.len(), "gap"));
    Ok(Exit::Clean)
}
