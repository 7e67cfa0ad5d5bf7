//! Writes what CloudWatch Logs subscriptions write, in all its variety, from a seed: the same
//! options make the same bytes. What must become of each event goes into a [`Ledger`].

mod app;
mod cloudtrail;
mod envelope;
mod schedule;
mod text;
mod vpc_flow;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use fastrand::Rng;

use self::envelope::Envelope;
use self::envelope::Head;
use self::schedule::Schedule;
use self::schedule::Special;
use self::schedule::Undecodable;
use self::text::Calendar;
use self::text::put;
use crate::demo::ledger::Expected;
use crate::demo::ledger::ExpectedFate;
use crate::demo::ledger::Ledger;
use crate::demo::log_group::LogGroup;
use crate::event::Timestamp;

const DAY_MILLIS: i64 = 86_400_000;

/// A time that cannot be: CloudWatch Logs began in 2014.
const IN_2001: Timestamp = Timestamp(1_000_000_000_000);

/// Ten years, by which a wrong clock runs ahead.
const FAR_AHEAD: i64 = 3650 * DAY_MILLIS;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorOptions {
    /// The same seed makes the same bytes.
    pub seed: u64,
    /// How many events, exactly; those inside undecodable records do not count.
    pub events: u64,
    /// The events are of the day before this moment and of its day until then.
    pub now: Timestamp,
}

/// A record for `PutRecord`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// The partition key, random as CloudWatch Logs chooses it.
    pub partition_key: String,
    /// The payload.
    pub data: Vec<u8>,
}

/// Makes the records, one by one.
pub struct Generator {
    options: GeneratorOptions,
    rng: Rng,
    schedule: Schedule,
    calendar: Calendar,
    envelope: Envelope,
    message: String,
    /// Events so far.
    made: u64,
    /// Ids so far, those in undecodable records included.
    ids: u64,
}

impl Generator {
    /// A generator at its beginning.
    #[must_use]
    pub fn new(options: GeneratorOptions) -> Self {
        Self {
            options,
            rng: Rng::with_seed(options.seed),
            schedule: Schedule::new(options.events),
            calendar: Calendar::default(),
            envelope: Envelope::default(),
            message: String::new(),
            made: 0,
            ids: 0,
        }
    }

    /// The next record, noted in the ledger; none when all events are made.
    pub fn next_record(&mut self, ledger: &mut Ledger) -> Option<GeneratedRecord> {
        if self.made >= self.options.events {
            return None;
        }
        let data = match self.schedule.due(self.made) {
            Some(Special::Control) => {
                ledger.control += 1;
                envelope::control_message(self.time())
            }
            Some(Special::Undecodable(kind)) => {
                ledger.undecodable += 1;
                self.undecodable(kind)
            }
            special => self.events(special, ledger),
        };
        ledger.records += 1;
        Some(GeneratedRecord { partition_key: format!("{:032x}", self.rng.u128(..)), data })
    }

    /// A record full of events of one log stream.
    fn events(&mut self, special: Option<Special>, ledger: &mut Ledger) -> Vec<u8> {
        let group = special.map_or_else(|| any_group(&mut self.rng), group_of);
        let count = self.record_size(special);
        // The special event is one of them.
        let at = self.rng.u64(..count);
        self.begin(group, "DATA_MESSAGE");
        for index in 0..count {
            self.message.clear();
            let event = match special.filter(|_| index == at) {
                Some(special) => self.special_event(special, ledger),
                None => self.event(group, ledger),
            };
            ledger.note(event);
            self.made += 1;
        }
        self.envelope.finish()
    }

    /// How many events a record has: mostly some hundreds, now and then one or thousands.
    fn record_size(&mut self, special: Option<Special>) -> u64 {
        let size = match self.rng.u8(..100) {
            _ if special.is_some() => 3,
            0..5 => 1,
            5..15 => self.rng.u64(2..50),
            15..96 => self.rng.u64(50..=500),
            _ => self.rng.u64(500..=5000),
        };
        // Small runs get many records nevertheless.
        let most =
            if special.is_some() { self.options.events / 64 } else { self.options.events / 8 };
        size.min(most.max(1)).min(self.options.events - self.made)
    }

    fn begin(&mut self, group: LogGroup, message_type: &'static str) {
        let stream = self.log_stream(group);
        let rng = &mut self.rng;
        let head = Head {
            message_type,
            log_group: group.name(),
            log_stream: &stream,
            account_policy: rng.u8(..100) < 5,
            extracted: rng.u8(..100) < 10,
        };
        self.envelope.begin(&head);
    }

    fn log_stream(&mut self, group: LogGroup) -> String {
        let mut stream = String::new();
        match group {
            LogGroup::CloudTrail => {
                put!(stream, "{}_CloudTrail_{}_", text::ACCOUNT, text::REGION);
                put!(stream, "{}", self.rng.u8(1..5));
            }
            LogGroup::Flow | LogGroup::EdgeFlow => {
                vpc_flow::put_interface(&mut stream, self.rng.u64(..vpc_flow::INTERFACES));
                stream.push_str("-all");
            }
            LogGroup::Checkout => {
                let date =
                    self.options.now.date().unwrap_or_default().to_string().replace('-', "/");
                put!(stream, "{date}/[$LATEST]{:032x}", self.rng.u128(..));
            }
            LogGroup::Web | LogGroup::Trace => {
                put!(stream, "web/{:016x}", self.rng.u64(..));
            }
        }
        stream
    }

    /// Writes an ordinary event of the group.
    fn event(&mut self, group: LogGroup, ledger: &mut Ledger) -> Expected {
        let time = self.time();
        let (out, calendar, rng) = (&mut self.message, &mut self.calendar, &mut self.rng);
        let mut fate = ExpectedFate::Delivered;
        match group {
            LogGroup::CloudTrail => return self.cloudtrail_event(time),
            LogGroup::Flow => {
                let interface = rng.u64(..vpc_flow::INTERFACES);
                vpc_flow::put_default(out, interface, time, rng);
            }
            LogGroup::EdgeFlow => {
                let interface = rng.u64(..vpc_flow::INTERFACES);
                vpc_flow::put_edge(out, interface, time, rng);
            }
            LogGroup::Checkout => {
                let plain = app::put_checkout(out, calendar, time, rng);
                ledger.plain_in_json += u64::from(plain);
            }
            LogGroup::Web => app::put_web(out, calendar, time, rng),
            LogGroup::Trace => {
                fate = ExpectedFate::Filtered;
                app::put_trace(out, rng);
            }
        }
        let id = self.add(time);
        Expected { group, fate, time, id }
    }

    /// CloudTrail delivers minutes later; the document has the GUID and time of the event itself.
    fn cloudtrail_event(&mut self, time: Timestamp) -> Expected {
        let earlier = time.0 - self.rng.i64(60_000..600_000);
        let own = Timestamp(earlier.max(self.start()) / 1000 * 1000);
        let entry = cloudtrail::Entry { id: text::guid(&mut self.rng), time: own };
        let (out, calendar) = (&mut self.message, &mut self.calendar);
        cloudtrail::put_event(out, &entry, calendar, &mut self.rng);
        self.add(time);
        let group = LogGroup::CloudTrail;
        Expected { group, fate: ExpectedFate::Delivered, time: own, id: entry.id }
    }

    fn special_event(&mut self, special: Special, ledger: &mut Ledger) -> Expected {
        let group = group_of(special);
        let mut time = self.time();
        let mut fate = ExpectedFate::Delivered;
        let (out, calendar, rng) = (&mut self.message, &mut self.calendar, &mut self.rng);
        match special {
            Special::Oversized => {
                fate = ExpectedFate::DeadLettered;
                app::put_oversized(out, calendar, time, rng);
            }
            Special::Unparsable => {
                ledger.parse_errors += 1;
                vpc_flow::put_broken(out, rng.u64(..vpc_flow::INTERFACES), rng);
            }
            Special::LongAgo | Special::FarAhead => {
                fate = ExpectedFate::DeliveredUndated;
                let ahead = Timestamp(self.options.now.0 + FAR_AHEAD);
                time = if special == Special::LongAgo { IN_2001 } else { ahead };
                app::put_web(out, calendar, time, rng);
            }
            // Both are records of their own, without events.
            Special::Control | Special::Undecodable(_) => {}
        }
        let id = self.add(time);
        Expected { group, fate, time, id }
    }

    /// Adds the message to the envelope under a new id.
    fn add(&mut self, time: Timestamp) -> u128 {
        let id = self.next_id();
        self.envelope.event(id, time, &mut self.message);
        id
    }

    /// A record that nobody can decode. The events in it, if any, are lost to everybody.
    fn undecodable(&mut self, kind: Undecodable) -> Vec<u8> {
        let message_type = match kind {
            Undecodable::Truncated => "DATA_MESSAGE",
            Undecodable::UnknownType => "HEARTBEAT_MESSAGE",
            Undecodable::BadJson => {
                return envelope::gzip(
                    br#"{"messageType":"DATA_MESSAGE","owner":"111122223333","lo"#,
                );
            }
        };
        self.begin(LogGroup::Web, message_type);
        for _ in 0..5 {
            self.message.clear();
            let time = self.time();
            app::put_web(&mut self.message, &mut self.calendar, time, &mut self.rng);
            self.add(time);
        }
        let mut data = self.envelope.finish();
        if kind == Undecodable::Truncated {
            data.truncate(data.len() / 2);
        }
        data
    }

    /// 38 digits that rise: the run, the event's place in it, and chance.
    fn next_id(&mut self) -> u128 {
        const PLACES: u128 = 10_000_000_000;
        const CHANCES: u64 = 1_000_000_000_000_000;
        self.ids += 1;
        let run = u128::from(self.options.now.0.clamp(0, 9_999_999_999_999).unsigned_abs());
        let place = run * PLACES + u128::from(self.ids) % PLACES;
        place * u128::from(CHANCES) + u128::from(self.rng.u64(..CHANCES))
    }

    /// The time of the next event: the run's events are spread evenly until now.
    fn time(&self) -> Timestamp {
        let (start, now) = (self.start(), self.options.now.0);
        let passed = i128::from(now - start) * i128::from(self.made);
        let passed = passed / i128::from(self.options.events.max(1));
        Timestamp(start + i64::try_from(passed).unwrap_or(0))
    }

    /// Midnight at which yesterday began.
    const fn start(&self) -> i64 {
        (self.options.now.0.div_euclid(DAY_MILLIS) - 1) * DAY_MILLIS
    }
}

fn any_group(rng: &mut Rng) -> LogGroup {
    match rng.u8(..100) {
        0..40 => LogGroup::Flow,
        40..55 => LogGroup::EdgeFlow,
        55..70 => LogGroup::CloudTrail,
        70..82 => LogGroup::Checkout,
        82..94 => LogGroup::Web,
        _ => LogGroup::Trace,
    }
}

/// The log group that a special event appears in.
const fn group_of(special: Special) -> LogGroup {
    match special {
        Special::Oversized => LogGroup::Checkout,
        Special::Unparsable => LogGroup::Flow,
        Special::LongAgo | Special::FarAhead | Special::Control | Special::Undecodable(_) => {
            LogGroup::Web
        }
    }
}
