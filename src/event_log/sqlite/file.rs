//! The log's file: creating, opening, recognizing, and saying what is wrong with it.
//!
//! **Invariant:** one process at a time has the log open for writing. A lock on a file beside it
//! (`<path>.lock`) sees to that, which the system releases however the process ends. It is not
//! SQLite's own lock, so that reading the file from outside (a backup, the `sqlite3` shell) works
//! while the server runs.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, config::DbConfig, ffi};

use crate::{
    domain::ids::Position,
    event_log::{LogError, StoreIdentity},
    runtime::private_file,
};

/// Marks the file as ours: "Cndo".
const APPLICATION_ID: i64 = 0x436e_646f;
/// The layout of tables that this release reads and writes.
const SCHEMA_VERSION: i64 = 1;
/// How long to wait for somebody outside who has the file locked.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same while opening.
const OPEN_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// A file up to this size is checked in full when it is opened; a larger one on demand.
const CHECKED_AT_OPEN_BYTES: u64 = 32 << 20;

const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE event (
        position INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
        stream TEXT NOT NULL,
        revision INTEGER NOT NULL,                  -- counts the stream's events from 0
        json TEXT NOT NULL                          -- the envelope, see event_log::record
    ) STRICT;
    CREATE UNIQUE INDEX event_stream_revision ON event (stream, revision);
";

/// Held while the log is open; dropping it lets the next process in.
pub(super) struct Lock {
    #[expect(dead_code, reason = "closing the file releases the lock")]
    file: File,
}

pub(super) struct Opened {
    pub connection: Connection,
    pub lock: Lock,
    pub identity: StoreIdentity,
    pub head: Position,
}

/// Keeps a statement's plan for as long as the statement lives. Without it SQLite 3.54, as built
/// with STAT4, makes a statement with a bound `LIMIT` anew each time another value is bound
/// (`sqlite3ExprIsInteger` looks at the value), which costs more than most of them take to run.
pub fn keep_plans(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Opens the log for writing, creating it when there is none.
pub(super) fn open(path: &Path) -> Result<Opened, LogError> {
    let lock = lock(path)?;
    private_file::database(path).map_err(|error| cannot_create(path, &error))?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| log_error(path, &error))?;
    let (identity, head) = prepare(path, &connection)?;
    Ok(Opened { connection, lock, identity, head })
}

/// Opens a database for the thread that moves pages, beside the writer.
pub(super) fn open_beside(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Opens the log for reading, beside whoever writes.
pub(super) fn open_reader(path: &Path) -> Result<Connection, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| log_error(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| log_error(path, &error))?;
    keep_plans(&connection).map_err(|error| log_error(path, &error))?;
    Ok(connection)
}

/// Reads the whole file and says what is wrong with it, for `condorito check`. Beside a running
/// server too.
pub fn check(path: &Path) -> Result<(), LogError> {
    let connection = open_reader(path)?;
    recognize(path, &connection)?;
    check_pages(path, &connection)
}

/// Copies the log into a new file while it is being written, for `condorito backup`. `progress`
/// is told pages done and pages in all.
pub fn backup(
    path: &Path,
    target: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), LogError> {
    /// Copied between two looks at the clock.
    const PAGES_A_STEP: std::os::raw::c_int = 4096;
    let source = open_reader(path)?;
    recognize(path, &source)?;
    if target.exists() {
        let reason = format!("{} exists already: name a file that does not", target.display());
        return Err(LogError::Broken { reason });
    }
    private_file::database(target).map_err(|error| cannot_create(target, &error))?;
    let mut copy = Connection::open(target).map_err(|error| log_error(target, &error))?;
    // One read transaction: what is written meanwhile does not make the copy start over.
    let snapshot = source.unchecked_transaction().map_err(|error| log_error(path, &error))?;
    let backup = rusqlite::backup::Backup::new(&snapshot, &mut copy)
        .map_err(|error| log_error(path, &error))?;
    loop {
        let step = backup.step(PAGES_A_STEP).map_err(|error| log_error(target, &error))?;
        let now = backup.progress();
        let all = u64::try_from(now.pagecount).unwrap_or(0);
        progress(all - u64::try_from(now.remaining).unwrap_or(0), all);
        if step == rusqlite::backup::StepResult::Done {
            return Ok(());
        }
    }
}

fn lock(path: &Path) -> Result<Lock, LogError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_file::folder(folder).map_err(|error| cannot_create(folder, &error))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| cannot_create(&name, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => {
            let path = path.display();
            let reason = format!(
                "the event log {path} is open in another process: stop that one, or give this \
                 one a log of its own"
            );
            Err(LogError::Broken { reason })
        }
        Err(TryLockError::Error(error)) => Err(cannot_create(&name, &error)),
    }
}

fn cannot_create(path: &Path, error: &std::io::Error) -> LogError {
    let what = match error.kind() {
        ErrorKind::PermissionDenied => "give this user the right to write there",
        ErrorKind::StorageFull => "the disk is full: make room",
        ErrorKind::ReadOnlyFilesystem => "the disk is mounted read-only: mount it for writing",
        _ => "see that the folder exists and is on a local disk",
    };
    LogError::Broken { reason: format!("can't create {}: {error}; {what}", path.display()) }
}

fn prepare(path: &Path, connection: &Connection) -> Result<(StoreIdentity, Position), LogError> {
    let wrong = |error: rusqlite::Error| log_error(path, &error);
    connection.busy_timeout(OPEN_BUSY_TIMEOUT).map_err(wrong)?;
    if connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(wrong)?
        == 0
    {
        create(connection).map_err(wrong)?;
    }
    recognize(path, connection)?;
    set_pragmas(connection).map_err(wrong)?;
    // Says now, and not at the first append, that somebody outside has the file locked.
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(wrong)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    if size <= CHECKED_AT_OPEN_BYTES {
        check_pages(path, connection)?;
    }
    let head = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'event'", [], |row| {
            row.get::<_, i64>(0)
        })
        .optional()
        .map_err(wrong)?;
    Ok((identity(path, connection)?, Position(head.unwrap_or(0).unsigned_abs())))
}

/// Makes the tables and draws the store's identity, all or none.
fn create(connection: &Connection) -> Result<(), rusqlite::Error> {
    let identity = StoreIdentity::draw();
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut insert = transaction.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute(("epoch", identity.epoch.as_bytes()))?;
    insert.execute(("hash_key", identity.hash_key.as_slice()))?;
    drop(insert);
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

fn recognize(path: &Path, connection: &Connection) -> Result<(), LogError> {
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .map_err(|error| log_error(path, &error))
    };
    if pragma("application_id")? != APPLICATION_ID {
        let path = path.display();
        let reason = format!("{path} is a database of another program: name another file");
        return Err(LogError::Broken { reason });
    }
    if pragma("user_version")? != SCHEMA_VERSION {
        let path = path.display();
        let reason = format!("{path} was written by a later release: start that one");
        return Err(LogError::Broken { reason });
    }
    Ok(())
}

fn set_pragmas(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Deleting a person's stream overwrites it.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(32);
    keep_plans(connection)
}

fn check_pages(path: &Path, connection: &Connection) -> Result<(), LogError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| log_error(path, &error))?;
    if found == "ok" { Ok(()) } else { Err(damaged(path, &found)) }
}

fn identity(path: &Path, connection: &Connection) -> Result<StoreIdentity, LogError> {
    let read = |key: &str| {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get::<_, Vec<u8>>(0)
            })
            .map_err(|error| log_error(path, &error))
    };
    let epoch = String::from_utf8(read("epoch")?);
    let hash_key = <[u8; 32]>::try_from(read("hash_key")?);
    match (epoch, hash_key) {
        (Ok(epoch), Ok(hash_key)) => Ok(StoreIdentity { epoch, hash_key }),
        _ => Err(damaged(path, "its identity can't be read")),
    }
}

fn damaged(path: &Path, what: &str) -> LogError {
    let path = path.display();
    let reason = format!(
        "the event log {path} is damaged ({what}): restore a backup, or move what can be read \
         into a new file with `sqlite3 {path} .recover | sqlite3 NEW`"
    );
    LogError::Broken { reason }
}

/// What a failure of SQLite means for the one who opens or reads the log.
pub(super) fn log_error(path: &Path, error: &rusqlite::Error) -> LogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            damaged(path, &error.to_string())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let path = path.display();
            let reason = format!(
                "the event log {path} is locked by another process: end it, then start again"
            );
            LogError::Broken { reason }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            let path = path.display();
            let reason = format!(
                "the event log {path} can't be opened ({error}): see that this user may read \
                 and write it and its folder"
            );
            LogError::Broken { reason }
        }
        _ => LogError::Unavailable { reason: explain(error) },
    }
}

/// A failure in words that say what to do. Names no content.
pub(super) fn explain(error: &rusqlite::Error) -> String {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "the event log's disk is full: make room, and it goes on by itself"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "the event log's disk failed to read or write: look at the system's log"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "the event log's file is locked by another process: end it"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the event log's file is damaged: stop, and restore a backup"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "the event log's file can't be written: give this user the right to"
        }
        _ => "the event log failed",
    };
    format!("{advice} ({error})")
}

/// The commit may have reached the disk although it failed: what was written is there, only that
/// it is durable is not known.
pub(super) fn outcome_unknown(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    matches!(extended, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}
