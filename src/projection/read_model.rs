//! The read model's file: made, opened, judged, copied.
//!
//! It is written by the projector alone and can always be made anew from the log. So a file that
//! is of another store, of another version, ahead of the log or damaged is no error: it is said
//! why, and the projection begins from the start. A file that is something else is left alone.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, backup::Backup};
use tokio::sync::watch;

use super::settings::ProjectionSettings;
use crate::{
    domain::{fold::FOLD_VERSION, ids::Position},
    event_log::sqlite::file::keep_plans,
    runtime::private_file,
};

/// Raise it when the schema, what is stored in it, or the bytes of public events change: each
/// read model is then made anew at its next start. So it is when [`FOLD_VERSION`] changes.
pub const READ_MODEL_VERSION: u32 = 4;

/// What a read model of this release says of itself.
const VERSION: (u32, u32) = (READ_MODEL_VERSION, FOLD_VERSION);

/// "cndo": marks a file as a read model, so that no other file is ever replaced.
const APPLICATION_ID: i32 = 0x636e_646f;
/// Larger pages make the feed's rows cheaper and single events dearer (`benches/projection.rs`).
const PAGE_BYTES: u32 = 4096;
/// The write-ahead log's file is cut to this size after a longer reader let it grow.
const WAL_BYTES_KEPT: i64 = 64 << 20;
/// How long a connection waits for another one's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps; there are fewer.
const STATEMENTS_MAX: usize = 128;
/// Pages copied between two words on the progress of a backup.
const BACKUP_STEP_PAGES: i32 = 1024;

/// Why there is no read model to work with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the read model {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error(
        "{path} is not a read model and is left alone: name another file for it, or move it away"
    )]
    SomethingElse { path: PathBuf },
    #[error("there is no read model at {path}: start the server or run `condorito rebuild`")]
    Missing { path: PathBuf },
    #[error("the read model {path} can't be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the read model {path} can't be used: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

/// An open read model: the one connection that writes, and the lock that keeps it the one.
pub struct ReadModel {
    pub(super) connection: Connection,
    pub(super) settings: ProjectionSettings,
    pub(super) epoch: Arc<str>,
    /// All events up to here are in it.
    pub(super) checkpoint: Position,
    /// Tells the queries how far it has come.
    pub(super) projected: watch::Sender<Position>,
    /// Tells the queries when it has come up with the log for the first time.
    pub(super) complete: watch::Sender<bool>,
    /// Tells them that somebody was erased: how many since the start.
    pub(super) erasures: watch::Sender<u64>,
    pub(super) lock: File,
}

impl ReadModel {
    /// Opens the read model of the store with this `epoch`, whose log ends at `head`. Begins a
    /// new one when there is none, and when the one that is there can't go on.
    pub fn open(
        settings: &ProjectionSettings,
        epoch: &str,
        head: Position,
    ) -> Result<Self, OpenError> {
        let path = &settings.path;
        let lock = lock(path)?;
        match judge(path, epoch, head)? {
            Verdict::Missing => {
                tracing::info!(path = %path.display(), "begins a new read model");
                remove(path)?;
            }
            Verdict::Good => {}
            Verdict::Stale(reason) => {
                tracing::warn!(path = %path.display(), reason, "makes the read model anew");
                remove(path)?;
            }
            Verdict::Damaged(reason) => {
                let aside = sibling(path, ".damaged");
                tracing::error!(
                    path = %path.display(), reason, aside = %aside.display(),
                    "the read model is damaged: puts it aside and makes it anew"
                );
                set_aside(path, &aside)?;
            }
        }
        Self::open_judged(settings, epoch, lock, path)
    }

    /// Begins an empty read model in `file`, in the place of whatever is there, without a
    /// journal and without syncing: a crash leaves a file of no use. Holds the lock of the read
    /// model at `settings.path`.
    pub(super) fn begin_unsafely(
        settings: &ProjectionSettings,
        epoch: &str,
        file: &Path,
    ) -> Result<Self, OpenError> {
        let lock = lock(&settings.path)?;
        // What is there may be a read model in any state, but nothing else.
        judge(&settings.path, epoch, Position::START)?;
        remove(file)?;
        let model = Self::open_judged(settings, epoch, lock, file)?;
        let broken = |source| OpenError::Sqlite { path: file.to_owned(), source };
        model.connection.pragma_update(None, "journal_mode", "OFF").map_err(broken)?;
        model.connection.pragma_update(None, "synchronous", "OFF").map_err(broken)?;
        model.connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(broken)?;
        Ok(model)
    }

    fn open_judged(
        settings: &ProjectionSettings,
        epoch: &str,
        lock: File,
        path: &Path,
    ) -> Result<Self, OpenError> {
        private(path)?;
        let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let connection = open_for_writing(path, settings).map_err(broken)?;
        make_schema(&connection, epoch).map_err(broken)?;
        let checkpoint = read_meta(&connection).map_err(broken)?.checkpoint;
        Ok(Self {
            connection,
            settings: settings.clone(),
            epoch: Arc::from(epoch),
            checkpoint,
            projected: watch::Sender::new(checkpoint),
            complete: watch::Sender::new(false),
            erasures: watch::Sender::new(0),
            lock,
        })
    }

    /// All events up to here are in it.
    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }
}

/// What `condorito check` says of a read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// [`READ_MODEL_VERSION`] and [`FOLD_VERSION`] of the release that made it.
    pub version: (u32, u32),
    pub epoch: String,
    pub checkpoint: Position,
    /// What SQLite finds wrong with the file; empty when all is well.
    pub damage: Vec<String>,
}

impl CheckReport {
    /// Whether this release would make it anew.
    pub fn is_stale(&self) -> bool {
        self.version != VERSION
    }
}

/// Reads the whole file and says what is wrong with it. Takes as long as reading it takes.
pub fn check(path: &Path) -> Result<CheckReport, OpenError> {
    const PROBLEMS_MAX: usize = 20;
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let connection = open_for_reading(path, 8192).map_err(broken)?;
    if application_id(&connection).map_err(broken)? != APPLICATION_ID {
        return Err(OpenError::SomethingElse { path: path.to_owned() });
    }
    let meta = read_meta(&connection).map_err(broken)?;
    let mut check =
        connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS_MAX})")).map_err(broken)?;
    let lines: Vec<String> =
        check.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(broken)?;
    Ok(CheckReport {
        version: meta.version,
        epoch: meta.epoch,
        checkpoint: meta.checkpoint,
        damage: lines.into_iter().filter(|line| line != "ok").collect(),
    })
}

/// Copies the read model into the file `to` as it is at one moment, while it may be written.
/// `progress` is told pages done and pages in all. `to` appears when it is complete.
pub fn backup(path: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let partial = sibling(to, ".partial");
    remove(&partial)?;
    private(&partial)?;
    let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
    copy_pages(path, &partial, &mut progress).map_err(broken)?;
    rename(&partial, to)
}

fn copy_pages(from: &Path, to: &Path, progress: &mut impl FnMut(u64, u64)) -> rusqlite::Result<()> {
    let source = open_for_reading(from, 8192)?;
    // One read transaction around it all: what is written meanwhile is not seen, so the copy
    // never has to begin again.
    source.execute_batch("BEGIN; SELECT one FROM meta;")?;
    let mut target = Connection::open(to)?;
    {
        let backup = Backup::new(&source, &mut target)?;
        while backup.step(BACKUP_STEP_PAGES)? != rusqlite::backup::StepResult::Done {
            let at = backup.progress();
            let done = at.pagecount - at.remaining;
            progress(u64::try_from(done).unwrap_or(0), u64::try_from(at.pagecount).unwrap_or(0));
        }
    }
    target.close().map_err(|(_, error)| error)
}

/// Whether an error says that the file itself is damaged: SQLite finds it to be, or there is
/// something in it that we never wrote.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let unreadable = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    );
    let code = error.sqlite_error_code();
    unreadable || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Leaves a word for the next start that the file is damaged, found out while it was in use.
pub(super) fn mark_damaged(path: &Path, reason: &str) {
    if let Err(error) = std::fs::write(sibling(path, ".is-damaged"), reason) {
        tracing::error!(%error, "can't leave a mark that the read model is damaged");
    }
}

enum Verdict {
    Missing,
    Good,
    Stale(String),
    Damaged(String),
}

fn judge(path: &Path, epoch: &str, head: Position) -> Result<Verdict, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Ok(reason) = std::fs::read_to_string(sibling(path, ".is-damaged")) {
        return Ok(Verdict::Damaged(reason));
    }
    if !path.try_exists().map_err(io)? || path.metadata().map_err(io)?.len() == 0 {
        return Ok(Verdict::Missing);
    }
    match judge_content(path, epoch, head) {
        Ok(Some(verdict)) => Ok(verdict),
        Ok(None) => Err(OpenError::SomethingElse { path: path.to_owned() }),
        Err(error) if is_damage(&error) => Ok(Verdict::Damaged(error.to_string())),
        Err(source) => Err(OpenError::Sqlite { path: path.to_owned(), source }),
    }
}

/// `None`: a database of something else.
fn judge_content(path: &Path, epoch: &str, head: Position) -> rusqlite::Result<Option<Verdict>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    if application_id(&connection)? != APPLICATION_ID {
        return Ok(None);
    }
    let meta = read_meta(&connection)?;
    let stale = |reason| Ok(Some(Verdict::Stale(reason)));
    if meta.version != VERSION {
        return stale(format!("it is of version {:?}, not {VERSION:?}", meta.version));
    }
    if meta.epoch != epoch {
        return stale(format!("it is of the event store {}, not {epoch}", meta.epoch));
    }
    if meta.checkpoint > head {
        return stale(format!("it is at {}, ahead of the log at {head}", meta.checkpoint));
    }
    Ok(Some(Verdict::Good))
}

struct Meta {
    version: (u32, u32),
    epoch: String,
    checkpoint: Position,
}

fn read_meta(connection: &Connection) -> rusqlite::Result<Meta> {
    connection.query_row("SELECT version, fold_version, epoch, checkpoint FROM meta", [], |row| {
        let checkpoint: i64 = row.get(3)?;
        Ok(Meta {
            version: (row.get(0)?, row.get(1)?),
            epoch: row.get(2)?,
            checkpoint: Position(checkpoint as u64),
        })
    })
}

fn application_id(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn open_for_writing(path: &Path, settings: &ProjectionSettings) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    keep_plans(&connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -i64::from(settings.page_cache_kib))?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // What is deleted or replaced is overwritten: an erased person must not be found in the free
    // parts of the file.
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    Ok(connection)
}

pub(super) fn open_for_reading(path: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    keep_plans(&connection)?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// All of it in one transaction, so that there is never half a read model.
fn make_schema(connection: &Connection, epoch: &str) -> rusqlite::Result<()> {
    let exists = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'meta'", [], |_| Ok(()))
        .optional()?
        .is_some();
    if exists {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.execute(
        "INSERT INTO meta (one, version, fold_version, epoch, checkpoint) VALUES (1, ?1, ?2, ?3, 0)",
        (READ_MODEL_VERSION, FOLD_VERSION, epoch),
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
}

/// It holds personal data as the log does.
fn private(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    private_file::database(path).map_err(io)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_file::folder(folder).map_err(io)?;
    }
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(sibling(path, ".lock"))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// `path` with something behind its name.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes what [`ReadModel::open`] put aside as damaged, as far as it can be.
pub(super) fn remove_set_aside(path: &Path) {
    if let Err(error) = remove_file(&sibling(path, ".damaged")) {
        tracing::warn!(%error, "a damaged read model that was put aside can't be removed");
    }
}

fn set_aside(path: &Path, aside: &Path) -> Result<(), OpenError> {
    if path.exists() {
        rename(path, aside)?;
    }
    remove(path)
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), OpenError> {
    std::fs::rename(from, to).map_err(|source| OpenError::Io { path: to.to_owned(), source })
}

/// Removes a database with what stands beside it.
pub(super) fn remove(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", ".is-damaged"] {
        remove_file(&sibling(path, suffix))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::Io { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
