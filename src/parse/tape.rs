//! The tokens of a JSON text, found in one pass, for what nearly all messages are: compact, within the
//! structural rule, names without escapes.
//!
//! [`Tape::read`] gives up on every other text, valid or not. An object on a tape is then one that
//! [`structural`] would copy byte for byte, wherever in the text it stands.
//!
//! [`structural`]: super::structural

mod hash;
mod marks;

use crate::scan;

use self::marks::Marks;
use super::structural::{MAX_DEPTH, MAX_LEAF};

/// The longest text, in bytes; larger events are rare. A tape can take eight times as much, which no
/// memory budget knows of.
const MAX_TEXT: usize = 256 << 10;

/// The longest name, so that no path of names can be too long.
const MAX_NAME: usize = MAX_LEAF / MAX_DEPTH - 1;

/// Numbers are shorter, or something else is meant.
const MAX_NUMBER: usize = 64;

/// Names of one object; beyond, comparing each with each takes too long.
const MAX_NAMES: u32 = 64;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Object,
    Array,
    /// Of a member of an object; its value is next.
    Name,
    /// Without escapes, or with some.
    Text {
        escaped: bool,
    },
    Number,
    Boolean,
    Null,
}

/// A token or a container, with its place in the text: quotes and braces included.
#[derive(Clone, Copy, Debug)]
struct Node {
    token: Token,
    begin: u32,
    end: u32,
    /// The node after it and all that is in it; of a name, which its value follows, the hash.
    next: u32,
}

/// A text with its tokens.
#[derive(Debug)]
pub(super) struct Tape<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// A value on a tape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'t, 'a> {
    tape: &'t Tape<'a>,
    at: u32,
}

/// Where on its tape a value is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'t, 'a> {
    tape: &'t Tape<'a>,
    name: Node,
    value: u32,
}

impl<'a> Tape<'a> {
    /// Reads a text that is one object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TEXT || !text.starts_with('{') {
            return None;
        }
        // Documents of usual size have a token for every ten bytes or so.
        let nodes = Vec::with_capacity(text.len() / 8 + 8);
        let mut reader = Reader {
            text: text.as_bytes(),
            at: 0,
            marks: Marks::of(text.as_bytes()),
            nodes,
            inner: NOTHING,
            outer: [NOTHING; MAX_DEPTH],
            depth: 0,
            seen: [0; 16],
        };
        reader.document()?;
        Some(Self { text, nodes: reader.nodes })
    }

    /// The text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The object that the text is.
    pub(super) fn root(&self) -> Value<'_, 'a> {
        Value { tape: self, at: 0 }
    }

    /// The value at a place.
    pub(super) fn value(&self, place: Place) -> Value<'_, 'a> {
        Value { tape: self, at: place.0 }
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    fn slice(&self, begin: u32, end: u32) -> &'a str {
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }
}

impl<'t, 'a> Value<'t, 'a> {
    /// Where it is.
    pub(super) fn place(self) -> Place {
        Place(self.at)
    }

    /// What it is.
    pub(super) fn token(self) -> Token {
        self.tape.node(self.at).map_or(Token::Null, |node| node.token)
    }

    /// The value as it is written.
    pub(super) fn json(self) -> &'a str {
        self.tape.node(self.at).map_or("", |node| self.tape.slice(node.begin, node.end))
    }

    /// Where in the text it ends.
    pub(super) fn end(self) -> usize {
        self.tape.node(self.at).map_or(0, |node| node.end as usize)
    }

    /// The text of a string without escapes.
    pub(super) fn text(self) -> Option<&'a str> {
        let node = self.tape.node(self.at)?;
        let is_text = node.token == Token::Text { escaped: false };
        is_text.then(|| self.tape.slice(node.begin + 1, node.end - 1))
    }

    /// The members of an object; none for any other value.
    pub(super) fn members(self) -> impl Iterator<Item = Member<'t, 'a>> + use<'t, 'a> {
        let Self { tape, at } = self;
        let (mut place, end) = match tape.node(at) {
            Some(node) if node.token == Token::Object => (at + 1, node.next),
            _ => (0, 0),
        };
        std::iter::from_fn(move || {
            if place >= end {
                return None;
            }
            let (name, value) = (*tape.node(place)?, place + 1);
            place = tape.node(value)?.next;
            Some(Member { tape, name, value })
        })
    }

    /// The elements of an array; none for any other value.
    pub(super) fn elements(self) -> impl Iterator<Item = Self> + use<'t, 'a> {
        let Self { tape, at } = self;
        let (mut place, end) = match tape.node(at) {
            Some(node) if node.token == Token::Array => (at + 1, node.next),
            _ => (0, 0),
        };
        std::iter::from_fn(move || {
            let value = (place < end).then_some(Self { tape, at: place })?;
            place = tape.node(place)?.next;
            Some(value)
        })
    }

    /// The value of a member.
    pub(super) fn get(self, name: &str) -> Option<Self> {
        self.get_by(hash_of(name), name)
    }

    /// The value of a member, by the hash of its name too.
    #[inline]
    pub(super) fn get_by(self, hash: u32, name: &str) -> Option<Self> {
        let mut members = self.members();
        members.find(|member| member.is(hash, name)).map(Member::value)
    }
}

impl<'t, 'a> Member<'t, 'a> {
    /// Its name, which has no escapes.
    pub(super) fn name(self) -> &'a str {
        self.tape.slice(self.name.begin + 1, self.name.end - 1)
    }

    /// The hash of its name.
    pub(super) fn hash(self) -> u32 {
        self.name.next
    }

    /// Whether it has this name, of this hash.
    #[inline]
    pub(super) fn is(self, hash: u32, name: &str) -> bool {
        self.name.next == hash && scan::same(self.name().as_bytes(), name.as_bytes())
    }

    /// Its value.
    pub(super) fn value(self) -> Value<'t, 'a> {
        Value { tape: self.tape, at: self.value }
    }

    /// Where in the text its name begins, the quote included.
    pub(super) fn begin(self) -> usize {
        self.name.begin as usize
    }
}

/// The hash that a tape has of this name.
pub(super) fn hash_of(name: &str) -> u32 {
    hash::of(name.as_bytes())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    marks: Marks<'a>,
    nodes: Vec<Node>,
    /// The containers that are open, so many of them.
    inner: Open,
    outer: [Open; MAX_DEPTH],
    depth: usize,
    /// A bit for each name that was seen, by its hash and its object; others may share it.
    seen: [u64; 16],
}

#[derive(Clone, Copy)]
struct Open {
    container: Token,
    node: u32,
    names: u32,
}

/// Stands for the container of the outermost value.
const NOTHING: Open = Open { container: Token::Array, node: 0, names: 0 };

impl Reader<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            if self.inner.container == Token::Object {
                self.texts()?;
                self.name()?;
            }
            let opened = self.value()?;
            if opened && self.peek()? != closing(self.inner.container) {
                continue;
            }
            if self.close_and_go_on()? {
                return (self.at == self.text.len()).then_some(());
            }
        }
    }

    /// After a value: closes what ends here, and goes to behind the comma. True at the end.
    #[inline]
    fn close_and_go_on(&mut self) -> Option<bool> {
        while self.depth > 0 {
            let byte = self.peek()?;
            self.at += 1;
            if byte == b',' {
                return Some(false);
            }
            if byte != closing(self.inner.container) {
                return None;
            }
            self.close()?;
        }
        Some(true)
    }

    /// Reads a value, or the opening of a container, and says whether it was that.
    #[inline]
    fn value(&mut self) -> Option<bool> {
        let begin = self.at;
        let token = match self.peek()? {
            b'"' => Token::Text { escaped: self.string()? },
            b'{' => return self.open(Token::Object),
            b'[' => return self.open(Token::Array),
            b't' => self.word(b"true", Token::Boolean)?,
            b'f' => self.word(b"false", Token::Boolean)?,
            b'n' => self.word(b"null", Token::Null)?,
            _ => self.number()?,
        };
        if self.at - begin > MAX_LEAF {
            return None;
        }
        let next = self.nodes.len() as u32 + 1;
        self.push(token, begin, next);
        Some(false)
    }

    /// Reads members whose values are text without escapes, as most are, as long as one like it is
    /// next to be read after them.
    #[inline]
    fn texts(&mut self) -> Option<()> {
        let mut begin = self.at;
        while let Some((end, until)) = self.marks.two_strings() {
            // The quotes of a name and its value, and that which begins the next name.
            let is_usual = self.has(begin, b"\"")
                && self.has(end, b"\":\"")
                && self.has(until, b"\",\"")
                && matches!(end - begin, 2..=MAX_NAME)
                && until - end <= MAX_LEAF;
            if !is_usual {
                break;
            }
            let hash = hash::within(self.text, begin + 1, end);
            self.at = end + 1;
            self.is_new(hash, begin)?;
            let next = self.nodes.len() as u32 + 2;
            let node = |token, begin, end, next| Node {
                token,
                begin: begin as u32,
                end: end as u32 + 1,
                next,
            };
            let text = Token::Text { escaped: false };
            self.nodes.extend_from_slice(&[
                node(Token::Name, begin, end, hash),
                node(text, end + 2, until, next),
            ]);
            self.marks.skip_two_strings();
            begin = until + 2;
        }
        self.at = begin;
        Some(())
    }

    /// Whether exactly this stands in the text.
    #[inline]
    fn has<const N: usize>(&self, at: usize, bytes: &[u8; N]) -> bool {
        self.text.get(at..).and_then(<[u8]>::first_chunk) == Some(bytes)
    }

    #[inline]
    fn name(&mut self) -> Option<()> {
        let begin = self.at;
        let escaped = self.string()?;
        let length = self.at - begin - 2;
        if escaped || length == 0 || length > MAX_NAME || self.peek()? != b':' {
            return None;
        }
        let hash = hash::within(self.text, begin + 1, self.at - 1);
        self.is_new(hash, begin)?;
        self.push(Token::Name, begin, hash);
        self.at += 1;
        Some(())
    }

    /// Nothing if the innermost object has the name that was just read already.
    #[inline]
    fn is_new(&mut self, hash: u32, begin: usize) -> Option<()> {
        self.inner.names += 1;
        if self.inner.names > MAX_NAMES {
            return None;
        }
        let object = self.inner.node;
        let bit = (hash >> 22).wrapping_add(object) % (16 * 64);
        let (seen, bit) = (self.seen.get_mut(bit as usize / 64)?, 1 << (bit % 64));
        let may_be_seen = *seen & bit != 0;
        *seen |= bit;
        if may_be_seen { self.is_no_name_of(object, hash, begin) } else { Some(()) }
    }

    #[inline(never)]
    fn is_no_name_of(&self, object: u32, hash: u32, begin: usize) -> Option<()> {
        let own = self.text.get(begin..self.at)?;
        let mut place = object as usize + 1;
        while let Some(name) = self.nodes.get(place) {
            if name.next == hash && self.text.get(name.begin as usize..name.end as usize)? == own {
                return None;
            }
            place = self.nodes.get(place + 1)?.next as usize;
        }
        Some(())
    }

    #[inline]
    fn push(&mut self, token: Token, begin: usize, next: u32) {
        // No text is so long that a place or a count of it would not fit.
        self.nodes.push(Node { token, begin: begin as u32, end: self.at as u32, next });
    }

    #[inline]
    fn open(&mut self, container: Token) -> Option<bool> {
        let node = self.nodes.len() as u32;
        *self.outer.get_mut(self.depth)? = self.inner;
        self.inner = Open { container, node, names: 0 };
        self.depth += 1;
        self.at += 1;
        self.push(container, self.at - 1, node + 1);
        Some(true)
    }

    #[inline]
    fn close(&mut self) -> Option<()> {
        let place = self.inner.node;
        self.depth -= 1;
        self.inner = *self.outer.get(self.depth)?;
        let next = self.nodes.len() as u32;
        let node = self.nodes.get_mut(place as usize)?;
        (node.end, node.next) = (self.at as u32, next);
        Some(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn word<const N: usize>(&mut self, word: &[u8; N], token: Token) -> Option<Token> {
        (self.text.get(self.at..)?.first_chunk() == Some(word)).then(|| self.at += N)?;
        Some(token)
    }

    /// Reads a string, and says whether it has escapes.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        if self.peek()? != b'"' {
            return None;
        }
        // Nothing that is marked is allowed outside of strings, so that the quote is the next mark.
        let end = self.marks.second()?;
        if *self.text.get(end)? == b'"' {
            self.at = end + 1;
            return Some(false);
        }
        self.escapes(end)?;
        Some(true)
    }

    /// Reads the rest of a string, whose first mark that does not begin it is at `mark`.
    #[inline(never)]
    fn escapes(&mut self, mut mark: usize) -> Option<()> {
        loop {
            match self.text.get(mark)? {
                b'"' => {
                    self.at = mark + 1;
                    return Some(());
                }
                b'\\' => self.escape(mark)?,
                _ => return None,
            }
            mark = self.marks.next()?;
        }
    }

    /// Reads an escape. Halves of a surrogate pair are not for us to match.
    fn escape(&mut self, at: usize) -> Option<()> {
        match self.text.get(at + 1)? {
            // Marked themselves.
            b'"' | b'\\' => self.marks.next().map(drop),
            b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.get(at + 2..at + 6)?;
                let is_surrogate =
                    matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                (is_hex && !is_surrogate).then_some(())
            }
            _ => None,
        }
    }

    /// RFC 8259 §6: no leading zeros, digits on both sides of a point and after an exponent.
    fn number(&mut self) -> Option<Token> {
        let begin = self.at;
        self.at += usize::from(self.peek()? == b'-');
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek()?, b'+' | b'-'));
            self.digits()?;
        }
        (self.at - begin <= MAX_NUMBER).then_some(Token::Number)
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += digits;
        (digits > 0).then_some(())
    }
}

const fn closing(container: Token) -> u8 {
    if matches!(container, Token::Object) { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_is_of_bounded_size() {
        let list = |length| format!("{{\"a\":[1{}]}}", ",1".repeat(length));
        let most = (MAX_TEXT - list(0).len()) / 2;
        let (largest, larger) = (list(most), list(most + 1));
        let nodes = Tape::read(&largest).unwrap().nodes.len();
        assert!(nodes * size_of::<Node>() <= 8 * MAX_TEXT, "{nodes}");
        assert!(Tape::read(&larger).is_none());
    }

    #[test]
    fn a_name_may_be_in_each_of_many_objects_but_in_none_twice() {
        // Long enough that most bits are shared by several names.
        let object = |extra: &str| {
            let names = (0..60).map(|number| format!("\"n{number}\":\"v\","));
            format!("{{{}{extra}}}", names.collect::<String>())
        };
        let text = |objects: &[String]| format!("{{\"list\":[{}]}}", objects.join(","));
        let mut objects = vec![object("\"x\":{\"n1\":1}"); 100];
        assert!(Tape::read(&text(&objects)).is_some());
        for again in ["\"n0\":1", "\"n59\":\"v\"", "\"y\":\"z\",\"y\":\"z\",\"z\":\"\""] {
            objects[70] = object(again);
            assert!(Tape::read(&text(&objects)).is_none(), "{again}");
        }
        objects[70] = object("\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5");
        assert!(Tape::read(&text(&objects)).is_none(), "more names than are compared");
    }

    #[test]
    fn strings_are_found_wherever_a_block_ends() {
        for filled in 300..700 {
            let text = format!(
                r#"{{"a":"{}","b":"c","dd":"\"e","f":"g","h":["i","j"],"k":{{"l":"m"}}}}"#,
                "x".repeat(filled)
            );
            let tape = Tape::read(&text).unwrap();
            let members = tape.root().members();
            let members: Vec<_> =
                members.map(|member| (member.name(), member.value().json())).collect();
            assert_eq!(members[0].1.len(), filled + 2);
            let expected = [
                ("b", "\"c\""),
                ("dd", r#""\"e""#),
                ("f", "\"g\""),
                ("h", r#"["i","j"]"#),
                ("k", r#"{"l":"m"}"#),
            ];
            assert_eq!(members[1..], expected, "{filled}");
            assert_eq!(
                tape.root().get("dd").map(Value::token),
                Some(Token::Text { escaped: true })
            );
        }
    }

    #[test]
    fn what_is_in_a_text_is_found_again() {
        let text = r#"{"a":[{"b":"x\n"},[],-1.5e+3],"c":{"d":null,"e":true},"f":""}"#;
        let tape = Tape::read(text).unwrap();
        let root = tape.root();
        let members: Vec<_> =
            root.members().map(|member| (member.name(), member.value().json())).collect();
        assert_eq!(
            members,
            [("a", r#"[{"b":"x\n"},[],-1.5e+3]"#), ("c", r#"{"d":null,"e":true}"#), ("f", "\"\"")]
        );
        let elements = root.get("a").unwrap().elements();
        let tokens: Vec<_> = elements.map(|element| (element.token(), element.json())).collect();
        let expected =
            [(Token::Object, r#"{"b":"x\n"}"#), (Token::Array, "[]"), (Token::Number, "-1.5e+3")];
        assert_eq!(tokens, expected);
        let inner = root.get("c").unwrap();
        assert_eq!(inner.get("d").map(Value::token), Some(Token::Null));
        assert_eq!(inner.get("e").map(Value::token), Some(Token::Boolean));
        assert_eq!(root.get("f").and_then(Value::text), Some(""));
        assert!(root.get("d").is_none());
        for wrong in [
            "{}x",
            "{",
            "{\"a\"}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "[]",
            "{\"a\":1.}",
            "{\"a\":\"\t\"}",
        ] {
            assert!(Tape::read(wrong).is_none(), "{wrong}");
        }
    }
}
