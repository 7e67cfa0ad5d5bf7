//! VPC flow log lines: the default format, and the edge's custom one.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::ACCOUNT;
use super::text::REGION;
use super::text::one_of;
use super::text::put;
use super::text::put_private_ip;
use super::text::put_public_ip;
use crate::event::Timestamp;

/// How many network interfaces there are; each is a log stream.
pub(super) const INTERFACES: u64 = 24;

/// One flow, before a format decides what of it is written.
struct Flow {
    source: String,
    target: String,
    ports: (u16, u16),
    protocol: u8,
    packets: u64,
    bytes: u64,
    inbound: bool,
    accepted: bool,
    ipv6: bool,
}

/// The id of a network interface.
pub(super) fn put_interface(out: &mut String, interface: u64) {
    put!(out, "eni-0{:016x}", mixed(interface));
}

/// Spreads a small number over 64 bits, so that ids look as AWS's do.
const fn mixed(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A line of the default format, version 2.
pub(super) fn put_default(out: &mut String, interface: u64, time: Timestamp, rng: &mut Rng) {
    put!(out, "2 {ACCOUNT} ");
    put_interface(out, interface);
    let (start, end) = window(time, rng);
    let Some(flow) = Flow::draw(rng) else {
        let status = one_of(rng, &["NODATA", "NODATA", "NODATA", "SKIPDATA"]);
        return put!(out, " - - - - - - - {start} {end} - {status}");
    };
    let Flow { source, target, ports: (from, to), protocol, packets, bytes, .. } = &flow;
    put!(out, " {source} {target} {from} {to} {protocol} {packets} {bytes} ");
    put!(out, "{start} {end} {} OK", flow.action());
}

/// A line that has lost its end; no parser takes it.
pub(super) fn put_broken(out: &mut String, interface: u64, rng: &mut Rng) {
    put!(out, "2 {ACCOUNT} ");
    put_interface(out, interface);
    out.push(' ');
    put_private_ip(out, rng);
    put!(out, " {}", rng.u16(..));
}

/// A line of `EDGE_FLOW_FORMAT`.
pub(super) fn put_edge(out: &mut String, interface: u64, time: Timestamp, rng: &mut Rng) {
    put!(out, "5 {ACCOUNT} ");
    put_interface(out, interface);
    let place = mixed(interface % 4);
    put!(out, " vpc-0{:016x} subnet-0{place:016x} ", mixed(99));
    let (start, end) = window(time, rng);
    let Some(flow) = Flow::draw(rng) else {
        put!(out, "- - - - - - - - {start} {end} - NODATA - - - - ");
        return put!(out, "{REGION} use1-az{} - - - -", place % 6 + 1);
    };
    let Flow { source, target, ports: (from, to), protocol, packets, bytes, .. } = &flow;
    put!(out, "i-0{:016x} ", mixed(interface + 1000));
    put!(out, "{source} {target} {from} {to} {protocol} {packets} {bytes} ");
    let flags = if flow.protocol == 6 { *one_of(rng, &[&2, &3, &18, &19]) } else { 0_u8 };
    let family = if flow.ipv6 { "IPv6" } else { "IPv4" };
    put!(out, "{start} {end} {} OK {flags} {family} ", flow.action());
    let service = one_of(rng, &["-", "-", "S3", "AMAZON", "CLOUDFRONT"]);
    put!(out, "{source} {target} {REGION} use1-az{} ", place % 6 + 1);
    if flow.inbound {
        put!(out, "{service} - ingress -");
    } else {
        put!(out, "- {service} egress {}", one_of(rng, &[&1_u8, &7, &8]));
    }
}

/// The minute that a line sums up, in seconds; it ends some time before the line is written.
fn window(time: Timestamp, rng: &mut Rng) -> (i64, i64) {
    let end = time.0 / 1000 - rng.i64(5..60);
    (end - rng.i64(10..60), end)
}

impl Flow {
    /// A flow, or none for an interface that had nothing to say.
    fn draw(rng: &mut Rng) -> Option<Self> {
        if rng.u8(..100) < 3 {
            return None;
        }
        let inbound = rng.bool();
        let ipv6 = rng.u8(..100) < 8;
        let (mut inner, mut outer) = (String::with_capacity(40), String::with_capacity(40));
        if ipv6 {
            put!(inner, "2001:db8:1234:a100:{:x}:{:x}::{:x}", rng.u16(1..), rng.u16(1..), 7);
            put!(outer, "2001:db8:{:x}::{:x}", rng.u16(1..), rng.u16(1..));
        } else {
            put_private_ip(&mut inner, rng);
            put_public_ip(&mut outer, rng);
        }
        let service = *one_of(rng, &[&443, &443, &443, &80, &22, &53, &5432, &3389, &25]);
        let other = rng.u16(1024..);
        let protocol = *one_of(rng, &[&6, &6, &6, &6, &17, &1]);
        let packets = rng.u64(1..400);
        let ports = match (protocol, inbound) {
            (1, _) => (0, 0),
            (_, true) => (other, service),
            (_, false) => (rng.u16(1024..), service),
        };
        let (source, target) = if inbound { (outer, inner) } else { (inner, outer) };
        // Strangers knock at 22 and 3389; what goes out to 25 is refused, too.
        let refused = matches!(service, 22 | 3389 | 25) && rng.u8(..100) < 80;
        let accepted = !refused && rng.u8(..100) < 97;
        let bytes = packets * rng.u64(40..1500);
        Some(Self { source, target, ports, protocol, packets, bytes, inbound, accepted, ipv6 })
    }

    const fn action(&self) -> &'static str {
        if self.accepted { "ACCEPT" } else { "REJECT" }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::demo::log_group::EDGE_FLOW_FORMAT;

    const TIME: Timestamp = Timestamp(1_725_544_035_523);

    fn lines(put: fn(&mut String, u64, Timestamp, &mut Rng)) -> Vec<String> {
        let mut rng = Rng::with_seed(7);
        let line = |interface| {
            let mut line = String::new();
            put(&mut line, interface % INTERFACES, TIME, &mut rng);
            line
        };
        (0..2000).map(line).collect()
    }

    #[test]
    fn every_line_has_the_fields_of_its_format() {
        for line in lines(put_default) {
            assert_eq!(line.split(' ').count(), 14, "{line}");
        }
        for line in lines(put_edge) {
            assert_eq!(line.split(' ').count(), EDGE_FLOW_FORMAT.split(' ').count(), "{line}");
        }
    }

    #[test]
    fn the_default_lines_show_all_that_happens() {
        let lines = lines(put_default);
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        for text in ["ACCEPT OK", "REJECT OK", "NODATA", "SKIPDATA", " 2001:db8:", " 0 0 1 "] {
            assert!(has(text), "{text}");
        }
        let outbound = |line: &&String| line.split(' ').nth(3).unwrap().starts_with("10.");
        let refused = lines.iter().filter(outbound).filter(|line| line.contains("REJECT"));
        assert!(refused.count() > 20);
    }

    #[test]
    fn an_edge_line_means_what_its_format_says() {
        let fields: Vec<&str> = EDGE_FLOW_FORMAT.split(' ').collect();
        let at = |line: &str, name: &str| {
            let place = fields.iter().position(|field| *field == name).unwrap();
            line.split(' ').nth(place).unwrap().to_owned()
        };
        let seen: HashSet<String> =
            lines(put_edge).iter().map(|line| at(line, "flow-direction")).collect();
        assert_eq!(seen.len(), 3, "{seen:?}");
        for line in lines(put_edge) {
            assert!(["OK", "NODATA"].contains(&at(&line, "log-status").as_str()), "{line}");
            assert!(["-", "IPv4", "IPv6"].contains(&at(&line, "type").as_str()), "{line}");
            assert_eq!(at(&line, "region"), REGION);
            assert_eq!(at(&line, "srcaddr"), at(&line, "pkt-srcaddr"));
        }
    }
}
