//! Inflates the gzip members of a record one after the other, and stops at a cap.
//!
//! gzip allows several members in a row (RFC 1952 §2.2) and zero padding after the last one, as
//! `gzip(1)` does. Anything else after a member is an error: ignoring it could lose events.

use std::io::{ErrorKind, Read as _};

use flate2::bufread::GzDecoder;

use super::Undecodable;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The buffer's first size, and the room beyond the cap in which an overrun shows.
const STEP: usize = 64 * 1024;

/// The buffer while it fills. Its bytes beyond `filled` are zeroed once, not once per member.
pub(super) struct Room<'b> {
    bytes: &'b mut Vec<u8>,
    filled: usize,
    cap: usize,
}

impl Room<'_> {
    /// Replaces what is in `bytes`, by at most `cap` bytes.
    pub(super) fn new(bytes: &mut Vec<u8>, cap: usize) -> Room<'_> {
        bytes.clear();
        Room { bytes, filled: 0, cap }
    }

    /// Appends what `payload` expands to. Returns where that ends.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<usize, Undecodable> {
        if payload.is_empty() {
            return Err(Undecodable::Empty);
        }
        if payload.starts_with(&MAGIC) {
            self.append_members(payload)?;
        } else if payload.trim_ascii_start().first() == Some(&b'{') {
            self.append_plain(payload)?;
        } else {
            return Err(Undecodable::Format);
        }
        Ok(self.filled)
    }

    fn append_plain(&mut self, payload: &[u8]) -> Result<(), Undecodable> {
        let end = self.filled + payload.len();
        if end > self.cap {
            return Err(Undecodable::TooLarge { cap: self.cap });
        }
        self.bytes.truncate(self.filled);
        self.bytes.reserve_exact(payload.len());
        self.bytes.extend_from_slice(payload);
        self.filled = end;
        Ok(())
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
            if self.filled == self.bytes.len() {
                self.grow();
            }
            // There is room, so that 0 can only mean the end of the member.
            match decoder.read(self.bytes.get_mut(self.filled..).unwrap_or_default()) {
                Ok(0) => return Ok(()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(MemberError::Damaged(error)),
            }
            if self.filled > self.cap {
                return Err(MemberError::TooLarge);
            }
        }
    }

    /// Doubles the buffer, yet never beyond the cap and one step. The reservation is exact, because
    /// `Vec` left to itself would take up to twice the cap.
    fn grow(&mut self) {
        let largest = self.cap.saturating_add(STEP);
        let more = self.filled.max(STEP).min(largest.saturating_sub(self.filled)).max(1);
        self.bytes.reserve_exact(more);
        self.bytes.resize(self.filled + more, 0);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.filled);
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
