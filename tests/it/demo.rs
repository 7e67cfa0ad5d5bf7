//! `logweir demo`, the real binary: what it prints can be believed, and tried.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const EVENTS: &str = "20000";

/// A name that a shell, a TOML file and the variables in it would each make something else of.
const ODD: &str = "it's a \"demo\" \\ ${HOME} größe";

/// Types a printed line into a shell that is somewhere else.
fn typed(line: &str) -> Vec<u8> {
    // Not every machine has the command; what a shell would hand to it is enough.
    let script = format!("sqlite3() {{ printf '%s\\0' \"$@\"; }}\n{line}");
    let output = Command::new("sh").args(["-c", &script]).current_dir("/").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    output.stdout
}

/// Runs the query of a printed `sqlite3 FILE QUERY`, and gives its rows, the last column a count.
fn rows(line: &str) -> Vec<(rusqlite::types::Value, i64)> {
    let words = String::from_utf8(typed(line)).unwrap();
    let [file, query, ""] = words.split('\0').collect::<Vec<_>>()[..] else { panic!("{words}") };
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut statement = connection.prepare(query).unwrap();
    let last = statement.column_count() - 1;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(last)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_demo_accounts_for_every_event_and_shows_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["demo", "--events", EVENTS, "--keep", ODD])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(demo.stdout).unwrap();
    assert_eq!(demo.status.code(), Some(0), "{said}");
    for part in [
        "events read",
        "filtered: discard",
        "parse errors: ",
        "dead letters: too_large",
        "undecodable: ",
        "ledger of 20000 events: 0 missing, 0 doubled, 0 unexpected",
        "in flight: holds",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let queries: Vec<_> = said.lines().filter(|line| line.contains("sqlite3 ")).collect();
    let [rejected, frequent] = queries[..] else { panic!("{said}") };
    let found = rows(rejected);
    println!("rejected outbound flows: {found:?}");
    assert!(!found.is_empty() && found.iter().all(|(_, count)| *count > 0));
    let found = rows(frequent);
    println!("most frequent CloudTrail events: {found:?}");
    assert!(found.len() == 10 && found.is_sorted_by_key(|(_, count)| -count));

    let list = said.lines().find(|line| line.contains("logweir dead-letter list")).unwrap();
    let listed = String::from_utf8(typed(list)).unwrap();
    assert!(listed.contains("too_large"), "{listed}");
}

fn demo(words: &[&str]) -> Command {
    demo_of("200", words)
}

fn demo_of(events: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(["demo", "--events", events]).args(words);
    command
}

fn said_and_exit(mut command: Command) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (String::from_utf8([stdout, stderr].concat()).unwrap(), status.code())
}

#[test]
fn the_demo_calls_the_program_by_its_name_where_a_shell_finds_it_by_that() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_logweir"), folder.path().join("logweir"))
        .unwrap();
    for (path, called) in
        [(folder.path(), "logweir"), ("/".as_ref(), env!("CARGO_BIN_EXE_logweir"))]
    {
        let mut command = demo(&["--keep", &format!("kept-{}", called.len())]);
        command.env("PATH", path).current_dir(folder.path());
        let (said, _) = said_and_exit(command);
        assert!(said.contains(&format!("\n  {called} dead-letter list --config /")), "{said}");
    }
}

#[test]
fn the_json_of_a_demo_says_all_that_its_verdict_rests_on() {
    let (said, code) = said_and_exit(demo(&["--json"]));
    let json: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(code, Some(0), "{said}");
    for (key, value) in [("generated", json!(200)), ("cut_short", json!(false))] {
        assert_eq!(json[key], value, "{key}: {said}");
    }
    for key in ["missing", "doubled", "unexpected"] {
        assert_eq!(json[key], json!(0), "{key}: {said}");
    }
}

#[test]
fn a_folder_that_cannot_be_the_demos_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for left in ["state.db", "state.db-wal", "documents.db", "logweir.toml"] {
        let used = path(&format!("with-{left}"));
        std::fs::create_dir(&used).unwrap();
        std::fs::write(format!("{used}/{left}"), "mine").unwrap();
        let (said, code) = said_and_exit(demo(&["--keep", &used]));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&format!("a {left} already")) && said.contains(&used), "{said}");
        assert_eq!(std::fs::read(format!("{used}/{left}")).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(&used).unwrap().count(), 1);
    }
    std::fs::write(path("file"), "").unwrap();
    let (said, code) = said_and_exit(demo(&["--keep", &path("file")]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("is a file: give a folder"), "{said}");
    let (said, code) = said_and_exit(demo(&["--keep", &path("file/below")]));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("could not make the folder") && said.contains("--keep"), "{said}");

    let (mut command, nowhere) = (demo(&[]), path("nowhere"));
    command.env("TMPDIR", &nowhere);
    let (said, code) = said_and_exit(command);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("TMPDIR") && said.contains(&nowhere), "{said}");
}

#[test]
fn the_first_ctrl_c_says_that_it_drains_and_what_a_second_one_does() {
    // More than it could make before it is told to stop.
    let mut command = demo_of("100000000", &[]);
    let demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut demo = Killed(demo);
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("status page "));
    let id = demo.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let said: Vec<_> = lines.map(Result::unwrap).collect();
    let mut told = String::new();
    demo.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(demo.0.wait().unwrap().code(), Some(0), "{told} {said:#?}");
    assert!(told.starts_with("stopping: "), "{told}");
    assert!(told.contains("still delivered") && told.contains("a second Ctrl-C stops"), "{told}");
    assert!(said.iter().any(|line| line.contains("0 missing, 0 doubled")), "{said:#?}");
}

/// Ended with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn a_demo_that_listens_everywhere_shows_where_a_browser_can_go() {
    let (said, _) = said_and_exit(demo(&["--listen", "0.0.0.0:0"]));
    assert!(said.starts_with("status page http://127.0.0.1:"), "{said}");
    assert!(!said.contains("0.0.0.0"), "{said}");
}
