//! Flow log lines as AWS writes them, sixteen bytes at a time: one space between tokens, nothing that
//! JSON would escape, numbers that any field can hold.
//!
//! [`Format::fits`] refuses every other line, which is then read and judged token by token; that both
//! make the same document is tested.

use std::net::IpAddr;

use crate::parse::schema::FieldType;
use crate::parse::structural::MAX_LEAF;
use crate::parse::vpc_fields::protocol_name;
use crate::parse::writer::{Lead, Window};
use crate::scan;

use super::Column;

/// What is written beyond columns and tokens: the name of the protocol, and a chunk that is not full.
const SLACK: usize = 128;

/// The columns of a format, each with what stands before its token in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    columns: Vec<(Lead, Token)>,
    protocol_name: Lead,
}

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
        let protocol_name = Lead::new("protocol_name", true)?;
        Some(Self { columns, protocol_name })
    }

    /// Whether the tokens of a line are surely what their columns say.
    pub(super) fn fits(&self, line: &str) -> bool {
        let mut tokens = Tokens::of(line);
        let fit = self.columns.iter().all(|(_, token)| {
            tokens.next().is_some_and(|(begin, end)| {
                is_absent(line, begin, end) || token.fits(line, begin, end)
            })
        });
        fit && tokens.is_at_end()
    }

    /// Appends the fields of a line that fits. None when it has no room, and then what was written is
    /// to be taken back.
    pub(super) fn write(&self, line: &str, out: &mut Vec<u8>) -> Option<()> {
        let most = line.len() + self.columns.len() * Lead::SIZE + SLACK;
        Window::open(out, most, |window| {
            let mut tokens = Tokens::of(line);
            for (lead, token) in &self.columns {
                let (begin, end) = tokens.next()?;
                if is_absent(line, begin, end) {
                    continue;
                }
                window.field(lead, line.as_bytes(), (begin, end))?;
                if *token == Token::Protocol
                    && let Some(name) = line.get(begin..end)?.parse().ok().and_then(protocol_name)
                {
                    window.field(&self.protocol_name, name.as_bytes(), (0, name.len()))?;
                }
            }
            Some(())
        })
    }
}

fn is_absent(line: &str, begin: usize, end: usize) -> bool {
    end == begin + 1 && line.as_bytes().get(begin) == Some(&b'-')
}

/// The tokens of a line, between single spaces.
struct Tokens<'a> {
    chunks: Chunks<'a>,
    /// A bit for each space in the current chunk that was not come to yet.
    spaces: u32,
    /// Where the current chunk begins.
    at: usize,
    /// Where the next token begins.
    begin: usize,
    length: usize,
}

/// The chunks of a line, the last one filled up.
struct Chunks<'a> {
    whole: std::slice::Iter<'a, [u8; 16]>,
    last: Option<[u8; 16]>,
}

impl<'a> Tokens<'a> {
    fn of(line: &'a str) -> Self {
        let (whole, rest) = line.as_bytes().as_chunks();
        let mut last = [b'-'; 16];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let chunks = Chunks { whole: whole.iter(), last: Some(last) };
        // Before the first chunk, so that the next is at 0.
        let mut tokens = Self { chunks, spaces: 0, at: 0, begin: 0, length: line.len() };
        tokens.enter();
        tokens
    }

    /// Where the next token begins and ends. None when it is empty or too long, something in its
    /// chunk would have to be escaped, or there is no more.
    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        while self.spaces == 0 {
            if self.chunks.last.is_none() {
                return self.take(self.length);
            }
            self.at += 16;
            self.enter();
        }
        let end = self.at + self.spaces.trailing_zeros() as usize;
        self.spaces &= self.spaces - 1;
        self.take(end)
    }

    #[inline]
    fn take(&mut self, end: usize) -> Option<(usize, usize)> {
        let begin = self.begin;
        self.begin = end + 1;
        (end > begin && end - begin <= MAX_LEAF).then_some((begin, end))
    }

    /// Looks at the next chunk.
    #[inline]
    fn enter(&mut self) {
        let Some(chunk) = self.chunks.whole.next().copied().or_else(|| self.chunks.last.take())
        else {
            return;
        };
        if scan::special(&chunk) == 0 {
            self.spaces = scan::equal(&chunk, b' ');
        } else {
            // Two ends in a row: no token is between them.
            (self.begin, self.spaces) = (usize::MAX, 1);
        }
    }

    fn is_at_end(&self) -> bool {
        self.begin > self.length
    }
}

impl Token {
    fn fits(self, line: &str, begin: usize, end: usize) -> bool {
        match self {
            Self::Text => true,
            Self::Digits(most) => is_number(line.as_bytes(), begin, end, most),
            Self::Protocol => is_number(line.as_bytes(), begin, end, 9),
            Self::Address => line
                .get(begin..end)
                .is_some_and(|token| is_ipv4(token.as_bytes()) || token.parse::<IpAddr>().is_ok()),
        }
    }
}

/// Whether it is a number without leading zeros, which JSON does not know.
fn is_number(line: &[u8], begin: usize, end: usize, most: usize) -> bool {
    let length = end - begin;
    let starts_well = length == 1 || line.get(begin) != Some(&b'0');
    let digits = match line.get(begin..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) if length <= 16 => scan::digits(chunk).trailing_ones() as usize >= length,
        _ => line.get(begin..end).is_some_and(|token| token.iter().all(u8::is_ascii_digit)),
    };
    digits && starts_well && length <= most
}

/// Whether it is an IPv4 address for `Ipv4Addr` too: four numbers up to 255, without leading zeros.
fn is_ipv4(token: &[u8]) -> bool {
    let mut parts = 0;
    let mut rest = token;
    loop {
        let digits = match rest {
            [b'2', b'5', b'0'..=b'5', ..] => 3,
            [b'2', b'0'..=b'4', b'0'..=b'9', ..] | [b'1', b'0'..=b'9', b'0'..=b'9', ..] => 3,
            [b'1'..=b'9', b'0'..=b'9', ..] => 2,
            [b'0'..=b'9', ..] => 1,
            _ => return false,
        };
        parts += 1;
        match rest.get(digits..) {
            Some([]) => return parts == 4,
            Some([b'.', next @ ..]) if parts < 4 => rest = next,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        if !format.quick.as_ref().unwrap().fits(line) {
            return false;
        }
        assert_eq!(format.judge(line), Ok(()), "{line}");
        let line = Line { format, line, is_quick: true };
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
            prop_assert!(is_quick(&every_field(), &tokens.join(" ")));
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
        fn an_address_is_one_for_the_standard_library_too(text in "[0-9]{0,4}(\\.[0-9]{0,4}){0,4}") {
            let known = text.parse::<std::net::Ipv4Addr>().is_ok();
            prop_assert_eq!(super::is_ipv4(text.as_bytes()), known);
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
    }
}
