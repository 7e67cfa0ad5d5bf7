//! The words every stage shares: moments, timestamps, and the names of streams, shards and routes.
//!
//! No I/O, no runtime: anything above may use these types, and they use nothing but the standard
//! library and a calendar.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A point on the daemon's own monotonic clock: the time since it started.
///
/// Decisions take a `Moment` and never read a clock, so that a test or a simulation owns time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment moved `by` into the future; saturates at the end of time.
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long ago `earlier` was, zero when it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// As many digits as the ids have that CloudWatch Logs gives to events.
pub const ID_DIGITS: usize = 56;

/// Appends the id of an event: nearly always one of so many digits, which are copied without a call.
#[inline(always)]
pub fn append_id(out: &mut Vec<u8>, id: &str) {
    match id.as_bytes().as_array::<ID_DIGITS>() {
        Some(digits) => out.extend_from_slice(digits),
        None => out.extend_from_slice(id.as_bytes()),
    }
}

/// Wall-clock time in milliseconds since the Unix epoch, as CloudWatch Logs counts it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let system = || Self(jiff::Timestamp::now().as_millisecond());
        SIMULATED.with_borrow(|clock| clock.as_ref().map_or_else(system, |clock| clock()))
    }

    /// Puts a clock in place of the system's, for this thread: a simulation sets it forward and
    /// back as it likes.
    pub fn simulate(clock: impl Fn() -> Self + 'static) {
        SIMULATED.set(Some(Box::new(clock)));
    }

    /// Reads back what `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond()));
        time.ok().or_else(|| text.parse().ok().map(Self))
    }

    /// The year, month and day in UTC; `None` outside the years -9999 … 9999.
    #[must_use]
    pub fn date(self) -> Option<jiff::civil::Date> {
        Some(self.in_utc()?.date())
    }

    fn in_utc(self) -> Option<jiff::civil::DateTime> {
        let timestamp = jiff::Timestamp::from_millisecond(self.0).ok()?;
        Some(TimeZone::UTC.to_datetime(timestamp))
    }
}

thread_local! {
    static SIMULATED: RefCell<Option<Box<dyn Fn() -> Timestamp>>> = const { RefCell::new(None) };
}

/// ISO-8601 with milliseconds and `Z`, as OpenSearch, Elasticsearch and SQLite read it; the bare
/// number of milliseconds where the calendar ends.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(t) = self.in_utc() else { return write!(f, "{}", self.0) };
        let (date, time) = (t.date(), t.time());
        write!(f, "{:04}-{:02}-{:02}T", date.year(), date.month(), date.day())?;
        write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        write!(f, ".{:03}Z", time.millisecond())
    }
}

/// The position of a record in its shard.
///
/// Kinesis gives decimal text of up to 129 digits (`SequenceNumber` in the API reference), which
/// exceeds `u128`; without leading zeros the longer number is the later one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// Takes the number as Kinesis wrote it; leading zeros do not count.
    #[must_use]
    pub fn new(digits: &str) -> Self {
        let significant = digits.trim_start_matches('0');
        Self(if significant.is_empty() { "0".into() } else { significant.into() })
    }

    /// The decimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a route in the configuration: first match wins, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u16);

/// The place of a destination in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub u16);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is written.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(name.into())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a `[stream.NAME]` table: what the operator calls a Kinesis data stream.
    StreamName
}
name! {
    /// A stream as the state file knows it: its name, ARN and creation time, so that a stream
    /// made again under the same name never inherits checkpoints.
    StreamKey
}
name! {
    /// The id of a shard, such as `shardId-000000000000`.
    ShardId
}
name! {
    /// The `name` of a `[[route]]`.
    RouteName
}
name! {
    /// The name of a `[destination.NAME.KIND]` table.
    DestinationName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_sequence_number_is_the_later_one() {
        let early = SequenceNumber::new("9".repeat(55).as_str());
        let late = SequenceNumber::new(&format!("1{}", "0".repeat(128)));
        assert!(early < late);
        assert!(SequenceNumber::new("0012") == SequenceNumber::new("12"));
        assert_eq!(SequenceNumber::new("000").as_str(), "0");
    }

    #[test]
    fn timestamps_are_written_with_milliseconds_and_z() {
        assert_eq!(Timestamp(1_725_544_035_523).to_string(), "2024-09-05T13:47:15.523Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(i64::MAX).to_string(), i64::MAX.to_string());
    }

    #[test]
    fn timestamps_are_read_as_they_were_written() {
        for time in [Timestamp(1_725_544_035_523), Timestamp(-1), Timestamp(i64::MAX)] {
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }
        assert_eq!(Timestamp::parse("noon"), None);
    }
}
