//! Compresses documents as deflate (RFC 1951): fast where much of each is as it was in the one before.
//!
//! Matches are looked for as LZ4 does, once at each place that no match has covered yet, and are written
//! as soon as they are found, with codes from the frequencies in the block before. Libraries that compress
//! logs as far take two to four times as long for it: `tests/bench/run --only stage` compares them.

use std::mem::replace;
use std::ops::Range;

use super::bits::Bits;
use super::huffman::{Codes, Frequencies, LONGEST, SHORTEST};

/// How far back a match may begin (RFC 1951 §2).
const WINDOW: usize = 32 << 10;

/// A place is found by so many bytes, though fewer are a match too: with five 2 % more is left, because short
/// matches that were found first stand in the way of longer ones.
const HASHED: usize = 6;

/// Bytes that must be the same for a match to be worth its codes.
const FOUND: usize = 4;

/// Where places are remembered: 256 KiB, which a core's own cache holds. A quarter of it is a sixth slower.
const SLOTS: usize = 1 << 16;

/// After so many bytes without a match, one in two places is skipped, then two in three, and so on.
const PATIENCE: usize = 32;

/// Plain bytes that share their codes.
const BLOCK: usize = 256 << 10;

/// What the first block's codes are made from.
const SAMPLE: usize = 32 << 10;

/// What one piece of a block can have that is not compressed (RFC 1951 §3.2.4).
const STORED: usize = 65_535;

/// Kinds of blocks, two bits each.
const NOT_COMPRESSED: u64 = 0;
const WITH_CODES: u64 = 2;

/// What compresses, to be used again.
pub struct Deflate {
    /// The last place with each hash, modulo 2³². Those of data that was compressed before are still there:
    /// no place is believed without a look at the bytes.
    slots: Box<[u32; SLOTS]>,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { slots: Box::new([0; SLOTS]) }
    }
}

impl Deflate {
    /// Bytes that `compress` needs room for at most. A block that would be longer than its plain bytes,
    /// even because there was no room for it, is stored.
    pub fn bound(plain: usize) -> usize {
        plain + plain / 1024 + 1024
    }

    /// Returns how many bytes it has written. None: there was no room for them.
    pub fn compress(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut bits = Bits::new(out);
        let mut frequencies = Frequencies::default();
        self.walk(plain, 0..plain.len().min(SAMPLE), &mut frequencies);
        let mut begin = 0;
        loop {
            let block = begin..plain.len().min(begin + BLOCK);
            begin = block.end;
            self.write_block(plain, block, &mut frequencies, &mut bits);
            if begin == plain.len() {
                return bits.end();
            }
        }
    }

    /// Writes a block with codes for `frequencies`, and leaves there what it has itself.
    fn write_block(
        &mut self,
        plain: &[u8],
        block: Range<usize>,
        frequencies: &mut Frequencies,
        bits: &mut Bits<'_>,
    ) {
        let (before, last) = (bits.place(), block.end == plain.len());
        bits.put(u64::from(last) | WITH_CODES << 1, 3);
        let codes = Codes::of(frequencies, bits);
        *frequencies = Frequencies::default();
        self.walk(plain, block.clone(), &mut Writer { codes: &codes, frequencies, bits });
        codes.put_end(bits);
        bits.flush();
        let plain = plain.get(block).unwrap_or_default();
        if bits.since(before) > plain.len() * 8 {
            bits.go_back(before);
            store(plain, last, bits);
        }
    }

    /// Tells `to` what a block consists of: literals, and what is as it was before.
    fn walk(&mut self, plain: &[u8], block: Range<usize>, to: &mut impl Symbols) {
        let plain = plain.get(..block.end).unwrap_or_default();
        let slots = &mut *self.slots;
        let (mut at, mut told) = (block.start, block.start);
        while let Some(here) = word(plain, at) {
            let distance = remember(slots, here, at);
            // From 1 to WINDOW, and not before the beginning.
            let near = distance.wrapping_sub(1) < at.min(WINDOW);
            if !near || word(plain, at - distance).is_none_or(|there| there as u32 != here as u32) {
                at += 1 + (at - told) / PATIENCE;
                continue;
            }
            let earlier = same_before(plain, at, at - distance).min(at - told);
            let later = same_from(plain, at + FOUND, at + FOUND - distance);
            to.literals(plain.get(told..at - earlier).unwrap_or_default());
            to.matches(earlier + FOUND + later, distance);
            at += FOUND + later;
            told = at;
            if let Some(word) = word(plain, at - 2) {
                remember(slots, word, at - 2);
            }
        }
        to.literals(plain.get(told..).unwrap_or_default());
    }
}

/// Takes what a block consists of, in its order.
trait Symbols {
    fn literals(&mut self, run: &[u8]);

    fn a_match(&mut self, length: usize, distance: usize);

    /// A match that may be longer than one symbol can say.
    #[inline(always)]
    fn matches(&mut self, mut length: usize, distance: usize) {
        while length > LONGEST {
            // What is left over has to be a match as well.
            let some = if length < LONGEST + SHORTEST { LONGEST - SHORTEST } else { LONGEST };
            self.a_match(some, distance);
            length -= some;
        }
        self.a_match(length, distance);
    }
}

impl Symbols for Frequencies {
    fn literals(&mut self, run: &[u8]) {
        run.iter().for_each(|byte| self.count_literal(*byte));
    }

    fn a_match(&mut self, length: usize, distance: usize) {
        self.count_match(length, distance);
    }
}

/// Writes what it takes, and counts it for the block that comes next.
struct Writer<'w, 'o> {
    codes: &'w Codes,
    frequencies: &'w mut Frequencies,
    bits: &'w mut Bits<'o>,
}

impl Writer<'_, '_> {
    #[inline(always)]
    fn some_literals(&mut self, some: &[u8]) {
        for byte in some {
            self.frequencies.count_literal(*byte);
            self.codes.literal(*byte).put(self.bits);
        }
        self.bits.flush();
    }
}

impl Symbols for Writer<'_, '_> {
    #[inline(always)]
    fn literals(&mut self, run: &[u8]) {
        let (fours, rest) = run.as_chunks::<4>();
        for four in fours {
            self.some_literals(four);
        }
        self.some_literals(rest);
    }

    #[inline(always)]
    fn a_match(&mut self, length: usize, distance: usize) {
        self.frequencies.count_match(length, distance);
        self.codes.put_match(length, distance, self.bits);
        self.bits.flush();
    }
}

/// Writes as it is what codes would make longer.
fn store(mut plain: &[u8], last: bool, bits: &mut Bits<'_>) {
    loop {
        let (piece, rest) = plain.split_at(plain.len().min(STORED));
        bits.put(u64::from(last && rest.is_empty()) | NOT_COMPRESSED << 1, 3);
        bits.align();
        let length = piece.len() as u16;
        bits.copy(&length.to_le_bytes());
        bits.copy(&(!length).to_le_bytes());
        bits.copy(piece);
        if rest.is_empty() {
            return;
        }
        plain = rest;
    }
}

/// How far before `at` the last place with the same hash was.
#[inline(always)]
fn remember(slots: &mut [u32; SLOTS], word: u64, at: usize) -> usize {
    let hashed = word << (64 - 8 * HASHED);
    // 2⁶⁴ by the golden ratio: its products differ most in their highest bits.
    let hash = hashed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2());
    let last = slots.get_mut(hash as usize).map(|slot| replace(slot, at as u32));
    (at as u32).wrapping_sub(last.unwrap_or_default()) as usize
}

/// Eight bytes, if there are as many.
#[inline(always)]
fn word(plain: &[u8], at: usize) -> Option<u64> {
    plain.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// How many bytes before both places are the same, up to eight.
#[inline(always)]
fn same_before(plain: &[u8], here: usize, there: usize) -> usize {
    let before = |place: usize| word(plain, place.checked_sub(8)?);
    let differing = before(here).zip(before(there)).map(|(here, there)| here ^ there);
    differing.map_or(0, |bits| bits.leading_zeros() as usize / 8)
}

/// How many bytes from both places on are the same.
#[inline(always)]
fn same_from(plain: &[u8], here: usize, there: usize) -> usize {
    let from = |place: usize| plain.get(place..).unwrap_or_default();
    let (here, there) = (from(here), from(there));
    let mut same = 0;
    for (here, there) in here.as_chunks::<8>().0.iter().zip(there.as_chunks::<8>().0) {
        let differing = u64::from_le_bytes(*here) ^ u64::from_le_bytes(*there);
        if differing != 0 {
            return same + differing.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    let rest = here.iter().zip(there).skip(same);
    same + rest.take_while(|(here, there)| here == there).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::bufread::DeflateDecoder;
    use libdeflater::{CompressionLvl, Compressor, Decompressor};
    use proptest::prelude::*;
    use std::io::Read as _;

    fn compressed(by: &mut Deflate, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; Deflate::bound(plain.len())];
        let length = by.compress(plain, &mut out).unwrap();
        out.truncate(length);
        out
    }

    /// As two that have nothing in common with what wrote it read it.
    fn read(compressed: &[u8], length: usize) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut decoder = DeflateDecoder::new(compressed);
        decoder.read_to_end(&mut plain).unwrap();
        assert_eq!(decoder.total_in(), compressed.len() as u64, "and nothing after it");
        let mut other = vec![0; length];
        let filled = Decompressor::new().deflate_decompress(compressed, &mut other).unwrap();
        assert_eq!(other[..filled], plain);
        plain
    }

    fn random(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    fn documents(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(2);
        let mut documents = String::new();
        while documents.len() < length {
            let (address, port) = (random.u32(..), random.u16(..));
            documents += &format!(
                "{{\"create\":{{\"_index\":\"flows-2026.01.02\"}}}}\n{{\"srcaddr\":\"{}\",\"srcport\":{port},\
                 \"protocol_name\":\"TCP\",\"action\":\"ACCEPT\",\"log_status\":\"OK\"}}\n",
                std::net::Ipv4Addr::from(address),
            );
        }
        documents.into_bytes()
    }

    #[test]
    fn what_cannot_be_compressed_grows_by_little() {
        for length in [0, 1, 100, 65_535, 65_536, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let plain = random(length);
            let compressed = compressed(&mut Deflate::default(), &plain);
            assert!(compressed.len() <= length + length / 10_000 + 16, "{length}");
            assert_eq!(read(&compressed, length), plain);
        }
    }

    #[test]
    fn codes_from_before_that_do_not_fit_are_not_used() {
        let (documents, noise) = (&documents(BLOCK)[..BLOCK], &random(BLOCK)[..]);
        // At the end there is no room to try one.
        for plain in [[documents, noise, documents].concat(), [documents, noise].concat()] {
            let compressed = compressed(&mut Deflate::default(), &plain);
            assert!(compressed.len() < BLOCK * 3 / 2, "{}", compressed.len());
            assert_eq!(read(&compressed, plain.len()), plain);
        }
    }

    #[test]
    fn documents_become_about_as_small_as_a_library_makes_them() {
        let plain = documents(1 << 20);
        let ours = compressed(&mut Deflate::default(), &plain);
        assert_eq!(read(&ours, plain.len()), plain);
        let mut library = Compressor::new(CompressionLvl::new(1).unwrap());
        let mut theirs = vec![0; library.deflate_compress_bound(plain.len())];
        let theirs = library.deflate_compress(&plain, &mut theirs).unwrap();
        assert!(ours.len() * 100 <= theirs * 103, "{} and {theirs}", ours.len());
    }

    #[test]
    fn a_run_of_any_length_is_read_as_it_was() {
        let mut deflate = Deflate::default();
        for length in (1..1100).chain([70_000, 2 * BLOCK + 5]) {
            let plain = vec![b'x'; length];
            assert_eq!(read(&compressed(&mut deflate, &plain), length), plain);
        }
    }

    #[test]
    fn without_room_nothing_is_said_to_be_written() {
        let plain = documents(3000);
        let length = compressed(&mut Deflate::default(), &plain).len();
        for room in 0..length {
            assert_eq!(Deflate::default().compress(&plain, &mut vec![0; room]), None);
        }
    }

    /// Bytes with something of everything: noise, repetitions near and far, runs.
    fn mixed() -> impl Strategy<Value = Vec<u8>> {
        let noise = prop::collection::vec(any::<u8>(), 0..300);
        let piece = prop_oneof![
            noise.prop_map(|noise| (noise, 1)),
            ("[ab]{1,9}", 1..400_usize).prop_map(|(text, times)| (text.into_bytes(), times)),
            ("[a-z0-9\":,]{1,200}", 1..30_usize)
                .prop_map(|(text, times)| (text.into_bytes(), times)),
            (0..9000_usize).prop_map(|length| (random(length), 1)),
            (0..9000_usize).prop_map(|length| (documents(length), 1)),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| {
            pieces.iter().flat_map(|(text, times)| text.repeat(*times)).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_read_as_it_was(all in prop::collection::vec(mixed(), 1..4)) {
            let mut deflate = Deflate::default();
            for plain in all {
                let compressed = compressed(&mut deflate, &plain);
                prop_assert!(compressed.len() <= plain.len() + plain.len() / 10_000 + 16);
                prop_assert!(read(&compressed, plain.len()) == plain);
            }
        }
    }
}
