//! Tells a misspelt name from one that has no letters: nothing would be found by either.

use crate::config::{Config, closest};
use crate::dead_letter::sqlite::{Column, Filter, LetterStore, LetterStoreError};
use crate::decode::Undecodable;
use crate::fate::RefusalReason;
use crate::state::{Access, State};

use super::super::output::tell;
use super::super::{Exit, failed};

/// Refuses names that neither the configuration nor any letter knows, and ids that none begins with.
pub(super) fn check(filter: &Filter, config: &Config) -> Result<(), Exit> {
    let routes = config.routes.iter().map(|(_, route)| route.name.as_str());
    let destinations = config.destinations.iter().map(|(name, _)| name.as_str());
    let reasons = RefusalReason::ALL.iter().map(|reason| reason.as_str());
    let given = [
        (Column::Reason, &filter.reason, reasons.chain(Undecodable::LABELS).collect()),
        (Column::Route, &filter.route, routes.collect::<Vec<_>>()),
        (Column::Destination, &filter.destination, destinations.collect()),
    ];
    for (column, name, known) in given {
        if let Some(name) = name.as_ref().filter(|name| !known.contains(&name.as_str())) {
            in_letters(column, name, known, config)?;
        }
    }
    match &filter.id {
        Some(id) => begins_a_letter(id, config),
        None => Ok(()),
    }
}

/// The store, where a name has to be looked for in it.
fn store(config: &Config) -> Result<LetterStore, Exit> {
    let state = State::open(&config.state, Access::Inspect);
    let state = state.map_err(|error| failed(Exit::Unavailable, &error))?;
    Ok(LetterStore::new(state, config.dead_letters))
}

fn read<T>(found: Result<T, LetterStoreError>) -> Result<T, Exit> {
    found.map_err(|error| failed(Exit::Unavailable, &error))
}

fn in_letters(column: Column, name: &str, known: Vec<&str>, config: &Config) -> Result<(), Exit> {
    let of_letters = read(store(config)?.names_blocking(column))?;
    if of_letters.iter().any(|known| known == name) {
        return Ok(());
    }
    let mut known = known;
    known.extend(of_letters.iter().map(String::as_str));
    known.sort_unstable();
    known.dedup();
    tell!("error: {}", unknown(column.as_str(), name, &known));
    Err(Exit::Usage)
}

/// Every id begins with nothing: `--id "$ID"` of an unset variable would mean all letters.
pub(super) fn is_given(id: &str) -> Result<(), Exit> {
    if id.trim().is_empty() {
        tell!("error: the id is empty: `dead-letter list` shows all");
        return Err(Exit::Usage);
    }
    Ok(())
}

fn begins_a_letter(id: &str, config: &Config) -> Result<(), Exit> {
    is_given(id)?;
    let all = Filter { id: Some(id.to_owned()), ..Filter::default() };
    if read(store(config)?.count_blocking(&all))? > 0 {
        return Ok(());
    }
    tell!("error: there is no dead letter `{id}`: `dead-letter list` shows all");
    Err(Exit::Usage)
}

/// What is wrong with a name, and which there are.
pub(in crate::cli) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let hint = closest(name, known.iter().copied());
    let hint = hint.map_or_else(String::new, |best| format!("; did you mean `{best}`?"));
    format!("there is no {what} `{name}`, only `{}`{hint}", known.join("`, `"))
}
