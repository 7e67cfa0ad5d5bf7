//! What is known by name, found by the hash that a tape has of each name.

use crate::parse::tape::{Member, hash_of};

/// What is known by a name, for names on tapes. With several slots for each name most others find an
/// empty one at once.
#[derive(Debug)]
pub(super) struct Names<T, const SLOTS: usize> {
    slots: [Option<Known<T>>; SLOTS],
}

#[derive(Debug)]
struct Known<T> {
    hash: u32,
    name: &'static str,
    what: T,
}

impl<T, const SLOTS: usize> Default for Names<T, SLOTS> {
    fn default() -> Self {
        Self { slots: [const { None }; SLOTS] }
    }
}

impl<T, const SLOTS: usize> Names<T, SLOTS> {
    /// What is known by a member's name.
    #[inline]
    pub(super) fn find(&self, member: Member<'_, '_>) -> Option<&T> {
        let mut slot = Self::first_slot(member.hash());
        // Some slot is always empty.
        while let Some(known) = self.slots.get(slot)? {
            if member.is(known.hash, known.name) {
                return Some(&known.what);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// Puts in what is known by a name. A slot must stay empty.
    pub(super) fn put(&mut self, name: &'static str, what: T) {
        let hash = hash_of(name);
        let (before, from) = self.slots.split_at_mut(Self::first_slot(hash));
        let free = from.iter_mut().chain(before).find(|slot| slot.is_none());
        if let Some(slot) = free {
            *slot = Some(Known { hash, name, what });
        }
    }

    const fn first_slot(hash: u32) -> usize {
        hash as usize % SLOTS
    }
}
