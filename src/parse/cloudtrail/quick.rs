//! CloudTrail events whose tokens are on a tape: nearly all of an event is copied at once, from the
//! first field that needs no change to the last.
//!
//! [`Quick::read`] gives up where there is more to decide; the event is then read and written field by
//! field. That both make the same document is tested.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::event::Timestamp;
use crate::parse::document::Document;
use crate::parse::schema::FieldType;
use crate::parse::tape::{self, Place, Tape, Token, Value};

use super::leaves::{Found, ROOTS};
use super::names::Names;
use super::{FLAGS, OPEN, SCALARS, Wanted, instant, may_be_at_root, write_source_ip};

/// What a field is known for.
struct Known {
    /// Its type, or that it can hold anything.
    ty: Option<FieldType>,
    wanted: Option<Wanted>,
}

static KNOWN: LazyLock<Names<Known, 128>> = LazyLock::new(|| {
    let scalars = SCALARS.iter().map(|(name, ty)| (*name, Some(*ty)));
    let flags = FLAGS.iter().map(|name| (*name, Some(FieldType::Keyword)));
    let open = OPEN.iter().map(|name| (*name, None));
    let mut known = Names::default();
    for (name, ty) in scalars.chain(flags).chain(open) {
        let wanted = Wanted::ALL.into_iter().find(|wanted| wanted.name() == name);
        known.put(name, Known { ty, wanted });
    }
    known
});

/// An event on a tape.
#[derive(Debug)]
pub(super) struct Quick<'a> {
    tape: Tape<'a>,
    looked: Looked,
}

/// What a look at every field has found.
#[derive(Debug, Default)]
struct Looked {
    /// A bit for each field, by its place, that must be kept as text.
    as_text: u64,
    /// `eventTime`, where it is a time.
    time: Option<Timestamp>,
    /// The values of those that are wanted.
    wanted: [Option<Place>; Wanted::ALL.len()],
}

impl<'a> Quick<'a> {
    /// Takes an object of which every field can be copied or kept as text; else gives it back.
    pub(super) fn read(tape: Tape<'a>) -> Result<Box<Self>, Tape<'a>> {
        match look(&tape) {
            Some(looked) => Ok(Box::new(Self { tape, looked })),
            None => Err(tape),
        }
    }

    /// One of the wanted fields.
    pub(super) fn get(&self, wanted: Wanted) -> Option<Value<'_, 'a>> {
        self.looked.wanted.get(wanted as usize)?.map(|place| self.tape.value(place))
    }

    /// The text of one of the wanted fields.
    pub(super) fn text(&self, wanted: Wanted) -> Option<Cow<'a, str>> {
        self.get(wanted)?.text().map(Cow::Borrowed)
    }

    /// `eventTime`, where it is a time.
    pub(super) const fn time(&self) -> Option<Timestamp> {
        self.looked.time
    }

    /// Gives its memory to the next one.
    pub(super) fn give_back(&mut self, memory: &mut tape::Memory) {
        self.tape.give_back(memory);
    }

    pub(super) fn write(&self, document: &mut Document<'_>) {
        let (text, root) = (self.tape.text(), self.tape.root());
        // Inside of the braces.
        let (mut from, end) = (1, text.len() - 1);
        if self.looked.as_text != 0 {
            for (place, member) in root.members().enumerate() {
                if self.looked.as_text >> place & 1 == 1 {
                    document.members(text.get(from..member.begin() - 1).unwrap_or_default());
                    document.kept_as_text(member.name(), member.value().json());
                    from = member.value().span().1 + 1;
                }
            }
        }
        document.members(text.get(from..end).unwrap_or_default());
        let mut found = Found::in_text(text);
        for root in ROOTS.iter() {
            if let Some(value) = self.get(root.wanted) {
                found.collect(value, root);
            }
        }
        found.write(document);
        if let Some(address) = self.get(Wanted::SourceIpAddress).and_then(Value::text) {
            write_source_ip(address, document);
        }
    }
}

/// None where there is more to decide.
fn look(tape: &Tape<'_>) -> Option<Looked> {
    let (root, known_names) = (tape.root(), &*KNOWN);
    let mut looked = Looked::default();
    for (place, member) in root.members().enumerate() {
        let value = member.value();
        let token = value.token();
        let fits = match known_names.find(member) {
            Some(known) => {
                if let Some(wanted) = known.wanted {
                    *looked.wanted.get_mut(wanted as usize)? = Some(value.place());
                }
                let open = token == Token::Object;
                token == Token::Null
                    || known.ty.map_or(Some(open), |ty| looked.has_type(ty, known, value))?
            }
            None if !may_be_at_root(member.name(), |name| root.get(name).is_some()) => return None,
            None => token != Token::Array,
        };
        looked.as_text |= u64::from(!fits).checked_shl(u32::try_from(place).ok()?)?;
    }
    Some(looked)
}

impl Looked {
    /// None for text with escapes where these would have to be read.
    fn has_type(&mut self, ty: FieldType, known: &Known, value: Value<'_, '_>) -> Option<bool> {
        let token = value.token();
        if known.wanted.is_some() && token == (Token::Text { escaped: true }) {
            return None;
        }
        Some(match ty {
            FieldType::Boolean => token == Token::Boolean,
            FieldType::Date => {
                // No other field has this type.
                self.time = value.text().and_then(instant);
                self.time.is_some()
            }
            FieldType::Keyword => matches!(token, Token::Text { .. }),
            FieldType::Text
            | FieldType::TextAndKeyword
            | FieldType::Long
            | FieldType::Integer
            | FieldType::Ip
            | FieldType::DateEpochSecond
            | FieldType::Open
            | FieldType::Kept => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::decode::Marks;
    use crate::parse::Source;
    use crate::parse::cloudtrail::LEAVES;
    use crate::parse::cloudtrail::{Event, Fields};
    use crate::parse::object::Object;
    use crate::parse::tests::made_up;

    fn document(fields: Fields<'_>) -> String {
        let event = Event::of(fields, true);
        let source = Source::new("1", "g", "s", "r");
        let mut out = Vec::new();
        let mut document = Document::begin(&mut out, &source, true, Timestamp(0), ("1", false));
        event.write(&mut document);
        let written = document.end();
        format!(
            "{:?} {:?} {:?} {written:?} {}",
            event.time(),
            event.time_as_it_came(),
            event.guid(),
            String::from_utf8(out).unwrap()
        )
    }

    /// Whether the event was read quickly; then both ways must make the same of it.
    fn is_quick(message: &str) -> bool {
        let tape = Tape::read(message, Marks::default(), &mut tape::Memory::new());
        let Some(tape) = tape else { return false };
        let object = Object::read(message).expect("a tape is of valid JSON alone");
        let Ok(quick) = Quick::read(tape) else { return false };
        assert_eq!(document(Fields::Quick(quick)), document(Fields::Any(object)), "{message}");
        true
    }

    fn name() -> BoxedStrategy<String> {
        let known = SCALARS.iter().map(|(name, _)| *name).chain(OPEN).chain(FLAGS);
        let inner = LEAVES.iter().flat_map(|(_, leaves)| leaves.iter().flat_map(|leaf| leaf.path));
        let all: Vec<_> = known.chain(inner.copied()).map(str::to_owned).collect();
        let odd = ["message", "@id", "_id", "a.b", "resources_text", ""].map(str::to_owned);
        prop_oneof![
            12 => prop::sample::select(all),
            2 => "[a-z]{1,4}",
            1 => prop::sample::select(odd.to_vec()),
        ]
        .boxed()
    }

    proptest! {
        // What fails is written down as a test, not as a seed.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_event_makes_the_same_document_both_ways(event in made_up::object(name())) {
            is_quick(&event);
        }

        #[test]
        fn a_damaged_event_makes_the_same_document_both_ways(event in made_up::damaged(name())) {
            is_quick(&event);
        }
    }

    #[test]
    fn an_ordinary_event_is_quick() {
        let event = json!({
            "eventVersion": "1.09", "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::1:x/y",
                "sessionContext": {"sessionIssuer": {"arn": "arn:z"}, "attributes": {"mfaAuthenticated": "false"}}},
            "eventTime": "2023-07-10T11:42:36Z", "eventName": "RunInstances", "sourceIPAddress": "203.0.113.7",
            "requestParameters": {"instancesSet": {"items": [{"instanceId": "i-2"}, {"instanceId": "i-1"}]}},
            "responseElements": null, "readOnly": false, "userAgent": "a \"b\" \\u003c",
            "resources": [{"ARN": "arn:a", "type": "b"}, {"ARN": "arn:c"}], "newField": {"a": 1}, "newList": [1],
            "eventID": "293ba626-3be5-4a26-ab1b-0f4c54f49959", "recipientAccountId": 12,
        });
        assert!(is_quick(&event.to_string()));
        let with = |old: &str, new: &str| event.to_string().replace(old, new);
        assert!(is_quick(&with("\"1.09\"", "1.09")));
        for (old, new) in [
            ("\"eventName\"", " \"eventName\""),
            ("\"eventName\"", "\"event\\u004eame\""),
            ("2023-07", "2023\\u002d07"),
            ("newField", "new.Field"),
            ("newField", "resources_text"),
            ("\"instanceId\":\"i-2\"", "\"instanceId\":\"i-2\",\"instanceId\":\"i-3\""),
            ("\"i-2\"", "\"\\ud83d\\ude00\""),
            ("\"i-2\"", &format!("\"{}\"", "x".repeat(9_000))),
            ("\"i-2\"", &format!("{}1{}", "[".repeat(20), "]".repeat(20))),
        ] {
            let odd = with(old, new);
            assert_ne!(odd, event.to_string());
            assert!(!is_quick(&odd), "{odd}");
        }
    }
}
