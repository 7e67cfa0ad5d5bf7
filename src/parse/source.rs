//! Where a log event comes from.

use std::cell::{OnceCell, RefCell, RefMut};
use std::fmt;

use crate::event::Timestamp;

use super::detect::Promise;
use super::tape;
use super::vpc_flow;
use super::writer::{self, Calendar};

/// Where a log event comes from: the same for a whole envelope, with what is made of it once.
#[derive(Debug)]
pub struct Source<'a> {
    owner: &'a str,
    log_group: &'a str,
    log_stream: &'a str,
    region: &'a str,
    head: OnceCell<Head>,
    promise: OnceCell<Promise>,
    memory: Memory,
}

/// What is reused from event to event, whatever their source.
pub struct Memory {
    calendar: Calendar,
    flow: RefCell<vpc_flow::Memory>,
    tape: RefCell<tape::Memory>,
}

impl Memory {
    const fn new() -> Self {
        let flow = RefCell::new(vpc_flow::Memory::new());
        let tape = RefCell::new(tape::Memory::new());
        Self { calendar: Calendar::new(), flow, tape }
    }
}

impl fmt::Debug for Memory {
    /// What is in it says nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Source<'a> {
    /// A log stream of a log group of an AWS account; the region is that of the Kinesis stream.
    #[must_use]
    pub const fn new(
        owner: &'a str,
        log_group: &'a str,
        log_stream: &'a str,
        region: &'a str,
    ) -> Self {
        Self {
            owner,
            log_group,
            log_stream,
            region,
            head: OnceCell::new(),
            promise: OnceCell::new(),
            memory: Memory::new(),
        }
    }

    /// The same, with what the source before has left.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// What it leaves to the next source.
    #[must_use]
    pub fn into_memory(mut self) -> Memory {
        self.memory.tape.get_mut().forget_large();
        self.memory
    }

    /// The AWS account that owns the log group.
    #[must_use]
    pub fn owner(&self) -> &'a str {
        self.owner
    }

    /// The log group.
    #[must_use]
    pub fn log_group(&self) -> &'a str {
        self.log_group
    }

    /// The log stream.
    #[must_use]
    pub fn log_stream(&self) -> &'a str {
        self.log_stream
    }

    /// The AWS region of the Kinesis stream.
    #[must_use]
    pub fn region(&self) -> &'a str {
        self.region
    }

    /// What all of its documents have behind their id: a quote, and members, each after a comma.
    pub(super) fn head(&self, with_region: bool) -> &[u8] {
        let Head { fields, without_region } = self.head.get_or_init(|| Head::of(self));
        let length = if with_region { fields.len() } else { *without_region };
        fields.get(..length).unwrap_or_default()
    }

    /// Appends what a document of that time begins with, all up to the first byte of its id.
    #[inline]
    pub(super) fn begin_document(&self, timestamp: Timestamp, out: &mut Vec<u8>) {
        self.memory.calendar.begin(timestamp, out);
    }

    /// Memory for a flow log line, with what the line before left.
    pub(super) fn flow_memory(&self) -> RefMut<'_, vpc_flow::Memory> {
        self.memory.flow.borrow_mut()
    }

    /// Memory for the tape of an event.
    pub(super) fn tape_memory(&self) -> RefMut<'_, tape::Memory> {
        self.memory.tape.borrow_mut()
    }

    /// What the log group's name promises.
    pub(super) fn promise(&self) -> Promise {
        *self.promise.get_or_init(|| Promise::of(self.log_group))
    }
}

#[derive(Clone, Debug)]
struct Head {
    fields: Vec<u8>,
    without_region: usize,
}

impl Head {
    fn of(source: &Source<'_>) -> Self {
        let mut fields = Vec::with_capacity(256);
        // Not by `writer::name`: our own names have nothing to escape.
        let mut text = |lead: &[u8], text| {
            fields.extend_from_slice(lead);
            writer::string(&mut fields, text);
            fields.len()
        };
        text(b"\",\"@owner\":", source.owner);
        text(b",\"@log_group\":", source.log_group);
        let without_region = text(b",\"@log_stream\":", source.log_stream);
        text(b",\"@aws.region\":", source.region);
        Self { fields, without_region }
    }
}
