//! What becomes of one event: its index, its id and its document, by the rules of the README.

use std::fmt::Write as _;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::json::{Members, compact, is_within_rule, quoted};
use super::{ARRIVAL, Counts, Reads, Route, cloudtrail, flow, log};

/// Where an event comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) owner: String,
    pub(super) log_group: String,
    pub(super) log_stream: String,
}

/// An event as its envelope has it.
#[derive(Clone, Debug)]
pub(super) struct Event<'a> {
    pub(super) id: String,
    pub(super) time: Option<i64>,
    pub(super) message: String,
    pub(super) extracted: Option<&'a str>,
}

/// What a message was read as: the fields of its document, what it says about itself, and what was
/// wrong with it.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) fields: Fields,
    pub(super) own_time: Option<(i64, String)>,
    pub(super) own_id: Option<String>,
}

/// A label and what is wrong.
pub(super) type Wrong = (&'static str, String);

/// Members of a document, and those that cannot be among them.
#[derive(Debug, Default)]
pub(super) struct Fields {
    json: String,
    others: String,
    pub(super) as_text: u64,
}

impl Fields {
    pub(super) fn put(&mut self, name: &str, json: &str) {
        write!(self.json, ",{}:{json}", quoted(name)).unwrap();
    }

    pub(super) fn put_text(&mut self, name: &str, text: &str) {
        self.put(name, &quoted(text));
    }

    /// Keeps the whole value as text.
    pub(super) fn keep(&mut self, name: &str, json: &str) {
        self.as_text += 1;
        self.put_text(&format!("{name}_text"), json);
    }

    /// Keeps a member that cannot be at the root.
    pub(super) fn other(&mut self, name: &str, json: &str) {
        self.as_text += 1;
        write!(self.others, ",{}:{json}", quoted(name)).unwrap();
    }

    /// What can hold anything: an object that every engine takes, else text.
    pub(super) fn put_open(&mut self, name: &str, json: &str) {
        if json == "null" {
            self.put(name, json);
        } else if json.starts_with('{') && is_within_rule(json, 0, 0) {
            self.put(name, &compact(json));
        } else {
            self.keep(name, json);
        }
    }
}

/// Whether a name may be at the root of a document beside those that are ours.
pub(super) fn may_be_at_root(name: &str, members: &Members<'_>) -> bool {
    const OURS: [&str; 12] = [
        "@timestamp",
        "@id",
        "@owner",
        "@log_group",
        "@log_stream",
        "@aws",
        "@original_time",
        "@parse_error",
        "@extracted",
        "@extracted_text",
        "@other_text",
        "message",
    ];
    let text_of = name.strip_suffix("_text");
    !name.starts_with('_')
        && !OURS.contains(&name)
        && !name.starts_with("@aws.")
        && name.split('.').all(|part| !part.trim().is_empty())
        && text_of.is_none_or(|of| members.get(of).is_none())
}

/// Appends an event's two lines.
pub(super) fn put_lines(
    (origin, event): (&Origin, &Event<'_>),
    route: &Route,
    counts: &mut Counts,
    body: &mut String,
) {
    let mut is_text = None;
    let mut content = read(route, origin, &event.message).unwrap_or_else(|why| {
        is_text = Some(why);
        Content::default()
    });
    let time = content.own_time.as_ref().map(|(time, _)| *time).or(event.time).unwrap_or(ARRIVAL);
    let is_usable = (1_136_073_600_000..=ARRIVAL + 86_400_000).contains(&time);
    let shown = Timestamp::from_millisecond(if is_usable { time } else { ARRIVAL }).unwrap();
    let index = if is_usable {
        format!("{}-{}", route.index, shown.strftime("%Y.%m.%d"))
    } else {
        *counts.undated.entry(route.place).or_default() += 1;
        format!("{}-undated", route.index)
    };
    let id = match &content.own_id {
        Some(guid) => guid.clone(),
        None if is_id(&event.id) => event.id.clone(),
        None => hash(origin, event),
    };
    let mut head = Fields::default();
    head.put_text("@id", &event.id);
    head.put_text("@owner", &origin.owner);
    head.put_text("@log_group", &origin.log_group);
    head.put_text("@log_stream", &origin.log_stream);
    head.put_text("@aws.region", "eu-west-1");
    if let Some(extracted) = event.extracted {
        head.put_open("@extracted", extracted);
    }
    if !is_usable {
        let own = content.own_time.take().map(|(_, text)| text);
        head.put_text("@original_time", &own.unwrap_or_else(|| time.to_string()));
    }
    if let Some(wrong) = is_text {
        if let Some((label, why)) = wrong {
            *counts.parse_errors.entry((route.place, label)).or_default() += 1;
            head.put_text("@parse_error", &format!("{label}: {why}"));
        }
        head.put_text("message", &event.message);
    }
    let Fields { json, others, as_text } = content.fields;
    head.json += &json;
    if let Some(others) = others.strip_prefix(',') {
        head.put_text("@other_text", &format!("{{{others}}}"));
    }
    if head.as_text + as_text > 0 {
        *counts.as_text.entry(route.place).or_default() += head.as_text + as_text;
    }
    let stamp = shown.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    writeln!(body, r#"{{"create":{{"_index":"{index}","_id":"{id}"}}}}"#).unwrap();
    writeln!(body, r#"{{"@timestamp":"{stamp}"{}}}"#, head.json).unwrap();
}

fn read(route: &Route, origin: &Origin, message: &str) -> Result<Content, Option<Wrong>> {
    match &route.reads {
        Reads::Flow(format) => flow::read(format, message).map_err(Some),
        Reads::CloudTrail => cloudtrail::read(message).map_err(Some),
        Reads::Json(lift) => log::read(lift, message).map_err(Some),
        Reads::Plain => Err(None),
        Reads::Auto => super::auto::read(&origin.log_group, message),
    }
}

/// Whether it is an id as CloudWatch Logs has them.
fn is_id(id: &str) -> bool {
    (50..=60).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Forty hexadecimal digits of everything that tells events apart.
fn hash(origin: &Origin, event: &Event<'_>) -> String {
    let time = event.time.map(i64::to_be_bytes);
    let parts: [&[u8]; 6] = [
        origin.owner.as_bytes(),
        origin.log_group.as_bytes(),
        origin.log_stream.as_bytes(),
        time.as_ref().map_or(&[], |time| time.as_slice()),
        event.id.as_bytes(),
        event.message.as_bytes(),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
