//! Flow log lines as AWS writes them, 64 bytes at a time: one space between tokens, nothing that JSON
//! would escape, numbers that any field can hold.
//!
//! [`Format::read`] refuses every other line, which is then read and judged token by token; that both
//! make the same document is tested.

use std::mem::take;
use std::slice::from_ref;
use std::sync::Arc;

use crate::parse::schema::FieldType;
use crate::parse::structural::MAX_LEAF;
use crate::parse::vpc_fields;
use crate::parse::writer::{CHUNK, Fields, HALF, Lead, ROOM, Whole, Window};
use crate::scan;

use super::tokens::{Next, REACH, Tokens, Word, is_there, long};

/// The longest line, in bytes: one with every field there is has half of it.
const MAX_LINE: usize = 4 << 10;

const _: () = assert!(MAX_LINE <= MAX_LEAF, "no token is longer than a leaf may be");

/// The columns of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    columns: Arc<Columns>,
}

#[derive(Debug, PartialEq, Eq)]
struct Columns {
    /// The first ones, as far as they tell of an interface and not of a flow.
    of_interface: Vec<Group>,
    others: Vec<Group>,
    /// The last ones, as far as they are texts.
    ending: Group,
}

/// Columns that follow one another: any number of each kind. What a token must be is then known by the
/// place in the code, where asking for each would be guessed wrong too often.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    addresses: Vec<Column>,
    numbers: Vec<Column>,
    texts: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    /// What stands before its token in a document.
    lead: Lead,
    /// The most digits of a number: too few to be out of range, and as many as are copied. Of others none.
    most: usize,
    /// Whether the number is that of a protocol, whose name is written too.
    is_protocol: bool,
}

/// What a token must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Address,
    Number,
    Text,
}

/// What a line was made into, in memory that is used again and again.
#[derive(Debug)]
pub(crate) struct Memory {
    fields: Fields,
    /// Whose they are.
    place: Place,
    known: Option<Box<Known>>,
    /// Of a line behind which not enough follows that may be looked at.
    copy: Vec<u8>,
}

/// What lines of a format have in common.
#[derive(Debug)]
struct Known {
    columns: Arc<Columns>,
    interface: Option<Interface>,
    endings: [Ending; ENDINGS],
}

/// How the last line began, and what that became: nearly always the next one begins alike, since a log
/// stream is of one interface.
#[derive(Debug)]
struct Interface {
    /// The columns of the interface, and the space behind them.
    line: Vec<u8>,
    /// How many bytes of the fields they became.
    written: usize,
}

/// How many endings are remembered, by their first byte.
const ENDINGS: usize = 8;

/// How a line ended, and what that became: there are but a few short ones, `ACCEPT OK` among them.
#[derive(Clone, Copy, Debug)]
struct Ending {
    line: [u8; HALF],
    /// How many of these bytes it has; none has `usize::MAX`.
    length: usize,
    fields: Whole,
}

impl Ending {
    const NONE: Self = Self { line: [0; HALF], length: usize::MAX, fields: Whole::NONE };

    /// Whether the last bytes of a line, so many of them, are the same.
    #[inline(always)]
    fn is(&self, last: &[u8; HALF], length: usize) -> bool {
        self.length == length && scan::differ(&self.line, last) & ((1 << length) - 1) == 0
    }
}

/// Where the fields of a line are until the next one is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Known {
    /// Nothing, of lines with these columns.
    fn of(columns: &Arc<Columns>) -> Self {
        let columns = Arc::clone(columns);
        Self { columns, interface: None, endings: [Ending::NONE; ENDINGS] }
    }

    /// How a line with these columns begins, if it begins as the last one did.
    #[inline(always)]
    fn begun(&self, columns: &Arc<Columns>, text: &[u8]) -> Option<(usize, usize)> {
        let Interface { line, written } = self.interface.as_ref()?;
        let is_same = Arc::ptr_eq(&self.columns, columns) && text.starts_with(line);
        is_same.then_some((line.len(), *written))
    }
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Self { fields: Fields::new(), place: Place(0), known: None, copy: Vec::new() }
    }

    /// What the line became that was told this place: members of an object, each after a comma. None when
    /// another has been read since.
    pub(super) fn fields(&self, place: Place) -> Option<&Fields> {
        (place == self.place).then_some(&self.fields)
    }
}

impl Format {
    /// None when a name is longer than AWS's are, or a column is of a type that theirs are not.
    pub(super) fn of(columns: &[super::Column]) -> Option<Self> {
        let of_interface = |column: &&super::Column| vpc_fields::is_of_interface(column.aws_name);
        let of_interface = columns.iter().take_while(of_interface).count();
        // One is always read anew.
        let of_interface = of_interface.min(columns.len().saturating_sub(1));
        let column = |column: &super::Column| {
            let (token, most) = match column.ty {
                FieldType::Long => (Token::Number, HALF),
                FieldType::Integer => (Token::Number, 9),
                FieldType::DateEpochSecond => (Token::Number, 11),
                FieldType::Ip => (Token::Address, 0),
                FieldType::Keyword => (Token::Text, 0),
                FieldType::Text
                | FieldType::TextAndKeyword
                | FieldType::Date
                | FieldType::Boolean
                | FieldType::Open
                | FieldType::Kept => return None,
            };
            let lead = Lead::new(&column.field, token != Token::Number)?;
            let is_protocol = column.aws_name == "protocol";
            Some((token, Column { lead, most, is_protocol }))
        };
        let all: Vec<_> = columns.iter().map(column).collect::<Option<_>>()?;
        // With each column there may be the name of a protocol. So many columns there are not.
        if MAX_LINE + all.len() * 3 * CHUNK > ROOM {
            return None;
        }
        let (first, others) = all.split_at_checked(of_interface)?;
        let texts = others.iter().rev().take_while(|(token, _)| *token == Token::Text).count();
        let (others, ending) = others.split_at_checked(others.len() - texts)?;
        let (of_interface, others) = (Group::of(first), Group::of(others));
        let texts = ending.iter().map(|(_, column)| column.clone()).collect();
        let ending = Group { texts, ..Group::default() };
        Some(Self { columns: Arc::new(Columns { of_interface, others, ending }) })
    }

    /// Writes the fields of a line, if its tokens are surely what their columns say. `plain` is the line
    /// and what came behind it, where no byte of the line has to be escaped.
    pub(super) fn read(
        &self,
        line: &str,
        plain: Option<&[u8]>,
        memory: &mut Memory,
    ) -> Option<Place> {
        let length = line.len();
        if length > MAX_LINE {
            return None;
        }
        let Memory { fields, place, known, copy } = memory;
        place.0 += 1;
        let text = match plain.filter(|text| text.len() >= length + REACH) {
            Some(text) => text,
            None => copied(line.as_bytes(), copy)?,
        };
        let begun = known.as_ref().and_then(|known| known.begun(&self.columns, text));
        let (begin, written) = match begun {
            Some(begun) => begun,
            None => self.begin(text, length, (fields, known))?,
        };
        let tokens = Tokens { text, length, begin };
        let (begin, written) = read(&self.columns.others, tokens, fields.window(written)?)?;
        let tokens = Tokens { text, length, begin };
        let written = self.end(tokens, (fields, written), &mut known.as_mut()?.endings)?;
        fields.end(written);
        Some(*place)
    }

    /// Writes the fields of the interface. Returns where the next token begins, and how far they go.
    #[cold]
    fn begin(
        &self,
        text: &[u8],
        length: usize,
        (fields, known): (&mut Fields, &mut Option<Box<Known>>),
    ) -> Option<(usize, usize)> {
        let known = match known {
            Some(known) if Arc::ptr_eq(&known.columns, &self.columns) => known,
            Some(_) | None => known.insert(Box::new(Known::of(&self.columns))),
        };
        // What it became is about to be overwritten.
        let mut line = known.interface.take().map(|before| before.line).unwrap_or_default();
        let tokens = Tokens { text, length, begin: 0 };
        let (end, written) = read(&self.columns.of_interface, tokens, fields.window(0)?)?;
        // Up to a space that is the line's, not of what follows it.
        let begun = text.get(..end).filter(|_| end <= length)?;
        begun.last().is_none_or(|last| *last == b' ').then_some(())?;
        line.clear();
        line.extend_from_slice(begun);
        known.interface = Some(Interface { line, written });
        Some((end, written))
    }

    /// Writes the fields of the last texts. Returns how far they go.
    #[inline(always)]
    fn end(
        &self,
        tokens: Tokens<'_>,
        (fields, at): (&mut Fields, usize),
        endings: &mut [Ending; ENDINGS],
    ) -> Option<usize> {
        let Tokens { text, length, begin } = tokens;
        if self.columns.ending.texts.is_empty() {
            return (begin == length + 1).then_some(at);
        }
        let last: &[u8; HALF] = text.get(begin..)?.first_chunk()?;
        let ending = endings.get_mut(usize::from(last[0]) % ENDINGS)?;
        if !ending.is(last, length.checked_sub(begin)?) {
            return self.other_ending(tokens, (fields, at), ending);
        }
        let mut window = fields.window(at)?;
        window.whole(&ending.fields)?;
        Some(window.written())
    }

    /// The same for an ending that is not remembered.
    #[cold]
    fn other_ending(
        &self,
        tokens: Tokens<'_>,
        (fields, at): (&mut Fields, usize),
        ending: &mut Ending,
    ) -> Option<usize> {
        let Tokens { text, length, begin } = tokens;
        let (end, written) = read(from_ref(&self.columns.ending), tokens, fields.window(at)?)?;
        // The line's end was the last token's.
        (end == length + 1).then_some(())?;
        let line = text.get(begin..length)?;
        if let Some(first) = ending.line.get_mut(..line.len())
            && let Some(fields) = Whole::of(fields.span(at, written)?)
        {
            first.copy_from_slice(line);
            (ending.length, ending.fields) = (line.len(), fields);
        }
        Some(written)
    }
}

/// The line with something behind it. None when JSON would escape a byte of it.
#[cold]
fn copied<'a>(line: &[u8], copy: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if scan::plain(line) < line.len() {
        return None;
    }
    copy.clear();
    copy.extend_from_slice(line);
    copy.resize(line.len() + REACH, 0);
    Some(copy)
}

impl Group {
    fn of(columns: &[(Token, Column)]) -> Vec<Self> {
        let mut groups = Vec::new();
        let mut group = Self::default();
        for (token, column) in columns {
            let is_over = match token {
                Token::Address => !group.numbers.is_empty() || !group.texts.is_empty(),
                Token::Number => !group.texts.is_empty(),
                Token::Text => false,
            };
            if is_over {
                groups.push(take(&mut group));
            }
            let of_kind = match token {
                Token::Address => &mut group.addresses,
                Token::Number => &mut group.numbers,
                Token::Text => &mut group.texts,
            };
            of_kind.push(column.clone());
        }
        groups.push(group);
        groups
    }
}

/// Writes the fields of tokens that are what their columns say. Returns where the next token would begin,
/// and how far the window has come.
#[inline(always)]
fn read(groups: &[Group], tokens: Tokens<'_>, window: Window<'_>) -> Option<(usize, usize)> {
    let word = tokens.word()?;
    let mut line = Line { tokens, word, window };
    for Group { addresses, numbers, texts } in groups {
        line.addresses(addresses)?;
        line.numbers(numbers)?;
        line.texts(texts)?;
    }
    Some((line.tokens.begin + line.word.begin, line.window.written()))
}

/// A line while it is read. Word and window are to be in registers, so that neither may be lent to a
/// function that is called.
struct Line<'a, 'o> {
    tokens: Tokens<'a>,
    word: Word<'a>,
    window: Window<'o>,
}

impl<'a> Line<'a, '_> {
    #[inline(always)]
    fn addresses(&mut self, columns: &[Column]) -> Option<()> {
        for Column { lead, .. } in columns {
            let token = self.next()?;
            if !token.is_absent() {
                token.is_address().then_some(())?;
                self.window.text(lead, token.chunks, token.length)?;
            }
        }
        Some(())
    }

    #[inline(always)]
    fn numbers(&mut self, columns: &[Column]) -> Option<()> {
        self.word.forget();
        for column in columns {
            let token = self.next()?;
            let is_usual = self.word.has_digits(&token) && token.is_number(column.most);
            if !is_usual && !is_there(token.chunks, token.length, column.most)? {
                self.word.forget();
                continue;
            }
            self.window.number(&column.lead, token.chunks.first_chunk()?, token.length)?;
            if column.is_protocol
                && let Some(name) = token.protocol_name()
            {
                self.window.whole(name)?;
            }
        }
        Some(())
    }

    #[inline(always)]
    fn texts(&mut self, columns: &[Column]) -> Option<()> {
        for Column { lead, .. } in columns {
            if !self.find()? {
                let text = long(self.tokens.left()?)?;
                self.tokens.begin += text.len() + 1;
                self.window.long_text(lead, text)?;
                continue;
            }
            let token = self.word.next()?;
            if !token.is_absent() {
                (token.length > 0).then_some(())?;
                self.window.text(lead, token.chunks, token.length)?;
            }
        }
        Some(())
    }

    /// The next token. None where it does not end within 64 bytes.
    #[inline(always)]
    fn next(&mut self) -> Option<Next<'a>> {
        if self.find()? { self.word.next() } else { None }
    }

    /// Goes to the word of the next token, and says whether that ends in it.
    #[inline(always)]
    fn find(&mut self) -> Option<bool> {
        if self.word.ends == 0 {
            self.tokens.begin += self.word.begin;
            self.word = self.tokens.word()?;
        }
        Some(self.word.ends != 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_LINE, Memory};
    use crate::decode::LogEvent;
    use crate::event::Timestamp;
    use crate::parse::document::Document;
    use crate::parse::vpc_flow::VpcFormat;
    use crate::parse::{Source, vpc_fields};
    use crate::scan;

    /// A format with every field there is.
    fn every_field() -> VpcFormat {
        let names: Vec<_> = vpc_fields::all().map(|(name, _)| name).collect();
        names.join(" ").parse().unwrap()
    }

    fn document(write: impl Fn(&mut Document<'_>)) -> String {
        let source = Source::new("1", "g", "s", "r");
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out, &source, true, Timestamp(0), ("1", false));
        write(&mut document);
        document.end();
        String::from_utf8(out).unwrap()
    }

    /// Whether the line was read quickly; then all ways must make the same of it.
    fn is_quick(format: &VpcFormat, line: &str) -> bool {
        let behind = format!("{line}\"}},{{\"id\":\"1 2 3{}", " 4 -".repeat(30));
        let is_plain = scan::plain(line.as_bytes()) == line.len();
        let seen = is_plain.then_some(behind.as_bytes());
        let mut memory = Memory::new();
        // The first time nothing is known, then the interface is; and how the line came changes nothing.
        let read = [None, seen, seen, None].map(|plain| fields(format, line, plain, &mut memory));
        let changed = line.replacen("eni-1", "eni-2", 1);
        _ = fields(format, &changed, None, &mut memory);
        let again = fields(format, line, seen, &mut memory);
        assert!(read.iter().all(|one| *one == again), "{line}: {read:?} {again:?}");
        if again.is_none() {
            return false;
        }
        assert_eq!(format.judge(line), Ok(()), "{line}");
        let source = Source::new("1", "g", "s", "r");
        let [event, other] =
            [line, &changed].map(|line| LogEvent { message: line.into(), ..LogEvent::default() });
        let line = format.read(&source, &event).unwrap();
        assert!(line.quickly.is_some());
        let quickly = document(|document| line.write(&source, document));
        serde_json::from_str::<serde_json::Value>(&quickly).unwrap();
        assert_eq!(quickly, document(|document| line.write_each(document)));
        // The fields of the next line are not taken for its own.
        _ = format.read(&source, &other);
        assert_eq!(quickly, document(|document| line.write(&source, document)));
        true
    }

    fn fields(
        format: &VpcFormat,
        line: &str,
        plain: Option<&[u8]>,
        memory: &mut Memory,
    ) -> Option<Vec<u8>> {
        let place = format.quick.as_ref().unwrap().read(line, plain, memory)?;
        Some(memory.fields(place).unwrap().as_bytes().to_vec())
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
            Long => number(10_000_000_000_000_000),
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
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lines_before_make_no_difference(
            lines in proptest::collection::vec((0..2_usize, 1..3, prop_oneof![
                4 => prop::sample::select(vec!["ACCEPT OK", "ACCEPT NODATA", "REJECT OK", "- NODATA", "- -"]),
                1 => prop::sample::select(vec![
                    "ACCEPT OK ", "ACCEPT ", "ACCEPT", "", " ", "ACCEPT OK OK", "ACCEPT  OK",
                    "ACCEPT SKIPDATA1", "ACCEPT SKIPDATA12", "ACCEPT OKO",
                ]),
            ]), 1..20)
        ) {
            let formats = [
                VpcFormat::default(),
                "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets \
                 bytes start end log-status action".parse().unwrap(),
            ];
            let mut memory = Memory::new();
            for (format, interface, ending) in lines {
                let format = &formats[format];
                let line = format!("2 1 eni-{interface} 1.2.3.4 ::1 1 2 6 10 20 30 40 {ending}");
                let behind = format!("{line}\"}},{{\"id\":\"{}", "1 2".repeat(50));
                for plain in [None, Some(behind.as_bytes())] {
                    let alone = fields(format, &line, plain, &mut Memory::new());
                    prop_assert_eq!(alone.is_some(), format.judge(&line).is_ok() && !line.ends_with(' ')
                        && !line.contains("  "));
                    prop_assert_eq!(fields(format, &line, plain, &mut memory), alone);
                }
            }
        }
    }

    #[test]
    fn every_protocol_is_named_both_ways() {
        for protocol in (0..=u8::MAX).map(u32::from).chain([256, 1_000, 123_456_789]) {
            let line = format!("2 1 eni-1 1.2.3.4 ::1 1 2 {protocol} 10 20 30 40 ACCEPT OK");
            assert!(is_quick(&VpcFormat::default(), &line), "{line}");
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
