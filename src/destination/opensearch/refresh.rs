//! How soon a new document can be found: a length of time, or the engines' word for never.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::units::{Period, UnitError};

/// The index setting `refresh_interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshInterval {
    /// After so long at the latest.
    Every(Period),
    /// When somebody asks the engine for it.
    Never,
}

/// As engines read and write it (Elasticsearch and OpenSearch, index settings).
const NEVER: &str = "-1";

/// A text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or \"{NEVER}\" for never")]
pub struct RefreshIntervalError(UnitError);

impl FromStr for RefreshInterval {
    type Err = RefreshIntervalError;

    fn from_str(text: &str) -> Result<Self, RefreshIntervalError> {
        if text == NEVER {
            return Ok(Self::Never);
        }
        text.parse().map(Self::Every).map_err(RefreshIntervalError)
    }
}

impl fmt::Display for RefreshInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) => period.fmt(f),
            Self::Never => f.write_str(NEVER),
        }
    }
}

impl<'de> Deserialize<'de> for RefreshInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Interval;
        impl Visitor<'_> for Interval {
            type Value = RefreshInterval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a length of time such as \"30s\", or \"{NEVER}\" for never")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RefreshInterval, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RefreshInterval, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_length_of_time_or_never() {
        #[derive(Debug, Deserialize)]
        struct Table {
            refresh_interval: RefreshInterval,
        }
        let read = |value: &str| {
            let table = toml::from_str::<Table>(&format!("refresh_interval = {value}"));
            table.map(|table| table.refresh_interval.to_string()).map_err(|error| error.to_string())
        };
        for (value, written) in [("'30s'", "30s"), ("'-1'", "-1"), ("-1", "-1"), ("'0s'", "0ms")] {
            assert_eq!(read(value).unwrap(), written, "{value}");
        }
        for value in ["'never'", "30", "'-1s'", "'-2'"] {
            let error = read(value).unwrap_err();
            assert!(error.contains("\"30s\", or \"-1\" for never"), "{error}");
        }
    }
}
