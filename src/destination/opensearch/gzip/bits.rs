//! Bits on their way into bytes: the first is the lowest of its byte (RFC 1951 §3.1.1).

/// Writes bits into memory that it does not own.
#[derive(Debug)]
pub(super) struct Bits<'o> {
    out: &'o mut [u8],
    /// Whole bytes that were written.
    at: usize,
    held: u64,
    count: u32,
}

/// Where bits were going on: what is written from here on can be taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    at: usize,
    held: u64,
    count: u32,
}

impl<'o> Bits<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 0, held: 0, count: 0 }
    }

    /// Holds `count` bits more. 56 may follow a `flush`.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
    }

    /// Writes whole bytes, so that less than one is held. What there is no room for is lost: `end`
    /// will say so.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let room = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut);
        if let Some(room) = room {
            *room = self.held.to_le_bytes();
        }
        let bytes = self.count / 8;
        self.at += bytes as usize;
        self.held >>= bytes * 8;
        self.count %= 8;
    }

    /// Fills the byte that was begun.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Appends whole bytes. None may have been begun.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        let room = self.out.get_mut(self.at..).and_then(|room| room.get_mut(..bytes.len()));
        if let Some(room) = room {
            room.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }

    pub(super) fn place(&self) -> Place {
        Place { at: self.at, held: self.held, count: self.count }
    }

    pub(super) fn go_back(&mut self, to: Place) {
        Place { at: self.at, held: self.held, count: self.count } = to;
    }

    /// How many bits were written since `place`.
    pub(super) fn since(&self, place: Place) -> usize {
        (self.at - place.at) * 8 + self.count as usize - place.count as usize
    }

    /// How many bytes there are, if there was room for them and the eight that `flush` writes.
    pub(super) fn end(mut self) -> Option<usize> {
        self.align();
        (self.at + size_of::<u64>() <= self.out.len()).then_some(self.at)
    }
}
