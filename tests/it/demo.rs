//! `logweir demo`, the real binary: what it prints can be believed, and tried.

use std::process::Command;

use rusqlite::{Connection, OpenFlags};

const EVENTS: &str = "20000";

/// Runs the query of a printed `sqlite3 FILE "QUERY"`, and gives its rows, the last column a count.
fn rows(line: &str) -> Vec<(rusqlite::types::Value, i64)> {
    let (file, query) = line.trim().strip_prefix("sqlite3 ").unwrap().split_once(' ').unwrap();
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut statement = connection.prepare(query.trim_matches('"')).unwrap();
    let last = statement.column_count() - 1;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(last)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_demo_accounts_for_every_event_and_shows_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("demo");
    let demo = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["demo", "--events", EVENTS, "--keep"])
        .arg(&kept)
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
    let words: Vec<_> = list.split_whitespace().skip(1).collect();
    let listed = Command::new(env!("CARGO_BIN_EXE_logweir")).args(words).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("too_large"), "{listed}");
}
