//! Which bits stand for which literal, length and distance: canonical Huffman codes (RFC 1951 §3.2.2).
//!
//! What was never counted has a code as well, if a long one: the codes for data are made from what came
//! before it.

use std::array::from_fn;
use std::collections::VecDeque;
use std::iter::{once, repeat_n};

use super::bits::Bits;

/// How long a match is, at least and at most (RFC 1951 §3.2.5).
pub(super) const SHORTEST: usize = 3;
pub(super) const LONGEST: usize = 258;

/// 256 literals, the end of a block, and 29 codes of lengths.
const LITERALS: usize = 286;
const END: usize = 256;
const DISTANCES: usize = 30;

/// The bits of a code at most. 15 are allowed; with 14, four literals fit into what `Bits` holds.
const MOST: usize = 14;

/// The bits of a code of a code's length at most, and how many such codes there are.
const MOST_OF_LENGTHS: usize = 7;
const CODES_OF_LENGTHS: usize = 19;

/// The last length again, three times and as often more as two bits say.
const AGAIN: u8 = 16;
const AGAIN_AT_LEAST: usize = 3;
const AGAIN_AT_MOST: usize = 6;

/// In which order the lengths of the codes of lengths are written (RFC 1951 §3.2.7).
const ORDER: [usize; CODES_OF_LENGTHS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What one occurrence weighs, where that there could be one weighs 1.
const OCCURRENCE: u32 = 16;

/// How often each symbol was seen.
#[derive(Debug)]
pub(super) struct Frequencies {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

impl Default for Frequencies {
    fn default() -> Self {
        Self { literals: [1; LITERALS], distances: [1; DISTANCES] }
    }
}

impl Frequencies {
    pub(super) fn count_literal(&mut self, byte: u8) {
        if let Some(weight) = self.literals.get_mut(usize::from(byte)) {
            *weight += OCCURRENCE;
        }
    }

    pub(super) fn count_match(&mut self, length: usize, distance: usize) {
        let (length, _) = symbol_of_length(length);
        if let Some(weight) = self.literals.get_mut(END + 1 + length) {
            *weight += OCCURRENCE;
        }
        let (distance, _) = symbol_of_distance(distance);
        if let Some(weight) = self.distances.get_mut(distance) {
            *weight += OCCURRENCE;
        }
    }
}

/// The bits of one symbol, the first of them the lowest, and above them how many they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code(u32);

impl Code {
    const COUNT: u32 = 24;

    fn new(bits: u32, count: u32) -> Self {
        Self(bits | count << Self::COUNT)
    }

    /// With `count` bits after its own.
    fn followed_by(self, bits: u32, count: u32) -> Self {
        Self::new(self.bits() | bits << self.count(), self.count() + count)
    }

    fn bits(self) -> u32 {
        self.0 & ((1 << Self::COUNT) - 1)
    }

    fn count(self) -> u32 {
        self.0 >> Self::COUNT
    }

    pub(super) fn put(self, to: &mut Bits<'_>) {
        to.put(u64::from(self.bits()), self.count());
    }
}

/// The codes of a block.
#[derive(Debug)]
pub(super) struct Codes {
    literals: [Code; 256],
    /// With the bits that say which of a code's lengths it is.
    lengths: [Code; LONGEST - SHORTEST + 1],
    distances: [Code; DISTANCES],
    end: Code,
}

impl Codes {
    /// Writes which codes the block has that begins here.
    pub(super) fn of(frequencies: &Frequencies, to: &mut Bits<'_>) -> Self {
        let literals = code_lengths(&frequencies.literals, MOST);
        let distances = code_lengths(&frequencies.distances, MOST);
        write(&literals, &distances, to);
        let (literals, distances) = (codes(&literals), codes(&distances));
        let of = |symbol: usize| literals.get(symbol).copied().unwrap_or_default();
        Self {
            literals: from_fn(of),
            lengths: from_fn(|longer| {
                let (symbol, extra) = symbol_of_length(SHORTEST + longer);
                of(END + 1 + symbol).followed_by(longer as u32 & ((1 << extra) - 1), extra)
            }),
            distances,
            end: of(END),
        }
    }

    pub(super) fn literal(&self, byte: u8) -> Code {
        self.literals.get(usize::from(byte)).copied().unwrap_or_default()
    }

    pub(super) fn put_match(&self, length: usize, distance: usize, to: &mut Bits<'_>) {
        self.lengths.get(length - SHORTEST).copied().unwrap_or_default().put(to);
        let (symbol, extra) = symbol_of_distance(distance);
        self.distances.get(symbol).copied().unwrap_or_default().put(to);
        to.put((distance as u64 - 1) & ((1 << extra) - 1), extra);
    }

    pub(super) fn put_end(&self, to: &mut Bits<'_>) {
        self.end.put(to);
    }
}

/// Of each length the symbol, counted from the first one, and how many bits follow it.
#[expect(clippy::indexing_slicing, reason = "of a constant")]
const SYMBOLS_OF_LENGTHS: [(u8, u8); LONGEST - SHORTEST + 1] = {
    let mut symbols = [(0, 0); LONGEST - SHORTEST + 1];
    let mut longer = 0;
    while longer < symbols.len() {
        let (symbol, follow) = symbol(longer, 2);
        symbols[longer] = (symbol as u8, follow as u8);
        longer += 1;
    }
    // The longest has one of its own.
    symbols[longer - 1] = (28, 0);
    symbols
};

#[inline(always)]
fn symbol_of_length(length: usize) -> (usize, u32) {
    let symbol = SYMBOLS_OF_LENGTHS.get(length - SHORTEST).copied();
    let (symbol, follow) = symbol.unwrap_or_default();
    (usize::from(symbol), u32::from(follow))
}

#[inline(always)]
fn symbol_of_distance(distance: usize) -> (usize, u32) {
    symbol(distance - 1, 1)
}

/// What RFC 1951 §3.2.5 has as tables: a symbol tells a number's magnitude and the `told` bits below its
/// highest; the rest of the bits follow it.
#[inline(always)]
const fn symbol(number: usize, told: u32) -> (usize, u32) {
    if number < 2 << told {
        return (number, 0);
    }
    let follow = number.ilog2() - told;
    (((follow as usize + 1) << told) + ((number >> follow) & ((1 << told) - 1)), follow)
}

/// How long each symbol's code is: as Huffman has it, but none longer than `most`.
fn code_lengths<const N: usize>(weights: &[u32; N], most: usize) -> [u8; N] {
    let mut rarest_first: [usize; N] = from_fn(|symbol| symbol);
    rarest_first.sort_unstable_by_key(|symbol| weights.get(*symbol));
    let weights = rarest_first.iter().filter_map(|symbol| weights.get(*symbol));
    let counts = counts_by_length(weights, most);
    let longest_first = counts.into_iter().enumerate().rev();
    let lengths = longest_first.flat_map(|(length, count)| repeat_n(length as u8, count));
    let mut of = [0; N];
    for (symbol, length) in rarest_first.into_iter().zip(lengths) {
        if let Some(place) = of.get_mut(symbol) {
            *place = length;
        }
    }
    of
}

/// How many symbols have a code of each length. `weights` rise.
fn counts_by_length<'w>(weights: impl Iterator<Item = &'w u32>, most: usize) -> Counts {
    let single = weights
        .map(|weight| Tree { weight: *weight, leaves: from_fn(|depth| usize::from(depth == 0)) });
    let mut forest = Forest { single: single.collect(), joined: VecDeque::new() };
    while let Some(one) = forest.take_lightest() {
        let Some(other) = forest.take_lightest() else { return fit(one.leaves, most) };
        forest.joined.push_back(one.join(other, most));
    }
    Counts::default()
}

/// Makes good that codes were cut off at `most`, so that there are more than bits can tell apart: for
/// each too many, one of them and the longest that is shorter become two that differ in their last bit.
#[expect(clippy::indexing_slicing, reason = "no length is above `most`, which is at most `MOST`")]
fn fit(mut counts: Counts, most: usize) -> Counts {
    let taken: usize = (1..=most).map(|length| counts[length] << (most - length)).sum();
    for _ in 1 << most..taken {
        let Some(shorter) = (1..most).rfind(|length| counts[*length] > 0) else { break };
        counts[most] -= 1;
        counts[shorter] -= 1;
        counts[shorter + 1] += 2;
    }
    counts
}

/// Codes rise with their lengths, and among those of one length with their symbols.
fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut codes = [Code::default(); N];
    let mut next = 0_u16;
    for length in 1..=MOST as u8 {
        for (code, _) in codes.iter_mut().zip(lengths).filter(|(_, of)| **of == length) {
            // The highest bit comes first.
            let bits = next.reverse_bits() >> (u16::BITS - u32::from(length));
            *code = Code::new(u32::from(bits), u32::from(length));
            next += 1;
        }
        next <<= 1;
    }
    codes
}

/// Writes how long each code is (RFC 1951 §3.2.7). A reader makes the same codes from it.
fn write(literals: &[u8; LITERALS], distances: &[u8; DISTANCES], to: &mut Bits<'_>) {
    let lengths = [literals.as_slice(), distances].concat();
    let said: Vec<_> = lengths.chunk_by(|one, other| one == other).flat_map(shortened).collect();
    let mut weights = [1; CODES_OF_LENGTHS];
    for (symbol, _) in &said {
        if let Some(weight) = weights.get_mut(usize::from(*symbol)) {
            *weight += OCCURRENCE;
        }
    }
    let lengths = code_lengths(&weights, MOST_OF_LENGTHS);
    to.put(LITERALS as u64 - 257, 5);
    to.put(DISTANCES as u64 - 1, 5);
    to.put(CODES_OF_LENGTHS as u64 - 4, 4);
    for length in ORDER.iter().filter_map(|symbol| lengths.get(*symbol)) {
        to.flush();
        to.put(u64::from(*length), 3);
    }
    let codes = codes(&lengths);
    for (symbol, more) in said {
        to.flush();
        codes.get(usize::from(symbol)).copied().unwrap_or_default().put(to);
        if symbol == AGAIN {
            to.put(more as u64, 2);
        }
    }
    to.flush();
}

/// What says a length as often in a row as it is in `run`, and after `AGAIN` how much more often than
/// at least.
fn shortened(run: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let length = run.first().copied().unwrap_or_default();
    let again = run.get(1..).unwrap_or_default().chunks(AGAIN_AT_MOST).flat_map(move |some| {
        match some.len().checked_sub(AGAIN_AT_LEAST) {
            Some(more) => repeat_n((AGAIN, more), 1),
            None => repeat_n((length, 0), some.len()),
        }
    });
    once((length, 0)).chain(again)
}

type Counts = [usize; MOST + 1];

/// What becomes a code: all that matters of it is how many leaves it has at which depth.
struct Tree {
    weight: u32,
    leaves: Counts,
}

impl Tree {
    /// Both, one deeper. What would be deeper than `most` is gathered there.
    fn join(self, other: Self, most: usize) -> Self {
        let mut leaves = Counts::default();
        for (depth, (ours, theirs)) in self.leaves.into_iter().zip(other.leaves).enumerate() {
            if let Some(count) = leaves.get_mut(most.min(depth + 1)) {
                *count += ours + theirs;
            }
        }
        Self { weight: self.weight + other.weight, leaves }
    }
}

/// Two queues in which weights rise.
struct Forest {
    single: VecDeque<Tree>,
    joined: VecDeque<Tree>,
}

impl Forest {
    fn take_lightest(&mut self) -> Option<Tree> {
        let single = self.single.front().map_or(u32::MAX, |tree| tree.weight);
        let joined = self.joined.front().is_some_and(|tree| tree.weight < single);
        if joined { self.joined.pop_front() } else { self.single.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symbols_are_those_of_the_standard() {
        // RFC 1951 §3.2.5: how many bits follow, and the first length or distance.
        #[rustfmt::skip]
        let lengths = [
            (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 9), (0, 10), (1, 11), (1, 13),
            (1, 15), (1, 17), (2, 19), (2, 23), (2, 27), (2, 31), (3, 35), (3, 43), (3, 51), (3, 59),
            (4, 67), (4, 83), (4, 99), (4, 115), (5, 131), (5, 163), (5, 195), (5, 227), (0, 258),
        ];
        let distances = [
            (0, 1),
            (0, 2),
            (0, 3),
            (0, 4),
            (1, 5),
            (1, 7),
            (2, 9),
            (2, 13),
            (3, 17),
            (3, 25),
            (4, 33),
            (4, 49),
            (5, 65),
            (5, 97),
            (6, 129),
            (6, 193),
            (7, 257),
            (7, 385),
            (8, 513),
            (8, 769),
            (9, 1025),
            (9, 1537),
            (10, 2049),
            (10, 3073),
            (11, 4097),
            (11, 6145),
            (12, 8193),
            (12, 12289),
            (13, 16385),
            (13, 24577),
        ];
        let of = |table: &[(u32, usize)], number: usize| {
            let symbol = table.iter().rposition(|(_, first)| *first <= number).unwrap();
            (symbol, table[symbol].0)
        };
        for length in SHORTEST..=LONGEST {
            assert_eq!(symbol_of_length(length), of(&lengths, length), "{length}");
        }
        for distance in 1..=32 << 10 {
            assert_eq!(symbol_of_distance(distance), of(&distances, distance), "{distance}");
        }
    }

    /// What codes without a limit cost: the sum of what is joined, the two lightest again and again.
    fn least(weights: &[u32]) -> u32 {
        let mut weights = weights.to_vec();
        let mut cost = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by(|one, other| other.cmp(one));
            let joined = weights.pop().unwrap() + weights.pop().unwrap();
            cost += joined;
            weights.push(joined);
        }
        cost
    }

    fn check<const N: usize>(weights: &[u32; N], most: usize) -> Result<(), TestCaseError> {
        let lengths = code_lengths(weights, most);
        prop_assert!(lengths.iter().all(|length| (1..=most).contains(&usize::from(*length))));
        let shares: u32 = lengths.iter().map(|length| 1 << (most - usize::from(*length))).sum();
        prop_assert_eq!(shares, 1 << most, "no code too many, and none unused");
        let cost: u32 =
            lengths.iter().zip(weights).map(|(length, of)| u32::from(*length) * of).sum();
        let least = least(weights);
        prop_assert!(cost >= least);
        if usize::from(*lengths.iter().max().unwrap()) < most {
            prop_assert_eq!(cost, least);
        }
        for (one, of_one) in lengths.iter().zip(weights) {
            for (other, of_other) in lengths.iter().zip(weights) {
                prop_assert!(of_one <= of_other || one <= other, "the more frequent is not longer");
            }
        }
        Ok(())
    }

    /// Weights of very different magnitudes.
    fn weights<const N: usize>() -> impl Strategy<Value = [u32; N]> {
        let weights = prop::collection::vec((0..18_u32, any::<u32>()), N);
        weights.prop_map(|weights| {
            let mut weights = weights.into_iter().map(|(bits, any)| 1 + any % (1 << bits));
            from_fn(|_| weights.next().unwrap())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn codes_are_the_shortest_within_the_limit(
            few in weights::<CODES_OF_LENGTHS>(),
            some in weights::<DISTANCES>(),
            many in weights::<LITERALS>(),
        ) {
            check(&few, MOST_OF_LENGTHS)?;
            check(&some, MOST)?;
            check(&many, MOST)?;
        }
    }
}
