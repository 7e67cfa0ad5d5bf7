//! The tokens of a flow log line, 64 bytes at a time.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use crate::parse::vpc_fields::protocol_name;
use crate::parse::writer::{CHUNK, Whole};
use crate::scan;

use super::address::is_ipv4;

/// What is looked at at once, in bytes.
const WORD: usize = 64;

/// A word, and what a chunk that begins in it may reach.
pub(super) const REACH: usize = WORD + 2 * CHUNK;

/// What stands for a field that is not there.
const ABSENT: u8 = b'-';

/// The field that tells the name of a protocol, by the number of those that have one.
static PROTOCOL_NAMES: LazyLock<Vec<Option<Whole>>> = LazyLock::new(|| {
    let field = |number| Whole::new("protocol_name", protocol_name(number)?);
    (0..256).map(field).collect()
});

/// A line, and how far it has been read.
pub(super) struct Tokens<'a> {
    /// The line and what follows it.
    pub(super) text: &'a [u8],
    /// That of the line.
    pub(super) length: usize,
    pub(super) begin: usize,
}

/// The bytes of a line from where a token begins, 64 at a time.
pub(super) struct Word<'a> {
    bytes: &'a [u8; REACH],
    /// A bit for each space that was not come to yet, and for the line's end.
    pub(super) ends: u64,
    /// A bit for each other byte that is no digit.
    others: u64,
    /// Where the next token begins.
    pub(super) begin: usize,
}

impl<'a> Tokens<'a> {
    /// The word that begins where the next token does. None behind the line's end.
    #[inline]
    pub(super) fn word(&self) -> Option<Word<'a>> {
        let bytes: &[u8; REACH] = self.text.get(self.begin..)?.first_chunk()?;
        let looked_at = bytes.first_chunk()?;
        let left = self.length.checked_sub(self.begin)?;
        let end = if left < WORD { 1 << left } else { 0 };
        let ends = end | scan::word(looked_at, |chunk| scan::equal(chunk, b' '));
        let others = !(ends | scan::word(looked_at, scan::digits));
        Some(Word { bytes, ends, others, begin: 0 })
    }

    /// What is left of the line.
    pub(super) fn left(&self) -> Option<&'a [u8]> {
        self.text.get(self.begin..self.length)
    }
}

/// The token that a line begins with, which does not end in a word. No line is longer than a leaf may be.
#[cold]
pub(super) fn long(line: &[u8]) -> Option<&[u8]> {
    line.get(..memchr::memchr(b' ', line).unwrap_or(line.len()))
}

impl<'a> Word<'a> {
    /// The next token, which ends in the word.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Next<'a>> {
        let (begin, end) = (self.begin, self.ends.trailing_zeros() as usize);
        let others = self.ends & self.ends.wrapping_sub(1);
        let before = self.ends ^ self.ends.wrapping_sub(1);
        self.ends = others;
        self.begin = end + 1;
        let chunks = self.bytes.get(begin % WORD..)?.first_chunk()?;
        Some(Next { chunks, length: end - begin, before })
    }

    /// Forgets which bytes are no digits before the next token.
    #[inline(always)]
    pub(super) const fn forget(&mut self) {
        self.others &= u64::MAX << (self.begin % WORD);
    }

    /// Whether a token has only digits, and what is before it as far as that is not forgotten.
    #[inline(always)]
    pub(super) const fn has_digits(&self, token: &Next<'_>) -> bool {
        self.others & token.before == 0
    }
}

/// A token.
pub(super) struct Next<'a> {
    /// Its bytes, as far as they go, and what comes behind them.
    pub(super) chunks: &'a [u8; 2 * CHUNK],
    pub(super) length: usize,
    /// A bit for each byte of the word up to its end.
    before: u64,
}

impl Next<'_> {
    /// Whether digits are a whole number of the usual form, of at most so many of them.
    #[inline(always)]
    pub(super) fn is_number(&self, most: usize) -> bool {
        self.chunks.first() != Some(&b'0') && self.length.wrapping_sub(1) < most
    }

    #[inline(always)]
    pub(super) fn is_address(&self) -> bool {
        self.chunks.first_chunk().is_some_and(|chunk| is_ipv4(chunk, self.length))
            || is_ipv6(self.chunks, self.length)
    }

    /// Whether it stands for nothing.
    #[inline(always)]
    pub(super) fn is_absent(&self) -> bool {
        self.chunks.first() == Some(&ABSENT) && self.length == 1
    }

    /// The field with the name of the protocol whose number it is, where that has one.
    #[inline(always)]
    pub(super) fn protocol_name(&self) -> Option<&'static Whole> {
        // Three digits at most, the last of them in the highest byte.
        let missing = 3_usize.checked_sub(self.length)? as u32;
        let digits = u32::from_le_bytes(*self.chunks.first_chunk()?) << (8 + 8 * missing);
        let [_, hundreds, tens, ones] = (digits & 0x0f0f_0f0f).to_le_bytes().map(usize::from);
        PROTOCOL_NAMES.get(100 * hundreds + 10 * tens + ones)?.as_ref()
    }
}

/// Whether a number is there, where it is not of the usual form. None for what is no number.
#[cold]
pub(super) fn is_there(chunks: &[u8; 2 * CHUNK], length: usize, most: usize) -> Option<bool> {
    let token = chunks.get(..length)?;
    let is_number = token.iter().all(u8::is_ascii_digit) && (1..=most).contains(&length);
    match token {
        [ABSENT] => Some(false),
        // JSON has none with a leading zero.
        [b'0', _, ..] => None,
        _ => is_number.then_some(true),
    }
}

#[cold]
fn is_ipv6(chunks: &[u8; 2 * CHUNK], length: usize) -> bool {
    let text = chunks.get(..length).and_then(|text| str::from_utf8(text).ok());
    text.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}
