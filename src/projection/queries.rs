//! Reading: the read model's answers, from a pool of read-only connections.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::PublicFrame;
use crate::{
    domain::{
        bot::Bot,
        conversation::{Conversation, ConversationStatus},
        event::RequestAnswer,
        ids::{ClientId, ConversationId, IdentityHash, MessageId, Position},
        message::Message,
        stats::{Counts, Stats},
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    wire::{cursor::Cursor, types::Snapshot},
};

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// All connections stayed busy for the time that a query may wait.
    #[error("too many queries at once")]
    Overloaded,
    #[error("the read model can't be read: {0}")]
    Broken(String),
    /// `at_least` was not reached in time.
    #[error("this instance has not projected that far yet")]
    NotYet,
}

/// Which conversations to list, newest activity first.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// Full-text search over contact and messages.
    pub search: Option<String>,
    pub status: Option<ConversationStatus>,
    /// What `Page::next` of the page before said.
    pub after: Option<String>,
    pub limit: usize,
}

/// Part of a list; `next` goes on behind it and is `None` at the end.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// A stored part of the feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// In feed order.
    pub frames: Vec<PublicFrame>,
    /// All that the feed has up to here was looked at; at most the projected position.
    pub scanned_to: Cursor,
    /// Nothing lies behind `scanned_to` yet.
    pub at_head: bool,
}

/// The read side. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    _inner: Arc<()>,
}

#[expect(unused_variables, reason = "bodies come with the read model")]
impl Queries {
    /// The epoch of the store, for writing and reading cursors.
    pub fn epoch(&self) -> &str {
        todo!()
    }

    /// How far this instance has projected; changes after each commit.
    pub fn projected(&self) -> watch::Receiver<Position> {
        todo!()
    }

    /// Waits until all up to `cursor` is projected, [`QueryError::NotYet`] after `wait`.
    pub async fn at_least(&self, cursor: Cursor, wait: Duration) -> Result<(), QueryError> {
        todo!()
    }

    /// State of a tenant, exact to its cursor: read in one transaction. `conversations` newest
    /// first, at most `limit`.
    pub async fn snapshot(&self, client: ClientId, limit: usize) -> Result<Snapshot, QueryError> {
        todo!()
    }

    pub async fn conversations(
        &self,
        client: ClientId,
        filter: ConversationFilter,
    ) -> Result<Page<Conversation>, QueryError> {
        todo!()
    }

    /// `None` when there is none; one merged away answers as the one it lives on in.
    pub async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        todo!()
    }

    /// History, newest first, from before the message `before`.
    pub async fn messages(
        &self,
        client: ClientId,
        id: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, QueryError> {
        todo!()
    }

    pub async fn message(
        &self,
        client: ClientId,
        id: MessageId,
    ) -> Result<Option<Message>, QueryError> {
        todo!()
    }

    pub async fn message_by_key(
        &self,
        client: ClientId,
        dedupe_key: &str,
    ) -> Result<Option<Message>, QueryError> {
        todo!()
    }

    pub async fn stats(&self, client: ClientId) -> Result<Stats, QueryError> {
        todo!()
    }

    /// Hour buckets from `from` (inclusive) to `to` (exclusive), empty hours left out.
    pub async fn hours(
        &self,
        client: ClientId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Counts)>, QueryError> {
        todo!()
    }

    pub async fn bot(&self, client: ClientId) -> Result<Bot, QueryError> {
        todo!()
    }

    pub async fn whatsapp(&self, client: ClientId) -> Result<WhatsApp, QueryError> {
        todo!()
    }

    /// Date and time zone of the tenant's last `day_started`.
    pub async fn day(&self, client: ClientId) -> Result<Option<(String, String)>, QueryError> {
        todo!()
    }

    /// Which conversation each identity belongs to (merges followed), in the order asked.
    pub async fn identities(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        todo!()
    }

    /// The highest conversation id that the tenant has used, `None` when none. Conversations that
    /// were merged away count; one look at the end of an index.
    pub async fn highest_conversation(
        &self,
        client: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        todo!()
    }

    /// The answer given under an idempotency key (its hash), with the position of the first
    /// event of that write.
    pub async fn answer(
        &self,
        client: ClientId,
        key: &str,
    ) -> Result<Option<RequestAnswer>, QueryError> {
        todo!()
    }

    /// The tenant's public events after `after`, at most `limit`.
    pub async fn feed(
        &self,
        client: ClientId,
        after: Cursor,
        limit: usize,
    ) -> Result<FeedPage, QueryError> {
        todo!()
    }

    /// The oldest cursor from which the tenant's feed is complete; earlier ones are expired.
    pub async fn feed_floor(&self, client: ClientId) -> Result<Cursor, QueryError> {
        todo!()
    }

    /// How many of the tenant's stored public events lie after `after`, counted up to `at_most`
    /// and no further (an index scan of that many rows).
    pub async fn feed_backlog(
        &self,
        client: ClientId,
        after: Cursor,
        at_most: u64,
    ) -> Result<u64, QueryError> {
        todo!()
    }

    /// The cursor before the tenant's first public event taken in at or after `time`.
    pub async fn feed_at(&self, client: ClientId, time: Timestamp) -> Result<Cursor, QueryError> {
        todo!()
    }
}
