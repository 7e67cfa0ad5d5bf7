//! The places in a text of what cannot stand for itself inside a string: in most texts, its quotes.
//!
//! Decoding has noted them where the text had escapes. Else they are found here, for the whole text at
//! once: what is left for each string is to take the next place from a list, however long the string is.

use crate::scan;

/// How many bytes are looked at together.
const WORD: usize = 64;

/// As many places are written at once, whether there are so many or not.
const BATCH: usize = 8;

/// Those in a text, in a list that may be longer. `list` is memory for it. The text is short enough
/// for its places.
pub(super) fn find<'l>(text: &[u8], list: &'l mut Vec<u32>) -> &'l [u32] {
    let (words, last) = text.as_chunks::<WORD>();
    let mut padded = [b' '; WORD];
    padded.iter_mut().zip(last).for_each(|(to, byte)| *to = *byte);
    let mut count = 0;
    for (number, word) in words.iter().chain([&padded]).enumerate() {
        if list.len() < count + WORD + BATCH {
            list.resize(2 * (count + WORD + BATCH), 0);
        }
        let bits = scan::word(word, scan::special);
        put(bits, number * WORD, list.get_mut(count..).unwrap_or_default());
        count += bits.count_ones() as usize;
    }
    list.get(..count).unwrap_or_default()
}

/// Takes the bits of a word, which begins here, for places.
#[inline]
fn put(bits: u64, begin: usize, list: &mut [u32]) {
    let mut left = bits;
    for places in list.as_chunks_mut::<BATCH>().0 {
        if left == 0 {
            break;
        }
        for place in places {
            // The highest bit is for when none is left: then any place will do.
            *place = begin as u32 + (left | 1 << (WORD - 1)).trailing_zeros();
            left &= left.wrapping_sub(1);
        }
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
        fn every_mark_is_found_once_and_in_order(
            parts in prop::collection::vec(prop_oneof!["[\"\\\\]{1,70}", "[a-z\\n]{0,700}"], 0..8)
        ) {
            let (text, mut list) = (parts.concat(), Vec::new());
            let known = text.bytes().zip(0..).filter(|(byte, _)| scan::is_special(*byte));
            let known: Vec<u32> = known.map(|(_, place)| place).collect();
            prop_assert_eq!(find(text.as_bytes(), &mut list), known);
        }
    }
}
