//! What is in a record: envelopes of known events, as CloudWatch Logs, the KPL and nobody write them.

use std::cell::RefCell;
use std::sync::LazyLock;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use logweir::event::Timestamp;

use crate::history::Theme;
use crate::kpl::aggregate;
use crate::stream::{Event, Record};
use crate::world::World;

/// What a route sends where: log group, route's clusters.
const GROUPS: [(&str, &[usize]); 5] =
    [("both/x", &[0, 1]), ("app/x", &[0]), ("soc/x", &[1]), ("noise/x", &[]), ("other", &[0])];

/// The longest message.
pub(crate) const LONGEST: usize = 240_000;

const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#;

/// 17 MiB of spaces in a gzip member of 17 KiB: more than may be in decode by several at once.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&vec![b' '; 17 << 20]));

thread_local! {
    /// To make one takes longer than to compress what is here.
    static COMPRESSOR: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(1).unwrap()));
}

fn gzip(content: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let mut gzip = vec![0; compressor.gzip_compress_bound(content.len())];
        let length = compressor.gzip_compress(content, &mut gzip).unwrap();
        gzip.truncate(length);
        gzip
    })
}

impl World {
    /// A record that arrives now.
    pub(crate) fn record(&mut self) -> Record {
        let (mut events, mut is_decodable, mut user_records) = (Vec::new(), true, 0);
        let payload = match self.rng.u8(..40) {
            0 => {
                is_decodable = false;
                self.add("record: neither gzip nor JSON", 1);
                format!("garbage {}", self.stream.records.len()).into_bytes()
            }
            1 => {
                is_decodable = false;
                self.add("record: ends in mid-gzip", 1);
                let whole = gzip(CONTROL.as_bytes());
                whole[..whole.len() / 2].to_vec()
            }
            2 => {
                self.add("record: control message", 1);
                CONTROL.as_bytes().to_vec()
            }
            3..=6 => {
                user_records = self.rng.u32(1..5);
                self.add("record: KPL aggregate", 1);
                let parts = (0..user_records).map(|_| self.envelope(&mut events, 4));
                aggregate(&parts.map(|part| gzip(part.as_bytes())).collect::<Vec<_>>())
            }
            7..=12 => {
                self.add("record: gzip", 1);
                gzip(self.envelope(&mut events, 9).as_bytes())
            }
            13 => {
                self.add("record: several envelopes", 1);
                let two = [self.envelope(&mut events, 5), self.envelope(&mut events, 5)];
                two.concat().into_bytes()
            }
            _ => self.plain(&mut events),
        };
        let arrival = Timestamp::now();
        let payload = Bytes::from(payload);
        Record { payload, arrival, is_decodable, user_records, events, is_expired: false }
    }

    fn plain(&mut self, events: &mut Vec<usize>) -> Vec<u8> {
        let most = match self.plan.theme {
            Theme::WrongTemplate => 60,
            Theme::Heavy if self.rng.u16(..400) == 0 => {
                self.add("record: gzip bomb within limits", 1);
                let envelope = self.envelope(events, 3);
                return [BOMB.as_slice(), &gzip(envelope.as_bytes())].concat();
            }
            Theme::Heavy if self.rng.bool() => {
                self.add("record: large", 1);
                let length = self.rng.usize(LONGEST / 4..LONGEST);
                return self.envelope_of(events, vec![length]).into_bytes();
            }
            Theme::Usual | Theme::Poison | Theme::ReadOnly | Theme::Heavy | Theme::Unreachable => 9,
        };
        self.add("record: JSON", 1);
        self.envelope(events, most).into_bytes()
    }

    /// An envelope of fewer than `most` events; some of them are long.
    fn envelope(&mut self, events: &mut Vec<usize>, most: usize) -> String {
        let lengths = (0..self.rng.usize(1..most))
            .map(|_| if self.rng.u8(..9) == 0 { 1_500 } else { 0 })
            .collect();
        self.envelope_of(events, lengths)
    }

    fn envelope_of(&mut self, events: &mut Vec<usize>, lengths: Vec<usize>) -> String {
        // What is wrong with a template is wrong with one.
        let is_one = self.plan.theme == Theme::WrongTemplate && self.rng.u8(..4) > 0;
        let (group, to) = GROUPS[if is_one { 1 } else { self.rng.usize(..GROUPS.len()) }];
        let now = Timestamp::now();
        let log: Vec<String> = lengths
            .into_iter()
            .map(|length| {
                let event = self.stream.events.len();
                events.push(event);
                let is_refused = self.rng.u64(..100) < self.plan.refused_percent;
                let one_in = if self.plan.theme == Theme::Poison { 10 } else { 40 };
                let is_poison = self.rng.u8(..one_in) == 0;
                self.stream.events.push(Event { to, is_refused, is_poison });
                // Most have an id by CloudWatch Logs, for others one is made.
                let id = if event.is_multiple_of(7) {
                    format!("e{event}")
                } else {
                    format!("{event:056}")
                };
                let time = now.0 - self.rng.i64(0..2) * 86_400_000;
                let long = "x".repeat(length);
                format!(r#"{{"id":"{id}","timestamp":{time},"message":"event {event} {long}"}}"#)
            })
            .collect();
        let log = log.join(",");
        format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"{group}","logStream":"s","subscriptionFilters":["f"],"logEvents":[{log}]}}"#
        )
    }
}
