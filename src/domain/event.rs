//! Domain events: what happened, as facts in the past tense. They are what the log keeps.
//!
//! **Invariant:** personal data of a contact stands only in events of that contact's own
//! conversation stream (`EventData::conversation_id` is `Some` for those), never in the
//! directory, tenant or bulk streams, so that deleting one stream erases one person. Two
//! exceptions: the answer in a request stream holds what the write answered; such streams are
//! deleted a day after their write, and [`RequestAnswer::conversation_id`] says whose data is in
//! one until then. And the recipients of bulks, whom nobody has written to yet, stand in streams
//! of their own, a thousand to a stream, of which erasing puts a part without the person in the
//! place of each ([`RecipientPart::rewritten`]).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    bot::BotMode,
    bulk::{BulkBatch, BulkSpec, RecipientPart, RecipientResult},
    conversation::{Contact, ConversationStatus},
    ids::{BulkId, ClientId, ConversationId, EventId, IdentityHash, MediaId, MessageId, Position},
    message::{
        Media, MediaFailure, MessageKind, MessageStatus, ProviderError, Sender, StoredMedia,
    },
    stats::Counts,
    tenant::{Sealed, TenantSetup},
    time::Timestamp,
    whatsapp::WhatsAppStatus,
};

/// One event with what is known of how it came about. The log adds its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub client_id: ClientId,
    /// When we took it in, by the clock of the instance that appended it.
    pub time: Timestamp,
    /// Who caused it: `user:<sub>`, `whatsapp_cloud`, `waha`, `ingest:<sub>`, `system`.
    pub actor: String,
    /// The event or request that led to it, where there was one.
    pub causation: Option<EventId>,
    pub data: EventData,
}

/// What happened. A new variant needs no new version; a changed one does (see `event_log::record`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum EventData {
    // Directory stream.
    /// A conversation id was taken for a contact known by these identities.
    ContactRegistered {
        conversation_id: ConversationId,
        identities: Vec<IdentityHash>,
    },
    /// Further identities turned out to be the same contact's.
    IdentitiesLinked {
        conversation_id: ConversationId,
        identities: Vec<IdentityHash>,
    },
    /// Two conversations turned out to be one contact's: `from` lives on in `into`.
    ContactsMerged {
        from: ConversationId,
        into: ConversationId,
        identities: Vec<IdentityHash>,
    },

    /// A person is erased: all that these conversations held is void from here on. Holds no
    /// personal data, so it stays when their streams are deleted.
    PersonalDataErased(Erasure),
    /// What was stored of it outside of the directory is deleted: streams, media, answers.
    ErasureCompleted {
        conversation_id: ConversationId,
    },

    // Conversation streams.
    /// As [`EventData::ContactChanged`]. Without a time, and where the conversation is open
    /// already, what is told only fills in.
    ConversationOpened {
        conversation_id: ConversationId,
        contact: Contact,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// What is `Some` in `contact` replaces what was known; the rest stays.
    ContactChanged {
        conversation_id: ConversationId,
        contact: Contact,
        /// When it was so, by the provider: something older than what was told last only fills
        /// in what is not known. `None`: now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// The contact wrote.
    MessageReceived(IncomingMessage),
    /// The company wrote, but not through us: from the phone, or another application.
    MessageEchoed(IncomingMessage),
    /// We were asked to send.
    MessageQueued(QueuedMessage),
    /// The claim to send, appended before the provider is called.
    SendStarted {
        conversation_id: ConversationId,
        message_id: MessageId,
    },
    /// The claim is given back: it is sure that nothing was sent, or a person wants the message
    /// sent (again) although nobody knows. From here on it may be claimed anew.
    SendReleased {
        conversation_id: ConversationId,
        message_id: MessageId,
        /// The bulk it is of, so that whoever follows the log knows its place in line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bulk_id: Option<BulkId>,
        /// The claim that is given back, by the id of its event. One that comes to be stored late
        /// gives no later claim back. `None`: whichever there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<EventId>,
    },
    /// The provider was called and nobody knows what came of it. It is not sent again by itself.
    SendDoubted {
        conversation_id: ConversationId,
        message_id: MessageId,
    },
    MessageSent(StatusChange),
    MessageDelivered(StatusChange),
    MessageRead(StatusChange),
    MessageFailed(StatusChange),
    /// The text of an earlier message was replaced by its author.
    MessageEdited(MessageAmendment),
    /// An earlier message was withdrawn by its author.
    MessageRevoked(MessageAmendment),
    /// Our copy of a message's medium is stored.
    MediaStored {
        conversation_id: ConversationId,
        message_id: MessageId,
        media: StoredMedia,
    },
    /// There will be no copy of a message's medium.
    MediaFailed {
        conversation_id: ConversationId,
        message_id: MessageId,
        reason: MediaFailure,
    },
    /// The last event before the stream is deleted with all others. It makes sure that nobody
    /// appends on what was known of the stream before (a claim to send, above all).
    ErasureBegun {
        conversation_id: ConversationId,
    },
    /// An agent, or a rule, changed the conversation itself.
    ConversationChanged {
        conversation_id: ConversationId,
        change: ConversationChange,
    },
    /// All that had arrived until now was seen.
    ConversationRead {
        conversation_id: ConversationId,
    },
    /// The contact allowed or forbade marketing messages (`user_preferences`).
    MarketingPreferenceChanged {
        conversation_id: ConversationId,
        allowed: bool,
        at: Timestamp,
    },
    /// Something of this contact that we don't understand, kept as it came.
    UnknownContactChange {
        conversation_id: ConversationId,
        provider: String,
        kind: String,
        raw: Value,
    },

    // Tenant stream.
    BotStatusChanged {
        status: BotMode,
        reason: Option<String>,
    },
    /// The connection's whole state from now on: what is `None` is not so, or not known, any more.
    WhatsappStateChanged {
        status: WhatsAppStatus,
        phone_number: Option<String>,
        name: Option<String>,
        qr: Option<String>,
        quality: Option<String>,
        reason: Option<String>,
        /// When it was so, by the provider: what is older than that provider's last word is no
        /// news. `None`: now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// The streams of all requests that were answered before this are deleted.
    AnswersForgotten {
        before: Timestamp,
    },
    /// A calendar day (`YYYY-MM-DD`) began in the tenant's time zone (an IANA name).
    DayStarted {
        date: String,
        time_zone: String,
    },
    /// The tenant was set up, or set up anew: what holds from now on.
    TenantSetUp(TenantSetup),
    /// Its credentials were sealed with another key; they are the same. Holds only while the setup
    /// that it speaks of does.
    CredentialsResealed {
        /// The event that brought the sealing that this one replaces.
        replaces: EventId,
        sealed: Sealed,
    },
    /// Something of the account that we don't act on, kept as it came.
    UnknownChange {
        provider: String,
        kind: String,
        raw: Value,
    },

    // Recipients streams: one per part of a bulk's recipients.
    /// Comes before the bulk itself is created, so that a bulk that is there is whole.
    BulkRecipientsAdded(RecipientPart),
    /// The bulk whose parts these are was never created. Stands in the bulk's stream.
    BulkRecipientsDiscarded {
        bulk_id: BulkId,
    },

    // Bulk streams.
    BulkCreated {
        bulk_id: BulkId,
        spec: BulkSpec,
    },
    /// Its time has come.
    BulkStarted {
        bulk_id: BulkId,
    },
    /// The claim of its next recipients, appended with the version that the claim was decided on.
    BulkBatchStarted(BulkBatch),
    BulkPaused {
        bulk_id: BulkId,
    },
    BulkResumed {
        bulk_id: BulkId,
    },
    BulkCancelled {
        bulk_id: BulkId,
    },
    /// Nothing of it waits any more.
    BulkCompleted {
        bulk_id: BulkId,
    },
    /// These recipients were erased, and how far their messages had come: their conversations'
    /// streams go, and the bulk keeps its numbers.
    BulkRecipientsErased {
        bulk_id: BulkId,
        recipients: Vec<(u32, RecipientResult)>,
    },
    /// The provider refuses the number or the template.
    BulkFailed {
        bulk_id: BulkId,
        error: ProviderError,
    },

    // Request stream: one per idempotency key.
    /// What a write with an `Idempotency-Key` answered.
    RequestAnswered(RequestAnswer),

    /// An event of a later release, or one that can't be read. Counted and skipped by the fold.
    #[serde(skip)]
    Unknown {
        event_type: String,
    },
}

/// A message that came from outside, whichever way it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncomingMessage {
    pub conversation_id: ConversationId,
    pub message_id: MessageId,
    /// The provider's id, as it gave it.
    pub wa_message_id: String,
    /// What makes two deliveries the same message: the provider's id without the parts that
    /// vary (WAHA tells one message under `@lid` and under `@c.us`).
    pub dedupe_key: String,
    pub kind: MessageKind,
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// What the kind has beyond text and media (location, contacts, order, reaction, raw).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Map<String, Value>>,
    /// `dedupe_key` of the message it answers or reacts to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// When it was written, by the provider.
    pub sent_at: Timestamp,
    /// Of a history import: neither notifies nor raises unread counts nor opens the 24 h window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// For an echo or import: how far it had come already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<MessageStatus>,
    /// For an echo: it was sent through the gateway's interface, so it may be one of ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_api: bool,
}

/// A message that we are to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedMessage {
    pub conversation_id: ConversationId,
    pub message_id: MessageId,
    pub sender: Sender,
    pub kind: MessageKind,
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_id: Option<BulkId>,
}

/// How far a message has come. Names it by our id, the provider's, or both; a status of the
/// provider may be here before the message it speaks of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusChange {
    pub conversation_id: ConversationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// `IncomingMessage::dedupe_key` of the message, or the provider's id of one that we sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_message_id: Option<String>,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProviderError>,
}

/// A change of an earlier message by its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAmendment {
    pub conversation_id: ConversationId,
    /// Id of the message that tells of the change, drawn by us.
    pub message_id: MessageId,
    /// `dedupe_key` of the notice itself, so that a repeated notice is one.
    pub dedupe_key: String,
    /// `dedupe_key` of the message that is changed.
    pub target: String,
    /// The new text; `None` for a revocation.
    pub text: Option<String>,
    pub outbound: bool,
    pub at: Timestamp,
}

/// A person that is erased.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Erasure {
    /// All conversations of the person; the first is the one that the others were merged into.
    pub conversations: Vec<ConversationId>,
    /// Under which the person was known, for who keeps something of them elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityHash>,
    /// What the deleted streams add to the statistics, for who folds the log without them.
    pub kept: KeptNumbers,
    /// Copies of media that go with the streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<MediaId>,
    /// Where the streams' events stand, so that what they published is found without a search;
    /// `None` when they are too many to be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<Position>>,
}

/// What a person's messages add to the tenant's statistics, and go on adding when they are gone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KeptNumbers {
    pub messages: i64,
    pub totals: Counts,
    /// Of the day on which the person was erased.
    pub today: Counts,
    pub hours: Vec<(Timestamp, Counts)>,
    pub first_responses: i64,
    pub first_response_sum_ms: i64,
}

/// What an agent may set on a conversation. What is `None` stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConversationChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ConversationStatus>,
    /// `Some(None)` takes the assignment away.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double_option")]
    pub assigned_to: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_enabled: Option<bool>,
}

/// The first answer to a write with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestAnswer {
    /// Keyed hash of the key, hexadecimal.
    pub key: String,
    /// SHA-256 of method, path and body, hexadecimal: another body under the same key is an error.
    pub fingerprint: String,
    pub status: u16,
    /// The answer's body; its `cursor` is left out where it follows from `events_before`.
    pub body: Value,
    /// How many events of the same append stand directly before this one: the first of them is
    /// the write's first event, of which the place is the answer's cursor.
    #[serde(default)]
    pub events_before: u32,
    /// The conversation it speaks of, so that erasing that one erases this too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
}

impl EventData {
    /// The conversation whose stream this event belongs to, `None` for the other streams.
    pub fn conversation_id(&self) -> Option<ConversationId> {
        match self {
            EventData::ConversationOpened { conversation_id, .. }
            | EventData::ContactChanged { conversation_id, .. }
            | EventData::SendStarted { conversation_id, .. }
            | EventData::MediaStored { conversation_id, .. }
            | EventData::MediaFailed { conversation_id, .. }
            | EventData::ErasureBegun { conversation_id }
            | EventData::SendReleased { conversation_id, .. }
            | EventData::SendDoubted { conversation_id, .. }
            | EventData::ConversationChanged { conversation_id, .. }
            | EventData::ConversationRead { conversation_id }
            | EventData::MarketingPreferenceChanged { conversation_id, .. }
            | EventData::UnknownContactChange { conversation_id, .. } => Some(*conversation_id),
            EventData::MessageReceived(message) | EventData::MessageEchoed(message) => {
                Some(message.conversation_id)
            }
            EventData::MessageQueued(message) => Some(message.conversation_id),
            EventData::MessageSent(change)
            | EventData::MessageDelivered(change)
            | EventData::MessageRead(change)
            | EventData::MessageFailed(change) => Some(change.conversation_id),
            EventData::MessageEdited(amendment) | EventData::MessageRevoked(amendment) => {
                Some(amendment.conversation_id)
            }
            EventData::ContactRegistered { .. }
            | EventData::IdentitiesLinked { .. }
            | EventData::ContactsMerged { .. }
            | EventData::PersonalDataErased(_)
            | EventData::ErasureCompleted { .. }
            | EventData::BotStatusChanged { .. }
            | EventData::WhatsappStateChanged { .. }
            | EventData::AnswersForgotten { .. }
            | EventData::DayStarted { .. }
            | EventData::TenantSetUp(_)
            | EventData::CredentialsResealed { .. }
            | EventData::UnknownChange { .. }
            | EventData::BulkRecipientsAdded(_)
            | EventData::BulkRecipientsDiscarded { .. }
            | EventData::BulkCreated { .. }
            | EventData::BulkStarted { .. }
            | EventData::BulkBatchStarted(_)
            | EventData::BulkPaused { .. }
            | EventData::BulkResumed { .. }
            | EventData::BulkCancelled { .. }
            | EventData::BulkCompleted { .. }
            | EventData::BulkFailed { .. }
            | EventData::BulkRecipientsErased { .. }
            | EventData::RequestAnswered(_)
            | EventData::Unknown { .. } => None,
        }
    }
}

/// Tells an absent field from a `null` one.
mod double_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}
