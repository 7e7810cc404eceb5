//! Moving the write-ahead log into the file, beside the writer and not in its way.
//!
//! SQLite would do it within a commit, which then takes as long as thousands of page writes and
//! two syncs. Here a thread of its own moves the pages while the writer goes on. What it can't do
//! is to finish, since new pages keep coming: when the write-ahead log has grown long, the writer
//! itself moves the few that are left, and the next commit begins it anew.
//!
//! After a deletion the write-ahead log still holds what was erased, so it is emptied then, as soon
//! as no reader is in the way: nobody waits for one.
//!
//! The read model's write-ahead log is moved in the same way: there, too, who waits for a commit
//! must not wait for a checkpoint, and the log's syncs, which share the disk, should meet short ones.
//!
//! **Invariant:** nothing here makes an event durable or visible; it bounds a file's length.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::file;

/// Between two attempts to empty the write-ahead log.
const EMPTY_AGAIN: Duration = Duration::from_secs(1);
/// Pages by which the write-ahead log grows between two rounds of the thread.
const ROUND_PAGES: i32 = 2000;
/// Pages after which the writer finishes (64 MiB).
const FINISH_PAGES: i32 = 16_384;

/// Why the pages can't be moved by a thread of their own.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Thread(#[from] io::Error),
}

/// Keeps the write-ahead log of one writing connection short.
pub struct Checkpoints {
    /// How long the write-ahead log is, as SQLite tells it with each commit.
    pages: Arc<AtomicI32>,
    /// How long it was when the thread was last woken, or the writer last tried to finish.
    asked_at: i32,
    /// `None` once it is to end.
    wake: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    emptying: Emptying,
}

/// Whether what was deleted may still stand in the write-ahead log.
#[derive(Debug, Clone, Copy)]
enum Emptying {
    NotDue,
    /// It is to be emptied, and was last tried then.
    Due {
        tried: Option<Instant>,
    },
}

impl Checkpoints {
    /// `name` is the thread's.
    pub fn start(name: &str, path: &Path, writer: &mut Connection) -> Result<Self, StartError> {
        let pages = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&pages);
        // Replaces SQLite's own automatic checkpoints.
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            told.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = file::open_beside(path)?;
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || move_when_woken(&connection, &woken))?;
        let (wake, thread) = (Some(wake), Some(thread));
        // The process may have ended between a deletion and the emptying.
        let emptying = Emptying::Due { tried: None };
        Ok(Self { pages, asked_at: 0, wake, thread, emptying })
    }

    /// On the writer's thread, after each commit.
    pub fn after_commit(&mut self, writer: &Connection) {
        self.empty_if_due(writer);
        let pages = self.pages.load(Ordering::Relaxed);
        // Shorter than before: it began anew.
        self.asked_at = self.asked_at.min(pages);
        if pages - self.asked_at < ROUND_PAGES {
            return;
        }
        self.asked_at = pages;
        if pages >= FINISH_PAGES {
            move_pages(writer);
        }
        if let Some(wake) = &self.wake {
            // One that is awake already needs no second call.
            let _ = wake.try_send(());
        }
    }

    /// On the writer's thread: tries again to empty what could not be emptied before.
    pub fn empty_if_due(&mut self, writer: &Connection) {
        if let Emptying::Due { tried } = self.emptying
            && tried.is_none_or(|tried| tried.elapsed() >= EMPTY_AGAIN)
        {
            self.empty(writer);
        }
    }

    /// On the writer's thread, after a deletion: empties the write-ahead log, now or, when a reader
    /// is in the way, at a later [`empty_if_due`](Self::empty_if_due).
    pub fn empty(&mut self, writer: &Connection) {
        move_pages(writer);
        let waits = |time| writer.busy_timeout(time);
        let emptied = waits(Duration::ZERO).and_then(|()| {
            writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        let emptied = waits(file::BUSY_TIMEOUT).and(emptied);
        let again = Emptying::Due { tried: Some(Instant::now()) };
        self.emptying = match emptied {
            Ok(0) => Emptying::NotDue,
            // A reader is in the way.
            Ok(_) => again,
            Err(error) => {
                tracing::warn!(%error, "a write-ahead file could not be emptied after a deletion");
                again
            }
        };
    }
}

/// Lets the thread end. What is left is moved by who closes the file, or stays in the write-ahead
/// log for the next start.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the checkpoint thread of a database did not end in order");
        }
    }
}

fn move_when_woken(connection: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        move_pages(connection);
    }
}

/// Moves what can be moved without waiting for anybody.
pub(super) fn move_pages(connection: &Connection) {
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = moved {
        tracing::warn!(%error, "a write-ahead file could not be moved into its database");
    }
}
