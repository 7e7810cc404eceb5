//! The cost of a known contact's message must not depend on queries or locks.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    intake::{message, person, take},
    *,
};
use crate::{
    domain::{
        bot::Bot,
        bulk::Bulk,
        conversation::Conversation,
        ids::{BulkId, IdentityHash, MessageId},
        message::Message,
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    projection::queries::{MessageName, OldAnswers},
};

/// A view that fails whoever asks it.
struct NoView(watch::Sender<Position>);

fn never<T>() -> Result<T, QueryError> {
    panic!("a known contact's message asks nothing of the read model")
}

#[async_trait]
impl View for NoView {
    fn projected(&self) -> watch::Receiver<Position> {
        self.0.subscribe()
    }
    async fn identities(
        &self,
        _: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        Ok(vec![None; hashes.len()])
    }
    async fn highest_conversation(
        &self,
        _: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        never()
    }
    async fn conversation(
        &self,
        _: ClientId,
        _: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        never()
    }
    async fn message(&self, _: ClientId, _: MessageId) -> Result<Option<Message>, QueryError> {
        never()
    }
    async fn conversations(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError> {
        never()
    }
    async fn conversations_of(
        &self,
        _: ClientId,
        _: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        never()
    }
    async fn old_answers(&self, _: Timestamp, _: usize) -> Result<Vec<OldAnswers>, QueryError> {
        never()
    }
    async fn answers_of(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError> {
        never()
    }
    fn erasures(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    async fn is_erased(&self, _: ClientId, _: ConversationId) -> Result<bool, QueryError> {
        never()
    }
    /// Asked once, at the first command.
    async fn erased_identities(
        &self,
        _: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError> {
        Ok(Vec::new())
    }
    async fn with_merged(
        &self,
        _: ClientId,
        _: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        never()
    }
    async fn identities_of(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError> {
        never()
    }
    async fn bot(&self, _: ClientId) -> Result<Bot, QueryError> {
        never()
    }
    async fn whatsapp(&self, _: ClientId) -> Result<WhatsApp, QueryError> {
        never()
    }
    async fn day(&self, _: ClientId) -> Result<Option<(String, String)>, QueryError> {
        never()
    }
    async fn bulk(&self, _: ClientId, _: BulkId) -> Result<Option<Bulk>, QueryError> {
        never()
    }
    async fn conversations_of_contacts(
        &self,
        _: ClientId,
        _: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError> {
        never()
    }
}

#[tokio::test]
async fn a_known_contact_is_answered_from_memory() {
    let world = World::new();
    let view = Arc::new(NoView(watch::channel(Position::START).0));
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let commands = Commands::over(Arc::clone(&world.log), view, clock);
    for key in 0..100 {
        take(&commands, vec![message(person(key % 10), &key.to_string())]).await;
    }
    assert_eq!(world.records().await.len(), 120);
}
