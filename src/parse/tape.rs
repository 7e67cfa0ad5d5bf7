//! The tokens of a JSON text, found in one pass, for what nearly all messages are: compact, within the
//! structural rule, names without escapes.
//!
//! [`Tape::read`] gives up on every other text, valid or not. An object on a tape is then one that
//! [`structural`] would copy byte for byte, wherever in the text it stands.
//!
//! [`structural`]: super::structural

mod hash;
mod marks;
mod reader;

use crate::decode::Marks;
use crate::scan;

/// The longest text, in bytes; larger events are rare. A tape can take eight times as much, and its
/// marks eight times again, which no memory budget knows of.
const MAX_TEXT: usize = 256 << 10;

/// What is kept between records, in bytes: nearly all texts need less.
const MOST_KEPT: usize = 256 << 10;

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

/// What reading reuses from text to text.
#[derive(Debug)]
pub(super) struct Memory {
    nodes: Vec<Node>,
    marks: Vec<u32>,
}

impl Memory {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), marks: Vec::new() }
    }

    /// Forgets what a large text has left behind.
    pub(super) fn forget_large(&mut self) {
        let nodes = self.nodes.capacity() * size_of::<Node>();
        let marks = self.marks.capacity() * size_of::<u32>();
        if nodes + marks > MOST_KEPT {
            *self = Self::new();
        }
    }
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
    /// Reads a text that is one object; its marks may be known.
    pub(super) fn read(text: &'a str, marks: Marks<'_>, memory: &mut Memory) -> Option<Self> {
        if text.len() > MAX_TEXT || !text.starts_with('{') {
            return None;
        }
        let Memory { nodes, marks: list } = memory;
        let marks = match marks.places() {
            [] => marks::find(text.as_bytes(), list),
            known => known,
        };
        nodes.clear();
        // Documents of usual size have a token for every ten bytes or so.
        nodes.reserve(text.len() / 8 + 8);
        reader::read(text.as_bytes(), marks, nodes)?;
        Some(Self { text, nodes: std::mem::take(nodes) })
    }

    /// Gives its memory to the next one, and is empty then.
    pub(super) fn give_back(&mut self, memory: &mut Memory) {
        memory.nodes = std::mem::take(&mut self.nodes);
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

    /// Where in the text it begins and ends.
    pub(super) fn span(self) -> (usize, usize) {
        self.tape.node(self.at).map_or((0, 0), |node| (node.begin as usize, node.end as usize))
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
        let (begin, end) = (self.name.begin as usize + 1, self.name.end as usize - 1);
        let own = || self.tape.text.as_bytes().get(begin..end);
        self.name.next == hash && own().is_some_and(|own| scan::same(own, name.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Tape<'_>> {
        Tape::read(text, Marks::default(), &mut Memory::new())
    }

    #[test]
    fn a_tape_is_of_bounded_size() {
        let list = |length| format!("{{\"a\":[1{}]}}", ",1".repeat(length));
        let most = (MAX_TEXT - list(0).len()) / 2;
        let (largest, larger) = (list(most), list(most + 1));
        let nodes = read(&largest).unwrap().nodes.len();
        assert!(nodes * size_of::<Node>() <= 8 * MAX_TEXT, "{nodes}");
        assert!(read(&larger).is_none());
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
        assert!(read(&text(&objects)).is_some());
        for again in ["\"n0\":1", "\"n59\":\"v\"", "\"y\":\"z\",\"y\":\"z\",\"z\":\"\""] {
            objects[70] = object(again);
            assert!(read(&text(&objects)).is_none(), "{again}");
        }
        objects[70] = object("\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5");
        assert!(read(&text(&objects)).is_none(), "more names than are compared");
    }

    #[test]
    fn strings_are_found_wherever_a_block_ends() {
        for filled in 300..700 {
            let text = format!(
                r#"{{"a":"{}","b":"c","dd":"\"e","f":"g","h":["i","j"],"k":{{"l":"m"}}}}"#,
                "x".repeat(filled)
            );
            let tape = read(&text).unwrap();
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
        let tape = read(text).unwrap();
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
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
