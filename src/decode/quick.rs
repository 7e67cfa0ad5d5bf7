//! Reads envelopes in one pass over their text, as CloudWatch Logs writes them: no value is looked at
//! twice, and text is copied only where it has escapes, into memory that is reused.
//!
//! It gives up on whatever is not surely an envelope or not usually in one. Then [`subscription`] reads
//! the same text anew, and decides; that both read alike is tested.
//!
//! [`subscription`]: super::subscription

use std::borrow::Cow;
use std::iter;

use serde_json::value::RawValue;

use crate::event::{ID_DIGITS, Timestamp};
use crate::scan;

use super::subscription::{Decoded, Envelope, LogEvent, Marks};
use super::unescape::unescape;

/// No event has less in an envelope, roughly: a short line of a flow log.
const BYTES_OF_EVENT: usize = 192;

/// As many as its times have, from 2001 to 2286.
const TIME_DIGITS: usize = 13;

/// A bit for each of these.
const ALL_OF_TIME: u32 = (1 << TIME_DIGITS) - 1;

/// Room for no more is made before they are read: what is larger than 128 KiB, malloc takes from the
/// system and gives back each time.
const MOST_EVENTS: usize = 1024;

/// Room for what has escapes.
#[derive(Debug, Default)]
pub(super) struct Spare<'a> {
    /// For the text without them.
    pub(super) text: &'a mut [u8],
    /// For their places in it.
    pub(super) marks: &'a mut [u32],
}

/// Appends every envelope in `text`, or nothing. Text with escapes goes to `spare`. `window` is the
/// same bytes, and perhaps others behind them: who reads into these has read no envelope.
pub(super) fn read<'a>(
    (text, window): (&'a str, &'a [u8]),
    spare: &mut Spare<'a>,
    user_record: Option<u32>,
    decoded: &mut Decoded<'a>,
) -> Option<()> {
    let (envelopes, control_messages) = (decoded.envelopes.len(), decoded.control_messages);
    let mut reader = Reader { text, window, at: 0, spare: std::mem::take(spare), places: &[] };
    let read = reader.envelopes(user_record, decoded);
    *spare = reader.spare;
    if read.is_none() {
        decoded.envelopes.truncate(envelopes);
        decoded.control_messages = control_messages;
    }
    read
}

struct Reader<'a> {
    text: &'a str,
    window: &'a [u8],
    at: usize,
    spare: Spare<'a>,
    /// Where the last string with escapes had them.
    places: &'a [u32],
}

/// What is known of an event while it is read.
#[derive(Default)]
struct Known<'a> {
    id: Option<&'a str>,
    timestamp: Option<i64>,
    message: Option<&'a str>,
    marks: Marks<'a>,
    extracted_fields: Option<&'a RawValue>,
}

impl<'a> Reader<'a> {
    fn envelopes(&mut self, user_record: Option<u32>, decoded: &mut Decoded<'a>) -> Option<()> {
        // A text without an envelope is an error, which is not for us to tell.
        loop {
            self.envelope(user_record, decoded)?;
            if self.peek().is_none() {
                return Some(());
            }
            // Each is given room for all the events that may come: a text of nothing but envelopes
            // without any would take fifty times its size.
            if let Some(envelope) = decoded.envelopes.last_mut() {
                envelope.log_events.shrink_to_fit();
            }
        }
    }

    fn envelope(&mut self, user_record: Option<u32>, decoded: &mut Decoded<'a>) -> Option<()> {
        let (mut kind, mut owner, mut log_group, mut log_stream) = (None, None, None, None);
        let mut log_events = None;
        // As in an event: what comes first in this order is not looked for.
        if self.skip_all(b"{\"messageType\":\"DATA_MESSAGE\",\"owner\":") {
            (kind, owner) = (Some("DATA_MESSAGE"), Some(self.string()?));
            if self.skip_all(b",\"logGroup\":") {
                log_group = Some(self.string()?);
                if self.skip_all(b",\"logStream\":") {
                    log_stream = Some(self.string()?);
                }
            }
            // More must follow: the events.
            if self.next_or_end(b'}')? {
                return None;
            }
        } else {
            self.skip(b'{')?;
        }
        self.members(|reader, key| match key {
            "messageType" => once(&mut kind, reader.string()?),
            "owner" => once(&mut owner, reader.string()?),
            "logGroup" => once(&mut log_group, reader.string()?),
            "logStream" => once(&mut log_stream, reader.string()?),
            "subscriptionFilters" => reader.elements(|reader| reader.string().map(drop)),
            "logEvents" => {
                let mut events = Vec::with_capacity(reader.events_to_come());
                reader.elements(|reader| reader.log_event(&mut events))?;
                once(&mut log_events, events)
            }
            _ => None,
        })?;
        let text = |text: Option<&'a str>| text.map(Cow::Borrowed);
        match kind? {
            "DATA_MESSAGE" => decoded.envelopes.push(Envelope {
                owner: text(owner)?,
                log_group: text(log_group)?,
                log_stream: text(log_stream)?,
                user_record,
                log_events: log_events?,
            }),
            "CONTROL_MESSAGE" => decoded.control_messages += 1,
            _ => return None,
        }
        Some(())
    }

    /// As many events as the rest of the text may have, so that room for them need not grow.
    fn events_to_come(&self) -> usize {
        ((self.text.len() - self.at) / BYTES_OF_EVENT).min(MOST_EVENTS)
    }

    fn log_event(&mut self, events: &mut Vec<LogEvent<'a>>) -> Option<()> {
        let Some((id, timestamp)) = self.usual_beginning() else {
            self.skip(b'{')?;
            events.push(self.others(Known::default())?);
            return Some(());
        };
        let (message, marks) = self.inside()?;
        let marks = marks.with_number();
        if !self.next_or_end(b'}')? {
            let (id, timestamp, message) = (Some(id), Some(timestamp), Some(message));
            let known = Known { id, timestamp, message, marks, extracted_fields: None };
            events.push(self.others(known)?);
            return Some(());
        }
        // Made where it stays. What is pushed is made before there is room for it, and moving it means to
        // wait: sixteen bytes that were just written as two times eight cannot be read together at once.
        events.extend(iter::once_with(|| LogEvent {
            id: Cow::Borrowed(id),
            timestamp: Some(Timestamp(timestamp)),
            message: Cow::Borrowed(message),
            marks,
            extracted_fields: None,
        }));
        Some(())
    }

    /// The id and the time of an event that begins as all do that CloudWatch Logs writes, up to the first
    /// quote of the message: then each is where it is in all others.
    #[inline(always)]
    fn usual_beginning(&mut self) -> Option<(&'a str, i64)> {
        const ID: usize = b"{\"id\":\"".len();
        const TIME: usize = ID + ID_DIGITS + b"\",\"timestamp\":".len();
        const MESSAGE: usize = TIME + TIME_DIGITS;
        const END: usize = MESSAGE + b",\"message\":\"".len();
        let rest = self.rest()?;
        let bytes: &[u8; END] = rest.as_bytes().first_chunk()?;
        let time = bytes.get(TIME..)?.first_chunk()?;
        let is_usual = bytes.starts_with(b"{\"id\":\"")
            && bytes.get(ID + ID_DIGITS..TIME)? == b"\",\"timestamp\":"
            && bytes.get(MESSAGE..)? == b",\"message\":\""
            && scan::all_digits(bytes.get(ID..ID + ID_DIGITS)?)
            && scan::digits(time) & ALL_OF_TIME == ALL_OF_TIME
            // Leading zeros are no JSON.
            && time.first() != Some(&b'0');
        if !is_usual {
            return None;
        }
        let id = rest.get(ID..ID + ID_DIGITS)?;
        let timestamp = i64::try_from(scan::number(time, TIME_DIGITS)).ok()?;
        self.at += END;
        Some((id, timestamp))
    }

    /// An event of which members are left. Apart, so that what is known of all others is in no memory
    /// before it is in the event.
    #[inline(never)]
    fn others(&mut self, mut known: Known<'a>) -> Option<LogEvent<'a>> {
        self.members(|reader, key| match key {
            "id" => once(&mut known.id, reader.string()?),
            "timestamp" => once(&mut known.timestamp, reader.whole_number()?),
            "message" => {
                let text;
                (text, known.marks) = reader.marked()?;
                once(&mut known.message, text)
            }
            "extractedFields" => once(&mut known.extracted_fields, reader.any()?),
            _ => None,
        })?;
        Some(LogEvent {
            id: Cow::Borrowed(known.id.unwrap_or_default()),
            timestamp: known.timestamp.map(Timestamp),
            message: Cow::Borrowed(known.message?),
            marks: known.marks,
            extracted_fields: known.extracted_fields,
        })
    }

    /// The members of an object, or those that are left of it, of which `read` reads the values.
    fn members(&mut self, mut read: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        loop {
            let key = self.string()?;
            self.skip(b':')?;
            read(self, key)?;
            if self.next_or_end(b'}')? {
                return Some(());
            }
        }
    }

    /// The elements of an array, each of which `read` reads.
    fn elements(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            read(self)?;
            if self.next_or_end(b']')? {
                return Some(());
            }
        }
    }

    /// Whether the closing byte is next; else a comma must be.
    fn next_or_end(&mut self, closing: u8) -> Option<bool> {
        let next = self.peek()?;
        self.at += 1;
        (next == closing || next == b',').then_some(next == closing)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Skips exactly this, if it is next.
    fn skip_all<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        let rest = self.text.as_bytes().get(self.at..).and_then(|rest| rest.first_chunk());
        let is_next = rest == Some(bytes);
        self.at += if is_next { N } else { 0 };
        is_next
    }

    fn rest(&self) -> Option<&'a str> {
        self.text.get(self.at..)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.marked().map(|(text, _)| text)
    }

    /// A string, with its marks.
    fn marked(&mut self) -> Option<(&'a str, Marks<'a>)> {
        self.skip(b'"')?;
        self.inside()
    }

    /// The same, its first quote already read.
    #[inline(always)]
    fn inside(&mut self) -> Option<(&'a str, Marks<'a>)> {
        let rest = self.rest()?;
        let plain = scan::plain(rest.as_bytes());
        match rest.as_bytes().get(plain)? {
            b'"' => {
                self.at += plain + 1;
                Some((rest.get(..plain)?, Marks::plain_in(rest.as_bytes())))
            }
            b'\\' => {
                let text = self.unescaped()?;
                Some((text, Marks::new(self.places)))
            }
            _ => None,
        }
    }

    /// The rest of a string that has escapes, the first byte of it not yet read. Apart, so that what is
    /// plain is read in place.
    #[inline(never)]
    fn unescaped(&mut self) -> Option<&'a str> {
        let Spare { text, marks } = std::mem::take(&mut self.spare);
        // Where it ends behind the text, nothing more is found in that.
        let bytes = self.window.get(self.at..)?;
        let Some(unescaped) = unescape(bytes, text, marks) else {
            self.spare = Spare { text, marks };
            return None;
        };
        self.at += unescaped.read;
        let (own, text) = text.split_at_mut_checked(unescaped.written)?;
        let (own_marks, marks) = marks.split_at_mut_checked(unescaped.marks)?;
        self.spare = Spare { text, marks };
        self.places = own_marks;
        simdutf8::basic::from_utf8(own).ok()
    }

    /// A number of milliseconds as CloudWatch Logs writes it: digits, and few enough.
    fn whole_number(&mut self) -> Option<i64> {
        self.peek()?;
        let rest = self.rest()?.as_bytes();
        // No envelope ends so soon after a time.
        let chunk = rest.first_chunk()?;
        let digits = scan::digits(chunk).trailing_ones() as usize;
        // Leading zeros are no JSON.
        if !(1..=15).contains(&digits) || (digits > 1 && rest.first() == Some(&b'0')) {
            return None;
        }
        // A fraction or an exponent would follow at once.
        if !matches!(rest.get(digits)?, b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
            return None;
        }
        self.at += digits;
        i64::try_from(scan::number(chunk, digits)).ok()
    }

    /// Any value, as its text.
    fn any(&mut self) -> Option<&'a RawValue> {
        self.peek()?;
        let mut values = serde_json::Deserializer::from_str(self.rest()?).into_iter();
        let value: &RawValue = values.next()?.ok()?;
        self.at += values.byte_offset();
        // What serde reads as nothing is not extracted fields that are null.
        (value.get() != "null").then_some(value)
    }
}

/// A key that comes twice is an error, which is not for us to tell.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::decode::subscription;
    use crate::decode::unescape::WINDOW;

    /// What was read, as text to compare; none where the reader refused. What is behind the text
    /// must make no difference, however well it would go on with it.
    fn quickly(text: &str) -> Option<String> {
        let found = followed_by(text, "");
        for behind in ["\"}]}", "}]}", "\\\"\"}]}", "x"] {
            assert_eq!(followed_by(text, &behind.repeat(WINDOW)), found, "{text} {behind}");
        }
        found
    }

    fn followed_by(text: &str, behind: &str) -> Option<String> {
        let window = [text, behind].concat();
        let (mut spare, mut places) = (vec![0; window.len()], vec![0; window.len() + 64]);
        let mut spare = Spare { text: &mut spare, marks: &mut places };
        let mut decoded = Decoded::default();
        let read = read((text, window.as_bytes()), &mut spare, Some(7), &mut decoded);
        for event in decoded.envelopes.iter_mut().flat_map(|envelope| &mut envelope.log_events) {
            // The other reader has none.
            let marks = std::mem::take(&mut event.marks);
            let known = event.message.bytes().zip(0..).filter(|(byte, _)| scan::is_special(*byte));
            let known: Vec<u32> = known.map(|(_, place)| place).collect();
            assert_eq!(marks.places(), known, "{}", event.message);
            let is_number = event.id.len() == ID_DIGITS && scan::all_digits(event.id.as_bytes());
            assert!(is_number || !marks.has_number(), "{}", event.id);
        }
        assert!(read.is_some() || decoded.envelopes.is_empty() && decoded.control_messages == 0);
        read.map(|()| format!("{decoded:?}"))
    }

    fn surely(text: &str) -> Option<String> {
        let mut decoded = Decoded::default();
        subscription::read(text, Some(7), &mut decoded).ok().map(|()| format!("{decoded:?}"))
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,40}",
            "[\"\\\\/a\\n\\t\\x00-\\x1f]{0,40}",
            any::<String>(),
            Just(json!({"eventVersion": "1.09", "a": [{"b": "c"}]}).to_string()),
        ]
    }

    fn event() -> impl Strategy<Value = Value> {
        let extracted = prop_oneof![Just(None), text().prop_map(|text| Some(json!({"f": text})))];
        let id = prop_oneof!["[0-9]{55,57}", "[0-9]{56}", "[0-9]{20}.[0-9]{35}", text()];
        (id, 0..2_000_000_000_000_i64, text(), extracted).prop_map(|(id, at, text, extracted)| {
            let mut event = json!({"id": id, "timestamp": at, "message": text});
            if let Some(extracted) = extracted {
                event["extractedFields"] = extracted;
            }
            event
        })
    }

    /// Envelopes as CloudWatch Logs writes them.
    fn envelope() -> impl Strategy<Value = Value> {
        let kinds = prop_oneof![3 => Just("DATA_MESSAGE"), 1 => Just("CONTROL_MESSAGE")];
        let events = proptest::collection::vec(event(), 0..5);
        (kinds, text(), text(), events).prop_map(|(kind, group, filter, events)| {
            json!({"messageType": kind, "owner": "111122223333", "logGroup": group,
                   "logStream": "s", "subscriptionFilters": [filter, "g"], "logEvents": events})
        })
    }

    fn envelopes() -> impl Strategy<Value = String> {
        let spaced = (any::<bool>(), envelope()).prop_map(|(spaced, envelope)| {
            let pretty = format!("{envelope:#}\n");
            if spaced { pretty } else { envelope.to_string() }
        });
        proptest::collection::vec(spaced, 1..4).prop_map(|all| all.concat())
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_cloudwatch_logs_writes_is_read_and_read_alike(text in envelopes()) {
            let quick = quickly(&text);
            // Other characters than ASCII's are escaped by nobody here, and need no second look.
            prop_assert!(quick.is_some(), "given up: {}", text);
            prop_assert_eq!(quick, surely(&text));
        }

        #[test]
        fn what_is_damaged_is_read_alike_or_given_up(
            text in envelopes(), at in any::<prop::sample::Index>(), with in "[\"\\\\{}\\[\\]:,0-9a-z .\\n-]{0,3}"
        ) {
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let (before, from) = text.split_at(at);
            let next = from.chars().next().map_or(0, char::len_utf8);
            let damaged = [before, &with, from.split_at(next).1].concat();
            if let Some(quick) = quickly(&damaged) {
                prop_assert_eq!(Some(quick), surely(&damaged), "{}", damaged);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_begins_as_usual_is_read_alike_and_if_it_is_damaged_too(
            (id, time) in ("[0-9]{56}", "[1-9][0-9]{12}"), message in text(),
            at in any::<prop::sample::Index>(), with in "[\"\\\\{}:,0-9é \\n]{0,2}"
        ) {
            let message = Value::from(message);
            let event = format!(r#"{{"id":"{id}","timestamp":{time},"message":{message}}}"#);
            let (before, behind) = (
                r#"{"messageType":"DATA_MESSAGE","owner":"o","logGroup":"g","logStream":"s","logEvents":["#,
                "]}",
            );
            let text = [before, &event, behind].concat();
            prop_assert!(quickly(&text).is_some(), "given up: {}", text);
            prop_assert_eq!(quickly(&text), surely(&text));
            // Where all is as usual but for one byte.
            let at = at.index(r#"{"id":"","timestamp":,"message":"#.len() + id.len() + time.len());
            let (begin, rest) = event.split_at(at);
            let damaged = [before, begin, &with, rest.split_at(1).1, behind].concat();
            if let Some(quick) = quickly(&damaged) {
                prop_assert_eq!(Some(quick), surely(&damaged), "{}", damaged);
            }
        }
    }

    #[test]
    fn an_id_that_is_a_number_is_seen_as_one() {
        for (id, is_number) in [("4", true), ("x", false)] {
            for (digits, is_whole) in [(54, false), (55, true), (56, false)] {
                let id = "3".repeat(digits) + id;
                let envelope = format!(
                    r#"{{"messageType":"DATA_MESSAGE","owner":"o","logGroup":"g","logStream":"s","logEvents":[{{"id":"{id}","timestamp":1769731200000,"message":"m"}}]}}"#
                );
                let mut decoded = Decoded::default();
                read((&envelope, envelope.as_bytes()), &mut Spare::default(), None, &mut decoded)
                    .unwrap();
                let event = &decoded.envelopes[0].log_events[0];
                assert_eq!(event.id, id);
                assert_eq!(event.marks.has_number(), is_number && is_whole, "{id}");
            }
        }
    }

    #[test]
    fn what_is_not_surely_right_is_left_to_the_other_reader() {
        let good = r#"{"messageType":"DATA_MESSAGE","owner":"o","logGroup":"g","logStream":"s","logEvents":[{"id":"1","timestamp":5,"message":"m"}]}"#;
        assert!(quickly(good).is_some());
        for (old, new) in [
            ("\"1\"", "1"),
            (":5", ":05"),
            (":5", ":-5"),
            (":5", ":5.0"),
            (":5", ":\"5\""),
            ("\"m\"", "\"\\ud83d\\ude00\""),
            ("\"m\"", "\"\\ud800\""),
            ("\"m\"", "\"m\n\""),
            ("\"m\"", "\"m\",\"message\":\"n\""),
            ("\"m\"", "\"m\",\"new\":1"),
            ("\"owner\"", "\"new\""),
            ("DATA_", "NEW_"),
            ("}]}", "}]},"),
            ("}]}", "},]}"),
            ("{\"id\"", "{,\"id\""),
        ] {
            assert_eq!(quickly(&good.replace(old, new)), None, "{new}");
        }
        assert_eq!(quickly(""), None);
    }
}
