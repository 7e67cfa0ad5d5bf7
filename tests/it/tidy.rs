//! Rules about the source tree that no lint knows.
//!
//! `src/lib.rs` declares modules bottom layer first. A file may name only modules declared above
//! its own, which makes cycles impossible and lets `lib.rs` double as the architecture diagram.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Production lines a file may have; its unit tests do not count.
const MAX_LINES: usize = 500;

/// Columns of a comment: the 100 of rustfmt, and a word that would be alone on the next line.
const MAX_COLUMNS: usize = 110;

/// Names that say nothing about what a module is for.
const REFUSED_NAMES: [&str; 8] =
    ["utils", "common", "helpers", "misc", "types", "manager", "processor", "handler"];

#[test]
fn modules_name_only_lower_layers() {
    let layer = layers();
    let mut broken = Vec::new();
    for file in rust_files("src") {
        // lib.rs and main.rs are the top.
        let Some(own) = layer.get(top_module(&file).as_str()) else { continue };
        for (number, line) in production_lines(&file) {
            for named in named_modules(&line, &file) {
                if layer.get(named.as_str()).is_some_and(|other| other > own) {
                    broken.push(format!("{}:{number} names {named}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_top_module_is_in_the_list() {
    let layer = layers();
    let missing: Vec<_> = rust_files("src")
        .into_iter()
        .map(|file| top_module(&file))
        .filter(|name| !["lib", "main"].contains(&name.as_str()) && !layer.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "not in lib.rs: {missing:?}");
}

#[test]
fn files_are_short_and_say_why_they_exist() {
    let mut broken = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let lines = production_lines(&file);
        if lines.len() > MAX_LINES && !is_test_file(&file) {
            broken.push(format!("{}: {} lines", file.display(), lines.len()));
        }
        if !lines.first().is_some_and(|(_, line)| line.starts_with("//! ")) {
            broken.push(format!("{}: no `//!` on the first line", file.display()));
        }
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if REFUSED_NAMES.contains(&stem) {
            broken.push(format!("{}: the name says nothing", file.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// rustfmt sees to the code, and leaves comments as they are.
#[test]
fn comments_fit_into_a_window() {
    let mut broken = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        for (index, line) in read(&file).lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > MAX_COLUMNS {
                broken.push(format!("{}:{}", file.display(), index + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_test_is_switched_off() {
    let off = concat!("#[", "ignore");
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    let broken: Vec<_> = files.filter(|file| read(file).contains(off)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The fuzzer is a workspace of its own, so that no build of the daemon writes its lock file.
#[test]
fn the_fuzzer_is_locked_with_what_the_daemon_depends_on() {
    let table = |name| read(&root().join(name)).parse::<toml::Table>().unwrap();
    let (manifest, lock) = (table("Cargo.toml"), table("tests/fuzz/Cargo.lock"));
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

fn layers() -> HashMap<String, usize> {
    let lib = read(&root().join("src/lib.rs"));
    let names = lib.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    names.enumerate().map(|(depth, name)| (name.to_owned(), depth)).collect()
}

/// Every top-level module that a line names by `crate::`, or by the `super::` of a top-level file.
fn named_modules(line: &str, file: &Path) -> Vec<String> {
    assert!(!line.contains("use crate::{"), "one `use crate::module::…` per module: {line}");
    assert!(!line.contains("super::super::super"), "name it by `crate::` instead: {line}");
    let is_top_level = relative(file).components().count() == 1
        || (relative(file).components().count() == 2 && file.ends_with("mod.rs"));
    let climbs = if is_top_level { "super::" } else { "super::super::" };
    let by_crate = line.split("crate::").skip(1);
    let by_super = line.split(climbs).skip(1);
    by_crate.chain(by_super).map(leading_name).collect()
}

fn leading_name(rest: &str) -> String {
    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Lines before the unit tests, which may reach anywhere.
fn production_lines(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
}

/// A whole file of tests, as `tests/` and the `tests.rs` of a module are.
fn is_test_file(file: &Path) -> bool {
    !file.starts_with(root().join("src")) || file.ends_with("tests.rs")
}

fn top_module(file: &Path) -> String {
    let first = relative(file).components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
}

fn relative(file: &Path) -> &Path {
    file.strip_prefix(root().join("src")).unwrap_or(file)
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![root().join(folder)];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
