//! Turns a log event into a document: the table from kind to parser.
//!
//! An event is *read* first (what kind it is, its own time, its id), since the index name and the
//! action line come before the document, and then *written*, straight into the body that is sent.
//! Reading finds every reason why an event cannot be a document of its kind, so that writing cannot
//! fail; such an event becomes a `plain` document that says why.
//!
//! Every document begins with `@timestamp`, `@id`, `@owner`, `@log_group`, `@log_stream` and, but for
//! `lambda`'s, `@aws.region`. These names win over the message's, and no name is ever written twice: what a
//! message calls by one of ours, or by a name that no engine takes at the root, is kept as text in
//! `@other_text`.

mod cloudtrail;
mod config;
mod detect;
mod document;
mod javascript;
mod json;
mod lambda;
mod object;
mod schema;
mod source;
mod structural;
mod tape;
mod vpc_fields;
mod vpc_flow;
mod writer;

use std::borrow::Cow;

use crate::decode::LogEvent;
use crate::event::Timestamp;
use crate::fingerprint::Fingerprint;
use crate::scan;

use self::document::Document;

pub use self::detect::Auto;
pub use self::json::{JsonOptions, LiftError};
pub use self::schema::{Field, FieldType, Schema};
pub use self::source::{Memory, Source};
pub use self::vpc_flow::{FormatError, VpcFormat};

/// What a document was made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A CloudTrail event.
    CloudTrail,
    /// A flow log line of a VPC or a Transit Gateway.
    VpcFlow,
    /// A JSON object of any other sort.
    Json,
    /// Text.
    Plain,
    /// Whatever the console's Lambda makes of it.
    Lambda,
}

impl Kind {
    /// What `auto` chooses from.
    pub const DETECTED: [Self; 4] = [Self::CloudTrail, Self::VpcFlow, Self::Json, Self::Plain];

    /// Its name in the configuration and as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::VpcFlow => "vpc_flow",
            Self::Json => "json",
            Self::Plain => "plain",
            Self::Lambda => "lambda",
        }
    }
}

/// How a route reads its events; compiled once, from the route's `parse` option.
#[derive(Clone, Debug, PartialEq)]
pub enum Parser {
    /// Every message is a CloudTrail event.
    CloudTrail,
    /// Every message is a flow log line of this format.
    VpcFlow(VpcFormat),
    /// Every message is a JSON object.
    Json(JsonOptions),
    /// A message is text, whatever it looks like.
    Plain,
    /// A message becomes what the AWS console's Lambda makes of it.
    Lambda,
    /// By log group, then by content.
    Auto(Auto),
}

impl Parser {
    /// Reads one event. What does not parse is not lost: it is `plain`, with a parse error.
    #[must_use]
    #[inline(always)]
    pub fn read<'a>(&'a self, source: &Source<'_>, event: &'a LogEvent<'a>) -> Parsed<'a> {
        // Of no other kind are there so many, and so small ones.
        if let Self::VpcFlow(format) = self
            && let Some(line) = format.read_quickly(source, event)
        {
            return Parsed::new(event, Content::VpcFlow(line));
        }
        self.read_other(source, event)
    }

    /// Reads an event that is not a flow log line as AWS writes them.
    fn read_other<'a>(&'a self, source: &Source<'_>, event: &'a LogEvent<'a>) -> Parsed<'a> {
        // Each is made in its place: to move one means to wait until it is written.
        let parsed = |content| Parsed::new(event, content);
        match self {
            Self::CloudTrail => {
                or_plain(cloudtrail::Event::read(source, event), Content::CloudTrail, parsed)
            }
            Self::VpcFlow(format) => or_plain(format.read_surely(event), Content::VpcFlow, parsed),
            Self::Json(options) => or_plain(options.read(source, event), Content::Json, parsed),
            Self::Plain => parsed(Content::Plain(None)),
            Self::Lambda => parsed(Content::Lambda),
            Self::Auto(auto) => parsed(auto.read(source, event)),
        }
    }

    /// The fields that documents of this route may have, for the index template.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let mut schema = Schema::of_every_document();
        match self {
            Self::CloudTrail => cloudtrail::describe(&mut schema),
            Self::VpcFlow(_) => vpc_flow::describe(&mut schema),
            Self::Json(options) => options.describe(&mut schema),
            Self::Plain => {}
            Self::Lambda => schema = lambda::schema(),
            Self::Auto(auto) => auto.describe(&mut schema),
        }
        schema
    }
}

/// Why an event was delivered as `plain` though its route expected something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The message is not JSON.
    #[error("{0}")]
    NotJson(String),
    /// The message is JSON, but no object.
    #[error("the message is JSON but not an object")]
    NotAnObject,
    /// The message is an object without any of the keys that make a CloudTrail event.
    #[error("the object has no eventVersion, eventID or eventName")]
    NotCloudTrail,
    /// A flow log line does not have as many fields as the format.
    #[error("the line has {found} fields, the format {expected}")]
    TokenCount {
        /// How many the format has.
        expected: usize,
        /// How many the line has.
        found: usize,
    },
    /// A field that is a number has something else.
    #[error("{0} is not a number")]
    NotANumber(&'static str),
    /// A number does not fit the field's type, or text is longer than a term may be.
    #[error("{0} is too large")]
    OutOfRange(&'static str),
    /// A field that is an IP address has something else.
    #[error("{0} is not an IP address")]
    NotAnAddress(&'static str),
}

impl ParseError {
    /// Every label that there is.
    pub const LABELS: [&'static str; 7] = [
        "not_json",
        "not_an_object",
        "not_cloudtrail",
        "token_count",
        "not_a_number",
        "out_of_range",
        "not_an_address",
    ];

    /// The value of the label `reason` in `logweir_parse_errors_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NotCloudTrail => "not_cloudtrail",
            Self::TokenCount { .. } => "token_count",
            Self::NotANumber(_) => "not_a_number",
            Self::OutOfRange(_) => "out_of_range",
            Self::NotAnAddress(_) => "not_an_address",
        }
    }
}

/// The time that goes into a document, which the caller decides because it knows the arrival.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// What becomes `@timestamp`.
    pub timestamp: Timestamp,
    /// Whether `timestamp` stands in for an impossible time of the event's own, which is then
    /// written, as it came, to `@original_time`.
    pub undated: bool,
}

/// What writing a document came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many fields were kept as JSON text because no engine would take them as they are.
    pub fields_as_text: u32,
}

/// An event that was read: enough to name its index and id, and ready to be written.
#[derive(Debug)]
pub struct Parsed<'a> {
    event: &'a LogEvent<'a>,
    content: Content<'a>,
    /// Whether the event's id is one of CloudWatch Logs' own: digits.
    has_number: bool,
}

#[derive(Debug)]
enum Content<'a> {
    CloudTrail(cloudtrail::Event<'a>),
    VpcFlow(vpc_flow::Line<'a>),
    Json(json::Log<'a>),
    Plain(Option<ParseError>),
    Lambda,
}

impl Content<'_> {
    #[inline(never)]
    fn give_back(mut self, source: &Source<'_>) {
        match &mut self {
            Self::CloudTrail(event) => event.give_back(source),
            Self::Json(log) => log.give_back(source),
            Self::VpcFlow(_) | Self::Plain(_) | Self::Lambda => {}
        }
    }
}

/// What was read as something, or else plain.
#[inline]
fn or_plain<'a, T>(
    read: Result<T, ParseError>,
    something: impl FnOnce(T) -> Content<'a>,
    parsed: impl Fn(Content<'a>) -> Parsed<'a>,
) -> Parsed<'a> {
    match read {
        Ok(read) => parsed(something(read)),
        Err(error) => parsed(Content::Plain(Some(error))),
    }
}

impl<'a> Parsed<'a> {
    #[inline(always)]
    fn new(event: &'a LogEvent<'a>, content: Content<'a>) -> Self {
        let id = event.id.as_bytes();
        let has_number =
            event.marks.has_number() || (50..=60).contains(&id.len()) && scan::all_digits(id);
        Self { event, content, has_number }
    }
}

impl Parsed<'_> {
    /// What the document will be.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::CloudTrail(_) => Kind::CloudTrail,
            Content::VpcFlow(_) => Kind::VpcFlow,
            Content::Json(_) => Kind::Json,
            Content::Plain(_) => Kind::Plain,
            Content::Lambda => Kind::Lambda,
        }
    }

    /// The event's own time: CloudTrail's `eventTime`, else the log event's timestamp. `None` when
    /// neither can be read; the record's arrival takes its place.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        match &self.content {
            Content::CloudTrail(event) => event.time().or(self.event.timestamp),
            Content::VpcFlow(_) | Content::Json(_) | Content::Plain(_) | Content::Lambda => {
                self.event.timestamp
            }
        }
    }

    /// The document's id, a pure function of the event: a CloudTrail event's GUID, else CloudWatch
    /// Logs' id where it is one, else a hash of everything that tells events apart.
    #[must_use]
    #[inline]
    pub fn document_id(&self, source: &Source<'_>) -> Cow<'_, str> {
        if let Content::CloudTrail(event) = &self.content
            && let Some(guid) = event.guid()
        {
            guid.into()
        } else if self.has_number {
            self.event.id.as_ref().into()
        } else {
            hash(source, self.event).into()
        }
    }

    /// Why the event became `plain`, when its route expected something else.
    #[must_use]
    pub fn parse_error(&self) -> Option<&ParseError> {
        match &self.content {
            Content::Plain(error) => error.as_ref(),
            Content::CloudTrail(_) | Content::VpcFlow(_) | Content::Json(_) | Content::Lambda => {
                None
            }
        }
    }

    /// Appends the document to `out`: one JSON object on one line, no line end. The source is the one that
    /// the event was read with.
    pub fn write(&self, source: &Source<'_>, stamp: Stamp, out: &mut Vec<u8>) -> Written {
        let is_lambda = matches!(self.content, Content::Lambda);
        let (time, id) = (stamp.timestamp, (self.event.id.as_ref(), self.has_number));
        let mut document = Document::begin(out, source, !is_lambda, time, id);
        if !is_lambda && let Some(extracted) = self.event.extracted_fields {
            document.open_ended("@extracted", extracted);
        }
        if stamp.undated {
            self.write_original_time(&mut document);
        }
        self.write_content(source, &mut document);
        document.end()
    }

    /// Gives what memory it has to the next event, when it was written.
    #[inline(always)]
    pub fn give_back(self, source: &Source<'_>) {
        match self.content {
            // It has none, nor anything that is to be dropped.
            Content::VpcFlow(_) => {}
            content @ (Content::CloudTrail(_)
            | Content::Json(_)
            | Content::Plain(_)
            | Content::Lambda) => {
                content.give_back(source);
            }
        }
    }

    fn write_content(&self, source: &Source<'_>, document: &mut Document<'_>) {
        match &self.content {
            Content::CloudTrail(event) => event.write(document),
            Content::VpcFlow(line) => line.write(source, document),
            Content::Json(log) => log.write(document),
            Content::Plain(error) => {
                if let Some(error) = error {
                    document.text("@parse_error", &format!("{}: {error}", error.label()));
                }
                let is_plain = self.event.marks.plain().is_some();
                document.text_that(is_plain, "message", &self.event.message);
            }
            Content::Lambda => lambda::write(self.event, document),
        }
    }

    fn write_original_time(&self, document: &mut Document<'_>) {
        if let Content::CloudTrail(event) = &self.content
            && let Some(text) = event.time_as_it_came()
        {
            document.text("@original_time", &text);
        } else if let Some(Timestamp(milliseconds)) = self.event.timestamp {
            document.text("@original_time", &milliseconds.to_string());
        }
    }
}

/// 160 bits in hexadecimal: 40 characters, which no CloudWatch Logs id and no GUID has.
fn hash(source: &Source<'_>, event: &LogEvent<'_>) -> String {
    let mut hash = Fingerprint::default();
    hash.part(source.owner().as_bytes());
    hash.part(source.log_group().as_bytes());
    hash.part(source.log_stream().as_bytes());
    match event.timestamp {
        Some(Timestamp(milliseconds)) => hash.part(&milliseconds.to_be_bytes()),
        None => hash.part(b""),
    }
    hash.part(event.id.as_bytes());
    hash.part(event.message.as_bytes());
    hash.hex(20)
}

#[cfg(test)]
mod tests;
