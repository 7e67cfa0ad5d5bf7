//! `tests/run` counts what cargo says: of a copy of it, with a cargo that says what this test wants.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Seven passed, three of which checked nothing: one is skipped, two had no facts, one of them twice.
const SAID: &str = "\
successes:

---- a stdout ----
LEFT OUT: no facts to test against (a: none); set LOGWEIR_FACTS
LEFT OUT: no facts to test against (b: none); set LOGWEIR_FACTS

---- b stdout ----
SKIPPED: there is no engine here, so this test has checked nothing

---- c stdout ----
LEFT OUT: no facts to test against (a: none); set LOGWEIR_FACTS

---- d stdout ----
all is well

test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_test_that_had_no_facts_is_counted_as_skipped_once_and_not_as_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run")).unwrap();
    program(&at("tests/run"), &run);
    program(&at("tests/real/start"), "#!/bin/sh\n");
    fs::write(at("said"), SAID).unwrap();
    program(&at("bin/cargo"), &format!("#!/bin/sh\ncat '{}'\n", at("said").display()));
    program(&at("bin/cc"), "#!/bin/sh\n");
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let run = |ci: &str| {
        let mut run = Command::new(at("tests/run"));
        let output = run.arg("--fast").env("PATH", &path).env("CI", ci).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (passed, said) = run("");
    assert!(passed, "{said}");
    assert!(said.contains("| unit | passed | 4 | 0 | 3 |"), "{said}");
    assert!(said.ends_with("4 of the skipped had no facts to test against: set LOGWEIR_FACTS\n"));
    // One could not be installed, which is for whoever keeps that machine to mend.
    let (passed, said) = run("true");
    assert!(!passed && said.contains("| unit | FAILED | 4 | 0 | 3 |"), "{said}");
    fs::write(at("said"), SAID.replace("SKIPPED", "kept")).unwrap();
    let (passed, said) = run("true");
    assert!(passed && said.contains("| unit | passed | 5 | 0 | 2 |"), "{said}");
}

/// The table between `<!-- chaos -->` and its end is of a run; its scenarios must be those that there are.
#[test]
fn the_readme_tells_what_came_of_every_chaos_scenario() {
    let read =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let list = read("tests/chaos/scenarios.rs");
    let (_, list) = list.split_once("\nscenarios! {\n").unwrap();
    let names = list.lines().filter_map(|line| line.trim().split_once(": "));
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    let readme = read("README.md");
    let (_, table) = readme.split_once("<!-- chaos -->\n").unwrap();
    let (table, _) = table.split_once("<!-- end of chaos -->").unwrap();
    let rows = table.lines().skip(2).map(|row| row.split(" | ").next().unwrap());
    let rows: Vec<_> = rows.map(|row| row.trim_start_matches("| ")).collect();
    assert_eq!(rows, names, "README's table is of another run: tests/chaos/run prints a new one");
    assert!(names.len() > 20, "{names:?}");
}
