//! The subscription envelope, in AWS's order of keys, and its gzip.

use std::fmt::Write as _;
use std::io::Write as _;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::text::{ACCOUNT, put, put_quoted};

/// 2^144 / 10^21: an id is the time of its batch shifted left by 144 bits, and what follows.
const PER_MILLISECOND: u128 = 22_300_745_198_530_623_141_535;

/// Where the digits of an id that count its batch's events, and the number of the record, stand:
/// `daemon` finds the record of a document by them.
pub(crate) const RECORD_DIGITS: std::ops::Range<usize> = 35..43;

/// An envelope being written; its buffer is used again for the next.
#[derive(Default)]
pub(super) struct Envelope {
    json: String,
    /// What the ids of this batch begin with, and the number of the next.
    id: (u128, u128),
    is_first: bool,
}

impl Envelope {
    /// Begins the record of this number, whose batch came at this time.
    pub(super) fn begin(
        &mut self,
        (log_group, log_stream): (&str, &str),
        (record, time): (usize, i64),
        rng: &mut Rng,
    ) {
        self.json.clear();
        self.is_first = true;
        let chance = rng.u128(..10_000_000_000) * 1_000;
        let after = record as u128 * 10_000_000_000_000 + chance;
        self.id = (time.unsigned_abs() as u128 * PER_MILLISECOND, after);
        put!(
            self.json,
            r#"{{"messageType":"DATA_MESSAGE","owner":"{ACCOUNT}","logGroup":"{log_group}","#
        );
        put!(self.json, r#""logStream":"{log_stream}","subscriptionFilters":["to-kinesis"],"#);
        self.json.push_str(r#""logEvents":["#);
    }

    pub(super) fn event(&mut self, time: i64, message: &str) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.json.push(',');
        }
        let (batch, number) = &mut self.id;
        put!(self.json, r#"{{"id":"{batch:035}{number:021}","timestamp":{time},"message":"#);
        *number += 1;
        put_quoted(&mut self.json, message);
        self.json.push('}');
    }

    pub(super) fn finish(&mut self) -> &str {
        self.json.push_str("]}");
        &self.json
    }
}

/// One member of level 6, as CloudWatch Logs makes it.
pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(6));
    encoder.write_all(plain).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
