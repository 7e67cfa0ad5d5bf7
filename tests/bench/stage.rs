//! What one thread can do: gunzip alone, decode, and the whole way to finished bulk bodies, beside a
//! program that was written without a thought about speed.
//!
//! The four take turns within one process, a few tens of milliseconds each, and every ratio is one of
//! times measured in the same round: whatever else the machine does then concerns all four.

use std::hint::black_box;
use std::time::Duration;

use libdeflater::Decompressor;
use logweir::decode;
use serde_json::Value;

use crate::Options;
use crate::cpu;
use crate::data::{Content, DataSet, SHAPES, Shape};
use crate::line::Rig;
use crate::naive;
use crate::report::{Stage, median, say};
use crate::routes::Setting;

/// What a turn takes at least, so that the clock's own steps do not matter.
const TURN: Duration = Duration::from_millis(60);

/// How long a profiler has something to look at.
const PROFILED: Duration = Duration::from_secs(8);

/// How often each of the four has its turn in a round.
const TURNS: usize = 2;

/// What a record may expand to, as in a daemon.
const CAP: usize = 16 << 20;

/// Inflating and nothing else, the hardest yardstick: whole members into a buffer that is used again.
pub(crate) struct Gunzip<'a> {
    set: &'a DataSet,
    decompressor: Decompressor,
    inflated: Vec<u8>,
}

impl<'a> Gunzip<'a> {
    pub(crate) fn of(set: &'a DataSet) -> Self {
        Self { set, decompressor: Decompressor::new(), inflated: vec![0; set.largest] }
    }

    /// Inflates all of the set.
    fn all(&mut self) {
        let mut bytes = 0;
        for record in &self.set.records {
            let inflated = self.decompressor.gzip_decompress(record, &mut self.inflated);
            bytes += inflated.unwrap();
            black_box(&self.inflated);
        }
        assert_eq!(bytes, self.set.inflated, "all of it was inflated");
    }

    /// Events that are inflated in a second of processor time.
    pub(crate) fn rate(&mut self) -> f64 {
        let (mut took, mut events) = (Duration::ZERO, 0);
        while took < 2 * TURN {
            took += cpu::of(|| self.all()).0;
            events += self.set.events;
        }
        events as f64 / took.as_secs_f64()
    }
}

/// The four, and how often a set goes through each in one turn.
struct Bench<'a> {
    set: &'a DataSet,
    rig: &'a Rig,
    gunzip: Gunzip<'a>,
    /// The product's own.
    decoded: decode::Buffers,
    times: [usize; 4],
}

const GUNZIP: usize = 0;
const DECODE: usize = 1;
const WHOLE: usize = 2;
const NAIVE: usize = 3;

pub(crate) fn measure(options: &Options) -> Vec<Stage> {
    let rounds = if options.quick { 3 } else { 5 };
    let rig = Rig::new(Setting::default());
    SHAPES
        .iter()
        .filter(|shape| options.measures(shape.name))
        .map(|shape| {
            let set = shape.make();
            say(&format!(
                "stage: {} ({} records, {:.0} bytes of envelope and {:.1} of gzip an event)",
                shape.name,
                set.records.len(),
                set.inflated as f64 / set.events as f64,
                set.compressed() as f64 / set.events as f64,
            ));
            compare(&set, &rig);
            let mut bench = Bench::new(&set, &rig);
            let rounds: Vec<_> = (0..rounds).map(|_| bench.round()).collect();
            row(&set, &rounds)
        })
        .collect()
}

/// Takes a set the whole way for some seconds and does nothing else, for a profiler to look at.
pub(crate) fn walk(set: &str) {
    let set = Shape::named(set).unwrap_or_else(|| panic!("there is no set {set}")).make();
    let rig = Rig::new(Setting::default());
    let mut took = Duration::ZERO;
    while took < PROFILED {
        took += rig.time(&set, 5);
    }
}

impl<'a> Bench<'a> {
    /// Finds out, while everything warms up, how much work a turn is.
    fn new(set: &'a DataSet, rig: &'a Rig) -> Self {
        let mut bench = Self {
            set,
            rig,
            gunzip: Gunzip::of(set),
            decoded: decode::Buffers::default(),
            times: [1; 4],
        };
        for which in [GUNZIP, DECODE, WHOLE, NAIVE] {
            bench.turn(which);
            let took = bench.turn(which).as_secs_f64();
            bench.times[which] = (TURN.as_secs_f64() / took).ceil() as usize;
        }
        bench
    }

    /// Seconds that each of the four takes for the set.
    fn round(&mut self) -> [f64; 4] {
        let mut took = [0.0; 4];
        for _ in 0..TURNS {
            for which in [GUNZIP, DECODE, WHOLE, NAIVE] {
                let turn = self.turn(which).as_secs_f64();
                took[which] += turn / (self.times[which] * TURNS) as f64;
            }
        }
        took
    }

    fn turn(&mut self, which: usize) -> Duration {
        let times = self.times[which];
        match which {
            GUNZIP => cpu::of(|| (0..times).for_each(|_| self.gunzip.all())).0,
            DECODE => cpu::of(|| (0..times).for_each(|_| self.decode())).0,
            WHOLE => self.rig.time(self.set, times),
            _ => cpu::of(|| (0..times).for_each(|_| self.naive())).0,
        }
    }

    fn decode(&mut self) {
        let mut events = 0;
        for record in &self.set.records {
            let decoded = decode::decode(record, CAP, &mut self.decoded).unwrap();
            let envelopes = decoded.envelopes.iter();
            events += envelopes.map(|envelope| envelope.log_events.len() as u64).sum::<u64>();
            black_box(&decoded);
        }
        assert_eq!(events, self.set.events, "every event was decoded");
    }

    fn naive(&mut self) {
        let mut documents = 0;
        for record in &self.set.records {
            let mut body = String::new();
            documents += naive::bulk_lines(self.set.shape.content, record, &mut body);
            black_box(body);
        }
        assert_eq!(documents, self.set.events, "the naive way leaves nothing out");
    }
}

/// That both ways make the same documents, where they are meant to.
fn compare(set: &DataSet, rig: &Rig) {
    let documents = rig.documents(set);
    if matches!(set.shape.content, Content::CloudTrail | Content::App) {
        return;
    }
    let mut body = String::new();
    for record in &set.records {
        naive::bulk_lines(set.shape.content, record, &mut body);
    }
    let theirs = body.lines().skip(1).step_by(2);
    let theirs = theirs.map(|line| serde_json::from_str::<Value>(line).unwrap());
    for (ours, theirs) in documents.into_iter().zip(theirs) {
        assert_eq!(ours, theirs, "{}", set.shape.name);
    }
}

fn row(set: &DataSet, rounds: &[[f64; 4]]) -> Stage {
    let of = |which: usize| median(rounds.iter().map(|round| round[which]));
    let ratio = |to: usize| median(rounds.iter().map(|round| round[to] / round[WHOLE]));
    let megabytes = set.inflated as f64 / 1e6;
    Stage {
        set: set.shape.name,
        events_per_second: set.events as f64 / of(WHOLE),
        megabytes_per_second: megabytes / of(WHOLE),
        share_of_gunzip: ratio(GUNZIP),
        times_naive: ratio(NAIVE),
        gunzip: megabytes / of(GUNZIP),
        decode: megabytes / of(DECODE),
        naive: megabytes / of(NAIVE),
    }
}
