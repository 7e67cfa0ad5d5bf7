//! Index names: a template whose date parts are filled from the event's own time, and its
//! placeholders from where the event comes from.
//!
//! The name is a pure function of the event, never of the clock, so that reading an event again
//! names the same index.

use std::fmt;
use std::str::{Chars, FromStr};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::event::Timestamp;
use crate::parse::Source;
use crate::units::Period;

use super::legal::legal;

const DAY: i64 = 86_400_000;

/// 2006-01-01: the year CloudWatch's oldest sibling opened. Earlier times are broken clocks.
const EARLIEST: Timestamp = Timestamp(1_136_073_600_000);

/// The bytes of an index name, at both engines.
const LONGEST: usize = 255;

/// Less would cut most names of log groups; 512 characters are the longest at AWS.
const LEAST_LOG_GROUP: usize = 40;

/// An index name with date parts (`%Y`, `%m`, `%d`) and placeholders (`{account}`, `{region}`,
/// `{log_group}`), checked for what engines admit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IndexTemplate {
    text: String,
    /// Begins with text.
    parts: Vec<Part>,
    has_date: bool,
    /// The bytes that each log group may take.
    log_group: usize,
    undated: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
    Account,
    Region,
    LogGroup,
}

impl Part {
    fn named(placeholder: &str) -> Option<Self> {
        match placeholder {
            "account" => Some(Self::Account),
            "region" => Some(Self::Region),
            "log_group" => Some(Self::LogGroup),
            _ => None,
        }
    }

    /// The bytes it takes at most; nothing for the log group, which gets what the others leave.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Year => 4,
            Self::Month | Self::Day => 2,
            // 12 digits, and some 16 letters: with room for what CloudWatch Logs does not send.
            Self::Account => 24,
            Self::Region => 32,
            Self::LogGroup => 0,
        }
    }

    fn is_date(&self) -> bool {
        match self {
            Self::Year | Self::Month | Self::Day => true,
            Self::Text(_) | Self::Account | Self::Region | Self::LogGroup => false,
        }
    }

    fn is_placeholder(&self) -> bool {
        match self {
            Self::Account | Self::Region | Self::LogGroup => true,
            Self::Text(_) | Self::Year | Self::Month | Self::Day => false,
        }
    }
}

/// Why a text is no index template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexTemplateError {
    /// Nothing there.
    #[error("an index name must not be empty")]
    Empty,
    /// A `%` part that does not exist.
    #[error("`%{0}` is no date part of an index name; write %Y, %m or %d")]
    Part(String),
    /// A placeholder that does not exist.
    #[error(
        "`{{{0}}}` is no placeholder of an index name; write {{account}}, {{region}} or {{log_group}}"
    )]
    Placeholder(String),
    /// A `{` without its `}`.
    #[error("the `}}` after `{{{0}` is missing")]
    Open(String),
    /// A character that OpenSearch and Elasticsearch refuse.
    #[error("an index name must not have {0:?}: use lower case letters, digits, `-`, `_` and `.`")]
    Character(char),
    /// A first character that they refuse.
    #[error("an index name must not begin with `{0}`")]
    First(char),
    /// What changes comes first: there is no name for events without a usable time, and no pattern
    /// for the index template but `*`.
    #[error("an index name must begin with text before its first date part or placeholder")]
    NoPrefix,
    /// Longer than 255 bytes, or nothing is left for the log group.
    #[error("an index name has 255 bytes, and this one may need more: shorten its text")]
    TooLong,
}

/// Where an event goes by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// To the index of this day, counted from the epoch.
    Day(i64),
    /// To the index for times that cannot name one.
    Undated,
}

impl IndexTemplate {
    /// Decides by the event's time and the arrival of its record. Times from 2006 to a day after
    /// the arrival count; where the template has no date part, all do.
    #[must_use]
    #[inline]
    pub fn place(&self, time: Timestamp, arrival: Timestamp) -> Placed {
        if !self.has_date() {
            return Placed::Day(0);
        }
        if time < EARLIEST || time.0 > arrival.0.saturating_add(DAY) {
            return Placed::Undated;
        }
        Placed::Day(time.0.div_euclid(DAY))
    }

    /// The index name for a place, of events from `source`.
    #[must_use]
    pub fn name(&self, placed: Placed, source: &Source<'_>) -> Arc<str> {
        let date = match placed {
            Placed::Undated => return Arc::clone(&self.undated),
            Placed::Day(day) => Timestamp(day.saturating_mul(DAY)).date(),
        };
        // `place` lets only days through that the calendar knows.
        let Some(date) = date else { return Arc::clone(&self.undated) };
        let mut name = String::with_capacity(LONGEST);
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Year => name.push_str(&format!("{:04}", date.year())),
                Part::Month => name.push_str(&format!("{:02}", date.month())),
                Part::Day => name.push_str(&format!("{:02}", date.day())),
                Part::Account => name.push_str(&legal(source.owner(), part.size())),
                Part::Region => name.push_str(&legal(source.region(), part.size())),
                Part::LogGroup => name.push_str(&legal(source.log_group(), self.log_group)),
            }
        }
        name.into()
    }

    /// The name for events whose time cannot name an index: one for the whole template.
    #[must_use]
    pub fn undated(&self) -> &str {
        &self.undated
    }

    /// What of a source the name depends on, and nothing for what it does not.
    #[must_use]
    pub fn filled_from<'s>(&self, source: &Source<'s>) -> [Option<&'s str>; 3] {
        let if_named = |part, text| self.parts.contains(&part).then_some(text);
        [
            if_named(Part::Account, source.owner()),
            if_named(Part::Region, source.region()),
            if_named(Part::LogGroup, source.log_group()),
        ]
    }

    /// Whether the name has a date.
    #[must_use]
    pub const fn has_date(&self) -> bool {
        self.has_date
    }

    /// How long the events of one index with a date are from, at most: a day, a month or a year.
    /// Where the name recurs, each time.
    #[must_use]
    pub fn span(&self) -> Option<Period> {
        const DAY: Duration = Duration::from_hours(24);
        let days = [(Part::Day, 1), (Part::Month, 31), (Part::Year, 366)];
        let (_, days) = days.into_iter().find(|(part, _)| self.parts.contains(part))?;
        Some(Period(DAY * days))
    }

    /// How often events come to an index that had some of long ago, for want of which date parts: one
    /// called only by a month has those of that month in every year.
    #[must_use]
    pub fn recurs(&self) -> Option<(&'static str, &'static str)> {
        let has = |part| self.parts.contains(&part);
        match (has(Part::Year), has(Part::Month), has(Part::Day)) {
            (false, false, true) => Some(("month", "%Y and %m")),
            (true, false, true) => Some(("month", "%m")),
            (false, true, _) => Some(("year", "%Y")),
            (true, true, _) | (_, false, false) => None,
        }
    }

    /// Whether the name depends on where an event comes from.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.parts.iter().any(Part::is_placeholder)
    }

    /// The text that every name but that for undated events begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            // Parsing lets nothing else come first.
            Some(_) | None => "",
        }
    }

    /// A pattern that all names of the template match, and the one for undated events too.
    #[must_use]
    pub fn pattern(&self) -> String {
        if self.has_date() || self.has_placeholder() {
            format!("{}*", self.prefix().trim_end_matches(SEPARATORS))
        } else {
            self.text.clone()
        }
    }

    /// Patterns that every name with a date matches, and the one for undated events does not: it is
    /// as old as the first of them and never done with. None if the names have no date.
    #[must_use]
    pub fn dated_patterns(&self) -> Vec<String> {
        let mut before = String::new();
        for part in &self.parts {
            // A year is in 2006 …; days and months begin with one of these.
            let digits: &[&str] = match part {
                Part::Text(text) => {
                    before.push_str(text);
                    continue;
                }
                Part::Account | Part::Region | Part::LogGroup => {
                    before.push('*');
                    continue;
                }
                Part::Year => &["2"],
                Part::Month | Part::Day => &["0", "1", "2", "3"],
            };
            return digits.iter().map(|digit| format!("{before}{digit}*")).collect();
        }
        Vec::new()
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What stands between a name and its date.
const SEPARATORS: [char; 3] = ['-', '_', '.'];

impl FromStr for IndexTemplate {
    type Err = IndexTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = parts(text)?;
        let Some(Part::Text(prefix)) = parts.first() else {
            let is_empty = parts.is_empty();
            return Err(if is_empty {
                IndexTemplateError::Empty
            } else {
                IndexTemplateError::NoPrefix
            });
        };
        let stem = prefix.trim_end_matches(SEPARATORS);
        if stem.is_empty() {
            return Err(IndexTemplateError::NoPrefix);
        }
        // `.` is for the engine's own hidden indices.
        if let Some(first @ ('-' | '_' | '+' | '.')) = prefix.chars().next() {
            return Err(IndexTemplateError::First(first));
        }
        let undated = format!("{stem}-undated");
        let others: usize = parts.iter().map(Part::size).sum();
        let log_groups = parts.iter().filter(|part| **part == Part::LogGroup).count();
        let room = LONGEST.checked_sub(others.max(undated.len()));
        let log_group = room.map(|room| room.checked_div(log_groups).unwrap_or(LEAST_LOG_GROUP));
        let log_group = log_group.filter(|room| *room >= LEAST_LOG_GROUP);
        let log_group = log_group.ok_or(IndexTemplateError::TooLong)?;
        let has_date = parts.iter().any(Part::is_date);
        Ok(Self { text: text.to_owned(), parts, has_date, log_group, undated: undated.into() })
    }
}

impl TryFrom<String> for IndexTemplate {
    type Error = IndexTemplateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

fn parts(text: &str) -> Result<Vec<Part>, IndexTemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('Y')) => Part::Year,
            ('%', Some('m')) => Part::Month,
            ('%', Some('d')) => Part::Day,
            ('%', other) => {
                return Err(IndexTemplateError::Part(other.map(String::from).unwrap_or_default()));
            }
            ('{', _) => placeholder(&mut chars)?,
            (legal, _) if legal.is_ascii_lowercase() || legal.is_ascii_digit() => {
                literal.push(legal);
                continue;
            }
            (separator @ ('-' | '_' | '.'), _) => {
                literal.push(separator);
                continue;
            }
            (refused, _) => return Err(IndexTemplateError::Character(refused)),
        };
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(part);
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// Reads on after a `{`.
fn placeholder(chars: &mut Chars<'_>) -> Result<Part, IndexTemplateError> {
    let rest = chars.as_str();
    let Some((name, after)) = rest.split_once('}') else {
        return Err(IndexTemplateError::Open(rest.to_owned()));
    };
    *chars = after.chars();
    Part::named(name).ok_or_else(|| IndexTemplateError::Placeholder(name.to_owned()))
}

impl fmt::Display for IndexTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
