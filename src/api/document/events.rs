//! The public events as schemas: what PROTOCOL.md says of `type` and `data`, for both documents.

use poem_openapi::{Object, registry::Registry, types::Type};
use serde_json::{Value, json};

use crate::wire::{
    event_type::EventType,
    types::{
        BotStatus, Conversation, Message, MessageError, MessageStats, MessageStatus, Snapshot,
        WhatsAppState,
    },
};

/// Data of `new_message`: a message that came in, or that was written elsewhere.
#[derive(Object)]
struct NewMessageData {
    message: Message,
    conversation: Conversation,
}

/// Data of `message_status_updated`: a message has come further, or it is in doubt.
#[derive(Object)]
struct MessageStatusUpdatedData {
    message_id: String,
    conversation_id: u32,
    status: MessageStatus,
    /// With `failed`; with `queued` when it is not known whether the message was sent (`code` -1),
    /// until a later status settles it or a person sends it again. Left out otherwise.
    error: Option<MessageError>,
}

/// Data of `conversation_updated`: the conversation as it is now.
#[derive(Object)]
struct ConversationUpdatedData {
    conversation: Conversation,
}

/// Data of `stats_updated`: the statistics as they are now.
#[derive(Object)]
struct StatsUpdatedData {
    stats: MessageStats,
}

/// Data of `bot_status_changed`: the bot as it is now.
#[derive(Object)]
struct BotStatusChangedData {
    #[oai(rename = "botStatus")]
    bot_status: BotStatus,
}

/// Data of `whatsapp_status_changed`: the connection as it is now.
#[derive(Object)]
struct WhatsappStatusChangedData {
    #[oai(rename = "whatsappState")]
    whatsapp_state: WhatsAppState,
}

/// How far a bulk has come.
#[derive(Object)]
struct BulkProgress {
    sent: i64,
    total: i64,
    #[oai(rename = "currentConversation")]
    current_conversation: String,
}

/// Data of `bulk_message_progress`.
#[derive(Object)]
struct BulkMessageProgressData {
    progress: BulkProgress,
    bulk_id: String,
}

/// Data of `bulk_message_completed`.
#[derive(Object)]
struct BulkMessageCompletedData {
    #[oai(rename = "successCount")]
    success_count: i64,
    #[oai(rename = "errorCount")]
    error_count: i64,
    bulk_id: String,
}

/// Data of `bulk_message_error`.
#[derive(Object)]
struct BulkMessageErrorData {
    error: String,
    bulk_id: String,
}

/// Data of `hello`, the first frame.
#[derive(Object)]
struct HelloData {
    /// Where the subscriber stands.
    cursor: String,
    /// `1`.
    protocol: u32,
    /// How often a heartbeat is sent, in milliseconds.
    heartbeat_ms: u32,
    connection_id: String,
    token_expires_at: String,
}

/// Data of `reset`: load the snapshot and go on from `cursor`.
#[derive(Object)]
struct ResetData {
    /// `unknown_cursor`, `expired_cursor` or `too_far_behind`.
    reason: String,
    cursor: String,
}

/// Data of `draining`: the instance is about to stop.
#[derive(Object)]
struct DrainingData {
    /// When to connect again, in milliseconds.
    reconnect_after_ms: u32,
}

/// Registers the schemas of all data.
pub fn register(registry: &mut Registry) {
    NewMessageData::register(registry);
    MessageStatusUpdatedData::register(registry);
    ConversationUpdatedData::register(registry);
    StatsUpdatedData::register(registry);
    BotStatusChangedData::register(registry);
    WhatsappStatusChangedData::register(registry);
    BulkMessageProgressData::register(registry);
    BulkMessageCompletedData::register(registry);
    BulkMessageErrorData::register(registry);
    HelloData::register(registry);
    ResetData::register(registry);
    DrainingData::register(registry);
    Snapshot::register(registry);
}

/// `new_message` as `NewMessage`.
pub fn pascal(snake: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_ascii_uppercase().to_string() + letters.as_str()
        })
    };
    snake.split('_').map(capital).collect()
}

/// What kind of event it is, for people.
fn description(kind: EventType) -> &'static str {
    match kind {
        EventType::NewMessage => "A message is there.",
        EventType::MessageStatusUpdated => "A message has come further.",
        EventType::ConversationUpdated => "A conversation has changed.",
        EventType::StatsUpdated => "The statistics have changed.",
        EventType::BotStatusChanged => "The bot was switched.",
        EventType::WhatsappStatusChanged => "The connection to WhatsApp has changed.",
        EventType::BulkMessageProgress => "A bulk has come further.",
        EventType::BulkMessageCompleted => "A bulk is complete.",
        EventType::BulkMessageError => "A bulk has failed.",
    }
}

/// Each event's schema by its name (`NewMessageEvent`).
pub fn schemas() -> Vec<(String, Value)> {
    EventType::ALL.into_iter().map(schema).collect()
}

fn schema(kind: EventType) -> (String, Value) {
    let name = pascal(kind.as_str());
    let says = match kind.is_state() {
        true => "A state event: one that a later one supersedes may be left out.",
        false => "A fact: never left out.",
    };
    let schema = json!({
        "type": "object",
        "title": format!("{name}Event"),
        "description": format!("{} {says}", description(kind)),
        "required": ["id", "type", "time", "data"],
        "properties": {
            "id": {"$ref": "#/components/schemas/Cursor"},
            "type": {"type": "string", "enum": [kind.as_str()]},
            "time": {"type": "string", "format": "date-time"},
            "data": {"$ref": format!("#/components/schemas/{name}Data")},
        },
    });
    (format!("{name}Event"), schema)
}

/// Any public event, told apart by `type`.
pub fn union() -> Value {
    let reference =
        |kind: EventType| format!("#/components/schemas/{}Event", pascal(kind.as_str()));
    let mapping: serde_json::Map<String, Value> = EventType::ALL
        .into_iter()
        .map(|kind| (kind.as_str().to_owned(), reference(kind).into()))
        .collect();
    let one_of: Vec<Value> =
        EventType::ALL.into_iter().map(|kind| json!({"$ref": reference(kind)})).collect();
    json!({
        "title": "PublicEvent",
        "description": "A public event. Types may be added: ignore those that you don't know.",
        "oneOf": one_of,
        "discriminator": {"propertyName": "type", "mapping": mapping},
    })
}

/// A cursor's schema.
pub fn cursor() -> Value {
    json!({
        "type": "string",
        "title": "Cursor",
        "description": "A place in the tenant's feed, the same on every transport and instance. \
                        Opaque: give it back as you got it.",
        "pattern": "^[A-Za-z0-9-]{1,64}$",
        "example": "k3v9q-184467-1",
    })
}
