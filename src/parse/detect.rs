//! `auto`: decides what an event is, by its log group, then by what can be nothing else.
//!
//! The log group's name says what to try first: CloudTrail and flow logs have usual names. When
//! that does not parse, or the name says nothing, only unmistakable content counts: a CloudTrail
//! event, or a flow log line of the default format. Else an object is `json` and the rest `plain`.
//! A parse error is reported only where the name promised one of the two and the message is no
//! object either; a line of text in any other group is just text.

use crate::decode::LogEvent;

use super::object::Object;
use super::schema::Schema;
use super::{Content, JsonOptions, ParseError, Source, VpcFormat, cloudtrail, vpc_flow};

/// What is in the names that people and AWS's consoles give to log groups, in lower case.
const CLOUDTRAIL: &str = "cloudtrail";
const FLOW: [&str; 3] = ["flowlog", "flow-log", "flow_log"];

/// How the names of such log groups begin.
const FLOW_BEGINS: [&str; 3] = ["/vpc/", "/aws/vpc/", "/aws/tgw/"];

/// A function's own log is text, even when the function is named after the logs that it reads.
const FUNCTIONS: &str = "/aws/lambda/";

/// What `auto` reads with: AWS's defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auto {
    format: VpcFormat,
    json: JsonOptions,
}

/// What the name of a log group promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    CloudTrail,
    VpcFlow,
    Nothing,
}

impl Promise {
    pub(super) fn of(log_group: &str) -> Self {
        let group = log_group.to_ascii_lowercase();
        if group.starts_with(FUNCTIONS) {
            Self::Nothing
        } else if group.contains(CLOUDTRAIL) {
            Self::CloudTrail
        } else if FLOW.iter().any(|name| group.contains(name))
            || FLOW_BEGINS.iter().any(|name| group.starts_with(name))
        {
            Self::VpcFlow
        } else {
            Self::Nothing
        }
    }
}

impl Auto {
    /// Reads a message; plain with an error means that the log group's name promised something else.
    pub(super) fn read<'a>(&'a self, source: &Source<'_>, event: &'a LogEvent<'a>) -> Content<'a> {
        let error = match self.read_as_promised(source, event) {
            Ok(Some(content)) => return content,
            Ok(None) => None,
            Err(error) => Some(error),
        };
        self.recognise(source, event).unwrap_or(Content::Plain(error))
    }

    /// Adds the fields of every kind.
    pub(super) fn describe(&self, schema: &mut Schema) {
        cloudtrail::describe(schema);
        vpc_flow::describe(schema);
        self.json.describe(schema);
    }

    fn read_as_promised<'a>(
        &'a self,
        source: &Source<'_>,
        event: &'a LogEvent<'a>,
    ) -> Result<Option<Content<'a>>, ParseError> {
        Ok(match source.promise() {
            Promise::CloudTrail => {
                Some(Content::CloudTrail(cloudtrail::Event::read(source, event)?))
            }
            Promise::VpcFlow => Some(Content::VpcFlow(self.format.read(source, event)?)),
            Promise::Nothing => None,
        })
    }

    fn recognise<'a>(
        &'a self,
        source: &Source<'_>,
        event: &'a LogEvent<'a>,
    ) -> Option<Content<'a>> {
        let message = event.message.as_ref();
        if message.trim_start().starts_with('{') {
            let object = Object::read(message).ok()?;
            return Some(match cloudtrail::Event::recognise(object) {
                Ok(event) => Content::CloudTrail(event),
                Err(object) => Content::Json(self.json.log(object, message)),
            });
        }
        let line = self.format.read(source, event).ok()?;
        let has = |field, values: &[&str]| line.token(field).is_some_and(|it| values.contains(&it));
        let unmistakable = has("version", &["2"])
            && has("action", &["ACCEPT", "REJECT", "-"])
            && has("log-status", &["OK", "NODATA", "SKIPDATA"])
            && line.token("interface-id").is_some_and(|id| id.starts_with("eni-"));
        unmistakable.then_some(Content::VpcFlow(line))
    }
}
