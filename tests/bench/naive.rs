//! What an ordinary program does: every envelope and every document as a `serde_json::Value`.
//!
//! It is what logweir is measured against, so it is what somebody would really write who has no reason
//! to think about speed, and it makes the documents that the product makes: `stage` compares them for
//! flow logs and plain text. The structural rule, lifted leaves and dead letters it does not have.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::data::Content;

const FLOW_FIELDS: [&str; 14] = [
    "version",
    "account_id",
    "interface_id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log_status",
];

const FLOW_TEXTS: [&str; 6] =
    ["account_id", "interface_id", "srcaddr", "dstaddr", "action", "log_status"];

/// Appends the bulk lines of a record. Returns how many documents that were.
pub(crate) fn bulk_lines(content: Content, record: &[u8], body: &mut String) -> u64 {
    let mut text = String::new();
    MultiGzDecoder::new(record).read_to_string(&mut text).unwrap();
    let envelope: Value = serde_json::from_str(&text).unwrap();
    let mut documents = 0;
    for event in envelope["logEvents"].as_array().unwrap() {
        let message = event["message"].as_str().unwrap();
        let mut document = document(&envelope, event);
        let (mut time, mut id) = (event["timestamp"].as_i64().unwrap(), event["id"].clone());
        let index = match content {
            Content::VpcFlow => {
                flow(message, &mut document);
                "vpc-flowlogs"
            }
            Content::CloudTrail => {
                let Value::Object(fields) = serde_json::from_str(message).unwrap() else {
                    panic!("no object: {message}")
                };
                let own: Timestamp = fields["eventTime"].as_str().unwrap().parse().unwrap();
                time = own.as_millisecond();
                id = fields["eventID"].clone();
                document.extend(fields);
                "cloudtrail"
            }
            Content::App => {
                document.insert("log".to_owned(), serde_json::from_str(message).unwrap());
                "app"
            }
            Content::Plain => {
                document.insert("message".to_owned(), message.into());
                "web"
            }
        };
        let time = Timestamp::from_millisecond(time).unwrap();
        let stamp = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        document.insert("@timestamp".to_owned(), stamp.into());
        let index = format!("{index}-{}", time.strftime("%Y.%m.%d"));
        let action = json!({"create": {"_index": index, "_id": id}});
        body.push_str(&action.to_string());
        body.push('\n');
        body.push_str(&Value::Object(document).to_string());
        body.push('\n');
        documents += 1;
    }
    documents
}

/// What every document has.
fn document(envelope: &Value, event: &Value) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("@id".to_owned(), event["id"].clone());
    document.insert("@owner".to_owned(), envelope["owner"].clone());
    document.insert("@log_group".to_owned(), envelope["logGroup"].clone());
    document.insert("@log_stream".to_owned(), envelope["logStream"].clone());
    document.insert("@aws.region".to_owned(), "eu-west-1".into());
    document
}

fn flow(line: &str, document: &mut Map<String, Value>) {
    for (name, token) in FLOW_FIELDS.into_iter().zip(line.split_ascii_whitespace()) {
        if token == "-" {
            continue;
        }
        let value = if FLOW_TEXTS.contains(&name) {
            token.into()
        } else {
            token.parse::<u64>().unwrap().into()
        };
        document.insert(name.to_owned(), value);
        if name == "protocol" {
            let known = match token {
                "1" => "ICMP",
                "6" => "TCP",
                "17" => "UDP",
                other => panic!("no such protocol in our data: {other}"),
            };
            document.insert("protocol_name".to_owned(), known.into());
        }
    }
}
