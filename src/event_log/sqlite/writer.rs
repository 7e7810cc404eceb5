//! The thread that writes: takes all that waits, stores it in one transaction, answers.
//!
//! Nothing waits for a timer. An append that comes alone is committed alone; those that come
//! while a commit is under way wait for it and then share the next. (Waiting for those who shared
//! the last commit was tried: it brings all of a closed loop into step, and nobody uses the
//! processor while the disk syncs.)
//!
//! **Invariant:** each append is all or none, and one that fails by itself (a conflict) leaves the
//! others of its transaction untouched. When the transaction fails, all of them fail alike.

use std::{path::Path, sync::Arc, thread};

use quick_cache::unsync::Cache;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    checkpoint::{Checkpoints, move_pages},
    file::{self, Lock},
};
use crate::{
    domain::{event::Event, ids::Position},
    event_log::{
        AppendError, Appended, Expected, LogError, Record, Revision, StreamName, check_expected,
        tail::{Head, closed_error},
    },
    metrics::LOG_HEAD,
};

/// Events after which a transaction takes no further append. Larger groups win nothing and make
/// those in them wait longer (measured in CRATES.md).
const GROUP_EVENTS_MAX: usize = 256;
/// Streams of which the newest revision is kept in memory; of others it is looked up.
const REVISIONS_KEPT_MAX: usize = 32_768;

/// The result of one append.
pub(super) type Stored = Result<Vec<Appended>, AppendError>;

/// One stream's events of an append, ready to be written.
pub(super) struct Entry {
    pub stream: StreamName,
    pub name: String,
    pub expected: Expected,
    pub events: Vec<(Arc<Event>, String)>,
}

pub(super) enum Job {
    Append {
        entries: Vec<Entry>,
        reply: oneshot::Sender<Stored>,
    },
    Delete {
        stream: StreamName,
        reply: oneshot::Sender<Result<(), LogError>>,
    },
    /// Writes something, to see whether it can.
    Probe {
        reply: oneshot::Sender<Result<(), LogError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

pub(super) fn start(
    mut connection: Connection,
    path: &Path,
    lock: Lock,
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
) -> Result<thread::JoinHandle<()>, LogError> {
    let checkpoints = Checkpoints::start("event-log-move", path, &mut connection)
        .map_err(|error| LogError::Unavailable { reason: error.to_string() })?;
    let started = thread::Builder::new().name("event-log".to_owned()).spawn(move || {
        let revisions = Cache::new(REVISIONS_KEPT_MAX);
        let mut writer = Writer { connection, queue, shared, checkpoints, revisions };
        let closing = writer.run();
        writer.end();
        drop(lock);
        if let Some(reply) = closing {
            // Nobody listens when the caller of `close` has gone.
            let _ = reply.send(());
        }
    });
    started.map_err(|error| LogError::Unavailable { reason: error.to_string() })
}

struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    checkpoints: Checkpoints,
    /// Newest revisions of streams, those of the open transaction included. Emptied when something
    /// is taken back.
    revisions: Cache<String, i64>,
}

/// An append within the open transaction: what came of it so far, and whom to tell.
struct Pending {
    entries: Vec<Entry>,
    result: Stored,
    reply: oneshot::Sender<Stored>,
}

/// Why an append has not been applied to the transaction.
enum Refusal {
    Conflict(AppendError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Refusal::Sqlite(error)
    }
}

impl Writer {
    /// Works until the log is closed, then says who asked for that.
    fn run(&mut self) -> Option<oneshot::Sender<()>> {
        let mut next = self.queue.blocking_recv();
        loop {
            match next? {
                Job::Append { entries, reply } => {
                    next = self.group(entries, reply);
                    continue;
                }
                Job::Delete { stream, reply } => {
                    // The caller may have gone; the deletion is done all the same.
                    let _ = reply.send(self.delete(&stream));
                }
                Job::Probe { reply } => {
                    let _ = reply.send(self.probe());
                }
                Job::Close { reply } => return Some(reply),
            }
            next = self.queue.blocking_recv();
        }
    }

    /// Stores a group that begins with this append; returns the job to go on with.
    fn group(&mut self, entries: Vec<Entry>, reply: oneshot::Sender<Stored>) -> Option<Job> {
        let mut group = Vec::new();
        let mut size = 0;
        let mut next = Some(Job::Append { entries, reply });
        let mut opened = self.execute("BEGIN IMMEDIATE");
        while let Some(Job::Append { entries, reply }) = next {
            size += entries.iter().map(|entry| entry.events.len()).sum::<usize>();
            let result = match opened.as_ref().map(|()| self.apply(&entries)) {
                Ok(Ok(appended)) => Ok(appended),
                Ok(Err(Refusal::Conflict(conflict))) => Err(conflict),
                // The transaction can't be trusted any more: all of the group fails with it.
                Ok(Err(Refusal::Sqlite(error))) => {
                    opened = Err(error);
                    Ok(Vec::new())
                }
                Err(_) => Ok(Vec::new()),
            };
            group.push(Pending { entries, result, reply });
            next = if size < GROUP_EVENTS_MAX { self.waiting() } else { None };
        }
        match opened.and_then(|()| self.execute("COMMIT")) {
            Ok(()) => {
                self.committed(group);
                self.checkpoints.after_commit(&self.connection);
            }
            Err(error) => self.failed(group, &error),
        }
        next.or_else(|| self.queue.blocking_recv())
    }

    fn waiting(&mut self) -> Option<Job> {
        self.queue.try_recv().ok()
    }

    /// Applies one append to the open transaction, all or none.
    fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Appended>, Refusal> {
        // A single insert is all or none by itself.
        if let [entry] = entries
            && entry.events.len() <= 1
        {
            return self.insert(entries);
        }
        self.execute("SAVEPOINT append")?;
        let result = self.insert(entries);
        if matches!(result, Err(Refusal::Conflict(_))) {
            self.execute("ROLLBACK TO append")?;
            self.revisions.clear();
        }
        if !matches!(result, Err(Refusal::Sqlite(_))) {
            self.execute("RELEASE append")?;
        }
        result
    }

    fn insert(&mut self, entries: &[Entry]) -> Result<Vec<Appended>, Refusal> {
        let mut last = self.connection.prepare_cached(
            "SELECT revision FROM event WHERE stream = ?1 ORDER BY revision DESC LIMIT 1",
        )?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO event (stream, revision, json) VALUES (?1, ?2, ?3)")?;
        let mut appended = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let newest: Option<i64> = match self.revisions.get(&entry.name) {
                Some(newest) => Some(*newest),
                None => last.query_row([&entry.name], |row| row.get(0)).optional()?,
            };
            let actual = newest.map(|revision| Revision(revision.unsigned_abs()));
            check_expected(entry.expected, actual, index).map_err(Refusal::Conflict)?;
            let first = newest.map_or(0, |newest| newest + 1);
            for (revision, (_, json)) in (first..).zip(&entry.events) {
                let position = insert.insert(params![entry.name, revision, json])?;
                appended.push(Appended {
                    position: Position(position.unsigned_abs()),
                    revision: Revision(revision.unsigned_abs()),
                });
            }
            if !entry.events.is_empty() {
                self.revisions.insert(entry.name.clone(), first - 1 + entry.events.len() as i64);
            }
        }
        Ok(appended)
    }

    /// Hands the group over to the followers, then answers each.
    fn committed(&self, group: Vec<Pending>) {
        let mut head = None;
        let mut answers = Vec::with_capacity(group.len());
        for Pending { entries, result, reply } in group {
            if let Ok(appended) = &result {
                head = appended.last().map(|last| last.position).or(head);
                self.shared.ring.push(records(entries, appended));
            }
            answers.push((result, reply));
        }
        if let Some(position) = head {
            self.shared.head.send_modify(|head| head.position = position);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!(LOG_HEAD).set(position.0 as f64);
            *self.shared.trouble.lock() = None;
        }
        for (result, reply) in answers {
            // Nobody listens when the appender was cancelled; the events are stored.
            let _ = reply.send(result);
        }
    }

    fn failed(&mut self, group: Vec<Pending>, error: &rusqlite::Error) {
        self.revisions.clear();
        self.give_up();
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            // Lets the next transaction use the space of the write-ahead log again.
            move_pages(&self.connection);
        }
        for pending in group {
            // Nobody listens when the appender was cancelled.
            let _ = pending.reply.send(Err(self.append_error(error)));
        }
    }

    fn delete(&mut self, stream: &StreamName) -> Result<(), LogError> {
        let name = stream.to_string();
        let deleted = self
            .connection
            .execute("DELETE FROM event WHERE stream = ?1", [&name])
            .map_err(|error| self.log_error(&error))?;
        self.revisions.remove(&name);
        self.shared.ring.remove(stream);
        // `secure_delete` has overwritten it in the file; the write-ahead log still holds it. Old
        // answers are deleted all the time, and leave it as all else does: with its pages.
        if deleted > 0 && !matches!(stream, StreamName::Request(..)) {
            self.checkpoints.empty(&self.connection);
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), LogError> {
        let written = self.connection.execute(
            "INSERT INTO meta (key, value) VALUES ('probe', randomblob(8)) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [],
        );
        match written {
            Ok(_) => {
                *self.shared.trouble.lock() = None;
                Ok(())
            }
            Err(error) => Err(self.log_error(&error)),
        }
    }

    fn end(mut self) {
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            refuse(job);
        }
        self.shared.head.send_modify(|head: &mut Head| head.closed = true);
        drop(self.checkpoints);
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = folded {
            // All is durable; the next start finds it in the write-ahead file.
            tracing::info!(%error, "the log's write-ahead file stays for the next start");
        }
    }

    /// After a failed transaction: back to no transaction.
    fn give_up(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "the event log could not roll back");
        }
    }

    fn execute(&self, statement: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(statement)?.execute([]).map(|_| ())
    }

    /// What an append says of a failure of SQLite, and a note for `health`.
    fn append_error(&self, error: &rusqlite::Error) -> AppendError {
        let reason = file::explain(error);
        if error.sqlite_error_code() == Some(ErrorCode::TooBig) {
            return AppendError::Rejected { reason };
        }
        let mut trouble = self.shared.trouble.lock();
        if trouble.is_none() {
            tracing::error!(%error, "the event log can't store events: {reason}");
        }
        *trouble = Some(reason.clone());
        if file::outcome_unknown(error) {
            AppendError::Unknown { reason }
        } else {
            AppendError::Unavailable { reason }
        }
    }

    fn log_error(&self, error: &rusqlite::Error) -> LogError {
        let reason = file::explain(error);
        *self.shared.trouble.lock() = Some(reason.clone());
        LogError::Unavailable { reason }
    }
}

fn records(entries: Vec<Entry>, appended: &[Appended]) -> impl Iterator<Item = (Record, usize)> {
    let events = entries.into_iter().flat_map(|Entry { stream, events, .. }| {
        events.into_iter().map(move |(event, json)| (stream.clone(), event, json.len()))
    });
    events.zip(appended).map(|((stream, event, size), place)| {
        let Appended { position, revision } = *place;
        (Record { position, revision, stream, event }, size)
    })
}

/// Answers a job that came after the log was closed.
fn refuse(job: Job) {
    // Whoever does not listen any more needs no answer.
    match job {
        Job::Append { reply, .. } => {
            let reason = closed_error().to_string();
            let _ = reply.send(Err(AppendError::Unavailable { reason }));
        }
        Job::Delete { reply, .. } | Job::Probe { reply } => {
            let _ = reply.send(Err(closed_error()));
        }
        Job::Close { reply } => {
            let _ = reply.send(());
        }
    }
}
