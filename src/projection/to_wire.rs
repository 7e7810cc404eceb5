//! From what the domain knows to what clients see (PROTOCOL.md, "Types").
//!
//! Used by the queries and the API. The feed's bytes are written by [`super::encode`], which
//! holds the same shapes without owning their texts; a test keeps the two alike.

use crate::{
    domain::{
        bot::{Bot, BotMode},
        bulk::{Bulk, BulkStatus},
        conversation::{Contact, Conversation, ConversationStatus, LastMessage},
        message::{
            CopyState, Direction, Media, Message, MessageKind, MessageStatus, ProviderError, Sender,
        },
        stats::Stats,
        whatsapp::{WhatsApp, WhatsAppStatus},
    },
    wire::types as wire,
};

macro_rules! same_variants {
    ($($function:ident: $from:ident => $to:ident { $($variant:ident),* $(,)? })*) => {$(
        pub fn $function(value: $from) -> wire::$to {
            match value { $($from::$variant => wire::$to::$variant),* }
        }
    )*};
}

same_variants! {
    direction: Direction => Direction { Inbound, Outbound }
    sender: Sender => Sender { Contact, Agent, Bot, Bulk, System }
    message_type: MessageKind => MessageType {
        Text, Image, Audio, Video, Document, Sticker, Location, Contacts, Interactive, Button,
        Reaction, Template, Order, System, Unsupported,
    }
    message_status: MessageStatus => MessageStatus {
        Received, Queued, Sent, Delivered, Read, Failed,
    }
    media_status: CopyState => MediaStatus { Pending, Stored, Failed }
    conversation_status: ConversationStatus => ConversationStatus { Open, Pending, Closed }
    bot_mode: BotMode => BotMode { Active, Paused, Error, Offline }
    bulk_status: BulkStatus => BulkStatus {
        Scheduled, Running, Paused, Completed, Cancelled, Failed,
    }
    whatsapp_mode: WhatsAppStatus => WhatsAppMode {
        Disconnected, Connecting, Qr, Connected, Error,
    }
}

pub fn message(message: &Message) -> wire::Message {
    wire::Message {
        id: message.id.to_string(),
        conversation_id: message.conversation_id.0,
        client_id: message.client_id.0,
        direction: direction(message.direction),
        sender: sender(message.sender),
        kind: message_type(message.kind),
        text: message.text.clone(),
        media: message.media.as_ref().map(media),
        payload: message.payload.clone().map(serde_json::Value::Object),
        reply_to: message.reply_to.clone(),
        client_ref: message.client_ref.clone(),
        bulk_id: message.bulk_id.map(|id| id.to_string()),
        status: message_status(message.status),
        error: message.error.as_ref().map(message_error),
        wa_message_id: message.wa_message_id.clone(),
        timestamp: message.timestamp.to_string(),
        created_at: message.created_at.to_string(),
        status_at: message.status_at.to_string(),
    }
}

pub fn media(media: &Media) -> wire::Media {
    wire::Media {
        id: media.copy.map(|copy| copy.id.to_string()),
        status: media.copy.map(|copy| media_status(copy.state)),
        mime_type: media.mime_type.clone(),
        filename: media.filename.clone(),
        size: media.copy.and_then(|copy| copy.size),
        sha256: media.sha256.clone(),
        voice: media.voice,
        animated: media.animated,
    }
}

pub fn message_error(error: &ProviderError) -> wire::MessageError {
    wire::MessageError {
        code: error.code,
        title: error.title.clone(),
        detail: error.detail.clone(),
    }
}

pub fn conversation(conversation: &Conversation) -> wire::Conversation {
    wire::Conversation {
        id: conversation.id.0,
        client_id: conversation.client_id.0,
        contact: contact(&conversation.contact),
        status: conversation_status(conversation.status),
        unread_count: conversation.unread_count,
        last_message: conversation.last_message.as_ref().map(last_message),
        assigned_to: conversation.assigned_to.clone(),
        labels: conversation.labels.clone(),
        bot_enabled: conversation.bot_enabled,
        window_expires_at: conversation.window_expires_at.map(|time| time.to_string()),
        created_at: conversation.created_at.to_string(),
        updated_at: conversation.updated_at.to_string(),
    }
}

pub fn contact(contact: &Contact) -> wire::Contact {
    wire::Contact {
        phone: contact.phone.clone(),
        name: contact.name.clone(),
        wa_id: contact.wa_id.clone(),
        user_id: contact.user_id.clone(),
        username: contact.username.clone(),
    }
}

pub fn last_message(message: &LastMessage) -> wire::LastMessage {
    wire::LastMessage {
        id: message.id.to_string(),
        text: message.text.clone(),
        kind: message_type(message.kind),
        direction: direction(message.direction),
        status: message_status(message.status),
        timestamp: message.timestamp.to_string(),
    }
}

pub fn stats(stats: &Stats) -> wire::MessageStats {
    wire::MessageStats {
        total_messages: stats.total_messages,
        received: stats.totals.received,
        sent: stats.totals.sent,
        delivered: stats.totals.delivered,
        read: stats.totals.read,
        failed: stats.totals.failed,
        queued: stats.queued,
        today: wire::TodayStats {
            received: stats.today.received,
            sent: stats.today.sent,
            delivered: stats.today.delivered,
            read: stats.today.read,
            failed: stats.today.failed,
        },
        conversations: wire::ConversationStats {
            total: stats.conversations.total,
            open: stats.conversations.open,
            pending: stats.conversations.pending,
            closed: stats.conversations.closed,
            unread: stats.conversations.unread,
        },
        delivery_rate: rate(stats.totals.delivered, stats.totals.sent),
        read_rate: rate(stats.totals.read, stats.totals.delivered),
        avg_first_response_ms: (stats.first_responses > 0)
            .then(|| stats.first_response_sum_ms / stats.first_responses),
        updated_at: stats.updated_at.to_string(),
    }
}

/// `part` of `whole`, 0 to 1, in ten thousandths; 0 of nothing.
fn rate(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        return 0.0;
    }
    let exact = (part as f64 / whole as f64).clamp(0.0, 1.0);
    (exact * 10_000.0).round() / 10_000.0
}

pub fn bot(bot: &Bot) -> wire::BotStatus {
    wire::BotStatus {
        status: bot_mode(bot.status),
        reason: bot.reason.clone(),
        changed_by: bot.changed_by.clone(),
        changed_at: bot.changed_at.to_string(),
    }
}

pub fn whatsapp(whatsapp: &WhatsApp) -> wire::WhatsAppState {
    wire::WhatsAppState {
        status: whatsapp_mode(whatsapp.status),
        phone_number: whatsapp.phone_number.clone(),
        name: whatsapp.name.clone(),
        qr: whatsapp.qr.clone(),
        quality: whatsapp.quality.clone(),
        reason: whatsapp.reason.clone(),
        changed_at: whatsapp.changed_at.to_string(),
    }
}

pub fn bulk(bulk: &Bulk) -> wire::Bulk {
    let progress = &bulk.progress;
    wire::Bulk {
        id: bulk.id.to_string(),
        name: bulk.spec.name.clone(),
        status: bulk_status(progress.status),
        total: bulk.total(),
        sent: progress.counts.sent,
        delivered: progress.counts.delivered,
        read: progress.counts.read,
        failed: progress.counts.failed,
        in_doubt: progress.counts.in_doubt,
        waiting: bulk.waiting(),
        left_out: progress.left_out.into(),
        rate_per_second: bulk.spec.rate_per_second,
        error: progress.refusal.as_ref().map(message_error),
        scheduled_at: bulk.spec.scheduled_at.map(|time| time.to_string()),
        started_at: progress.started_at.map(|time| time.to_string()),
        finished_at: progress.finished_at.map(|time| time.to_string()),
    }
}
