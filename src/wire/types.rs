//! The types of PROTOCOL.md ("Types"), field by field. Times are RFC 3339 UTC with milliseconds;
//! an absent value is an explicit `null`.

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
        #[oai(rename_all = "snake_case")]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($variant),* }
    };
}

wire_enum!(
    /// Which way a message went.
    Direction { Inbound, Outbound }
);
wire_enum!(
    /// Who wrote a message.
    Sender { Contact, Agent, Bot, Bulk, System }
);
wire_enum!(
    /// What a message is.
    MessageType {
        Text, Image, Audio, Video, Document, Sticker, Location, Contacts, Interactive, Button,
        Reaction, Template, Order, System, Unsupported,
    }
);
wire_enum!(
    /// How far a message has come.
    MessageStatus { Received, Queued, Sent, Delivered, Read, Failed }
);
wire_enum!(
    /// What has become of the server's copy of a medium.
    MediaStatus { Pending, Stored, Failed }
);
wire_enum!(
    /// State of a conversation.
    ConversationStatus { Open, Pending, Closed }
);
wire_enum!(
    /// State of the bot.
    BotMode { Active, Paused, Error, Offline }
);
wire_enum!(
    /// State of the connection to WhatsApp.
    WhatsAppMode { Disconnected, Connecting, Qr, Connected, Error }
);
wire_enum!(
    /// State of a bulk.
    BulkStatus { Scheduled, Running, Paused, Completed, Cancelled, Failed }
);

/// A media attachment.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct Media {
    /// Its id, for `GET /v1/media/{id}`, which waits while it is `pending`. `null` when there is
    /// nothing that could be had.
    pub id: Option<String>,
    /// `pending`: being fetched from the provider. `stored`: here. `failed`: never will be.
    pub status: Option<MediaStatus>,
    pub mime_type: Option<String>,
    pub filename: Option<String>,
    /// In bytes, once it is stored.
    pub size: Option<u64>,
    /// SHA-256 of the bytes: as the provider told it, and once it is stored hexadecimal.
    pub sha256: Option<String>,
    /// A voice note.
    pub voice: bool,
    /// An animated sticker.
    pub animated: bool,
}

/// An error as the provider told it.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct MessageError {
    pub code: i64,
    pub title: String,
    pub detail: String,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub conversation_id: u32,
    pub client_id: u32,
    pub direction: Direction,
    pub sender: Sender,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: MessageType,
    pub text: Option<String>,
    pub media: Option<Media>,
    /// What the type has beyond text and media.
    pub payload: Option<Value>,
    /// Provider's id of the message it answers or reacts to.
    pub reply_to: Option<String>,
    /// What the sender gave with `POST …/messages` to recognise it.
    pub client_ref: Option<String>,
    pub bulk_id: Option<String>,
    pub status: MessageStatus,
    pub error: Option<MessageError>,
    pub wa_message_id: Option<String>,
    /// When it was written, by the provider.
    pub timestamp: String,
    /// When this server took it in.
    pub created_at: String,
    /// When its status last advanced.
    pub status_at: String,
}

/// What is known of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Contact {
    pub phone: Option<String>,
    pub name: Option<String>,
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
    pub username: Option<String>,
}

/// The newest message of a conversation.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct LastMessage {
    pub id: String,
    pub text: Option<String>,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: MessageType,
    pub direction: Direction,
    pub status: MessageStatus,
    pub timestamp: String,
}

/// A conversation with one contact.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct Conversation {
    pub id: u32,
    pub client_id: u32,
    pub contact: Contact,
    pub status: ConversationStatus,
    pub unread_count: u32,
    pub last_message: Option<LastMessage>,
    pub assigned_to: Option<String>,
    pub labels: Vec<String>,
    pub bot_enabled: bool,
    /// End of the 24 h service window, in which text may be sent without a template.
    pub window_expires_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// Today's counters, in the tenant's time zone.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct TodayStats {
    pub received: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
}

/// Conversations by state.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct ConversationStats {
    pub total: i64,
    pub open: i64,
    pub pending: i64,
    pub closed: i64,
    /// Conversations with unread messages.
    pub unread: i64,
}

/// A tenant's statistics.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct MessageStats {
    pub total_messages: i64,
    pub received: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
    /// Waiting to be sent now.
    pub queued: i64,
    pub today: TodayStats,
    pub conversations: ConversationStats,
    /// Delivered of sent, 0 to 1.
    pub delivery_rate: f64,
    /// Read of delivered, 0 to 1.
    pub read_rate: f64,
    pub avg_first_response_ms: Option<i64>,
    pub updated_at: String,
}

/// The bot's state.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct BotStatus {
    pub status: BotMode,
    pub reason: Option<String>,
    pub changed_by: Option<String>,
    pub changed_at: String,
}

/// The connection to WhatsApp.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct WhatsAppState {
    pub status: WhatsAppMode,
    pub phone_number: Option<String>,
    pub name: Option<String>,
    /// What to show as a QR code while `status` is `qr`.
    pub qr: Option<String>,
    pub quality: Option<String>,
    pub reason: Option<String>,
    pub changed_at: String,
}

/// A bulk sending.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct Bulk {
    pub id: String,
    pub name: String,
    pub status: BulkStatus,
    /// Recipients who got the message or are to get it: `sent + failed + in_doubt + waiting`.
    pub total: i64,
    /// Taken by WhatsApp and not failed; those delivered and read are among them.
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
    /// On their way to WhatsApp, or nobody knows whether they arrived there.
    pub in_doubt: i64,
    /// Not sent; of a bulk that has ended: were not sent.
    pub waiting: i64,
    /// Recipients who opted out or were erased, and are of no `total`.
    pub left_out: i64,
    pub rate_per_second: f64,
    /// Why it stopped by itself: what WhatsApp said of the number or the template.
    pub error: Option<MessageError>,
    pub scheduled_at: Option<String>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

/// All that a screen starts from; events that follow start right after `cursor`.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
pub struct Snapshot {
    pub cursor: String,
    pub conversations: Vec<Conversation>,
    pub stats: MessageStats,
    #[oai(rename = "botStatus")]
    #[serde(rename = "botStatus")]
    pub bot_status: BotStatus,
    #[oai(rename = "whatsappState")]
    #[serde(rename = "whatsappState")]
    pub whatsapp_state: WhatsAppState,
    pub bulks: Vec<Bulk>,
}
