//! Lines of applications: a Lambda function's JSON, a web server's text, debug output.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::Calendar;
use super::text::expand;
use super::text::guid;
use super::text::one_of;
use super::text::put;
use super::text::put_guid;
use super::text::put_private_ip;
use super::text::put_public_ip;
use crate::event::Timestamp;

/// A message larger than this is refused by the demo's destination (`max_document`).
const OVERSIZED: usize = 1_100_000;

/// A line of the function's own, or of the platform around it; says whether it is plain text.
pub(super) fn put_checkout(
    out: &mut String,
    calendar: &mut Calendar,
    time: Timestamp,
    rng: &mut Rng,
) -> bool {
    let plain = rng.u8(..100) < 12;
    if plain {
        put_platform_line(out, rng);
    } else {
        put_checkout_head(out, calendar, time, rng);
        put_order(out, rng);
    }
    plain
}

/// A JSON line whose payload is more than a document may hold.
pub(super) fn put_oversized(
    out: &mut String,
    calendar: &mut Calendar,
    time: Timestamp,
    rng: &mut Rng,
) {
    put_checkout_head(out, calendar, time, rng);
    let mut piece = String::new();
    (0..64).for_each(|_| put!(piece, "{:016x}", rng.u64(..)));
    out.push_str(r#","message":"cart dump","payload":""#);
    while out.len() < OVERSIZED {
        out.push_str(&piece);
    }
    out.push_str("\"}");
}

fn put_checkout_head(out: &mut String, calendar: &mut Calendar, time: Timestamp, rng: &mut Rng) {
    let level = one_of(rng, &["INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"]);
    put!(out, r#"{{"level":"{level}","timestamp":""#);
    calendar.put_iso(out, time);
    put!(out, r#".{:03}Z","requestId":""#, time.0.rem_euclid(1000));
    put_guid(out, guid(rng));
    out.push('"');
}

fn put_order(out: &mut String, rng: &mut Rng) {
    let message = one_of(rng, &["order placed", "payment taken", "cart updated", "注文を受けた"]);
    put!(out, r#","message":"{message}","order":{{"id":"o-{:08x}","items":["#, rng.u32(..));
    for item in 0..rng.u8(1..4) {
        let comma = if item == 0 { "" } else { "," };
        put!(out, r#"{comma}{{"sku":"SKU-{:05}","quantity":{}}}"#, rng.u16(..), rng.u8(1..9));
    }
    let (whole, cents) = (rng.u32(1..900), rng.u8(..100));
    put!(
        out,
        r#"],"total":{whole}.{cents:02},"currency":"EUR"}},"customer":{{"id":{}"#,
        rng.u32(..)
    );
    put!(out, r#","vip":{}}},"durationMs":{}}}"#, rng.bool(), rng.u16(3..900));
}

fn put_platform_line(out: &mut String, rng: &mut Rng) {
    let kind = one_of(rng, &["START", "END", "REPORT"]);
    put!(out, "{kind} RequestId: ");
    put_guid(out, guid(rng));
    match kind {
        "START" => out.push_str(" Version: $LATEST"),
        "REPORT" => {
            let took = rng.u16(3..900);
            put!(
                out,
                "\tDuration: {took}.{:02} ms\tBilled Duration: {} ms",
                rng.u8(..99),
                took + 1
            );
            put!(out, "\tMemory Size: 512 MB\tMax Memory Used: {} MB\t", rng.u16(80..400));
        }
        _ => {}
    }
    out.push('\n');
}

/// A web server's line, or the stack trace of a request that failed.
pub(super) fn put_web(out: &mut String, calendar: &mut Calendar, time: Timestamp, rng: &mut Rng) {
    if rng.u8(..100) < 4 {
        return put_stack_trace(out, rng);
    }
    put_public_ip(out, rng);
    out.push_str(" - - [");
    calendar.put_web(out, time);
    let method = one_of(rng, &["GET", "GET", "GET", "POST", "HEAD"]);
    let path = one_of(rng, &["/products", "/cart", "/search?q=caf%C3%A9", "/api/v2/orders", "/"]);
    let status = *one_of(rng, &[&200_u16, &200, &200, &200, &304, &404, &500, &301]);
    put!(out, "] \"{method} {path} HTTP/1.1\" {status} {} \"-\" \"", rng.u32(..90_000));
    out.push_str(one_of(
        rng,
        &[
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
            "curl/8.5.0",
            "ELB-HealthChecker/2.0",
        ],
    ));
    out.push('"');
}

fn put_stack_trace(out: &mut String, rng: &mut Rng) {
    let cause = one_of(rng, &["NullPointerException", "TimeoutException", "IllegalStateException"]);
    put!(out, "java.util.{cause}: order \"{:x}\" — kaputt", rng.u32(..));
    for _ in 0..rng.u8(3..9) {
        let class = one_of(rng, &["Cart", "Orders", "Session", "Dispatcher"]);
        put!(out, "\n\tat com.acme.web.{class}.handle({class}.java:{})", rng.u16(10..900));
    }
}

/// A line that nobody wants.
pub(super) fn put_trace(out: &mut String, rng: &mut Rng) {
    out.push_str("TRACE ");
    expand(out, "cache lookup key=$u/$n shard=$h took=$n us from ", rng);
    put_private_ip(out, rng);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp(1_725_544_035_523);

    #[test]
    fn a_checkout_line_is_an_object_unless_it_says_so() {
        let (mut rng, mut calendar) = (Rng::with_seed(1), Calendar::default());
        let mut plain = 0;
        for _ in 0..500 {
            let mut line = String::new();
            let is_plain = put_checkout(&mut line, &mut calendar, TIME, &mut rng);
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
            assert_eq!(parsed.is_err(), is_plain, "{line}");
            if let Ok(object) = parsed {
                assert_eq!(object["timestamp"], "2024-09-05T13:47:15.523Z");
                assert!(object["level"].is_string() && object["order"]["items"].is_array());
            }
            plain += usize::from(is_plain);
        }
        assert!((20..150).contains(&plain), "{plain}");
    }

    #[test]
    fn an_oversized_line_is_an_object_of_more_than_a_mebibyte() {
        let mut line = String::new();
        put_oversized(&mut line, &mut Calendar::default(), TIME, &mut Rng::with_seed(1));
        assert!(line.len() > 1024 * 1024);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }
}
