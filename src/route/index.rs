//! Index names: a template whose date parts are filled from the event's own time.
//!
//! The name is a pure function of the event, never of the clock, so that reading an event again
//! names the same index.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use crate::event::Timestamp;

const DAY: i64 = 86_400_000;

/// 2006-01-01: the year CloudWatch's oldest sibling opened. Earlier times are broken clocks.
const EARLIEST: Timestamp = Timestamp(1_136_073_600_000);

/// An index name with date parts (`%Y`, `%m`, `%d`), checked for what engines admit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IndexTemplate {
    text: String,
    parts: Vec<Part>,
    undated: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
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
    /// A character that OpenSearch and Elasticsearch refuse.
    #[error("an index name must not have {0:?}: use lower case letters, digits, `-`, `_` and `.`")]
    Character(char),
    /// A first character that they refuse.
    #[error("an index name must not begin with `{0}`")]
    First(char),
    /// The date parts come first, so there is no name for events without a usable time.
    #[error("an index name must begin with text before its first date part")]
    NoPrefix,
    /// Longer than 255 bytes.
    #[error("an index name must not be longer than 200 characters")]
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
    pub fn place(&self, time: Timestamp, arrival: Timestamp) -> Placed {
        if !self.has_date() {
            return Placed::Day(0);
        }
        if time < EARLIEST || time.0 > arrival.0.saturating_add(DAY) {
            return Placed::Undated;
        }
        Placed::Day(time.0.div_euclid(DAY))
    }

    /// The index name for a place.
    #[must_use]
    pub fn name(&self, placed: Placed) -> Arc<str> {
        let date = match placed {
            Placed::Undated => return Arc::clone(&self.undated),
            Placed::Day(day) => Timestamp(day.saturating_mul(DAY)).date(),
        };
        // `place` lets only days through that the calendar knows.
        let Some(date) = date else { return Arc::clone(&self.undated) };
        let mut name = String::with_capacity(self.text.len() + 4);
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Year => name.push_str(&format!("{:04}", date.year())),
                Part::Month => name.push_str(&format!("{:02}", date.month())),
                Part::Day => name.push_str(&format!("{:02}", date.day())),
            }
        }
        name.into()
    }

    /// Whether the name has a date.
    #[must_use]
    pub fn has_date(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// A pattern that all names of the template match, and the one for undated events too.
    #[must_use]
    pub fn pattern(&self) -> String {
        match (self.parts.first(), self.has_date()) {
            (Some(Part::Text(text)), true) => format!("{}*", text.trim_end_matches(SEPARATORS)),
            (_, _) => self.text.clone(),
        }
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
        // 255 bytes are admitted; the date and `-undated` need some of them.
        if text.len() > 200 {
            return Err(IndexTemplateError::TooLong);
        }
        // `.` is for the engine's own hidden indices.
        if let Some(first @ ('-' | '_' | '+' | '.')) = prefix.chars().next() {
            return Err(IndexTemplateError::First(first));
        }
        let undated = format!("{stem}-undated").into();
        Ok(Self { text: text.to_owned(), parts, undated })
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

impl fmt::Display for IndexTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ARRIVAL: Timestamp = Timestamp(1_725_544_035_523);

    fn template(text: &str) -> IndexTemplate {
        text.parse().unwrap()
    }

    fn name(text: &str, time: i64) -> String {
        let template = template(text);
        template.name(template.place(Timestamp(time), ARRIVAL)).to_string()
    }

    #[test]
    fn the_events_own_day_names_the_index() {
        assert_eq!(name("cwl-%Y.%m.%d", ARRIVAL.0), "cwl-2024.09.05");
        assert_eq!(name("cwl-%Y.%m.%d", ARRIVAL.0 - 10 * DAY), "cwl-2024.08.26");
        assert_eq!(name("flat", 0), "flat");
    }

    #[test]
    fn impossible_times_go_to_the_undated_index() {
        for time in [0, -1, i64::MIN, i64::MAX, EARLIEST.0 - 1, ARRIVAL.0 + DAY + 1] {
            assert_eq!(name("cloudtrail-%Y.%m.%d", time), "cloudtrail-undated");
        }
        assert_eq!(name("cloudtrail-%Y.%m.%d", EARLIEST.0), "cloudtrail-2006.01.01");
        assert_eq!(name("cloudtrail-%Y.%m.%d", ARRIVAL.0 + DAY), "cloudtrail-2024.09.06");
    }

    #[test]
    fn what_no_engine_admits_is_refused_with_the_remedy() {
        use IndexTemplateError::{Character, Empty, First, NoPrefix, Part};
        let error = |text: &str| text.parse::<IndexTemplate>().unwrap_err();
        assert_eq!(error(""), Empty);
        assert_eq!(error("%Y-logs"), NoPrefix);
        assert_eq!(error("Logs-%Y"), Character('L'));
        assert_eq!(error("a b"), Character(' '));
        assert_eq!(error("_logs"), First('_'));
        assert_eq!(error("logs-%H"), Part("H".to_owned()));
        assert_eq!(error("logs-%"), Part(String::new()));
    }

    proptest! {
        #[test]
        fn every_name_matches_the_pattern(time in any::<i64>()) {
            let template = template("vpc-flowlogs-%Y.%m.%d");
            let name = template.name(template.place(Timestamp(time), ARRIVAL));
            prop_assert!(wildmatch::WildMatch::new(&template.pattern()).matches(&name));
        }

        #[test]
        fn any_text_is_a_template_or_an_error(text in "\\PC{0,30}") {
            _ = text.parse::<IndexTemplate>();
        }
    }
}
