//! What real logs have now and then, for `tests/bench/same`: messages that no quick way expects.

use fastrand::Rng;

use super::Content;
use super::text::{one_of, put_quoted};

/// Lengths around those at which the quick ways change hands.
const LENGTHS: [usize; 16] = [0, 1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1_000, 4_096];

/// Lengths around the longest leaf, and the longest message of a tape.
const LONG: [usize; 4] = [8_191, 8_192, 8_193, 300_000];

const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "7",
    "-1",
    "1.5",
    "-0.0",
    "1e5",
    "1E+5",
    "1.50e-7",
    "9007199254740993",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1000000000000000055511151231257827",
    "123456789012345678901234567890",
    "1e400",
    "2.0",
];

/// Escaped in every way there is.
const ESCAPES: [&str; 20] = [
    r#"\""#,
    r"\\",
    r"\/",
    r"\b",
    r"\f",
    r"\n",
    r"\r",
    r"\t",
    r"\u0000",
    r"\u001f",
    r"\u0041",
    r"\u00e9",
    r"\u00E9",
    r"\u4e16",
    r"\ud83d\ude00",
    r"\\u0041",
    r#"\\\""#,
    r"\ud800",
    "\\x",
    "\t",
];

const TEXTS: [&str; 12] =
    ["a", "é", "注文", "😀", "\u{7f}", "\u{2028}", "{", "}", "[", ",", ":", "' "];

#[rustfmt::skip]
const NAMES: [&str; 64] = [
    "eventVersion", "eventTime", "eventName", "eventID", "eventSource", "sourceIPAddress", "userAgent",
    "readOnly", "managementEvent", "userIdentity", "requestParameters", "responseElements", "resources",
    "tlsDetails", "additionalEventData", "errorCode", "errorMessage", "sessionCredentialFromConsole",
    "eventContext", "awsRegion", "type", "arn", "accountId", "userName", "sessionContext", "sessionIssuer",
    "attributes", "mfaAuthenticated", "bucketName", "instanceId", "instancesSet", "items", "ARN", "roleArn",
    "source_ip", "resources_arn", "request_bucket_name", "user_identity_type", "userIdentity_text",
    "requestParameters_text", "level", "level_text", "requestId", "user", "user.id", "id", "message",
    "message_text", "log", "log_text", "@id", "@aws", "@aws.region", "@timestamp", "@other_text", "_id",
    "_x", "", " ", "a.b", ".", "naïve", "level\\u0020", "\\u006cevel",
];

/// In place of an event's own.
#[rustfmt::skip]
const VALUES: [(&str, &[&str]); 8] = [
    ("eventTime", &["2023-07-10T11:42:36.5Z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "1969-12-31T23:59:59Z",
        "2023-07-10T11:42:60Z", "2023-07-10T11:42:36+01:00", "2099-01-01T00:00:00Z", "2005-12-31T23:59:59Z", "2006-01-01T00:00:00Z",
        "2023-07-10t11:42:36Z", "2023-12-31T23:59:59.123456789Z", "now", "2023-07-10T24:00:00Z", "2023-07-30T11:42:36Z"]),
    ("eventID", &["293BA626-3BE5-4A26-AB1B-0F4C54F49959", "293ba626-3be5-4a26-ab1b-0f4c54f4995g", "293ba6263be54a26ab1b0f4c54f49959", ""]),
    ("sourceIPAddress", &["2001:db8::1", "::ffff:192.0.2.1", "192.0.2.256", "192.0.2.01", "ec2.amazonaws.com", "AWS Internal", "fe80::1%eth0"]),
    ("readOnly", &["true"]),
    ("userAgent", &["", "[aws-cli/2.0 \\\"x\\\"]"]),
    ("level", &["", "WARN"]),
    ("requestId", &["r"]),
    ("eventVersion", &["1.11", ""]),
];

#[rustfmt::skip]
const TOKENS: [&str; 36] = [
    "-", "0", "00", "007", "6", "06", "17", "58", "255", "256", "2147483647", "2147483648", "999999999", "1000000000",
    "9223372036854775807", "9223372036854775808", "999999999999999999", "253402300799", "253402300800", "+1", "-1", "1.5",
    "2001:db8::1", "::", "::ffff:192.0.2.1", "192.0.2.256", "1.2.3", "01.2.3.4", "fe80::1%0", "1:2:3:4:5:6:7:8", "ACCEPT", "OK",
    "\"q\"", "é", "a\\b", "\u{1}",
];

/// Every field that a flow log of version 5 has.
pub(crate) const VERSION_5: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets \
     bytes start end action log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region \
     az-id sublocation-type sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path";

/// Makes a message odd.
pub(super) fn spoil(content: Content, message: &mut String, rng: &mut Rng) {
    match content {
        Content::VpcFlow => spoil_line(message, rng),
        Content::CloudTrail | Content::App => spoil_object(message, rng),
        Content::Plain => spoil_text(message, rng),
    }
    if rng.u8(..40) == 0 {
        *message = one_of(rng, &OTHERS).to_owned();
    }
}

/// Messages of another format.
#[rustfmt::skip]
const OTHERS: [&str; 16] = [
    "", " ", "null", "true", "1.5", "[]", "[{}]", "\"text\"", "{}", " {} ", "{\"a\":1}x", "{'a':1}", "ERROR it broke",
    "2 111122223333 eni-0abc 10.0.0.1 2001:db8::1 443 50000 6 10 840 1764000000 1764000060 ACCEPT OK",
    r#"{"eventVersion":"1.08","eventID":"293ba626-3be5-4a26-ab1b-0f4c54f49959","eventTime":"2025-11-24T15:00:00Z"}"#,
    "{\"level\":\"INFO\",\n  \"user\": {\"id\" : \"u\\u002d1\"} }",
];

/// What a version 5 line has after a default one.
pub(super) fn lengthen(message: &mut String, rng: &mut Rng) {
    message.push_str(" vpc-0abc subnet-0abc - ");
    message.push_str(one_of(rng, &["19 IPv4 10.0.0.1 198.51.100.7", "0 IPv6 2001:db8::1 ::1"]));
    message.push_str(" eu-west-1 euw1-az1 - - - ");
    message.push_str(one_of(rng, &["S3 ingress -", "- egress 8", "AMAZON egress 1"]));
}

fn spoil_line(line: &mut String, rng: &mut Rng) {
    let mut tokens: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for _ in 0..rng.u8(..3) {
        let at = rng.usize(..tokens.len());
        tokens[at] = match rng.u8(..12) {
            0 => "x".repeat(LENGTHS[rng.usize(..LENGTHS.len())]),
            1 if rng.u8(..8) == 0 => "y".repeat(LONG[rng.usize(..3)]),
            _ => one_of(rng, &TOKENS).to_owned(),
        };
    }
    match rng.u8(..10) {
        0 => drop(tokens.pop()),
        1 => tokens.push(one_of(rng, &TOKENS).to_owned()),
        _ => {}
    }
    let space = match rng.u8(..6) {
        0 => one_of(rng, &["  ", "\t", "\n", "\u{c}", "\u{a0}"]),
        _ => " ",
    };
    *line = tokens.join(space);
    match rng.u8(..12) {
        0 => line.insert(0, ' '),
        1 => line.push_str(one_of(rng, &[" ", "\n", "\r\n"])),
        2 => {
            // Cut short, to nothing at the most, behind a space or not.
            let most = rng.usize(..=line.len()) / rng.usize(1..8);
            line.truncate(line.floor_char_boundary(most));
            line.push_str(one_of(rng, &["", " "]));
        }
        _ => {}
    }
}

fn spoil_text(text: &mut String, rng: &mut Rng) {
    for _ in 0..rng.u8(1..6) {
        let at = boundary(text, rng);
        let odd = match rng.u8(..3) {
            0 => char::from(rng.u8(..0x20)).to_string(),
            1 => one_of(rng, &ESCAPES).to_owned(),
            _ => one_of(rng, &TEXTS).repeat(LENGTHS[rng.usize(..15)] / 4 + 1),
        };
        text.insert_str(at, &odd);
    }
}

fn spoil_object(json: &mut String, rng: &mut Rng) {
    for _ in 0..rng.u8(1..4) {
        match rng.u8(..16) {
            0..4 => put_member(json, rng),
            4..7 => replace_value(json, rng),
            7..10 => put_escapes(json, rng),
            10 => put_known_value(json, rng),
            11 => put_white_space(json, rng),
            12 => drop_member(json, rng),
            13 => {
                // Damaged.
                let at = boundary(json, rng);
                json.truncate(at);
                json.push_str(one_of(rng, &["", "\"", "}", "]}", ",}", "x", "\\"]));
            }
            14 if rng.u8(..4) == 0 => {
                // Wide: more members than a word has bits.
                let width = rng.u8(30..150);
                (0..width).for_each(|_| put_member(json, rng));
            }
            _ => put_known_value(json, rng),
        }
    }
}

/// Somewhere between two characters.
fn boundary(text: &str, rng: &mut Rng) -> usize {
    text.floor_char_boundary(rng.usize(..=text.len()))
}

/// Where the members of the outermost object begin and end, as far as it can be read.
fn members(json: &str) -> Vec<(usize, usize)> {
    let (mut deep, mut inside, mut escaped, mut begin) = (0, false, false, 0);
    let mut members = Vec::new();
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ if inside => {}
            b'{' | b'[' => {
                deep += 1;
                begin = if deep == 1 { at + 1 } else { begin };
            }
            b'}' | b']' | b',' => {
                if deep == 1 && at > begin {
                    members.push((begin, at));
                    begin = at + 1;
                }
                deep -= i32::from(byte != b',');
            }
            _ => {}
        }
    }
    members
}

fn one_member(json: &str, rng: &mut Rng) -> Option<(usize, usize)> {
    let members = members(json);
    if members.is_empty() { None } else { Some(members[rng.usize(..members.len())]) }
}

fn put_member(json: &mut String, rng: &mut Rng) {
    let Some((begin, _)) = one_member(json, rng) else { return };
    let name = one_of(rng, &NAMES);
    let member = format!("\"{name}\":{},", value(3, rng));
    json.insert_str(begin, &member);
}

fn drop_member(json: &mut String, rng: &mut Rng) {
    let Some((begin, end)) = one_member(json, rng) else { return };
    if json[end..].starts_with(',') {
        json.replace_range(begin..=end, "");
    }
}

fn replace_value(json: &mut String, rng: &mut Rng) {
    let Some((begin, end)) = one_member(json, rng) else { return };
    if let Some(colon) = json[begin..end].find(':') {
        json.replace_range(begin + colon + 1..end, &value(4, rng));
    }
}

/// One of those that a name is known for; the old one stays, so that the name is there twice.
fn put_known_value(json: &mut String, rng: &mut Rng) {
    let (name, values) = VALUES[rng.usize(..VALUES.len())];
    let member = format!("\"{name}\":\"{}\",", one_of(rng, values));
    let known = members(json);
    let old = known.iter().find(|(begin, _)| json[*begin..].starts_with(&format!("\"{name}\"")));
    match (old, known.last()) {
        (Some((begin, end)), _) if json[*end..].starts_with(',') && rng.u8(..8) > 0 => {
            json.replace_range(*begin..=*end, &member);
        }
        (_, Some((begin, _))) => json.insert_str(*begin, &member),
        (_, None) => {}
    }
}

/// Behind letters of strings.
fn put_escapes(json: &mut String, rng: &mut Rng) {
    for _ in 0..rng.u8(1..6) {
        let at = boundary(json, rng);
        if json[..at].ends_with(|c: char| c.is_ascii_lowercase())
            && json[at..].starts_with(|c: char| c.is_ascii_lowercase())
        {
            // The last three make it no JSON, or no text.
            let most = if rng.u8(..20) == 0 { 20 } else { 17 };
            json.insert_str(at, ESCAPES[rng.usize(..most)]);
        }
    }
}

fn put_white_space(json: &mut String, rng: &mut Rng) {
    let space = one_of(rng, &[" ", "\n  ", "\t", "\r\n"]);
    match rng.u8(..4) {
        0 => json.insert_str(0, space),
        1 => json.push_str(space),
        _ => {
            if let Some((begin, _)) = one_member(json, rng) {
                json.insert_str(begin, space);
            }
        }
    }
}

/// Any value, at most so many levels deep, but for some that go deeper than any engine takes.
fn value(deep: u8, rng: &mut Rng) -> String {
    match rng.u8(..14) {
        0 => "null".to_owned(),
        1 => one_of(rng, &["true", "false"]).to_owned(),
        2 | 3 => one_of(rng, &NUMBERS).to_owned(),
        4 if rng.u8(..4) == 0 => "1".repeat(rng.usize(998..1_003)),
        5 if rng.u8(..8) == 0 => {
            let levels = if rng.u8(..10) == 0 { 130 } else { rng.usize(14..20) };
            format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
        }
        6 | 7 if deep > 0 => {
            let members = (0..rng.u8(..5)).map(|_| {
                let name = one_of(rng, &NAMES);
                format!("\"{name}\":{}", value(deep - 1, rng))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        8 | 9 if deep > 0 => {
            let elements = (0..rng.u8(..4)).map(|_| value(deep - 1, rng));
            format!("[{}]", elements.collect::<Vec<_>>().join(","))
        }
        10 if rng.u8(..10) == 0 => {
            let most = if rng.u8(..30) == 0 { 4 } else { 3 };
            format!("\"{}\"", "z".repeat(LONG[rng.usize(..most)]))
        }
        11 => {
            let text = one_of(rng, &TEXTS).repeat(LENGTHS[rng.usize(..15)]);
            let mut json = String::new();
            put_quoted(&mut json, &text);
            json
        }
        _ => {
            let before = "e".repeat(LENGTHS[rng.usize(..14)]);
            let most = if rng.u8(..50) == 0 { 20 } else { 17 };
            format!("\"{before}{}\"", ESCAPES[rng.usize(..most)])
        }
    }
}
