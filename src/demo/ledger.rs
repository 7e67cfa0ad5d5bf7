//! What was generated and what must become of it, and the check that it did: every event in
//! exactly one place, and nothing that was never sent.
//!
//! An entry is 32 bytes, so that a million events cost 32 MB.

use crate::demo::log_group::LogGroup;
use crate::event::Timestamp;

/// What every CloudWatch Logs id of the demo begins with: the other 38 of the 56 digits fit into
/// a `u128`.
pub(super) const ID_PREFIX: &str = "384809178650426972";

const ID_DIGITS: usize = 56;
const EXAMPLES: usize = 10;

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedFate {
    /// It is in the index of its log group and day.
    Delivered,
    /// It is in the index of its log group for times that cannot be.
    DeliveredUndated,
    /// The destination refuses it, and it is a dead letter.
    DeadLettered,
    /// No destination ever sees it.
    Filtered,
}

/// One event, and what must become of it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Where it was logged, which says its route and index.
    pub group: LogGroup,
    /// What must become of it.
    pub fate: ExpectedFate,
    /// The time of its document.
    pub time: Timestamp,
    /// CloudTrail's GUID, or the last 38 digits of the CloudWatch Logs id.
    pub(super) id: u128,
}

impl Expected {
    /// The `_id` of its document.
    #[must_use]
    pub fn document_id(&self) -> String {
        let id = self.id;
        match self.group {
            LogGroup::CloudTrail => guid(id),
            LogGroup::Flow
            | LogGroup::EdgeFlow
            | LogGroup::Checkout
            | LogGroup::Web
            | LogGroup::Trace => format!("{ID_PREFIX}{id:038}"),
        }
    }

    fn key(&self) -> Key {
        (self.group == LogGroup::CloudTrail, self.id)
    }

    /// The name of the index that its document must be in.
    fn index(&self) -> Option<String> {
        let stem = self.group.index_stem()?;
        match self.fate {
            ExpectedFate::DeliveredUndated => Some(format!("{stem}-undated")),
            ExpectedFate::Delivered | ExpectedFate::DeadLettered => {
                let date = self.time.date()?;
                Some(format!("{stem}-{:04}.{:02}.{:02}", date.year(), date.month(), date.day()))
            }
            ExpectedFate::Filtered => None,
        }
    }
}

/// Whether it is a GUID, and its number.
type Key = (bool, u128);

/// Reads a document id back; none when the generator writes no such ids.
fn key_of(document_id: &str) -> Option<Key> {
    if document_id.len() == 36 {
        let number = u128::from_str_radix(&document_id.replace('-', ""), 16).ok()?;
        return (guid(number) == document_id).then_some((true, number));
    }
    let digits = document_id.strip_prefix(ID_PREFIX)?;
    let own = document_id.len() == ID_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((false, digits.parse().ok().filter(|_| own)?))
}

/// A GUID as CloudTrail writes it.
fn guid(number: u128) -> String {
    let mut text = format!("{number:032x}");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

/// Everything that was generated.
#[derive(Debug, Default)]
pub struct Ledger {
    events: Vec<Expected>,
    /// Kinesis records of every kind.
    pub records: u64,
    /// Of these, control messages.
    pub control: u64,
    /// Of these, records that nobody can decode; each must be one dead letter.
    pub undecodable: u64,
    /// Events whose message is not in their route's format; delivered, with `@parse_error`.
    pub parse_errors: u64,
    /// Plain lines of the Lambda platform in the JSON log group; delivered. With `parse = "json"`
    /// they are parse errors too, with `parse = "auto"` they are not.
    pub plain_in_json: u64,
}

impl Ledger {
    /// Notes an event.
    pub fn note(&mut self, event: Expected) {
        self.events.push(event);
    }

    /// Every event, in the order generated.
    #[must_use]
    pub fn events(&self) -> &[Expected] {
        &self.events
    }

    /// How many events must meet this fate.
    #[must_use]
    pub fn count(&self, fate: ExpectedFate) -> u64 {
        self.events.iter().filter(|event| event.fate == fate).count() as u64
    }

    /// How many events a log group has.
    #[must_use]
    pub fn count_of(&self, group: LogGroup) -> u64 {
        self.events.iter().filter(|event| event.group == group).count() as u64
    }

    /// Compares what was found at the destination and among the dead letters with what must be
    /// there.
    #[must_use]
    pub fn reconcile(
        &self,
        found: impl Iterator<Item = FoundDocument>,
        letters: impl Iterator<Item = FoundLetter>,
    ) -> Reconciliation {
        let mut check = Check::new(&self.events);
        found.for_each(|document| check.document(&document));
        letters.for_each(|letter| check.letter(&letter));
        check.finish(self.undecodable)
    }
}

/// A document at the destination.
#[derive(Clone, Debug)]
pub struct FoundDocument {
    /// Its `_id`.
    pub id: String,
    /// The index it is in.
    pub index: String,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct FoundLetter {
    /// The `_id` its document would have; none for a record that could not be decoded.
    pub document_id: Option<String>,
    /// Why it was refused.
    pub reason: String,
}

/// What the check found; all is well when every count is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Events, and undecodable records, that are nowhere.
    pub missing: u64,
    /// Events that are in more than one place.
    pub doubled: u64,
    /// Documents and letters that should not be, or not there.
    pub unexpected: u64,
    /// The first few of them, each a line for a person.
    pub examples: Vec<String>,
}

impl Reconciliation {
    /// Every event is where it must be, once, and nothing else is.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.unexpected == 0
    }
}

/// The check under way.
struct Check<'a> {
    events: Vec<(&'a Expected, Seen)>,
    undecodable: u64,
    result: Reconciliation,
}

/// Where an event was found so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    document: bool,
    letter: bool,
    doubled: bool,
}

impl<'a> Check<'a> {
    fn new(events: &'a [Expected]) -> Self {
        let mut events: Vec<_> = events.iter().map(|event| (event, Seen::default())).collect();
        events.sort_unstable_by_key(|(event, _)| event.key());
        Self { events, undecodable: 0, result: Reconciliation::default() }
    }

    fn document(&mut self, found: &FoundDocument) {
        let FoundDocument { id, index } = found;
        let Some((event, seen)) = self.find(id) else {
            return self.unexpected(|| format!("{id} in {index} was never sent"));
        };
        if !self.first_of(event, seen, Seen { document: true, ..seen }, index) {
            return;
        }
        let group = event.group;
        match event.fate {
            ExpectedFate::Delivered | ExpectedFate::DeliveredUndated => {
                let own = event.index().unwrap_or_default();
                if own != *index {
                    let text = || format!("{id} of {group} is in {index}, belongs in {own}");
                    self.unexpected(text);
                }
            }
            ExpectedFate::DeadLettered => {
                let text = || format!("{id} of {group} is in {index}, should be a dead letter");
                self.unexpected(text);
            }
            ExpectedFate::Filtered => {
                self.unexpected(|| format!("{id} of {group} is in {index}, should be filtered"));
            }
        }
    }

    fn letter(&mut self, found: &FoundLetter) {
        let FoundLetter { document_id, reason } = found;
        let Some(id) = document_id else {
            self.undecodable += 1;
            return;
        };
        let Some((event, seen)) = self.find(id) else {
            return self.unexpected(|| format!("the dead letter {id} ({reason}) was never sent"));
        };
        let first = self.first_of(event, seen, Seen { letter: true, ..seen }, "the dead letters");
        let group = event.group;
        if first && event.fate != ExpectedFate::DeadLettered {
            let text = || format!("{id} of {group} is a dead letter ({reason}), should not be");
            self.unexpected(text);
        }
    }

    fn find(&self, document_id: &str) -> Option<(&'a Expected, Seen)> {
        let at = self.place(key_of(document_id)?)?;
        self.events.get(at).copied()
    }

    fn place(&self, key: Key) -> Option<usize> {
        self.events.binary_search_by_key(&key, |(event, _)| event.key()).ok()
    }

    /// Notes that the event was seen, and whether that was the first time; an event in three
    /// places is doubled once.
    fn first_of(&mut self, event: &Expected, before: Seen, now: Seen, place: &str) -> bool {
        let first = !before.document && !before.letter;
        if !first && !before.doubled {
            self.result.doubled += 1;
            self.example(|| format!("{} is once more in {place}", event.document_id()));
        }
        if let Some(entry) = self.place(event.key()).and_then(|at| self.events.get_mut(at)) {
            entry.1 = Seen { doubled: !first, ..now };
        }
        first
    }

    fn finish(mut self, undecodable: u64) -> Reconciliation {
        for (event, seen) in std::mem::take(&mut self.events) {
            let due = event.fate != ExpectedFate::Filtered;
            if due && !seen.document && !seen.letter {
                self.result.missing += 1;
                let (id, group, time) = (event.document_id(), event.group, event.time);
                self.example(|| format!("{id} of {group}, {time}, is nowhere"));
            }
        }
        let letters = self.undecodable;
        if letters != undecodable {
            self.result.missing += undecodable.saturating_sub(letters);
            self.result.unexpected += letters.saturating_sub(undecodable);
            self.example(|| {
                format!("{undecodable} undecodable records became {letters} dead letters")
            });
        }
        self.result
    }

    fn unexpected(&mut self, line: impl FnOnce() -> String) {
        self.result.unexpected += 1;
        self.example(line);
    }

    fn example(&mut self, line: impl FnOnce() -> String) {
        if self.result.examples.len() < EXAMPLES {
            self.result.examples.push(line());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_725_537_600_000);

    /// One event of each fate, and one undecodable record.
    fn ledger() -> Ledger {
        let mut ledger = Ledger { undecodable: 1, ..Ledger::default() };
        for (id, group, fate) in [
            (7, LogGroup::CloudTrail, ExpectedFate::Delivered),
            (7, LogGroup::Web, ExpectedFate::Delivered),
            (8, LogGroup::Web, ExpectedFate::DeliveredUndated),
            (9, LogGroup::Checkout, ExpectedFate::DeadLettered),
            (10, LogGroup::Trace, ExpectedFate::Filtered),
        ] {
            ledger.note(Expected { group, fate, time: NOON, id });
        }
        ledger
    }

    fn document(id: &str, index: &str) -> FoundDocument {
        FoundDocument { id: id.to_owned(), index: index.to_owned() }
    }

    fn cwl(id: u128) -> String {
        format!("{ID_PREFIX}{id:038}")
    }

    fn delivered() -> Vec<FoundDocument> {
        vec![
            document("00000000-0000-0000-0000-000000000007", "cloudtrail-2024.09.05"),
            document(&cwl(7), "web-2024.09.05"),
            document(&cwl(8), "web-undated"),
        ]
    }

    fn letter(document_id: Option<String>) -> FoundLetter {
        FoundLetter { document_id, reason: "too_large".to_owned() }
    }

    fn letters() -> Vec<FoundLetter> {
        vec![letter(Some(cwl(9))), letter(None)]
    }

    fn check(documents: Vec<FoundDocument>, letters: Vec<FoundLetter>) -> Reconciliation {
        ledger().reconcile(documents.into_iter(), letters.into_iter())
    }

    /// Missing, doubled and unexpected.
    fn counts(result: &Reconciliation) -> (u64, u64, u64) {
        (result.missing, result.doubled, result.unexpected)
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Expected>(), 32);
    }

    #[test]
    fn all_in_its_place_is_clean() {
        let result = check(delivered(), letters());
        assert!(result.is_clean() && result.examples.is_empty(), "{result:?}");
    }

    #[test]
    fn what_is_nowhere_is_missing() {
        let result = check(delivered().split_off(1), Vec::new());
        assert_eq!(counts(&result), (3, 0, 0), "a document, a letter and a record: {result:?}");
        let line = "00000000-0000-0000-0000-000000000007 of aws-cloudtrail-logs-111122223333-demo, \
                    2024-09-05T12:00:00.000Z, is nowhere";
        assert!(result.examples.contains(&line.to_owned()), "{result:?}");
    }

    #[test]
    fn an_id_in_two_indices_is_doubled_and_counted_once() {
        let mut documents = delivered();
        documents.push(document(&cwl(7), "web-2024.09.06"));
        documents.push(document(&cwl(7), "web-2024.09.07"));
        let result = check(documents, letters());
        assert_eq!(counts(&result), (0, 1, 0), "{result:?}");
    }

    #[test]
    fn delivered_and_dead_lettered_is_doubled() {
        let mut both = letters();
        both.push(letter(Some(cwl(7))));
        let result = check(delivered(), both);
        assert_eq!(counts(&result), (0, 1, 0), "{result:?}");
    }

    #[test]
    fn what_was_never_sent_is_unexpected() {
        let mut documents = delivered();
        documents.extend(
            ["x", &cwl(11), "00000000-0000-0000-0000-00000000000A"]
                .map(|id| document(id, "web-2024.09.05")),
        );
        let mut unknown = letters();
        unknown.push(letter(Some(cwl(12))));
        unknown.push(letter(None));
        let result = check(documents, unknown);
        assert_eq!(counts(&result), (0, 0, 5), "{result:?}");
    }

    #[test]
    fn the_wrong_fate_is_unexpected_and_not_missing() {
        let mut documents = delivered();
        documents.remove(1);
        documents.push(document(&cwl(9), "checkout-2024.09.05"));
        documents.push(document(&cwl(10), "web-2024.09.05"));
        let result = check(documents, vec![letter(Some(cwl(7))), letter(None)]);
        assert_eq!(counts(&result), (0, 0, 3), "{result:?}");
    }

    #[test]
    fn the_wrong_index_is_unexpected() {
        let mut documents = delivered();
        documents[1].index = "web-2024.09.06".to_owned();
        documents[2].index = "web-2024.09.05".to_owned();
        let result = check(documents, letters());
        assert_eq!(counts(&result), (0, 0, 2), "{result:?}");
        assert!(result.examples[0].ends_with("is in web-2024.09.06, belongs in web-2024.09.05"));
    }

    #[test]
    fn ten_examples_are_enough() {
        let many = (100..200).map(|id| document(&cwl(id), "web-2024.09.05"));
        let result = ledger().reconcile(many, std::iter::empty());
        assert_eq!((result.unexpected, result.examples.len()), (100, 10));
    }
}
