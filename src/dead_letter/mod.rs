//! Events and records that cannot be delivered, kept so that they can be understood and sent again.

mod config;
mod letter;
pub mod requests;
mod settle;
pub mod sqlite;
mod trouble;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::config::DeadLettersConfig;
pub use self::letter::{Refused, refused};
pub use self::trouble::Unstored;

/// Where on its way a record or event failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The record could not be decoded; it was never split into events.
    Decode,
    /// A destination will not take the event.
    Deliver,
}

/// A dead letter: enough to understand it at 3 a.m. and to send it again (DESIGN §10).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// A hash of stream, shard, sequence number, ordinal and destination: writing the same
    /// letter twice raises `attempts` instead.
    pub id: String,
    /// When it was written (ISO-8601).
    pub at: String,
    /// The stream, as the configuration calls it.
    pub stream: String,
    /// The AWS region of the stream.
    pub region: String,
    /// The shard.
    pub shard: String,
    /// The record's position in the shard.
    pub sequence_number: String,
    /// The user record that the event stood in, where the record is a KPL aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_sequence: Option<u32>,
    /// The event's place among the events of its record; none for a whole record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// When Kinesis took the record in (ISO-8601).
    pub arrival: String,
    /// The route that chose the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The destination that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The index it was to go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The id it was to have there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<String>,
    /// Where it failed.
    pub stage: Stage,
    /// The class of the reason.
    pub reason: String,
    /// The HTTP status of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The engine's own name for the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// What was said.
    pub error: String,
    /// How often it failed so.
    pub attempts: u32,
    /// When it first failed (ISO-8601).
    pub first_attempt_at: String,
    /// The log event that is to be sent again; none for a record that was never decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The whole record in base64, where it was never decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The document that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    /// Whether it is a letter that was sent again, and is brought up to date if it is still there:
    /// one that was dropped meanwhile does not come back.
    #[serde(skip)]
    pub is_again: bool,
}

/// A log event with the fields of its envelope, under their CloudWatch Logs names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The AWS account that owns the log group.
    pub owner: String,
    /// The log group.
    pub log_group: String,
    /// The log stream.
    pub log_stream: String,
    /// The event's id, as it came.
    pub id: String,
    /// The event's time in milliseconds since the epoch, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// The log line.
    pub message: String,
    /// What the subscription's filter pattern extracted.
    #[serde(rename = "extractedFields", skip_serializing_if = "Option::is_none")]
    pub extracted_fields: Option<Box<RawValue>>,
}
