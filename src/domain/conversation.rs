//! Conversations: one per contact and tenant.

use serde::{Deserialize, Serialize};

use super::{
    ids::{ClientId, ConversationId, MessageId},
    message::{Direction, MessageKind, MessageStatus},
    time::Timestamp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    Open,
    Pending,
    Closed,
}

/// What is known of a contact. Identities (`phone`, `wa_id`, `user_id`, `parent_user_id`, `lid`)
/// are aliases of one person; any of them may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contact {
    /// E.164 digits with a leading `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// WhatsApp's own id: digits, mostly the phone number's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// Business-scoped user id (BSUID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_user_id: Option<String>,
    /// WhatsApp's privacy id as WAHA tells it, without `@lid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// The newest message, for the list of conversations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastMessage {
    pub id: MessageId,
    pub text: Option<String>,
    pub kind: MessageKind,
    pub direction: Direction,
    pub status: MessageStatus,
    pub timestamp: Timestamp,
}

/// A conversation as it stands after the events so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    pub client_id: ClientId,
    pub contact: Contact,
    pub status: ConversationStatus,
    pub unread_count: u32,
    pub last_message: Option<LastMessage>,
    pub assigned_to: Option<String>,
    pub labels: Vec<String>,
    pub bot_enabled: bool,
    /// `Some(false)` after the contact forbade marketing messages.
    pub marketing_allowed: Option<bool>,
    /// End of the 24 h service window: 24 h after the contact last wrote.
    pub window_expires_at: Option<Timestamp>,
    /// When the contact wrote first since we last answered: start of the response time.
    pub awaiting_response_since: Option<Timestamp>,
    /// A first response was measured already.
    pub first_response_measured: bool,
    /// The conversation in which this one lives on after a merge.
    pub merged_into: Option<ConversationId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
