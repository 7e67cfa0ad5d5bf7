//! Where a log event comes from.

use std::cell::{OnceCell, RefCell, RefMut};

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
    calendar: Calendar,
    flow: RefCell<Option<Box<vpc_flow::Memory>>>,
    tape: RefCell<tape::Memory>,
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
            calendar: Calendar::new(),
            flow: RefCell::new(None),
            tape: RefCell::new(tape::Memory::new()),
        }
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

    /// What all of its documents begin with, but for their time and id: members, each after a comma.
    pub(super) fn head(&self, with_region: bool) -> &[u8] {
        let Head { fields, without_region } = self.head.get_or_init(|| Head::of(self));
        let length = if with_region { fields.len() } else { *without_region };
        fields.get(..length).unwrap_or_default()
    }

    /// Appends a timestamp as a JSON string.
    #[inline]
    pub(super) fn write_time(&self, timestamp: Timestamp, out: &mut Vec<u8>) {
        self.calendar.write(timestamp, out);
    }

    /// What reading the flow log line before left.
    pub(super) fn flow_memory(&self) -> Box<vpc_flow::Memory> {
        self.flow.take().unwrap_or_default()
    }

    /// Keeps it for the next line.
    pub(super) fn keep_flow_memory(&self, memory: Box<vpc_flow::Memory>) {
        self.flow.replace(Some(memory));
    }

    /// Memory for the tape of an event.
    pub(super) fn tape_memory(&self) -> RefMut<'_, tape::Memory> {
        self.tape.borrow_mut()
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
        let mut text = |name, text| {
            writer::name(&mut fields, name);
            writer::string(&mut fields, text);
            fields.len()
        };
        text("@owner", source.owner);
        text("@log_group", source.log_group);
        let without_region = text("@log_stream", source.log_stream);
        text("@aws.region", source.region);
        Self { fields, without_region }
    }
}
