//! Flow logs of VPCs and Transit Gateways: lines of tokens whose order the flow log's format gives.

mod address;
mod quick;
mod tokens;

use std::net::IpAddr;

use crate::decode::LogEvent;

use super::document::Document;
use super::schema::{FieldType, Schema};
use super::{ParseError, Source, structural, vpc_fields};

pub(super) use self::quick::Memory;

use self::quick::Place;

/// 9999-12-31T23:59:59Z, the last second that the engines' dates can show.
const LAST_SECOND: u64 = 253_402_300_799;

/// The fields of a flow log, in the order of its lines. The default is AWS's: version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcFormat {
    columns: Vec<Column>,
    quick: Option<Box<quick::Format>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    aws_name: &'static str,
    /// AWS's name with `_` for `-`.
    field: String,
    ty: FieldType,
}

/// Why a flow log format is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No field at all.
    #[error("the flow log format is empty: name its fields, such as \"version srcaddr dstaddr\"")]
    Empty,
    /// A name that no version of flow logs has.
    #[error("unknown flow log field `{found}`, did you mean `{nearest}`?")]
    UnknownField {
        /// What was written.
        found: String,
        /// The nearest name there is.
        nearest: &'static str,
    },
    /// A field that comes twice.
    #[error("the flow log field `{0}` comes twice: name it once")]
    Duplicate(&'static str),
}

impl Default for VpcFormat {
    fn default() -> Self {
        Self::of(vpc_fields::DEFAULT.into_iter().map(Column::new).collect())
    }
}

impl std::str::FromStr for VpcFormat {
    type Err = FormatError;

    /// Reads names as the documentation writes them, `account-id`, or as the console and the API
    /// do, `${account-id}`.
    fn from_str(format: &str) -> Result<Self, FormatError> {
        let mut columns: Vec<Column> = Vec::new();
        for token in format.split_ascii_whitespace() {
            let inside = token.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let name = inside.unwrap_or(token);
            let known = vpc_fields::all().find(|(aws_name, _)| *aws_name == name);
            let column = known.map(Column::new).ok_or_else(|| unknown(name))?;
            if columns.iter().any(|earlier| earlier.aws_name == column.aws_name) {
                return Err(FormatError::Duplicate(column.aws_name));
            }
            columns.push(column);
        }
        if columns.is_empty() { Err(FormatError::Empty) } else { Ok(Self::of(columns)) }
    }
}

fn unknown(name: &str) -> FormatError {
    let names = vpc_fields::all().map(|(aws_name, _)| aws_name);
    let nearest = super::config::nearest(name, names).unwrap_or("version");
    FormatError::UnknownField { found: name.to_owned(), nearest }
}

impl VpcFormat {
    fn of(columns: Vec<Column>) -> Self {
        Self { quick: quick::Format::of(&columns).map(Box::new), columns }
    }

    /// Checks that every token of a line is what its column says; the format alone decides.
    pub(super) fn read<'a>(
        &'a self,
        source: &Source<'_>,
        event: &'a LogEvent<'_>,
    ) -> Result<Line<'a>, ParseError> {
        self.read_quickly(source, event).map_or_else(|| self.read_surely(event), Ok)
    }

    /// The same for a line as AWS writes it; none for any other. (Inlined, so that the line is made in its
    /// place: what is written in pieces and then moved as a whole has to be waited for.)
    #[inline(always)]
    pub(super) fn read_quickly<'a>(
        &'a self,
        source: &Source<'_>,
        event: &'a LogEvent<'_>,
    ) -> Option<Line<'a>> {
        let line = event.message.as_ref();
        let quick = self.quick.as_ref()?;
        let place = quick.read(line, event.marks.plain(), &mut source.flow_memory())?;
        Some(Line { format: self, line, quickly: Some(place) })
    }

    /// The same for any line.
    #[cold]
    pub(super) fn read_surely<'a>(
        &'a self,
        event: &'a LogEvent<'_>,
    ) -> Result<Line<'a>, ParseError> {
        let line = event.message.as_ref();
        self.judge(line)?;
        Ok(Line { format: self, line, quickly: None })
    }

    /// Token by token.
    fn judge(&self, line: &str) -> Result<(), ParseError> {
        let mut tokens = line.split_ascii_whitespace();
        let mut wrong = None;
        let mut found = 0;
        for column in &self.columns {
            let Some(token) = tokens.next() else { break };
            found += 1;
            if wrong.is_none() {
                wrong = column.check(token).err();
            }
        }
        found += tokens.count();
        let expected = self.columns.len();
        if found != expected {
            return Err(ParseError::TokenCount { expected, found });
        }
        wrong.map_or(Ok(()), Err)
    }
}

impl Column {
    fn new((aws_name, ty): (&'static str, FieldType)) -> Self {
        Self { aws_name, field: field_name(aws_name), ty }
    }

    fn check(&self, token: &str) -> Result<(), ParseError> {
        if token == "-" {
            return Ok(());
        }
        let largest = match self.ty {
            FieldType::Long => u64::MAX >> 1,
            FieldType::Integer => u64::from(u32::MAX >> 1),
            FieldType::DateEpochSecond => LAST_SECOND,
            FieldType::Ip => {
                let address = token.parse::<IpAddr>();
                return address.map(drop).map_err(|_| ParseError::NotAnAddress(self.aws_name));
            }
            FieldType::Keyword if token.len() > structural::MAX_LEAF => {
                return Err(ParseError::OutOfRange(self.aws_name));
            }
            FieldType::Keyword
            | FieldType::Text
            | FieldType::TextAndKeyword
            | FieldType::Date
            | FieldType::Boolean
            | FieldType::Open
            | FieldType::Kept => return Ok(()),
        };
        if !token.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseError::NotANumber(self.aws_name));
        }
        match token.parse::<u64>() {
            Ok(number) if number <= largest => Ok(()),
            Ok(_) | Err(_) => Err(ParseError::OutOfRange(self.aws_name)),
        }
    }

    fn write(&self, token: &str, document: &mut Document<'_>) {
        match self.ty {
            FieldType::Long | FieldType::Integer | FieldType::DateEpochSecond => {
                document.as_it_came(&self.field, without_zeros(token));
            }
            FieldType::Ip
            | FieldType::Keyword
            | FieldType::Text
            | FieldType::TextAndKeyword
            | FieldType::Date
            | FieldType::Boolean
            | FieldType::Open
            | FieldType::Kept => document.text(&self.field, token),
        }
        if self.aws_name == "protocol"
            && let Some(name) = token.parse().ok().and_then(vpc_fields::protocol_name)
        {
            document.text("protocol_name", name);
        }
    }
}

/// JSON has no number with a leading zero.
fn without_zeros(digits: &str) -> &str {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() { "0" } else { significant }
}

fn field_name(aws_name: &str) -> String {
    aws_name.replace('-', "_")
}

/// A line that fits its format.
#[derive(Debug)]
pub(super) struct Line<'a> {
    format: &'a VpcFormat,
    line: &'a str,
    /// Where its fields are, if it could be read quickly.
    quickly: Option<Place>,
}

impl Line<'_> {
    /// Writes every field that is there: `-` means absent, which is neither 0 nor `"-"`.
    #[inline]
    pub(super) fn write(&self, source: &Source<'_>, document: &mut Document<'_>) {
        let memory = source.flow_memory();
        match self.quickly.and_then(|place| memory.fields(place)) {
            Some(fields) => document.append(fields),
            None => self.write_each(document),
        }
    }

    /// The same, token by token.
    fn write_each(&self, document: &mut Document<'_>) {
        let tokens = self.line.split_ascii_whitespace();
        for (column, token) in self.format.columns.iter().zip(tokens) {
            if token != "-" {
                column.write(token, document);
            }
        }
    }

    /// The token of a field, for whoever must be sure that this is a flow log line.
    pub(super) fn token(&self, aws_name: &str) -> Option<&str> {
        let mut columns = self.format.columns.iter();
        let at = columns.position(|column| column.aws_name == aws_name)?;
        self.line.split_ascii_whitespace().nth(at)
    }
}

/// Every field of every version, whatever the format: adding one to a flow log then needs no new
/// template.
pub(super) fn describe(schema: &mut Schema) {
    for (aws_name, ty) in vpc_fields::all() {
        schema.add(field_name(aws_name), ty);
    }
    schema.add("protocol_name", FieldType::Keyword);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(), ParseError> {
        let event = LogEvent { message: line.into(), ..LogEvent::default() };
        VpcFormat::default().read(&Source::new("1", "g", "s", "r"), &event).map(drop)
    }

    fn error(line: &str) -> ParseError {
        read(line).unwrap_err()
    }

    fn fits(line: &str) -> bool {
        read(line).is_ok()
    }

    #[test]
    fn a_format_may_be_written_as_the_console_does() {
        let plain: VpcFormat = "version account-id  srcaddr".parse().unwrap();
        assert_eq!("${version} ${account-id} ${srcaddr}".parse(), Ok(plain));
    }

    #[test]
    fn a_format_that_is_none_says_which_field_is_wrong() {
        let said = |format: &str| format.parse::<VpcFormat>().unwrap_err().to_string();
        assert_eq!(
            said("  "),
            "the flow log format is empty: name its fields, such as \"version srcaddr dstaddr\""
        );
        let twice = "the flow log field `version` comes twice: name it once";
        assert_eq!(said("version bytes version"), twice);
        let unknown = "unknown flow log field `account_id`, did you mean `account-id`?";
        assert_eq!(said("version account_id"), unknown);
    }

    #[test]
    fn a_line_that_does_not_fit_says_why() {
        let good = "2 1 eni-1 1.2.3.4 ::1 1 2 6 10 20 30 40 ACCEPT OK";
        assert!(fits(good));
        assert!(fits(&good.replace(' ', "  ")));
        let counts = ParseError::TokenCount { expected: 14, found: 15 };
        assert_eq!(error(&good.replace("eni-1", "eni-1 x")), counts, "not the shifted address");
        assert_eq!(error(""), ParseError::TokenCount { expected: 14, found: 0 });
        assert_eq!(error(&good.replace("::1", "host")), ParseError::NotAnAddress("dstaddr"));
        assert_eq!(error(&good.replace(" 10 ", " 1.5 ")), ParseError::NotANumber("packets"));
        assert_eq!(error(&good.replace(" 10 ", " +1 ")), ParseError::NotANumber("packets"));
        assert_eq!(
            error(&good.replace(" 10 ", " 9223372036854775808 ")),
            ParseError::OutOfRange("packets")
        );
        assert_eq!(error(&good.replace("2 1", "2147483648 1")), ParseError::OutOfRange("version"));
        let long = good.replace("eni-1", &"e".repeat(8193));
        assert_eq!(
            error(&long),
            ParseError::OutOfRange("interface-id"),
            "no engine makes a term of it"
        );
        assert_eq!(error(&good.replace(" 30 ", " 253402300800 ")), ParseError::OutOfRange("start"));
    }

    #[test]
    fn a_field_name_is_there_once() {
        let mut names: Vec<_> = vpc_fields::all().map(|(name, _)| field_name(name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
