//! VPC flow log lines of the default format, those of one network interface after another.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::{ACCOUNT, SECOND, one_of, put, put_public_ip};

/// The minute that one batch of lines is about.
const WINDOW: i64 = 60;

/// A network interface, which has a log stream of its own.
pub(super) struct Interface {
    pub(super) id: String,
    address: String,
    /// Hosts of the same network, which it talks to again and again.
    peers: Vec<String>,
}

impl Interface {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let address =
            |rng: &mut Rng| format!("10.{}.{}.{}", rng.u8(0..16), rng.u8(..), rng.u8(1..255));
        Self {
            id: format!("eni-0{:016x}", rng.u64(..)),
            address: address(rng),
            peers: (0..48).map(|_| address(rng)).collect(),
        }
    }
}

/// Writes a line. Returns the time of its log event, which is the start of its flow.
pub(super) fn put(out: &mut String, interface: &Interface, time: i64, rng: &mut Rng) -> i64 {
    let begin = time / SECOND - rng.i64(0..WINDOW);
    let end = begin + rng.i64(20..WINDOW);
    put!(out, "2 {ACCOUNT} {} ", interface.id);
    if rng.u8(..100) == 0 {
        let status = one_of(rng, &["NODATA", "NODATA", "SKIPDATA"]);
        put!(out, "- - - - - - - {begin} {end} - {status}");
        return begin * SECOND;
    }
    let mut peer = String::new();
    match rng.u8(..100) {
        0..30 => peer.push_str(&interface.peers[rng.usize(..interface.peers.len())]),
        30..97 => put_public_ip(&mut peer, rng),
        _ => put!(peer, "2001:db8:{:x}:{:x}::{:x}", rng.u16(1..), rng.u16(1..), rng.u16(1..)),
    }
    let service = one_of(rng, &["443", "443", "443", "80", "22", "53", "5432", "3389", "8080"]);
    let protocol = one_of(rng, &["6", "6", "6", "6", "6", "6", "6", "17", "17", "1"]);
    let client = rng.u16(1024..);
    let own = &interface.address;
    match (protocol, rng.u8(..4)) {
        ("1", _) => put!(out, "{peer} {own} 0 0 1 "),
        (_, 0) => put!(out, "{peer} {own} {client} {service} {protocol} "),
        (_, 1) => put!(out, "{own} {peer} {service} {client} {protocol} "),
        (_, 2) => put!(out, "{own} {peer} {client} {service} {protocol} "),
        (_, _) => put!(out, "{peer} {own} {service} {client} {protocol} "),
    }
    let packets = if rng.bool() { rng.u64(1..20) } else { rng.u64(1..4_000) };
    let is_refused = rng.u8(..100) < 8;
    let action = if is_refused { "REJECT" } else { "ACCEPT" };
    put!(out, "{packets} {} {begin} {end} {action} OK", packets * rng.u64(40..1_500));
    begin * SECOND
}
