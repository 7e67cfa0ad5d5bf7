//! JSON and numbers as JavaScript has them: what a program there that reads and writes them makes.
//!
//! `JSON.parse` takes the last of two equal names and rounds numbers to doubles; `JSON.stringify`
//! makes null of one that is not finite. A number that is the same double as it came stays so, with
//! all its digits and its point: of `1` and `2.5` in one list dynamic mapping makes two types and
//! refuses both, of `1.0` and `2.5` one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write as _;

use crate::decode::Text;

use super::object::has_duplicates;
use super::structural::{MAX_DEPTH, MAX_NUMBER, is_path, token_length};

/// The whole numbers that dynamic mapping takes are below 2^63.
const WHOLE: f64 = 9.2e18;

/// The number that `text` stands for: what `1 * text` gives, if that is finite and the text is not
/// blank (ECMA-262, `StringToNumber`).
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let number = match text.get(..2) {
        Some("0x" | "0X") => power_of_two(text.get(2..)?, 4)?,
        Some("0o" | "0O") => power_of_two(text.get(2..)?, 3)?,
        Some("0b" | "0B") => power_of_two(text.get(2..)?, 1)?,
        Some(_) | None => decimal(text)?,
    };
    number.is_finite().then_some(number)
}

/// White space and line ends by ECMA-262, which knows the byte order mark and not NEL.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// With these characters only, Rust and JavaScript admit the same and round the same.
fn decimal(text: &str) -> Option<f64> {
    let is_usual = |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if text.bytes().all(is_usual) { text.parse().ok() } else { None }
}

/// Digits of `bits` bits each, any number of them, rounded once.
fn power_of_two(digits: &str, bits: u32) -> Option<f64> {
    if digits.is_empty() {
        return None;
    }
    let (mut top, mut below, mut exponent) = (0_u128, false, 0_i32);
    for digit in digits.chars() {
        let digit = digit.to_digit(1 << bits)?;
        if top >> 64 == 0 {
            top = top << bits | u128::from(digit);
        } else {
            below |= digit != 0;
            exponent = exponent.saturating_add(bits.cast_signed());
        }
    }
    // A bit far below those that count makes it more than half, where it is.
    #[expect(clippy::cast_precision_loss, reason = "this is where it is rounded")]
    let rounded = (top | u128::from(below)) as f64;
    Some(rounded * 2_f64.powi(exponent))
}

/// Appends a double.
pub(super) fn write_number(out: &mut Vec<u8>, number: f64) {
    // Writing to a Vec cannot fail.
    drop(match number {
        0.0 => out.write_all(b"0"),
        _ if !number.is_finite() => out.write_all(b"null"),
        // Beyond, as a whole number written out, no mapping would take it.
        _ if (1e-6..WHOLE).contains(&number.abs()) => write!(out, "{number}"),
        _ => write!(out, "{number:e}"),
    });
}

/// Appends `json`, valid JSON text, if it is a value that dynamic mapping can take; else appends
/// nothing. White space between tokens is left out.
pub(super) fn copy(json: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut copy = Copy { out, open: Vec::new(), is_unfit: false };
    copy.value(json);
    let fits = !copy.is_unfit;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// One pass over valid JSON. It goes to the end whatever it finds: what no mapping takes may belong
/// to a name that comes again.
struct Copy<'a, 'o> {
    out: &'o mut Vec<u8>,
    open: Vec<Open<'a>>,
    is_unfit: bool,
}

/// An open object or array.
#[derive(Default)]
struct Open<'a> {
    is_object: bool,
    /// An object's fields so far.
    fields: Vec<Field<'a>>,
    /// Whether something in an array is unfit.
    is_unfit: bool,
}

struct Field<'a> {
    name: Cow<'a, str>,
    /// Where in the copy it begins.
    start: usize,
    is_unfit: bool,
}

impl<'a> Copy<'a, '_> {
    fn value(&mut self, json: &'a str) {
        let mut rest = json;
        let mut name_next = false;
        while let Some(first) = rest.as_bytes().first() {
            let length = token_length(rest, *first);
            let Some((token, tail)) = rest.split_at_checked(length) else { return };
            rest = tail;
            match first {
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                b'{' | b'[' => {
                    name_next = *first == b'{';
                    self.enter(name_next);
                }
                b'}' | b']' => {
                    name_next = false;
                    self.leave();
                }
                b',' => name_next = self.open.last().is_some_and(|open| open.is_object),
                b':' => name_next = false,
                b'"' if name_next => self.name(token),
                b'-' | b'0'..=b'9' => {
                    self.number(token);
                    continue;
                }
                _ => {}
            }
            self.out.extend_from_slice(token.as_bytes());
        }
    }

    fn enter(&mut self, is_object: bool) {
        if self.open.len() >= MAX_DEPTH {
            self.mark_unfit();
        }
        self.open.push(Open { is_object, ..Open::default() });
    }

    fn leave(&mut self) {
        let Some(mut closed) = self.open.pop() else { return };
        let names = closed.fields.iter().map(|field| field.name.as_ref());
        // What is deeper has been marked unfit, whatever its names.
        let is_within = self.open.len() < MAX_DEPTH;
        if is_within && closed.fields.len() > 1 && has_duplicates(names.collect()) {
            closed.fields = self.keep_the_last(closed.fields);
        }
        if closed.is_unfit || closed.fields.iter().any(|field| field.is_unfit) {
            self.mark_unfit();
        }
    }

    /// What is being copied is unfit, and so is all that it is in.
    fn mark_unfit(&mut self) {
        let Some(open) = self.open.last_mut() else {
            self.is_unfit = true;
            return;
        };
        match open.fields.last_mut() {
            Some(field) => field.is_unfit = true,
            None => open.is_unfit = true,
        }
    }

    /// Takes out all but the last field of each name, and returns those.
    fn keep_the_last(&mut self, mut fields: Vec<Field<'a>>) -> Vec<Field<'a>> {
        let first = fields.first().map_or(0, |field| field.start);
        let all = self.out.split_off(first);
        let (mut end, mut kept, mut seen) = (all.len(), Vec::new(), HashSet::new());
        while let Some(field) = fields.pop() {
            let start = field.start - first;
            if seen.insert(field.name.clone()) {
                kept.push((all.get(start..end).unwrap_or_default(), field));
            }
            end = start;
        }
        kept.reverse();
        for (n, (json, _)) in kept.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(json.strip_suffix(b",").unwrap_or(json));
        }
        kept.into_iter().map(|(_, field)| field).collect()
    }

    /// Engines take half of a surrogate pair in a value only.
    fn name(&mut self, token: &'a str) {
        let (name, is_unfit) = match serde_json::from_str(token) {
            Ok(Text(name)) => {
                let is_unfit = !is_path(&name);
                (name, is_unfit)
            }
            Err(_) => (Cow::Borrowed(token), true),
        };
        let start = self.out.len();
        if let Some(open) = self.open.last_mut() {
            open.fields.push(Field { name, start, is_unfit });
        }
    }

    fn number(&mut self, token: &str) {
        let number: f64 = token.parse().unwrap_or(f64::NAN);
        let is_whole = !token.contains(['.', 'e', 'E']);
        let is_beyond = is_whole && token.parse::<i64>().is_err();
        if !number.is_finite() || is_beyond || token.len() > MAX_NUMBER {
            write_number(self.out, number);
        } else if number == 0.0 {
            self.out.extend_from_slice(token.trim_start_matches('-').as_bytes());
        } else {
            self.out.extend_from_slice(token.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(json: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let fits = copy(json, &mut out);
        assert!(out.starts_with(b"before") && (fits || out.len() == 6));
        fits.then(|| String::from_utf8(out.split_off(6)).unwrap())
    }

    fn written(number: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_a_number_where_javascript_says_so() {
        let numbers = [
            ("0", 0.0),
            ("00", 0.0),
            ("-0", 0.0),
            ("012345678901", 12_345_678_901.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("5.e1", 50.0),
            ("+3", 3.0),
            ("1E5", 1e5),
            ("1e-400", 0.0),
            ("\u{feff}\u{a0}\t5\n\u{2028}", 5.0),
            ("0x1F", 31.0),
            ("0XfF", 255.0),
            ("0b11", 3.0),
            ("0o17", 15.0),
            // Halfway between two doubles to the even one, and up for one bit more, however far.
            ("0x20000000000001", 9_007_199_254_740_992.0),
            ("0x200000000000010000000000000000000001", 2.0 * 2_f64.powi(140) + 2_f64.powi(89)),
            ("0x00000000000000000000000000000000000000000000000007", 7.0),
        ];
        for (text, expected) in numbers {
            assert_eq!(number(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn text_is_no_number_where_javascript_says_so() {
        let others = [
            "",
            " ",
            "-",
            ".",
            "e5",
            "1e",
            "1_000",
            "1,000",
            "12abc",
            "10.0.0.1",
            "1 2",
            "NaN",
            "inf",
            "Infinity",
            "-Infinity",
            "nan",
            "1E400",
            "0x",
            "0xg",
            "-0x1",
            "0b2",
            "0o8",
            "0x1.0",
            "+-3",
            "\u{85}5",
            "5\u{0}",
            "٣",
            "5é",
            "é",
            "true",
            "null",
        ];
        for text in others {
            assert_eq!(number(text), None, "{text:?}");
        }
        assert_eq!(number(&format!("0x{}", "f".repeat(10_000))), None);
    }

    #[test]
    fn a_double_is_written_by_its_shortest_digits() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (1e5, "100000"),
            (1_234_567_890_123_456_789.0, "1234567890123456800"),
            (1e19, "1e19"),
            (1e-7, "1e-7"),
            (0.000_001, "0.000001"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "null"),
        ];
        for (number, text) in cases {
            assert_eq!(written(number), text);
        }
    }

    #[test]
    fn of_equal_names_the_last_counts_at_every_depth() {
        let cases = [
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (
                r#"{ "a" : 1 , "\u0061" : {"b":[], "b":[1 , 2]} , "c":3 }"#,
                r#"{"\u0061":{"b":[1,2]},"c":3}"#,
            ),
            (r#"[{"x":{"y":1,"y":1,"y":{}},"z":0,"x":{"y":5,"y":6}}]"#, r#"[{"z":0,"x":{"y":6}}]"#),
            (r#"{"a":",","a":"},","b":1,"b":"]"}"#, r#"{"a":"},","b":"]"}"#),
        ];
        for (json, expected) in cases {
            assert_eq!(copied(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn numbers_stay_as_they_came_where_that_is_the_same_double_and_can_be_mapped() {
        let json =
            "[1.0,-0,-0.0,-0E5,1E2,1e999,-1e999,9007199254740993,-9223372036854775808,0.1e-9]";
        let expected = "[1.0,0,0.0,0E5,1E2,null,null,9007199254740993,-9223372036854775808,0.1e-9]";
        assert_eq!(copied(json).as_deref(), Some(expected));
        let json = "[9223372036854775808,-123456789012345678901,1e-999]";
        let expected = "[9.223372036854776e18,-1.2345678901234568e20,1e-999]";
        assert_eq!(copied(json).as_deref(), Some(expected));
        let long = format!("[0.{}]", "1".repeat(2_000));
        assert_eq!(copied(&long).as_deref(), Some("[0.1111111111111111]"));
        assert_eq!(copied(&format!("[{}]", "1".repeat(2000))).as_deref(), Some("[null]"));
    }

    #[test]
    fn what_no_mapping_takes_is_not_copied() {
        let unfit = [r#"{"":1}"#, r#"[{"a":{" ":1}}]"#, r#"{"a..b":1}"#, r#"{"\ud800":1}"#];
        for json in unfit {
            assert_eq!(copied(json), None, "{json}");
        }
        for json in [r#"{"a":{"":1},"b":2,"a":3}"#, r#"[{"a":[{"a..b":1}],"a":{}}]"#] {
            assert!(copied(json).is_some(), "{json}: another value took its place");
        }
        assert!(copied(r#"{"a.b":["\ud800","\u0000"]}"#).is_some());
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(copied(&nested(MAX_DEPTH)).is_some() && copied(&nested(MAX_DEPTH + 1)).is_none());
    }
}
