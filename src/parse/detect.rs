//! `auto`: decides what an event is, by its log group, then by what can be nothing else.
//!
//! The log group's name says what to try first: CloudTrail and flow logs have usual names. When
//! that does not parse, or the name says nothing, only unmistakable content counts: a CloudTrail
//! event, or a flow log line of the default format. Else an object is `json` and the rest `plain`.
//! A parse error is reported only where the name promised one of the two and the message is no
//! object either; a line of text in any other group is just text.

use wildmatch::WildMatch;

use super::object::Object;
use super::schema::Schema;
use super::{Content, JsonOptions, ParseError, VpcFormat, cloudtrail, vpc_flow};

/// The names that people and AWS's consoles give to log groups, in lower case.
const CLOUDTRAIL_GROUPS: [&str; 1] = ["*cloudtrail*"];
const FLOW_GROUPS: [&str; 6] =
    ["*flowlog*", "*flow-log*", "*flow_log*", "/vpc/*", "/aws/vpc/*", "/aws/tgw/*"];

/// A function's own log is text, even when the function is named after the logs that it reads.
const FUNCTIONS: &str = "/aws/lambda/";

/// What `auto` reads with: AWS's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Auto {
    format: VpcFormat,
    json: JsonOptions,
    cloudtrail_groups: Vec<WildMatch>,
    flow_groups: Vec<WildMatch>,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            format: VpcFormat::default(),
            json: JsonOptions::default(),
            cloudtrail_groups: CLOUDTRAIL_GROUPS.map(WildMatch::new).to_vec(),
            flow_groups: FLOW_GROUPS.map(WildMatch::new).to_vec(),
        }
    }
}

impl Auto {
    /// Reads a message; an error means that the log group's name promised something else.
    pub(super) fn read<'a>(
        &'a self,
        log_group: &str,
        message: &'a str,
    ) -> Result<Content<'a>, ParseError> {
        let promised = self.read_as_promised(log_group, message);
        if let Some(Ok(content)) = promised {
            return Ok(content);
        }
        if let Some(content) = self.recognise(message) {
            return Ok(content);
        }
        match promised {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(Content::Plain(None)),
        }
    }

    /// Adds the fields of every kind.
    pub(super) fn describe(&self, schema: &mut Schema) {
        cloudtrail::describe(schema);
        vpc_flow::describe(schema);
        self.json.describe(schema);
    }

    fn read_as_promised<'a>(
        &'a self,
        log_group: &str,
        message: &'a str,
    ) -> Option<Result<Content<'a>, ParseError>> {
        let group = log_group.to_ascii_lowercase();
        if group.starts_with(FUNCTIONS) {
            return None;
        }
        let is_one_of = |patterns: &[WildMatch]| patterns.iter().any(|name| name.matches(&group));
        if is_one_of(&self.cloudtrail_groups) {
            Some(cloudtrail::Event::read(message).map(Content::CloudTrail))
        } else if is_one_of(&self.flow_groups) {
            Some(self.format.read(message).map(Content::VpcFlow))
        } else {
            None
        }
    }

    fn recognise<'a>(&'a self, message: &'a str) -> Option<Content<'a>> {
        if message.trim_start().starts_with('{') {
            let object = Object::read(message).ok()?;
            return Some(match cloudtrail::Event::recognise(object) {
                Ok(event) => Content::CloudTrail(event),
                Err(object) => Content::Json(self.json.log(object, message)),
            });
        }
        let line = self.format.read(message).ok()?;
        let has = |field, values: &[&str]| line.token(field).is_some_and(|it| values.contains(&it));
        let unmistakable = has("version", &["2"])
            && has("action", &["ACCEPT", "REJECT", "-"])
            && has("log-status", &["OK", "NODATA", "SKIPDATA"])
            && line.token("interface-id").is_some_and(|id| id.starts_with("eni-"));
        unmistakable.then_some(Content::VpcFlow(line))
    }
}
