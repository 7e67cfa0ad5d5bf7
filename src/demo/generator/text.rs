//! Made-up names and numbers, and how they and times are written, into one reused `String`.

use std::fmt::Write as _;
use std::mem;

use fastrand::Rng;
use serde_json::Value;

use crate::event::Timestamp;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "us-east-1";

pub(super) const USERS: [&str; 8] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];

/// Writes into a `String`, which never fails.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {{
        let written = write!($out, $($text)*);
        debug_assert!(written.is_ok(), "a String takes everything");
    }};
}
pub(super) use put;

/// One of these; `options` is never empty.
pub(super) fn one_of<'a, T: ?Sized>(rng: &mut Rng, options: &[&'a T]) -> &'a T {
    #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
    options[rng.usize(..options.len())]
}

/// A random GUID of version 4, as a number.
pub(super) fn guid(rng: &mut Rng) -> u128 {
    let random = rng.u128(..);
    random & !(0xf << 76) & !(0xf << 60) | 4 << 76 | 8 << 60
}

pub(super) fn put_guid(out: &mut String, guid: u128) {
    let (high, low) = (guid >> 64, guid & u128::from(u64::MAX));
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    put!(out, "{first:08x}-{second:04x}-{third:04x}-");
    put!(out, "{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff);
}

/// A template with each `$x` replaced: `b` a bucket, `f` a function, `g` a
/// GUID, `h` 17 hexadecimal digits as in resource ids, `k` an object's key, `n` a number, `r` a
/// role, `u` a user, and `$$` a dollar sign.
pub(super) fn expand(out: &mut String, template: &str, rng: &mut Rng) {
    let mut parts = template.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let mut rest = part.chars();
        match rest.next() {
            Some('b') => {
                let name = one_of(rng, &["invoices", "assets", "backups", "exports"]);
                put!(out, "acme-{name}-{}", rng.u8(..9));
            }
            Some('f') => out.push_str(one_of(rng, &["checkout", "resize", "mailer", "audit"])),
            Some('g') => put_guid(out, guid(rng)),
            Some('h') => put!(out, "0{:016x}", rng.u64(..)),
            Some('k') => {
                let extension = one_of(rng, &["json", "parquet", "pdf", "csv.gz"]);
                put!(out, "{}/{:02}/part-{:05}.", rng.u16(2019..2026), rng.u8(1..13), rng.u16(..));
                out.push_str(extension);
            }
            Some('n') => put!(out, "{}", rng.u32(..100_000)),
            Some('r') => out.push_str(one_of(rng, &["deploy", "reader", "admin", "ci-runner"])),
            Some('u') => out.push_str(one_of(rng, &USERS)),
            // A template is a constant of ours; an unknown letter stands for itself.
            Some(other) => out.push(other),
            None => out.push('$'),
        }
        out.push_str(rest.as_str());
    }
}

/// An address on the internet, of the blocks kept for documentation.
pub(super) fn put_public_ip(out: &mut String, rng: &mut Rng) {
    let block = one_of(rng, &["203.0.113", "198.51.100", "192.0.2"]);
    put!(out, "{block}.{}", rng.u8(1..255));
}

pub(super) fn put_private_ip(out: &mut String, rng: &mut Rng) {
    put!(out, "10.{}.{}.{}", rng.u8(0..4), rng.u8(..), rng.u8(1..255));
}

/// Writes a JSON string.
pub(super) fn put_json(out: &mut String, text: &mut String) {
    // The escaping inside serde_json is optimised even where this crate is not: here it would
    // take more time than all the rest.
    let value = Value::String(mem::take(text));
    put!(out, "{value}");
    if let Value::String(back) = value {
        *text = back;
    }
}

const DAY_MILLIS: i64 = 86_400_000;

/// Writes times; the date, which seldom changes, is kept as text.
#[derive(Default)]
pub(super) struct Calendar {
    day: Option<i64>,
    iso: String,
    web: String,
}

impl Calendar {
    /// `2025-11-25T10:01:02`, without the zone.
    pub(super) fn put_iso(&mut self, out: &mut String, time: Timestamp) {
        self.turn_to(time);
        out.push_str(&self.iso);
        out.push('T');
        put_clock(out, time);
    }

    /// `25/Nov/2025:10:01:02 +0000`, as web servers write it.
    pub(super) fn put_web(&mut self, out: &mut String, time: Timestamp) {
        self.turn_to(time);
        out.push_str(&self.web);
        out.push(':');
        put_clock(out, time);
        out.push_str(" +0000");
    }

    fn turn_to(&mut self, time: Timestamp) {
        let day = time.0.div_euclid(DAY_MILLIS);
        if self.day == Some(day) {
            return;
        }
        self.day = Some(day);
        let date = time.date().unwrap_or_default();
        self.iso = date.to_string();
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let at = (usize::from(date.month().unsigned_abs()).saturating_sub(1)) * 3;
        let month = months.get(at..at + 3).unwrap_or("Jan");
        self.web = format!("{:02}/{month}/{:04}", date.day(), date.year());
    }
}

fn put_clock(out: &mut String, time: Timestamp) {
    let seconds = time.0.rem_euclid(DAY_MILLIS) / 1000;
    put!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_from_json_and_is_still_there() {
        for text in ["plain", "a \"b\" c", "tab\tnew\nline\r \\ \"x\"", "Grüße 注文"] {
            let (mut out, mut kept) = (String::new(), text.to_owned());
            put_json(&mut out, &mut kept);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
            assert_eq!(kept, text);
        }
    }

    #[test]
    fn times_are_written_as_each_log_does() {
        let time = Timestamp(1_725_544_035_523);
        let (mut calendar, mut out) = (Calendar::default(), String::new());
        calendar.put_iso(&mut out, time);
        calendar.put_web(&mut out, time);
        assert_eq!(out, "2024-09-05T13:47:1505/Sep/2024:13:47:15 +0000");
    }

    #[test]
    fn a_guid_is_of_version_4() {
        let mut out = String::new();
        put_guid(&mut out, guid(&mut Rng::with_seed(1)));
        assert_eq!((out.len(), out.get(14..15), out.get(19..20)), (36, Some("4"), Some("8")));
    }
}
