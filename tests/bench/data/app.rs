//! What applications log: JSON lines of a service, and a web server's text.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::{expand, one_of, put, put_guid, put_public_ip, put_time};

/// Writes a JSON line with `padding` more bytes than it has anyway. Returns the time of its log event.
pub(super) fn put_json(out: &mut String, padding: usize, time: i64, rng: &mut Rng) -> i64 {
    let time = time + rng.i64(0..1_500);
    let level = one_of(rng, &["INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"]);
    out.push_str(r#"{"timestamp":""#);
    put_time(out, time);
    put!(out, r#"Z","level":"{level}","logger":"com.acme.checkout."#);
    out.push_str(one_of(rng, &["Cart", "Payment", "Shipping", "Gateway"]));
    out.push_str(r#"","requestId":""#);
    put_guid(out, rng);
    expand(out, r#"","traceId":"1-$h-$h","user":{"id":"$u-$n","plan":""#, rng);
    put!(out, r#"{}","vip":{}}},"#, one_of(rng, &["free", "team", "business"]), rng.bool());
    put!(out, r#""durationMs":{}.{:03},"status":"#, rng.u16(1..900), rng.u16(..1_000));
    out.push_str(one_of(rng, &["200", "200", "200", "201", "404", "500"]));
    out.push_str(r#","items":["#);
    for item in 0..rng.u8(1..4) {
        let comma = if item == 0 { "" } else { "," };
        put!(out, r#"{comma}{{"sku":"SKU-{:05}","quantity":{}}}"#, rng.u16(..), rng.u8(1..9));
    }
    out.push_str(r#"],"message":""#);
    out.push_str(one_of(
        rng,
        &[
            "order placed",
            "payment taken, receipt on its way",
            r#"cart \"weekly\" updated"#,
            "注文を受けた",
            r"retrying\tupstream timed out",
        ],
    ));
    let end = out.len() + padding;
    while out.len() < end {
        put!(out, " {:08x}", rng.u32(..));
    }
    out.push_str("\"}");
    time
}

/// Writes a line of a web server, or now and then a stack trace. Returns the time of its log event.
pub(super) fn put_line(out: &mut String, time: i64, rng: &mut Rng) -> i64 {
    let time = time + rng.i64(0..1_500);
    if rng.u8(..100) < 4 {
        put_stack_trace(out, rng);
        return time;
    }
    put_public_ip(out, rng);
    out.push_str(" - - [");
    put_time(out, time);
    let method = one_of(rng, &["GET", "GET", "GET", "POST", "HEAD"]);
    let path =
        one_of(rng, &["/products/", "/cart/", "/search?q=caf%C3%A9&page=", "/api/v2/orders/"]);
    put!(out, r#"] "{method} {path}{} HTTP/1.1" "#, rng.u32(..100_000));
    let status = one_of(rng, &["200", "200", "200", "200", "304", "404", "500", "301"]);
    put!(out, r#"{status} {} {}.{:03} "-" ""#, rng.u32(..90_000), rng.u8(..3), rng.u16(..1_000));
    out.push_str(one_of(
        rng,
        &[
            "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0",
            "curl/8.5.0",
            "ELB-HealthChecker/2.0",
        ],
    ));
    out.push('"');
    time
}

fn put_stack_trace(out: &mut String, rng: &mut Rng) {
    let cause = one_of(rng, &["NullPointerException", "TimeoutException", "IllegalStateException"]);
    put!(out, "java.util.{cause}: order \"{:x}\" — kaputt", rng.u32(..));
    for _ in 0..rng.u8(3..12) {
        let class = one_of(rng, &["Cart", "Orders", "Session", "Dispatcher", "Filter"]);
        put!(out, "\n\tat com.acme.web.{class}.handle({class}.java:{})", rng.u16(10..900));
    }
}
