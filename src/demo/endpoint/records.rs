//! The operations about records: shard iterators, reading and putting.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::operations::Account;
use super::operations::When;
use super::operations::hash_key_range;
use super::operations::required;
use super::protocol;
use super::protocol::ErrorCode;
use super::protocol::PutEntry;
use super::protocol::ServiceError;
use super::protocol::StreamRef;
use super::protocol::seconds;
use super::stream::Page;
use super::stream::Shard;
use super::stream::Stream;
use super::stream::hash_key;
use super::token;
use super::token::Issue;
use super::token::ShardIterator;
use super::token::StreamMark;
use crate::event::SequenceNumber;
use crate::event::ShardId;
use crate::event::Timestamp;

/// `GetRecords` returns at most this many (API reference).
const MAX_RECORDS: usize = 10_000;

/// The answer of `GetRecords`, not yet written: its data is encoded without the streams locked.
pub(super) struct Read {
    page: Page,
    next: Option<ShardIterator>,
    children: Vec<Value>,
}

impl Account {
    pub(super) fn shard_iterator(
        &self,
        asked: &protocol::GetShardIterator,
        when: When,
    ) -> Result<Value, ServiceError> {
        let stream = self.named(&asked.stream)?;
        let shard = stream.shard(&asked.shard_id)?;
        let number = || place_of(stream, shard, asked.starting_sequence_number.as_deref());
        let place = match asked.shard_iterator_type.as_str() {
            "TRIM_HORIZON" => 0,
            "LATEST" => shard.next(),
            "AT_SEQUENCE_NUMBER" => number()?,
            "AFTER_SEQUENCE_NUMBER" => number()? + 1,
            "AT_TIMESTAMP" => {
                let time = asked.timestamp.map(protocol::milliseconds);
                let time =
                    time.ok_or_else(|| ServiceError::invalid("Timestamp must be provided."))?;
                shard.place_at(time)
            }
            other => {
                let text = format!("{other} is not a ShardIteratorType.");
                return Err(ServiceError::invalid(&text));
            }
        };
        let iterator = ShardIterator {
            stream: StreamMark::new(&stream.name, stream.created),
            shard: asked.shard_id.clone(),
            place,
            issued: Issue::new(when.moment, when.generation),
        };
        Ok(json!({ "ShardIterator": token::seal(&iterator) }))
    }

    /// Reads a page from an iterator on.
    pub(super) fn read(
        &self,
        iterator: &ShardIterator,
        limit: Option<usize>,
        when: When,
    ) -> Result<Read, ServiceError> {
        if iterator.issued.is_over(when.moment, when.generation) {
            return Err(expired());
        }
        let stream = self.marked(&iterator.stream)?;
        let shard = stream.shard(&iterator.shard)?;
        let limit = limit.unwrap_or(MAX_RECORDS);
        if limit > MAX_RECORDS {
            return Err(ServiceError::invalid("Limit must be at most 10000."));
        }
        let page = shard.page(iterator.place, limit, when.wall);
        let children = stream.children(&shard.id).filter(|_| page.ended).map(describe_child);
        let issued = Issue::new(when.moment, when.generation);
        let next = ShardIterator { place: page.next, issued, ..iterator.clone() };
        Ok(Read { children: children.collect(), next: (!page.ended).then_some(next), page })
    }

    pub(super) fn put_record(
        &mut self,
        asked: protocol::PutRecord,
        now: Timestamp,
    ) -> Result<Value, ServiceError> {
        let (shard, number) = self.put_entry(&asked.stream, asked.entry, now)?;
        Ok(json!({ "ShardId": shard.as_str(), "SequenceNumber": number.as_str() }))
    }

    pub(super) fn put_records(
        &mut self,
        asked: protocol::PutRecords,
        now: Timestamp,
    ) -> Result<Value, ServiceError> {
        if !(1..=500).contains(&asked.records.len()) {
            return Err(ServiceError::invalid("PutRecords takes 1 to 500 records."));
        }
        let mut put = Vec::with_capacity(asked.records.len());
        for entry in asked.records {
            let (shard, number) = self.put_entry(&asked.stream, entry, now)?;
            put.push(json!({ "ShardId": shard.as_str(), "SequenceNumber": number.as_str() }));
        }
        Ok(json!({ "FailedRecordCount": 0, "Records": put }))
    }

    fn put_entry(
        &mut self,
        stream: &StreamRef,
        entry: PutEntry,
        now: Timestamp,
    ) -> Result<(ShardId, SequenceNumber), ServiceError> {
        let explicit = entry.explicit_hash_key.as_deref().map(protocol::parse_hash_key);
        let key = explicit.unwrap_or_else(|| Ok(hash_key(&entry.partition_key)))?;
        let shard = self.stream_mut(required(stream)?)?.shard_for(key)?;
        let number = shard.push(&entry.partition_key, Bytes::from(entry.data), now)?;
        Ok((shard.id.clone(), number))
    }
}

/// What an expired iterator is answered with.
pub(super) fn expired() -> ServiceError {
    let text = "Iterator expired: it was created more than 5 minutes ago.";
    ServiceError::new(ErrorCode::ExpiredIterator, text)
}

fn place_of(stream: &Stream, shard: &Shard, number: Option<&str>) -> Result<u64, ServiceError> {
    let number =
        number.ok_or_else(|| ServiceError::invalid("StartingSequenceNumber must be provided."))?;
    shard.place_of(number).ok_or_else(|| {
        ServiceError::invalid(&format!(
            "StartingSequenceNumber {number} used in GetShardIterator on shard {} in stream {} \
             is invalid because it did not come from this stream.",
            shard.id, stream.name
        ))
    })
}

fn describe_child(child: &Shard) -> Value {
    let parents: Vec<&str> = child.parents.iter().map(ShardId::as_str).collect();
    json!({
        "ShardId": child.id.as_str(),
        "ParentShards": parents,
        "HashKeyRange": hash_key_range(child),
    })
}

impl Read {
    /// The body of the answer.
    pub(super) fn into_json(self) -> Vec<u8> {
        let records = self.page.records.into_iter().map(|record| RecordBody {
            sequence_number: record.number.as_str().to_owned(),
            approximate_arrival_timestamp: seconds(record.arrival),
            data: BASE64_STANDARD.encode(&record.data),
            partition_key: record.partition_key,
        });
        let body = ReadBody {
            records: records.collect(),
            next_shard_iterator: self.next.as_ref().map(token::seal),
            millis_behind_latest: self.page.millis_behind,
            child_shards: (!self.children.is_empty()).then_some(self.children),
        };
        // Text and numbers always serialise.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadBody {
    records: Vec<RecordBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordBody {
    sequence_number: String,
    approximate_arrival_timestamp: Value,
    data: String,
    partition_key: Box<str>,
}
