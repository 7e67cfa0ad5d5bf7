//! What the state file promises, and how it refuses.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tempfile::TempDir;

pub(crate) fn config(folder: &Path) -> SqliteConfig {
    SqliteConfig { path: folder.join("state.db"), ephemeral: true }
}

/// A state of its own, in a folder that goes away with the test.
pub(crate) fn state() -> (TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&config(folder.path()), Access::Daemon).unwrap();
    (folder, state)
}

/// What a kill -9 leaves: the files as they are now, without the lock.
pub(crate) fn copy_as_if_killed(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn text(error: StateError) -> String {
    error.to_string()
}

fn open(folder: &TempDir, access: Access) -> Result<State, StateError> {
    State::open(&config(folder.path()), access)
}

fn foreign(folder: &TempDir, sql: &str) -> Vec<u8> {
    let path = folder.path().join("state.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_second_daemon_is_told_who_has_the_state() {
    let (folder, state) = state();
    let error = text(open(&folder, Access::Daemon).unwrap_err());
    let pid = format!("pid {} on ", std::process::id());
    assert!(error.contains(&pid) && error.contains(" since 20"), "{error}");
    let command = std::env::args().next().unwrap();
    assert!(error.contains(&command), "{error}");

    let other = state.clone();
    drop(state);
    assert!(matches!(open(&folder, Access::Daemon), Err(StateError::Locked { .. })));
    drop(other);
    open(&folder, Access::Daemon).unwrap();
}

#[test]
fn who_looks_for_the_holder_sees_it_come_and_go_and_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(holder(&config(folder.path())).unwrap(), None);
    let state = open(&folder, Access::Daemon).unwrap();
    let found = holder(&config(folder.path())).unwrap().unwrap();
    assert!(found.starts_with(&format!("pid {} on ", std::process::id())), "{found}");
    drop(state);
    assert_eq!(holder(&config(folder.path())).unwrap(), None);
    // As somebody who looks at the very moment.
    let looking = fs::File::open(folder.path().join("state.db.lock")).unwrap();
    looking.lock_shared().unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(30));
        drop(looking);
    });
    open(&folder, Access::Daemon).unwrap();
    thread.join().unwrap();
}

#[test]
fn two_names_of_one_file_meet_at_one_lock() {
    let (folder, _state) = state();
    let path = folder.path().join("other-name.db");
    std::os::unix::fs::symlink(folder.path().join("state.db"), &path).unwrap();
    let opened = State::open(&SqliteConfig { path, ephemeral: true }, Access::Daemon);
    assert!(matches!(opened, Err(StateError::Locked { .. })));
}

#[test]
fn a_second_name_that_has_a_lock_of_its_own_is_refused() {
    let (folder, state) = state();
    let path = folder.path().join("link.db");
    fs::hard_link(folder.path().join("state.db"), &path).unwrap();
    let link = SqliteConfig { path, ephemeral: true };
    let error = text(State::open(&link, Access::Daemon).unwrap_err());
    assert!(error.contains("has 2 names") && error.contains("-samefile"), "{error}");
    assert!(!folder.path().join("link.db.lock").exists());
    assert!(matches!(examined(&folder), Err(StateError::Linked { names: 2, .. })));
    drop(state);
    assert!(matches!(open(&folder, Access::Daemon), Err(StateError::Linked { .. })));
    fs::remove_file(link.path).unwrap();
    open(&folder, Access::Daemon).unwrap();
}

#[test]
fn looking_needs_no_lock_and_changes_nothing() {
    let (folder, state) = state();
    let looking = open(&folder, Access::Inspect).unwrap();
    let delete = |connection: &mut Connection| connection.execute("DELETE FROM leases", []);
    assert!(looking.call_blocking(Durability::Normal, delete).is_err());
    let editing = open(&folder, Access::Edit).unwrap();
    editing.call_blocking(Durability::Full, delete).unwrap();
    drop(state);

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(&empty, Access::Inspect), Err(StateError::Missing { .. })));
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none());
}

#[test]
fn a_command_in_a_daemons_place_takes_its_lock_and_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = text(open(&folder, Access::Exclusive).unwrap_err());
    assert!(error.contains("`logweir run`") && error.contains("`state.sqlite.path`"), "{error}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());

    let daemon = open(&folder, Access::Daemon).unwrap();
    assert!(matches!(open(&folder, Access::Exclusive), Err(StateError::Locked { .. })));
    drop(daemon);
    let _command = open(&folder, Access::Exclusive).unwrap();
    assert!(matches!(open(&folder, Access::Daemon), Err(StateError::Locked { .. })));
}

#[test]
fn only_the_owner_may_read_the_state() {
    let (folder, _state) = state();
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    for sql in ["CREATE TABLE t (x); PRAGMA application_id = 7", "CREATE TABLE t (x)"] {
        let folder = tempfile::tempdir().unwrap();
        let before = foreign(&folder, sql);
        let error = open(&folder, Access::Daemon).unwrap_err();
        assert!(matches!(error, StateError::Foreign { .. }), "{error}");
        assert!(text(error).contains("state.sqlite.path"));
        assert_eq!(fs::read(folder.path().join("state.db")).unwrap(), before);
    }
}

#[test]
fn a_newer_or_older_state_is_refused_with_both_versions() {
    let (folder, state) = state();
    drop(state);
    foreign(&folder, "PRAGMA user_version = 900");
    let error = text(open(&folder, Access::Daemon).unwrap_err());
    assert!(
        error.contains("version 900") && error.contains(&format!("up to {}", schema::CURRENT)),
        "{error}"
    );
    foreign(&folder, "PRAGMA user_version = 1");
    let error = text(open(&folder, Access::Inspect).unwrap_err());
    assert!(error.contains("version 1") && error.contains("logweir run"), "{error}");
}

#[test]
fn an_older_state_is_brought_up_to_date_and_keeps_its_rows() {
    let (folder, state) = state();
    drop(state);
    foreign(
        &folder,
        "DROP TABLE dead_letters; DROP TABLE dead_letter_totals; DROP TABLE possible_gaps; DROP TABLE replays; PRAGMA user_version = 1;
         INSERT INTO leases VALUES ('s', 'shard', '[]', 'TRIM_HORIZON', 0)",
    );
    let state = open(&folder, Access::Daemon).unwrap();
    let count = |connection: &mut Connection| {
        let sql = "SELECT (SELECT count(*) FROM leases), (SELECT count(*) FROM dead_letters)";
        connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    };
    assert_eq!(state.call_blocking(Durability::Normal, count).unwrap(), (1, 0));
}

#[test]
fn a_damaged_state_is_refused_and_never_started_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    fs::write(&path, b"SQLite format 3\0, and then somebody's notes".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    let error = text(open(&folder, Access::Daemon).unwrap_err());
    assert!(error.contains("damaged") && error.contains(".recover"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_left_alone_without_a_lock_beside_it() {
    for text_of in ["root:x:0:0:root:/root:/bin/sh\n", "x"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state.db"), text_of).unwrap();
        let before = files(&folder);
        for access in [Access::Daemon, Access::Exclusive, Access::Edit, Access::Inspect] {
            let error = text(open(&folder, access).unwrap_err());
            assert!(error.contains("is not a state file"), "{error}");
            assert!(!error.contains("damaged") && error.contains("`state.sqlite.path`"), "{error}");
        }
        assert_eq!(files(&folder), before);
    }
    let device = SqliteConfig { path: "/dev/null".into(), ephemeral: true };
    assert!(matches!(State::open(&device, Access::Daemon), Err(StateError::Strange { .. })));
    assert!(!Path::new("/dev/null.lock").exists());
}

fn fill_with_leases(state: &State) {
    let insert = "INSERT INTO leases SELECT 's', 'shard-' || i, '[]', 'TRIM_HORIZON', 0 FROM n";
    fill(state, insert, "DELETE FROM leases WHERE shard = 'shard-1'");
}

fn fill_with_letters(state: &State) {
    let insert = "INSERT INTO dead_letters (id, time, reason, size, letter)
                  SELECT 'id-' || i, i, 'gzip', 2, '{}' FROM n";
    fill(state, insert, "DELETE FROM dead_letters WHERE id = 'id-1'");
}

/// Fills the end of the file, and leaves something in the log.
fn fill(state: &State, insert: &str, delete: &str) {
    let fill = |connection: &mut Connection| {
        let numbers =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)";
        connection.execute(&format!("{numbers} {insert}"), [])?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.execute(delete, [])
    };
    state.call_blocking(Durability::Full, fill).unwrap();
}

fn damage_end(folder: &TempDir) {
    let path = folder.path().join("state.db");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 20_000..end - 4_000].fill(0xa5);
    fs::write(&path, bytes).unwrap();
}

/// Damages the leases, and looks whether they are refused.
fn assert_damage_is_found(folder: &TempDir) {
    damage_end(folder);
    assert!(matches!(open(folder, Access::Daemon), Err(StateError::Damaged { .. })));
}

#[test]
fn damage_inside_the_file_is_found_after_a_crash() {
    let (folder, state) = state();
    fill_with_leases(&state);
    assert_damage_is_found(&copy_as_if_killed(&folder));
}

#[test]
fn a_crash_is_remembered_until_a_daemon_has_found_no_damage() {
    let (folder, state) = state();
    fill_with_letters(&state);
    let killed = copy_as_if_killed(&folder);
    let log = killed.path().join("state.db-wal");
    for access in [Access::Inspect, Access::Edit, Access::Inspect] {
        drop(open(&killed, access).unwrap());
        assert!(is_filled(&log), "{access:?}");
    }
    let whole = fs::read(killed.path().join("state.db")).unwrap();
    damage_end(&killed);
    for start in 1..=3 {
        let opened = open(&killed, Access::Daemon);
        assert!(matches!(opened, Err(StateError::Damaged { .. })), "start {start}: {opened:?}");
    }
    fs::write(killed.path().join("state.db"), whole).unwrap();
    drop(open(&killed, Access::Daemon).unwrap());
    assert!(!log.exists());
}

#[test]
fn damage_of_the_leases_is_found_after_a_clean_end_too() {
    let (folder, state) = state();
    fill_with_leases(&state);
    drop(state);
    assert_damage_is_found(&folder);
}

/// Every file in the folder but the shared memory, in which whoever opens the state leaves notes.
fn files(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let read = |path: PathBuf| {
        let is_shared = path.extension().is_some_and(|extension| extension == "db-shm");
        (name(&path), if is_shared { Vec::new() } else { fs::read(path).unwrap() })
    };
    paths.map(read).collect()
}

/// What looking says, which must leave everything as it is.
fn examined(folder: &TempDir) -> Result<Option<&'static str>, StateError> {
    let before = files(folder);
    let found = examine(&config(folder.path()));
    let after = files(folder);
    assert!(before == after, "{:?} became {:?}", before.keys(), after.keys());
    found
}

#[test]
fn who_examines_a_state_finds_what_a_daemon_would_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    examined(&folder).unwrap();
    let path = folder.path().join("state.db");
    fs::write(&path, "").unwrap();
    assert!(examined(&folder).unwrap().unwrap().contains("read from their `start`"));
    fs::write(&path, "somebody's notes".repeat(100)).unwrap();
    assert!(matches!(examined(&folder), Err(StateError::Strange { .. })));
    fs::remove_file(&path).unwrap();

    let daemon = open(&folder, Access::Daemon).unwrap();
    fill_with_leases(&daemon);
    assert_eq!(examined(&folder).unwrap(), None);
    let killed = copy_as_if_killed(&folder);
    examined(&killed).unwrap();
    fs::copy(folder.path().join("state.db-shm"), killed.path().join("state.db-shm")).unwrap();
    examined(&killed).unwrap();
    damage_end(&killed);
    assert!(matches!(examined(&killed), Err(StateError::Damaged { .. })));

    drop(daemon);
    examined(&folder).unwrap();
    foreign(&folder, "PRAGMA user_version = 1");
    examined(&folder).unwrap();
    foreign(&folder, "PRAGMA user_version = 900");
    assert!(matches!(examined(&folder), Err(StateError::Newer { .. })));
    foreign(&folder, "PRAGMA application_id = 7");
    assert!(matches!(examined(&folder), Err(StateError::Foreign { .. })));
    foreign(&folder, &format!("PRAGMA application_id = {}", schema::APPLICATION_ID));
    foreign(&folder, "PRAGMA user_version = 1");
    damage_end(&folder);
    assert!(matches!(examined(&folder), Err(StateError::Damaged { .. })));
}

#[test]
fn a_state_that_this_user_may_not_write_is_told_and_not_called_wrong() {
    let (folder, state) = state();
    drop(state);
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    for (path, mode) in [(folder.path().join("state.db"), 0o400), (folder.path().into(), 0o500)] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let found = examine(&config(folder.path()));
        fs::set_permissions(&path, before).unwrap();
        // To root all is open.
        assert_eq!(found.is_ok(), is_root, "{found:?}");
        if let Err(error) = found {
            assert!(!error.is_about_content());
            assert!(text(error).contains("let the user that logweir runs as write"));
        }
    }
}

#[test]
fn a_state_whose_name_looks_like_a_query_is_examined_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("50% state?mode=memory#1.db");
    fs::write(&path, "SQLite format 3\0".repeat(100)).unwrap();
    let found = examine(&SqliteConfig { path, ephemeral: true });
    assert!(matches!(found, Err(StateError::Damaged { .. })), "{found:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing");
    let error = text(State::open(&config(&nowhere), Access::Daemon).unwrap_err());
    assert!(error.contains("missing/state.db") && error.contains("create its folder"), "{error}");
    let is_folder = SqliteConfig { path: folder.path().to_owned(), ephemeral: true };
    let error = text(State::open(&is_folder, Access::Daemon).unwrap_err());
    assert!(error.contains("is a folder") && error.contains("name a file in it"), "{error}");
    assert!(examine(&is_folder).unwrap_err().is_about_content());
    // As where a folder may not be searched, nobody can say that there is none.
    let endless = folder.path().join("state.db");
    std::os::unix::fs::symlink(&endless, &endless).unwrap();
    for access in [Access::Inspect, Access::Edit, Access::Exclusive] {
        let error = State::open(&config(folder.path()), access).unwrap_err();
        assert!(matches!(error, StateError::Unusable { .. }), "{access:?}: {error}");
    }
    let error = examine(&config(folder.path())).unwrap_err();
    assert!(matches!(error, StateError::Unusable { .. }), "{error}");
    let denied = remedy(&io::ErrorKind::PermissionDenied.into());
    assert!(denied.contains("write to its folder"));
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_refused_unless_the_state_is_said_to_be_ephemeral() {
    if !Path::new("/dev/shm").exists() {
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let durable = SqliteConfig { ephemeral: false, ..config(folder.path()) };
    let error = text(State::open(&durable, Access::Daemon).unwrap_err());
    assert!(error.contains("tmpfs") && error.contains("ephemeral = true"), "{error}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    open(&folder, Access::Daemon).unwrap();
}

#[test]
fn a_full_disk_is_said_to_be_one() {
    let (_folder, state) = state();
    let fill = |connection: &mut Connection| {
        connection.pragma_update(None, "max_page_count", 20)?;
        let sql = "INSERT INTO leases VALUES ('s', hex(zeroblob(100000)), '[]', 'TRIM_HORIZON', 0)";
        connection.execute(sql, [])
    };
    let error = state.call_blocking(Durability::Full, fill).unwrap_err();
    assert!(matches!(error, StateError::DiskFull { .. }), "{error}");
}

#[test]
fn a_file_taken_away_under_the_daemon_is_not_written_any_more() {
    let (folder, state) = state();
    let count = |connection: &mut Connection| {
        connection.query_row("SELECT count(*) FROM leases", [], |row| row.get::<_, i64>(0))
    };
    for name in ["state.db", "state.db.lock"] {
        let (here, away) = (folder.path().join(name), folder.path().join("away"));
        fs::rename(&here, &away).unwrap();
        let error = text(state.call_blocking(Durability::Normal, count).unwrap_err());
        assert!(error.contains(name) && error.contains("removed or replaced"), "{error}");
        // Another of that name is another file.
        fs::write(&here, "").unwrap();
        assert!(matches!(
            state.call_blocking(Durability::Full, count),
            Err(StateError::Gone { .. })
        ));
        fs::rename(&away, &here).unwrap();
        assert_eq!(state.call_blocking(Durability::Full, count).unwrap(), 0);
    }
}

#[test]
fn the_room_of_deleted_rows_is_given_back() {
    let (folder, state) = state();
    let size = || {
        let flush = "PRAGMA wal_checkpoint(TRUNCATE)";
        let flush = |connection: &mut Connection| connection.query_row(flush, [], |_| Ok(()));
        state.call_blocking(Durability::Normal, flush).unwrap();
        fs::metadata(folder.path().join("state.db")).unwrap().len()
    };
    let execute = |sql: &'static str| {
        let execute = |connection: &mut Connection| connection.execute(sql, []);
        state.call_blocking(Durability::Normal, execute).unwrap();
    };
    execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
         INSERT INTO leases SELECT 's', 'shard-' || i, hex(zeroblob(50000)), 'TRIM_HORIZON', 0 FROM n",
    );
    assert!(size() > 20_000_000, "{}", size());
    execute("DELETE FROM leases WHERE shard <> 'shard-77'");
    assert!(size() > 20_000_000, "{}", size());
    state.shrink_blocking().unwrap();
    assert!((4_000_000..5_000_000).contains(&size()), "{}", size());
    state.shrink_blocking().unwrap();
}

#[test]
fn work_that_panics_leaves_nothing_half_done() {
    let (_folder, state) = state();
    let broken = state.clone();
    let thread = std::thread::spawn(move || {
        broken.call_blocking(Durability::Normal, |connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let sql = "INSERT INTO leases VALUES ('s', 'shard', '[]', 'TRIM_HORIZON', 0)";
            transaction.execute(sql, [])?;
            panic!("the work is wrong");
        })
    });
    assert!(thread.join().is_err());
    let count = |connection: &mut Connection| {
        connection.query_row("SELECT count(*) FROM leases", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(state.call_blocking(Durability::Full, count).unwrap(), 0);
}
