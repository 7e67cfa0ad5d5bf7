//! Whether the product makes the documents that a plain program makes, byte for byte: of a million made-up
//! events, many of them odd, and of every sample of the facts.
//!
//! The plain program, this module, follows the README's rules and has nothing of the product in it:
//! serde_json reads one level of a value at a time, and every look at a value reads it anew. It is slow,
//! and there is one way through it. The product's careful ways would have been nearer at hand, but they
//! share with the quick ones what writes text, times and heads; a fault there would be in both.

mod auto;
mod cloudtrail;
mod document;
mod envelope;
mod flow;
mod json;
mod log;
mod samples;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;

use crate::data::{self, Maker, SHAPES, Shape};
use crate::line::{self, Rig};
use crate::report::say;

/// When Kinesis took the records.
const ARRIVAL: i64 = line::ARRIVAL.0;

/// How many events are compared together; each such part has a seed of its own.
const PART: usize = 2_000;

/// What a route's events are.
enum Reads {
    Flow(flow::Format),
    CloudTrail,
    Json(Vec<String>),
    Plain,
    Auto,
}

/// A route, which takes the log groups that begin with something.
struct Route {
    place: u16,
    begins: String,
    reads: Reads,
    index: String,
}

/// What is counted beside documents, by route.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    parse_errors: BTreeMap<(u16, &'static str), u64>,
    undated: BTreeMap<u16, u64>,
    as_text: BTreeMap<u16, u64>,
    undecodable: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        fn all<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
            from.into_iter().for_each(|(key, count)| *to.entry(key).or_default() += count);
        }
        all(&mut self.parse_errors, other.parse_errors);
        all(&mut self.undated, other.undated);
        all(&mut self.as_text, other.as_text);
        all(&mut self.undecodable, other.undecodable);
    }
}

/// The routes for these flow log formats and all else.
fn routes(formats: &[String]) -> Vec<Route> {
    let lift = ["level", "requestId", "user.id"].map(str::to_owned);
    let mut routes = vec![
        ("/vpc/".to_owned(), Reads::Flow(flow::default_format()), "vpc-flowlogs"),
        ("aws-cloudtrail-logs-".to_owned(), Reads::CloudTrail, "cloudtrail"),
        ("/app/".to_owned(), Reads::Json(lift.into()), "app"),
        ("/web/".to_owned(), Reads::Plain, "web"),
    ];
    for (number, format) in formats.iter().enumerate() {
        routes.push((format!("/formats/{number}/"), Reads::Flow(flow::format(format)), "formats"));
    }
    routes.push((String::new(), Reads::Auto, "cwl"));
    let route = |(place, (begins, reads, index)): (u16, (String, Reads, &str))| Route {
        place,
        begins,
        reads,
        index: index.to_owned(),
    };
    (0..).zip(routes).map(route).collect()
}

/// The same, as a configuration has them.
fn configuration(routes: &[Route]) -> String {
    let mut text = String::new();
    for Route { place, begins, reads, index } in routes {
        let parse = match reads {
            Reads::Flow(format) => format!("parse.vpc_flow = \"{}\"", format.join(" ")),
            Reads::CloudTrail => "parse = \"cloudtrail\"".to_owned(),
            Reads::Json(lift) => format!("parse.json.lift = {lift:?}"),
            Reads::Plain => "parse = \"plain\"".to_owned(),
            Reads::Auto => "parse = \"auto\"".to_owned(),
        };
        let log_group = match begins.as_str() {
            "" => String::new(),
            begins => format!("log_group = \"{begins}*\"\n"),
        };
        write!(text, "\n[[route]]\nname = \"r{place}\"\n{log_group}{parse}\nto = [\"search\"]\n")
            .unwrap();
        writeln!(text, "index = \"{index}-%Y.%m.%d\"").unwrap();
    }
    text
}

/// Both programs, with the same routes.
struct Pair {
    rig: Rig,
    routes: Vec<Route>,
}

impl Pair {
    fn new(formats: &[String]) -> Self {
        let routes = routes(formats);
        Self { rig: Rig::with(&configuration(&routes)), routes }
    }

    /// Takes records, as they are before gzip, through both. Returns how many events they have, or
    /// what differs.
    fn compare(&self, records: &[impl AsRef<[u8]>], counts: &mut Counts) -> Result<u64, String> {
        let (mut theirs, mut expected) = (String::new(), Counts::default());
        for record in records {
            match envelope::read(record.as_ref()) {
                Ok(envelopes) => self.put_envelopes(&envelopes, &mut expected, &mut theirs),
                Err(label) => *expected.undecodable.entry(label).or_default() += 1,
            }
        }
        let payloads: Vec<Bytes> =
            records.iter().map(|record| data::gzip(record.as_ref()).into()).collect();
        let mut line = self.rig.line_of(payloads.iter());
        let mut ours = Vec::new();
        line.run(|mut batch| {
            ours.extend_from_slice(&batch.body());
            batch.settle_delivered(0);
        });
        if ours != theirs.as_bytes() {
            return Err(difference(&String::from_utf8_lossy(&ours), &theirs));
        }
        let accounts = line.accounts();
        let by_route = |(route, count): (&logweir::event::RouteId, &u64)| (route.0, *count);
        let errors = accounts.parse_errors.iter();
        let found = Counts {
            parse_errors: errors.map(|((route, label), n)| ((route.0, *label), *n)).collect(),
            undated: accounts.undated.iter().map(by_route).collect(),
            as_text: accounts.fields_as_text.iter().map(by_route).collect(),
            undecodable: accounts.records_undecodable,
        };
        if found != expected {
            return Err(format!("the product counts {found:?}\nthe twin {expected:?}"));
        }
        counts.add(found);
        Ok(theirs.lines().count() as u64 / 2)
    }

    fn put_envelopes(
        &self,
        envelopes: &[envelope::Envelope<'_>],
        counts: &mut Counts,
        body: &mut String,
    ) {
        for (origin, events) in envelopes {
            let takes = |route: &&Route| origin.log_group.starts_with(&route.begins);
            let route = self.routes.iter().find(takes).expect("the last takes all");
            for event in events {
                document::put_lines((origin, event), route, counts, body);
            }
        }
    }
}

/// The first line that differs, from shortly before it does.
fn difference(ours: &str, theirs: &str) -> String {
    let (mut ours, mut theirs, mut number) = (ours.lines(), theirs.lines(), 0);
    loop {
        number += 1;
        let (our, their) = (ours.next().unwrap_or("(end)"), theirs.next().unwrap_or("(end)"));
        if our != their {
            let same = our.chars().zip(their.chars()).take_while(|(our, their)| our == their);
            let from = same.count().saturating_sub(150);
            let some = |line: &str| line.chars().skip(from).take(500).collect::<String>();
            return format!(
                "line {number} differs after {from} characters\nproduct: {}\ntwin:    {}",
                some(our),
                some(their)
            );
        }
    }
}

/// Compares at least so many events, or 1,000,000, and the samples; or one part again.
pub(crate) fn compare(words: &[String]) -> ExitCode {
    let number = |word: &String| word.parse::<u64>().ok();
    let events = match words {
        [] => Some(1_000_000),
        [events] => number(events),
        [shape, part] => {
            let (Some(shape), Some(part)) = (Shape::named(shape), number(part)) else {
                return usage();
            };
            let pair = Pair::new(&[data::VERSION_5.to_owned()]);
            return match compare_part(&pair, (shape, part), &mut Counts::default()) {
                Ok(compared) => {
                    println!("{compared} events: the same documents");
                    ExitCode::SUCCESS
                }
                Err(why) => failed(&why),
            };
        }
        _ => None,
    };
    let Some(events) = events else { return usage() };
    let (compared, counts) = match made_up(events) {
        Ok(compared) => compared,
        Err(why) => return failed(&why),
    };
    say(&format!("odd among them: {counts:?}"));
    let routes = [counts.parse_errors.len(), counts.undated.len(), counts.as_text.len()];
    let is_odd = routes.iter().all(|routes| *routes > 3) && counts.undecodable.len() > 3;
    assert!(is_odd || events < 100_000, "the data has become too tame");
    let samples = samples::compare();
    let shapes = SHAPES.len();
    println!("{compared} events of {shapes} shapes and {samples} samples: the same documents");
    println!("test result: ok. {} passed; 0 failed; 0 ignored", shapes + 1);
    ExitCode::SUCCESS
}

fn failed(why: &str) -> ExitCode {
    println!("{why}\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
    ExitCode::FAILURE
}

fn usage() -> ExitCode {
    eprintln!("usage: tests/bench/same [EVENTS | SHAPE PART]");
    ExitCode::from(64)
}

/// Compares parts until so many events have been, those of one shape after another's, so that a fault
/// anywhere is seen soon.
fn made_up(events: u64) -> Result<(u64, Counts), String> {
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        let pair = Pair::new(&[data::VERSION_5.to_owned()]);
        let mut counts = Counts::default();
        while done.load(Ordering::Relaxed) < events {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (shape, part) = (SHAPES[number % SHAPES.len()], number / SHAPES.len());
            let compared = compare_part(&pair, (shape, part as u64), &mut counts);
            // Once something differs nobody goes on.
            let compared =
                compared.inspect_err(|_| _ = done.fetch_max(events, Ordering::Relaxed))?;
            let before = done.fetch_add(compared, Ordering::Relaxed);
            if (before + compared) / 100_000 > before / 100_000 {
                say(&format!("{} events compared", before + compared));
            }
        }
        Ok::<_, String>(counts)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let mut counts = Counts::default();
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            counts.add(worker.join().expect("a panic has been told")?);
        }
        Ok((done.load(Ordering::Relaxed), counts))
    })
}

/// Compares a part of a shape's events, made from its number.
fn compare_part(
    pair: &Pair,
    (shape, part): (Shape, u64),
    counts: &mut Counts,
) -> Result<u64, String> {
    let mut maker = Maker::with_seed(shape, part);
    let records = PART.div_ceil(shape.events);
    let first = part as usize * records;
    // The times of a set of many records would be after their arrival.
    let records: Vec<_> =
        (0..records).map(|record| maker.odd_envelope((first + record) % 3_000)).collect();
    pair.compare(&records, counts).map_err(|why| format!("{} {part}: {why}", shape.name))
}
