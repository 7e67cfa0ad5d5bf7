//! Writes JSON text into a body, without a tree of values in between.

use std::io::Write as _;

use crate::event::Timestamp;
use crate::scan;

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (clean, from) = rest.split_at(scan::plain(rest));
        out.extend_from_slice(clean);
        let Some((byte, tail)) = from.split_first() else { break };
        escape(out, *byte);
        rest = tail;
    }
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        control => {
            out.extend_from_slice(b"\\u00");
            let digits = [control >> 4, control & 0x0f];
            out.extend(digits.iter().filter_map(|digit| HEX.get(usize::from(*digit))));
        }
    }
}

/// Appends `,"name":`.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    escaped(out, name);
    out.extend_from_slice(b"\":");
}

/// Appends what `Display` says, as a JSON string; by hand, since every document has one and the
/// formatting machinery costs more than the rest of a flow log line.
pub(super) fn timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    let year = timestamp.date().map(|date| (date, date.year()));
    let Some((date, year @ 0..=9999)) = year else {
        // Writing to a Vec cannot fail.
        drop(write!(out, "\"{timestamp}\""));
        return;
    };
    let in_day = timestamp.0.rem_euclid(86_400_000);
    out.push(b'"');
    digits(out, year.into(), 4);
    out.push(b'-');
    digits(out, date.month().into(), 2);
    out.push(b'-');
    digits(out, date.day().into(), 2);
    out.push(b'T');
    digits(out, in_day / 3_600_000, 2);
    out.push(b':');
    digits(out, in_day / 60_000 % 60, 2);
    out.push(b':');
    digits(out, in_day / 1_000 % 60, 2);
    out.push(b'.');
    digits(out, in_day % 1_000, 3);
    out.extend_from_slice(b"Z\"");
}

fn digits(out: &mut Vec<u8>, number: i64, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
    }
}

/// What stands before a field's value: a comma, the name, and the quote that opens text. It is copied
/// as one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    bytes: [u8; Self::SIZE],
    length: usize,
    is_text: bool,
}

impl Lead {
    /// The longest that it can be.
    pub(super) const SIZE: usize = 32;

    /// None for a name that is too long for a chunk.
    pub(super) fn new(field: &str, is_text: bool) -> Option<Self> {
        let mut lead = Vec::new();
        name(&mut lead, field);
        if is_text {
            lead.push(b'"');
        }
        let mut bytes = [0; Self::SIZE];
        bytes.get_mut(..lead.len())?.copy_from_slice(&lead);
        Some(Self { bytes, length: lead.len(), is_text })
    }

    /// Whether it opens text, which then must be closed.
    pub(super) fn is_text(&self) -> bool {
        self.is_text
    }
}

/// Room for short pieces at the end of a body. Copying a whole chunk costs less than copying as much
/// as the piece is long; what is too much of it the next piece overwrites.
///
/// Its methods give nothing where there is not as much room as they need.
#[derive(Debug)]
pub(super) struct Window<'o> {
    room: &'o mut [u8],
    at: usize,
}

impl Window<'_> {
    /// Appends to `out` what `write` writes, in a room of `most` bytes; nothing when it has no room.
    pub(super) fn open(
        out: &mut Vec<u8>,
        most: usize,
        write: impl FnOnce(&mut Window<'_>) -> Option<()>,
    ) -> Option<()> {
        let start = out.len();
        out.resize(start + most, 0);
        let mut window = Window { room: out.get_mut(start..)?, at: 0 };
        let written = write(&mut window);
        let length = if written.is_some() { window.at } else { 0 };
        out.truncate(start + length);
        written
    }

    /// Appends a field's lead.
    pub(super) fn lead(&mut self, lead: &Lead) -> Option<()> {
        self.room.get_mut(self.at..)?.first_chunk_mut()?.clone_from(&lead.bytes);
        self.at += lead.length;
        Some(())
    }

    /// Appends `from[begin..end]`.
    pub(super) fn copy(&mut self, from: &[u8], begin: usize, end: usize) -> Option<()> {
        let mut begin = begin;
        while end - begin > 0 {
            let rest = from.get(begin..)?;
            let taken = (end - begin).min(16);
            let room = self.room.get_mut(self.at..)?;
            match rest.first_chunk::<16>() {
                Some(chunk) => room.first_chunk_mut()?.clone_from(chunk),
                None => room.get_mut(..taken)?.copy_from_slice(rest.get(..taken)?),
            }
            self.at += taken;
            begin += taken;
        }
        Some(())
    }

    /// Appends one byte.
    pub(super) fn byte(&mut self, byte: u8) -> Option<()> {
        *self.room.get_mut(self.at)? = byte;
        self.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_comes_back_from_its_json(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_timestamp_reads_as_its_display(ms in prop_oneof![any::<i64>(), -99_999_999_999_999..999_999_999_999_999_i64]) {
            let mut out = Vec::new();
            timestamp(&mut out, Timestamp(ms));
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}\"", Timestamp(ms)));
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        let text: String = (0..=0x7f_u8).map(char::from).collect();
        let mut out = Vec::new();
        string(&mut out, &text);
        assert!(out.iter().all(|byte| *byte >= 0x20));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
