//! Turns the payload of a Kinesis record into CloudWatch Logs envelopes, all of them or none.
//!
//! Inflating, the checksum and every envelope are complete before the caller sees the first event,
//! so that a record that is broken in its last byte is one dead letter and never half delivered.

mod aggregate;
mod gunzip;
mod quick;
mod subscription;
mod unescape;

use self::gunzip::{Inflater, Room};
use self::quick::Spare;
use self::unescape::WINDOW;

pub use self::aggregate::user_records;
pub(crate) use self::subscription::{ByName, Text};
pub use self::subscription::{Decoded, Envelope, LogEvent, Marks};

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

/// What decoding reuses from record to record.
#[derive(Default)]
pub struct Buffers {
    inflater: Inflater,
    /// Where in it each user record ends, or the whole record.
    ends: Vec<usize>,
    /// Text that had escapes, without them.
    unescaped: Vec<u8>,
    /// The places in it of what had them.
    marks: Vec<u32>,
}

/// For so many bytes that are inflated there is room for one mark, of four bytes. Messages that are
/// JSON have fewer; where they do not, the last ones of a record have no marks.
const BYTES_OF_MARK: usize = 8;

impl Buffers {
    /// How many bytes it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let marks = self.marks.capacity() * size_of::<u32>();
        self.inflater.bytes.capacity() + self.unescaped.capacity() + marks
    }

    /// What the last payload expanded to, as far as it could be inflated.
    #[must_use]
    pub fn inflated(&self) -> &[u8] {
        self.inflater.bytes.get(..self.inflater.filled).unwrap_or_default()
    }
}

/// Inflates `payload` (or copies plain JSON) and reads every envelope in it.
///
/// The result borrows from `buffers`, whose old content is replaced and whose memory is reused;
/// what is inflated never takes more than `cap` and 64 KiB, and what is unescaped no more than that,
/// and its marks half of it.
///
/// # Errors
/// [`Undecodable`], and then nothing of the record may be used. Only `TooLarge` depends on `cap`:
/// calling again with a larger one may succeed.
pub fn decode<'a>(
    payload: &[u8],
    cap: usize,
    buffers: &'a mut Buffers,
) -> Result<Decoded<'a>, Undecodable> {
    let Buffers { inflater, ends, unescaped, marks } = buffers;
    let parts = user_records(payload);
    let mut room = Room::new(inflater, cap);
    ends.clear();
    match &parts {
        None => ends.push(room.append(payload)?),
        Some(parts) => {
            for (number, part) in parts.iter().enumerate() {
                ends.push(room.append(part).map_err(|why| why.of_user_record(number))?);
            }
        }
    }
    if unescaped.len() < inflater.filled + WINDOW {
        // Zeroed by the system page by page, as it is used: text without escapes needs none of it.
        *unescaped = Vec::new();
        *unescaped = vec![0; inflater.filled + WINDOW];
        *marks = Vec::new();
        *marks = vec![0; inflater.filled / BYTES_OF_MARK];
    }
    let mut decoded = Decoded::default();
    let (mut spare, mut begin) = (Spare { text: unescaped, marks }, 0);
    for (number, end) in ends.iter().enumerate() {
        let part = inflater.bytes.get(begin..*end).unwrap_or_default();
        let window = inflater.bytes.get(begin..*end + WINDOW).unwrap_or(part);
        begin = *end;
        decoded.user_records = parts.as_ref().and_then(|_| u32::try_from(number).ok());
        let read = read((part, window), &mut spare, &mut decoded);
        let of_part = |why: Undecodable| match parts {
            Some(_) => why.of_user_record(number),
            None => why,
        };
        read.map_err(of_part)?;
    }
    Ok(decoded)
}

/// Reads a user record, or the whole one, which may have a window of anything behind it.
fn read<'a>(
    (part, window): (&'a [u8], &'a [u8]),
    spare: &mut Spare<'a>,
    decoded: &mut Decoded<'a>,
) -> Result<(), Undecodable> {
    let text = text(part)?;
    let user_record = decoded.user_records;
    match quick::read((text, window), spare, user_record, decoded) {
        Some(()) => Ok(()),
        None => subscription::read(text, user_record, decoded),
    }
}

/// What was inflated, as text.
fn text(part: &[u8]) -> Result<&str, Undecodable> {
    // Where bytes stop being text is looked for only if they do.
    let text = simdutf8::basic::from_utf8(part).or_else(|_| std::str::from_utf8(part));
    text.map_err(|source| Undecodable::Utf8 { source })
}

#[cfg(test)]
mod tests;
