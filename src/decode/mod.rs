//! Turns the payload of a Kinesis record into CloudWatch Logs envelopes, all of them or none.
//!
//! Inflating, the checksum and every envelope are complete before the caller sees the first event,
//! so that a record that is broken in its last byte is one dead letter and never half delivered.

mod aggregate;
mod gunzip;
mod subscription;

pub use self::aggregate::user_records;
pub(crate) use self::subscription::{ByName, Text};
pub use self::subscription::{Decoded, Envelope, LogEvent};

/// Why a record could not be decoded. The whole record is then one dead letter.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// Nothing in the payload, or nothing in what it inflates to.
    #[error("the record is empty")]
    Empty,
    /// Neither gzip's magic number nor the brace of a JSON object comes first.
    #[error("the record is neither gzip nor a JSON object")]
    Format,
    /// A gzip member is damaged: its header, its deflate stream or its checksum.
    #[error("could not inflate gzip member {member} of the record")]
    Gzip {
        /// Which member, counted from 1.
        member: usize,
        /// What the inflater found.
        source: std::io::Error,
    },
    /// The payload ends inside a gzip member.
    #[error("the record ends inside gzip member {member}")]
    Truncated {
        /// Which member, counted from 1.
        member: usize,
    },
    /// Something that is neither a gzip member nor padding follows the last member.
    #[error("{bytes} bytes that are not gzip follow gzip member {member} of the record")]
    TrailingBytes {
        /// How many bytes are left over.
        bytes: usize,
        /// The last good member, counted from 1.
        member: usize,
    },
    /// The record expands beyond the cap.
    #[error("the record expands beyond {cap} bytes")]
    TooLarge {
        /// The cap that was given, in bytes.
        cap: usize,
    },
    /// What was inflated is not UTF-8.
    #[error("the inflated record is not UTF-8")]
    Utf8 {
        /// Where the bytes stop being text.
        source: std::str::Utf8Error,
    },
    /// What was inflated is not JSON.
    #[error("envelope {number} of the record is not JSON")]
    Json {
        /// Which envelope, counted from 1.
        number: usize,
        /// Where and why.
        source: serde_json::Error,
    },
    /// JSON, but not a CloudWatch Logs envelope: a key is missing or has the wrong type.
    #[error("envelope {number} of the record is not a CloudWatch Logs envelope")]
    Envelope {
        /// Which envelope, counted from 1.
        number: usize,
        /// Which key, and what is wrong with it.
        source: serde_json::Error,
    },
    /// One of the user records of a KPL aggregate.
    #[error("could not decode user record {number} of the aggregate")]
    UserRecord {
        /// Which, counted from 0 as its sub-sequence number is.
        number: usize,
        /// Why.
        source: Box<Self>,
    },
    /// An envelope of a kind that CloudWatch Logs did not have when this was written.
    #[error("envelope {number} of the record has the unknown messageType {found:?}")]
    MessageType {
        /// Which envelope, counted from 1.
        number: usize,
        /// The start of what it says.
        found: String,
    },
}

impl Undecodable {
    fn of_user_record(self, number: usize) -> Self {
        // That alone is about the record as a whole.
        if matches!(self, Self::TooLarge { .. }) {
            return self;
        }
        Self::UserRecord { number, source: Box::new(self) }
    }

    /// Every label that there is.
    pub const LABELS: [&'static str; 10] = [
        "empty",
        "format",
        "gzip",
        "truncated",
        "trailing_bytes",
        "too_large",
        "utf8",
        "json",
        "envelope",
        "message_type",
    ];

    /// The value of the label `reason` in `logweir_records_undecodable_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Format => "format",
            Self::Gzip { .. } => "gzip",
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::TooLarge { .. } => "too_large",
            Self::Utf8 { .. } => "utf8",
            Self::Json { .. } => "json",
            Self::Envelope { .. } => "envelope",
            Self::MessageType { .. } => "message_type",
            Self::UserRecord { source, .. } => source.label(),
        }
    }
}

/// Inflates `payload` into `inflated` (or copies plain JSON there) and reads every envelope in it.
///
/// The result borrows from `inflated`, whose old content is replaced and whose memory is reused;
/// it never grows beyond `cap` and 64 KiB.
///
/// # Errors
/// [`Undecodable`], and then nothing of the record may be used. Only `TooLarge` depends on `cap`:
/// calling again with a larger one may succeed.
pub fn decode<'a>(
    payload: &[u8],
    cap: usize,
    inflated: &'a mut Vec<u8>,
) -> Result<Decoded<'a>, Undecodable> {
    let mut decoded = Decoded::default();
    let Some(parts) = user_records(payload) else {
        gunzip::Room::new(inflated, cap).append(payload)?;
        subscription::read(text(inflated)?, None, &mut decoded)?;
        return Ok(decoded);
    };
    let mut room = gunzip::Room::new(inflated, cap);
    let mut ends = Vec::with_capacity(parts.len());
    for (number, part) in parts.into_iter().enumerate() {
        ends.push(room.append(part).map_err(|why| why.of_user_record(number))?);
    }
    drop(room);
    let (mut rest, mut begin): (&[u8], usize) = (inflated, 0);
    for (number, end) in ends.into_iter().enumerate() {
        let (user_record, others) = rest.split_at_checked(end - begin).unwrap_or((rest, &[]));
        (rest, begin) = (others, end);
        decoded.user_records = u32::try_from(number).ok();
        let read = text(user_record)
            .and_then(|text| subscription::read(text, decoded.user_records, &mut decoded));
        read.map_err(|why| why.of_user_record(number))?;
    }
    Ok(decoded)
}

fn text(bytes: &[u8]) -> Result<&str, Undecodable> {
    std::str::from_utf8(bytes).map_err(|source| Undecodable::Utf8 { source })
}

#[cfg(test)]
mod tests;
