//! Messages and how far they have come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ids::{BulkId, ClientId, ConversationId, MediaId, MessageId},
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

impl MessageKind {
    /// Something that a person wrote or showed, as against a reaction to it or a notice: it asks
    /// for attention (unread, reopens, awaits an answer) and stands as the last message.
    pub fn is_talk(self) -> bool {
        !matches!(self, MessageKind::Reaction | MessageKind::System)
    }
}

/// How far a message has come: the lattice `queued < sent < failed < delivered < read`.
/// `Received` is the one status of inbound messages and outside of it.
///
/// WhatsApp delivers webhooks concurrently, repeats them for days and does not promise their
/// order, so what holds must be the same in whatever order statuses arrive: the furthest one.
/// - `failed` is above `sent`: a message is accepted (`sent`) and then fails, never the other
///   way round, so a `sent` after `failed` is a late one.
/// - `failed` is below `delivered`: who has the message has it. A `failed` after `delivered`
///   changes nothing, and a `delivered` or `read` after `failed` shows that it went through.
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

impl MessageStatus {
    /// Whether `next` is further on.
    pub fn advances_to(self, next: MessageStatus) -> bool {
        match (self.rank(), next.rank()) {
            (Some(now), Some(then)) => then > now,
            _ => false,
        }
    }

    fn rank(self) -> Option<u8> {
        match self {
            MessageStatus::Received => None,
            MessageStatus::Queued => Some(0),
            MessageStatus::Sent => Some(1),
            MessageStatus::Failed => Some(2),
            MessageStatus::Delivered => Some(3),
            MessageStatus::Read => Some(4),
        }
    }
}

/// An error as the provider told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderError {
    pub code: i64,
    pub title: String,
    pub detail: String,
}

/// `code` of the error that a queued message shows while nobody knows whether it was sent. Ours,
/// and below all codes of providers.
pub const IN_DOUBT_CODE: i64 = -1;
/// `code` of the errors of messages that we could not hand to a provider at all.
pub const NOT_SENDABLE_CODE: i64 = -2;

impl ProviderError {
    /// What a message in doubt shows.
    pub fn in_doubt() -> Self {
        Self {
            code: IN_DOUBT_CODE,
            title: "In doubt".to_owned(),
            detail: "The provider may have taken this message and did not answer. It is not sent \
                     again by itself: a status that comes later settles it, and a person may send \
                     it again."
                .to_owned(),
        }
    }
}

/// A media attachment: as the provider described it, and our own copy of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Media {
    /// The provider's media id; `None` for an upload. Never shown to clients.
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
    /// `None` where there is nothing that could be copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<MediaCopy>,
}

impl Media {
    /// The same, with a copy that is yet to be fetched: under the id of the message that brings
    /// it, so that clients can ask for it before it is here.
    pub fn to_be_copied(mut self, message_id: MessageId) -> Self {
        let somewhere = self.id.is_some() || self.url.is_some();
        self.copy = somewhere.then_some(MediaCopy {
            id: MediaId(message_id.0),
            state: CopyState::Pending,
            size: None,
        });
        self
    }

    /// A copy is to be fetched still.
    pub fn is_pending(&self) -> bool {
        self.copy.is_some_and(|copy| copy.state == CopyState::Pending)
    }
}

/// Our own copy of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaCopy {
    pub id: MediaId,
    pub state: CopyState,
    /// In bytes, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    Pending,
    Stored,
    /// It could not be fetched, and is not tried again.
    Failed,
}

/// What a copy turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMedia {
    pub mime_type: String,
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// Why there is no copy. Names nothing of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaFailure {
    /// The provider does not have it, or not any more.
    Gone,
    /// It is larger than what is taken.
    TooLarge,
    /// Its bytes are not those that the provider announced.
    Damaged,
    /// It could not be had in all the attempts.
    Unreachable,
}

impl MediaFailure {
    /// As clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaFailure::Gone => "gone",
            MediaFailure::TooLarge => "too_large",
            MediaFailure::Damaged => "damaged",
            MediaFailure::Unreachable => "unreachable",
        }
    }
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

impl Message {
    /// One of our own lines in the history that tells of an edit or a revocation.
    pub fn is_notice(&self) -> bool {
        self.sender == Sender::System && self.kind == MessageKind::System
    }
}
