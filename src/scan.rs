//! Finds what is special in JSON text and in lines of tokens, sixteen bytes at a time.

use wide::u8x16;

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

/// A bit for each byte, the first the lowest, that is this one.
#[must_use]
#[inline]
pub fn equal(chunk: &[u8; 16], byte: u8) -> u32 {
    u8x16::new(*chunk).simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// A bit for each byte, the first the lowest, that is a decimal digit.
#[must_use]
#[inline]
pub fn digits(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let limited = bytes.max(u8x16::splat(b'0')).min(u8x16::splat(b'9'));
    limited.simd_eq(bytes).to_bitmask()
}

/// Whether all bytes are decimal digits.
#[must_use]
pub fn all_digits(bytes: &[u8]) -> bool {
    let (chunks, _) = bytes.as_chunks();
    match bytes.last_chunk() {
        Some(last) => chunks.iter().chain([last]).all(|chunk| digits(chunk) == 0xffff),
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
                }
                assert_eq!((equal(&chunk, b' ') | special(&chunk)) >> 16, 0);
                let last = bytes[1..].iter().all(u8::is_ascii_digit);
                assert_eq!(all_digits(&[b"0123456789123456", &bytes[1..]].concat()), last);
                assert_eq!(all_digits(&chunk), chunk.iter().all(u8::is_ascii_digit));
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
