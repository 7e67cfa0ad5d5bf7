//! Envelopes of odd messages: mostly as CloudWatch Logs writes them, for that is what the quick ways
//! are for, and now and then as it might.

use fastrand::Rng;

use super::Content;
use super::odd::{lengthen, spoil};
use super::text::{ACCOUNT, one_of, put_quoted};

/// What is odd about the way in which an envelope is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Nothing.
    Usual,
    /// Any character may be an escape.
    Escaped,
    /// Keys in another order, more of them, and white space.
    Loose,
    /// Ids and times in other forms, or not there.
    Typed,
    /// It is no envelope.
    Broken,
}

/// One of five messages is odd.
const ODD: u8 = 20;

/// Writes the envelope of some events, each a time and a message.
pub(super) fn put(
    out: &mut String,
    content: Content,
    (log_group, log_stream): (&str, &str),
    mut events: Vec<(i64, String)>,
    rng: &mut Rng,
) {
    let style = match rng.u8(..100) {
        0..64 => Style::Usual,
        64..78 => Style::Escaped,
        78..88 => Style::Loose,
        88..98 => Style::Typed,
        _ => Style::Broken,
    };
    let log_group = match (content, rng.u8(..16)) {
        (Content::VpcFlow, 0..4) => {
            events.iter_mut().for_each(|(_, line)| lengthen(line, rng));
            "/formats/0/flow"
        }
        // The route that asks for nothing.
        (Content::VpcFlow, 4) => one_of(rng, &["prod-flow-logs", "/aws/vpc/x", "misc"]),
        (Content::CloudTrail, 0) => {
            one_of(rng, &["prod/CloudTrail", "misc", "/aws/lambda/cloudtrail"])
        }
        (Content::App, 0) => one_of(rng, &["misc", "prod/cloudtrail", "/aws/lambda/\"x\""]),
        // Each is read by the way for another.
        (_, 1) => one_of(rng, &["/vpc/x/flowlogs", "aws-cloudtrail-logs-1-0", "/app/x", "/web/x"]),
        _ => log_group,
    };
    for (_, message) in &mut events {
        if rng.u8(..100) < ODD {
            spoil(content, message, rng);
        }
    }
    let begin = out.len();
    put_envelope(out, style, (log_group, log_stream), &events, rng);
    if style == Style::Broken {
        break_it(out, begin, rng);
    }
    if style == Style::Loose && rng.bool() {
        out.push_str("\n{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[]}\n");
    }
}

/// Cuts it, puts something else in its place, or says something twice.
fn break_it(out: &mut String, begin: usize, rng: &mut Rng) {
    let twice = ["\"owner\":\"1\",", "\"logEvents\":[],", "\"messageType\":\"DATA_MESSAGE\","];
    match rng.u8(..6) {
        0 => out.truncate(out.len() - 1),
        1 => out.truncate(begin + 1),
        2 => out.insert_str(begin + 1, one_of(rng, &twice)),
        3 => *out = out.replacen("{\"id\":", "{\"message\":\"1\",\"id\":", 1),
        4 => *out = out.replacen("\"message\":", "\"id\":\"1\",\"message\":", 1),
        _ => {
            out.truncate(begin);
            let others = ["", "[]", "{\"messageType\":\"NEWS\"}", "{\"owner\":\"1\"}"];
            out.push_str(one_of(rng, &others));
        }
    }
}

fn put_envelope(
    out: &mut String,
    style: Style,
    (log_group, log_stream): (&str, &str),
    events: &[(i64, String)],
    rng: &mut Rng,
) {
    let quoted = |text: &str, rng: &mut Rng| {
        let mut json = String::new();
        put_text(&mut json, style, text, rng);
        json
    };
    let mut members = vec![
        ("messageType", "\"DATA_MESSAGE\"".to_owned()),
        ("owner", quoted(ACCOUNT, rng)),
        ("logGroup", quoted(log_group, rng)),
        ("logStream", quoted(log_stream, rng)),
        ("subscriptionFilters", "[\"to-kinesis\"]".to_owned()),
    ];
    let events = (0_u32..).zip(events).map(|(number, (time, message))| {
        let message = quoted(message, rng);
        event(style, number, (*time, &message), rng)
    });
    let events = events.collect::<Vec<_>>().join(if style == Style::Loose { " ,\n" } else { "," });
    members.push(("logEvents", format!("[{events}]")));
    if style == Style::Loose {
        members.push(("policyLevel", "\"ACCOUNT_LEVEL_POLICY\"".to_owned()));
        rng.shuffle(&mut members);
    }
    put_object(out, style, &members);
}

fn event(style: Style, number: u32, (time, message): (i64, &str), rng: &mut Rng) -> String {
    let id = format!("{:035}{:08}{number:013}", rng.u128(..1 << 100), rng.u32(..100_000_000));
    let mut members = vec![
        ("id", format!("\"{id}\"")),
        ("timestamp", time.to_string()),
        ("message", message.to_owned()),
    ];
    if style == Style::Typed {
        members[0].1 = match rng.u8(..6) {
            0 => "null".to_owned(),
            1 => id.trim_start_matches('0').to_owned(),
            2 => "\"\"".to_owned(),
            3 => "\"an \\\"id\\\"\"".to_owned(),
            _ => format!("\"{id}\""),
        };
        members[1].1 = match rng.u8(..8) {
            0 => "null".to_owned(),
            1 => format!("\"{time}\""),
            2 => format!("{time}.0"),
            3 => "1.7e12".to_owned(),
            4 => {
                one_of(rng, &["0", "-1", "1e3", "99999999999999", "9223372036854775807"]).to_owned()
            }
            _ => time.to_string(),
        };
        if rng.u8(..4) == 0 {
            let extracted = one_of(
                rng,
                &[
                    "{\"@aws.account\":\"1\"}",
                    "null",
                    "[1]",
                    "{ \"a\" : {\"\":1}}",
                    "{ \"a\" : 1 }",
                ],
            );
            members.push(("extractedFields", extracted.to_owned()));
        }
    }
    if style == Style::Loose {
        rng.shuffle(&mut members);
    }
    let mut json = String::new();
    put_object(&mut json, style, &members);
    json
}

fn put_object(out: &mut String, style: Style, members: &[(&str, String)]) {
    let (comma, colon) = if style == Style::Loose { (" , ", " : ") } else { (",", ":") };
    let members = members.iter().map(|(name, json)| format!("\"{name}\"{colon}{json}"));
    out.push('{');
    out.push_str(&members.collect::<Vec<_>>().join(comma));
    out.push('}');
}

/// Writes a string, as AWS does or with escapes that it could do without.
fn put_text(out: &mut String, style: Style, text: &str, rng: &mut Rng) {
    if style != Style::Escaped {
        return put_quoted(out, text);
    }
    // Most quick ways take escapes of ASCII and leave others to the careful ones.
    let also_others = rng.u8(..4) == 0;
    out.push('"');
    for c in text.chars() {
        let is_chosen = rng.u8(..16) == 0 && (c.is_ascii() || also_others);
        match c {
            '/' if is_chosen => out.push_str("\\/"),
            _ if is_chosen => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let digits = format!("{unit:04x}");
                    out.push_str("\\u");
                    out.push_str(&if rng.bool() { digits.to_uppercase() } else { digits });
                }
            }
            _ => {
                let mut one = String::new();
                put_quoted(&mut one, c.encode_utf8(&mut [0; 4]));
                out.push_str(&one[1..one.len() - 1]);
            }
        }
    }
    out.push('"');
}
