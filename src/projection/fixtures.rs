//! Entities for the tests of this folder.

use serde_json::json;
use uuid::Uuid;

use crate::domain::{
    bot::{Bot, BotMode},
    conversation::{Contact, Conversation, ConversationStatus, LastMessage, MarketingPreference},
    ids::{BulkId, ClientId, ConversationId, MediaId, MessageId},
    message::{
        CopyState, Direction, Media, MediaCopy, Message, MessageKind, MessageStatus, ProviderError,
        Sender,
    },
    state::Tenant,
    stats::{Counts, Stats},
    time::Timestamp,
    whatsapp::{WhatsApp, WhatsAppStatus},
};

/// The moment at which the fixtures play.
pub(crate) const NOON: Timestamp = Timestamp(1_795_521_600_000);

pub(crate) fn message_id(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

/// A text in conversation 1 of tenant 1, with as little as a message can have.
pub(crate) fn bare_message() -> Message {
    Message {
        id: message_id(1),
        client_id: ClientId(1),
        conversation_id: ConversationId(1),
        direction: Direction::Inbound,
        sender: Sender::Contact,
        kind: MessageKind::Text,
        text: None,
        media: None,
        payload: None,
        reply_to: None,
        client_ref: None,
        bulk_id: None,
        status: MessageStatus::Received,
        error: None,
        wa_message_id: None,
        dedupe_key: None,
        send_started: false,
        imported: false,
        timestamp: NOON,
        created_at: NOON,
        status_at: NOON,
    }
}

/// Conversation 1 of tenant 1, with as little as a conversation can have.
pub(crate) fn bare_conversation() -> Conversation {
    Conversation::opened(ConversationId(1), ClientId(1), Contact::default(), NOON)
}

/// A message and a conversation with every field set.
pub(crate) fn full() -> (Message, Conversation) {
    let payload = json!({"latitude": -34.5, "name": "Café \"Ñandú\"\n"});
    let message = Message {
        id: message_id(0x0193_0000_0000_7000_8000_0000_0000_0001),
        client_id: ClientId(u32::MAX),
        conversation_id: ConversationId(4_000_000_000),
        direction: Direction::Outbound,
        sender: Sender::Bulk,
        kind: MessageKind::Location,
        text: Some("¿Qué tal? \u{1F44B} <b>\"hola\"</b>\t".to_owned()),
        media: Some(Media {
            id: Some("m1".to_owned()),
            mime_type: Some("audio/ogg; codecs=opus".to_owned()),
            sha256: Some("ab".to_owned()),
            filename: Some("nota.ogg".to_owned()),
            url: Some("https://example.org/secret".to_owned()),
            voice: true,
            animated: true,
            copy: Some(MediaCopy {
                id: MediaId(Uuid::from_u128(8)),
                state: CopyState::Stored,
                size: Some(12),
            }),
        }),
        payload: payload.as_object().cloned(),
        reply_to: Some("wamid.1".to_owned()),
        client_ref: Some("ref".to_owned()),
        bulk_id: Some(BulkId(Uuid::from_u128(9))),
        status: MessageStatus::Failed,
        error: Some(ProviderError {
            code: 131_049,
            title: "Not delivered".to_owned(),
            detail: "Healthy ecosystem".to_owned(),
        }),
        wa_message_id: Some("wamid.2".to_owned()),
        dedupe_key: Some("wamid.2".to_owned()),
        send_started: true,
        imported: true,
        timestamp: NOON,
        created_at: NOON.plus_ms(1),
        status_at: NOON.plus_ms(2),
    };
    let conversation = Conversation {
        id: message.conversation_id,
        client_id: message.client_id,
        contact: Contact {
            phone: Some("+5491155550000".to_owned()),
            name: Some("Ana Núñez".to_owned()),
            wa_id: Some("5491155550000".to_owned()),
            user_id: Some("AR.123".to_owned()),
            parent_user_id: Some("AR.ENT.1".to_owned()),
            lid: Some("77".to_owned()),
            username: Some("ana.n".to_owned()),
        },
        status: ConversationStatus::Pending,
        unread_count: 3,
        last_message: Some(LastMessage {
            id: message.id,
            text: message.text.clone(),
            kind: message.kind,
            direction: message.direction,
            status: message.status,
            timestamp: message.timestamp,
        }),
        assigned_to: Some("user-7".to_owned()),
        labels: vec!["vip".to_owned(), "deuda \"x\"".to_owned()],
        bot_enabled: false,
        contact_told_at: Some(NOON.plus_ms(-9)),
        marketing: Some(MarketingPreference { allowed: false, at: Timestamp(1) }),
        window_expires_at: Some(NOON.plus_ms(86_400_000)),
        awaiting_response_since: Some(NOON.plus_ms(-5)),
        person_answered_at: Some(NOON.plus_ms(-3)),
        claimed: vec![message.id],
        merged_into: Some(ConversationId(2)),
        created_at: NOON.plus_ms(-10),
        updated_at: NOON.plus_ms(7),
    };
    (message, conversation)
}

/// A tenant with every field set.
pub(crate) fn tenant() -> Tenant {
    Tenant {
        stats: Stats {
            total_messages: 5,
            totals: Counts { received: 1, sent: 3, delivered: 2, read: 1, failed: 1 },
            first_responses: 2,
            first_response_sum_ms: 3000,
            updated_at: NOON,
            ..Stats::default()
        },
        bot: Bot {
            status: BotMode::Paused,
            reason: Some("lunch".to_owned()),
            changed_by: Some("user:7".to_owned()),
            changed_at: NOON,
        },
        whatsapp: WhatsApp {
            status: WhatsAppStatus::Qr,
            qr: Some("2@abc".to_owned()),
            changed_at: NOON,
            told_at: [("waha".to_owned(), NOON)].into(),
            ..WhatsApp::default()
        },
        day: Some(("2026-11-24".to_owned(), "America/Argentina/Buenos_Aires".to_owned())),
    }
}
