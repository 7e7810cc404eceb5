//! A feed table and a log in memory, and a projector that fills them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    domain::{
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    event_log::LogError,
    feed::{
        FeedSettings,
        hub::Hub,
        past::Past,
        segment::conflate,
        subscriber::{Budget, Next, Subscriber},
    },
    projection::{
        CommittedBatch, FeedSink, PublicFrame,
        queries::{FeedPage, QueryError},
    },
    runtime::shutdown::Shutdown,
    wire::{cursor::Cursor, event_type::EventType},
};

pub(crate) const EPOCH: &str = "k3v9q";
pub(crate) const CLIENT: ClientId = ClientId(1);

/// A fact at this place.
pub(crate) fn event(position: u64, ordinal: u16) -> PublicFrame {
    event_of(position, ordinal, EventType::NewMessage, 1)
}

/// An event of a conversation; its number is the key too.
pub(crate) fn event_of(
    position: u64,
    ordinal: u16,
    event_type: EventType,
    conversation: u32,
) -> PublicFrame {
    let cursor = Cursor { position: Position(position), ordinal };
    let id = cursor.display(EPOCH);
    let json = format!(r#"{{"id":"{id}","type":"{}"}}"#, event_type.as_str());
    PublicFrame {
        client_id: CLIENT,
        cursor,
        event_type,
        key: u64::from(conversation),
        conversation_id: Some(ConversationId(conversation)),
        json: Bytes::from(json),
        taken_in_at: Timestamp(1_795_515_330_123),
    }
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Mutex<Vec<PublicFrame>>,
    pub(crate) floor: Mutex<Option<Cursor>>,
    pub(crate) projected: AtomicU64,
    pub(crate) log_head: AtomicU64,
    pub(crate) pages_read: AtomicUsize,
    /// That many reads fail.
    pub(crate) failures: AtomicUsize,
}

#[async_trait]
impl Past for Table {
    fn epoch(&self) -> &str {
        EPOCH
    }

    fn projected(&self) -> Position {
        Position(self.projected.load(Ordering::SeqCst))
    }

    async fn page(
        &self,
        client: ClientId,
        after: Cursor,
        limit: usize,
    ) -> Result<FeedPage, QueryError> {
        self.pages_read.fetch_add(1, Ordering::SeqCst);
        let fails = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(QueryError::Overloaded);
        }
        // Another task may come in between, as it may with a real table.
        tokio::task::yield_now().await;
        let rows = self.rows.lock();
        let after_it = |row: &&PublicFrame| row.client_id == client && row.cursor > after;
        let mut frames: Vec<_> = rows.iter().filter(after_it).take(limit + 1).cloned().collect();
        let at_head = frames.len() <= limit;
        frames.truncate(limit);
        let scanned_to = match frames.last() {
            Some(last) if !at_head => last.cursor,
            _ => Cursor::end_of(self.projected()),
        };
        Ok(FeedPage { frames, scanned_to, at_head })
    }

    async fn floor(&self, _client: ClientId) -> Result<Cursor, QueryError> {
        Ok(self.floor.lock().unwrap_or(Cursor::START))
    }

    async fn backlog(
        &self,
        client: ClientId,
        after: Cursor,
        at_most: u64,
    ) -> Result<u64, QueryError> {
        let rows = self.rows.lock();
        let count = rows.iter().filter(|row| row.client_id == client && row.cursor > after).count();
        Ok((count as u64).min(at_most))
    }

    async fn log_head(&self) -> Result<Position, LogError> {
        Ok(Position(self.log_head.load(Ordering::SeqCst)))
    }
}

impl Table {
    /// Commits a batch to the table; the hub is told separately.
    pub(crate) fn commit(&self, frames: Vec<PublicFrame>, position: u64) -> CommittedBatch {
        let frames = conflate(frames, |frame| frame);
        self.rows.lock().extend(frames.iter().cloned());
        self.projected.store(position, Ordering::SeqCst);
        self.log_head.fetch_max(position, Ordering::SeqCst);
        CommittedBatch { frames, position: Position(position), erased: Vec::new() }
    }

    /// Drops superseded state events.
    pub(crate) fn compact(&self) {
        let mut rows = self.rows.lock();
        *rows = conflate(std::mem::take(&mut *rows), |row| row);
    }

    /// Drops everything up to `cursor`.
    pub(crate) fn expire(&self, cursor: Cursor) {
        *self.floor.lock() = Some(cursor);
        self.rows.lock().retain(|row| row.cursor > cursor);
    }
}

/// A hub over a table.
pub(crate) struct World {
    pub(crate) table: Arc<Table>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) shutdown: Shutdown,
}

impl World {
    pub(crate) fn new(settings: FeedSettings) -> Self {
        let table = Arc::new(Table::default());
        Self::over(table, settings)
    }

    /// As after a restart: the rings are empty, the table is not.
    pub(crate) fn over(table: Arc<Table>, settings: FeedSettings) -> Self {
        let shutdown = Shutdown::new();
        let hub = Hub::start(table.clone(), settings, &shutdown);
        Self { table, hub, shutdown }
    }

    /// Commits and tells the hub.
    pub(crate) fn publish(&self, frames: Vec<PublicFrame>) {
        let position = frames.last().map_or(0, |frame| frame.cursor.position.0);
        self.hub.committed(&self.table.commit(frames, position));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.stopping.cancel();
    }
}

/// Ids in what a subscriber with `Encoding::Json` got.
pub(crate) fn ids(bytes: &[Bytes]) -> Vec<String> {
    let joined = bytes.concat();
    let text = std::str::from_utf8(&joined).unwrap();
    let list = format!("[{}]", text.trim_end_matches(','));
    let events: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// All that is there for a subscriber now, and what it said other than events.
pub(crate) async fn drain(subscriber: &mut Subscriber, budget: Budget) -> (Vec<String>, Vec<Next>) {
    let mut seen = Vec::new();
    let mut others = Vec::new();
    let quiet = std::time::Duration::from_millis(200);
    while let Ok(next) = tokio::time::timeout(quiet, subscriber.next_batch(budget)).await {
        match next {
            Next::Batch(batch) => {
                let got = ids(&batch.bytes);
                assert_eq!(got.len(), batch.events as usize);
                assert!(batch.events <= budget.events);
                seen.extend(got);
            }
            other => others.push(other),
        }
    }
    (seen, others)
}
