//! AWS JSON 1.1 as Kinesis speaks it: the operations, what they ask, and how they refuse.
//!
//! Names and shapes are those of the Kinesis API reference; a field that we do not use is ignored.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::Response;
use axum::http::StatusCode;
use axum::http::header;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::event::Timestamp;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET_HEADER: &str = "x-amz-target";
const TARGET_PREFIX: &str = "Kinesis_20131202.";

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// A Kinesis operation that the endpoint knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation {
            $(#[doc = concat!("`", stringify!($name), "`")] $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the API reference.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

operations![
    CreateStream,
    DeleteStream,
    DescribeStreamSummary,
    GetRecords,
    GetShardIterator,
    ListShards,
    MergeShards,
    PutRecord,
    PutRecords,
    SplitShard,
];

impl Operation {
    /// The operation that a request is for.
    pub(super) fn named_by(headers: &HeaderMap) -> Result<Self, ServiceError> {
        let target = headers.get(TARGET_HEADER).and_then(|value| value.to_str().ok());
        let name = target.and_then(|target| target.strip_prefix(TARGET_PREFIX));
        let found = Self::ALL.iter().find(|operation| Some(operation.as_str()) == name);
        found.copied().ok_or_else(|| {
            let text = format!("no such operation: {}", target.unwrap_or_default());
            ServiceError::new(ErrorCode::UnknownOperation, &text)
        })
    }
}

/// The `__type` of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the error of the API reference whose name it has")]
pub enum ErrorCode {
    ExpiredIterator,
    ExpiredNextToken,
    InternalFailure,
    InvalidArgument,
    LimitExceeded,
    ProvisionedThroughputExceeded,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    UnknownOperation,
}

impl ErrorCode {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            // The service names this one without `Exception`.
            Self::InternalFailure => "InternalFailure",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::LimitExceeded => "LimitExceededException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
        }
    }

    fn status(self) -> StatusCode {
        if self == Self::InternalFailure {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_REQUEST
        }
    }
}

/// A request that the endpoint refuses, as it would say it to the client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct ServiceError {
    /// Which refusal.
    pub code: ErrorCode,
    /// Why, for a person.
    pub message: String,
}

impl ServiceError {
    pub(super) fn new(code: ErrorCode, message: &str) -> Self {
        Self { code, message: message.to_owned() }
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(ErrorCode::ResourceNotFound, message)
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = json!({ "__type": self.code.as_str(), "message": self.message });
        respond(self.code.status(), Body::from(body.to_string()))
    }
}

/// An answer as Kinesis sends it.
pub(super) fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    let id = format!("{:032x}", fastrand::u128(..));
    if let Ok(id) = id.parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// Reads a request body.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(body)
        .map_err(|error| ServiceError::new(ErrorCode::Serialization, &error.to_string()))
}

/// Seconds with a fraction, as the protocol writes times.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of any real date are exact in f64")]
pub(super) fn seconds(time: Timestamp) -> Value {
    json!(time.0 as f64 / 1000.0)
}

/// The name or ARN of a stream; every request about one has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StreamRef {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl StreamRef {
    /// The stream's name, out of its ARN if need be.
    pub(super) fn name(&self) -> Option<&str> {
        let by_arn = || self.stream_arn.as_deref()?.rsplit_once('/').map(|(_, name)| name);
        self.stream_name.as_deref().or_else(by_arn)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    pub(super) stream_name: String,
    pub(super) shard_count: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListShards {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    pub(super) next_token: Option<String>,
    pub(super) exclusive_start_shard_id: Option<String>,
    pub(super) max_results: Option<usize>,
    pub(super) shard_filter: Option<ShardFilterText>,
}

/// A `ShardFilter` as it is sent.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardFilterText {
    #[serde(rename = "Type")]
    kind: String,
    shard_id: Option<String>,
    timestamp: Option<f64>,
}

/// Which shards `ListShards` is asked for.
pub(super) enum ShardFilter {
    FromTrimHorizon,
    AtTrimHorizon,
    AtLatest,
    AfterShard(String),
    AtTimestamp(Timestamp),
    FromTimestamp(Timestamp),
}

impl ShardFilterText {
    pub(super) fn parse(&self) -> Result<ShardFilter, ServiceError> {
        let time = || self.timestamp.map(milliseconds);
        let filter = match self.kind.as_str() {
            "FROM_TRIM_HORIZON" => Some(ShardFilter::FromTrimHorizon),
            "AT_TRIM_HORIZON" => Some(ShardFilter::AtTrimHorizon),
            "AT_LATEST" => Some(ShardFilter::AtLatest),
            "AFTER_SHARD_ID" => self.shard_id.clone().map(ShardFilter::AfterShard),
            "AT_TIMESTAMP" => time().map(ShardFilter::AtTimestamp),
            "FROM_TIMESTAMP" => time().map(ShardFilter::FromTimestamp),
            _ => None,
        };
        filter.ok_or_else(|| ServiceError::invalid("ShardFilter is unknown or incomplete."))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetShardIterator {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    pub(super) shard_id: String,
    pub(super) shard_iterator_type: String,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) timestamp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords {
    pub(super) shard_iterator: String,
    pub(super) limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecord {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    #[serde(flatten)]
    pub(super) entry: PutEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecords {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    pub(super) records: Vec<PutEntry>,
}

/// One record to put.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutEntry {
    pub(super) partition_key: String,
    pub(super) explicit_hash_key: Option<String>,
    #[serde(deserialize_with = "base64_text")]
    pub(super) data: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SplitShard {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    pub(super) shard_to_split: String,
    pub(super) new_starting_hash_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MergeShards {
    #[serde(flatten)]
    pub(super) stream: StreamRef,
    pub(super) shard_to_merge: String,
    pub(super) adjacent_shard_to_merge: String,
}

/// A time as the protocol sends it.
#[expect(clippy::cast_possible_truncation, reason = "a float outside i64 saturates")]
pub(super) fn milliseconds(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1000.0).round() as i64)
}

/// A hash key: a decimal number of 128 bits.
pub(super) fn parse_hash_key(text: &str) -> Result<u128, ServiceError> {
    text.parse().map_err(|_| ServiceError::invalid(&format!("{text} is not a hash key.")))
}

fn base64_text<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
}
