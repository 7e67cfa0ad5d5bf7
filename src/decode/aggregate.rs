//! Takes apart what the Kinesis Producer Library aggregates: many user records in one Kinesis record.
//!
//! The format (awslabs/amazon-kinesis-producer, aggregation-format.md): four magic bytes, a protobuf
//! message, its MD5. As KCL does, what is not all of that is a plain record.

use md5::{Digest as _, Md5};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

const DIGEST: usize = 16;

/// `AggregatedRecord.records`.
const RECORDS: u32 = 3;

/// `Record.data`.
const DATA: u32 = 3;

/// The user records of an aggregate, in their order; none when the payload is no aggregate.
#[must_use]
pub fn user_records(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let rest = payload.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST)?)?;
    if Md5::digest(message).as_slice() != digest {
        return None;
    }
    fields(message, RECORDS)?.into_iter().map(|record| fields(record, DATA)?.pop()).collect()
}

/// What stands in a message under this tag, borrowed; none when it is no message.
fn fields(mut message: &[u8], wanted: u32) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        if (tag, wire_type) == (wanted, WireType::LengthDelimited) {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (field, rest) = message.split_at_checked(length)?;
            found.push(field);
            message = rest;
        } else {
            skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
        }
    }
    Some(found)
}
