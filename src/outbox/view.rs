//! What the outbox reads of the read model: a port, so that it can be tested over a folded log.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    domain::ids::{ClientId, ConversationId, MessageId, Position},
    projection::{
        outbox_rows::{NewestInbound, QueuedRow, ToSend},
        queries::{Queries, QueryError},
    },
};

/// The read model, as far as the outbox looks at it.
#[async_trait]
pub trait View: Send + Sync + 'static {
    /// All events up to this position are in the view.
    fn projected(&self) -> watch::Receiver<Position>;

    /// Tenants of whom a message is queued.
    async fn tenants_with_queued(&self) -> Result<Vec<ClientId>, QueryError>;

    /// The tenant's queued messages after the row `after`, in the order in which they were queued.
    async fn queued(
        &self,
        client: ClientId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<QueuedRow>, QueryError>;

    /// What is needed to send these, in the order asked; `None` for one that is not there.
    async fn to_send(
        &self,
        client: ClientId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<Option<ToSend>>, QueryError>;

    /// The conversations that were merged into this one, directly.
    async fn merged_into(
        &self,
        client: ClientId,
        into: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError>;

    /// The contact of a conversation and their newest message; `None`: there is no such one.
    async fn newest_inbound(
        &self,
        client: ClientId,
        conversation: ConversationId,
    ) -> Result<Option<NewestInbound>, QueryError>;
}

#[async_trait]
impl View for Queries {
    fn projected(&self) -> watch::Receiver<Position> {
        Queries::projected(self)
    }

    async fn tenants_with_queued(&self) -> Result<Vec<ClientId>, QueryError> {
        Queries::tenants_with_queued(self).await
    }

    async fn queued(
        &self,
        client: ClientId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<QueuedRow>, QueryError> {
        Queries::queued(self, client, after, limit).await
    }

    async fn to_send(
        &self,
        client: ClientId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<Option<ToSend>>, QueryError> {
        Queries::to_send(self, client, messages).await
    }

    async fn merged_into(
        &self,
        client: ClientId,
        into: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        Queries::merged_into(self, client, into).await
    }

    async fn newest_inbound(
        &self,
        client: ClientId,
        conversation: ConversationId,
    ) -> Result<Option<NewestInbound>, QueryError> {
        Queries::newest_inbound(self, client, conversation).await
    }
}
