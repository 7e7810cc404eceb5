//! What a subscriber reads when the ring does not hold its place: a port onto the feed table and
//! the log, so that tests can stand in for both.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    domain::ids::{ClientId, Position},
    event_log::{EventLog, LogError},
    projection::queries::{FeedPage, Queries, QueryError},
    wire::cursor::Cursor,
};

/// The stored feed.
#[async_trait]
pub trait Past: Send + Sync + 'static {
    /// The store's epoch, for writing cursors.
    fn epoch(&self) -> &str;

    /// How far this instance has projected now.
    fn projected(&self) -> Position;

    /// The tenant's events after `after`, at most `limit`.
    async fn page(
        &self,
        client: ClientId,
        after: Cursor,
        limit: usize,
    ) -> Result<FeedPage, QueryError>;

    /// The oldest cursor from which the tenant's feed is complete. Only rises.
    async fn floor(&self, client: ClientId) -> Result<Cursor, QueryError>;

    /// How many stored events lie after `after`, counted up to `at_most`.
    async fn backlog(
        &self,
        client: ClientId,
        after: Cursor,
        at_most: u64,
    ) -> Result<u64, QueryError>;

    /// Position of the newest event in the log, projected or not.
    async fn log_head(&self) -> Result<Position, LogError>;
}

/// The read model's feed table, and the log.
pub struct StoredPast {
    queries: Queries,
    log: Arc<dyn EventLog>,
}

impl StoredPast {
    pub fn new(queries: Queries, log: Arc<dyn EventLog>) -> Self {
        Self { queries, log }
    }
}

#[async_trait]
impl Past for StoredPast {
    fn epoch(&self) -> &str {
        self.queries.epoch()
    }

    fn projected(&self) -> Position {
        *self.queries.projected().borrow()
    }

    async fn page(
        &self,
        client: ClientId,
        after: Cursor,
        limit: usize,
    ) -> Result<FeedPage, QueryError> {
        self.queries.feed(client, after, limit).await
    }

    async fn floor(&self, client: ClientId) -> Result<Cursor, QueryError> {
        self.queries.feed_floor(client).await
    }

    async fn backlog(
        &self,
        client: ClientId,
        after: Cursor,
        at_most: u64,
    ) -> Result<u64, QueryError> {
        self.queries.feed_backlog(client, after, at_most).await
    }

    async fn log_head(&self) -> Result<Position, LogError> {
        self.log.head().await
    }
}
