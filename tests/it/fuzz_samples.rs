//! Inputs that the fuzzer once broke something with, each checked for the same promise again.
//!
//! `tests/samples/fuzz/TARGET/NAME` is one input; `tests/fuzz/run` finds them and says how to look.

use std::collections::BTreeSet;
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

/// It is a workspace of its own, so that no build of the daemon writes its lock file.
#[test]
fn the_fuzzer_is_locked_with_what_the_daemon_depends_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name| fs::read_to_string(root.join(name)).unwrap().parse::<toml::Table>().unwrap();
    let (manifest, lock) = (read("Cargo.toml"), read("tests/fuzz/Cargo.lock"));
    let declared: BTreeSet<_> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let packages = lock["package"].as_array().unwrap();
    let own = packages.iter().find(|package| package["name"].as_str() == Some("logweir")).unwrap();
    // Of several versions of a crate the lock file says which one: `base64 0.22.1`.
    let locked = own["dependencies"].as_array().unwrap().iter();
    let locked: BTreeSet<_> =
        locked.map(|name| name.as_str().unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(declared, locked, "run cargo update --workspace in tests/fuzz");
}
