//! What a gateway understood of what came in: the shape between a provider's payload and the
//! command that decides on it. No provider JSON beyond what is kept as raw.

use serde_json::{Map, Value};

use super::{
    conversation::Contact,
    ids::MessageId,
    message::{Direction, Media, MessageKind, MessageStatus, ProviderError},
    time::Timestamp,
    whatsapp::WhatsAppTold,
};

/// One thing that came in for one tenant.
#[derive(Debug, Clone, PartialEq)]
pub enum Intake {
    Message {
        contact: Contact,
        message: IntakeMessage,
    },
    /// The contact may be without any identity; the message is found by its own ids then.
    Status {
        contact: Contact,
        status: IntakeStatus,
    },
    /// `text: None` is a revocation.
    Amendment {
        contact: Contact,
        amendment: IntakeAmendment,
    },
    /// What is known of a contact changed; identities of `previous` are the same person's. It
    /// opens no conversation: of somebody who is not known, nothing is kept (a company's phone
    /// tells its whole address book this way). `at` is when the contact did it; what somebody else
    /// tells of them has none, and only fills in what is not known.
    ContactChange {
        contact: Contact,
        previous: Contact,
        at: Option<Timestamp>,
    },
    /// `key` is the same when the provider tells this once more, here and below.
    MarketingPreference {
        contact: Contact,
        allowed: bool,
        at: Timestamp,
        key: Option<String>,
    },
    WhatsAppState {
        told: WhatsAppTold,
        at: Timestamp,
        key: Option<String>,
    },
    /// Not understood, and it is about one contact. It opens no conversation: people who never
    /// wrote stay out of sight.
    UnknownOfContact {
        contact: Contact,
        kind: String,
        raw: Value,
        key: Option<String>,
    },
    /// Not understood, or of the account.
    Unknown {
        kind: String,
        raw: Value,
        key: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct IntakeMessage {
    /// `Outbound` is an echo of what the company wrote elsewhere.
    pub direction: Direction,
    pub wa_message_id: String,
    /// See [`IncomingMessage::dedupe_key`](super::event::IncomingMessage::dedupe_key).
    pub dedupe_key: String,
    pub kind: MessageKind,
    pub text: Option<String>,
    pub media: Option<Media>,
    pub payload: Option<Map<String, Value>>,
    /// `dedupe_key` of the message it answers or reacts to.
    pub reply_to: Option<String>,
    pub sent_at: Timestamp,
    pub imported: bool,
    pub status: Option<MessageStatus>,
    /// An echo of something that was sent through the gateway's interface, perhaps by us.
    pub by_api: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IntakeStatus {
    pub wa_message_id: String,
    pub dedupe_key: String,
    /// Our own id, when the provider gives it back (`biz_opaque_callback_data`).
    pub message_id: Option<MessageId>,
    /// `Sent`, `Delivered`, `Read` or `Failed`.
    pub status: MessageStatus,
    pub at: Timestamp,
    pub error: Option<ProviderError>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IntakeAmendment {
    pub dedupe_key: String,
    pub target: String,
    pub text: Option<String>,
    pub direction: Direction,
    pub at: Timestamp,
}
