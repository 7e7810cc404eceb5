//! What the fold reads and writes: in memory in tests, a write-back cache over the read model in
//! production. Both must behave alike.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    bot::Bot,
    bulk::{Bulk, BulkRecipient, RecipientPart},
    conversation::Conversation,
    event::{Erasure, RequestAnswer},
    ids::{BulkId, ClientId, ConversationId, IdentityHash, MessageId},
    message::{Direction, Message, MessageStatus, ProviderError},
    stats::{Counts, Stats},
    tenant::StoredSetup,
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

/// What is here before the message that it speaks of, joined. Waits under that message's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Whose personal data it is.
    pub conversation_id: ConversationId,
    pub status: Option<WaitingStatus>,
    pub amendment: Option<WaitingAmendment>,
    /// When we took in the first of it: what waits for too long is forgotten.
    pub since: Timestamp,
}

/// The furthest status told so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingStatus {
    pub status: MessageStatus,
    pub at: Timestamp,
    pub error: Option<ProviderError>,
}

/// The last edit, or the revocation, told so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingAmendment {
    pub revoked: bool,
    pub text: Option<String>,
    pub at: Timestamp,
    /// The stored notice of it, which holds the text until the message is here.
    pub notice: MessageId,
}

/// The state of all tenants. Each call names the tenant first; nothing crosses tenants.
pub trait State {
    /// The tenant, made empty when not seen before. What the caller changes is kept.
    fn tenant(&mut self, client: ClientId) -> &mut Tenant;

    /// How the tenant was set up at run time.
    fn setup(&mut self, client: ClientId) -> Option<StoredSetup>;
    fn put_setup(&mut self, setup: StoredSetup);

    /// The conversation, `None` when never opened. One that was merged away is returned as it
    /// is, with `merged_into` set: following it is the fold's.
    fn conversation(&mut self, client: ClientId, id: ConversationId) -> Option<Arc<Conversation>>;
    fn put_conversation(&mut self, conversation: Arc<Conversation>);
    /// Moves all messages of `from` to `into`.
    fn move_messages(&mut self, client: ClientId, from: ConversationId, into: ConversationId);

    fn message(&mut self, client: ClientId, id: MessageId) -> Option<Arc<Message>>;
    /// The message with this `dedupe_key`.
    fn message_by_key(&mut self, client: ClientId, key: &str) -> Option<Arc<Message>>;
    /// Stores under its id and, if it has one, its `dedupe_key`. A key is one message's: the
    /// fold takes it from the one before it gives it to the other. A message never moves to
    /// another conversation this way ([`move_messages`](State::move_messages) does that).
    fn put_message(&mut self, message: Arc<Message>);
    fn waiting(&mut self, client: ClientId, key: &str) -> Option<Waiting>;
    /// Stores, or with `None` forgets, what waits for the message with this `dedupe_key`.
    fn put_waiting(&mut self, client: ClientId, key: &str, waiting: Option<Waiting>);
    /// Forgets all of the tenant that waits since before `before`.
    fn forget_waiting(&mut self, client: ClientId, before: Timestamp);

    /// Adds to the statistics bucket of the hour that begins at `hour`.
    fn add_to_hour(&mut self, client: ClientId, hour: Timestamp, change: Counts);

    fn put_identity(&mut self, client: ClientId, hash: IdentityHash, id: ConversationId);

    fn bulk(&mut self, client: ClientId, id: BulkId) -> Option<Arc<Bulk>>;
    fn put_bulk(&mut self, bulk: Arc<Bulk>);
    /// Stores a part of a bulk's recipients in the place of the one that begins with the same.
    fn put_bulk_part(&mut self, client: ClientId, part: &RecipientPart);
    fn drop_bulk_parts(&mut self, client: ClientId, id: BulkId);
    /// A recipient who is claimed.
    fn bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
    ) -> Option<BulkRecipient>;
    /// Stores how far a claimed recipient has come.
    fn put_bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
        recipient: BulkRecipient,
    );

    /// Notes that a write was answered, and when; a key that is used again has the later time. The
    /// answer itself is in the log.
    fn put_answer(&mut self, client: ClientId, answer: &RequestAnswer, at: Timestamp);
    /// Forgets the tenant's answers that were given before `before`.
    fn forget_answers(&mut self, client: ClientId, before: Timestamp);

    /// Whether anybody was erased: a cheap look before [`is_erased`](State::is_erased).
    fn has_erased(&self) -> bool;
    /// Whether the person of this conversation was erased.
    fn is_erased(&mut self, client: ClientId, id: ConversationId) -> bool;
    /// Takes out the conversations, and all that is of them: messages, what waits,
    /// identities (which are known to be erased from now on). Says how many of the messages were
    /// still queued.
    fn erase(&mut self, client: ClientId, erasure: &Erasure, at: Timestamp) -> i64;
    /// Keeps, or with `None` forgets, that streams and media of an erased person are to be
    /// deleted; `first` is the first of its conversations. What is kept already stays as it is.
    fn put_erasing(&mut self, client: ClientId, first: ConversationId, erasure: Option<&Erasure>);
    /// Forgets which of the tenant's identities were erased before `before`.
    fn forget_erased_identities(&mut self, client: ClientId, before: Timestamp);
}

/// That a write was answered under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedAnswer {
    /// Whose data the answer holds, where it does.
    pub conversation: Option<ConversationId>,
    pub at: Timestamp,
}

/// The state in memory: for tests and for comparing with the read model.
#[derive(Debug, Default, PartialEq)]
pub struct MemoryState {
    pub tenants: HashMap<ClientId, Tenant>,
    pub setups: HashMap<ClientId, StoredSetup>,
    pub conversations: HashMap<(ClientId, ConversationId), Arc<Conversation>>,
    pub messages: HashMap<(ClientId, MessageId), Arc<Message>>,
    pub message_keys: HashMap<(ClientId, String), MessageId>,
    pub waiting: HashMap<(ClientId, String), Waiting>,
    pub hours: HashMap<(ClientId, Timestamp), Counts>,
    pub identities: HashMap<(ClientId, IdentityHash), ConversationId>,
    pub answers: HashMap<(ClientId, String), NotedAnswer>,
    pub bulks: HashMap<(ClientId, BulkId), Arc<Bulk>>,
    /// By the number of their first recipient.
    pub bulk_parts: HashMap<(ClientId, BulkId, u32), RecipientPart>,
    pub bulk_recipients: HashMap<(ClientId, BulkId, u32), BulkRecipient>,
    pub erased: HashSet<(ClientId, ConversationId)>,
    pub erased_identities: HashMap<(ClientId, IdentityHash), Timestamp>,
    pub erasing: HashMap<(ClientId, ConversationId), Erasure>,
}

impl State for MemoryState {
    fn tenant(&mut self, client: ClientId) -> &mut Tenant {
        self.tenants.entry(client).or_default()
    }

    fn setup(&mut self, client: ClientId) -> Option<StoredSetup> {
        self.setups.get(&client).cloned()
    }

    fn put_setup(&mut self, setup: StoredSetup) {
        self.setups.insert(setup.client_id, setup);
    }

    fn conversation(&mut self, client: ClientId, id: ConversationId) -> Option<Arc<Conversation>> {
        self.conversations.get(&(client, id)).cloned()
    }

    fn put_conversation(&mut self, conversation: Arc<Conversation>) {
        self.conversations.insert((conversation.client_id, conversation.id), conversation);
    }

    fn move_messages(&mut self, client: ClientId, from: ConversationId, into: ConversationId) {
        for message in self.messages.values_mut() {
            if message.client_id == client && message.conversation_id == from {
                Arc::make_mut(message).conversation_id = into;
            }
        }
    }

    fn message(&mut self, client: ClientId, id: MessageId) -> Option<Arc<Message>> {
        self.messages.get(&(client, id)).cloned()
    }

    fn message_by_key(&mut self, client: ClientId, key: &str) -> Option<Arc<Message>> {
        let id = self.message_keys.get(&(client, key.to_owned()))?;
        self.messages.get(&(client, *id)).cloned()
    }

    fn put_message(&mut self, message: Arc<Message>) {
        let (client, id) = (message.client_id, message.id);
        let key = message.dedupe_key.clone();
        let previous = self.messages.insert((client, id), message);
        let previous_key = previous.and_then(|previous| previous.dedupe_key.clone());
        if previous_key == key {
            return;
        }
        if let Some(previous_key) = previous_key {
            self.message_keys.remove(&(client, previous_key));
        }
        if let Some(key) = key {
            self.message_keys.insert((client, key), id);
        }
    }

    fn waiting(&mut self, client: ClientId, key: &str) -> Option<Waiting> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.get(&(client, key.to_owned())).cloned()
    }

    fn put_waiting(&mut self, client: ClientId, key: &str, waiting: Option<Waiting>) {
        let key = (client, key.to_owned());
        match waiting {
            Some(waiting) => self.waiting.insert(key, waiting),
            None => self.waiting.remove(&key),
        };
    }

    fn forget_waiting(&mut self, client: ClientId, before: Timestamp) {
        self.waiting.retain(|(owner, _), waiting| *owner != client || waiting.since >= before);
    }

    fn add_to_hour(&mut self, client: ClientId, hour: Timestamp, change: Counts) {
        self.hours.entry((client, hour)).or_default().add(change);
    }

    fn put_identity(&mut self, client: ClientId, hash: IdentityHash, id: ConversationId) {
        self.identities.insert((client, hash), id);
    }

    fn bulk(&mut self, client: ClientId, id: BulkId) -> Option<Arc<Bulk>> {
        self.bulks.get(&(client, id)).cloned()
    }

    fn put_bulk(&mut self, bulk: Arc<Bulk>) {
        self.bulks.insert((bulk.client_id, bulk.id), bulk);
    }

    fn put_bulk_part(&mut self, client: ClientId, part: &RecipientPart) {
        self.bulk_parts.insert((client, part.bulk_id, part.first), part.clone());
    }

    fn drop_bulk_parts(&mut self, client: ClientId, id: BulkId) {
        self.bulk_parts.retain(|(owner, bulk, _), _| (*owner, *bulk) != (client, id));
    }

    fn bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
    ) -> Option<BulkRecipient> {
        self.bulk_recipients.get(&(client, id, number)).copied()
    }

    fn put_bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
        recipient: BulkRecipient,
    ) {
        self.bulk_recipients.insert((client, id, number), recipient);
    }

    fn put_answer(&mut self, client: ClientId, answer: &RequestAnswer, at: Timestamp) {
        let noted = NotedAnswer { conversation: answer.conversation_id, at };
        let known = self.answers.entry((client, answer.key.clone())).or_insert(noted);
        known.at = at.max(known.at);
        known.conversation = noted.conversation;
    }

    fn forget_answers(&mut self, client: ClientId, before: Timestamp) {
        self.answers.retain(|(owner, _), answer| *owner != client || answer.at >= before);
    }

    fn has_erased(&self) -> bool {
        !self.erased.is_empty()
    }

    fn is_erased(&mut self, client: ClientId, id: ConversationId) -> bool {
        !self.erased.is_empty() && self.erased.contains(&(client, id))
    }

    fn erase(&mut self, client: ClientId, erasure: &Erasure, at: Timestamp) -> i64 {
        let gone = |owner: ClientId, id: ConversationId| {
            owner == client && erasure.conversations.contains(&id)
        };
        let mut queued = 0;
        self.messages.retain(|_, message| {
            let gone = gone(message.client_id, message.conversation_id);
            let waits =
                message.direction == Direction::Outbound && message.status == MessageStatus::Queued;
            queued += i64::from(gone && waits);
            !gone
        });
        let messages = &self.messages;
        self.message_keys.retain(|(owner, _), id| messages.contains_key(&(*owner, *id)));
        self.conversations.retain(|(owner, id), _| !gone(*owner, *id));
        self.waiting.retain(|(owner, _), waiting| !gone(*owner, waiting.conversation_id));
        let erased_identities = &mut self.erased_identities;
        self.identities.retain(|(owner, hash), id| {
            let gone = gone(*owner, *id);
            if gone {
                erased_identities.insert((*owner, *hash), at);
            }
            !gone
        });
        self.erased.extend(erasure.conversations.iter().map(|id| (client, *id)));
        queued
    }

    fn put_erasing(&mut self, client: ClientId, first: ConversationId, erasure: Option<&Erasure>) {
        match erasure {
            Some(erasure) => {
                self.erasing.entry((client, first)).or_insert_with(|| erasure.clone());
            }
            None => _ = self.erasing.remove(&(client, first)),
        }
    }

    fn forget_erased_identities(&mut self, client: ClientId, before: Timestamp) {
        self.erased_identities.retain(|(owner, _), at| *owner != client || *at >= before);
    }
}
