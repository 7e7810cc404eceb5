//! What requests and answers of the REST interface look like, beyond the types of
//! [`wire::types`](crate::wire::types).
//!
//! Requests refuse members that are not known here: a misspelt one would be left out silently.

use std::collections::HashMap;

use poem_openapi::{Enum, Object, Tags, types::MaybeUndefined};
use serde::Serialize;
use serde_json::Value;

use super::moment::Moment;
use crate::wire::{
    problem::FieldError,
    types::{
        BotMode, BotStatus, Conversation, ConversationStatus, Direction, Message, MessageStats,
        MessageType, WhatsAppMode, WhatsAppState,
    },
};

/// The document's chapters.
#[derive(Tags)]
pub enum Chapter {
    /// The state that a screen starts from.
    Snapshot,
    /// Conversations with contacts.
    Conversations,
    /// Messages of a conversation.
    Messages,
    /// One text or template to many.
    Bulk,
    /// What contacts send along, and what is to be sent.
    Media,
    /// Counters, now and over time.
    Statistics,
    /// The tenant's bot and its connection to WhatsApp.
    Tenant,
    /// Tickets for clients that can't set headers.
    Tickets,
    /// Bringing in messages and statuses from a bridge.
    Ingest,
    /// What providers call.
    Webhooks,
}

/// A page of conversations.
#[derive(Debug, Object, Serialize)]
pub struct ConversationPage {
    /// Newest activity first.
    pub conversations: Vec<Conversation>,
    /// Give it as `after` for the page that follows; `null` at the end.
    pub next: Option<String>,
}

/// A page of a conversation's history.
#[derive(Debug, Object, Serialize)]
pub struct MessagePage {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Give it as `before` for the page that follows; `null` at the end.
    pub next: Option<String>,
}

/// A contact that was erased.
#[derive(Debug, Object, Serialize)]
pub struct Erased {
    pub conversation_id: u32,
    /// From here on nothing of the contact is shown.
    pub cursor: String,
}

/// An upload, to be sent.
#[derive(Debug, Object, Serialize)]
pub struct UploadedMedia {
    /// Its id, for sending it and for `GET /v1/media/{id}`.
    pub id: String,
    /// What it is, by its content.
    pub mime_type: String,
    /// In bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    pub filename: Option<String>,
}

/// Opens the conversation with a contact, or finds it.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct OpenConversation {
    /// The contact's international number as people write it: `+34 600 000 001`, `0034600000001`.
    #[oai(validator(min_length = 1, max_length = 40))]
    pub phone: String,
    /// What to call the contact until WhatsApp tells a name.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: Option<String>,
}

/// Changes a conversation. What is absent or `null` stays as it is, save `assigned_to`, which
/// `null` takes away.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct ChangeConversation {
    pub status: Option<ConversationStatus>,
    /// To whom it is assigned; `null` takes the assignment away.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub assigned_to: MaybeUndefined<String>,
    /// Replaces all labels.
    #[oai(validator(max_items = 50, min_length = 1, max_length = 64))]
    pub labels: Option<Vec<String>>,
    pub bot_enabled: Option<bool>,
}

/// A conversation after a write.
#[derive(Debug, Object, Serialize)]
pub struct ConversationWritten {
    /// As it is after the write.
    pub conversation: Conversation,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// Width of a bucket of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Bucket {
    Hour,
    Day,
}

/// What happened within one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize)]
pub struct StatsPoint {
    /// When the bucket begins; it ends where the next one begins.
    pub start: String,
    pub received: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
}

/// Counters over time.
#[derive(Debug, Object, Serialize)]
pub struct StatsSeries {
    pub bucket: Bucket,
    /// IANA name of the time zone in which days begin.
    pub time_zone: String,
    /// Every bucket from the first to the last, empty ones too.
    pub points: Vec<StatsPoint>,
}

/// Statistics now, and as a series where one was asked for.
#[derive(Debug, Object, Serialize)]
pub struct StatsAnswer {
    pub stats: MessageStats,
    /// With `bucket`, `from` or `to`.
    pub series: Option<StatsSeries>,
}

/// Switches the bot.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetBotStatus {
    pub status: BotMode,
    /// Why, for people.
    #[oai(validator(max_length = 500))]
    pub reason: Option<String>,
}

/// The bot after a write.
#[derive(Debug, Object, Serialize)]
pub struct BotWritten {
    /// As it is after the write.
    #[oai(rename = "botStatus")]
    #[serde(rename = "botStatus")]
    pub bot_status: BotStatus,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// Tells the state of the connection to WhatsApp, for a bridge. Replaces all of it.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetWhatsAppState {
    pub status: WhatsAppMode,
    #[oai(validator(max_length = 32))]
    pub phone_number: Option<String>,
    #[oai(validator(max_length = 200))]
    pub name: Option<String>,
    /// What to show as a QR code, with `qr`.
    #[oai(validator(max_length = 4096))]
    pub qr: Option<String>,
    #[oai(validator(max_length = 64))]
    pub quality: Option<String>,
    #[oai(validator(max_length = 500))]
    pub reason: Option<String>,
}

/// The connection to WhatsApp after a write.
#[derive(Debug, Object, Serialize)]
pub struct WhatsAppWritten {
    /// As it is after the write.
    #[oai(rename = "whatsappState")]
    #[serde(rename = "whatsappState")]
    pub whatsapp_state: WhatsAppState,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// A one-time ticket.
#[derive(Debug, Object, Serialize)]
pub struct Ticket {
    /// Give it as `?ticket=`, once.
    pub ticket: String,
    pub expires_at: String,
}

/// Who a message is with. At least one of `phone`, `wa_id`, `user_id` and `lid` is needed.
#[derive(Debug, Clone, Default, Object)]
#[oai(deny_unknown_fields)]
pub struct IngestContact {
    /// An international number as people write it: `+34 600 000 001`, `0034600000001`.
    #[oai(validator(min_length = 1, max_length = 40))]
    pub phone: Option<String>,
    /// WhatsApp's own id: digits, mostly the phone number's.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub user_id: Option<String>,
    /// WhatsApp's privacy id, without `@lid`.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub lid: Option<String>,
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: Option<String>,
    #[oai(validator(min_length = 1, max_length = 200))]
    pub username: Option<String>,
}

/// A message that a bridge saw, either way.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct IngestMessage {
    /// WhatsApp's id of the message. The same id is the same message.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub wa_message_id: String,
    pub contact: IngestContact,
    /// `inbound` when absent. `outbound` is what the company wrote elsewhere.
    pub direction: Option<Direction>,
    /// `text` when absent.
    #[oai(rename = "type")]
    pub kind: Option<MessageType>,
    #[oai(validator(max_length = 65536))]
    pub text: Option<String>,
    pub media: Option<IngestMedia>,
    /// What the type has beyond text and media, at most 128 KiB of JSON.
    pub payload: Option<HashMap<String, Value>>,
    /// WhatsApp's id of the message that it answers or reacts to.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub reply_to: Option<String>,
    /// When it was written.
    pub timestamp: Moment,
    /// Of a history import: neither notifies nor raises unread counts.
    pub imported: Option<bool>,
    /// How far an outbound message has come; `sent` when absent.
    pub status: Option<IngestStatusValue>,
}

/// A media attachment of a message that a bridge saw.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct IngestMedia {
    #[oai(validator(max_length = 300))]
    pub id: Option<String>,
    #[oai(validator(max_length = 200))]
    pub mime_type: Option<String>,
    #[oai(validator(max_length = 500))]
    pub filename: Option<String>,
    #[oai(validator(max_length = 100))]
    pub sha256: Option<String>,
    /// A voice note.
    pub voice: Option<bool>,
    /// An animated sticker.
    pub animated: Option<bool>,
}

/// How far a message has come, as a bridge tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub enum IngestStatusValue {
    Sent,
    Delivered,
    Read,
    Failed,
}

/// How far a message has come. May be here before the message.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct IngestStatus {
    /// WhatsApp's id of the message.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub wa_message_id: String,
    /// Who the message is with, where that is known.
    pub contact: Option<IngestContact>,
    pub status: IngestStatusValue,
    /// When it came so far.
    pub timestamp: Moment,
    /// Why, with `failed`.
    pub error: Option<IngestError>,
}

/// Why a message failed.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct IngestError {
    pub code: i64,
    #[oai(validator(max_length = 500))]
    pub title: String,
    #[oai(validator(max_length = 2000))]
    pub detail: Option<String>,
}

/// What became of one item of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome {
    /// Durable.
    Stored,
    /// Known already; nothing was stored.
    Duplicate,
    /// Not valid; nothing was stored.
    Rejected,
}

/// What became of one item of a batch, in the batch's order.
#[derive(Debug, Clone, Object, Serialize)]
pub struct ItemResult {
    pub outcome: ItemOutcome,
    /// The item's place in the feed, when stored.
    pub cursor: Option<String>,
    /// What is wrong with it, when rejected. Pointers begin at the batch.
    pub errors: Option<Vec<FieldError>>,
}

/// What became of a batch. Also `200` when some or all items were rejected.
#[derive(Debug, Object, Serialize)]
pub struct IngestAnswer {
    /// One per item, in order.
    pub results: Vec<ItemResult>,
    pub stored: u32,
    pub duplicates: u32,
    pub rejected: u32,
    /// Place of the first event: an item stored, or what is new of its contact; else of the newest
    /// event. To wait for an item with `at_least`, give that item's own cursor.
    pub cursor: String,
}

/// What a webhook's sender is told.
#[derive(Debug, Object, Serialize)]
pub struct WebhookAnswer {
    /// Things stored now.
    pub stored: u32,
    /// Things known already.
    pub duplicates: u32,
}
