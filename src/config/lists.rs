//! Refuses lists where tables are meant: serde takes the values of a table in their order for it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::problem::Locator;

/// Checks a file that could be read otherwise.
pub(super) fn check(at: &Locator<'_>) -> Result<(), Problem> {
    let Ok(root) = DeTable::parse(at.text) else { return Ok(()) };
    check_table(root.get_ref(), &mut Vec::new(), at)
}

fn check_table<'t>(
    table: &'t DeTable<'_>,
    path: &mut Vec<&'t str>,
    at: &Locator<'_>,
) -> Result<(), Problem> {
    for (key, value) in table {
        path.push(key.get_ref());
        check_value(value, path, at)?;
        path.pop();
    }
    Ok(())
}

fn check_value<'t>(
    value: &'t Spanned<DeValue<'_>>,
    path: &mut Vec<&'t str>,
    at: &Locator<'_>,
) -> Result<(), Problem> {
    match value.get_ref() {
        DeValue::Table(table) => check_table(table, path, at),
        DeValue::Array(_) if !may_be_list(path) => {
            let text = format!("`{0}`: write a table, as in [{0}]; this is a list", path.join("."));
            Err(at.problem(value.span().start, text))
        }
        DeValue::Array(list) => list.iter().try_for_each(|value| check_value(value, path, at)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => Ok(()),
    }
}

/// A new option that is a list is refused until it stands here, as its first test will tell.
fn may_be_list(path: &[&str]) -> bool {
    matches!(
        path,
        ["route"]
            | ["route", "parse", "json", "lift"]
            | ["destination", _, _, "urls"]
            | ["route", "stream" | "account" | "log_group" | "log_stream" | "kind" | "to"]
    )
}
