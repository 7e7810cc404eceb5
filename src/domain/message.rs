//! Messages and how far they have come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ids::{BulkId, ClientId, ConversationId, MessageId},
    time::Timestamp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Inbound,
    Outbound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    Contact,
    Agent,
    Bot,
    Bulk,
    System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Interactive,
    Button,
    Reaction,
    Template,
    Order,
    System,
    Unsupported,
}

/// The lattice `queued < sent < delivered < read`; `failed` ends unless the message was
/// delivered. `Received` is the one status of inbound messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Received,
    Queued,
    Sent,
    Delivered,
    Read,
    Failed,
}

/// An error as the provider told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    pub code: i64,
    pub title: String,
    pub detail: String,
}

/// A media attachment as the provider described it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Media {
    /// The provider's media id, or our own for an upload.
    pub id: Option<String>,
    pub mime_type: Option<String>,
    pub sha256: Option<String>,
    pub filename: Option<String>,
    /// Where the provider has it; short-lived, never shown to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub voice: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub animated: bool,
}

/// A message as it stands after the events so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub client_id: ClientId,
    pub conversation_id: ConversationId,
    pub direction: Direction,
    pub sender: Sender,
    pub kind: MessageKind,
    pub text: Option<String>,
    pub media: Option<Media>,
    pub payload: Option<Map<String, Value>>,
    /// `dedupe_key` of the message it answers.
    pub reply_to: Option<String>,
    pub client_ref: Option<String>,
    pub bulk_id: Option<BulkId>,
    pub status: MessageStatus,
    pub error: Option<ProviderError>,
    pub wa_message_id: Option<String>,
    pub dedupe_key: Option<String>,
    /// Claimed for sending, outcome not known yet.
    pub send_started: bool,
    /// Taken from a history import.
    pub imported: bool,
    /// When it was written, by the provider (ours for messages that we queue).
    pub timestamp: Timestamp,
    /// When we took it in.
    pub created_at: Timestamp,
    /// When its status last advanced, by the provider.
    pub status_at: Timestamp,
}
