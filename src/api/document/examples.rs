//! Examples for the documents, made of the types themselves so that they are always of their
//! form. Their people and numbers are made up (numbers of the range reserved for fiction).

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::{
    problem::{Code, FieldError, Problem},
    types as wire,
};

const CLIENT_ID: u32 = 7;
const MESSAGE_ID: &str = "019ab4d2-7c3f-7d10-9f6e-3b1f7c2a9e55";
const WROTE_AT: &str = "2026-11-24T10:15:30.000Z";
const TAKEN_IN_AT: &str = "2026-11-24T10:15:30.123Z";
const CURSOR: &str = "k3v9q-184467-0";

/// Schema name and example.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("Message", value(message())),
        ("Conversation", value(conversation())),
        ("MessageStats", value(stats())),
        ("BotStatus", value(bot())),
        ("WhatsAppState", value(whatsapp())),
        ("Snapshot", value(snapshot())),
        ("OpenConversation", json!({"phone": "+12025550142", "name": "Ann"})),
        (
            "ChangeConversation",
            json!({"status": "pending", "labels": ["vip"], "assigned_to": null}),
        ),
        ("SendMessage", json!({"text": "Your order is on its way.", "client_ref": "9f1c-2"})),
        ("SetBotStatus", json!({"status": "paused", "reason": "lunch"})),
        ("SetWhatsAppState", json!({"status": "connected", "phone_number": "+12025550100"})),
        ("IngestMessages", json!({"messages": [ingest_message()]})),
        ("IngestMessage", ingest_message()),
        ("IngestStatuses", json!({"statuses": [ingest_status()]})),
        ("IngestStatus", ingest_status()),
        ("ProblemBody", problem()),
    ]
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn message() -> wire::Message {
    wire::Message {
        id: MESSAGE_ID.to_owned(),
        conversation_id: 42,
        client_id: CLIENT_ID,
        direction: wire::Direction::Inbound,
        sender: wire::Sender::Contact,
        kind: wire::MessageType::Text,
        text: Some("Is my order on its way?".to_owned()),
        media: None,
        payload: None,
        reply_to: None,
        client_ref: None,
        bulk_id: None,
        status: wire::MessageStatus::Received,
        error: None,
        wa_message_id: Some("wamid.HBgLMTIwMjU1NTAxNDI".to_owned()),
        timestamp: WROTE_AT.to_owned(),
        created_at: TAKEN_IN_AT.to_owned(),
        status_at: WROTE_AT.to_owned(),
    }
}

fn conversation() -> wire::Conversation {
    wire::Conversation {
        id: 42,
        client_id: CLIENT_ID,
        contact: wire::Contact {
            phone: Some("+12025550142".to_owned()),
            name: Some("Ann".to_owned()),
            wa_id: Some("12025550142".to_owned()),
            user_id: None,
            username: None,
        },
        status: wire::ConversationStatus::Open,
        unread_count: 1,
        last_message: Some(wire::LastMessage {
            id: MESSAGE_ID.to_owned(),
            text: Some("Is my order on its way?".to_owned()),
            kind: wire::MessageType::Text,
            direction: wire::Direction::Inbound,
            status: wire::MessageStatus::Received,
            timestamp: WROTE_AT.to_owned(),
        }),
        assigned_to: Some("ben".to_owned()),
        labels: vec!["vip".to_owned()],
        bot_enabled: true,
        window_expires_at: Some("2026-11-25T10:15:30.000Z".to_owned()),
        created_at: "2026-11-20T09:00:00.000Z".to_owned(),
        updated_at: TAKEN_IN_AT.to_owned(),
    }
}

fn stats() -> wire::MessageStats {
    wire::MessageStats {
        total_messages: 1_284,
        received: 702,
        sent: 582,
        delivered: 570,
        read: 431,
        failed: 3,
        queued: 0,
        today: wire::TodayStats { received: 31, sent: 24, delivered: 23, read: 17, failed: 0 },
        conversations: wire::ConversationStats {
            total: 120,
            open: 14,
            pending: 5,
            closed: 101,
            unread: 4,
        },
        delivery_rate: 0.9794,
        read_rate: 0.7561,
        avg_first_response_ms: Some(184_000),
        updated_at: TAKEN_IN_AT.to_owned(),
    }
}

fn bot() -> wire::BotStatus {
    wire::BotStatus {
        status: wire::BotMode::Active,
        reason: None,
        changed_by: Some("user:ben".to_owned()),
        changed_at: WROTE_AT.to_owned(),
    }
}

fn whatsapp() -> wire::WhatsAppState {
    wire::WhatsAppState {
        status: wire::WhatsAppMode::Connected,
        phone_number: Some("+12025550100".to_owned()),
        name: Some("Example Shop".to_owned()),
        qr: None,
        quality: Some("GREEN".to_owned()),
        reason: None,
        changed_at: WROTE_AT.to_owned(),
    }
}

fn snapshot() -> wire::Snapshot {
    wire::Snapshot {
        cursor: CURSOR.to_owned(),
        conversations: vec![conversation()],
        stats: stats(),
        bot_status: bot(),
        whatsapp_state: whatsapp(),
        bulks: Vec::new(),
    }
}

fn ingest_message() -> Value {
    json!({
        "wa_message_id": "3EB0C767D26A1A5F2C",
        "contact": {"phone": "+12025550142", "name": "Ann"},
        "direction": "inbound",
        "type": "text",
        "text": "Is my order on its way?",
        "timestamp": WROTE_AT,
    })
}

fn ingest_status() -> Value {
    json!({
        "wa_message_id": "3EB0C767D26A1A5F2C",
        "contact": {"phone": "+12025550142"},
        "status": "delivered",
        "timestamp": TAKEN_IN_AT,
    })
}

fn problem() -> Value {
    let errors = vec![FieldError::at_pointer("/labels/2", "must have at most 64 characters")];
    value(Problem::new(Code::ValidationFailed).errors(errors).body())
}
