//! What the fuzzer checks: for each target a function that panics when a promise is broken.
//!
//! Two programs have this folder as a module of theirs: the fuzzer, which makes up the inputs, and
//! the integration tests, which replay those that once broke something (`tests/samples/fuzz`).

mod bulk_answer;
mod config;
mod decode;
mod deflate;
mod document;
mod parse;

/// What takes an input.
pub(crate) type Property = fn(&[u8]);

/// Every target, by its name.
pub(crate) const TARGETS: [(&str, Property); 11] = [
    ("gunzip", decode::gunzip),
    ("aggregate", decode::aggregate),
    ("envelope", decode::envelope),
    ("cloudtrail", parse::cloudtrail),
    ("vpc_flow", parse::vpc_flow),
    ("json", parse::json),
    ("auto", parse::auto),
    ("lambda", parse::lambda),
    ("deflate", deflate::deflate),
    ("config", config::config),
    ("bulk_answer", bulk_answer::bulk_answer),
];

/// The target of this name.
pub(crate) fn target(name: &str) -> Option<Property> {
    TARGETS.iter().find(|(own, _)| *own == name).map(|(_, property)| *property)
}

/// Small decisions taken from the end of an input, so that its text stays where it is.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The last byte; 0 when nothing is left.
    fn byte(&mut self) -> u8 {
        let (last, rest) = self.0.split_last().unwrap_or((&0, &[]));
        self.0 = rest;
        *last
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end.max(1)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}
