//! Finds what is special in JSON text and in lines of tokens, sixteen bytes at a time.

use wide::{i8x16, u8x16};

/// How many bytes come before the first that cannot stand for itself inside a JSON string: a quote,
/// a backslash or a control character (RFC 8259 §7). The length of `bytes` when there is none.
#[must_use]
#[inline]
pub fn plain(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<16>();
    for (at, chunk) in chunks.iter().enumerate() {
        let special = special(chunk);
        if special != 0 {
            return at * 16 + special.trailing_zeros() as usize;
        }
    }
    if rest.is_empty() {
        return bytes.len();
    }
    // A last chunk that begins in the one before is looked at sooner than each byte.
    if let Some(chunk) = bytes.last_chunk() {
        let special = special(chunk);
        return bytes.len() - if special == 0 { 0 } else { 16 - special.trailing_zeros() as usize };
    }
    rest.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

/// Whether a byte cannot stand for itself inside a JSON string.
#[must_use]
pub const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// A bit for each byte, the first the lowest, that cannot stand for itself inside a JSON string.
#[must_use]
#[inline]
pub fn special(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    (control | quote | backslash).to_bitmask()
}

/// Whether both are the same, sooner than by a call where they are as short as names are.
#[must_use]
#[inline]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    /// The first and the last bytes of both, which may overlap.
    fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
        one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
    }
    one.len() == other.len()
        && match one.len() {
            8..16 => ends::<8>(one, other),
            16..=32 => ends::<16>(one, other),
            4..8 => ends::<4>(one, other),
            _ => one == other,
        }
}

/// What `look` finds in each of the four chunks of 64 bytes, the first byte the lowest bit.
#[must_use]
#[inline]
pub fn word(bytes: &[u8; 64], look: impl Fn(&[u8; 16]) -> u32) -> u64 {
    let chunks = bytes.as_chunks().0.iter().enumerate();
    chunks.fold(0, |all, (place, chunk)| all | u64::from(look(chunk)) << (16 * place))
}

/// What 64 bytes inside a JSON string are: a bit for each, the first the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The backslashes that begin an escape.
    pub escapes: u64,
    /// The bytes after these, and the first byte where it was said to be one.
    pub escaped: u64,
    quotes: u64,
    backslashes: u64,
    control: u64,
}

impl Quoted {
    /// The quotes and control characters that nothing escapes, and what is escaped and is neither
    /// a quote nor a backslash.
    #[must_use]
    #[inline]
    pub const fn stop(&self) -> u64 {
        (self.quotes | self.control) & !self.escaped
            | self.escaped & !(self.quotes | self.backslashes)
    }

    /// Whether the byte behind the 64 is escaped.
    #[must_use]
    #[inline]
    pub const fn is_next_escaped(&self) -> bool {
        self.escapes >> 63 == 1
    }
}

/// Tells apart what is inside a JSON string, or behind it, the first byte of which may be escaped.
#[must_use]
#[inline]
pub fn quoted(bytes: &[u8; 64], is_escaped: bool) -> Quoted {
    let (mut quotes, mut backslashes) = (0, 0);
    let mut least = u8x16::splat(0xff);
    for (place, chunk) in bytes.as_chunks::<16>().0.iter().enumerate() {
        let chunk = u8x16::new(*chunk);
        let join = |found: u8x16| u64::from(found.to_bitmask()) << (16 * place);
        quotes |= join(chunk.simd_eq(u8x16::splat(b'"')));
        backslashes |= join(chunk.simd_eq(u8x16::splat(b'\\')));
        least = least.min(chunk);
    }
    // There is hardly ever one.
    let control =
        if control(least) == 0 { 0 } else { word(bytes, |chunk| control(u8x16::new(*chunk))) };
    let (escapes, escaped) = escapes(backslashes, u64::from(is_escaped));
    Quoted { escapes, escaped, quotes, backslashes, control }
}

fn control(bytes: u8x16) -> u32 {
    bytes.min(u8x16::splat(0x1f)).simd_eq(bytes).to_bitmask()
}

/// Of these backslashes, those that begin an escape, and the bytes that they escape. In a run of them
/// that is every other one, from the first; `carried` is 1 where the byte before began an escape.
const fn escapes(backslashes: u64, carried: u64) -> (u64, u64) {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    // A subtraction carries from where a run begins to behind its end: with the odd places set before
    // it, it leaves every other bit of each run, whether that began at an odd or an even place.
    let may_begin = backslashes & !carried;
    let flipped = ((may_begin << 1) | ODD).wrapping_sub(may_begin) ^ ODD;
    (flipped & backslashes, flipped ^ (backslashes | carried))
}

/// A bit for each byte, the first the lowest, that is this one.
#[must_use]
#[inline]
pub fn equal(chunk: &[u8; 16], byte: u8) -> u32 {
    u8x16::new(*chunk).simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// A bit for each byte, the first the lowest, that is not the same in both.
#[must_use]
#[inline]
pub fn differ(one: &[u8; 16], other: &[u8; 16]) -> u32 {
    !u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask() & 0xffff
}

/// A bit for each byte, the first the lowest, that is a decimal digit.
#[must_use]
#[inline]
pub fn digits(chunk: &[u8; 16]) -> u32 {
    // They become the largest numbers with a sign.
    let bytes = u8x16::new(*chunk) + u8x16::splat(0x7f - b'9');
    bytes.cast_signed().simd_gt(i8x16::splat(0x7f - 10)).to_bitmask()
}

/// A bit for each byte, the first the lowest, that is a hexadecimal digit.
#[must_use]
#[inline]
pub fn hexadecimal(chunk: &[u8; 16]) -> u32 {
    let letters = u8x16::new(*chunk) | u8x16::splat(0x20);
    let limited = letters.max(u8x16::splat(b'a')).min(u8x16::splat(b'f'));
    digits(chunk) | limited.simd_eq(letters).to_bitmask()
}

/// The number that is written in the first bytes of a chunk, so many of them, which are digits.
#[must_use]
#[inline(always)]
pub fn number(chunk: &[u8; 16], digits: usize) -> u64 {
    // They go to the chunk's end, and what is before them counts nothing.
    let missing = 8 * 16_u32.saturating_sub(digits as u32);
    let moved = u128::from_le_bytes(*chunk).checked_shl(missing).unwrap_or_default();
    let values = moved & 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    eight(values as u64) * 100_000_000 + eight((values >> 64) as u64)
}

/// The number whose eight digits are the bytes of a word, the first the lowest: all pairs at once, then
/// pairs of pairs, then both of these.
const fn eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// Whether all bytes are decimal digits.
#[must_use]
#[inline]
pub fn all_digits(bytes: &[u8]) -> bool {
    let (chunks, _) = bytes.as_chunks();
    let are_digits = |chunk| digits(chunk) == 0xffff;
    match bytes.last_chunk() {
        Some(last) => chunks.iter().all(are_digits) && are_digits(last),
        None => bytes.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..40 {
                let mut bytes = [b'x'; 40];
                bytes[place] = byte;
                let expected = if is_special(byte) { place } else { 40 };
                assert_eq!(plain(&bytes), expected, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn every_byte_is_compared_and_judged_alone() {
        for byte in 0..=u8::MAX {
            for other in [b' ', b' ' + 1, 0, 0x80, 0xff, b'0', b'9'] {
                let bytes = [other, byte, other, b'5', other, byte, byte, other];
                let chunk: [u8; 16] = [bytes, bytes].concat().try_into().unwrap();
                for (place, found) in chunk.iter().enumerate() {
                    assert_eq!(equal(&chunk, b' ') >> place & 1 == 1, *found == b' ', "{chunk:?}");
                    assert_eq!(special(&chunk) >> place & 1 == 1, is_special(*found), "{chunk:?}");
                    let is_digit = digits(&chunk) >> place & 1 == 1;
                    assert_eq!(is_digit, found.is_ascii_digit(), "{chunk:?}");
                    let is_digit = hexadecimal(&chunk) >> place & 1 == 1;
                    assert_eq!(is_digit, found.is_ascii_hexdigit(), "{chunk:?}");
                }
                assert_eq!((equal(&chunk, b' ') | special(&chunk)) >> 16, 0);
                assert_eq!(differ(&chunk, &[byte; 16]), !equal(&chunk, byte) & 0xffff);
                let last = bytes[1..].iter().all(u8::is_ascii_digit);
                assert_eq!(all_digits(&[b"0123456789123456", &bytes[1..]].concat()), last);
                assert_eq!(all_digits(&chunk), chunk.iter().all(u8::is_ascii_digit));
            }
        }
    }

    #[test]
    fn names_are_the_same_only_if_every_byte_is() {
        let name: Vec<u8> = (0..50).collect();
        for length in 0..=name.len() {
            let name = &name[..length];
            assert!(same(name, name));
            assert!(length == 0 || !same(name, &name[1..]));
            for place in 0..length {
                let mut other = name.to_vec();
                other[place] ^= 1;
                assert!(!same(name, &other), "{length} {place}");
            }
        }
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_number_is_what_it_reads_as(number in 0..10_u64.pow(16), after in any::<[u8; 16]>()) {
            for number in [number, number >> 20, number >> 40] {
                let text = number.to_string();
                let chunk = [text.as_bytes(), &after].concat();
                prop_assert_eq!(super::number(chunk.first_chunk().unwrap(), text.len()), number);
            }
        }

        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let expected = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes), expected);
        }

        #[test]
        fn inside_a_string_every_other_backslash_of_a_run_begins_an_escape(
            bytes in prop::collection::vec(prop::sample::select(b"\\\\\\\"\nx".to_vec()), 64),
            first in any::<bool>()
        ) {
            let found = quoted(bytes.first_chunk().unwrap(), first);
            let (mut is_escaped, mut is_stopped) = (first, 0);
            for (place, byte) in bytes.iter().enumerate() {
                let begins = !is_escaped && *byte == b'\\';
                prop_assert_eq!(found.escapes >> place & 1 == 1, begins);
                prop_assert_eq!(found.escaped >> place & 1 == 1, is_escaped);
                let stands = if is_escaped { b"\"\\" } else { b"\\x" }.contains(byte);
                is_stopped |= u64::from(!stands) << place;
                is_escaped = begins;
            }
            prop_assert_eq!(found.stop(), is_stopped);
            prop_assert_eq!(found.is_next_escaped(), is_escaped);
            let specials = word(bytes.first_chunk().unwrap(), special);
            let is_found = |place: usize| specials >> place & 1 == u64::from(is_special(bytes[place]));
            prop_assert!((0..64).all(is_found));
        }
    }
}
