//! Sizes and lengths of time as people write them in a configuration: `64MiB`, `10 MB`, `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes. Written with a unit (`64MiB`, `10 MB`) or as a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub usize);

/// A length of time, such as `500ms`, `30s`, `10m`, `12h` or `30d`. A unit is required: a bare
/// number would leave the reader guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// Why a text is no size or length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It is written otherwise.
    #[error("`{value}` is not {expected}")]
    Unlike {
        /// The text.
        value: String,
        /// How one is written.
        expected: &'static str,
    },
    /// It has more bytes or milliseconds than there are numbers for.
    #[error("`{value}` is {more} than can be counted: write less")]
    TooMuch {
        /// The text.
        value: String,
        /// In which way.
        more: &'static str,
    },
}

const SIZE: &str = "a size: write a whole number with B, KB, MB, GB, TB (powers of 1000) or KiB, \
                    MiB, GiB, TiB (powers of 1024), such as \"64MiB\"";
const PERIOD: &str =
    "a length of time: write a whole number with ms, s, m, h or d, such as \"30s\"";

/// Largest first, so that the first one that divides a size is the shortest way to write it.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

const PERIOD_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let unlike = || UnitError::Unlike { value: text.to_owned(), expected: SIZE };
        let too_much = || UnitError::TooMuch { value: text.to_owned(), more: "larger" };
        let (number, unit) = number_and_unit(text).ok_or_else(unlike)?;
        let factor = if unit.is_empty() {
            Some(1)
        } else {
            factor(&SIZE_UNITS, |name| name.eq_ignore_ascii_case(unit))
        };
        let bytes = product(number, factor.ok_or_else(unlike)?).ok_or_else(too_much)?;
        Ok(Self(usize::try_from(bytes).map_err(|_| too_much())?))
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let unlike = || UnitError::Unlike { value: text.to_owned(), expected: PERIOD };
        let too_much = || UnitError::TooMuch { value: text.to_owned(), more: "longer" };
        let (number, unit) = number_and_unit(text).ok_or_else(unlike)?;
        let factor = factor(&PERIOD_UNITS, |name| name == unit).ok_or_else(unlike)?;
        Ok(Self(Duration::from_millis(product(number, factor).ok_or_else(too_much)?)))
    }
}

/// The digits of a number, and what follows.
fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

/// None where it is too much.
fn product(digits: &str, factor: u64) -> Option<u64> {
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn factor(units: &[(&str, u64)], is: impl Fn(&str) -> bool) -> Option<u64> {
    units.iter().find(|(name, _)| is(name)).map(|(_, factor)| *factor)
}

/// The largest unit that leaves a whole number.
fn write_in(f: &mut fmt::Formatter<'_>, units: &[(&str, u64)], value: u64) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    let (name, factor) =
        units.iter().find(fits).or_else(|| units.last()).copied().unwrap_or(("", 1));
    write!(f, "{}{name}", value / factor)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, &SIZE_UNITS, self.0 as u64)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, &PERIOD_UNITS, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SIZE)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                self.visit_str(&bytes.to_string())
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                self.visit_str(&bytes.to_string())
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(PERIOD)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Period, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Period, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Time)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Deserialize)]
    struct Config {
        size: ByteSize,
        period: Period,
    }

    #[test]
    fn sizes_and_periods_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("10 MB", 10_000_000),
            ("1gib", 1 << 30),
            ("512", 512),
            ("7 B", 7),
            (" 3KiB ", 3072),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2 h", 7200), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(Period(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!("500ms".parse(), Ok(Period(Duration::from_millis(500))));
    }

    #[test]
    fn an_error_names_the_value_and_shows_an_example() {
        for text in ["", "MiB", "64M", "1.5GiB", "-3MB", "6ӿ"] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("64MiB"), "{error}");
        }
        for text in ["", "s", "30", "1.5h", "-3s", "30 seconds", "5M"] {
            let error = text.parse::<Period>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("30s"), "{error}");
        }
    }

    #[test]
    fn too_much_is_told_as_that() {
        let much = |error: UnitError| matches!(error, UnitError::TooMuch { .. });
        for text in ["18446744073709551615TiB", "99999999999999999999"] {
            assert!(text.parse::<ByteSize>().is_err_and(much), "{text}");
        }
        for text in ["99999999999999d", "99999999999999999999ms"] {
            assert!(text.parse::<Period>().is_err_and(much), "{text}");
        }
        assert!(!"99999999999999999999 fortnights".parse::<Period>().is_err_and(much));
    }

    #[test]
    fn toml_takes_text_and_for_sizes_plain_numbers() {
        let config: Config = toml::from_str("size = 4096\nperiod = '90s'").unwrap();
        assert_eq!((config.size.0, config.period.0), (4096, Duration::from_secs(90)));
        let error = toml::from_str::<Config>("size = '1MiB'\nperiod = 90").unwrap_err();
        assert!(error.to_string().contains("`90` is not a length of time"), "{error}");
        let error = toml::from_str::<Config>("size = -1\nperiod = '90s'").unwrap_err();
        assert!(error.to_string().contains("`-1` is not a size"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(bytes: u32, millis: u32, text: String) {
            let (size, period) = (ByteSize(bytes as usize), Period(Duration::from_millis(millis.into())));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            _ = (text.parse::<ByteSize>(), text.parse::<Period>());
        }
    }
}
