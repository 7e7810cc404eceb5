//! The embedded log: one SQLite file, no server.
//!
//! - [`writer`]: one thread that owns the only writing connection and stores all appends that
//!   wait in one transaction, so that they share one fsync.
//! - [`checkpoint`]: one thread that moves the write-ahead log into the file meanwhile.
//! - [`reader`]: a few read-only connections for the past.
//! - [`mod@file`]: opening, creating, checking the file; the lock that keeps a second process out.
//!
//! Fresh events never come from the file: the writer puts them, decoded, into a ring from which
//! followers take them; the file is for those that are further behind.
//!
//! **Invariant:** an append is answered after its transaction is committed with
//! `synchronous=FULL` and after the ring has it.

use std::{path::Path, sync::Arc, time::Instant};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Append, AppendError, Appended, EventLog, LogError, Record, Revision, StoreIdentity, StreamName,
    Tail,
    record::encode,
    tail::{Head, Recent, Ring, Source, closed_error, follow},
};
use crate::{
    domain::ids::Position,
    metrics::{APPEND_FAILURES, APPEND_SECONDS, APPENDED_EVENTS},
};

pub mod checkpoint;
pub mod file;
mod reader;
mod writer;

use reader::Readers;
use writer::{Entry, Job};

/// Appends that may wait for the writer; more wait for room before they are even queued.
const WAITING_APPENDS_MAX: usize = 4096;
/// The most events in one append.
pub const APPEND_EVENTS_MAX: usize = 10_000;
/// The most bytes of one event's envelope. Above what a webhook may hold.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// Fresh records kept decoded for followers: by number, and by their stored bytes, of which a
/// decoded record takes two to three times as many. Followers live within a second of the head;
/// with 32 MiB a bulk's recipients stayed in memory for long (`benches/sending`, `accept`).
const RING_RECORDS_MAX: usize = 16_384;
const RING_BYTES_MAX: usize = 8 << 20;

/// A log in a SQLite file.
pub struct SqliteLog {
    identity: StoreIdentity,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the writer, the followers and the log itself share.
struct Shared {
    head: watch::Sender<Head>,
    ring: Ring,
    readers: Readers,
    /// Why the last append could not be stored; `None` after one that could.
    trouble: Mutex<Option<String>>,
}

impl SqliteLog {
    /// Opens the log in the file at `path`, creating it when there is none. Blocks for as long as
    /// the file needs: call it while starting.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_with_ring(path, RING_RECORDS_MAX, RING_BYTES_MAX)
    }

    fn open_with_ring(path: &Path, records_max: usize, bytes_max: usize) -> Result<Self, LogError> {
        let opened = file::open(path)?;
        let (head, _) = watch::channel(Head { position: opened.head, closed: false });
        let shared = Arc::new(Shared {
            head,
            ring: Ring::new(opened.head, records_max, bytes_max),
            readers: Readers::new(path.to_owned()),
            trouble: Mutex::new(None),
        });
        let (jobs, queue) = mpsc::channel(WAITING_APPENDS_MAX);
        let writer =
            writer::start(opened.connection, path, opened.lock, queue, Arc::clone(&shared))?;
        Ok(Self { identity: opened.identity, jobs, shared, writer: Mutex::new(Some(writer)) })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.ok()?;
        answer.await.ok()
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let entries = prepare(batch)?;
        let (reply, answer) = oneshot::channel();
        let result = match self.jobs.send(Job::Append { entries, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| {
                Err(AppendError::Unknown { reason: "the writer has ended".to_owned() })
            }),
            Err(_) => Err(AppendError::Unavailable { reason: closed_error().to_string() }),
        };
        match &result {
            Ok(appended) => {
                metrics::histogram!(APPEND_SECONDS).record(started.elapsed().as_secs_f64());
                metrics::counter!(APPENDED_EVENTS).increment(appended.len() as u64);
            }
            Err(error) => {
                metrics::counter!(APPEND_FAILURES, "kind" => error.kind()).increment(1);
            }
        }
        result
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        self.shared.readers.after(after, limit).await
    }

    fn tail(&self, after: Position) -> BoxStream<'static, Result<Tail, LogError>> {
        follow(Arc::clone(&self.shared) as Arc<dyn Source>, after)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.shared.readers.of_stream(stream, after, limit).await
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<(), LogError> {
        let stream = stream.clone();
        self.ask(|reply| Job::Delete { stream, reply }).await.unwrap_or_else(|| Err(closed_error()))
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(self.shared.head.borrow().position)
    }

    async fn health(&self) -> Result<(), LogError> {
        if self.shared.trouble.lock().is_none() && !self.jobs.is_closed() {
            return Ok(());
        }
        // After a failure only a write can tell whether the cause is gone.
        self.ask(|reply| Job::Probe { reply }).await.unwrap_or_else(|| Err(closed_error()))
    }

    async fn close(&self) {
        self.ask(|reply| Job::Close { reply }).await;
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // It has answered and only returns; joining makes sure that the lock is released.
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the event log's writer did not end in order");
            }
        }
        self.shared.readers.close();
    }
}

/// Encodes on the caller's thread, so that the writer only writes.
fn prepare(batch: Vec<Append>) -> Result<Vec<Entry>, AppendError> {
    if batch.iter().map(|entry| entry.events.len()).sum::<usize>() > APPEND_EVENTS_MAX {
        let reason = format!("more than {APPEND_EVENTS_MAX} events at once");
        return Err(AppendError::Rejected { reason });
    }
    batch.into_iter().map(prepare_entry).collect()
}

fn prepare_entry(append: Append) -> Result<Entry, AppendError> {
    let Append { stream, expected, events } = append;
    let mut encoded = Vec::with_capacity(events.len());
    for event in events {
        let json = encode(&stream, &event)
            .map_err(|error| AppendError::Rejected { reason: error.to_string() })?;
        if json.len() > EVENT_BYTES_MAX {
            let reason = format!("an event of more than {EVENT_BYTES_MAX} bytes");
            return Err(AppendError::Rejected { reason });
        }
        encoded.push((Arc::new(event), json));
    }
    Ok(Entry { name: stream.to_string(), stream, expected, events: encoded })
}

#[async_trait]
impl Source for Shared {
    fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    fn recent(&self, after: Position, limit: usize) -> Recent {
        self.ring.after(after, limit)
    }

    async fn stored(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        self.readers.after(after, limit).await
    }
}

#[cfg(test)]
mod tests;
