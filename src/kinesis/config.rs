//! `[stream.NAME]`: which stream to read, from where on, and as whom.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::aws::{self, AssumeRole, Caller};
use crate::event::{StreamName, Timestamp};

/// One stream to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// The AWS region; without it that of `stream_arn`, else that of the profile or environment.
    #[serde(deserialize_with = "region")]
    pub region: Option<String>,
    /// The stream's name on AWS; the name of the table when it is the same.
    #[serde(deserialize_with = "stream_name")]
    pub stream_name: Option<String>,
    /// The stream's ARN: for a stream of another account. Requests then go to the account's own
    /// host names, as AWS routes requests that carry an ARN.
    pub stream_arn: Option<StreamArn>,
    /// Where shards are read from when the stream is read for the first time.
    pub start: Start,
    /// How records are fetched.
    pub read: Read,
    /// The endpoint, when it is not the region's own.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<Url>,
    /// The profile in the AWS configuration files that credentials come from.
    pub profile: Option<String>,
    /// A role to assume with those credentials.
    pub assume_role: Option<AssumeRole>,
}

/// Logs and errors name the endpoint, so it must hold no password.
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let url = Url::deserialize(deserializer)?;
    if !url.username().is_empty() || url.password().is_some() || url.as_str().contains('@') {
        return Err(de::Error::custom(
            "the URL holds a user or password, which Kinesis does not take: leave them out",
        ));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(de::Error::custom(
            "this is no URL of an endpoint: it must begin with https:// or http://",
        ));
    }
    Ok(Some(url))
}

fn region<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    aws::region(deserializer).map(Some)
}

fn stream_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = String::deserialize(deserializer)?;
    if is_stream_name(&value) {
        return Ok(Some(value));
    }
    Err(de::Error::custom(ValueError { value, expected: STREAM_NAME }))
}

/// `StreamName` in the API reference of Kinesis.
fn is_stream_name(text: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=128).contains(&text.len()) && text.chars().all(is_legal)
}

impl StreamConfig {
    /// How requests name the stream that the configuration calls `name`.
    pub(super) fn target(&self, name: &StreamName) -> Target {
        match (&self.stream_arn, &self.stream_name) {
            (Some(arn), _) => Target::Arn(arn.0.clone()),
            (None, Some(name)) => Target::Name(name.clone()),
            (None, None) => Target::Name(name.as_str().to_owned()),
        }
    }

    /// The region, when the configuration says it.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref().or_else(|| self.stream_arn.as_ref()?.region())
    }

    /// As whom the stream is read.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            region: self.region(),
            profile: self.profile.as_deref(),
            role: self.assume_role.as_ref(),
        }
    }

    /// Whether both tables, with their names, mean one stream, as far as they tell.
    #[must_use]
    pub fn is_same_stream(&self, name: &StreamName, other: (&StreamName, &Self)) -> bool {
        let (other_name, other) = other;
        self.target(name) == other.target(other_name)
            && self.caller() == other.caller()
            && self.endpoint == other.endpoint
    }

    /// What is wrong with these settings together, and with the name of their table, for a person.
    #[must_use]
    pub fn conflict(&self, name: &StreamName) -> Option<String> {
        let Some(arn) = &self.stream_arn else {
            let is_legal = self.stream_name.is_some() || is_stream_name(name.as_str());
            return (!is_legal).then(|| {
                format!("this is not {STREAM_NAME}: give what it is called there as `stream_name`")
            });
        };
        let other = |ours: &Option<String>, its: Option<&str>| {
            ours.as_deref().filter(|ours| Some(*ours) != its).map(str::to_owned)
        };
        if let Some(name) = other(&self.stream_name, arn.name()) {
            return Some(format!(
                "`stream_name = \"{name}\"` is not the stream of `stream_arn`: leave it out"
            ));
        }
        let region = other(&self.region, arn.region())?;
        Some(format!("`region = \"{region}\"` is not the region of `stream_arn`: leave it out"))
    }
}

/// How a request names a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// By its name, within the account of the credentials.
    Name(String),
    /// By its ARN.
    Arn(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) => f.write_str(text),
        }
    }
}

/// Where to start in a stream that was never read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record: what was put before the daemon first ran is read too.
    #[default]
    TrimHorizon,
    /// At the records that arrive from the first start on.
    Latest,
    /// At the first record that arrived at or after this time.
    At(Timestamp),
}

/// How records are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// By `GetRecords`, with the 5 calls and 2 MB a second that all consumers of a shard share.
    #[default]
    Poll,
}

/// A value that is not what its key takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct ValueError {
    value: String,
    expected: &'static str,
}

const START: &str =
    "a start: write \"trim_horizon\", \"latest\" or a time such as \"2026-01-31T06:00:00Z\"";
const STREAM_NAME: &str =
    "the name of a stream at AWS, which has 1 to 128 letters, digits, `_`, `.` and `-`";
const STREAM_ARN: &str =
    "the ARN of a stream, such as \"arn:aws:kinesis:eu-west-1:123456789012:stream/central-logs\"";

impl FromStr for Start {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "trim_horizon" => Ok(Self::TrimHorizon),
            "latest" => Ok(Self::Latest),
            time => match time.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Self::At(Timestamp(time.as_millisecond()))),
                Err(_) => Err(ValueError { value: text.to_owned(), expected: START }),
            },
        }
    }
}

/// The ARN of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamArn(String);

impl StreamArn {
    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit_once(":stream/").map(|(_, name)| name)
    }

    /// The stream's region.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.0.split(':').nth(3)
    }
}

impl FromStr for StreamArn {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().unwrap_or_default();
        let [arn, _partition, service, region, account, resource] = [(); 6].map(|()| part());
        let name = resource.strip_prefix("stream/").unwrap_or_default();
        let is_one = (arn, service) == ("arn", "kinesis")
            && ![region, account].contains(&"")
            && is_stream_name(name);
        let error = || ValueError { value: text.to_owned(), expected: STREAM_ARN };
        is_one.then(|| Self(text.to_owned())).ok_or_else(error)
    }
}

macro_rules! from_text {
    ($($name:ident: $expected:expr),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    )*};
}

from_text!(Start: START, StreamArn: STREAM_ARN);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StreamConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn a_stream_needs_no_settings() {
        let config = read("").unwrap();
        assert_eq!(config, StreamConfig::default());
        assert_eq!(config.target(&StreamName::new("logs")), Target::Name("logs".to_owned()));
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(read("start = 'latest'").unwrap().start, Start::Latest);
        let at = read("start = '2024-09-05T15:47:15.523+02:00'").unwrap().start;
        assert_eq!(at, Start::At(Timestamp(1_725_544_035_523)));
        for wrong in ["'yesterday'", "7", "2024-09-05T13:47:15Z"] {
            let error = read(&format!("start = {wrong}")).unwrap_err();
            assert!(error.contains("trim_horizon") && error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn a_name_that_no_stream_has_at_aws_is_refused() {
        let long = "a".repeat(129);
        for wrong in ["", "a b", "a/b", "größe", &long] {
            let error = read(&format!("stream_name = '{wrong}'")).unwrap_err();
            assert!(error.contains("letters, digits") && error.contains("line 1"), "{error}");
            let conflict = read("").unwrap().conflict(&StreamName::new(wrong)).unwrap();
            assert!(conflict.contains("as `stream_name`"), "{conflict}");
        }
        let named = read("stream_name = 'Central_logs.2-a'").unwrap();
        assert_eq!(named.conflict(&StreamName::new("größe")), None);
        assert_eq!(read("").unwrap().conflict(&StreamName::new(&"a".repeat(128))), None);
    }

    #[test]
    fn an_unknown_way_of_reading_is_told_the_known_ones() {
        let error = read("read = 'fan_out'").unwrap_err();
        assert!(error.contains("fan_out") && error.contains("`poll`"), "{error}");
        assert!(read("shards = 3").unwrap_err().contains("unknown field `shards`"));
    }

    #[test]
    fn a_role_is_an_arn_or_a_table_with_an_external_id() {
        let arn = "arn:aws:iam::123456789012:role/reader";
        let plain = read(&format!("assume_role = '{arn}'")).unwrap().assume_role.unwrap();
        assert_eq!((plain.arn.as_str(), plain.external_id), (arn, None));
        let table = format!("assume_role = {{ arn = '{arn}', external_id = 'x' }}");
        let table = read(&table).unwrap().assume_role.unwrap();
        assert_eq!(table.external_id.as_deref(), Some("x"));
        for wrong in ["'reader'", "{ external_id = 'x' }", "{ arn = 'x' }", "1"] {
            assert!(read(&format!("assume_role = {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_arn_gives_name_and_region_and_must_agree_with_them() {
        let name = StreamName::new("größe");
        let arn = "stream_arn = 'arn:aws:kinesis:eu-west-1:123456789012:stream/central'";
        let config = read(arn).unwrap();
        assert_eq!(config.region(), Some("eu-west-1"));
        assert_eq!(config.conflict(&name), None);
        let other = read(&format!("{arn}\nregion = 'us-east-1'")).unwrap();
        assert!(other.conflict(&name).unwrap().contains("us-east-1"));
        let other = read(&format!("{arn}\nstream_name = 'logs'")).unwrap();
        assert!(other.conflict(&name).unwrap().contains("logs"));
        for wrong in [
            "arn:aws:kinesis:eu-west-1:1:stream/",
            "arn:aws:kinesis:eu-west-1:1:stream/a b",
            "central",
            "arn:aws:s3:::bucket",
        ] {
            assert!(read(&format!("stream_arn = '{wrong}'")).unwrap_err().contains("ARN of a"));
        }
    }
}
