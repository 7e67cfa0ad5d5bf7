//! What every document must be, whatever it was made of.

use std::borrow::Cow;

use logweir::decode::{LogEvent, Marks};
use logweir::event::Timestamp;
use logweir::parse::{Kind, Parser, Source, Stamp};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[path = "../../../../src/parse/tests/same.rs"]
mod same;
pub(super) use same::same;

const CWL_ID: &str = "38480917865042697267627490045603633139480491071049695232";

/// Where an engine stops to take an id.
const LONGEST_ID: usize = 512;

/// When the record of the event arrived.
const ARRIVAL: Timestamp = Timestamp(1_700_000_000_123);

/// An event as the fuzzer makes one: parts between NUL bytes, all but the first optional.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) message: String,
    pub(super) extracted: Option<Box<RawValue>>,
    pub(super) log_group: String,
    id: String,
    timestamp: Option<i64>,
}

impl Event {
    pub(super) fn new(data: &[u8]) -> Self {
        let mut parts = data.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut next = || parts.next().unwrap_or_default().into_owned();
        let (message, extracted, log_group) = (next(), next(), next());
        let (id, timestamp) = (next(), next());
        let extracted: Option<Box<RawValue>> = serde_json::from_str(&extracted).ok();
        Self {
            message,
            // To the decoder that is none.
            extracted: extracted.filter(|json| json.get() != "null"),
            log_group,
            id: if id.is_empty() { CWL_ID.to_owned() } else { id },
            timestamp: timestamp.parse().ok(),
        }
    }

    /// The same event with another message.
    pub(super) fn saying(&self, message: String) -> Self {
        Self { message, ..self.clone() }
    }

    pub(super) fn log_event(&self) -> LogEvent<'_> {
        LogEvent {
            id: Cow::Borrowed(&self.id),
            timestamp: self.timestamp.map(Timestamp),
            message: Cow::Borrowed(&self.message),
            marks: Marks::default(),
            extracted_fields: self.extracted.as_deref(),
        }
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source::new("111122223333", &self.log_group, "a\"\n\\", "eu-central-1")
    }

    /// What the event becomes, after all that holds for every document was checked.
    pub(super) fn written(&self, parser: &Parser) -> (Kind, String) {
        let (source, event) = (self.source(), self.log_event());
        let parsed = parser.read(&source, &event);
        let id = parsed.document_id(&source);
        assert!((1..=LONGEST_ID).contains(&id.len()), "{id}");
        let time = parsed.time();
        let undated = time.is_some_and(|time| time.0 < 0 || time > ARRIVAL);
        let stamp = Stamp { timestamp: time.unwrap_or(ARRIVAL), undated };
        let mut out = b"{\"create\":{}}\n".to_vec();
        parsed.write(&source, stamp, &mut out);
        let body = String::from_utf8(out).unwrap();
        let document = body.strip_prefix("{\"create\":{}}\n").unwrap();
        assert_good(document, parsed.kind());
        self.assert_begins_with_ours(document, stamp, parsed.kind());
        if parsed.kind() == Kind::Plain {
            let plain = pairs(document);
            let value = |name| plain.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
            assert_eq!(value("message").and_then(text_of).as_ref(), Some(&self.message));
            assert_eq!(value("@parse_error").is_some(), parsed.parse_error().is_some());
        }
        (parsed.kind(), document.to_owned())
    }

    fn assert_begins_with_ours(&self, document: &str, stamp: Stamp, kind: Kind) {
        let pairs = pairs(document);
        let text = |at: usize| (&*pairs[at].0, text_of(pairs[at].1).unwrap());
        let source = self.source();
        for (at, expected) in [
            ("@timestamp", &*stamp.timestamp.to_string()),
            ("@id", &self.id),
            ("@owner", source.owner()),
            ("@log_group", source.log_group()),
            ("@log_stream", source.log_stream()),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(text(at), (expected.0, expected.1.to_owned()));
        }
        let value = |name| pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.get());
        assert!(!stamp.undated || value("@original_time").is_some(), "no time in {document}");
        if kind == Kind::Lambda {
            return;
        }
        assert_eq!(text(5), ("@aws.region", source.region().to_owned()));
        if let Some(extracted) = self.extracted.as_deref().map(RawValue::get) {
            let kept = value("@extracted_text").map(|json| serde_json::from_str(json).unwrap());
            let as_it_came = value("@extracted").is_some_and(|own| same(own, extracted));
            assert!(as_it_came || kept == Some(extracted.to_owned()), "{extracted} is lost");
        }
    }
}

/// Every name of an object, the same one twice included, and the raw values.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

pub(super) fn pairs(json: &str) -> Vec<(String, &RawValue)> {
    try_pairs(json).expect(json)
}

pub(super) fn try_pairs(json: &str) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_str(json).ok().map(|Pairs(pairs)| pairs)
}

/// The text that a value is; none when it is something else.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Fails unless `json` is valid, on one line, and has no name twice in any object.
fn assert_good(json: &str, kind: Kind) {
    assert!(!json.contains(['\n', '\r']), "on several lines: {json}");
    assert!(serde_json::from_str::<&RawValue>(json).is_ok(), "no JSON: {json}");
    assert_values_good(json, kind);
}

fn assert_values_good(json: &str, kind: Kind) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let pairs = pairs(json);
            let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name twice: {json}");
            pairs.iter().for_each(|(_, value)| assert_values_good(value.get(), kind));
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).expect(json);
            elements.iter().for_each(|element| assert_values_good(element.get(), kind));
        }
        // Half of a surrogate pair, which no text of ours can have, is kept as the Lambda does.
        Some(b'"') if kind != Kind::Lambda => {
            drop(serde_json::from_str::<String>(json).expect(json))
        }
        Some(_) | None => {}
    }
}

/// Fails unless every field of `message` is in the document: as it came, as text, or among others.
pub(super) fn assert_nothing_lost(message: &str, document: &str) {
    let document = pairs(document);
    let value = |name: &str| document.iter().find(|(own, _)| own == name).map(|(_, value)| *value);
    let others = value("@other_text").map(|text| text_of(text).unwrap());
    let others = others.unwrap_or_else(|| "{}".to_owned());
    let others = pairs(&others);
    for (name, json) in pairs(message) {
        let json = json.get();
        let as_it_came = value(&name).is_some_and(|own| same(own.get(), json));
        let as_text = value(&format!("{name}_text")).and_then(text_of).is_some_and(|it| it == json);
        let among_others = others.iter().any(|(own, value)| *own == name && value.get() == json);
        assert!(as_it_came || as_text || among_others, "{name:?} with {json} is lost");
    }
}
