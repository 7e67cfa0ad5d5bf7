//! Made-up names and numbers, written into one reused `String`.

use std::fmt::Write as _;

use fastrand::Rng;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "eu-west-1";

pub(super) const SECOND: i64 = 1_000;

const USERS: [&str; 12] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory",
    "niaj",
];

/// Writes into a `String`, which never fails.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        write!($out, $($text)*).expect("a String takes everything")
    };
}
pub(super) use put;

pub(super) fn one_of<'a>(rng: &mut Rng, options: &[&'a str]) -> &'a str {
    options[rng.usize(..options.len())]
}

/// Writes a JSON string.
pub(super) fn put_quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("text is JSON"));
}

/// `2025-11-24T16:00:00.123`, without the zone.
pub(super) fn put_time(out: &mut String, time: i64) {
    let time = jiff::Timestamp::from_millisecond(time).expect("a date of our own");
    out.push_str(time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string().as_str());
}

/// A random GUID of version 4.
pub(super) fn put_guid(out: &mut String, rng: &mut Rng) {
    put!(out, "{:08x}-{:04x}-4{:03x}-", rng.u32(..), rng.u16(..), rng.u16(..0x1000));
    put!(out, "a{:03x}-{:012x}", rng.u16(..0x1000), rng.u64(..1 << 48));
}

pub(super) fn put_public_ip(out: &mut String, rng: &mut Rng) {
    put!(out, "{}.{}.{}.{}", rng.u8(11..224), rng.u8(..), rng.u8(..), rng.u8(1..255));
}

fn put_base64(out: &mut String, length: usize, rng: &mut Rng) {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..length).for_each(|_| out.push(char::from(DIGITS[rng.usize(..64)])));
}

/// A template with each `$x` replaced: `a` an address on the internet, `b` a bucket, `e` an encoded
/// message, `g` a GUID, `h` 17 hexadecimal digits as in the ids of resources, `k` an object's key,
/// `n` a number, `p` a private address, `r` a role, `t` a session token, `u` a user, `z` a letter of
/// an availability zone.
pub(super) fn expand(out: &mut String, template: &str, rng: &mut Rng) {
    let mut parts = template.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (code, rest) = part.split_at(1);
        match code {
            "a" => put_public_ip(out, rng),
            "b" => {
                let name = one_of(rng, &["invoices", "assets", "backups", "exports", "data-lake"]);
                put!(out, "acme-{name}-{}", rng.u8(..20));
            }
            "e" => put_base64(out, 700, rng),
            "g" => put_guid(out, rng),
            "h" => put!(out, "0{:016x}", rng.u64(..)),
            "k" => {
                let (year, month) = (rng.u16(2019..2026), rng.u8(1..13));
                put!(out, "year={year}/month={month:02}/part-{:05}-", rng.u16(..));
                put_guid(out, rng);
                out.push_str(one_of(rng, &[".parquet", ".json.gz", ".csv"]));
            }
            "n" => put!(out, "{}", rng.u32(..1_000_000)),
            "p" => put!(out, "10.{}.{}.{}", rng.u8(0..16), rng.u8(..), rng.u8(1..255)),
            "r" => {
                let name = one_of(rng, &["deploy", "reader", "admin", "ci-runner", "node-group"]);
                put!(out, "{name}-{}", rng.u8(..12));
            }
            "t" => put_base64(out, 480, rng),
            "u" => out.push_str(one_of(rng, &USERS)),
            "z" => out.push(char::from(b'a' + rng.u8(..3))),
            other => panic!("a template has ${other}"),
        }
        out.push_str(rest);
    }
}
