//! What becomes of a JSON message: an object under `log`, and copies of what the route lifts.

use super::document::{Content, Wrong};
use super::json::{Members, compact, is_within_rule, quoted, scalar};

/// Reads a message that is to be one object.
pub(super) fn object(message: &str) -> Result<Members<'_>, Wrong> {
    serde_json::from_str(message).map_err(|error| {
        let is_other = serde_json::from_str::<serde::de::IgnoredAny>(message).is_ok();
        if is_other && !message.trim_start().starts_with('{') {
            ("not_an_object", "the message is JSON but not an object".to_owned())
        } else {
            ("not_json", error.to_string())
        }
    })
}

pub(super) fn read(lift: &[String], message: &str) -> Result<Content, Wrong> {
    object(message).map(|members| content(lift, members, message))
}

pub(super) fn content(lift: &[String], members: Members<'_>, message: &str) -> Content {
    let mut content = Content::default();
    // With a name twice it is not within the rule.
    if is_within_rule(message.trim_ascii(), 0, 0) {
        let members = members.0.iter().map(|(name, value)| (quoted(name), compact(value)));
        let members: Vec<_> = members.map(|(name, value)| format!("{name}:{value}")).collect();
        content.fields.put("log", &format!("{{{}}}", members.join(",")));
    } else {
        content.fields.keep("log", message);
    }
    for path in lift {
        let found = find(&members, path).filter(|json| *json != "null");
        if let Some(json) = found.filter(|json| scalar(json).is_some_and(|long| long <= 8 << 10)) {
            content.fields.put(path, json);
        }
    }
    content
}

/// The member of that very name, else what its parts lead to.
fn find<'a>(members: &Members<'a>, path: &str) -> Option<&'a str> {
    if let Some(json) = members.get(path) {
        return Some(json);
    }
    let (name, deeper) = path.split_once('.')?;
    find(&Members::of(members.get(name)?)?, deeper)
}
