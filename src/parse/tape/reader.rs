//! Reads a text into the nodes of a tape, in one pass from mark to mark.

use crate::parse::structural::{MAX_DEPTH, MAX_LEAF};

use super::hash;
use super::{Node, Token};

/// The longest name, so that no path of names can be too long.
const MAX_NAME: usize = MAX_LEAF / MAX_DEPTH - 1;

/// Numbers are shorter, or something else is meant.
const MAX_NUMBER: usize = 64;

/// Names of one object; beyond, comparing each with each takes too long.
const MAX_NAMES: u32 = 64;

/// Appends the nodes of a text that is one object, with these marks in it.
pub(super) fn read(text: &[u8], marks: &[u32], nodes: &mut Vec<Node>) -> Option<()> {
    let mut reader = Reader {
        text,
        at: 0,
        marks,
        next: 0,
        nodes,
        inner: NOTHING,
        outer: [NOTHING; MAX_DEPTH],
        depth: 0,
        seen: [0; 16],
    };
    reader.document()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The places of all that is special, and which of them is the next.
    marks: &'a [u32],
    next: usize,
    nodes: &'a mut Vec<Node>,
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

/// What is next to be read.
enum Next {
    Value,
    /// What follows a value.
    AfterValue,
}

impl Reader<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            let is_object = self.inner.container == Token::Object;
            let next = if is_object { self.members()? } else { Next::Value };
            let opened = matches!(next, Next::Value) && self.value()?;
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

    /// Reads members as long as their values are text without escapes, as most are. Of the one after
    /// them the name is read.
    #[inline]
    fn members(&mut self) -> Option<Next> {
        let (text, mut begin) = (self.text, self.at);
        if *text.get(begin)? != b'"' {
            return None;
        }
        // What is marked is in a string, or else is refused here or elsewhere: the mark after the one
        // of the quote at `begin` is the name's end.
        let mut marks = self.marks.get(self.next..)?;
        loop {
            let end = *marks.get(1)? as usize;
            // The shortest member that can be is no shorter.
            let [b'"', b':', first, _] = *text.get(end..)?.first_chunk::<4>()? else { return None };
            if !matches!(end - begin, 2..=MAX_NAME) {
                return None;
            }
            let hash = hash::within(text, begin + 1, end);
            self.is_new(hash, begin, end)?;
            let name =
                Node { token: Token::Name, begin: begin as u32, end: end as u32 + 1, next: hash };
            let until = marks.get(3).filter(|_| first == b'"').map_or(end, |mark| *mark as usize);
            let follows = text.get(until..)?.first_chunk::<3>();
            if until == end || *text.get(until)? != b'"' {
                self.nodes.push(name);
                self.at = end + 2;
                self.next = self.marks.len() - marks.len() + 2;
                return Some(Next::Value);
            }
            if until - end > MAX_LEAF {
                return None;
            }
            let value = Node {
                token: Token::Text { escaped: false },
                begin: end as u32 + 2,
                end: until as u32 + 1,
                next: self.nodes.len() as u32 + 2,
            };
            self.nodes.extend_from_slice(&[name, value]);
            marks = marks.get(4..)?;
            if follows != Some(b"\",\"") {
                self.at = until + 1;
                self.next = self.marks.len() - marks.len();
                return Some(Next::AfterValue);
            }
            begin = until + 2;
        }
    }

    /// The next mark.
    #[inline]
    fn mark(&mut self) -> Option<usize> {
        let mark = *self.marks.get(self.next)?;
        self.next += 1;
        Some(mark as usize)
    }

    /// Nothing if the innermost object has the name that is between these quotes already.
    #[inline]
    fn is_new(&mut self, hash: u32, begin: usize, end: usize) -> Option<()> {
        self.inner.names += 1;
        if self.inner.names > MAX_NAMES {
            return None;
        }
        let object = self.inner.node;
        let bit = (hash >> 22).wrapping_add(object) % (16 * 64);
        let (seen, bit) = (self.seen.get_mut(bit as usize / 64)?, 1 << (bit % 64));
        let may_be_seen = *seen & bit != 0;
        *seen |= bit;
        if may_be_seen {
            let own = self.text.get(begin..=end)?;
            return is_no_name_of(self.text, self.nodes, object, (hash, own));
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
        let end = *self.marks.get(self.next + 1)? as usize;
        self.next += 2;
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
            mark = self.mark()?;
        }
    }

    /// Reads an escape. Halves of a surrogate pair are not for us to match.
    fn escape(&mut self, at: usize) -> Option<()> {
        match self.text.get(at + 1)? {
            // Marked themselves.
            b'"' | b'\\' => self.mark().map(drop),
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

#[inline(never)]
fn is_no_name_of(text: &[u8], nodes: &[Node], object: u32, own: (u32, &[u8])) -> Option<()> {
    let mut place = object as usize + 1;
    while let Some(name) = nodes.get(place) {
        if (name.next, text.get(name.begin as usize..name.end as usize)?) == own {
            return None;
        }
        place = nodes.get(place + 1)?.next as usize;
    }
    Some(())
}

const fn closing(container: Token) -> u8 {
    if matches!(container, Token::Object) { b'}' } else { b']' }
}
