//! The subscription envelope, written event by event in AWS's order of keys, and its gzip.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::text::ACCOUNT;
use super::text::REGION;
use super::text::put;
use super::text::put_json;
use crate::demo::ledger::ID_PREFIX;
use crate::event::Timestamp;

/// An envelope being written; its buffer is used again for the next.
#[derive(Default)]
pub(super) struct Envelope {
    json: String,
    events: usize,
    extracted: bool,
}

/// What the top of an envelope says.
pub(super) struct Head<'a> {
    pub(super) message_type: &'static str,
    pub(super) log_group: &'a str,
    pub(super) log_stream: &'a str,
    /// The subscription is the account's, not the log group's.
    pub(super) account_policy: bool,
    /// Its events carry `extractedFields`.
    pub(super) extracted: bool,
}

impl Envelope {
    pub(super) fn begin(&mut self, head: &Head<'_>) {
        self.json.clear();
        self.events = 0;
        self.extracted = head.extracted;
        let Head { message_type, log_group, log_stream, .. } = head;
        let out = &mut self.json;
        put!(out, r#"{{"messageType":"{message_type}","owner":"{ACCOUNT}","logGroup":"#);
        put!(
            out,
            r#""{log_group}","logStream":"{log_stream}","subscriptionFilters":["to-kinesis"]"#
        );
        if head.account_policy {
            out.push_str(r#","policyLevel":"ACCOUNT_LEVEL_POLICY""#);
        }
        out.push_str(r#","logEvents":["#);
    }

    pub(super) fn event(&mut self, id: u128, time: Timestamp, message: &mut String) {
        let out = &mut self.json;
        if self.events > 0 {
            out.push(',');
        }
        self.events += 1;
        put!(out, r#"{{"id":"{ID_PREFIX}{id:038}","timestamp":{},"message":"#, time.0);
        put_json(out, message);
        if self.extracted {
            put!(out, r#","extractedFields":{{"@aws.account":"{ACCOUNT}","#);
            put!(out, r#""@aws.region":"{REGION}"}}"#);
        }
        out.push('}');
    }

    /// Ends the envelope, and returns it compressed as CloudWatch Logs does.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.json.push_str("]}");
        gzip(self.json.as_bytes())
    }
}

/// The control message by which CloudWatch Logs tries the stream.
pub(super) fn control_message(time: Timestamp) -> Vec<u8> {
    let mut json = String::new();
    put!(json, r#"{{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","#);
    put!(json, r#""logStream":"","subscriptionFilters":[],"logEvents":[{{"id":"","timestamp":"#);
    put!(json, r#"{},"message":"CWL CONTROL MESSAGE: Checking health of "#, time.0);
    put!(json, r#"destination Kinesis stream."}}]}}"#);
    gzip(json.as_bytes())
}

/// One gzip member of level 6, which is the default.
pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(6));
    let written = encoder.write_all(plain);
    debug_assert!(written.is_ok(), "a Vec takes everything");
    encoder.finish().unwrap_or_default()
}
