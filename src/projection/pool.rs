//! Read-only connections, shared by the queries of one kind of asker.
//!
//! Each query has a connection to itself, on a thread that may block, in one read transaction,
//! so that all it reads is of one moment. **Invariant:** at most `readers` run at once, none
//! waits or runs for longer than its setting, and a caller that goes away gives its connection
//! back when its query ends.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::Semaphore;

use super::{queries::QueryError, read_model, settings::ProjectionSettings};

/// SQLite's steps between two looks at the clock: well below a millisecond.
const STEPS_PER_LOOK: i32 = 20_000;

pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
    wait: Duration,
    time_max: Duration,
}

struct Reader {
    connection: Connection,
    /// When the query that runs is to end.
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Pool {
    pub fn open(
        path: &Path,
        readers: usize,
        settings: &ProjectionSettings,
    ) -> rusqlite::Result<Self> {
        let count = readers.max(1);
        let readers: Vec<Reader> = (0..count)
            .map(|_| Reader::open(path, settings.reader_cache_kib))
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            idle: Arc::new(Mutex::new(readers)),
            permits: Arc::new(Semaphore::new(count)),
            wait: Duration::from_millis(settings.query_wait_ms),
            time_max: Duration::from_millis(settings.query_time_max_ms),
        })
    }

    #[cfg(test)]
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Runs `query` in a read transaction.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueryError> {
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| QueryError::Overloaded)?
            .map_err(|_| QueryError::Broken("the read model is closed".to_owned()))?;
        let idle = Arc::clone(&self.idle);
        let time_max = self.time_max;
        let running = tokio::task::spawn_blocking(move || {
            let Some(reader) = idle.lock().pop() else {
                return Err(QueryError::Overloaded);
            };
            let answer = reader.run(time_max, query);
            idle.lock().push(reader);
            // The connection first, then the right to it.
            drop(permit);
            answer
        });
        running.await.map_err(|_| QueryError::Broken("a query panicked".to_owned()))?
    }
}

impl Reader {
    fn open(path: &Path, cache_kib: u32) -> rusqlite::Result<Self> {
        let mut connection = read_model::open_for_reading(path, cache_kib)?;
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        let watched = Arc::clone(&deadline);
        connection.progress_handler(
            STEPS_PER_LOOK,
            Some(move || watched.lock().is_some_and(|deadline| Instant::now() > deadline)),
        )?;
        Ok(Self { connection, deadline })
    }

    fn run<T>(
        &self,
        time_max: Duration,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, QueryError> {
        *self.deadline.lock() = Some(Instant::now() + time_max);
        let transaction = self.connection.unchecked_transaction();
        let answer = transaction.and_then(|transaction| query(&transaction));
        *self.deadline.lock() = None;
        answer.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => QueryError::Overloaded,
            _ => QueryError::Broken(error.to_string()),
        })
    }
}
