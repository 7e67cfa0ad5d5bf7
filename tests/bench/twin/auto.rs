//! What a route that asks for nothing takes an event for.

use super::document::{Content, Wrong};
use super::json::{Members, text};
use super::{cloudtrail, flow, log};

/// By the log group's name, then by what the message can be nothing else than.
pub(super) fn read(log_group: &str, message: &str) -> Result<Content, Option<Wrong>> {
    let group = log_group.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| group.contains(part));
    let begins = |parts: &[&str]| parts.iter().any(|part| group.starts_with(part));
    let format = flow::default_format();
    let promised = if begins(&["/aws/lambda/"]) {
        None
    } else if has(&["cloudtrail"]) {
        Some(cloudtrail::read(message))
    } else if has(&["flowlog", "flow-log", "flow_log"])
        || begins(&["/vpc/", "/aws/vpc/", "/aws/tgw/"])
    {
        Some(flow::read(&format, message))
    } else {
        None
    };
    let wrong = match promised {
        Some(Ok(content)) => return Ok(content),
        Some(Err(wrong)) => Some(wrong),
        None => None,
    };
    if message.trim_start().starts_with('{') {
        let members = Members::of(message).ok_or(wrong)?;
        if is_unmistakable(&members) {
            let content = cloudtrail::content(members);
            // Anybody can write what looks like it, with an id of another.
            return Ok(Content { own_time: None, own_id: None, ..content });
        }
        return Ok(log::content(&[], members, message));
    }
    let tokens: Vec<_> = message.split_ascii_whitespace().collect();
    match (flow::read(&format, message), tokens.as_slice()) {
        (Ok(content), ["2", _, interface, .., "ACCEPT" | "REJECT" | "-", status])
            if interface.starts_with("eni-") && ["OK", "NODATA", "SKIPDATA"].contains(status) =>
        {
            Ok(content)
        }
        _ => Err(wrong),
    }
}

fn is_unmistakable(members: &Members<'_>) -> bool {
    let text = |name| members.get(name).and_then(text);
    text("eventVersion").is_some()
        && text("eventTime").is_some_and(|time| cloudtrail::instant(&time).is_some())
        && text("eventID").is_some_and(|id| cloudtrail::is_guid(&id))
}
