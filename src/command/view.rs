//! What commands read: a narrow view of the read model, so that deciding can be tested over a
//! folded log alone.
//!
//! The read model follows the log at a distance. A decision that must not be made on an old state
//! first lets the view [come up](super::Commands) to the log's head.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    domain::{
        bot::Bot,
        bulk::Bulk,
        conversation::Conversation,
        ids::{BulkId, ClientId, ConversationId, IdentityHash, MessageId, Position},
        message::Message,
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    projection::queries::{MessageName, OldAnswers, Queries, QueryError},
};

/// The read model, as far as commands look at it.
#[async_trait]
pub trait View: Send + Sync + 'static {
    /// All events up to this position are in the view.
    fn projected(&self) -> watch::Receiver<Position>;

    /// Which conversation each identity belongs to (merges followed), in the order asked.
    async fn identities(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError>;

    async fn highest_conversation(
        &self,
        client: ClientId,
    ) -> Result<Option<ConversationId>, QueryError>;

    /// The conversation (merges followed).
    async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, QueryError>;

    async fn message(&self, client: ClientId, id: MessageId)
    -> Result<Option<Message>, QueryError>;

    /// These conversations (merges followed), as far as there are any.
    async fn conversations(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError>;

    /// The conversation of each of these messages, in the order asked.
    async fn conversations_of(
        &self,
        client: ClientId,
        messages: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError>;

    /// The oldest answers of each tenant that were given before `before`, some `limit` of each.
    async fn old_answers(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OldAnswers>, QueryError>;

    /// Keys of the answers that speak of these conversations.
    async fn answers_of(
        &self,
        client: ClientId,
        conversations: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError>;

    /// How many persons were erased since the start; changes once the view is free of them.
    fn erasures(&self) -> watch::Receiver<u64>;

    async fn is_erased(&self, client: ClientId, id: ConversationId) -> Result<bool, QueryError>;

    /// Identities that are known to be erased and since when, newest first, at most `limit`.
    async fn erased_identities(
        &self,
        limit: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError>;

    /// The conversation and all that were merged into it, itself first.
    async fn with_merged(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError>;

    /// The identities that lead to any of these conversations.
    async fn identities_of(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError>;

    async fn bot(&self, client: ClientId) -> Result<Bot, QueryError>;

    async fn whatsapp(&self, client: ClientId) -> Result<WhatsApp, QueryError>;

    async fn day(&self, client: ClientId) -> Result<Option<(String, String)>, QueryError>;

    async fn bulk(&self, client: ClientId, id: BulkId) -> Result<Option<Bulk>, QueryError>;

    /// The conversations of contacts known by these identities (merges followed), in the order
    /// asked.
    async fn conversations_of_contacts(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError>;
}

#[async_trait]
impl View for Queries {
    fn projected(&self) -> watch::Receiver<Position> {
        Queries::projected(self)
    }

    async fn identities(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        Queries::identities(self, client, hashes).await
    }

    async fn highest_conversation(
        &self,
        client: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        Queries::highest_conversation(self, client).await
    }

    async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        Queries::conversation(self, client, id).await
    }

    async fn message(
        &self,
        client: ClientId,
        id: MessageId,
    ) -> Result<Option<Message>, QueryError> {
        Queries::message(self, client, id).await
    }

    async fn conversations(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError> {
        Queries::conversations_by_id(self, client, ids).await
    }

    async fn conversations_of(
        &self,
        client: ClientId,
        messages: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        Queries::conversations_of(self, client, messages).await
    }

    async fn old_answers(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OldAnswers>, QueryError> {
        Queries::old_answers(self, before, limit).await
    }

    async fn answers_of(
        &self,
        client: ClientId,
        conversations: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError> {
        Queries::answers_of(self, client, conversations).await
    }

    fn erasures(&self) -> watch::Receiver<u64> {
        Queries::erasures(self)
    }

    async fn is_erased(&self, client: ClientId, id: ConversationId) -> Result<bool, QueryError> {
        Queries::is_erased(self, client, id).await
    }

    async fn erased_identities(
        &self,
        limit: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError> {
        Queries::erased_identities(self, limit).await
    }

    async fn with_merged(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        Queries::with_merged(self, client, id).await
    }

    async fn identities_of(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError> {
        Queries::identities_of(self, client, ids).await
    }

    async fn bot(&self, client: ClientId) -> Result<Bot, QueryError> {
        Queries::bot(self, client).await
    }

    async fn whatsapp(&self, client: ClientId) -> Result<WhatsApp, QueryError> {
        Queries::whatsapp(self, client).await
    }

    async fn day(&self, client: ClientId) -> Result<Option<(String, String)>, QueryError> {
        Queries::day(self, client).await
    }

    async fn bulk(&self, client: ClientId, id: BulkId) -> Result<Option<Bulk>, QueryError> {
        Queries::bulk(self, client, id).await
    }

    async fn conversations_of_contacts(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError> {
        Queries::conversations_of_contacts(self, client, hashes).await
    }
}
