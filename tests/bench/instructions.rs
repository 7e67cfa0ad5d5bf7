//! How many instructions a thread takes from records to finished bodies, by callgrind: unlike time it is
//! the same every day, so that a change that makes the way longer is seen at once.
//!
//! Compared with `tests/bench/instructions.txt`, which is changed on purpose: `BLESS=1` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::data::{SHAPES, Shape};
use crate::line::{Line, Rig};
use crate::report::say;
use crate::routes::Setting;

/// Events of a set: few, for callgrind takes fifty times as long.
const EVENTS: usize = 400;

/// What a count may differ from the one in the file.
const MAY_DIFFER: f64 = 0.05;

/// Callgrind counts inside this function alone.
const COUNTED: &str = "bench::instructions::counted";

/// The process that callgrind watches: makes the sets, and takes each through a line.
pub(crate) fn walk() {
    let rig = Rig::new(Setting::default());
    for set in SHAPES.map(few).iter().map(Shape::make) {
        // What is done once has been done when it is counted. (No clock is read here: the one that
        // `cpu` asks does not get along with valgrind.)
        rig.line(&set, 1).run(|batch| batch.settle_delivered(0));
        let documents = counted(&mut rig.line(&set, 1));
        assert_eq!(documents, set.events, "{}: as many documents as events", set.shape.name);
    }
}

#[inline(never)]
fn counted(line: &mut Line) -> u64 {
    line.run(|batch| batch.settle_delivered(0))
}

fn few(shape: Shape) -> Shape {
    Shape { records: EVENTS.div_ceil(shape.events), ..shape }
}

/// Counts, and compares.
pub(crate) fn compare() -> ExitCode {
    let counts = count();
    let mut text =
        "# Instructions of an event, by tests/bench/instructions; BLESS=1 writes them anew.\n"
            .to_owned();
    counts.iter().for_each(|(set, count)| writeln!(text, "{set} {count:.0}").unwrap());
    if std::env::var_os("BLESS").is_some() {
        fs::write(file(), &text).unwrap();
    }
    let known = fs::read_to_string(file()).unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    println!("| set | instructions of an event | in instructions.txt | |\n|---|--:|--:|--:|");
    for (set, count) in &counts {
        let known = known.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(' '));
        let known: f64 = known.and_then(|known| known.parse().ok()).unwrap_or(f64::NAN);
        let differs = count / known - 1.0;
        println!("| {set} | {count:.0} | {known:.0} | {:+.1} % |", differs * 100.0);
        // A set that is not in the file is none to pass.
        if differs.abs() <= MAY_DIFFER { passed += 1 } else { failed += 1 }
    }
    if failed > 0 {
        println!("\nmore than {:.0} % off: mend it, or BLESS=1 if it is meant", MAY_DIFFER * 100.0);
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    ExitCode::from(u8::from(failed > 0))
}

/// Instructions of one event of each set.
fn count() -> Vec<(&'static str, f64)> {
    let folder = tempfile::tempdir().unwrap();
    let valgrind = std::env::var("VALGRIND").unwrap_or_else(|_| "valgrind".to_owned());
    let ran = Command::new(&valgrind)
        .args(["--tool=callgrind", "--quiet", "--collect-jumps=no", "--read-inline-info=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()))
        .arg(std::env::current_exe().unwrap())
        .arg("walk")
        .status();
    let ran = ran.unwrap_or_else(|error| panic!("could not run {valgrind}: {error}"));
    assert!(ran.success(), "callgrind ended with {ran}");
    SHAPES
        .iter()
        .zip(1..)
        .map(|(shape, part)| (shape.name, read(folder.path(), *shape, part)))
        .collect()
}

/// The count of the n-th call.
fn read(folder: &Path, shape: Shape, part: usize) -> f64 {
    let path = folder.join(format!("counts.{part}"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.contains(COUNTED), "callgrind has not seen {COUNTED}");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.expect("a total").trim().parse().unwrap();
    let shape = few(shape);
    say(&format!("{}: {total} instructions", shape.name));
    total / (shape.events * shape.records) as f64
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions.txt")
}
