//! The structural rule: which open-ended JSON every engine takes as it is.
//!
//! An object is copied when it is at most 18 deep (Elasticsearch's `flattened` stops at 20), has
//! names that can be indexed, and has leaves of at most 8 KiB (a term ends at 32,766 bytes, and
//! Elasticsearch counts the path of names with it). Everything else its caller keeps whole, as JSON
//! text. What is copied loses only the white space between tokens, so that it fits on one line.

use std::borrow::Cow;

use super::object::{Object, has_duplicates};

/// How many objects and arrays may be open at once, the outermost counted.
pub(super) const MAX_DEPTH: usize = 18;

/// The longest leaf, and the longest path of names, in bytes of text.
pub(super) const MAX_LEAF: usize = 8 * 1024;

/// Jackson, the engines' JSON parser, refuses a whole document for one longer number.
pub(super) const MAX_NUMBER: usize = 1_000;

/// What will read the copy.
#[derive(Clone, Copy)]
enum Reader {
    /// A field type for whole objects, which makes a term of every leaf.
    Flat,
    /// Dynamic mapping, which makes a field of every name and splits long text into words.
    Dynamic,
}

/// The value breaks the rule.
#[derive(Debug)]
struct Unfit;

/// Appends `json`, valid JSON text, if it is an object within the rule; else appends nothing.
pub(super) fn copy_object(json: &str, out: &mut Vec<u8>) -> bool {
    json.starts_with('{') && attempt(out, Reader::Flat, |copy| copy.value(json))
}

/// As [`copy_object`], for an object of which one level was read.
pub(super) fn copy_fields(object: &Object<'_>, out: &mut Vec<u8>) -> bool {
    attempt(out, Reader::Flat, |copy| {
        copy.out.push(b'{');
        copy.enter(true)?;
        for (at, (name, value)) in object.iter().enumerate() {
            if at > 0 {
                copy.out.push(b',');
            }
            copy.name(Cow::Owned(name.to_owned()))?;
            super::writer::string(copy.out, name);
            copy.out.push(b':');
            copy.value(value.get())?;
        }
        copy.leave()?;
        copy.out.push(b'}');
        Ok(())
    })
}

/// Appends any valid JSON value that dynamic mapping can take; else appends nothing.
pub(super) fn copy_dynamic(json: &str, out: &mut Vec<u8>) -> bool {
    attempt(out, Reader::Dynamic, |copy| copy.value(json))
}

/// The length of a scalar's text, if it is one that an engine can read; `None` for objects, arrays
/// and for strings that no UTF-8 can express (half of a surrogate pair).
pub(super) fn scalar_length(json: &str) -> Option<usize> {
    match json.as_bytes().first()? {
        b'{' | b'[' => None,
        b'"' => text_of(json).ok().map(|text| text.len()),
        _ => (json.len() <= MAX_NUMBER).then_some(json.len()),
    }
}

fn attempt<'a>(
    out: &mut Vec<u8>,
    reader: Reader,
    write: impl FnOnce(&mut Copy<'a, '_>) -> Result<(), Unfit>,
) -> bool {
    let start = out.len();
    let mut copy = Copy { out, reader, open: Vec::new(), names: Vec::new(), path: 0 };
    let fits = write(&mut copy).is_ok();
    if !fits {
        out.truncate(start);
    }
    fits
}

/// One pass over valid JSON that copies and checks at once.
struct Copy<'a, 'o> {
    out: &'o mut Vec<u8>,
    reader: Reader,
    open: Vec<Open>,
    /// The names of all open objects, the outermost object's first.
    names: Vec<Cow<'a, str>>,
    /// The length of the path of names that leads to the current value.
    path: usize,
}

struct Open {
    is_object: bool,
    /// Where in `names` this object's begin.
    first_name: usize,
    /// The length of the current name, as it counts in the path.
    name_length: usize,
}

impl<'a> Copy<'a, '_> {
    fn value(&mut self, json: &'a str) -> Result<(), Unfit> {
        let mut rest = json;
        let mut name_next = false;
        while let Some(first) = rest.as_bytes().first() {
            let (token, tail) = rest.split_at_checked(token_length(rest, *first)).ok_or(Unfit)?;
            rest = tail;
            match first {
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                b'{' | b'[' => {
                    name_next = *first == b'{';
                    self.enter(name_next)?;
                }
                b'}' | b']' => {
                    name_next = false;
                    self.leave()?;
                }
                b',' => name_next = self.open.last().is_some_and(|open| open.is_object),
                b':' => name_next = false,
                b'"' if name_next => self.name(text_of(token)?)?,
                _ => self.leaf(token)?,
            }
            self.out.extend_from_slice(token.as_bytes());
        }
        Ok(())
    }

    fn enter(&mut self, is_object: bool) -> Result<(), Unfit> {
        if self.open.len() == MAX_DEPTH {
            return Err(Unfit);
        }
        self.open.push(Open { is_object, first_name: self.names.len(), name_length: 0 });
        Ok(())
    }

    /// The engines refuse a document in which an object has a name twice.
    fn leave(&mut self) -> Result<(), Unfit> {
        let closed = self.open.pop().ok_or(Unfit)?;
        self.path -= closed.name_length;
        let own = self.names.get(closed.first_name..).unwrap_or_default();
        let twice = own.len() > 1 && has_duplicates(own.iter().map(AsRef::as_ref).collect());
        self.names.truncate(closed.first_name);
        if twice { Err(Unfit) } else { Ok(()) }
    }

    fn name(&mut self, name: Cow<'a, str>) -> Result<(), Unfit> {
        let fits = match self.reader {
            // Elasticsearch joins path and value with a NUL.
            Reader::Flat => !name.is_empty() && !name.contains('\0'),
            Reader::Dynamic => is_path(&name),
        };
        let open = self.open.last_mut().ok_or(Unfit)?;
        let length = name.len() + 1;
        self.path = self.path - open.name_length + length;
        open.name_length = length;
        self.names.push(name);
        if fits && self.path <= MAX_LEAF { Ok(()) } else { Err(Unfit) }
    }

    fn leaf(&self, token: &str) -> Result<(), Unfit> {
        let length = scalar_length(token).ok_or(Unfit)?;
        let longest = match self.reader {
            Reader::Flat => MAX_LEAF,
            Reader::Dynamic => usize::MAX,
        };
        if length <= longest { Ok(()) } else { Err(Unfit) }
    }
}

/// Whether every part of a dotted name is there: the engines make an object of each.
pub(super) fn is_path(name: &str) -> bool {
    name.split('.').all(|part| !part.trim().is_empty())
}

/// The length of the token that `json` begins with, whose first byte is `first`.
pub(super) fn token_length(json: &str, first: u8) -> usize {
    match first {
        b'"' => string_length(json),
        b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => 1,
        _ => json.bytes().position(ends_scalar).unwrap_or(json.len()),
    }
}

const fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
}

/// The length of the string that `json` begins with, quotes included.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    let ends = |byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    };
    json.bytes().skip(1).position(ends).map_or(json.len(), |inside| inside + 2)
}

/// The text of a JSON string.
fn text_of(token: &str) -> Result<Cow<'_, str>, Unfit> {
    if token.contains('\\') {
        return serde_json::from_str(token).map(Cow::Owned).map_err(|_| Unfit);
    }
    let inside = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.map(Cow::Borrowed).ok_or(Unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(json: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let fits = copy_object(json, &mut out);
        assert!(out.starts_with(b"before") && (fits || out.len() == 6));
        fits.then(|| String::from_utf8(out.split_off(6)).unwrap())
    }

    #[test]
    fn an_object_is_copied_without_white_space() {
        let json =
            "{ \"a\" : [ 1 , {\"b c\":null} , [] ],\n\t\"d\\\"\\\\\":\"x \\n y\",\"e\":-1.50E+3 }";
        let expected = r#"{"a":[1,{"b c":null},[]],"d\"\\":"x \n y","e":-1.50E+3}"#;
        assert_eq!(copied(json).unwrap(), expected);
        assert_eq!(copied("{}").unwrap(), "{}");
    }

    #[test]
    fn eighteen_deep_is_copied_and_nineteen_is_not() {
        let nested = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(copied(&nested(18)).is_some());
        assert!(copied(&nested(19)).is_none());
        assert!(copied(&nested(100_000)).is_none());
    }

    #[test]
    fn a_leaf_of_8_kib_is_copied_and_a_longer_one_is_not() {
        let leaf = |text: &str| copied(&format!(r#"{{"a":["{text}"]}}"#)).is_some();
        assert!(leaf(&"x".repeat(8192)));
        assert!(!leaf(&"x".repeat(8193)));
        assert!(leaf(&"\\n".repeat(8192)), "an escape is one byte of text");
        assert!(!leaf(&"é".repeat(4097)));
    }

    #[test]
    fn names_that_an_engine_refuses_are_not_copied() {
        for json in [r#"{"":1}"#, r#"{"a":[{"":1}]}"#, r#"{"a\u0000":1}"#, r#"{"a":1,"a":2}"#] {
            assert!(copied(json).is_none(), "{json}");
        }
        assert!(copied(r#"{"a":{"b":1,"c":0,"\u0062":2}}"#).is_none(), "the same name, escaped");
        assert!(copied(r#"{"a":{"x":1},"b":{"x":1},"x":{"x":[{"x":1},{"x":1}]}}"#).is_some());
        assert!(copied(r#"{"a.b":1,".":1,"..c":1}"#).is_some(), "dots are no path here");
        let path = format!(r#"{{"{0}":{{"{0}":1}}}}"#, "k".repeat(4095));
        assert!(copied(&path).is_some());
        assert!(copied(&path.replacen("kk", "kkk", 1)).is_none());
    }

    #[test]
    fn only_objects_are_copied() {
        for json in ["1", "null", "[{}]", "\"{}\"", "true"] {
            assert!(copied(json).is_none(), "{json}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_and_endless_numbers_are_not_copied() {
        assert!(copied(r#"{"a":"\ud800"}"#).is_none());
        assert!(copied(r#"{"\udc00":1}"#).is_none());
        assert!(copied(r#"{"a":"\ud83d\ude00"}"#).is_some());
        assert!(copied(&format!(r#"{{"a":{}}}"#, "1".repeat(1000))).is_some());
        assert!(copied(&format!(r#"{{"a":{}}}"#, "1".repeat(1001))).is_none());
    }
}
