//! Reading the past: a few read-only connections, used on the blocking threads.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rusqlite::{Connection, Row, params};
use tokio::sync::Semaphore;

use super::file;
use crate::{
    domain::ids::Position,
    event_log::{LogError, Record, Revision, StreamName, record::decode, tail::closed_error},
};

/// Reads at once; further ones wait for a connection.
const READERS_MAX: usize = 4;
/// A read ends early when its envelopes come to this many bytes.
const READ_BYTES_MAX: usize = 16 << 20;

pub(super) struct Readers {
    path: PathBuf,
    turns: Semaphore,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Semaphore::new(READERS_MAX), idle: Arc::default() }
    }

    pub(super) async fn after(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT position, stream, revision, json FROM event \
                 WHERE position > ?1 ORDER BY position LIMIT ?2",
            )?;
            collect(select.query(params![clamp(after.0), clamp(limit as u64)])?)
        })
        .await
    }

    pub(super) async fn of_stream(
        &self,
        stream: &StreamName,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<Record>, LogError> {
        let name = stream.to_string();
        let after = after.map_or(-1, |revision| clamp(revision.0));
        self.run(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT position, stream, revision, json FROM event \
                 WHERE stream = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3",
            )?;
            collect(select.query(params![name, after, clamp(limit as u64)])?)
        })
        .await
    }

    /// No more reads; what is open is closed.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle.lock().clear();
    }

    async fn run<T, F>(&self, read: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let _turn = self.turns.acquire().await.map_err(|_| closed_error())?;
        let idle = Arc::clone(&self.idle);
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            let waiting = idle.lock().pop();
            let connection = match waiting {
                Some(connection) => connection,
                None => file::open_reader(&path)?,
            };
            let result = read(&connection).map_err(|error| file::log_error(&path, &error))?;
            idle.lock().push(connection);
            Ok(result)
        });
        done.await.map_err(|error| LogError::Unavailable { reason: error.to_string() })?
    }
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Record>, rusqlite::Error> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let (record, size) = record(row)?;
        records.push(record);
        bytes += size;
        if bytes >= READ_BYTES_MAX {
            break;
        }
    }
    Ok(records)
}

fn record(row: &Row<'_>) -> Result<(Record, usize), rusqlite::Error> {
    let stream = StreamName::parse(&String::from_utf8_lossy(bytes_of(row, 1)?));
    let json = bytes_of(row, 3)?;
    let event = Arc::new(decode(&stream, json));
    let position = Position(row.get::<_, i64>(0)?.unsigned_abs());
    let revision = Revision(row.get::<_, i64>(2)?.unsigned_abs());
    Ok((Record { position, revision, stream, event }, json.len()))
}

/// A column's bytes, whatever type a damaged row gives it.
fn bytes_of<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], rusqlite::Error> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => b"",
    })
}

/// SQLite's integers are signed; no position comes near the difference.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
