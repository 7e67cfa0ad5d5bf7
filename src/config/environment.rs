//! What the environment adds to the file: `${VAR}` in its values, and `LOGWEIR_…` settings.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{AddrParseError, SocketAddr};

use serde::Deserialize;

use super::problem::closest;
use super::wording;
use super::{File, HttpConfig, LogConfig, MemoryConfig, ShutdownConfig};

/// How all that is set by a variable begins.
const PREFIX: &str = "LOGWEIR_";

/// Has `log.level`, whatever the file says.
pub const LOG_LEVEL: &str = "LOGWEIR_LOG_LEVEL";

/// Settings that a variable may override; `LOGWEIR_LOG_LEVEL` is `log.level`.
const SETTINGS: [(&str, &str); 6] = [
    ("LOGWEIR_HTTP_LISTEN", "http.listen"),
    (LOG_LEVEL, "log.level"),
    ("LOGWEIR_LOG_FORMAT", "log.format"),
    ("LOGWEIR_MEMORY_FETCH", "memory.fetch"),
    ("LOGWEIR_MEMORY_BODY", "memory.body"),
    ("LOGWEIR_SHUTDOWN_DEADLINE", "shutdown.deadline"),
];

/// Kubernetes tells every pod so where the services are; one called logweir is likely.
const OF_KUBERNETES: [&str; 2] = ["LOGWEIR_SERVICE_", "LOGWEIR_PORT"];

/// A `${VAR}` without a value.
#[derive(Debug)]
pub(super) struct Missing {
    /// Where it stands.
    pub(super) at: usize,
    name: String,
    /// To nothing, which would be all of the value.
    is_set: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.is_set { "is empty, and so would be this" } else { "is not set" };
        let name = &self.name;
        write!(f, "the environment variable `{name}` {is}; set it, or write the value")
    }
}

/// The variables that a file names, with their values.
#[derive(Debug, Default)]
pub(super) struct Variables(Vec<(String, String)>);

/// Shorter values are no secrets, and hiding them would garble the text around them.
const SHORTEST_SECRET: usize = 4;

impl Variables {
    /// The text with `${NAME}` for the value of a variable, and for each word of one that has
    /// several: an error may quote one word of a value, or write it with escapes.
    pub(super) fn hide(&self, text: String) -> String {
        let is_between = |c: char| c.is_whitespace() || c.is_control() || "\"'`\\".contains(c);
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.0 {
            let words = value.split(is_between);
            parts.extend(std::iter::once(value.as_str()).chain(words).map(|part| (part, &**name)));
        }
        parts.retain(|(part, _)| part.len() >= SHORTEST_SECRET);
        // A part may be part of another; and what was put in its place is not looked at again.
        parts.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        let (mut hidden, mut rest) = (String::with_capacity(text.len()), text.as_str());
        while let Some(c) = rest.chars().next() {
            let found =
                parts.iter().find_map(|(part, name)| Some((rest.strip_prefix(part)?, name)));
            rest = if let Some((after, name)) = found {
                hidden.push_str(&format!("${{{name}}}"));
                after
            } else {
                hidden.push(c);
                rest.get(c.len_utf8()..).unwrap_or_default()
            };
        }
        hidden
    }
}

/// Fills in `${VAR}` inside quoted values; comments and names in lower case (as in flow log
/// formats) are left alone. Adds no lines, so positions stay those of the file.
pub(super) fn fill_in(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(String, Variables), Missing> {
    let mut filled = String::with_capacity(text.len());
    let mut variables = Variables::default();
    let mut rest = text;
    let mut place = Inside::Nothing;
    while let Some(c) = rest.chars().next() {
        if place == Inside::Quotes
            && let Some(name) = variable(rest)
        {
            let at = text.len() - rest.len();
            let missing = |is_set| Missing { at, name: name.to_owned(), is_set };
            let value = environment(name).ok_or_else(|| missing(false))?;
            rest = rest.get(name.len() + 3..).unwrap_or_default();
            if value.is_empty() && filled.ends_with('"') && rest.starts_with('"') {
                return Err(missing(true));
            }
            push_escaped(&mut filled, &value);
            variables.0.push((name.to_owned(), value));
            continue;
        }
        let mut taken = c.len_utf8();
        if place == Inside::Quotes && c == '\\' {
            // The escaped character goes with its backslash.
            taken += rest.chars().nth(1).map_or(0, char::len_utf8);
        }
        place = place.after(c);
        let (done, left) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        filled.push_str(done);
        rest = left;
    }
    Ok((filled, variables))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    Quotes,
    Apostrophes,
    Comment,
}

impl Inside {
    fn after(self, c: char) -> Self {
        match (self, c) {
            (Self::Nothing, '"') => Self::Quotes,
            (Self::Nothing, '\'') => Self::Apostrophes,
            (Self::Nothing, '#') => Self::Comment,
            (Self::Quotes, '"') | (Self::Apostrophes, '\'') | (Self::Comment, '\n') => {
                Self::Nothing
            }
            (same, _) => same,
        }
    }
}

/// The name in a `${NAME}` at the start of `rest`.
fn variable(rest: &str) -> Option<&str> {
    let (name, _) = rest.strip_prefix("${")?.split_once('}')?;
    let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(legal)).then_some(name)
}

fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
}

/// Text as a value that is read back as it is, whatever is in it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut escaped = String::new();
    push_escaped(&mut escaped, text);
    // What looks like a variable must not be filled in.
    format!("\"{}\"", escaped.replace("${", "\\u0024{"))
}

/// The tables that hold overridable settings.
#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    http: HttpConfig,
    #[serde(default)]
    log: LogConfig,
    #[serde(default)]
    memory: MemoryConfig,
    #[serde(default)]
    shutdown: ShutdownConfig,
}

/// Lays the `LOGWEIR_…` variables over the file's settings.
pub(super) fn override_settings(
    file: &mut File,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let mut builder = config::Config::builder();
    let mut set = Vec::new();
    for (name, key) in SETTINGS {
        if let Some(value) = environment(name) {
            builder = builder.set_override(key, &*value).map_err(|error| error.to_string())?;
            set.push((name, key, value));
        }
    }
    if set.is_empty() {
        return Ok(());
    }
    let settings = builder.build().and_then(config::Config::try_deserialize);
    let settings: Settings = settings.map_err(|error| wrong(&set, &error))?;
    let is_set = |key: &str| set.iter().any(|(_, of, _)| *of == key);
    let File { http, log, memory, shutdown, .. } = file;
    if is_set("http.listen") {
        http.listen = settings.http.listen;
    }
    if is_set("log.level") {
        log.level = settings.log.level;
    }
    if is_set("log.format") {
        log.format = settings.log.format;
    }
    if is_set("memory.fetch") {
        memory.fetch = settings.memory.fetch;
    }
    if is_set("memory.body") {
        memory.body = settings.memory.body;
    }
    if is_set("shutdown.deadline") {
        shutdown.deadline = settings.shutdown.deadline;
    }
    Ok(())
}

/// Where to listen, as a variable has it.
pub(super) fn listen(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<SocketAddr>, String> {
    let name = "LOGWEIR_HTTP_LISTEN";
    let Some(value) = environment(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|error: AddrParseError| {
        format!("{name}: {}", wording::plain(&error.to_string(), &format!("{value:?}")))
    })
}

/// What of the variables that are `set` is called as our settings are, but is none: most likely one
/// that was misspelt. `read` are those that were asked for.
pub fn unread(set: impl Iterator<Item = String>, read: &BTreeSet<String>) -> Vec<String> {
    let is_ours = |name: &String| {
        let is_other = OF_KUBERNETES.iter().any(|prefix| name.starts_with(prefix));
        name.starts_with(PREFIX) && !is_other && !read.contains(name)
    };
    let warning = |name: String| {
        let known = read.iter().filter_map(|name| name.strip_prefix(PREFIX));
        let hint = match closest(name.strip_prefix(PREFIX).unwrap_or_default(), known) {
            Some(best) => format!("did you mean `{PREFIX}{best}`?"),
            None => "nothing reads it".to_owned(),
        };
        format!("the environment variable `{name}` is no setting; {hint}")
    };
    set.filter(is_ours).map(warning).collect()
}

/// Names the variable that the error is about.
fn wrong(set: &[(&str, &str, String)], error: &config::ConfigError) -> String {
    let text = error.to_string();
    let of = set.iter().find(|(_, key, _)| text.ends_with(&format!(" for key `{key}`")));
    let Some((name, _, value)) = of else { return text };
    let message = text.rsplit_once(" for key ").map_or(text.as_str(), |(message, _)| message);
    format!("{name}: {}", wording::plain(message, &format!("{value:?}")))
}
