//! CloudTrail events: AWS's own fields, with the structural rule for what can hold anything.
//!
//! Fields keep AWS's names. A field with a known type that has another one in an event goes to
//! `F_text`, so that no two events can disagree about a mapping. A short list of leaves that people
//! search and aggregate by is copied to fields of their own, since engines cannot do ranges or CIDR
//! inside an open-ended object. `null` stays `null`: engines ignore it, and the document then holds
//! what AWS sent.

mod leaves;
mod names;
mod quick;
mod time;

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::value::RawValue;

use crate::decode::LogEvent;
use crate::event::Timestamp;
use crate::scan;

use super::document::{self, Document};
use super::object::Object;
use super::schema::{FieldType, Schema};
use super::structural::{MAX_LEAF, scalar_length};
use super::tape::Tape;
use super::{ParseError, Source};

use self::quick::Quick;
use self::time::instant;

/// The scalars at the root of an event (CloudTrail record contents, versions up to 1.11).
const SCALARS: [(&str, FieldType); 20] = [
    ("eventVersion", FieldType::Keyword),
    ("eventTime", FieldType::Date),
    ("eventSource", FieldType::Keyword),
    ("eventName", FieldType::Keyword),
    ("eventType", FieldType::Keyword),
    ("eventCategory", FieldType::Keyword),
    ("eventID", FieldType::Keyword),
    ("requestID", FieldType::Keyword),
    ("sharedEventID", FieldType::Keyword),
    ("awsRegion", FieldType::Keyword),
    ("sourceIPAddress", FieldType::Keyword),
    ("userAgent", FieldType::Keyword),
    ("errorCode", FieldType::Keyword),
    ("errorMessage", FieldType::Keyword),
    ("recipientAccountId", FieldType::Keyword),
    ("vpcEndpointId", FieldType::Keyword),
    ("vpcEndpointAccountId", FieldType::Keyword),
    ("apiVersion", FieldType::Keyword),
    ("readOnly", FieldType::Boolean),
    ("managementEvent", FieldType::Boolean),
];

/// More scalars, which are text today and say yes or no.
const FLAGS: [&str; 1] = ["sessionCredentialFromConsole"];

/// The fields that can hold anything.
const OPEN: [&str; 11] = [
    "userIdentity",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "serviceEventDetails",
    "resources",
    "tlsDetails",
    "addendum",
    "insightDetails",
    "edgeDeviceDetails",
    "eventContext",
];

/// A leaf that is copied to a field of its own; arrays on the way mean each of their elements.
struct Leaf {
    field: &'static str,
    path: &'static [&'static str],
}

const fn leaf(field: &'static str, path: &'static [&'static str]) -> Leaf {
    Leaf { field, path }
}

/// By the open-ended field that they come from. A field that several leaves name has the values of
/// all, each once; such leaves follow one another.
const LEAVES: [(&str, &[Leaf]); 4] = [
    (
        "userIdentity",
        &[
            leaf("user_identity_type", &["type"]),
            leaf("user_identity_arn", &["arn"]),
            leaf("user_identity_account_id", &["accountId"]),
            leaf("user_identity_access_key_id", &["accessKeyId"]),
            leaf("user_identity_user_name", &["userName"]),
            leaf("user_identity_invoked_by", &["invokedBy"]),
            leaf("session_issuer_arn", &["sessionContext", "sessionIssuer", "arn"]),
            leaf("session_mfa", &["sessionContext", "attributes", "mfaAuthenticated"]),
        ],
    ),
    (
        "requestParameters",
        &[
            leaf("request_bucket_name", &["bucketName"]),
            leaf("request_instance_id", &["instanceId"]),
            leaf("request_instance_id", &["instancesSet", "items", "instanceId"]),
            leaf("request_role_arn", &["roleArn"]),
            leaf("request_role_name", &["roleName"]),
            leaf("request_user_name", &["userName"]),
            leaf("request_policy_arn", &["policyArn"]),
            leaf("request_key_id", &["keyId"]),
            leaf("request_function_name", &["functionName"]),
            leaf("request_group_id", &["groupId"]),
        ],
    ),
    ("responseElements", &[leaf("response_instance_id", &["instancesSet", "items", "instanceId"])]),
    ("resources", &[leaf("resources_arn", &["ARN"]), leaf("resources_type", &["type"])]),
];

/// The fields whose values are looked at, beyond what they are.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    UserIdentity,
    RequestParameters,
    ResponseElements,
    Resources,
    EventTime,
    EventId,
    EventVersion,
    EventName,
    SourceIpAddress,
}

impl Wanted {
    /// In the order of their places.
    const ALL: [Self; 9] = [
        Self::UserIdentity,
        Self::RequestParameters,
        Self::ResponseElements,
        Self::Resources,
        Self::EventTime,
        Self::EventId,
        Self::EventVersion,
        Self::EventName,
        Self::SourceIpAddress,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::UserIdentity => "userIdentity",
            Self::RequestParameters => "requestParameters",
            Self::ResponseElements => "responseElements",
            Self::Resources => "resources",
            Self::EventTime => "eventTime",
            Self::EventId => "eventID",
            Self::EventVersion => "eventVersion",
            Self::EventName => "eventName",
            Self::SourceIpAddress => "sourceIPAddress",
        }
    }
}

/// `sourceIPAddress` where it is one, and not the name of an AWS service.
const SOURCE_IP: &str = "source_ip";

/// A CloudTrail event that was read.
#[derive(Debug)]
pub(super) struct Event<'a> {
    fields: Fields<'a>,
    time: Option<Timestamp>,
    id: Option<Cow<'a, str>>,
    /// Whether the route or the log group promised CloudTrail. Anybody who can write to some log can
    /// write what looks like it, with an id that is another event's.
    is_promised: bool,
}

#[derive(Debug)]
enum Fields<'a> {
    /// Of an event that is as usual in every way; it is large, and moved a few times.
    Quick(Box<Quick<'a>>),
    /// Of any event.
    Any(Object<'a>),
}

impl<'a> Fields<'a> {
    fn read(source: &Source<'_>, event: &'a LogEvent<'a>) -> Result<Self, ParseError> {
        let memory = &mut source.tape_memory();
        if let Some(tape) = Tape::read(&event.message, event.marks, memory) {
            match Quick::read(tape) {
                Ok(quick) => return Ok(Self::Quick(quick)),
                Err(mut tape) => tape.give_back(memory),
            }
        }
        Object::read(&event.message).map(Self::Any)
    }

    fn has(&self, wanted: Wanted) -> bool {
        match self {
            Self::Quick(quick) => quick.get(wanted).is_some(),
            Self::Any(object) => object.get(wanted.name()).is_some(),
        }
    }

    fn text(&self, wanted: Wanted) -> Option<Cow<'a, str>> {
        match self {
            Self::Quick(quick) => quick.text(wanted),
            Self::Any(object) => object.get(wanted.name()).and_then(text),
        }
    }

    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Quick(quick) => quick.time(),
            Self::Any(_) => instant(&self.text(Wanted::EventTime)?),
        }
    }
}

impl<'a> Event<'a> {
    /// Reads a message that is to be a CloudTrail event; of any version, so one name is enough.
    pub(super) fn read(source: &Source<'_>, event: &'a LogEvent<'a>) -> Result<Self, ParseError> {
        let event = Self::of(Fields::read(source, event)?, true);
        let named = [Wanted::EventVersion, Wanted::EventId, Wanted::EventName];
        if named.into_iter().any(|wanted| event.fields.has(wanted)) {
            Ok(event)
        } else {
            Err(ParseError::NotCloudTrail)
        }
    }

    /// Takes an object only if it can be nothing but a CloudTrail event; else gives it back.
    pub(super) fn recognise(object: Object<'a>) -> Result<Self, Object<'a>> {
        let event = Self::of(Fields::Any(object), false);
        if event.is_unmistakable() {
            return Ok(event);
        }
        match event.fields {
            Fields::Any(object) => Err(object),
            Fields::Quick(_) => Ok(event),
        }
    }

    fn is_unmistakable(&self) -> bool {
        self.fields.text(Wanted::EventVersion).is_some()
            && self.time.is_some()
            && self.id.as_deref().is_some_and(is_guid)
    }

    fn of(fields: Fields<'a>, is_promised: bool) -> Self {
        let (time, id) = (fields.time(), fields.text(Wanted::EventId));
        Self { time, id, fields, is_promised }
    }

    /// `eventTime`, when it is a time and CloudTrail was promised.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.time.filter(|_| self.is_promised)
    }

    /// How that time is written.
    pub(super) fn time_as_it_came(&self) -> Option<Cow<'a, str>> {
        self.time().and_then(|_| self.fields.text(Wanted::EventTime))
    }

    /// `eventID`, when it is a GUID and CloudTrail was promised.
    pub(super) fn guid(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| self.is_promised && is_guid(id))
    }

    /// Gives its memory to the next event of its source.
    pub(super) fn give_back(&mut self, source: &Source<'_>) {
        if let Fields::Quick(quick) = &mut self.fields {
            quick.give_back(&mut source.tape_memory());
        }
    }

    /// Writes every field of the event, then the copied leaves.
    pub(super) fn write(&self, document: &mut Document<'_>) {
        match &self.fields {
            Fields::Quick(quick) => quick.write(document),
            Fields::Any(object) => write(object, document),
        }
    }
}

fn write(object: &Object<'_>, document: &mut Document<'_>) {
    document.others(object.replaced());
    for (name, value) in object.iter() {
        write_field(object, name, value, document);
    }
    for (root, leaves) in LEAVES {
        if let Some(value) = object.get(root) {
            write_leaves(value, leaves, document);
        }
    }
    if let Some(address) = object.get("sourceIPAddress").and_then(text) {
        write_source_ip(&address, document);
    }
}

fn write_field(object: &Object<'_>, name: &str, value: &RawValue, document: &mut Document<'_>) {
    let json = value.get();
    if let Some(ty) = type_of(name) {
        if json == "null" || has_type(ty, value) {
            document.as_it_came(name, json);
        } else {
            document.kept_as_text(name, json);
        }
    } else if OPEN.contains(&name) {
        document.open_ended(name, value);
    } else if !may_be_at_root(name, |other| object.get(other).is_some()) {
        document.other(name, value);
    } else if scalar_length(json).is_some() {
        // Not indexed, since the template does not know it: it can conflict with nothing.
        document.as_it_came(name, json);
    } else {
        document.open_ended(name, value);
    }
}

/// A name with a dot would reach into a field of another type; one of a copied leaf, or of the text
/// of a known field, would be there twice. `has` tells which names the event has.
fn may_be_at_root(name: &str, has: impl Fn(&str) -> bool) -> bool {
    let of_known = name.strip_suffix("_text").is_some_and(|of| OPEN.contains(&of));
    !name.contains('.')
        && !of_known
        && name != SOURCE_IP
        && !all_leaves().any(|leaf| leaf.field == name)
        && document::may_be_at_root(name, has)
}

fn write_source_ip(address: &str, document: &mut Document<'_>) {
    if address.parse::<IpAddr>().is_ok() {
        // An address has nothing to escape.
        document.fields(|out| {
            out.extend_from_slice(b",\"source_ip\":\"");
            out.extend_from_slice(address.as_bytes());
            out.push(b'"');
            Some(())
        });
    }
}

/// Adds the fields of CloudTrail events.
pub(super) fn describe(schema: &mut Schema) {
    for (name, ty) in SCALARS {
        schema.add(name, ty);
    }
    for name in FLAGS {
        schema.add(name, FieldType::Keyword);
    }
    for name in OPEN {
        schema.add_open(name);
    }
    for leaf in all_leaves() {
        schema.add(leaf.field, FieldType::Keyword);
    }
    schema.add(SOURCE_IP, FieldType::Ip);
}

fn all_leaves() -> impl Iterator<Item = &'static Leaf> {
    LEAVES.iter().flat_map(|(_, leaves)| leaves.iter())
}

fn type_of(name: &str) -> Option<FieldType> {
    let known = SCALARS.iter().find(|(own, _)| *own == name).map(|(_, ty)| *ty);
    known.or_else(|| FLAGS.contains(&name).then_some(FieldType::Keyword))
}

fn has_type(ty: FieldType, value: &RawValue) -> bool {
    let json = value.get();
    match ty {
        FieldType::Boolean => matches!(json, "true" | "false"),
        FieldType::Date => text(value).is_some_and(|text| instant(&text).is_some()),
        FieldType::Keyword => is_keyword(json),
        FieldType::Text
        | FieldType::TextAndKeyword
        | FieldType::Long
        | FieldType::Integer
        | FieldType::Ip
        | FieldType::DateEpochSecond
        | FieldType::Open
        | FieldType::Kept => false,
    }
}

fn is_keyword(json: &str) -> bool {
    json.starts_with('"') && scalar_length(json).is_some_and(|length| length <= MAX_LEAF)
}

/// The text of a JSON string.
fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_guid(id: &str) -> bool {
    // The dashes of the bytes from 0, from 16 and from 20.
    const DASHES: [u32; 3] = [1 << 8 | 1 << 13, 1 << 2 | 1 << 7, 1 << 3];
    let Some(id) = id.as_bytes().as_array::<36>() else { return false };
    let ([from_0, from_16], _) = id.as_chunks::<16>() else { return false };
    let from_20 = id.last_chunk();
    [Some(from_0), Some(from_16), from_20].into_iter().flatten().zip(DASHES).all(
        |(chunk, dashes)| {
            scan::equal(chunk, b'-') == dashes && scan::hexadecimal(chunk) == 0xffff & !dashes
        },
    )
}

fn write_leaves(root: &RawValue, leaves: &[Leaf], document: &mut Document<'_>) {
    let mut roots = Vec::new();
    push_objects(root, &mut roots);
    let same_field = |one: &Leaf, other: &Leaf| one.field == other.field;
    for group in leaves.chunk_by(same_field) {
        let mut found = Vec::new();
        for leaf in group {
            for root in &roots {
                collect(root, leaf.path, &mut found);
            }
        }
        if let Some(first) = group.first() {
            write_leaf(first.field, &mut found, document);
        }
    }
}

fn write_leaf(field: &str, found: &mut Vec<&str>, document: &mut Document<'_>) {
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => {}
        [one] => document.as_it_came(field, one),
        several => document.as_it_came(field, &format!("[{}]", several.join(","))),
    }
}

/// An object, or the objects of an array.
fn push_objects<'a>(value: &'a RawValue, found: &mut Vec<Object<'a>>) {
    if let Some(object) = Object::of(value) {
        found.push(object);
    } else if value.get().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        found.extend(elements.into_iter().filter_map(Object::of));
    }
}

/// Collects the texts, still as JSON, that `path` leads to.
fn collect<'a>(object: &Object<'a>, path: &[&str], found: &mut Vec<&'a str>) {
    let Some((name, deeper)) = path.split_first() else { return };
    let Some(value) = object.get(name) else { return };
    if deeper.is_empty() {
        found.extend(Some(value.get()).filter(|json| is_keyword(json)));
        return;
    }
    let mut objects = Vec::new();
    push_objects(value, &mut objects);
    for object in &objects {
        collect(object, deeper, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_36_characters_of_the_right_sort_are_a_guid() {
        assert!(is_guid("293ba626-3be5-4a26-ab1b-0f4c54f49959"));
        assert!(is_guid("293BA626-3BE5-4A26-AB1B-0F4C54F49959"));
        assert!(!is_guid("293ba6263be54a26ab1b0f4c54f49959"));
        assert!(!is_guid("293ba626-3be5-4a26-ab1b-0f4c54f4995g"));
        assert!(!is_guid("293ba626-3be5-4a26-ab1b-0f4c54f499590"));
    }
}
