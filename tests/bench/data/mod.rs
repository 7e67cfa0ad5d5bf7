//! The data that is measured: made from a seed, so always the same bytes, and as varied as real logs.
//!
//! Each record is what one `PutLogEvents` of one log stream becomes: gzip of level 6 around one
//! envelope. The demo's generator is another one on purpose: it mixes network interfaces within a
//! record and puts chance into every id, which makes its flow logs a third harder to inflate than
//! AWS's (40 bytes of gzip an event in place of 30), and its CloudTrail events have no large ones.

mod app;
mod cloudtrail;
mod envelope;
mod odd;
mod odd_envelope;
mod text;
mod vpc_flow;

use std::fmt::Write as _;

use bytes::Bytes;
use fastrand::Rng;

use self::envelope::Envelope;
pub(crate) use self::envelope::{RECORD_DIGITS, gzip};
pub(crate) use self::odd::VERSION_5;
use self::text::put;

/// 2025-11-24T16:00:00Z, at which the first record begins.
const BEGIN: i64 = 1_764_000_000_000;

/// What a set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    VpcFlow,
    CloudTrail,
    /// JSON lines of a service.
    App,
    /// A web server's lines, and stack traces.
    Plain,
}

/// A set before it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) content: Content,
    /// Events of each record.
    pub(crate) events: usize,
    pub(crate) records: usize,
    /// Log groups that the records come from, in turn.
    pub(crate) log_groups: usize,
    /// Bytes that each message of an app carries besides what it says anyway.
    pub(crate) padding: usize,
}

/// Some 14 MB of decompressed envelope each, which no second-level cache holds.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape::new("vpc", Content::VpcFlow, 1_000, 64),
    Shape::new("vpc_small", Content::VpcFlow, 20, 3_200),
    Shape::new("cloudtrail", Content::CloudTrail, 100, 90),
    Shape::new("cloudtrail_small", Content::CloudTrail, 3, 3_000),
    Shape::new("app", Content::App, 200, 150),
    Shape::new("plain", Content::Plain, 200, 200),
];

impl Shape {
    pub(crate) const fn new(
        name: &'static str,
        content: Content,
        events: usize,
        records: usize,
    ) -> Self {
        Self { name, content, events, records, log_groups: 1, padding: 0 }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// The log group of a record. Patterns of the routes tell the contents apart.
    pub(crate) fn log_group(&self, record: usize) -> String {
        let number = record % self.log_groups;
        match self.content {
            Content::VpcFlow => format!("/vpc/prod-{number}/flowlogs"),
            Content::CloudTrail => format!("aws-cloudtrail-logs-111122223333-{number}"),
            Content::App => format!("/app/checkout-{number}"),
            Content::Plain => format!("/web/frontend-{number}"),
        }
    }

    pub(crate) fn make(&self) -> DataSet {
        let mut maker = Maker::new(*self);
        let mut set = DataSet {
            shape: *self,
            records: Vec::new(),
            events: (self.events * self.records) as u64,
            inflated: 0,
            largest: 0,
        };
        for record in 0..self.records {
            let json = maker.envelope(record);
            set.inflated += json.len();
            set.largest = set.largest.max(json.len());
            set.records.push(gzip(json.as_bytes()).into());
        }
        set
    }
}

/// Records, and what they come to.
pub(crate) struct DataSet {
    pub(crate) shape: Shape,
    /// As they are put into Kinesis.
    pub(crate) records: Vec<Bytes>,
    pub(crate) events: u64,
    /// Bytes of decompressed envelope, of all and of the largest record.
    pub(crate) inflated: usize,
    pub(crate) largest: usize,
}

impl DataSet {
    pub(crate) fn compressed(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// Makes envelopes one after another.
pub(crate) struct Maker {
    shape: Shape,
    rng: Rng,
    envelope: Envelope,
    message: String,
}

impl Maker {
    pub(crate) fn new(shape: Shape) -> Self {
        // Any number; each set gets bytes of its own.
        let seed = 6 + shape.events as u64 * 1_000 + shape.content as u64;
        Self::with_seed(shape, seed)
    }

    pub(crate) fn with_seed(shape: Shape, seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        Self { shape, rng, envelope: Envelope::default(), message: String::new() }
    }

    /// The decompressed envelope of a record.
    pub(crate) fn envelope(&mut self, record: usize) -> &str {
        let (time, interface, stream) = self.begin(record);
        let Self { shape, rng, envelope, message } = self;
        envelope.begin((&shape.log_group(record), &stream), (record, time), rng);
        for _ in 0..shape.events {
            message.clear();
            let time = put_message(message, *shape, (&interface, time), rng);
            envelope.event(time, message);
        }
        envelope.finish()
    }

    /// The same with oddities, in messages and around them.
    pub(crate) fn odd_envelope(&mut self, record: usize) -> String {
        let (time, interface, stream) = self.begin(record);
        let Self { shape, rng, .. } = self;
        let events = (0..shape.events).map(|_| {
            let mut message = String::new();
            (put_message(&mut message, *shape, (&interface, time), rng), message)
        });
        let (events, mut envelope) = (events.collect(), String::new());
        let place = (&*shape.log_group(record), &*stream);
        odd_envelope::put(&mut envelope, shape.content, place, events, rng);
        envelope
    }

    /// The time of a record's batch, and where its events come from.
    fn begin(&mut self, record: usize) -> (i64, vpc_flow::Interface, String) {
        // A subscription sends a batch every few seconds.
        let time = BEGIN + record as i64 * 1_700;
        let rng = &mut self.rng;
        let interface = vpc_flow::Interface::draw(rng);
        let mut stream = String::new();
        match self.shape.content {
            Content::VpcFlow => put!(stream, "{}-all", interface.id),
            Content::CloudTrail => {
                put!(stream, "{}_CloudTrail_{}_{}", text::ACCOUNT, text::REGION, rng.u8(1..9));
            }
            Content::App | Content::Plain => put!(stream, "task/{:032x}", rng.u128(..)),
        }
        (time, interface, stream)
    }

    /// The same, as it is put into Kinesis.
    pub(crate) fn record(&mut self, record: usize) -> Bytes {
        gzip(self.envelope(record).as_bytes()).into()
    }
}

/// Writes a message. Returns the time of its log event.
fn put_message(
    out: &mut String,
    shape: Shape,
    (interface, time): (&vpc_flow::Interface, i64),
    rng: &mut Rng,
) -> i64 {
    match shape.content {
        Content::VpcFlow => vpc_flow::put(out, interface, time, rng),
        Content::CloudTrail => cloudtrail::put(out, time, rng),
        Content::App => app::put_json(out, shape.padding, time, rng),
        Content::Plain => app::put_line(out, time, rng),
    }
}
