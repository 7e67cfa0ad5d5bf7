//! Inputs that the fuzzer once broke something with, each checked for the same promise again.
//!
//! `tests/samples/fuzz/TARGET/NAME` is one input; `tests/fuzz/run` finds them and says how to look.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/properties/mod.rs"]
mod properties;

#[test]
fn what_the_fuzzer_once_found_stays_mended() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/fuzz");
    let mut replayed = 0;
    for folder in fs::read_dir(root).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let property = properties::target(&name).expect(&name);
        for sample in fs::read_dir(folder.path()).unwrap() {
            let path = sample.unwrap().path();
            println!("{}", path.display());
            property(&fs::read(path).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no sample was found");
}

#[test]
fn every_target_takes_what_is_no_input() {
    for (name, property) in properties::TARGETS {
        println!("{name}");
        property(b"");
        property(b"\0");
        property(b"{}");
    }
}
