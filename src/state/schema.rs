//! The tables of the state file, and how an older file becomes a current one.

use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as logweir's: "LgWr" in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4c67_5772;

/// Each brings a file of the version before it (0 is an empty file) to its own; the number of
/// steps is the current version. Released steps are never changed.
const MIGRATIONS: [&str; 4] = [
    // 1: leases. `checkpoint` is a `lease::Position` as text, `parents` a JSON array.
    "CREATE TABLE leases (
        stream TEXT NOT NULL,
        shard TEXT NOT NULL,
        parents TEXT NOT NULL,
        checkpoint TEXT NOT NULL,
        updated INTEGER NOT NULL,
        PRIMARY KEY (stream, shard)
    ) STRICT, WITHOUT ROWID;",
    // 2: dead letters. `letter` is the whole letter as JSON; the columns are what it is found by.
    // `time` is the last attempt in milliseconds since the epoch. The totals are kept by triggers,
    // so that a scrape or a size limit never reads the letters, whoever adds or removes them.
    "CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        time INTEGER NOT NULL,
        reason TEXT NOT NULL,
        route TEXT,
        destination TEXT,
        size INTEGER NOT NULL,
        letter TEXT NOT NULL
    ) STRICT;
    CREATE INDEX dead_letters_by_time ON dead_letters (time);
    CREATE TABLE dead_letter_totals (
        reason TEXT PRIMARY KEY,
        letters INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letters BEGIN
        INSERT INTO dead_letter_totals VALUES (new.reason, 1, new.size)
        ON CONFLICT (reason) DO UPDATE SET letters = letters + 1, bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letters BEGIN
        UPDATE dead_letter_totals SET letters = letters - 1, bytes = bytes - old.size
        WHERE reason = old.reason;
    END;
    CREATE TRIGGER dead_letter_changed AFTER UPDATE OF reason, size ON dead_letters BEGIN
        UPDATE dead_letter_totals SET letters = letters - 1, bytes = bytes - old.size
        WHERE reason = old.reason;
        INSERT INTO dead_letter_totals VALUES (new.reason, 1, new.size)
        ON CONFLICT (reason) DO UPDATE SET letters = letters + 1, bytes = bytes + excluded.bytes;
    END;",
    // 3: gaps that nobody has accepted yet. `kind` is a `lease::GapKind`; times and lengths are
    // milliseconds.
    "CREATE TABLE possible_gaps (
        stream TEXT NOT NULL,
        shard TEXT NOT NULL,
        kind TEXT NOT NULL,
        found INTEGER NOT NULL,
        length INTEGER NOT NULL,
        PRIMARY KEY (stream, shard, kind)
    ) STRICT, WITHOUT ROWID;",
    // 4: replays that the daemon is asked for. `wanted` and `report` are a `dead_letter::Order` and
    // `Report` as JSON; times are milliseconds, `seen` that of the daemon's last word.
    "CREATE TABLE replays (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        wanted TEXT NOT NULL,
        withdrawn INTEGER NOT NULL DEFAULT 0,
        seen INTEGER,
        report TEXT,
        ended INTEGER,
        error TEXT
    ) STRICT;",
];

/// The version of a current file.
pub(super) const CURRENT: i64 = MIGRATIONS.len() as i64;

/// What a file is, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing was ever stored in it.
    Empty,
    /// Ours, of this version.
    State(i64),
    /// A database of something else, with its application id.
    Foreign(i64),
}

pub(super) fn kind(connection: &Connection) -> rusqlite::Result<Kind> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let entries = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, version, entries) {
        (APPLICATION_ID, version, _) => Kind::State(version),
        // A first start that was killed leaves a header without tables.
        (0, 0, 0) => Kind::Empty,
        (foreign, _, _) => Kind::Foreign(foreign),
    })
}

/// Brings a file of version `from` up to date, all or nothing.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(0);
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", CURRENT)?;
    transaction.commit()
}
