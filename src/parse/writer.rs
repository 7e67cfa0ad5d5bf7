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
    let day = u32::try_from(timestamp.0.div_euclid(DAY)).ok().filter(|day| *day <= LAST_DAY);
    let in_day = u32::try_from(timestamp.0.rem_euclid(DAY));
    let (Some(day), Ok(in_day)) = (day, in_day) else {
        // Writing to a Vec cannot fail.
        drop(write!(out, "\"{timestamp}\""));
        return;
    };
    let (year, month, day) = date(day);
    let ([a, b], [c, d]) = (two(year / 100), two(year % 100));
    let ([e, f], [g, h]) = (two(month), two(day));
    let ([i, j], [k, l]) = (two(in_day / 3_600_000), two(in_day / 60_000 % 60));
    let ([m, n], [o, p]) = (two(in_day / 1_000 % 60), two(in_day % 1_000 / 10));
    let [_, q] = two(in_day % 10);
    let text = [
        b'"', a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p,
        q, b'Z', b'"',
    ];
    out.extend_from_slice(&text);
}

/// The two decimal digits of a number up to 99.
const fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

const DAY: i64 = 86_400_000;

/// 9999-12-31, counted from 1970-01-01 as 0.
const LAST_DAY: u32 = 2_932_896;

/// The year, month and day of a day, counted from 1970-01-01 as 0, until the year 9999.
const fn date(day: u32) -> (u32, u32, u32) {
    // Years that begin in March have the day that is not always there at their end. Counted from
    // 0000-03-01, 400 of them have 146,097 days, 100 36,524, 4 1,461; months go 31 30 31 30 31 twice.
    let day = day + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (year, is_next) = (400 * cycle + year, month >= 10);
    let month = if is_next { month - 9 } else { month + 3 };
    (year + is_next as u32, month, of_month)
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

    /// Appends a field whose value is `from[begin..end]`, as it is.
    #[inline]
    pub(super) fn field(
        &mut self,
        lead: &Lead,
        from: &[u8],
        (begin, end): (usize, usize),
    ) -> Option<()> {
        let length = end - begin;
        let room = self.room.get_mut(self.at..)?;
        *room.first_chunk_mut()? = lead.bytes;
        let value = room.get_mut(lead.length..)?;
        match (from.get(begin..)?.first_chunk::<32>(), value.first_chunk_mut::<33>()) {
            (Some(chunk), Some(value)) if length <= 32 => {
                *value.first_chunk_mut()? = *chunk;
                // What is no text ends before it.
                *value.get_mut(length)? = b'"';
                self.at += lead.length + length + usize::from(lead.is_text);
            }
            _ => {
                self.at += lead.length;
                self.copy(from, begin, end)?;
                if lead.is_text {
                    self.byte(b'"')?;
                }
            }
        }
        Some(())
    }

    fn copy(&mut self, from: &[u8], begin: usize, end: usize) -> Option<()> {
        let mut begin = begin;
        while end - begin > 0 {
            let rest = from.get(begin..)?;
            let taken = (end - begin).min(16);
            let room = self.room.get_mut(self.at..)?;
            match rest.first_chunk::<16>() {
                Some(chunk) => *room.first_chunk_mut()? = *chunk,
                None => room.get_mut(..taken)?.copy_from_slice(rest.get(..taken)?),
            }
            self.at += taken;
            begin += taken;
        }
        Some(())
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
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
        fn a_day_has_the_date_that_the_calendar_says(day in 0..=LAST_DAY) {
            let known = Timestamp(i64::from(day) * DAY).date().unwrap();
            let known = (known.year().into(), known.month().into(), known.day().into());
            let (year, month, day) = date(day);
            prop_assert_eq!((i64::from(year), i64::from(month), i64::from(day)), known);
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
