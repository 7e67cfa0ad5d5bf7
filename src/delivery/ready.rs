//! The batches of one destination that may be sent now: live events before dead letters.
//!
//! A replay may have put a hundred bodies in line before the next live one comes; whoever waits for
//! live events must not wait for those. Where both wait, dead letters have every eighth turn, which
//! is their part of the memory too: a busy stream cannot keep a full store from being emptied.

use std::collections::VecDeque;

use crate::batch::Batch;

/// Where both wait, one turn in this many is for dead letters.
const TURNS: u8 = 8;

/// What may be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    live: VecDeque<Batch>,
    replays: VecDeque<Batch>,
    /// Turns of live batches since the last one of dead letters, while some waited.
    passed_over: u8,
}

impl Ready {
    /// Behind all others of its kind.
    pub(super) fn push_back(&mut self, batch: Batch) {
        self.line_of(&batch).push_back(batch);
    }

    /// Before all others of its kind.
    pub(super) fn push_front(&mut self, batch: Batch) {
        self.line_of(&batch).push_front(batch);
    }

    /// The next to be sent.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let is_turn_of_replays = self.passed_over + 1 >= TURNS && !self.replays.is_empty();
        let live = if is_turn_of_replays { None } else { self.live.pop_front() };
        let Some(batch) = live else {
            self.passed_over = 0;
            return self.replays.pop_front();
        };
        self.passed_over = if self.replays.is_empty() { 0 } else { self.passed_over + 1 };
        Some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.replays.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.live.iter().chain(&self.replays)
    }

    fn line_of(&mut self, batch: &Batch) -> &mut VecDeque<Batch> {
        if batch.is_replay() { &mut self.replays } else { &mut self.live }
    }
}
