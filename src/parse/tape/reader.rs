//! Reads a text into the nodes of a tape, in one pass from mark to mark.

use crate::parse::structural::{MAX_DEPTH, MAX_LEAF};

use super::hash;
use super::marks::Marks;
use super::{Node, Token};

/// The longest name, so that no path of names can be too long.
const MAX_NAME: usize = MAX_LEAF / MAX_DEPTH - 1;

/// Numbers are shorter, or something else is meant.
const MAX_NUMBER: usize = 64;

/// Names of one object; beyond, comparing each with each takes too long.
const MAX_NAMES: u32 = 64;

/// The nodes of a text that is one object.
pub(super) fn read(text: &[u8]) -> Option<Vec<Node>> {
    let mut reader = Reader {
        text,
        at: 0,
        marks: Marks::of(text),
        // Documents of usual size have a token for every ten bytes or so.
        nodes: Vec::with_capacity(text.len() / 8 + 8),
        inner: NOTHING,
        outer: [NOTHING; MAX_DEPTH],
        depth: 0,
        seen: [0; 16],
    };
    reader.document()?;
    Some(reader.nodes)
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
