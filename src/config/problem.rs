//! What is wrong with a configuration, as a person needs to read it.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::environment::Variables;
use super::wording;

/// One problem: where it is, what it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: String,
    text: String,
}

impl Problem {
    /// The file cannot be read.
    pub(super) fn unreadable(path: &Path, source: &std::io::Error) -> Self {
        let text = format!("could not read the configuration: {source}; give another by --config");
        Self { place: path.display().to_string(), text }
    }

    /// An environment variable has a wrong value.
    pub(super) fn environment(text: String) -> Self {
        Self { place: "environment".to_owned(), text }
    }

    /// The same, with `${NAME}` for what a variable put into the file: it may be a secret.
    pub(super) fn hiding(self, variables: &Variables) -> Self {
        Self { text: variables.hide(self.text), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

impl std::error::Error for Problem {}

/// Turns offsets in a text into lines and columns.
pub(super) struct Locator<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Locator<'_> {
    /// A problem at an offset.
    pub(super) fn problem(&self, offset: usize, text: impl Into<String>) -> Problem {
        Problem { place: self.place(offset), text: text.into() }
    }

    /// An offset as people read it.
    pub(super) fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.file)
    }

    /// A problem of the whole file.
    pub(super) fn whole(&self, text: impl Into<String>) -> Problem {
        Problem { place: self.file.to_owned(), text: text.into() }
    }

    /// What the TOML reader found.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> Problem {
        let Range { start, end } = error.span().unwrap_or(0..0);
        let message = error.message().trim().replace('\n', " ");
        let hint = nearest(&message).unwrap_or_default();
        let found = self.text.get(start..end).unwrap_or_default();
        let one_key = wording::one_key(&message, &path(error));
        let text = one_key.unwrap_or_else(|| wording::plain(&message, found));
        self.value(start, &format!("{text}{hint}"))
    }

    /// A problem of the value at an offset, by its key.
    pub(super) fn value(&self, offset: usize, text: &str) -> Problem {
        let key = self.key_before(offset).filter(|key| !text.contains(&format!("`{key}`")));
        let key = key.map_or_else(String::new, |key| format!("`{key}`: "));
        self.problem(offset, format!("{key}{text}"))
    }

    /// The key whose value, the text in its quotes, or an element of whose list begins at `offset`.
    fn key_before(&self, offset: usize) -> Option<&str> {
        let (before, value) = self.text.get(..offset)?.rsplit_once('=')?;
        let value = value.trim();
        let is_in_list = value.starts_with('[') && !value.contains(']');
        if !is_in_list && !value.trim_matches('"').is_empty() {
            return None;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        before.trim_end().rsplit(|c| !is_part(c)).next().filter(|key| !key.is_empty())
    }
}

/// The keys that lead to an error, with dots between.
fn path(error: &toml::de::Error) -> String {
    let mut error = error.clone();
    // It shows its path only where it cannot show its line.
    error.set_input(None);
    let text = error.to_string();
    let path = text.rsplit_once("in `").and_then(|(_, path)| path.trim_end().strip_suffix('`'));
    path.unwrap_or_default().to_owned()
}

/// For "unknown field `a`, expected one of `b`, `c`": which of them was likely meant.
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let found = quoted.next().filter(|_| is_unknown)?;
    let best = closest(found, quoted)?;
    Some(format!("; did you mean `{best}`?"))
}

/// The name most like `found`, unless none is like it.
pub(crate) fn closest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let by_distance = names.map(|name| (strsim::damerau_levenshtein(found, name), name));
    let (distance, name) = by_distance.min()?;
    (distance <= found.len().max(3) / 2).then_some(name)
}
