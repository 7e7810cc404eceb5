//! The log in memory: for tests, and for measuring what is not the disk.
//!
//! It keeps all the promises but durability: what it holds ends with the process. It grows
//! without a bound, so it is no backend to be configured.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Append, AppendError, Appended, EventLog, LogError, Record, Revision, StoreIdentity, StreamName,
    Tail, check_expected,
    tail::{Head, Recent, Source, closed_error, follow},
};
use crate::domain::{event::EventData, ids::Position};

/// A log in memory.
pub struct MemoryLog {
    identity: StoreIdentity,
    shared: Arc<Shared>,
}

struct Shared {
    records: Mutex<Records>,
    head: watch::Sender<Head>,
}

#[derive(Default)]
struct Records {
    all: Vec<Record>,
    streams: HashMap<StreamName, Vec<Record>>,
    newest: u64,
    closed: bool,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(StoreIdentity::draw())
    }
}

impl MemoryLog {
    pub fn new(identity: StoreIdentity) -> Self {
        let (head, _) = watch::channel(Head { position: Position::START, closed: false });
        Self { identity, shared: Arc::new(Shared { records: Mutex::default(), head }) }
    }

    fn open(&self) -> Result<parking_lot::MutexGuard<'_, Records>, LogError> {
        let records = self.shared.records.lock();
        if records.closed { Err(closed_error()) } else { Ok(records) }
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let mut records =
            self.open().map_err(|error| AppendError::Unavailable { reason: error.to_string() })?;
        records.check(&batch)?;
        let appended = records.store(batch);
        if !appended.is_empty() {
            // Under the lock, so that the head never goes back.
            let position = Position(records.newest);
            self.shared.head.send_modify(|head| head.position = position);
        }
        Ok(appended)
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        Ok(self.open()?.after(after, limit))
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
        let records = self.open()?;
        let Some(stream) = records.streams.get(stream) else { return Ok(Vec::new()) };
        let start = stream.partition_point(|record| Some(record.revision) <= after);
        Ok(stream[start..].iter().take(limit).cloned().collect())
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<(), LogError> {
        let mut records = self.open()?;
        if records.streams.remove(stream).is_some() {
            records.all.retain(|record| record.stream != *stream);
        }
        Ok(())
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(Position(self.open()?.newest))
    }

    async fn health(&self) -> Result<(), LogError> {
        self.open().map(|_| ())
    }

    async fn close(&self) {
        self.shared.records.lock().closed = true;
        self.shared.head.send_modify(|head| head.closed = true);
    }
}

#[async_trait]
impl Source for Shared {
    fn head(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    fn recent(&self, after: Position, limit: usize) -> Recent {
        Recent::Records(self.records.lock().after(after, limit))
    }

    async fn stored(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        Ok(self.records.lock().after(after, limit))
    }
}

impl Records {
    fn after(&self, after: Position, limit: usize) -> Vec<Record> {
        let start = self.all.partition_point(|record| record.position <= after);
        self.all[start..].iter().take(limit).cloned().collect()
    }

    /// Checks all entries as if those before them were stored, so that storing can't fail.
    fn check(&self, batch: &[Append]) -> Result<(), AppendError> {
        let mut grown: HashMap<&StreamName, u64> = HashMap::new();
        for (index, entry) in batch.iter().enumerate() {
            let stored = self.streams.get(&entry.stream).map_or(0, |stream| stream.len() as u64);
            let length = grown.entry(&entry.stream).or_insert(stored);
            let actual = length.checked_sub(1).map(Revision);
            check_expected(entry.expected, actual, index)?;
            *length += entry.events.len() as u64;
            for event in &entry.events {
                if matches!(event.data, EventData::Unknown { .. }) {
                    let reason = "an unreadable event can't be written again".to_owned();
                    return Err(AppendError::Rejected { reason });
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, batch: Vec<Append>) -> Vec<Appended> {
        let mut appended = Vec::new();
        for entry in batch {
            if entry.events.is_empty() {
                continue;
            }
            let stream = self.streams.entry(entry.stream.clone()).or_default();
            for event in entry.events {
                self.newest += 1;
                let position = Position(self.newest);
                let revision = Revision(stream.len() as u64);
                appended.push(Appended { position, revision });
                let record = Record {
                    position,
                    revision,
                    stream: entry.stream.clone(),
                    event: Arc::new(event),
                };
                stream.push(record.clone());
                self.all.push(record);
            }
        }
        appended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::contract::{Case, Store, run};

    struct Memory;

    #[async_trait]
    impl Store for Memory {
        async fn open(&self) -> Arc<dyn EventLog> {
            Arc::new(MemoryLog::default())
        }
        fn is_durable(&self) -> bool {
            false
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_the_contract() {
        for case in Case::ALL {
            run(case, &Memory).await;
        }
    }
}
