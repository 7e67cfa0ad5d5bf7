//! Reads the inside of a JSON string that has escapes, 64 bytes at a time.
//!
//! A message that is JSON has an escape for every few bytes, since each quote in it is one. Nothing here
//! goes from escape to escape: what 64 bytes are is found at once, and then eight bytes at a time leave
//! their backslashes out, which a processor with a byte shuffle (SSSE3, NEON) does in one instruction.

use wide::u8x16;

use crate::scan;

/// How many bytes are looked at together.
const WORD: usize = 64;

/// How many bytes leave their backslashes out together. As many are written, and the next overwrite what
/// was too much.
const CHUNK: usize = 8;

/// Of a word's bytes at most every other one begins an escape.
const MOST_ESCAPES: usize = WORD / 2;

/// What is read or written at once, and more: of what is written, copying can touch what follows a word.
pub(super) const WINDOW: usize = 2 * WORD;

/// For each choice of eight bytes to leave out, the places of the others, the first the lowest.
static KEPT: [u64; 256] = {
    let mut all = [0; 256];
    let mut rest: &mut [u64] = &mut all;
    let mut left_out = 0_u8;
    while let Some((kept, tail)) = rest.split_first_mut() {
        *kept = places_without(left_out);
        left_out = left_out.wrapping_add(1);
        rest = tail;
    }
    all
};

const fn places_without(left_out: u8) -> u64 {
    let (mut places, mut shift, mut place) = (0, 0, 0);
    while place < 8 {
        if left_out >> place & 1 == 0 {
            places |= place << shift;
            shift += 8;
        }
        place += 1;
    }
    places
}

/// How far a word brought us.
struct Step {
    read: usize,
    written: usize,
    escapes: usize,
    stop: Stop,
}

/// Why a word was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It was read, with the next byte to be taken for itself if the last one was a backslash.
    Read { is_next_escaped: bool },
    /// The byte that was not read belongs to an escape and stands for another.
    Meaning,
    /// The byte that was not read ends the string, or cannot be in one.
    End,
}

/// What a string came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unescaped {
    /// How much was read, the quote that ends the string included.
    pub(super) read: usize,
    /// How much was written.
    pub(super) written: usize,
    /// How many places were written; none where there was no room for all of them.
    pub(super) marks: usize,
}

/// Reads until the quote that ends the string, that included. `marks` gets the places in what is
/// written of all that had to be escaped: who reads that text as JSON looks for nothing else.
///
/// The string may end behind what the caller has read into `from`, which then goes on with something
/// else: a window of anything behind the end is all that keeps the last words as quick as the others.
///
/// None where the string does not end, has a control character, has an escape for another character
/// than ASCII's (too rare in logs to be read twice), or `to` is too small.
pub(super) fn unescape(from: &[u8], to: &mut [u8], mut marks: &mut [u32]) -> Option<Unescaped> {
    let (mut read, mut written, mut marked, mut is_escaped) = (0, 0, 0, false);
    loop {
        let (rest, room) = (from.get(read..)?, to.get_mut(written..)?);
        let places = marks.get_mut(marked..).and_then(<[u32]>::first_chunk_mut);
        let step = match (rest.first_chunk(), room.first_chunk_mut(), places) {
            (Some(from), Some(to), Some(list)) => {
                word(from, to, is_escaped, Places { begin: written, list })?
            }
            (_, _, Some(list)) => {
                last_words(rest, room, is_escaped, Places { begin: written, list })?
            }
            (_, _, None) => {
                // From here on none are noted, and those that are count for nothing.
                (marks, marked) = (&mut [], 0);
                let step = unmarked(rest, room, is_escaped)?;
                Step { escapes: 0, ..step }
            }
        };
        read += step.read;
        written += step.written;
        marked += step.escapes;
        match step.stop {
            Stop::Read { is_next_escaped } => is_escaped = is_next_escaped,
            Stop::Meaning => {
                let (byte, length) = meaning(from.get(read..)?)?;
                *to.get_mut(written)? = byte;
                // It is marked already, if any are.
                marked = marked.saturating_sub(usize::from(!scan::is_special(byte)));
                read += length;
                written += 1;
                is_escaped = false;
            }
            Stop::End => {
                let is_end = *from.get(read)? == b'"';
                return is_end.then_some(Unescaped { read: read + 1, written, marks: marked });
            }
        }
    }
}

/// As [`word`], where there is no room for its marks.
#[cold]
fn unmarked(rest: &[u8], room: &mut [u8], is_escaped: bool) -> Option<Step> {
    let places = Places { begin: 0, list: &mut [0; MOST_ESCAPES] };
    match (rest.first_chunk(), room.first_chunk_mut()) {
        (Some(from), Some(to)) => word(from, to, is_escaped, places),
        _ => last_words(rest, room, is_escaped, places),
    }
}

/// Where a word's escapes are noted.
struct Places<'m> {
    /// Where the word begins in what is written.
    begin: usize,
    list: &'m mut [u32; MOST_ESCAPES],
}

/// As [`word`], where less than a window is left.
#[cold]
fn last_words(rest: &[u8], room: &mut [u8], is_escaped: bool, places: Places<'_>) -> Option<Step> {
    // A string has no such byte, and must have ended before it.
    let (mut from, mut to) = ([0; WORD], [0; WINDOW]);
    from.iter_mut().zip(rest).for_each(|(from, byte)| *from = *byte);
    let step = word(&from, &mut to, is_escaped, places)?;
    room.get_mut(..step.written)?.copy_from_slice(to.get(..step.written)?);
    Some(step)
}

/// Reads a word, or as much of it as stands for itself but for the backslashes before it.
#[inline(always)]
fn word(
    from: &[u8; WORD],
    to: &mut [u8; WINDOW],
    is_escaped: bool,
    places: Places<'_>,
) -> Option<Step> {
    let found = scan::quoted(from, is_escaped);
    let stop = found.stop();
    if stop == 0 {
        // Apart, since what comes next is then known without a look at what was found.
        let escapes = leave_out(found.escapes, from, to, places)?;
        let stop = Stop::Read { is_next_escaped: found.is_next_escaped() };
        return Some(Step { read: WORD, written: WORD - escapes, escapes, stop });
    }
    // Those before the first stop.
    let escapes = leave_out(found.escapes & (stop - 1) & !stop, from, to, places)?;
    let end = stop.trailing_zeros() as usize;
    let is_meaning = found.escaped >> (end % WORD) & 1 == 1;
    let stop = if is_meaning { Stop::Meaning } else { Stop::End };
    Some(Step { read: end, written: end - escapes, escapes, stop })
}

/// Copies a word without the bytes that have a bit, notes where those behind them come to be, and returns
/// how many they are.
#[inline(always)]
fn leave_out(
    escapes: u64,
    from: &[u8; WORD],
    to: &mut [u8; WINDOW],
    places: Places<'_>,
) -> Option<usize> {
    let mut before = 0;
    for ((at, chunk), left_out) in
        (0..).step_by(CHUNK).zip(from.as_chunks().0).zip(escapes.to_le_bytes())
    {
        let order = *KEPT.get(usize::from(left_out))?;
        let kept = eight(*chunk).shuffle(eight(order.to_le_bytes())).to_array();
        // The mask says what is known, so that nothing is checked.
        *to.get_mut((at - before) % WORD..)?.first_chunk_mut::<CHUNK>()? = *kept.first_chunk()?;
        before += left_out.count_ones() as usize;
    }
    places.note(escapes);
    Some(before)
}

fn eight(bytes: [u8; CHUNK]) -> u8x16 {
    u8x16::new(u128::from(u64::from_le_bytes(bytes)).to_le_bytes())
}

impl Places<'_> {
    /// Notes where the bytes behind those with a bit come to be, when these are left out.
    #[inline(always)]
    fn note(self, mut escapes: u64) {
        // A buffer is shorter than what such a number can say.
        let mut begin = self.begin as u32;
        // Two at a time, the second perhaps of none: how many there are is not to be guessed.
        for pair in self.list.as_chunks_mut::<2>().0 {
            if escapes == 0 {
                break;
            }
            for place in pair {
                *place = begin.wrapping_add((escapes | 1 << 63).trailing_zeros());
                // Each that is left out brings the others nearer.
                begin = begin.wrapping_sub(1);
                escapes &= escapes.wrapping_sub(1);
            }
        }
    }
}

/// The byte that stands for an escape, its backslash left out, and how long that is (RFC 8259 §7).
fn meaning(escape: &[u8]) -> Option<(u8, usize)> {
    let byte = match escape.first()? {
        b'/' => b'/',
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return ascii(escape.get(1..5)?).map(|byte| (byte, 5)),
        _ => return None,
    };
    Some((byte, 1))
}

fn ascii(digits: &[u8]) -> Option<u8> {
    let code = digits.iter().try_fold(0, |code, digit| {
        char::from(*digit).to_digit(16).map(|digit| code << 4 | digit)
    })?;
    u8::try_from(code).ok().filter(u8::is_ascii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the inside of a string, then a quote, then something else, is read as; and whether room
    /// behind it makes a difference, which it must not.
    fn read(inside: &str) -> Option<String> {
        let mut known = None;
        for behind in [0, 1, 100, 300] {
            let text = [inside, "\"", &"x\\\"\n".repeat(behind)].concat();
            let mut room = vec![b'-'; text.len()];
            let mut marks = vec![0; text.len() + MOST_ESCAPES];
            let found = unescape(text.as_bytes(), &mut room, &mut marks);
            let without = unescape(text.as_bytes(), &mut room, &mut [0; MOST_ESCAPES]);
            assert_eq!(
                without.map(|found| Unescaped { marks: 0, ..found }),
                found.map(|found| Unescaped { marks: 0, ..found })
            );
            let found = found.map(|Unescaped { read, written, marks: marked }| {
                assert_eq!(text.as_bytes()[read - 1], b'"', "{text}");
                let text = String::from_utf8(room[..written].to_vec()).unwrap();
                let known = text.bytes().zip(0..).filter(|(byte, _)| scan::is_special(*byte));
                let known: Vec<u32> = known.map(|(_, place)| place).collect();
                assert_eq!(marks[..marked], known, "{text}");
                assert!(without.is_some_and(|found| found.marks == 0 || found.marks == marked));
                (read, text)
            });
            assert_eq!(known.get_or_insert_with(|| found.clone()), &found, "{inside} {behind}");
        }
        let (read, text) = known??;
        (read == inside.len() + 1).then_some(text)
    }

    /// What serde makes of it, none where it is no string or was to be given up.
    fn known(inside: &str) -> Option<String> {
        let text: String = serde_json::from_str(&format!("\"{inside}\"")).ok()?;
        let is_ascii = |code: &str| code.starts_with("00") && code.as_bytes()[2] < b'8';
        let codes = inside.replace("\\\\", "").split("\\u").skip(1).all(is_ascii);
        codes.then_some(text)
    }

    #[test]
    fn an_escape_is_read_at_every_place_of_a_word_and_across_its_border() {
        for escape in
            ["\\\"", "\\\\", "\\/", "\\n", "\\u0041", "\\\\\\\"", "\\\\n", "\\n\\n", "\\\"\\n\\\""]
        {
            for before in 0..140 {
                for between in [0, 1, 31, 32, 33, 62, 63, 64, 65] {
                    let (before, between) = ("b".repeat(before), "é".repeat(between));
                    let inside = [&before, escape, &between, escape, "end"].concat();
                    assert_eq!(read(&inside), known(&inside), "{inside}");
                    assert!(known(&inside).is_some());
                }
            }
        }
    }

    #[test]
    fn what_is_no_string_or_rare_is_given_up_at_every_place() {
        for wrong in ["\\x", "\\u00e9", "\\u00", "\\\n", "\n", "\0", "\\u+041", "\\ud83d\\ude00"] {
            for before in 0..140 {
                for lead in ["", "\\\"", "\\\\"] {
                    let inside = [lead, &"b".repeat(before), wrong, "\\\"end"].concat();
                    assert_eq!(read(&inside), None, "{inside:?}");
                }
            }
        }
        assert!(unescape(b"no \\\" end", &mut [0; 99], &mut []).is_none());
        assert!(unescape(b"no end \\", &mut [0; 99], &mut []).is_none());
        assert!(unescape(b"no room\\\"\"", &mut [0; 5], &mut []).is_none());
        assert!(unescape(&[b'x'; 200], &mut [0; 100], &mut []).is_none());
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_unescaped_as_serde_does_it(
            parts in prop::collection::vec(prop_oneof![
                4 => "(\\\\){1,130}", 4 => "\\\\\"", 2 => "[a-z]{0,70}", 2 => "é{0,40}",
                1 => "\\\\[nrtbf/]", 1 => "\\\\u00[0-7][0-9a-fA-F]", 1 => "[\"\\\\a]",
            ], 0..30)
        ) {
            let inside = parts.concat();
            if let Some(text) = known(&inside) {
                prop_assert_eq!(read(&inside), Some(text));
            } else {
                prop_assert_eq!(read(&inside), None, "{}", inside);
            }
        }
    }
}
