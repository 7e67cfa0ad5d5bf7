//! Writes JSON text into a body, without a tree of values in between.

use std::cell::Cell;
use std::io::Write as _;

use crate::event::Timestamp;
use crate::scan;

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// The same; `is_plain` says that no byte of it has to be escaped, so that none is looked at.
#[inline]
pub(super) fn string_that(is_plain: bool, out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if is_plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
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

/// Shows timestamps. It remembers the date of the last, which nearly always is that of the next.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    /// A day, counted from 1970-01-01 as 0.
    day: Cell<u32>,
    /// What it is in a document.
    date: Cell<[u64; 3]>,
}

impl Calendar {
    pub(super) const fn new() -> Self {
        Self { day: Cell::new(0), date: Cell::new(show_date(0)) }
    }

    /// Appends what a document begins with: its timestamp as `Display` says it, and all up to the first byte
    /// of its id. By hand from 1970 to 9999, since every document has one and the formatting machinery
    /// costs more than the rest of a flow log line.
    #[inline]
    pub(super) fn begin(&self, timestamp: Timestamp, out: &mut Vec<u8>) {
        let time = u64::try_from(timestamp.0).unwrap_or(u64::MAX);
        let (day, in_day) = (time / DAY, (time % DAY) as u32);
        let Some(day) = u32::try_from(day).ok().filter(|day| *day <= LAST_DAY) else {
            // Writing to a Vec cannot fail.
            _ = write!(out, "{{\"@timestamp\":\"{timestamp}\",\"@id\":\"");
            return;
        };
        if self.day.replace(day) != day {
            self.date.set(show_date(day));
        }
        let (second, millisecond) = (in_day / 1_000, in_day % 1_000);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let time = time_of_day(hour, minute, second);
        let frame = u64::from_le_bytes(*b"\0\0.\0\0\0Z\"");
        let hundreds = u64::from(b'0') + u64::from(millisecond / 100);
        let fraction = hundreds << 24 | two(millisecond % 100) << 32 | frame;
        let [lead_and_century, date, day_and_time] = self.date.get();
        // Numbers, for what is stored byte by byte and read at once has to be waited for.
        let words = [
            u64::from_le_bytes(*b"{\"@times"),
            lead_and_century,
            date,
            day_and_time | time << 16,
            time >> 48 | fraction,
            u64::from_le_bytes(*b",\"@id\":\""),
        ];
        out.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
    }
}

/// What is before the date in its first word, the date and a `T`: eight bytes, eight and two.
const fn show_date(day: u32) -> [u64; 3] {
    let (year, month, day) = date(day);
    let (century, year) = (two(year / 100), two(year % 100));
    let first = u64::from_le_bytes(*b"tamp\":\"\0") | century << 56;
    let frame = u64::from_le_bytes(*b"\0\0\0-\0\0-\0");
    let second = frame | century >> 8 | year << 8 | two(month) << 32 | two(day) << 56;
    [first, second, two(day) >> 8 | (b'T' as u64) << 8]
}

/// `hh:mm:ss`, the first digit the lowest byte: the digits of all three numbers at once.
const fn time_of_day(hour: u32, minute: u32, second: u32) -> u64 {
    let numbers = hour as u64 | (minute as u64) << 24 | (second as u64) << 48;
    // A tenth of each, for numbers up to 99.
    let tens = (numbers * 103) >> 10 & 0x000f_0000_0f00_000f;
    // The ones are the next byte: 256 (n - 10 tens) + tens.
    (numbers << 8) - tens * 2_559 + u64::from_le_bytes(*b"00:00:00")
}

/// The two decimal digits of a number up to 99, the first the lowest byte.
const fn two(number: u32) -> u64 {
    ((number / 10 + number % 10 * 256) + 0x3030) as u64
}

const DAY: u64 = 86_400_000;

/// 9999-12-29, counted from 1970-01-01 as 0: the last that all of `Timestamp` takes for one, whose
/// calendar (`jiff::Timestamp::MAX`) ends within the next.
const LAST_DAY: u32 = 2_932_894;

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

/// What is copied at once, in bytes.
pub(super) const CHUNK: usize = 32;

/// What stands before a field's value: a comma, the name, and the quote that opens text. It is copied
/// as one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    bytes: [u8; Self::SIZE],
    length: usize,
}

impl Lead {
    /// The longest that it can be.
    pub(super) const SIZE: usize = CHUNK;

    /// None for a name that is too long for a chunk.
    pub(super) fn new(field: &str, is_text: bool) -> Option<Self> {
        let mut lead = Vec::new();
        name(&mut lead, field);
        if is_text {
            lead.push(b'"');
        }
        let mut bytes = [0; Self::SIZE];
        bytes.get_mut(..lead.len())?.copy_from_slice(&lead);
        Some(Self { bytes, length: lead.len() })
    }

    /// Appends it to `out`.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        beginning(out, &self.bytes, self.length);
    }
}

/// Fields with their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    chunks: [u8; 2 * CHUNK],
    length: usize,
}

impl Whole {
    pub(super) const NONE: Self = Self { chunks: [0; 2 * CHUNK], length: 0 };

    /// A field that is text. None when it is too long for two chunks with the name.
    pub(super) fn new(field: &str, text: &str) -> Option<Self> {
        let mut whole = Vec::new();
        name(&mut whole, field);
        string(&mut whole, text);
        Self::of(&whole)
    }

    /// Of fields that were written before. None when they are too long for two chunks.
    pub(super) fn of(fields: &[u8]) -> Option<Self> {
        let mut whole = Self { length: fields.len(), ..Self::NONE };
        whole.chunks.get_mut(..fields.len())?.copy_from_slice(fields);
        Some(whole)
    }
}

/// Appends the first bytes of a chunk, so many of them.
#[inline]
pub(super) fn beginning<const N: usize>(out: &mut Vec<u8>, chunk: &[u8; N], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(chunk);
    out.truncate(end);
}

/// What of a chunk is copied where no more is needed, as for most names and values: how much is written
/// takes the time here, and for each column it is the same nearly always.
pub(super) const HALF: usize = CHUNK / 2;

/// How many bytes may be written into a window.
pub(super) const ROOM: usize = 16 << 10;

/// What a window may touch behind these.
const SLACK: usize = Lead::SIZE + 2 * CHUNK + 1;

/// Room for short pieces, one after the other. Copying a whole chunk costs less than copying as much
/// as the piece is long; what is too much of it the next piece overwrites.
///
/// The caller knows that there is room: beyond it, it would begin again, so that no piece needs a look.
#[derive(Debug)]
pub(super) struct Window<'o> {
    room: &'o mut [u8; ROOM + SLACK],
    at: usize,
}

impl<'o> Window<'o> {
    /// How many bytes stand before what is next.
    pub(super) const fn written(&self) -> usize {
        self.at
    }

    /// Writes what stands before a value, and returns the room for that.
    #[inline(always)]
    fn lead(&mut self, lead: &Lead) -> Option<&mut [u8; 2 * CHUNK + 1]> {
        debug_assert!(self.at <= ROOM, "{}", self.at);
        let room = self.room.get_mut(self.at % ROOM..)?.first_chunk_mut::<SLACK>()?;
        *room.first_chunk_mut::<HALF>()? = *lead.bytes.first_chunk()?;
        if lead.length > HALF {
            *room.get_mut(HALF..)?.first_chunk_mut::<HALF>()? = *lead.bytes.last_chunk()?;
        }
        room.get_mut(lead.length..)?.first_chunk_mut()
    }

    /// Appends a field whose value is text: the first `length` bytes of two chunks, as they are.
    #[inline(always)]
    pub(super) fn text(
        &mut self,
        lead: &Lead,
        text: &[u8; 2 * CHUNK],
        length: usize,
    ) -> Option<()> {
        let value = self.lead(lead)?;
        *value.first_chunk_mut::<HALF>()? = *text.first_chunk()?;
        if length > HALF {
            *value.get_mut(HALF..)?.first_chunk_mut()? =
                *text.last_chunk::<{ 2 * CHUNK - HALF }>()?;
        }
        *value.get_mut(length)? = b'"';
        self.at += lead.length + length + 1;
        Some(())
    }

    /// Appends a field whose value is a number: the first `length` bytes of half a chunk, as they are.
    #[inline(always)]
    pub(super) fn number(&mut self, lead: &Lead, digits: &[u8; HALF], length: usize) -> Option<()> {
        let room = self.lead(lead)?;
        *room.first_chunk_mut()? = *digits;
        self.at += lead.length + length;
        Some(())
    }

    /// Appends a field whose value is text and may be longer.
    #[inline(always)]
    pub(super) fn long_text(&mut self, lead: &Lead, value: &[u8]) -> Option<()> {
        // A window that is lent to a function has to be in memory, for all the other fields too.
        self.at = long_text(self.room, self.at, lead, value)?;
        Some(())
    }

    /// Appends fields with their values.
    #[inline(always)]
    pub(super) fn whole(&mut self, whole: &Whole) -> Option<()> {
        debug_assert!(self.at <= ROOM, "{}", self.at);
        let room = self.room.get_mut(self.at % ROOM..)?.first_chunk_mut::<SLACK>()?;
        *room.first_chunk_mut::<CHUNK>()? = *whole.chunks.first_chunk()?;
        if whole.length > CHUNK {
            *room.get_mut(CHUNK..)?.first_chunk_mut::<CHUNK>()? = *whole.chunks.last_chunk()?;
        }
        self.at += whole.length;
        Some(())
    }
}

/// Writes such a field at a place, and returns the place behind it.
#[cold]
fn long_text(room: &mut [u8], mut at: usize, lead: &Lead, value: &[u8]) -> Option<usize> {
    for piece in [lead.bytes.get(..lead.length)?, value, b"\""] {
        room.get_mut(at..)?.get_mut(..piece.len())?.copy_from_slice(piece);
        at += piece.len();
    }
    Some(at)
}

/// The fields of a document, in memory that is used again and again.
#[derive(Debug)]
pub(super) struct Fields {
    room: Vec<u8>,
    length: usize,
}

impl Fields {
    pub(super) const fn new() -> Self {
        Self { room: Vec::new(), length: 0 }
    }

    /// Room behind the first bytes, so many of them, in which is what was written before.
    #[inline]
    pub(super) fn window(&mut self, at: usize) -> Option<Window<'_>> {
        if self.room.is_empty() {
            self.room = vec![0; ROOM + SLACK];
        }
        Some(Window { room: self.room.first_chunk_mut()?, at })
    }

    /// What was written from one place to another.
    pub(super) fn span(&self, from: usize, to: usize) -> Option<&[u8]> {
        self.room.get(from..to)
    }

    /// So many bytes have been written, what was kept among them.
    pub(super) const fn end(&mut self, written: usize) {
        self.length = written;
    }

    /// What was written: members of an object, each after a comma.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Where the calendars may part.
    const AROUND_LAST_DAY: std::ops::Range<i64> = {
        let last = LAST_DAY as i64 * DAY as i64;
        last..last + 4 * DAY as i64
    };

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
            let known = Timestamp(i64::from(day) * DAY as i64).date().unwrap();
            let known = (known.year().into(), known.month().into(), known.day().into());
            let (year, month, day) = date(day);
            prop_assert_eq!((i64::from(year), i64::from(month), i64::from(day)), known);
        }

        #[test]
        fn a_timestamp_is_written_as_its_display(
            times in vec(
                prop_oneof![
                    any::<i64>(),
                    0..3 * DAY as i64,
                    -(DAY as i64)..300_000_000_000_000,
                    AROUND_LAST_DAY,
                ],
                1..9,
            )
        ) {
            let calendar = Calendar::new();
            for time in times.into_iter().map(Timestamp) {
                let mut out = Vec::new();
                calendar.begin(time, &mut out);
                let expected = format!(r#"{{"@timestamp":"{time}","@id":""#);
                prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
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
