//! The tokens of a JSON text, found in one pass, for what nearly all messages are: compact, within the
//! structural rule, names without escapes.
//!
//! [`Tape::read`] gives up on every other text, valid or not. An object on a tape is then one that
//! [`structural`] would copy byte for byte, wherever in the text it stands.
//!
//! [`structural`]: super::structural

use crate::scan;

use super::structural::{MAX_DEPTH, MAX_LEAF};

/// The longest text, in bytes; larger events are rare. A tape can take eight times as much, which no
/// memory budget knows of.
const MAX_TEXT: usize = 256 << 10;

/// The longest name, so that no path of names can be too long.
const MAX_NAME: usize = MAX_LEAF / MAX_DEPTH - 1;

/// Numbers are shorter, or something else is meant.
const MAX_NUMBER: usize = 64;

/// Names of one object; beyond, comparing each with each takes too long.
const MAX_NAMES: usize = 64;

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
    /// The node after it and all that is in it.
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
    pub(super) name: &'a str,
    pub(super) value: Value<'t, 'a>,
    /// Where in the text its name begins, the quote included.
    pub(super) begin: usize,
}

impl<'a> Tape<'a> {
    /// Reads a text that is one object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TEXT || !text.starts_with('{') {
            return None;
        }
        // Documents of usual size have a token for every ten bytes or so.
        let nodes = Vec::with_capacity(text.len() / 8 + 8);
        let mut reader =
            Reader { text: text.as_bytes(), at: 0, nodes, open: [0; MAX_DEPTH], depth: 0 };
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
            let name = tape.node(place)?;
            let value = Value { tape, at: place + 1 };
            place = tape.node(value.at)?.next;
            let begin = name.begin as usize;
            Some(Member { name: tape.slice(name.begin + 1, name.end - 1), value, begin })
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
        self.members().find(|member| member.name == name).map(|member| member.value)
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The nodes of the containers that are open.
    open: [u32; MAX_DEPTH],
    depth: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            // A value is next.
            let opened = self.value()?;
            if opened && self.peek()? != closing(self.container()?) {
                if self.container()? == Token::Object {
                    self.name()?;
                }
                continue;
            }
            if self.close_and_go_on()? {
                return (self.at == self.text.len()).then_some(());
            }
        }
    }

    /// After a value: closes what ends here, and goes to where the next value begins. True at the end.
    fn close_and_go_on(&mut self) -> Option<bool> {
        while self.depth > 0 {
            let container = self.container()?;
            let byte = self.peek()?;
            self.at += 1;
            if byte == b',' {
                if container == Token::Object {
                    self.name()?;
                }
                return Some(false);
            }
            if byte != closing(container) {
                return None;
            }
            self.close()?;
        }
        Some(true)
    }

    /// Reads a value, or the opening of a container, and says whether it was that.
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
        self.push(token, begin)?;
        Some(false)
    }

    fn name(&mut self) -> Option<()> {
        let begin = self.at;
        let escaped = self.string()?;
        let length = self.at - begin - 2;
        if escaped || length == 0 || length > MAX_NAME || self.peek()? != b':' {
            return None;
        }
        self.push(Token::Name, begin)?;
        self.at += 1;
        Some(())
    }

    fn push(&mut self, token: Token, begin: usize) -> Option<()> {
        let next = u32::try_from(self.nodes.len() + 1).ok()?;
        let (begin, end) = (u32::try_from(begin).ok()?, u32::try_from(self.at).ok()?);
        self.nodes.push(Node { token, begin, end, next });
        Some(())
    }

    fn open(&mut self, container: Token) -> Option<bool> {
        *self.open.get_mut(self.depth)? = u32::try_from(self.nodes.len()).ok()?;
        self.depth += 1;
        self.at += 1;
        self.push(container, self.at - 1)?;
        Some(true)
    }

    fn close(&mut self) -> Option<()> {
        self.depth -= 1;
        let place = *self.open.get(self.depth)? as usize;
        let next = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(place)?;
        (node.end, node.next) = (u32::try_from(self.at).ok()?, next);
        if node.token == Token::Object { self.has_each_name_once(place + 1) } else { Some(()) }
    }

    /// Of the object that was closed last, whose first name is at `first`.
    fn has_each_name_once(&self, first: usize) -> Option<()> {
        let (mut names, mut seen) = ([(0, 0); MAX_NAMES], 0);
        let mut place = first;
        while let Some(node) = self.nodes.get(place) {
            let name = (node.begin, node.end);
            let own = self.bytes(name)?;
            let is_same = |other: &(u32, u32)| {
                other.1 - other.0 == name.1 - name.0 && self.bytes(*other) == Some(own)
            };
            if names.get(..seen)?.iter().any(is_same) {
                return None;
            }
            *names.get_mut(seen)? = name;
            seen += 1;
            place = self.nodes.get(place + 1)?.next as usize;
        }
        Some(())
    }

    fn bytes(&self, (begin, end): (u32, u32)) -> Option<&[u8]> {
        self.text.get(begin as usize..end as usize)
    }

    fn container(&self) -> Option<Token> {
        let place = *self.open.get(self.depth.checked_sub(1)?)?;
        self.nodes.get(place as usize).map(|node| node.token)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn word(&mut self, word: &[u8], token: Token) -> Option<Token> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(token)
    }

    /// Reads a string, and says whether it has escapes.
    fn string(&mut self) -> Option<bool> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += scan::plain(self.text.get(self.at..)?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += self.escape()?;
                }
                _ => return None,
            }
        }
    }

    /// The length of an escape. Halves of a surrogate pair are not for us to match.
    fn escape(&self) -> Option<usize> {
        match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                let is_surrogate =
                    matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                (is_hex && !is_surrogate).then_some(6)
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
    fn what_is_in_a_text_is_found_again() {
        let text = r#"{"a":[{"b":"x\n"},[],-1.5e+3],"c":{"d":null,"e":true},"f":""}"#;
        let tape = Tape::read(text).unwrap();
        let root = tape.root();
        let members: Vec<_> =
            root.members().map(|member| (member.name, member.value.json())).collect();
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
