//! Hashes of names, by which two that differ are told apart without a look at their bytes.

/// The hash of a name that is not empty. It is made of the length and the first and last eight bytes,
/// so that different names may share it: who must be sure compares the names too.
pub(super) fn of(name: &[u8]) -> u32 {
    alone(name)
}

/// The hash of the name `text[begin..end]`.
#[inline]
pub(super) fn within(text: &[u8], begin: usize, end: usize) -> u32 {
    let from = text.get(begin..).and_then(<[u8]>::first_chunk);
    let until = text.get(..end).and_then(<[u8]>::last_chunk);
    match (from, until) {
        (Some(from), Some(until)) => mix(from, until, end - begin),
        _ => alone(text.get(begin..end).unwrap_or_default()),
    }
}

#[inline(never)]
fn alone(name: &[u8]) -> u32 {
    let (mut from, mut until) = ([0; 8], [0; 8]);
    from.iter_mut().zip(name).for_each(|(to, byte)| *to = *byte);
    until.iter_mut().rev().zip(name.iter().rev()).for_each(|(to, byte)| *to = *byte);
    mix(&from, &until, name.len())
}

/// Mixes eight bytes from where a name begins with eight until where it ends.
#[inline]
const fn mix(from: &[u8; 8], until: &[u8; 8], length: usize) -> u32 {
    // In a short name's eight there are others' bytes too, which are shifted out.
    let others = if length < 8 { 64 - 8 * length as u32 } else { 0 };
    let first = u64::from_le_bytes(*from).wrapping_shl(others);
    let last = u64::from_le_bytes(*until).wrapping_shr(others);
    let bytes = first ^ last.rotate_left(23) ^ length as u64;
    // Multiplying by the golden ratio's bits spreads each bit over those above it.
    let product = bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> 32) as u32 ^ product as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_hash_wherever_it_stands() {
        let text: String = ('a'..='z').chain('A'..='Z').collect();
        for begin in 0..text.len() {
            for end in begin + 1..=text.len() {
                let within = within(text.as_bytes(), begin, end);
                assert_eq!(within, of(&text.as_bytes()[begin..end]), "{begin} {end}");
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_byte_or_in_length_differ_in_their_hash() {
        let name = b"abcdefghijklmnop";
        for length in 1..=name.len() {
            let name = &name[..length];
            for place in 0..length {
                let mut other = name.to_vec();
                other[place] = b'X';
                assert_ne!(of(name), of(&other), "{length} {place}");
            }
            assert_ne!(of(name), of(&[name, b"q"].concat()), "{length}");
        }
    }
}
