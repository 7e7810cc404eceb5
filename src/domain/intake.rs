//! What a gateway understood of what came in: the shape between a provider's payload and the
//! command that decides on it. No provider JSON beyond what is kept as raw.

use serde_json::{Map, Value};

use super::{
    conversation::Contact,
    ids::MessageId,
    message::{Direction, Media, MessageKind, MessageStatus, ProviderError},
    time::Timestamp,
    whatsapp::WhatsAppStatus,
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
    /// tells its whole address book this way).
    ContactChange {
        contact: Contact,
        previous: Contact,
        at: Timestamp,
    },
    MarketingPreference {
        contact: Contact,
        allowed: bool,
        at: Timestamp,
    },
    /// `phone_number`, `name` and `quality` that are `None` are not told and stay as they were;
    /// `qr` and `reason` belong to the status and go with it.
    WhatsAppState {
        status: WhatsAppStatus,
        phone_number: Option<String>,
        name: Option<String>,
        qr: Option<String>,
        quality: Option<String>,
        reason: Option<String>,
    },
    /// Not understood, and it is about one contact.
    UnknownOfContact {
        contact: Contact,
        kind: String,
        raw: Value,
    },
    /// Not understood, or of the account.
    Unknown {
        kind: String,
        raw: Value,
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
