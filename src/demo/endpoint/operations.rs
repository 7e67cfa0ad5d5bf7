//! The streams of the account, and the operations about streams and shards.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use super::protocol;
use super::protocol::ErrorCode;
use super::protocol::ServiceError;
use super::protocol::ShardFilter;
use super::protocol::ShardFilterText;
use super::protocol::StreamRef;
use super::protocol::seconds;
use super::stream::HashKeys;
use super::stream::RETENTION_HOURS;
use super::stream::Shard;
use super::stream::Stream;
use super::token;
use super::token::Issue;
use super::token::ListToken;
use super::token::StreamMark;
use crate::event::Moment;
use crate::event::Timestamp;

/// The account that owns every stream.
pub(super) const ACCOUNT: &str = "111122223333";
/// The region that every stream is in.
pub(super) const REGION: &str = "us-east-1";

/// `ListShards` returns this many unless told otherwise (API reference).
const LIST_SHARDS: usize = 1_000;

/// When a request is answered: by the wall, by the endpoint's own clock, and in which generation
/// of iterators.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) wall: Timestamp,
    pub(super) moment: Moment,
    pub(super) generation: u64,
}

/// Every stream of the account.
#[derive(Default)]
pub(super) struct Account {
    streams: BTreeMap<String, Stream>,
    newest: Timestamp,
}

impl Account {
    pub(super) fn create(
        &mut self,
        name: &str,
        shards: u32,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        if self.streams.contains_key(name) {
            let text = format!("Stream {name} under account {ACCOUNT} already exists.");
            return Err(ServiceError::new(ErrorCode::ResourceInUse, &text));
        }
        // No two streams are of the same moment, so that one made again is told from the first.
        self.newest = Timestamp(now.0.max(self.newest.0 + 1));
        self.streams.insert(name.to_owned(), Stream::new(name, shards, self.newest));
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), ServiceError> {
        self.streams.remove(name).map(drop).ok_or_else(|| no_stream(name))
    }

    pub(super) fn stream(&self, name: &str) -> Result<&Stream, ServiceError> {
        self.streams.get(name).ok_or_else(|| no_stream(name))
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> Result<&mut Stream, ServiceError> {
        self.streams.get_mut(name).ok_or_else(|| no_stream(name))
    }

    pub(super) fn named(&self, stream: &StreamRef) -> Result<&Stream, ServiceError> {
        self.stream(required(stream)?)
    }

    /// The stream that a token was made for, unless another has its name now.
    pub(super) fn marked(&self, mark: &StreamMark) -> Result<&Stream, ServiceError> {
        let stream = self.stream(&mark.name)?;
        if mark.is_of(stream.created) { Ok(stream) } else { Err(no_stream(&mark.name)) }
    }

    pub(super) fn describe(&self, asked: &StreamRef) -> Result<Value, ServiceError> {
        let stream = self.named(asked)?;
        Ok(json!({ "StreamDescriptionSummary": {
            "StreamName": stream.name,
            "StreamARN": arn(&stream.name),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
            "RetentionPeriodHours": RETENTION_HOURS,
            "StreamCreationTimestamp": seconds(stream.created),
            "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
            "EncryptionType": "NONE",
            "OpenShardCount": stream.shards.iter().filter(|shard| shard.is_open()).count(),
            "ConsumerCount": 0,
        }}))
    }

    pub(super) fn list_shards(
        &self,
        asked: &protocol::ListShards,
        when: When,
    ) -> Result<Value, ServiceError> {
        let (stream, after, filter) = self.list_from(asked, when)?;
        let limit = asked.max_results.unwrap_or(LIST_SHARDS).clamp(1, 10_000);
        let parsed = filter.as_ref().map(ShardFilterText::parse).transpose()?;
        let parsed = parsed.unwrap_or(ShardFilter::FromTrimHorizon);
        // Ids have twelve digits, so that their order as text is the order they were made in.
        let wanted =
            stream.filtered(&parsed, when.wall).filter(|shard| *shard.id.as_str() > *after);
        let mut shards: Vec<&Shard> = wanted.take(limit + 1).collect();
        let more = shards.len() > limit;
        shards.truncate(limit);
        let listed: Vec<Value> = shards.iter().map(|shard| describe_shard(shard)).collect();
        let mut answer = json!({ "Shards": listed });
        if let (true, Some(last)) = (more, shards.last()) {
            let token = ListToken {
                stream: StreamMark::new(&stream.name, stream.created),
                after: last.id.as_str().to_owned(),
                filter,
                issued: Issue::new(when.moment, 0),
            };
            add(&mut answer, "NextToken", token::seal(&token).into());
        }
        Ok(answer)
    }

    /// The stream to list, the shard to begin after, and what to let through.
    fn list_from<'a>(
        &'a self,
        asked: &'a protocol::ListShards,
        when: When,
    ) -> Result<(&'a Stream, Cow<'a, str>, Option<ShardFilterText>), ServiceError> {
        let Some(text) = &asked.next_token else {
            let after = asked.exclusive_start_shard_id.as_deref().unwrap_or_default();
            return Ok((self.named(&asked.stream)?, after.into(), asked.shard_filter.clone()));
        };
        if asked.stream.name().is_some() {
            let text = "NextToken and StreamName cannot be provided together.";
            return Err(ServiceError::invalid(text));
        }
        let token: ListToken =
            token::unseal(text).ok_or_else(|| ServiceError::invalid("NextToken is not valid."))?;
        if token.issued.is_over(when.moment, 0) {
            let text = "NextToken is older than 300 seconds.";
            return Err(ServiceError::new(ErrorCode::ExpiredNextToken, text));
        }
        Ok((self.marked(&token.stream)?, token.after.into(), token.filter))
    }

    pub(super) fn split_shard(
        &mut self,
        asked: &protocol::SplitShard,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let at = protocol::parse_hash_key(&asked.new_starting_hash_key)?;
        let stream = self.stream_mut(required(&asked.stream)?)?;
        stream.split(&asked.shard_to_split, Some(at), now).map(drop)
    }

    pub(super) fn merge_shards(
        &mut self,
        asked: &protocol::MergeShards,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let stream = self.stream_mut(required(&asked.stream)?)?;
        stream.merge(&asked.shard_to_merge, &asked.adjacent_shard_to_merge, now).map(drop)
    }
}

/// The name that a request must have.
pub(super) fn required(stream: &StreamRef) -> Result<&str, ServiceError> {
    stream.name().ok_or_else(|| ServiceError::invalid("StreamName or StreamARN must be provided."))
}

fn no_stream(name: &str) -> ServiceError {
    ServiceError::not_found(&format!("Stream {name} under account {ACCOUNT} not found."))
}

/// The ARN of a stream.
pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
}

/// Adds a field to an answer.
pub(super) fn add(answer: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = answer {
        fields.insert(name.to_owned(), value);
    }
}

/// The hash keys of a shard, as every answer writes them.
pub(super) fn hash_key_range(shard: &Shard) -> Value {
    let HashKeys { first, last } = shard.hash_keys;
    json!({ "StartingHashKey": first.to_string(), "EndingHashKey": last.to_string() })
}

fn describe_shard(shard: &Shard) -> Value {
    let mut numbers = json!({ "StartingSequenceNumber": shard.starting_number().as_str() });
    if let Some(ending) = shard.ending_number() {
        add(&mut numbers, "EndingSequenceNumber", ending.as_str().into());
    }
    let mut described = json!({
        "ShardId": shard.id.as_str(),
        "HashKeyRange": hash_key_range(shard),
        "SequenceNumberRange": numbers,
    });
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(&shard.parents) {
        add(&mut described, name, parent.as_str().into());
    }
    described
}
