//! The places in a text of what cannot stand for itself inside a string: in most texts, its quotes.
//!
//! They are found for a whole block at once. What is left for each string is to take the next place
//! from a list, however long the string is.

use crate::scan;

/// How many bytes are looked at together.
const WORD: usize = 64;

/// How many bytes are looked at before the places in them are used.
const BLOCK: usize = 8 * WORD;

/// As many places are written at once, whether there are so many or not.
const BATCH: usize = 8;

/// The places in a text, one after the other.
pub(super) struct Marks<'a> {
    text: &'a [u8],
    /// The places within the block.
    places: [u16; BLOCK + BATCH],
    next: usize,
    count: usize,
    /// Where the block begins, and the block after it.
    block: usize,
    until: usize,
}

impl<'a> Marks<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, places: [0; BLOCK + BATCH], next: 0, count: 0, block: 0, until: 0 }
    }

    /// The next one.
    #[inline]
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.next >= self.count {
            self.advance()?;
        }
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(self.block + usize::from(place))
    }

    /// The one after the next one.
    #[inline]
    pub(super) fn second(&mut self) -> Option<usize> {
        if self.next + 1 < self.count {
            let place = *self.places.get(self.next + 1)?;
            self.next += 2;
            return Some(self.block + usize::from(place));
        }
        self.next()?;
        self.next()
    }

    /// The second and the fourth next one, where they are already known. They are still the next.
    #[inline]
    pub(super) fn two_strings(&self) -> Option<(usize, usize)> {
        let places = self.places.get(self.next..self.count)?.first_chunk::<4>()?;
        let [_, end, _, until] = places.map(usize::from);
        Some((self.block + end, self.block + until))
    }

    /// Goes on to the one after them.
    #[inline]
    pub(super) fn skip_two_strings(&mut self) {
        self.next += 4;
    }

    /// Goes to the next block that has any.
    #[inline(never)]
    fn advance(&mut self) -> Option<()> {
        (self.next, self.count) = (0, 0);
        while self.count == 0 {
            let rest = self.text.get(self.until..).filter(|rest| !rest.is_empty())?;
            self.block = self.until;
            self.until = self.text.len().min(self.block + BLOCK);
            let (words, last) = rest.get(..self.until - self.block)?.as_chunks::<WORD>();
            for (number, word) in words.iter().enumerate() {
                self.put(scan::word(word, scan::special), number)?;
            }
            if !last.is_empty() {
                let mut padded = [b' '; WORD];
                padded.get_mut(..last.len())?.copy_from_slice(last);
                self.put(scan::word(&padded, scan::special), words.len())?;
            }
        }
        Some(())
    }

    /// Takes the bits of a word for places.
    #[inline]
    fn put(&mut self, bits: u64, word: usize) -> Option<()> {
        let (mut left, mut count) = (bits, self.count);
        while left != 0 {
            let places: &mut [u16; BATCH] = self.places.get_mut(count..)?.first_chunk_mut()?;
            for place in places {
                // The highest bit is for when none is left: then any place will do.
                let bit = (left | 1 << (WORD - 1)).trailing_zeros() as usize;
                *place = (word * WORD + bit) as u16;
                left &= left.wrapping_sub(1);
            }
            count += BATCH;
        }
        self.count += bits.count_ones() as usize;
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
        fn every_mark_is_found_once_and_in_order(
            parts in prop::collection::vec(prop_oneof!["[\"\\\\]{1,70}", "[a-z\\n]{0,700}"], 0..8),
            seconds in prop::collection::vec(any::<bool>(), 300)
        ) {
            let text = parts.concat();
            let is_mark = |(_, byte): &(usize, u8)| scan::is_special(*byte);
            let mut known = text.bytes().enumerate().filter(is_mark).map(|(place, _)| place);
            let mut marks = Marks::of(text.as_bytes());
            for second in seconds {
                let (found, known) =
                    if second { (marks.second(), known.nth(1)) } else { (marks.next(), known.next()) };
                prop_assert_eq!(found, known);
            }
        }
    }
}
