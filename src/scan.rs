//! Finds what is special in JSON text, eight bytes at a time and without `unsafe`.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES * 0x80;

/// How many bytes come before the first that cannot stand for itself inside a JSON string: a quote,
/// a backslash or a control character (RFC 8259 §7). The length of `bytes` when there is none.
#[must_use]
pub fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return at * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let in_rest = rest.iter().position(|byte| is_special(*byte));
    in_rest.map_or(bytes.len(), |at| words.len() * 8 + at)
}

/// Whether a byte cannot stand for itself inside a JSON string.
#[must_use]
pub const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether one of eight bytes cannot stand for itself inside a JSON string.
#[must_use]
pub const fn has_special(word: u64) -> bool {
    special(word) != 0
}

/// The high bit of each of eight bytes, the first the lowest, that is this one.
#[must_use]
pub const fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (ONES * byte as u64);
    // Without carries from one byte to the next, so that every bit is right.
    !(((other & !HIGHS) + !HIGHS) | other) & HIGHS
}

/// Whether the first `count` of eight bytes, at most all of them, are decimal digits.
#[must_use]
pub const fn are_digits(word: u64, count: usize) -> bool {
    let unused = if count >= 8 { 0 } else { u64::MAX << (count * 8) };
    let digits = (word & !unused) | (ONES * b'0' as u64 & unused);
    let tens = ONES * 0xf0;
    // Six more than 9 is in the next row of ASCII's table.
    digits & tens == ONES * b'0' as u64 && (digits + ONES * 6) & tens == ONES * b'0' as u64
}

/// The high bit of each special byte. A borrow can set it in a byte above a special one too, so only
/// the lowest is to be believed.
const fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | zero(quote) | zero(backslash)) & HIGHS
}

/// The high bit of each byte that is zero, as in [`special`].
const fn zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..24 {
                let mut bytes = [b'x'; 24];
                bytes[place] = byte;
                let expected = if is_special(byte) { place } else { 24 };
                assert_eq!(plain(&bytes), expected, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn every_byte_is_compared_and_judged_alone() {
        for byte in 0..=u8::MAX {
            for other in [b' ', b' ' + 1, 0, 0x80, 0xff, b'0', b'9'] {
                let bytes = [other, byte, other, b'5', other, byte, byte, other];
                let word = u64::from_le_bytes(bytes);
                for (place, found) in bytes.iter().enumerate() {
                    let bit = equal(word, b' ') >> (place * 8) & 0xff;
                    assert_eq!(bit, if *found == b' ' { 0x80 } else { 0 }, "{bytes:?}");
                    let expected = bytes[..place].iter().all(u8::is_ascii_digit);
                    assert_eq!(are_digits(word, place), expected, "{place} of {bytes:?}");
                }
                assert_eq!(are_digits(word, 8), bytes.iter().all(u8::is_ascii_digit));
                assert_eq!(has_special(word), bytes.iter().any(|byte| is_special(*byte)));
            }
        }
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let expected = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes), expected);
        }
    }
}
