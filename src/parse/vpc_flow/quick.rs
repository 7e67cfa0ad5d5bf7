//! Flow log lines as AWS writes them, eight bytes at a time: one space between tokens, nothing that
//! JSON would escape, numbers that any field can hold.
//!
//! [`Format::read`] gives up on every other line, which is then read and judged token by token; that
//! both make the same document is tested.

use std::net::IpAddr;

use crate::parse::schema::FieldType;
use crate::parse::structural::MAX_LEAF;
use crate::parse::vpc_fields::protocol_name;
use crate::parse::writer::{Lead, Window};
use crate::scan;

use super::Column;

/// More columns than AWS has fields.
const MOST: usize = 80;

/// What is written beyond columns and tokens: the name of the protocol, and a chunk that is not full.
const SLACK: usize = 96;

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

/// Where the tokens of a line end that fits its format.
#[derive(Debug)]
pub(super) struct Ends([u16; MOST]);

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
        (columns.len() <= MOST).then_some(Self { columns, protocol_name })
    }

    /// Finds the tokens of a line, if they are surely what their columns say.
    pub(super) fn read(&self, line: &str) -> Option<Ends> {
        let ends = self.split(line.as_bytes())?;
        let mut begin = 0;
        for ((_, token), end) in self.columns.iter().zip(ends.0) {
            let end = usize::from(end);
            let is_absent = end == begin + 1 && line.as_bytes().get(begin) == Some(&b'-');
            if !is_absent && !token.fits(line, begin, end) {
                return None;
            }
            begin = end + 1;
        }
        Some(ends)
    }

    /// Finds the spaces. None when there are not as many as between the columns, or two in a row.
    fn split(&self, line: &[u8]) -> Option<Ends> {
        let (words, rest) = line.as_chunks::<8>();
        let mut last = [b'-'; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let mut ends = Ends([0; MOST]);
        let mut places = ends.0.iter_mut().take(self.columns.len());
        let mut begin = 0;
        let mut put = |end: usize| {
            // Also what keeps tokens shorter than the longest term.
            let is_token = end > begin && end <= MAX_LEAF;
            *places.next()? = u16::try_from(end).ok()?;
            begin = end + 1;
            is_token.then_some(())
        };
        for (at, word) in words.iter().chain([&last]).enumerate() {
            let word = u64::from_le_bytes(*word);
            if scan::has_special(word) {
                return None;
            }
            let mut spaces = scan::equal(word, b' ');
            while spaces != 0 {
                put(at * 8 + (spaces.trailing_zeros() / 8) as usize)?;
                spaces &= spaces - 1;
            }
        }
        put(line.len())?;
        places.next().is_none().then_some(ends)
    }

    /// Appends the fields that are there. None when it has no room, and then what was written is to
    /// be taken back.
    pub(super) fn write(&self, line: &str, ends: &Ends, out: &mut Vec<u8>) -> Option<()> {
        let most = line.len() + self.columns.len() * Lead::SIZE + SLACK;
        Window::open(out, most, |window| {
            let bytes = line.as_bytes();
            let mut begin = 0;
            for ((lead, token), end) in self.columns.iter().zip(ends.0) {
                let (from, end) = (begin, usize::from(end));
                begin = end + 1;
                if end == from + 1 && bytes.get(from) == Some(&b'-') {
                    continue;
                }
                window.lead(lead)?;
                window.copy(bytes, from, end)?;
                if lead.is_text() {
                    window.byte(b'"')?;
                }
                if *token == Token::Protocol
                    && let Some(name) = line.get(from..end)?.parse().ok().and_then(protocol_name)
                {
                    window.lead(&self.protocol_name)?;
                    window.copy(name.as_bytes(), 0, name.len())?;
                    window.byte(b'"')?;
                }
            }
            Some(())
        })
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
    let word = line.get(begin..).and_then(|rest| rest.first_chunk()).copied();
    let starts_well = length == 1 || line.get(begin) != Some(&b'0');
    let digits = match word {
        Some(word) if length <= 8 => scan::are_digits(u64::from_le_bytes(word), length),
        _ => line.get(begin..end).is_some_and(|token| token.iter().all(u8::is_ascii_digit)),
    };
    digits && starts_well && length <= most
}

/// Whether it is an IPv4 address for `Ipv4Addr` too.
fn is_ipv4(token: &[u8]) -> bool {
    let (mut dots, mut digits, mut number) = (0, 0, 0_u32);
    for byte in token {
        match byte {
            b'0'..=b'9' if digits == 0 || number > 0 => {
                number = number * 10 + u32::from(byte - b'0');
                digits += 1;
                if number > 255 {
                    return false;
                }
            }
            b'.' if digits > 0 => {
                dots += 1;
                (digits, number) = (0, 0);
            }
            _ => return false,
        }
    }
    dots == 3 && digits > 0
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
        let source = Source { owner: "1", log_group: "g", log_stream: "s", region: "r" };
        let mut out = Vec::new();
        let head = (&source).into();
        let mut document = Document::begin(&mut out, &head, true, Timestamp(0), "1");
        write(&mut document);
        document.end();
        String::from_utf8(out).unwrap()
    }

    /// Whether the line was read quickly; then both ways must make the same of it.
    fn is_quick(format: &VpcFormat, line: &str) -> bool {
        let Some(ends) = format.quick.as_ref().unwrap().read(line) else { return false };
        assert_eq!(format.judge(line), Ok(()), "{line}");
        let line = Line { format, line, ends: Some(ends) };
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
        use super::FieldType::{DateEpochSecond, Integer, Ip, Long};
        let number = |most: u64| (0..most).prop_map(|number| number.to_string()).boxed();
        let there = match ty {
            Integer => number(1_000_000_000),
            Long => number(1_000_000_000_000_000_000),
            DateEpochSecond => number(100_000_000_000),
            Ip => any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()).boxed(),
            _ => "[a-zA-Z0-9:/-]{1,60}".boxed(),
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
