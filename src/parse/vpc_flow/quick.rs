//! Flow log lines as AWS writes them, 64 bytes at a time: one space between tokens, nothing that JSON
//! would escape, numbers that any field can hold.
//!
//! [`Format::read`] refuses every other line, which is then read and judged token by token; that both
//! make the same document is tested.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::parse::schema::FieldType;
use crate::parse::structural::MAX_LEAF;
use crate::parse::vpc_fields::protocol_name;
use crate::parse::writer::{CHUNK, Fields, Lead};
use crate::scan;

use super::Column;

/// The longest line, in bytes: one with every field there is has half of it.
const MAX_LINE: usize = 4 << 10;

/// What stands for a field that is not there.
const ABSENT: u8 = b'-';

/// What is written beyond columns and tokens: the name of the protocol, and a chunk that is not full.
const SLACK: usize = 3 * CHUNK;

/// The columns of a format, each with what stands before its token in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    columns: Vec<(Lead, Token)>,
}

/// The field that tells the name of a protocol, by the number of those that have one.
static PROTOCOL_NAMES: LazyLock<Vec<Option<Lead>>> = LazyLock::new(|| {
    let field = |number| Lead::whole("protocol_name", protocol_name(number)?);
    (0..256).map(field).collect()
});

/// What a token must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// A whole number of at most so many digits, which are too few to be out of range.
    Digits(usize),
    Protocol,
    Address,
    Text,
}

impl Format {
    /// None when a name is longer than AWS's are.
    pub(super) fn of(columns: &[Column]) -> Option<Self> {
        let column = |column: &Column| {
            let token = match column.ty {
                _ if column.aws_name == "protocol" => Token::Protocol,
                FieldType::Long => Token::Digits(18),
                FieldType::Integer => Token::Digits(9),
                FieldType::DateEpochSecond => Token::Digits(11),
                FieldType::Ip => Token::Address,
                FieldType::Keyword => Token::Text,
                FieldType::Text
                | FieldType::TextAndKeyword
                | FieldType::Date
                | FieldType::Boolean
                | FieldType::Open
                | FieldType::Kept => return None,
            };
            let is_text = matches!(token, Token::Address | Token::Text);
            Some((Lead::new(&column.field, is_text)?, token))
        };
        let columns = columns.iter().map(column).collect::<Option<Vec<_>>>()?;
        Some(Self { columns })
    }

    /// Writes the fields of a line, if its tokens are surely what their columns say.
    pub(super) fn read(&self, line: &str, fields: &mut Fields) -> Option<()> {
        let line = line.as_bytes();
        if line.len() > MAX_LINE {
            return None;
        }
        // The last tokens are copied from where as many bytes follow them as a chunk has.
        let tail_begin = line.len().saturating_sub(CHUNK);
        let mut tail = [0; 2 * CHUNK];
        *tail.first_chunk_mut()? = match line.last_chunk::<CHUNK>() {
            Some(last) => *last,
            None => padded(line)?,
        };
        let most = line.len() + self.columns.len() * Lead::SIZE + SLACK;
        fields.write(most, |window| {
            let mut words = Words::of(line)?;
            let mut begin = 0_usize;
            for (lead, token) in &self.columns {
                let end = words.next_end()?;
                let from = match begin.checked_sub(tail_begin) {
                    Some(begin) => tail.get(begin..)?,
                    None => line.get(begin..)?,
                };
                let (chunk, length) = (from.first_chunk::<CHUNK>()?, end - begin);
                if length != 1 || chunk.first() != Some(&ABSENT) {
                    if !token.fits(from, (begin, end), &words) {
                        return None;
                    }
                    if length <= CHUNK {
                        window.field(lead, chunk, length)?;
                    } else {
                        window.long_field(lead, from.get(..length)?)?;
                    }
                    if *token == Token::Protocol
                        && let Some(name) = protocol(from.get(..length)?)
                    {
                        window.lead(name)?;
                    }
                }
                begin = end + 1;
            }
            // The line's end was the last token's.
            (begin == line.len() + 1).then_some(())
        })
    }
}

/// Few bytes with others after them, which are no spaces.
fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut padded = [b'-'; N];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(padded)
}

fn protocol(digits: &[u8]) -> Option<&'static Lead> {
    let number = digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    PROTOCOL_NAMES.get(number)?.as_ref()
}

/// A line, 64 bytes at a time.
struct Words<'a> {
    line: &'a [u8],
    /// Where the current word begins.
    at: usize,
    /// A bit for each space in the current word that was not come to yet, and for the line's end.
    spaces: u64,
    /// A bit for each digit in the word before, and above them those in the current one.
    digits: u128,
}

impl<'a> Words<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut words = Self { line, at: 0, spaces: 0, digits: 0 };
        words.enter()?;
        Some(words)
    }

    /// Where the next token ends. None when there is no more, or JSON would escape a byte of it.
    #[inline]
    fn next_end(&mut self) -> Option<usize> {
        while self.spaces == 0 {
            self.at += 64;
            self.enter()?;
        }
        let end = self.at + self.spaces.trailing_zeros() as usize;
        self.spaces &= self.spaces - 1;
        Some(end)
    }

    /// Looks at the current word. None when there is none, or a byte of it would be escaped.
    #[inline]
    fn enter(&mut self) -> Option<()> {
        let rest = self.line.get(self.at..)?;
        let short;
        let (word, end, twice) = match (rest.first_chunk(), self.line.last_chunk()) {
            (Some(word), _) => (word, 0, 0),
            // The last word is whole too, but begins in the one before.
            (None, Some(last)) => (last, 1 << rest.len(), 64 - rest.len()),
            (None, None) => {
                short = padded(rest)?;
                (&short, 1 << rest.len(), 0)
            }
        };
        if scan::word(word, scan::special) != 0 {
            return None;
        }
        // Twice 64 is nothing new.
        let cut = |bits: u64| if twice < 64 { bits >> twice } else { 0 };
        let spaces = scan::word(word, |chunk| scan::equal(chunk, b' '));
        self.spaces = cut(spaces) | end;
        self.digits = self.digits >> 64 | u128::from(cut(scan::word(word, scan::digits))) << 64;
        Some(())
    }

    /// Whether the bytes from `begin` to `end`, which is in the current word, are digits. At most 64.
    #[inline]
    fn are_digits(&self, begin: usize, end: usize) -> bool {
        let from_word_before = begin + 64 - self.at;
        let bits = (self.digits >> from_word_before) as u64;
        bits.trailing_ones() as usize >= end - begin
    }
}

impl Token {
    /// Whether the bytes of a line from `begin` to `end`, with which `from` begins, are such a token.
    #[inline]
    fn fits(self, from: &[u8], (begin, end): (usize, usize), words: &Words<'_>) -> bool {
        let length = end - begin;
        let most = match self {
            Self::Text => return (1..=MAX_LEAF).contains(&length),
            Self::Digits(most) => most,
            Self::Protocol => 9,
            Self::Address => return is_ipv4(from, length) || is_address(from.get(..length)),
        };
        // JSON has no number with a leading zero.
        let starts_well = length == 1 || from.first() != Some(&b'0');
        starts_well && (1..=most).contains(&length) && words.are_digits(begin, end)
    }
}

fn is_address(text: Option<&[u8]>) -> bool {
    let text = text.and_then(|text| str::from_utf8(text).ok());
    text.is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

/// Whether the first `length` bytes of sixteen or more are an IPv4 address for `Ipv4Addr` too: four numbers
/// up to 255, without leading zeros. It looks at all of them at once.
fn is_ipv4(from: &[u8], length: usize) -> bool {
    let Some(chunk) = from.first_chunk().filter(|_| length <= 15) else { return false };
    let inside = (1_u32 << length) - 1;
    let at_least = |byte| scan::at_least(chunk, byte);
    let (dots, digits) = (scan::equal(chunk, b'.') & inside, scan::digits(chunk) & inside);
    // Where a number begins, has a second digit, and a third.
    let begins = dots << 1 | 1;
    let first = begins & digits;
    let second = first << 1 & digits;
    let third = second << 1 & digits;
    let (above_0, above_1, above_2) = (at_least(b'1'), at_least(b'2'), at_least(b'3'));
    let (above_4, above_5) = (at_least(b'5'), at_least(b'6'));
    let zero = first & !above_0 & second >> 1;
    let two = third >> 2 & above_1 & !above_2;
    let too_large =
        third >> 2 & above_2 | two & above_5 >> 1 | two & (above_4 & !above_5) >> 1 & above_5 >> 2;
    let is_whole = first == begins && first | second | third | dots == inside;
    is_whole && dots.count_ones() == 3 && zero | too_large == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fields, MAX_LINE};
    use crate::event::Timestamp;
    use crate::parse::document::Document;
    use crate::parse::vpc_flow::{Line, VpcFormat};
    use crate::parse::{Source, vpc_fields};

    /// A format with every field there is.
    fn every_field() -> VpcFormat {
        let names: Vec<_> = vpc_fields::all().map(|(name, _)| name).collect();
        names.join(" ").parse().unwrap()
    }

    fn document(write: impl Fn(&mut Document<'_>)) -> String {
        let source = Source::new("1", "g", "s", "r");
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out, &source, true, Timestamp(0), "1");
        write(&mut document);
        document.end();
        String::from_utf8(out).unwrap()
    }

    /// Whether the line was read quickly; then both ways must make the same of it.
    fn is_quick(format: &VpcFormat, line: &str) -> bool {
        let mut fields = Fields::default();
        if format.quick.as_ref().unwrap().read(line, &mut fields).is_none() {
            return false;
        }
        assert_eq!(format.judge(line), Ok(()), "{line}");
        let line = Line { format, line, fields: Some(Box::new(fields)) };
        let quickly = document(|document| line.write(document));
        assert_eq!(quickly, document(|document| line.write_each(document)));
        serde_json::from_str::<serde_json::Value>(&quickly).unwrap();
        true
    }

    fn token() -> impl Strategy<Value = String> {
        let octets = any::<[u8; 4]>();
        prop_oneof![
            4 => any::<u32>().prop_map(|number| number.to_string()),
            2 => any::<u64>().prop_map(|number| number.to_string()),
            2 => octets.prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            1 => any::<[u16; 8]>().prop_map(|parts| std::net::Ipv6Addr::from(parts).to_string()),
            1 => "[0-9]{1,3}(\\.[0-9]{1,3}){2,4}",
            1 => "[0-9]{1,20}",
            2 => "[a-z0-9:/-]{1,40}",
            1 => Just("-".to_owned()),
            1 => any::<String>(),
        ]
    }

    /// A token that AWS could write for a field.
    fn fitting(ty: super::FieldType) -> BoxedStrategy<String> {
        use super::FieldType::{
            Boolean, Date, DateEpochSecond, Integer, Ip, Kept, Keyword, Long, Open, Text,
            TextAndKeyword,
        };
        let number = |most: u64| (0..most).prop_map(|number| number.to_string()).boxed();
        let there = match ty {
            Integer => number(1_000_000_000),
            Long => number(1_000_000_000_000_000_000),
            DateEpochSecond => number(100_000_000_000),
            Ip => any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()).boxed(),
            Keyword | Text | TextAndKeyword | Date | Boolean | Open | Kept => {
                "[a-zA-Z0-9:/-]{1,60}".boxed()
            }
        };
        prop_oneof![9 => there, 1 => Just("-".to_owned())].boxed()
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_aws_writes_is_read_quickly(
            tokens in vpc_fields::all().map(|(_, ty)| fitting(ty)).collect::<Vec<_>>()
        ) {
            let line = tokens.join(" ");
            prop_assert_eq!(is_quick(&every_field(), &line), line.len() <= MAX_LINE);
            prop_assert!(is_quick(&VpcFormat::default(), &tokens[..14].join(" ")));
        }

        #[test]
        fn any_line_makes_the_same_document_both_ways(
            tokens in proptest::collection::vec(token(), 14), space in "[ \\t]{1,2}"
        ) {
            is_quick(&VpcFormat::default(), &tokens.join(" "));
            is_quick(&VpcFormat::default(), &tokens.join(&space));
        }

        #[test]
        fn one_odd_token_makes_the_same_document_both_ways(
            tokens in vpc_fields::all().map(|(_, ty)| fitting(ty)).collect::<Vec<_>>(),
            odd in token(), at in any::<prop::sample::Index>()
        ) {
            let mut tokens = tokens;
            let at = at.index(tokens.len());
            tokens[at] = odd;
            is_quick(&every_field(), &tokens.join(" "));
            is_quick(&VpcFormat::default(), &tokens[..14].join(" "));
        }

        #[test]
        fn an_address_is_one_for_the_standard_library_too(
            text in prop_oneof!["[0-9]{0,4}(\\.[0-9]{0,4}){0,4}", "[0-9]{1,3}(\\.[0-9]{1,3}){3}", "[0-9./:]{0,15}"],
            after in any::<[u8; 16]>(),
        ) {
            let known = text.parse::<std::net::Ipv4Addr>().is_ok();
            let from = [text.as_bytes(), &after].concat();
            prop_assert_eq!(super::is_ipv4(&from, text.len()), known);
        }
    }

    #[test]
    fn what_is_not_surely_right_is_judged_token_by_token() {
        let good = "2 1 eni-1 1.2.3.4 ::1 1 2 6 10 20 30 40 ACCEPT OK";
        let format = VpcFormat::default();
        assert!(is_quick(&format, good));
        assert!(is_quick(&format, "2 - - - - - - - - - - - - -"));
        for odd in [
            String::new(),
            good.replace(' ', "  "),
            good.replace("OK", "OK "),
            good.replace(" OK", ""),
            good.replace("OK", "OK OK"),
            good.replace("eni", "\""),
            good.replace("eni", "\t"),
            good.replace(" 10 ", " 010 "),
            good.replace(" 10 ", " 1234567890123456789 "),
            good.replace("2 1 eni", "2 1234567890 eni").replacen('2', "1234567890", 1),
            good.replace("1.2.3.4", "1.2.3.04"),
            good.replace("eni", &"e".repeat(9_000)),
        ] {
            assert!(!is_quick(&format, &odd), "{odd}");
        }
        // A token of no bytes is not one that is absent, whatever comes after a line.
        let three: VpcFormat = "version action log-status".parse().unwrap();
        assert!(is_quick(&three, "2 - -"));
        for odd in ["2 - ", "2  -", " - -", "2 -", ""] {
            assert!(!is_quick(&three, odd), "{odd}");
        }
        assert!(!is_quick(&"log-status".parse().unwrap(), ""));
    }
}
