//! Conversations: one per contact and tenant.

use serde::{Deserialize, Serialize};

use super::{
    ids::{ClientId, ConversationId, MessageId},
    message::{Direction, Message, MessageKind, MessageStatus},
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

impl Contact {
    /// What is `Some` in `newer` replaces what was known.
    pub fn replace_with(&mut self, newer: &Contact) {
        self.each_with(newer, |known, newer| {
            if newer.is_some() {
                known.clone_from(newer);
            }
        });
    }

    /// What is known in `other` and not here is taken over.
    pub fn fill_from(&mut self, other: &Contact) {
        self.each_with(other, |known, other| {
            if known.is_none() {
                known.clone_from(other);
            }
        });
    }

    fn each_with(&mut self, other: &Contact, join: impl Fn(&mut Option<String>, &Option<String>)) {
        join(&mut self.phone, &other.phone);
        join(&mut self.name, &other.name);
        join(&mut self.wa_id, &other.wa_id);
        join(&mut self.user_id, &other.user_id);
        join(&mut self.parent_user_id, &other.parent_user_id);
        join(&mut self.lid, &other.lid);
        join(&mut self.username, &other.username);
    }
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

impl LastMessage {
    pub fn of(message: &Message) -> Self {
        Self {
            id: message.id,
            text: message.text.clone(),
            kind: message.kind,
            direction: message.direction,
            status: message.status,
            timestamp: message.timestamp,
        }
    }
}

/// Whether the contact lets us send marketing messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketingPreference {
    pub allowed: bool,
    /// When the contact said so: an older one that arrives late does not replace it.
    pub at: Timestamp,
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
    /// What the contact last said on marketing messages, if anything.
    pub marketing: Option<MarketingPreference>,
    /// End of the 24 h service window: 24 h after the contact last wrote.
    pub window_expires_at: Option<Timestamp>,
    /// When the contact wrote first since we last answered: start of the response time.
    pub awaiting_response_since: Option<Timestamp>,
    /// The conversation in which this one lives on after a merge. This one is empty then, is
    /// not counted and not listed.
    pub merged_into: Option<ConversationId>,
    pub created_at: Timestamp,
    /// When anything of this last changed, a status of the last message included: no measure of
    /// activity, for which `last_message` has the time.
    pub updated_at: Timestamp,
}

impl Conversation {
    /// A conversation without messages, opened at `at`.
    pub fn opened(
        id: ConversationId,
        client_id: ClientId,
        contact: Contact,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            client_id,
            contact,
            status: ConversationStatus::Open,
            unread_count: 0,
            last_message: None,
            assigned_to: None,
            labels: Vec::new(),
            bot_enabled: true,
            marketing: None,
            window_expires_at: None,
            awaiting_response_since: None,
            merged_into: None,
            created_at: at,
            updated_at: at,
        }
    }
}
