//! From the domain to the final bytes of a public event (PROTOCOL.md, "Public event").
//!
//! A message's JSON is the costliest thing that the projector makes, so it is written straight
//! from the domain's own texts: the shapes here borrow, where those of [`crate::wire::types`]
//! own. **Invariant:** both serialize to the same bytes; the tests below hold that.

use std::io::Write;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::to_wire;
use crate::{
    domain::{
        bot::Bot,
        conversation::{Contact, Conversation, LastMessage},
        ids::{BulkId, ConversationId},
        message::{Media, Message, ProviderError},
        public::PublicEvent,
        stats::Stats,
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    wire::{cursor::Cursor, event_type::EventType, types as wire},
};

/// What every public event has before its `data`.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub epoch: &'a str,
    pub cursor: Cursor,
    /// When the domain event was taken in.
    pub time: Timestamp,
}

/// Replaces `out` by the JSON of a fact and says its type; `None` when `event` is a state event,
/// which is encoded when it is known to be the latest of its key.
pub fn fact(out: &mut Vec<u8>, envelope: Envelope<'_>, event: &PublicEvent) -> Option<EventType> {
    match event {
        PublicEvent::NewMessage { message, conversation } => {
            let data = NewMessageOut {
                message: message_out(message),
                conversation: conversation_out(conversation),
            };
            write_event(out, envelope, EventType::NewMessage, &data);
            Some(EventType::NewMessage)
        }
        PublicEvent::MessageStatusUpdated { message_id, conversation_id, status, error } => {
            let data = StatusUpdatedOut {
                message_id: message_id.0,
                conversation_id: conversation_id.0,
                status: to_wire::message_status(*status),
                error: error.as_ref().map(error_out),
            };
            write_event(out, envelope, EventType::MessageStatusUpdated, &data);
            Some(EventType::MessageStatusUpdated)
        }
        PublicEvent::BulkMessageCompleted { bulk_id, success_count, error_count } => {
            let data = BulkCompletedOut {
                success_count: *success_count,
                error_count: *error_count,
                bulk_id: bulk_id.0,
            };
            write_event(out, envelope, EventType::BulkMessageCompleted, &data);
            Some(EventType::BulkMessageCompleted)
        }
        PublicEvent::BulkMessageError { bulk_id, error } => {
            let data = BulkErrorOut { error, bulk_id: bulk_id.0 };
            write_event(out, envelope, EventType::BulkMessageError, &data);
            Some(EventType::BulkMessageError)
        }
        PublicEvent::ConversationUpdated { .. }
        | PublicEvent::BulkMessageProgress { .. }
        | PublicEvent::StatsUpdated
        | PublicEvent::BotStatusChanged
        | PublicEvent::WhatsappStatusChanged => None,
    }
}

/// Replaces `out` by a `conversation_updated`.
pub fn conversation_updated(out: &mut Vec<u8>, envelope: Envelope<'_>, now: &Conversation) {
    let data = ConversationUpdatedOut { conversation: conversation_out(now) };
    write_event(out, envelope, EventType::ConversationUpdated, &data);
}

/// What a `bulk_message_progress` tells.
#[derive(Debug, Clone, Copy)]
pub struct BulkProgress {
    pub bulk_id: BulkId,
    pub sent: i64,
    pub total: i64,
    pub current: Option<ConversationId>,
}

/// Replaces `out` by a `bulk_message_progress`. The conversation is told by its number and not by
/// the contact's name: the event is not of that conversation, whose erasure would not find it.
pub fn bulk_message_progress(out: &mut Vec<u8>, envelope: Envelope<'_>, now: &BulkProgress) {
    let progress = BulkProgressOut {
        sent: now.sent,
        total: now.total,
        current_conversation: now.current.map(|id| id.to_string()).unwrap_or_default(),
    };
    let data = BulkMessageProgressOut { progress, bulk_id: now.bulk_id.0 };
    write_event(out, envelope, EventType::BulkMessageProgress, &data);
}

/// Replaces `out` by a `stats_updated`.
pub fn stats_updated(out: &mut Vec<u8>, envelope: Envelope<'_>, now: &Stats) {
    let data = StatsUpdatedOut { stats: to_wire::stats(now) };
    write_event(out, envelope, EventType::StatsUpdated, &data);
}

/// Replaces `out` by a `bot_status_changed`.
pub fn bot_status_changed(out: &mut Vec<u8>, envelope: Envelope<'_>, now: &Bot) {
    let data = BotStatusOut { bot_status: to_wire::bot(now) };
    write_event(out, envelope, EventType::BotStatusChanged, &data);
}

/// Replaces `out` by a `whatsapp_status_changed`.
pub fn whatsapp_status_changed(out: &mut Vec<u8>, envelope: Envelope<'_>, now: &WhatsApp) {
    let data = WhatsappStateOut { whatsapp_state: to_wire::whatsapp(now) };
    write_event(out, envelope, EventType::WhatsappStatusChanged, &data);
}

fn write_event(out: &mut Vec<u8>, envelope: Envelope<'_>, kind: EventType, data: &impl Serialize) {
    out.clear();
    let Envelope { epoch, cursor, time } = envelope;
    // Writing to a `Vec` can't fail, nor can these shapes: no map with keys other than strings.
    let _ = write!(
        out,
        r#"{{"id":"{}","type":"{}","time":"{}","data":"#,
        cursor.display(epoch),
        kind.as_str(),
        Rfc3339::new(time).as_str(),
    );
    let _ = serde_json::to_writer(&mut *out, data);
    out.push(b'}');
}

#[derive(Serialize)]
struct NewMessageOut<'a> {
    message: MessageOut<'a>,
    conversation: ConversationOut<'a>,
}

#[derive(Serialize)]
struct StatusUpdatedOut<'a> {
    message_id: Uuid,
    conversation_id: u32,
    status: wire::MessageStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorOut<'a>>,
}

#[derive(Serialize)]
struct ConversationUpdatedOut<'a> {
    conversation: ConversationOut<'a>,
}

#[derive(Serialize)]
struct StatsUpdatedOut {
    stats: wire::MessageStats,
}

#[derive(Serialize)]
struct BotStatusOut {
    #[serde(rename = "botStatus")]
    bot_status: wire::BotStatus,
}

#[derive(Serialize)]
struct WhatsappStateOut {
    #[serde(rename = "whatsappState")]
    whatsapp_state: wire::WhatsAppState,
}

#[derive(Serialize)]
struct BulkMessageProgressOut {
    progress: BulkProgressOut,
    bulk_id: Uuid,
}

#[derive(Serialize)]
struct BulkProgressOut {
    sent: i64,
    total: i64,
    #[serde(rename = "currentConversation")]
    current_conversation: String,
}

#[derive(Serialize)]
struct BulkCompletedOut {
    #[serde(rename = "successCount")]
    success_count: i64,
    #[serde(rename = "errorCount")]
    error_count: i64,
    bulk_id: Uuid,
}

#[derive(Serialize)]
struct BulkErrorOut<'a> {
    error: &'a str,
    bulk_id: Uuid,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    id: Uuid,
    conversation_id: u32,
    client_id: u32,
    direction: wire::Direction,
    sender: wire::Sender,
    #[serde(rename = "type")]
    kind: wire::MessageType,
    text: Option<&'a str>,
    media: Option<MediaOut<'a>>,
    payload: Option<&'a Map<String, Value>>,
    reply_to: Option<&'a str>,
    client_ref: Option<&'a str>,
    bulk_id: Option<Uuid>,
    status: wire::MessageStatus,
    error: Option<ErrorOut<'a>>,
    wa_message_id: Option<&'a str>,
    timestamp: Rfc3339,
    created_at: Rfc3339,
    status_at: Rfc3339,
}

fn message_out(message: &Message) -> MessageOut<'_> {
    MessageOut {
        id: message.id.0,
        conversation_id: message.conversation_id.0,
        client_id: message.client_id.0,
        direction: to_wire::direction(message.direction),
        sender: to_wire::sender(message.sender),
        kind: to_wire::message_type(message.kind),
        text: message.text.as_deref(),
        media: message.media.as_ref().map(media_out),
        payload: message.payload.as_ref(),
        reply_to: message.reply_to.as_deref(),
        client_ref: message.client_ref.as_deref(),
        bulk_id: message.bulk_id.map(|id| id.0),
        status: to_wire::message_status(message.status),
        error: message.error.as_ref().map(error_out),
        wa_message_id: message.wa_message_id.as_deref(),
        timestamp: Rfc3339::new(message.timestamp),
        created_at: Rfc3339::new(message.created_at),
        status_at: Rfc3339::new(message.status_at),
    }
}

#[derive(Serialize)]
struct MediaOut<'a> {
    id: Option<Uuid>,
    status: Option<wire::MediaStatus>,
    mime_type: Option<&'a str>,
    filename: Option<&'a str>,
    size: Option<u64>,
    sha256: Option<&'a str>,
    voice: bool,
    animated: bool,
}

fn media_out(media: &Media) -> MediaOut<'_> {
    MediaOut {
        id: media.copy.map(|copy| copy.id.0),
        status: media.copy.map(|copy| to_wire::media_status(copy.state)),
        mime_type: media.mime_type.as_deref(),
        filename: media.filename.as_deref(),
        size: media.copy.and_then(|copy| copy.size),
        sha256: media.sha256.as_deref(),
        voice: media.voice,
        animated: media.animated,
    }
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: i64,
    title: &'a str,
    detail: &'a str,
}

fn error_out(error: &ProviderError) -> ErrorOut<'_> {
    ErrorOut { code: error.code, title: &error.title, detail: &error.detail }
}

#[derive(Serialize)]
struct ConversationOut<'a> {
    id: u32,
    client_id: u32,
    contact: ContactOut<'a>,
    status: wire::ConversationStatus,
    unread_count: u32,
    last_message: Option<LastMessageOut<'a>>,
    assigned_to: Option<&'a str>,
    labels: &'a [String],
    bot_enabled: bool,
    window_expires_at: Option<Rfc3339>,
    created_at: Rfc3339,
    updated_at: Rfc3339,
}

fn conversation_out(conversation: &Conversation) -> ConversationOut<'_> {
    ConversationOut {
        id: conversation.id.0,
        client_id: conversation.client_id.0,
        contact: contact_out(&conversation.contact),
        status: to_wire::conversation_status(conversation.status),
        unread_count: conversation.unread_count,
        last_message: conversation.last_message.as_ref().map(last_message_out),
        assigned_to: conversation.assigned_to.as_deref(),
        labels: &conversation.labels,
        bot_enabled: conversation.bot_enabled,
        window_expires_at: conversation.window_expires_at.map(Rfc3339::new),
        created_at: Rfc3339::new(conversation.created_at),
        updated_at: Rfc3339::new(conversation.updated_at),
    }
}

#[derive(Serialize)]
struct ContactOut<'a> {
    phone: Option<&'a str>,
    name: Option<&'a str>,
    wa_id: Option<&'a str>,
    user_id: Option<&'a str>,
    username: Option<&'a str>,
}

fn contact_out(contact: &Contact) -> ContactOut<'_> {
    ContactOut {
        phone: contact.phone.as_deref(),
        name: contact.name.as_deref(),
        wa_id: contact.wa_id.as_deref(),
        user_id: contact.user_id.as_deref(),
        username: contact.username.as_deref(),
    }
}

#[derive(Serialize)]
struct LastMessageOut<'a> {
    id: Uuid,
    text: Option<&'a str>,
    #[serde(rename = "type")]
    kind: wire::MessageType,
    direction: wire::Direction,
    status: wire::MessageStatus,
    timestamp: Rfc3339,
}

fn last_message_out(message: &LastMessage) -> LastMessageOut<'_> {
    LastMessageOut {
        id: message.id.0,
        text: message.text.as_deref(),
        kind: to_wire::message_type(message.kind),
        direction: to_wire::direction(message.direction),
        status: to_wire::message_status(message.status),
        timestamp: Rfc3339::new(message.timestamp),
    }
}

/// A time as [`Timestamp`]'s `Display` writes it, some ten times faster: seven of them stand in
/// every `new_message`. `Err` holds what is outside of the years 1970 to 9999, written slowly.
struct Rfc3339(Result<[u8; 24], String>);

impl Rfc3339 {
    fn new(time: Timestamp) -> Self {
        const YEAR_10000_MS: i64 = 253_402_300_800_000;
        if !(0..YEAR_10000_MS).contains(&time.0) {
            return Self(Err(time.to_string()));
        }
        let (day, in_day) = (time.0 / 86_400_000, time.0 % 86_400_000);
        let (year, month, day) = civil_from_days(day);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], in_day / 3_600_000);
        digits(&mut text[14..16], in_day / 60_000 % 60);
        digits(&mut text[17..19], in_day / 1000 % 60);
        digits(&mut text[20..23], in_day % 1000);
        Self(Ok(text))
    }

    fn as_str(&self) -> &str {
        match &self.0 {
            Ok(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Err(text) => text,
        }
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of the `days`th day after 1 January 1970. Counts from 1 March of the year
/// 0, so that the leap day is the last of its year and months have a regular length.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        domain::ids::{ConversationId, MessageId, Position},
        projection::fixtures,
    };

    const AT: Envelope<'_> = Envelope {
        epoch: "k3v9q",
        cursor: Cursor { position: Position(184_467), ordinal: 1 },
        time: Timestamp(1_795_515_330_123),
    };

    /// The envelope around `data`, made without any of the code above.
    fn event(kind: &str, data: &impl Serialize) -> String {
        let data = serde_json::to_string(data).unwrap();
        format!(
            r#"{{"id":"k3v9q-184467-1","type":"{kind}","time":"2026-11-24T10:15:30.123Z","data":{data}}}"#
        )
    }

    #[test]
    fn a_new_message_has_the_bytes_of_its_wire_types() {
        for (message, conversation) in
            [fixtures::full(), (fixtures::bare_message(), fixtures::bare_conversation())]
        {
            #[derive(Serialize)]
            struct Data {
                message: wire::Message,
                conversation: wire::Conversation,
            }
            let data = Data {
                message: to_wire::message(&message),
                conversation: to_wire::conversation(&conversation),
            };
            let mut out = Vec::new();
            let new = PublicEvent::NewMessage {
                message: message.into(),
                conversation: conversation.into(),
            };
            assert_eq!(fact(&mut out, AT, &new), Some(EventType::NewMessage));
            assert_eq!(String::from_utf8(out).unwrap(), event("new_message", &data));
        }
    }

    #[test]
    fn a_status_has_an_error_only_when_there_is_one() {
        let (message, _) = fixtures::full();
        let mut out = Vec::new();
        let mut status = |error: Option<ProviderError>| {
            let update = PublicEvent::MessageStatusUpdated {
                message_id: MessageId(Uuid::from_u128(7)),
                conversation_id: ConversationId(3),
                status: message.status,
                error,
            };
            assert_eq!(fact(&mut out, AT, &update), Some(EventType::MessageStatusUpdated));
            serde_json::from_slice::<Value>(&out).unwrap()["data"].clone()
        };
        let id = Uuid::from_u128(7).to_string();
        assert_eq!(
            status(None),
            json!({"message_id": id, "conversation_id": 3, "status": "failed"})
        );
        assert_eq!(
            status(message.error.clone())["error"],
            json!({"code": 131_049, "title": "Not delivered", "detail": "Healthy ecosystem"})
        );
    }

    #[test]
    fn state_events_have_the_bytes_of_their_wire_types() {
        let (_, conversation) = fixtures::full();
        let tenant = fixtures::tenant();
        let mut out = Vec::new();
        conversation_updated(&mut out, AT, &conversation);
        let data = json!({"conversation": 0}).to_string();
        let wire = serde_json::to_string(&to_wire::conversation(&conversation)).unwrap();
        let whole =
            event("conversation_updated", &Value::Null).replace("null", &data.replace('0', &wire));
        assert_eq!(String::from_utf8(out.clone()).unwrap(), whole);

        stats_updated(&mut out, AT, &tenant.stats);
        let seen: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(seen["data"]["stats"]["delivery_rate"], json!(0.6667));
        assert_eq!(seen["data"]["stats"]["avg_first_response_ms"], json!(1500));

        bot_status_changed(&mut out, AT, &tenant.bot);
        let seen: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(seen["data"]["botStatus"]["status"], "paused");

        whatsapp_status_changed(&mut out, AT, &tenant.whatsapp);
        let seen: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(seen["data"]["whatsappState"]["qr"], "2@abc");
        assert_eq!(seen["id"], "k3v9q-184467-1");
    }

    #[test]
    fn rates_are_of_something_and_at_most_one() {
        let mut stats = Stats::default();
        assert_eq!(to_wire::stats(&stats).delivery_rate, 0.0);
        assert_eq!(to_wire::stats(&stats).avg_first_response_ms, None);
        stats.totals.sent = 1;
        stats.totals.delivered = 3;
        assert_eq!(to_wire::stats(&stats).delivery_rate, 1.0);
    }

    proptest! {
        #[test]
        fn times_are_written_as_display_does(milliseconds in -100_000_000_000_000i64..300_000_000_000_000) {
            let time = Timestamp(milliseconds);
            prop_assert_eq!(Rfc3339::new(time).as_str().to_owned(), time.to_string());
        }
    }
}
