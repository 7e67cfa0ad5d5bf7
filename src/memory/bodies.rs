//! What the bodies of one destination may take, and the memory of those that were sent, for the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The part of a body's buffer that comes on top of what the body may take.
const SPARE_PART: usize = 64;

/// One destination's budget for bodies that are open, queued, being sent, or waiting to be.
pub struct BodyBudget {
    size: usize,
    held: Mutex<Held>,
    freed: Box<dyn Fn() + Send + Sync>,
}

/// What a budget has left.
struct Held {
    /// Bytes; below zero while a document that was larger than its reservation is under way.
    free: i64,
    /// Buffers of bodies that were sent. New memory would have to be zeroed by the kernel, page by
    /// page. They take of what is free, and go when it is needed.
    buffers: Vec<Vec<u8>>,
}

impl Held {
    fn take(&mut self, bytes: i64) {
        self.free -= bytes;
        self.shrink();
    }

    fn shrink(&mut self) {
        let mut kept: i64 = self.buffers.iter().map(|buffer| to_signed(buffer.capacity())).sum();
        while kept > self.free.max(0) {
            kept -= self.buffers.pop().map_or(kept, |buffer| to_signed(buffer.capacity()));
        }
    }
}

impl BodyBudget {
    /// `size` bytes; `freed` is called, on any thread, after some have come back.
    #[must_use]
    pub fn new(size: usize, freed: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let held = Mutex::new(Held { free: to_signed(size), buffers: Vec::new() });
        Arc::new(Self { size, held, freed: Box::new(freed) })
    }

    /// Takes `bytes` if they are free, without waiting. Who needs more than the whole budget
    /// takes the whole budget.
    #[must_use]
    pub fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<BodyPermit> {
        let bytes = bytes.min(self.size);
        let mut held = self.held();
        if held.free < to_signed(bytes) {
            return None;
        }
        let buffer = held.buffers.pop().unwrap_or_default();
        held.take(to_signed(bytes));
        Some(BodyPermit { budget: Arc::clone(self), bytes, buffer, room: 0 })
    }

    /// Whether `try_reserve` would succeed now.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.held().free >= to_signed(bytes.min(self.size))
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes taken; more than `size` while an oversized document is under way.
    #[must_use]
    pub fn taken(&self) -> usize {
        usize::try_from(to_signed(self.size) - self.held().free).unwrap_or(0)
    }

    /// The bytes of buffers that are kept for the next bodies, and not taken.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.held().buffers.iter().map(Vec::capacity).sum()
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 {
            return;
        }
        buffer.clear();
        let mut held = self.held();
        held.buffers.push(buffer);
        held.shrink();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for BodyBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyBudget").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Bytes taken from a body budget; they return when it is dropped.
#[derive(Debug)]
pub struct BodyPermit {
    budget: Arc<BodyBudget>,
    bytes: usize,
    /// Of a body that was sent before, or empty.
    buffer: Vec<u8>,
    /// The capacity that the buffer had when it was given out.
    room: usize,
}

impl BodyPermit {
    /// The bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer for a body of as many bytes; there is one in a permit.
    #[must_use]
    pub fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        // Grown step by step it would be copied as often. What is not written to costs nothing. The
        // last document may be longer than it was thought to be, or take room for a moment.
        buffer.reserve_exact(self.bytes + self.bytes / SPARE_PART);
        self.room = buffer.capacity();
        buffer
    }

    /// A body that is complete, in such a buffer. Its memory comes back when nobody has it any more,
    /// or at once where the body is much smaller: it would take more than the permit says.
    #[must_use]
    pub fn complete(&self, mut body: Vec<u8>) -> Bytes {
        let budget = Arc::clone(&self.budget);
        // One that had to grow has twice what it needs: it would be taken for a small one.
        body.shrink_to(self.room);
        if body.len() < body.capacity() / 2 {
            let small = Bytes::copy_from_slice(&body);
            budget.keep(body);
            return small;
        }
        Bytes::from_owner(Body { buffer: body, budget })
    }

    /// Holds `bytes` from now on. Growing always succeeds: the budget may be overdrawn by the
    /// one document that turned out larger than what was reserved for it.
    pub fn resize(&mut self, bytes: usize) {
        let more = to_signed(bytes) - to_signed(self.bytes);
        self.bytes = bytes;
        self.budget.held().take(more);
        if more < 0 {
            (self.budget.freed)();
        }
    }

    /// Moves `bytes` of it, or what is left, into a permit of their own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), bytes, buffer: Vec::new(), room: 0 }
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// A body that gives its memory back.
struct Body {
    buffer: Vec<u8>,
    budget: Arc<BodyBudget>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.budget.keep(std::mem::take(&mut self.buffer));
    }
}

fn to_signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn an_oversized_document_overdraws_and_is_paid_back() {
        let budget = BodyBudget::new(100, || {});
        let mut permit = budget.try_reserve(60).unwrap();
        permit.resize(150);
        assert_eq!(budget.taken(), 150);
        assert!(budget.try_reserve(1).is_none());
        drop(permit);
        assert_eq!(budget.taken(), 0);
        assert_eq!(budget.try_reserve(1000).unwrap().bytes(), 100);
    }

    #[test]
    fn giving_bytes_back_is_told_to_those_who_wait() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let budget = BodyBudget::new(100, move || _ = counter.fetch_add(1, Relaxed));
        let mut permit = budget.try_reserve(100).unwrap();
        let half = permit.split(50);
        drop(permit);
        drop(half);
        assert_eq!(told.load(Relaxed), 2);
    }

    #[test]
    fn the_memory_of_a_sent_body_is_used_again_while_it_is_not_needed() {
        let budget = BodyBudget::new(300, || {});
        let mut permit = budget.try_reserve(100).unwrap();
        let mut body = permit.buffer();
        body.extend_from_slice(&[1; 90]);
        let place = body.as_ptr();
        let body = permit.complete(body);
        let copy = body.clone();
        drop(body);
        assert_eq!(budget.kept(), 0, "somebody has it");
        drop(permit);
        drop(copy);
        assert_eq!((budget.kept(), budget.taken()), (101, 0));
        let mut permit = budget.try_reserve(100).unwrap();
        assert_eq!(budget.kept(), 0);
        let again = permit.buffer();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        budget.keep(again);
        assert_eq!(budget.kept(), 101);
        let _others = budget.try_reserve(150).unwrap();
        assert_eq!(budget.kept(), 0, "what is free would not be enough for both");
    }

    #[test]
    fn a_small_body_does_not_keep_a_large_buffer() {
        let budget = BodyBudget::new(1000, || {});
        let mut permit = budget.try_reserve(500).unwrap();
        let mut body = permit.buffer();
        body.extend_from_slice(b"small");
        permit.resize(5);
        let body = permit.complete(body);
        assert_eq!((&*body, budget.kept(), budget.taken()), (&b"small"[..], 507, 5));
    }

    #[test]
    fn a_body_that_outgrew_its_buffer_is_not_taken_for_a_small_one() {
        let budget = BodyBudget::new(100_000, || {});
        let mut permit = budget.try_reserve(10_000).unwrap();
        let mut body = permit.buffer();
        let room = body.capacity();
        assert!((10_001..10_500).contains(&room));
        // Room for a moment, as a document's writer takes it.
        body.resize(room + 1, 1);
        assert!(body.capacity() > 2 * 10_000);
        body.truncate(10_000);
        let body = permit.complete(body);
        assert_eq!((body.len(), budget.kept()), (10_000, 0), "it is not copied");
        drop(body);
        assert_eq!(budget.kept(), room);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_permits_hold(steps in prop::collection::vec((0u8..4, 0usize..400), 1..80)) {
            let budget = BodyBudget::new(1000, || {});
            let mut permits: Vec<BodyPermit> = Vec::new();
            for (step, n) in steps {
                match (step, permits.len()) {
                    (0, _) | (_, 0) => permits.extend(budget.try_reserve(n)),
                    (1, count) if n % 3 == 0 => budget.keep(permits[n % count].buffer()),
                    (1, count) => drop(permits.swap_remove(n % count)),
                    (2, count) => { let part = permits[n % count].split(n); permits.push(part); }
                    (_, count) => { let at = n % count; let less = permits[at].bytes().min(n); permits[at].resize(less); }
                }
                prop_assert_eq!(budget.taken(), permits.iter().map(BodyPermit::bytes).sum::<usize>());
                prop_assert!(budget.taken() + budget.kept() <= budget.size());
            }
        }
    }
}
