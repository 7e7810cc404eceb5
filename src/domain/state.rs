//! What the fold reads and writes: in memory in tests, a write-back cache over the read model in
//! production. Both must behave alike.

use std::{collections::HashMap, sync::Arc};

use super::{
    bot::Bot,
    conversation::Conversation,
    event::RequestAnswer,
    ids::{ClientId, ConversationId, IdentityHash, MessageId},
    message::{Message, MessageStatus, ProviderError},
    stats::{Counts, Stats},
    time::Timestamp,
    whatsapp::WhatsApp,
};

/// What is kept of a tenant as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tenant {
    pub stats: Stats,
    pub bot: Bot,
    pub whatsapp: WhatsApp,
    /// Date and time zone of the last `day_started`.
    pub day: Option<(String, String)>,
}

/// A status that is here before its message.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingStatus {
    pub status: MessageStatus,
    pub at: Timestamp,
    pub error: Option<ProviderError>,
    /// When we took it in: those that wait for too long are forgotten.
    pub since: Timestamp,
}

/// The state of all tenants. Each call names the tenant first; nothing crosses tenants.
pub trait State {
    /// The tenant, made empty when not seen before. What the caller changes is kept.
    fn tenant(&mut self, client: ClientId) -> &mut Tenant;

    /// The conversation, `None` when never opened. One that was merged away is returned as it
    /// is, with `merged_into` set: following it is the fold's.
    fn conversation(&mut self, client: ClientId, id: ConversationId) -> Option<Arc<Conversation>>;
    fn put_conversation(&mut self, conversation: Arc<Conversation>);
    /// Moves all messages of `from` to `into`.
    fn move_messages(&mut self, client: ClientId, from: ConversationId, into: ConversationId);

    fn message(&mut self, client: ClientId, id: MessageId) -> Option<Arc<Message>>;
    /// The message with this `dedupe_key`.
    fn message_by_key(&mut self, client: ClientId, key: &str) -> Option<Arc<Message>>;
    /// Stores under its id and, if it has one, its `dedupe_key`.
    fn put_message(&mut self, message: Arc<Message>);
    /// The newest message of a conversation by (`timestamp`, `id`), reactions left out.
    fn newest_message(&mut self, client: ClientId, id: ConversationId) -> Option<Arc<Message>>;

    fn waiting_status(&mut self, client: ClientId, key: &str) -> Option<WaitingStatus>;
    /// Stores, or with `None` forgets, what waits for the message with this `dedupe_key`.
    fn put_waiting_status(&mut self, client: ClientId, key: &str, status: Option<WaitingStatus>);
    /// Forgets all statuses of the tenant that wait since before `before`.
    fn forget_waiting_statuses(&mut self, client: ClientId, before: Timestamp);

    /// Adds to the statistics bucket of the hour that begins at `hour`.
    fn add_to_hour(&mut self, client: ClientId, hour: Timestamp, change: Counts);

    fn put_identity(&mut self, client: ClientId, hash: IdentityHash, id: ConversationId);

    /// Stores the answer to a write, with the time it was given; the first under a key stays.
    fn put_answer(&mut self, client: ClientId, answer: &RequestAnswer, at: Timestamp);
    /// Forgets the tenant's answers that were given before `before`.
    fn forget_answers(&mut self, client: ClientId, before: Timestamp);
}

/// The state in memory: for tests and for comparing with the read model.
#[derive(Debug, Default, PartialEq)]
pub struct MemoryState {
    pub tenants: HashMap<ClientId, Tenant>,
    pub conversations: HashMap<(ClientId, ConversationId), Arc<Conversation>>,
    pub messages: HashMap<(ClientId, MessageId), Arc<Message>>,
    pub message_keys: HashMap<(ClientId, String), MessageId>,
    pub waiting: HashMap<(ClientId, String), WaitingStatus>,
    pub hours: HashMap<(ClientId, Timestamp), Counts>,
    pub identities: HashMap<(ClientId, IdentityHash), ConversationId>,
    pub answers: HashMap<(ClientId, String), (RequestAnswer, Timestamp)>,
}
