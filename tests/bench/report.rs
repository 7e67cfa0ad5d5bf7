//! What was measured, as tables for people and as `target/bench/results.json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// One data set on one thread. Rates are per second of processor time; megabytes are those of the
/// decompressed envelope.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) set: &'static str,
    pub(crate) events_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    /// 1 would be as fast as inflating alone.
    pub(crate) share_of_gunzip: f64,
    pub(crate) times_naive: f64,
    /// MB/s of gunzip alone, of decode, and of the naive way.
    pub(crate) gunzip: f64,
    pub(crate) decode: f64,
    pub(crate) naive: f64,
}

/// What one way of compressing makes of a set's bodies.
#[derive(Clone, Debug)]
pub(crate) struct Compressed {
    pub(crate) set: &'static str,
    pub(crate) way: &'static str,
    /// Of plain bodies, per second of processor time.
    pub(crate) megabytes_per_second: f64,
    /// Of 1.
    pub(crate) remains: f64,
}

/// One daemon that read a backlog, and then what came at a tenth of that pace.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) set: &'static str,
    pub(crate) shards: usize,
    pub(crate) compression: &'static str,
    /// Whether it and the two endpoints had one processor, and no neighbour; else they had all.
    pub(crate) is_on_one: bool,
    pub(crate) events_per_cpu_second: f64,
    /// In terms of what one thread inflates, and does nothing else, while all else rests.
    pub(crate) share_of_gunzip: f64,
    /// By the clock on the wall, beside the two endpoints.
    pub(crate) events_per_second: f64,
    /// MiB.
    pub(crate) peak_rss: f64,
    /// What the endpoints cost, in terms of the daemon's processor time.
    pub(crate) kinesis_share: f64,
    pub(crate) bulk_share: f64,
    /// Seconds from the stream's first answer to the first acknowledgement.
    pub(crate) first: f64,
    pub(crate) latency: Option<Latency>,
}

/// One daemon that wrote a backlog of flow logs into what keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    pub(crate) into: &'static str,
    pub(crate) events_per_cpu_second: f64,
    pub(crate) events_per_second: f64,
    /// MiB.
    pub(crate) peak_rss: f64,
    /// What it costs there, in terms of the daemon's processor time.
    pub(crate) theirs: f64,
}

/// What a daemon costs that has nothing to do, and how large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Of a core.
    pub(crate) share: f64,
    /// Of the stripped binary, in MiB.
    pub(crate) binary: f64,
}

/// Milliseconds from a record being there to all of it being acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// At this pace.
    pub(crate) events_per_second: f64,
}

impl Latency {
    pub(crate) fn of(mut added: Vec<f64>, events_per_second: f64) -> Self {
        added.sort_by(f64::total_cmp);
        let at = |part: f64| added[((added.len() - 1) as f64 * part).ceil() as usize];
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0), events_per_second }
    }
}

/// What an event costs with so much of something.
#[derive(Clone, Debug)]
pub(crate) struct Scaling {
    /// What there is more and more of.
    pub(crate) grows: &'static str,
    pub(crate) at: usize,
    /// Processor time of an event.
    pub(crate) nanoseconds: f64,
    /// The same in terms of the first of the series.
    pub(crate) times: f64,
}

/// Everything that one run has measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    stage: Vec<Stage>,
    gzip: Vec<Compressed>,
    daemon: Vec<Daemon>,
    stores: Vec<Store>,
    scaling: Vec<Scaling>,
    /// Rows of what cannot be had here. `tests/run` takes them off what has passed.
    skipped: usize,
}

impl Report {
    pub(crate) fn stage(&mut self, rows: Vec<Stage>) {
        println!("\nstage, one thread, per second of processor time (MB: decompressed envelope)\n");
        println!(
            "| set | events/s | MB/s | gunzip MB/s | decode MB/s | naive MB/s | of gunzip | × naive |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        for row in &rows {
            println!(
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} % | {:.1} |",
                row.set,
                thousands(row.events_per_second),
                row.megabytes_per_second,
                row.gunzip,
                row.decode,
                row.naive,
                row.share_of_gunzip * 100.0,
                row.times_naive,
            );
        }
        self.stage = rows;
    }

    pub(crate) fn gzip(&mut self, rows: Vec<Compressed>) {
        println!("\ngzip of bodies, one thread, per second of processor time (MB: plain bodies)\n");
        println!("| set | compressed by | MB/s | remains |\n|---|---|--:|--:|");
        for Compressed { set, way, megabytes_per_second, remains } in &rows {
            println!("| {set} | {way} | {megabytes_per_second:.0} | {:.1} % |", remains * 100.0);
        }
        self.gzip = rows;
    }

    pub(crate) fn daemon(&mut self, rows: Vec<Daemon>, stores: Vec<Store>, idle: Idle) {
        println!("\ndaemon: a backlog; then added latency, in ms, at a tenth of its pace\n");
        println!(
            "| set | shards | bodies | processors | events/CPU s | of gunzip | events/s | peak RSS, MiB | Kinesis, search engine | first, s | at events/s | p50 | p99 | max |"
        );
        println!("|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        for row in &rows {
            let latency = row.latency.map_or_else(
                || "| | | |".to_owned(),
                |Latency { p50, p99, max, events_per_second }| {
                    format!("| {} | {p50:.0} | {p99:.0} | {max:.0} |", thousands(events_per_second))
                },
            );
            println!(
                "| {} | {} | {} | {} | {} | {:.1} % | {} | {:.0} | {:.0} %, {:.0} % | {:.2} {latency}",
                row.set,
                row.shards,
                row.compression,
                if row.is_on_one { "one" } else { "all" },
                thousands(row.events_per_cpu_second),
                row.share_of_gunzip * 100.0,
                thousands(row.events_per_second),
                row.peak_rss,
                row.kinesis_share * 100.0,
                row.bulk_share * 100.0,
                row.first,
            );
        }
        println!("\n| vpc, 4 shards, into | events/CPU s | events/s | peak RSS, MiB | CPU there |");
        println!("|---|--:|--:|--:|--:|");
        for Store { into, events_per_cpu_second, events_per_second, peak_rss, theirs } in &stores {
            println!(
                "| {into} | {} | {} | {peak_rss:.0} | × {theirs:.1} |",
                thousands(*events_per_cpu_second),
                thousands(*events_per_second),
            );
        }
        println!("\nidle at 16 shards: {:.2} % of a core", idle.share * 100.0);
        println!("binary, stripped: {:.1} MiB", idle.binary);
        self.daemon = rows;
        self.skipped = 2 - stores.len();
        self.stores = stores;
    }

    pub(crate) fn scaling(&mut self, rows: Vec<Scaling>) {
        println!("\nscaling: what an event costs\n");
        println!("| what grows | to | ns an event (or KB) | × the first |\n|---|--:|--:|--:|");
        for Scaling { grows, at, nanoseconds, times } in &rows {
            println!("| {grows} | {at} | {nanoseconds:.0} | {times:.2} |");
        }
        self.scaling = rows;
    }

    /// What was not measured this time is empty.
    pub(crate) fn write(&self) {
        let stage: Vec<Value> = self.stage.iter().map(Stage::json).collect();
        let gzip: Vec<Value> = self.gzip.iter().map(Compressed::json).collect();
        let daemon = self.daemon.iter().map(Daemon::json);
        let daemon: Vec<Value> = daemon.chain(self.stores.iter().map(Store::json)).collect();
        let scaling: Vec<Value> = self.scaling.iter().map(Scaling::json).collect();
        let results = json!({"stage": stage, "gzip": gzip, "daemon": daemon, "scaling": scaling});
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&folder).unwrap();
        let text = serde_json::to_string_pretty(&results).unwrap();
        fs::write(folder.join("results.json"), text + "\n").unwrap();
        println!("\nresults: target/bench/results.json");
        let rows = self.stage.len() + self.gzip.len() + self.scaling.len();
        let rows = rows + self.daemon.len() + self.stores.len();
        println!("test result: ok. {} passed; 0 failed; 0 ignored", rows + self.skipped);
    }
}

impl Stage {
    fn json(&self) -> Value {
        json!({
            "set": self.set,
            "events_per_second": self.events_per_second.round(),
            "megabytes_per_second": rounded(self.megabytes_per_second),
            "share_of_gunzip": rounded(self.share_of_gunzip),
            "times_naive": rounded(self.times_naive),
        })
    }
}

impl Compressed {
    fn json(&self) -> Value {
        json!({
            "set": self.set,
            "compressed_by": self.way,
            "megabytes_per_second": rounded(self.megabytes_per_second),
            "remains": rounded(self.remains),
        })
    }
}

impl Daemon {
    fn json(&self) -> Value {
        json!({
            "set": self.set,
            "shards": self.shards,
            "compression": self.compression,
            "processors": if self.is_on_one { "one" } else { "all" },
            "events_per_cpu_second": self.events_per_cpu_second.round(),
            "share_of_gunzip": rounded(self.share_of_gunzip),
            "peak_rss_mib": rounded(self.peak_rss),
            "p99_added_ms": self.latency.map(|latency| rounded(latency.p99)),
        })
    }
}

impl Store {
    fn json(&self) -> Value {
        json!({
            "set": format!("vpc into {}", self.into),
            "shards": 4,
            "compression": "none",
            "events_per_cpu_second": self.events_per_cpu_second.round(),
            "peak_rss_mib": rounded(self.peak_rss),
            "p99_added_ms": null,
        })
    }
}

impl Scaling {
    fn json(&self) -> Value {
        json!({
            "grows": self.grows,
            "at": self.at,
            "nanoseconds_per_event": rounded(self.nanoseconds),
            "times_first": rounded(self.times),
        })
    }
}

/// To four digits behind the point, which is more than is ever true.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// How far it is, beside the results.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
