//! What becomes of a CloudTrail event: its fields, and copies of leaves that are searched for.

use std::net::IpAddr;

use jiff::Timestamp;

use super::document::{Content, Wrong, may_be_at_root};
use super::json::{Members, elements, scalar, text};
use super::log;

const TEXTS: [&str; 18] = [
    "eventVersion",
    "eventSource",
    "eventName",
    "eventType",
    "eventCategory",
    "eventID",
    "requestID",
    "sharedEventID",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "recipientAccountId",
    "vpcEndpointId",
    "vpcEndpointAccountId",
    "apiVersion",
    "sessionCredentialFromConsole",
];

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

/// A field, and the paths whose texts it has.
#[rustfmt::skip]
const LEAVES: [(&str, &[&str]); 20] = [
    ("user_identity_type", &["userIdentity type"]),
    ("user_identity_arn", &["userIdentity arn"]),
    ("user_identity_account_id", &["userIdentity accountId"]),
    ("user_identity_access_key_id", &["userIdentity accessKeyId"]),
    ("user_identity_user_name", &["userIdentity userName"]),
    ("user_identity_invoked_by", &["userIdentity invokedBy"]),
    ("session_issuer_arn", &["userIdentity sessionContext sessionIssuer arn"]),
    ("session_mfa", &["userIdentity sessionContext attributes mfaAuthenticated"]),
    ("request_bucket_name", &["requestParameters bucketName"]),
    ("request_instance_id", &["requestParameters instanceId", "requestParameters instancesSet items instanceId"]),
    ("request_role_arn", &["requestParameters roleArn"]),
    ("request_role_name", &["requestParameters roleName"]),
    ("request_user_name", &["requestParameters userName"]),
    ("request_policy_arn", &["requestParameters policyArn"]),
    ("request_key_id", &["requestParameters keyId"]),
    ("request_function_name", &["requestParameters functionName"]),
    ("request_group_id", &["requestParameters groupId"]),
    ("response_instance_id", &["responseElements instancesSet items instanceId"]),
    ("resources_arn", &["resources ARN"]),
    ("resources_type", &["resources type"]),
];

/// Reads a message that is to be an event, of whatever version.
pub(super) fn read(message: &str) -> Result<Content, Wrong> {
    let members = log::object(message)?;
    if ["eventVersion", "eventID", "eventName"].iter().all(|name| members.get(name).is_none()) {
        let why = "the object has no eventVersion, eventID or eventName";
        return Err(("not_cloudtrail", why.to_owned()));
    }
    Ok(content(members))
}

pub(super) fn content(mut members: Members<'_>) -> Content {
    let mut content = Content::default();
    let fields = &mut content.fields;
    for (name, json) in members.take_replaced().0 {
        fields.other(&name, json);
    }
    for (name, json) in &members.0 {
        match fits(name, json) {
            Some(true) => fields.put(name, json),
            Some(false) => fields.keep(name, json),
            None if OPEN.contains(&name.as_str()) => fields.put_open(name, json),
            None if !is_free(name, &members) => fields.other(name, json),
            None if scalar(json).is_some() => fields.put(name, json),
            None => fields.put_open(name, json),
        }
    }
    for (field, paths) in LEAVES {
        let mut found: Vec<_> = paths.iter().flat_map(|path| follow(&members, path)).collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [] => {}
            [one] => fields.put(field, one),
            several => fields.put(field, &format!("[{}]", several.join(","))),
        }
    }
    let text = |name| members.get(name).and_then(text);
    if let Some(address) = text("sourceIPAddress").filter(|text| text.parse::<IpAddr>().is_ok()) {
        fields.put_text("source_ip", &address);
    }
    content.own_time = text("eventTime").and_then(|text| Some((instant(&text)?, text)));
    content.own_id = text("eventID").filter(|id| is_guid(id));
    content
}

/// Whether a field of a known type has it; none where any value will do.
fn fits(name: &str, json: &str) -> Option<bool> {
    let fits = match name {
        "readOnly" | "managementEvent" => matches!(json, "true" | "false"),
        "eventTime" => text(json).is_some_and(|text| instant(&text).is_some()),
        _ if TEXTS.contains(&name) => is_term(json),
        _ => return None,
    };
    Some(fits || json == "null")
}

fn is_term(json: &str) -> bool {
    text(json).is_some_and(|text| text.len() <= 8 << 10)
}

fn is_free(name: &str, members: &Members<'_>) -> bool {
    let is_text_of = OPEN.iter().any(|open| name == format!("{open}_text"));
    let is_copy = name == "source_ip" || LEAVES.iter().any(|(field, _)| *field == name);
    !name.contains('.') && !is_text_of && !is_copy && may_be_at_root(name, members)
}

/// The texts, as they came, at the end of a path; an array on the way means each object in it.
fn follow<'a>(from: &Members<'a>, path: &str) -> Vec<&'a str> {
    let (name, deeper) = path.split_once(' ').unwrap_or((path, ""));
    match from.get(name) {
        None => Vec::new(),
        Some(json) if deeper.is_empty() => {
            Some(json).filter(|json| is_term(json)).into_iter().collect()
        }
        Some(json) => {
            let objects = elements(json).into_iter().chain([json]).filter_map(Members::of);
            objects.flat_map(|object| follow(&object, deeper)).collect()
        }
    }
}

/// `2023-07-10T11:42:36Z`, with a fraction or without.
pub(super) fn instant(text: &str) -> Option<i64> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let (whole, fraction) = shape.split_once('.').unwrap_or((&shape, "0Z"));
    let digits = fraction.strip_suffix('Z')?;
    let is_whole = whole.trim_end_matches('Z') == "0000-00-00T00:00:00"
        && whole.ends_with('Z') != shape.contains('.');
    let is_fraction = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte == b'0');
    // A calendar knows leap seconds, engines do not.
    if !is_whole || !is_fraction || text.get(17..19) == Some("60") {
        return None;
    }
    Some(text.parse::<Timestamp>().ok()?.as_millisecond())
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_guid(id: &str) -> bool {
    let parts: Vec<_> = id.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
