//! What it takes to compress bodies, and what remains of them: the product's way beside the fastest levels of
//! two libraries, in turns.

use std::hint::black_box;

use flate2::{Compress, Compression, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use logweir::destination::opensearch::gzip::Deflate;

use crate::Options;
use crate::cpu;
use crate::data::{SHAPES, Shape};
use crate::line::Rig;
use crate::report::{Compressed, median, say};
use crate::routes::Setting;

/// As much of a set, in bytes: a few bodies of the usual size.
const ENOUGH: usize = 16 << 20;

/// Those that make large records. The bodies of the others are no different.
const SETS: [&str; 4] = ["vpc", "cloudtrail", "app", "plain"];

const WAYS: [&str; 3] = ["ours", "libdeflate level 1", "zlib-rs level 1"];

pub(crate) fn measure(options: &Options) -> Vec<Compressed> {
    let rounds = if options.quick { 3 } else { 5 };
    let shapes = SHAPES.iter().filter(|shape| SETS.contains(&shape.name));
    let shapes = shapes.filter(|shape| options.measures(shape.name));
    shapes.flat_map(|shape| rows(shape, rounds)).collect()
}

fn rows(shape: &Shape, rounds: usize) -> Vec<Compressed> {
    say(&format!("gzip: {}", shape.name));
    let bodies = bodies(shape);
    let plain: usize = bodies.iter().map(Vec::len).sum();
    let mut bench = Bench::default();
    let mut all = |way| bodies.iter().map(|body| bench.take(way, body)).sum::<usize>();
    let rounds: Vec<_> = (0..rounds).map(|_| WAYS.map(|way| cpu::of(|| all(way)))).collect();
    WAYS.iter()
        .enumerate()
        .map(|(way, name)| Compressed {
            set: shape.name,
            way: name,
            megabytes_per_second: plain as f64
                / 1e6
                / median(rounds.iter().map(|round| round[way].0.as_secs_f64())),
            remains: rounds[0][way].1 as f64 / plain as f64,
        })
        .collect()
}

/// As a search engine is sent them.
fn bodies(shape: &Shape) -> Vec<Vec<u8>> {
    let (rig, set) = (Rig::new(Setting::default()), shape.make());
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    rig.line(&set, 1).run(|mut batch| {
        if bytes < ENOUGH {
            bodies.push(batch.body().to_vec());
            bytes += batch.body().len();
        }
        batch.settle_delivered(0);
    });
    bodies
}

/// What is used again from body to body.
#[derive(Default)]
struct Bench {
    ours: Deflate,
    out: Vec<u8>,
}

impl Bench {
    /// Compresses a body. Returns how many bytes remain.
    fn take(&mut self, way: &str, body: &[u8]) -> usize {
        self.out.resize(Deflate::bound(body.len()), 0);
        let out = &mut self.out;
        let length = match way {
            "ours" => self.ours.compress(body, out).unwrap(),
            "libdeflate level 1" => {
                let mut theirs = Compressor::new(CompressionLvl::new(1).unwrap());
                theirs.deflate_compress(body, out).unwrap()
            }
            _ => {
                let mut theirs = Compress::new(Compression::new(1), false);
                theirs.compress(body, out, FlushCompress::Finish).unwrap();
                theirs.total_out() as usize
            }
        };
        black_box(&self.out);
        length
    }
}
