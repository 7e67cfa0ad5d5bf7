//! Inflates the gzip members of a record one after the other, and stops at a cap.
//!
//! gzip allows several members in a row (RFC 1952 §2.2) and zero padding after the last one, as
//! `gzip(1)` does. Anything else after a member is an error: ignoring it could lose events.

use std::io::{ErrorKind, Read as _};
use std::sync::LazyLock;

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use memchr::memmem::Finder;

use super::Undecodable;
use super::unescape::WINDOW;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How every member begins: the magic number, and deflate as the method (the only one there is).
static MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0x1f, 0x8b, 8]));

/// A byte expands to at most so many (zlib's "Technical Details": 1032:1).
const MOST: usize = 1032;

/// The buffer's first size, and the room beyond the cap in which an overrun shows.
const STEP: usize = 64 * 1024;

/// What is reused from record to record. Bytes beyond what a record fills are old ones: they are
/// zeroed once, not once per record.
#[derive(Default)]
pub(super) struct Inflater {
    pub(super) bytes: Vec<u8>,
    pub(super) filled: usize,
    decompressor: Decompressor,
}

/// The buffer while a record fills it.
pub(super) struct Room<'i> {
    inflater: &'i mut Inflater,
    cap: usize,
}

impl Room<'_> {
    /// Replaces what is in `inflater`, by at most `cap` bytes.
    pub(super) fn new(inflater: &mut Inflater, cap: usize) -> Room<'_> {
        inflater.filled = 0;
        Room { inflater, cap }
    }

    /// Appends what `payload` expands to. Returns where that ends.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<usize, Undecodable> {
        if payload.is_empty() {
            return Err(Undecodable::Empty);
        }
        if payload.starts_with(&MAGIC) {
            if !self.append_at_once(payload) {
                self.append_members(payload)?;
            }
        } else if payload.trim_ascii_start().first() == Some(&b'{') {
            self.append_plain(payload)?;
        } else {
            return Err(Undecodable::Format);
        }
        Ok(self.inflater.filled)
    }

    fn append_plain(&mut self, payload: &[u8]) -> Result<(), Undecodable> {
        let end = self.inflater.filled + payload.len();
        if end > self.cap {
            return Err(Undecodable::TooLarge { cap: self.cap });
        }
        self.room(payload.len()).copy_from_slice(payload);
        self.inflater.filled = end;
        Ok(())
    }

    /// Appends a payload that is one sound member and nothing else, as nearly all are: libdeflate
    /// then needs two thirds of the time of a decoder that can stop and go on. False for any other,
    /// of which nothing is appended.
    fn append_at_once(&mut self, payload: &[u8]) -> bool {
        // libdeflate says neither how long the member was nor that more follows it. But where another
        // could begin is plain to see, and the last four bytes are the length of what was inflated.
        let Some(size) = payload.last_chunk().map(|size| u32::from_le_bytes(*size) as usize) else {
            return false;
        };
        let is_possible =
            size <= payload.len().saturating_mul(MOST) && self.inflater.filled + size <= self.cap;
        let others = payload.get(MAGIC.len()..).unwrap_or_default();
        if !is_possible || MEMBER.find(others).is_some() {
            return false;
        }
        self.room(size);
        let Inflater { bytes, filled, decompressor } = &mut *self.inflater;
        let room = bytes.get_mut(*filled..*filled + size).unwrap_or_default();
        let inflated = decompressor.gzip_decompress(payload, room) == Ok(size);
        *filled += if inflated { size } else { 0 };
        inflated
    }

    fn append_members(&mut self, payload: &[u8]) -> Result<(), Undecodable> {
        let mut rest = payload;
        let mut member = 0;
        while rest.starts_with(&MAGIC) {
            member += 1;
            let cap = self.cap;
            self.inflate_member(&mut rest).map_err(|error| error.of(member, cap))?;
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Undecodable::TrailingBytes { bytes: rest.len(), member });
        }
        Ok(())
    }

    /// Appends one member and moves `rest` behind its checksum, which is verified.
    fn inflate_member(&mut self, rest: &mut &[u8]) -> Result<(), MemberError> {
        let mut decoder = GzDecoder::new(rest);
        loop {
            let (filled, cap) = (self.inflater.filled, self.cap);
            if filled == self.inflater.bytes.len() {
                // Doubled, yet never beyond the cap and one step.
                let largest = cap.saturating_add(STEP - WINDOW);
                self.room(filled.max(STEP).min(largest.saturating_sub(filled)).max(1));
            }
            // There is room, so that 0 can only mean the end of the member.
            match decoder.read(self.inflater.bytes.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => return Ok(()),
                Ok(read) => self.inflater.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(MemberError::Damaged(error)),
            }
            if self.inflater.filled > self.cap {
                return Err(MemberError::TooLarge);
            }
        }
    }

    /// So many bytes behind those that are filled, and a window behind them that text may be read
    /// through. Reserved exactly, because `Vec` left to itself would take up to twice the cap.
    fn room(&mut self, size: usize) -> &mut [u8] {
        let bytes = &mut self.inflater.bytes;
        let end = self.inflater.filled + size;
        if bytes.len() < end + WINDOW {
            bytes.reserve_exact(end + WINDOW - bytes.len());
            bytes.resize(end + WINDOW, 0);
        }
        bytes.get_mut(self.inflater.filled..end).unwrap_or_default()
    }
}

enum MemberError {
    Damaged(std::io::Error),
    TooLarge,
}

impl MemberError {
    fn of(self, member: usize, cap: usize) -> Undecodable {
        match self {
            Self::TooLarge => Undecodable::TooLarge { cap },
            Self::Damaged(source) if source.kind() == ErrorKind::UnexpectedEof => {
                Undecodable::Truncated { member }
            }
            Self::Damaged(source) => Undecodable::Gzip { member, source },
        }
    }
}
