//! `logweir setup`: index templates and lifecycle policies, by hand.

use std::pin::pin;
use std::time::Duration;

use clap::Args;

use crate::app::AppError;
use crate::clock::Clock;
use crate::config::{Config, DestinationConfig};
use crate::destination::opensearch::OpenSearch;
use crate::destination::opensearch::plan::{Done, Plan};
use crate::destination::opensearch::setup::{Outcome, SetupError};
use crate::destination::opensearch::target::{Target, targets};
use crate::event::{DestinationId, DestinationName};
use crate::telemetry::chain::Chain;

use super::output::{say, tell};
use super::run::not_started;
use super::{ConfigFile, Exit, runtime};

/// After this long it says what it waits for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is set up.
#[derive(Clone, Debug, Args)]
pub(super) struct SetupArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the requests and send none of them. Asks each engine for its version only.
    #[arg(long)]
    dry_run: bool,
    /// Only this destination.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

pub(super) fn setup(args: &SetupArgs) -> Result<Exit, Exit> {
    let config = args.file.load()?;
    if let Some(wanted) = &args.destination
        && !config.destinations.iter().any(|(name, _)| name.as_str() == wanted)
    {
        tell!("error: there is no destination `{wanted}` in {}", args.file.config.display());
        return Err(Exit::Usage);
    }
    runtime()?.block_on(all(args, config))
}

async fn all(args: &SetupArgs, config: Config) -> Result<Exit, Exit> {
    let mut exit = Exit::Clean;
    for (id, (name, destination)) in (0..u16::MAX).map(DestinationId).zip(config.destinations) {
        if args.destination.as_deref().is_some_and(|wanted| wanted != name.as_str()) {
            continue;
        }
        match destination {
            DestinationConfig::Sqlite(_) => {
                say!("# {name}: a SQLite file, which needs nothing set up");
            }
            DestinationConfig::OpenSearch(config_of) => {
                let search = OpenSearch::build(*config_of, Clock::start());
                let search = search.map_err(|source| {
                    let name = name.clone();
                    not_started(&args.file, &AppError::OpenSearch { name, source })
                })?;
                let routes = targets(&config.routes, id);
                if !one(&name, &search, &routes, args.dry_run).await? {
                    exit = Exit::Partly;
                }
            }
        }
    }
    Ok(exit)
}

/// Sets up one engine; whether all of it went well.
async fn one(
    name: &DestinationName,
    search: &OpenSearch,
    routes: &[Target],
    dry_run: bool,
) -> Result<bool, Exit> {
    let engine = patiently(name, search, search.engine()).await;
    let engine = engine.map_err(|error| unanswered(name, &error))?;
    let plan = search.plan_for(&engine, routes);
    say!("# {name}: {engine}");
    let good = tell_problems(&plan, routes);
    if dry_run {
        plan.steps.iter().for_each(|step| say!("{step}\n"));
        return Ok(good);
    }
    let outcomes = patiently(name, search, search.apply(&plan)).await;
    Ok(outcomes.iter().map(told).fold(good, |all, one| all && one))
}

/// Says what it waits for, when that takes long.
async fn patiently<T>(
    name: &DestinationName,
    search: &OpenSearch,
    asked: impl Future<Output = T>,
) -> T {
    let mut asked = pin!(asked);
    tokio::select! {
        answer = &mut asked => return answer,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    tell!(
        "destination `{name}`: waits for answers of its engine, up to {} for each (`timeout`)",
        search.config().timeout
    );
    asked.await
}

/// The error, and what to do where it does not say so itself.
fn with_remedy(error: &SetupError) -> String {
    let remedy = error.remedy().map_or_else(String::new, |remedy| format!("; {remedy}"));
    format!("{}{remedy}", Chain(error))
}

fn unanswered(name: &DestinationName, error: &SetupError) -> Exit {
    tell!("error: destination `{name}`: {}", with_remedy(error));
    match error {
        SetupError::Unreachable { .. } => Exit::Unavailable,
        SetupError::Refused { .. }
        | SetupError::Foreign { .. }
        | SetupError::NoLifecycle
        | SetupError::Engine(_) => Exit::Partly,
    }
}

/// Shows what the plan leaves open; whether that is nothing.
fn tell_problems(plan: &Plan, routes: &[Target]) -> bool {
    plan.notes.iter().for_each(|note| say!("note: {note}"));
    for problem in &plan.problems {
        let named = routes.iter().filter(|target| problem.routes.contains(&target.route));
        let named: Vec<_> = named.map(|target| target.name.as_str()).collect();
        tell!("error: route {}: {}", named.join(", "), problem.error);
    }
    plan.problems.is_empty()
}

/// Shows what became of a step; whether it went well.
fn told(outcome: &Outcome) -> bool {
    let (kind, name) = (if outcome.is_needed { "template" } else { "policy" }, &outcome.name);
    match &outcome.result {
        Ok(done) => {
            let done = match done {
                Done::Installed => "installed",
                Done::Updated => "updated",
                Done::Unchanged => "unchanged",
                Done::Newer => "left alone, for it was made by a newer logweir",
            };
            say!("{kind} {name}: {done}");
            true
        }
        Err(error) => {
            tell!("error: {kind} {name}: {}", with_remedy(error));
            false
        }
    }
}
