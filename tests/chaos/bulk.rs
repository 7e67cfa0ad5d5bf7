//! What a bulk request asks for and what its answer acknowledges, for the proxy that sees both.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::http::Message;

/// Index and document id.
pub(crate) type Name = (String, String);

/// Whether this is a bulk request.
pub(crate) fn is_bulk(request: &Message) -> bool {
    request.asks_for("/_bulk")
}

/// The body as it was before it was compressed.
pub(crate) fn text(request: &Message) -> String {
    let mut text = String::new();
    if request.header("content-encoding") == Some("gzip") {
        // What cannot be inflated is for the engine to refuse.
        _ = MultiGzDecoder::new(request.body.as_slice()).read_to_string(&mut text);
    } else {
        text.push_str(&String::from_utf8_lossy(&request.body));
    }
    text
}

/// What the request would create, in its order.
fn names(request: &Message) -> Vec<Name> {
    let body = text(request);
    let actions = body.lines().step_by(2).filter_map(|action| {
        let action: Value = serde_json::from_str(action).ok()?;
        let create = &action["create"];
        Some((create["_index"].as_str()?.to_owned(), create["_id"].as_str()?.to_owned()))
    });
    actions.collect()
}

/// What an answer says of each item: its name and its status. Nothing, if it is no such answer.
pub(crate) fn statuses(request: &Message, answer: &Message) -> Vec<(Name, u64)> {
    let Ok(answer) = serde_json::from_slice::<Value>(&answer.body) else { return Vec::new() };
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let statuses = items.iter().map(|item| item["create"]["status"].as_u64().unwrap_or(0));
    names(request).into_iter().zip(statuses).collect()
}

/// The answer without its last item.
pub(crate) fn without_last_item(answer: &mut Message) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["items"].as_array_mut().unwrap().pop();
    answer.body = body.to_string().into_bytes();
}

/// The request without the documents that contain one of these texts; their places, with the status
/// that each text stands for.
pub(crate) fn cut_out(request: &Message, texts: &[(&str, u16)]) -> (Message, Vec<(usize, u16)>) {
    let body = text(request);
    let lines: Vec<_> = body.lines().collect();
    let (mut rest, mut failed) = (request.clone(), Vec::new());
    rest.body.clear();
    for (place, item) in lines.chunks(2).enumerate() {
        match texts.iter().find(|(text, _)| item[1].contains(text)) {
            Some((_, status)) => failed.push((place, *status)),
            None => rest.body.extend_from_slice(format!("{}\n{}\n", item[0], item[1]).as_bytes()),
        }
    }
    (rest, failed)
}

/// Puts items into an answer that failed, with the error that engines give most often with theirs.
pub(crate) fn add_failed(answer: &mut Message, failed: &[(usize, u16)]) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let mut items = body["items"].as_array().cloned().unwrap_or_default();
    for (place, status) in failed {
        let (kind, reason) = match status {
            400 => ("mapper_parsing_exception", "failed to parse field [a] of type [long]"),
            429 => ("rejected_execution_exception", "queue capacity = 200"),
            _ => ("null_pointer_exception", "poison"),
        };
        let error = json!({"type": kind, "reason": reason});
        items.insert(*place, json!({"create": {"status": status, "error": error}}));
    }
    let body = json!({"errors": true, "items": items});
    *answer = Message::answer(200, "application/json", &body.to_string());
}
