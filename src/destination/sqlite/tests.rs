//! What the SQLite destination promises.

use super::*;
use crate::batch::tests::batch_of;
use std::fs;
use std::path::Path;

fn config(folder: &Path, max_document: usize) -> SqliteDestinationConfig {
    let max_document = ByteSize(max_document);
    SqliteDestinationConfig { path: folder.join("documents.db"), max_document }
}

fn open(folder: &Path) -> SqliteDestination {
    SqliteDestination::open(config(folder, 1000)).unwrap()
}

fn number(destination: &SqliteDestination, sql: &str) -> i64 {
    let connection = destination.connection.lock().unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn execute(destination: &SqliteDestination, sql: &str) {
    destination.connection.lock().unwrap().execute_batch(sql).unwrap();
}

fn row(id: &str, document: &str) -> Row {
    let (id, document) = (id.to_owned().into(), document.to_owned().into());
    Row { index: "flow".into(), id, document, arrival: Timestamp(1_700_000_000_000) }
}

/// How many documents the words find.
fn found(destination: &SqliteDestination, words: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM words WHERE words MATCH '{words}'");
    number(destination, &sql)
}

async fn send(destination: &SqliteDestination, per_record: &[u32]) -> Answer {
    let (mut batch, _acks, _) = batch_of(Framing::Lines, per_record);
    let answer = destination.send(&mut batch).await;
    batch.settle_delivered(0);
    answer
}

#[tokio::test]
async fn a_replay_changes_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    for expected in [Delivery::Created, Delivery::AlreadyPresent] {
        let answer = send(&destination, &[2, 1]).await;
        assert_eq!(answer, Answer::Items(vec![Verdict::Delivered(expected); 3]));
    }
    assert_eq!(number(&destination, "SELECT count(*) FROM documents"), 3);
    assert_eq!(found(&destination, "0"), 2, "each document has its words once");
}

#[tokio::test]
async fn items_that_were_taken_out_of_a_batch_are_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let (mut batch, _acks, _) = batch_of(Framing::Lines, &[3]);
    let taken = batch.take(|n, _| n == 1);
    destination.send(&mut batch).await;
    let ids = "SELECT count(*) FROM documents WHERE id IN ('0-0', '0-2')";
    assert_eq!(number(&destination, ids), 2);
    assert_eq!(number(&destination, "SELECT count(*) FROM documents"), 2);
    batch.settle_delivered(0);
    taken.settle_delivered(0);
}

#[tokio::test]
async fn delivered_documents_and_their_words_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    send(&destination, &[2, 2]).await;
    let copy = tempfile::tempdir().unwrap();
    for name in ["documents.db", "documents.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let again = open(copy.path());
    assert_eq!(number(&again, "SELECT count(*) FROM documents"), 4);
    assert_eq!(found(&again, "1"), 2);
    send(&again, &[2, 2, 1]).await;
    assert_eq!(number(&again, "SELECT count(*) FROM documents"), 5);
    execute(&again, "INSERT INTO words (words) VALUES ('integrity-check')");
}

#[test]
fn a_document_over_the_limit_is_refused_and_its_neighbours_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let destination = SqliteDestination::open(config(folder.path(), 7)).unwrap();
    let rows = [row("a", "{\"n\":1}"), row("b", "{\"n\":10}"), row("c", "{\"n\":2}")];
    let verdicts = destination.write(&rows).unwrap();
    assert!(matches!(&verdicts[1], Verdict::Refused(r) if r.reason == RefusalReason::TooLarge));
    assert_eq!(verdicts[0], Verdict::Delivered(Delivery::Created));
    assert_eq!(verdicts[2], Verdict::Delivered(Delivery::Created));
    assert_eq!(number(&destination, "SELECT count(*) FROM documents"), 2);
}

#[test]
fn addresses_arns_and_nested_values_are_found_and_keys_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let document = r#"{"@timestamp":"2024-09-05T13:47:15.523Z","@id":"77","srcaddr":"10.0.0.1",
        "user":{"arn":"arn:aws:iam::123456789012:role/Admin"},"tags":["Größe"],"dstport":443}"#;
    let other = r#"{"srcaddr":"10.0.1.0"}"#;
    destination.write(&[row("a", document), row("b", other)]).unwrap();
    for words in ["\"10.0.0.1\"", "\"role/Admin\"", "admin", "443", "größe", "grosse OR 443"] {
        assert_eq!(found(&destination, words), 1, "{words}");
    }
    assert_eq!(found(&destination, "srcaddr OR 77"), 0);
}

#[test]
fn words_follow_documents_that_a_person_deletes_or_changes() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let texts = ["one", "two", "three"];
    let rows = texts.map(|text| row(text, &format!("{{\"message\":\"{text}\"}}")));
    destination.write(&rows).unwrap();
    execute(&destination, "DELETE FROM documents WHERE id = 'one'");
    execute(&destination, r#"UPDATE documents SET document = '{"m":"four"}' WHERE id = 'two'"#);
    let counts = ["one", "two", "three", "four"].map(|word| found(&destination, word));
    assert_eq!(counts, [0, 0, 1, 1]);
    execute(&destination, "INSERT INTO words (words) VALUES ('integrity-check')");
    execute(&destination, "DELETE FROM documents");
    assert_eq!(found(&destination, "three OR four"), 0);
}

#[test]
fn what_is_not_json_is_stored_and_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let verdicts = destination.write(&[row("a", "no json at all")]).unwrap();
    assert_eq!(verdicts, [Verdict::Delivered(Delivery::Created)]);
    assert_eq!(found(&destination, "json"), 1);
}

#[test]
fn the_time_is_the_documents_own_or_else_the_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let dated = r#"{"@timestamp":"2024-09-05T13:47:15.523Z","a":1}"#;
    destination.write(&[row("a", dated), row("b", "{}")]).unwrap();
    let times = "SELECT group_concat(time, ' ') FROM (SELECT time FROM documents ORDER BY id)";
    let connection = destination.connection.lock().unwrap();
    let found: String = connection.query_row(times, [], |row| row.get(0)).unwrap();
    assert_eq!(found, "2024-09-05T13:47:15.523Z 2023-11-14T22:13:20.000Z");
}

#[test]
fn the_file_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.db");
    let other = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    other("CREATE TABLE documents (x)");
    let opened = || SqliteDestination::open(config(folder.path(), 1000));
    assert!(matches!(opened(), Err(OpenError::Foreign { .. })));
    fs::remove_file(&path).unwrap();
    drop(opened().unwrap());
    other("PRAGMA user_version = 9");
    assert!(matches!(opened(), Err(OpenError::Newer { found: 9, .. })));
    fs::write(&path, "somebody's notes, and long enough to be a header".repeat(99)).unwrap();
    assert!(matches!(opened(), Err(OpenError::Sqlite { .. })));
    let nowhere = folder.path().join("nowhere");
    let missing = SqliteDestination::open(config(&nowhere, 1000));
    assert!(matches!(missing, Err(OpenError::File { .. })));
}

#[test]
fn who_examines_a_file_finds_what_a_daemon_would_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), 1000);
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let examined = || {
        let before = (names(), fs::read(&config.path).ok());
        let found = SqliteDestination::examine(&config);
        assert!((names(), fs::read(&config.path).ok()) == before);
        found
    };
    examined().unwrap();
    fs::write(&config.path, "").unwrap();
    examined().unwrap();
    let destination = open(folder.path());
    destination.write(&[row("a", "{}")]).unwrap();
    examined().unwrap();
    drop(destination);
    examined().unwrap();
    let other = |sql: &str| Connection::open(&config.path).unwrap().execute_batch(sql).unwrap();
    other("PRAGMA user_version = 9");
    assert!(matches!(examined(), Err(OpenError::Newer { found: 9, .. })));
    // The state file's.
    other("PRAGMA application_id = 0x4c677752");
    assert!(matches!(examined(), Err(OpenError::Foreign { .. })));
    fs::write(&config.path, "somebody's notes, and long enough to be a header".repeat(99)).unwrap();
    let error = examined().unwrap_err();
    assert!(error.is_about_content() && matches!(error, OpenError::Sqlite { .. }), "{error}");
    fs::remove_file(&config.path).unwrap();
    fs::create_dir(&config.path).unwrap();
    for found in [examined(), SqliteDestination::open(config.clone()).map(drop)] {
        assert!(matches!(found, Err(OpenError::NoFile { .. })), "{found:?}");
    }
    let path = folder.path().join("nowhere/documents.db");
    let missing = SqliteDestination::examine(&SqliteDestinationConfig { path, ..config.clone() });
    assert!(missing.is_err_and(|error| !error.is_about_content()));
}

#[test]
fn a_full_disk_or_a_broken_file_is_held_and_a_busy_one_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let destination = open(folder.path());
    let rows = [row("a", &format!("\"{}\"", "x".repeat(900)))];
    execute(&destination, "PRAGMA max_page_count = 1");
    let many: Vec<_> = (0..99).map(|n| row(&n.to_string(), "{}")).collect();
    let held = |reason| move |trouble| matches!(trouble, Trouble::Hold(h) if h.reason == reason);
    let full = trouble(&destination.write(&many).unwrap_err());
    assert!(held(HoldReason::DiskFull)(full));
    execute(&destination, "PRAGMA max_page_count = 100000; PRAGMA busy_timeout = 1");

    let other = open(folder.path());
    execute(&other, "BEGIN IMMEDIATE");
    let busy = trouble(&destination.write(&rows).unwrap_err());
    assert!(matches!(busy, Trouble::Retry { reason: RetryReason::Busy, .. }), "{busy:?}");
    execute(&other, "ROLLBACK");
    destination.write(&rows).unwrap();

    execute(&other, "DROP TABLE documents");
    let broken = trouble(&destination.write(&rows).unwrap_err());
    assert!(held(HoldReason::FileUnusable)(broken));
}
