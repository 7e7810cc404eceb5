//! Logs of the domain's events: random ones, with all that may go wrong on the way in.

use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        bot::BotMode,
        bulk::{
            self, BulkBatch, BulkSpec, LeftOut, LeftOutReason, Recipient, RecipientPart,
            content::BulkContent,
        },
        conversation::{Contact, ConversationStatus},
        event::{
            ConversationChange, Erasure, Event, EventData, IncomingMessage, KeptNumbers,
            MessageAmendment, QueuedMessage, RequestAnswer, StatusChange,
        },
        ids::{BulkId, ClientId, ConversationId, EventId, IdentityHash, MessageId, Position},
        message::{Media, MediaFailure, MessageKind, ProviderError, Sender, StoredMedia},
        stats::Counts,
        time::Timestamp,
        whatsapp::WhatsAppStatus,
    },
    event_log::{Record, Revision, StreamName},
    projection::fixtures::NOON,
};

const TENANTS: u32 = 2;
const CONVERSATIONS: u32 = 5;
const MESSAGES: u128 = 40;

/// A record of an event that needs nothing but its content.
pub(super) fn record(position: u64, client: u32, data: EventData) -> Record {
    let client = ClientId(client);
    Record {
        position: Position(position),
        revision: Revision(position),
        stream: StreamName::Tenant(client),
        event: Arc::new(Event {
            id: EventId(Uuid::from_u128(position.into())),
            client_id: client,
            time: NOON.plus_ms(position as i64 * 100),
            actor: "user:7".to_owned(),
            causation: None,
            data,
        }),
    }
}

/// A text from a contact.
pub(super) fn received(conversation: u32, number: u128, text: &str) -> EventData {
    EventData::MessageReceived(IncomingMessage {
        conversation_id: ConversationId(conversation),
        message_id: MessageId(Uuid::from_u128(number)),
        wa_message_id: format!("wamid.{number}"),
        dedupe_key: format!("wamid.{number}"),
        kind: MessageKind::Text,
        text: Some(text.to_owned()),
        media: None,
        payload: None,
        reply_to: None,
        sent_at: NOON.plus_ms(number as i64 * 1000),
        imported: false,
        status: None,
        by_api: false,
    })
}

/// `count` events, the same for the same `seed`: few tenants, contacts and messages, so that
/// they meet; repetitions, statuses before their message, edits of what is not there, merges.
pub(super) fn random_log(seed: u64, count: usize) -> Vec<Record> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut position = 0;
    (0..count)
        .map(|_| {
            position += random.random_range(1..4);
            let client = random.random_range(1..=TENANTS);
            record(position, client, random_data(&mut random))
        })
        .collect()
}

fn random_data(random: &mut SmallRng) -> EventData {
    let conversation_id = ConversationId(random.random_range(1..=CONVERSATIONS));
    if random.random_ratio(1, 80) {
        return EventData::PersonalDataErased(erasure(random, conversation_id));
    }
    match random.random_range(0..30) {
        0 => EventData::ConversationOpened {
            conversation_id,
            contact: contact(random),
            at: random.random_bool(0.5).then(|| moment(random)),
        },
        1 => EventData::ContactChanged {
            conversation_id,
            contact: contact(random),
            at: random.random_bool(0.5).then(|| moment(random)),
        },
        2..=5 => EventData::MessageReceived(incoming(random, conversation_id)),
        6 => EventData::MessageEchoed(incoming(random, conversation_id)),
        7 | 8 => EventData::MessageQueued(queued(random, conversation_id)),
        9 => EventData::SendStarted { conversation_id, message_id: message_id(random) },
        10 => EventData::MessageSent(status(random, conversation_id)),
        11 => EventData::MessageDelivered(status(random, conversation_id)),
        12 => EventData::MessageRead(status(random, conversation_id)),
        13 => EventData::MessageFailed(status(random, conversation_id)),
        14 => EventData::MessageEdited(amendment(random, conversation_id, Some("corregido"))),
        15 => EventData::MessageRevoked(amendment(random, conversation_id, None)),
        16 => EventData::ConversationChanged {
            conversation_id,
            change: ConversationChange {
                status: random.random_bool(0.5).then_some(ConversationStatus::Closed),
                assigned_to: random.random_bool(0.3).then(|| Some("agent".to_owned())),
                labels: random.random_bool(0.3).then(|| vec!["vip".to_owned()]),
                bot_enabled: random.random_bool(0.3).then_some(false),
            },
        },
        17 => EventData::ConversationRead { conversation_id },
        18 => tenant_data(random),
        19 => directory_data(random, conversation_id),
        21 => EventData::MediaStored {
            conversation_id,
            message_id: message_id(random),
            media: StoredMedia {
                mime_type: "image/png".to_owned(),
                size: random.random_range(1..99),
                sha256: "ab".to_owned(),
            },
        },
        22 => match random.random_bool(0.5) {
            true => EventData::MediaFailed {
                conversation_id,
                message_id: message_id(random),
                reason: MediaFailure::Gone,
            },
            false => EventData::ErasureCompleted { conversation_id },
        },
        20 => EventData::MarketingPreferenceChanged {
            conversation_id,
            allowed: random.random_bool(0.5),
            at: moment(random),
        },
        23..=28 => bulk_data(random, conversation_id),
        _ => EventData::RequestAnswered(RequestAnswer {
            key: format!("key-{}", random.random_range(0..5)),
            fingerprint: format!("{}", random.random_range(0..99)),
            status: 202,
            body: json!({"id": 7.25}),
            events_before: 1,
            conversation_id: Some(conversation_id),
        }),
    }
}

/// Of one of two bulks, and the events of their messages. In any order, as no log has them.
fn bulk_data(random: &mut SmallRng, conversation_id: ConversationId) -> EventData {
    const RECIPIENTS: u32 = 6;
    let bulk_id = BulkId(Uuid::from_u128((1 + random.random_range(0..2u128)) << 20));
    let number = random.random_range(0..RECIPIENTS);
    let message_id = bulk::message_id(bulk_id, number);
    let of_message = |random: &mut SmallRng| StatusChange {
        message_id: Some(message_id),
        ..status(random, conversation_id)
    };
    match random.random_range(0..14) {
        0 => EventData::BulkCreated {
            bulk_id,
            spec: BulkSpec {
                name: "oferta".to_owned(),
                content: BulkContent::Text { text: "Hola {{name}}".to_owned() },
                columns: Vec::new(),
                recipients: RECIPIENTS,
                rate_per_second: 12.5,
                scheduled_at: random.random_bool(0.3).then_some(NOON),
            },
        },
        1 => EventData::BulkRecipientsAdded(RecipientPart {
            bulk_id,
            part: random.random_range(0..3),
            first: random.random_range(0..2) * 3,
            recipients: (0..3).map(|_| recipient(random)).collect(),
        }),
        2 => EventData::BulkBatchStarted(BulkBatch {
            bulk_id,
            first: number,
            count: random.random_range(0..4),
            left_out: vec![LeftOut { number, reason: LeftOutReason::OptedOut }],
            paced_to_us: random.random_range(0..9_000_000),
        }),
        3 | 4 => EventData::MessageQueued(QueuedMessage {
            message_id,
            bulk_id: Some(bulk_id),
            sender: Sender::Bulk,
            ..queued(random, conversation_id)
        }),
        5 => EventData::SendStarted { conversation_id, message_id },
        6 => EventData::MessageSent(of_message(random)),
        7 => EventData::MessageRead(of_message(random)),
        8 => EventData::MessageFailed(of_message(random)),
        9 => EventData::BulkPaused { bulk_id },
        10 => EventData::BulkResumed { bulk_id },
        11 if random.random_bool(0.3) => EventData::BulkCompleted { bulk_id },
        12 if random.random_bool(0.5) => EventData::BulkFailed {
            bulk_id,
            error: ProviderError {
                code: 132_015,
                title: "Template is paused".to_owned(),
                detail: String::new(),
            },
        },
        13 if random.random_bool(0.3) => EventData::BulkCancelled { bulk_id },
        _ => EventData::BulkStarted { bulk_id },
    }
}

fn recipient(random: &mut SmallRng) -> Recipient {
    Recipient {
        phone: format!("+54911555500{:02}", random.random_range(0..99)),
        name: random.random_bool(0.5).then(|| "Ana \"la\" Ñ".to_owned()),
        values: Vec::new(),
    }
}

/// Of one conversation, or of two that need not have been merged.
fn erasure(random: &mut SmallRng, conversation_id: ConversationId) -> Erasure {
    let other = ConversationId(random.random_range(1..=CONVERSATIONS));
    let mut conversations = vec![conversation_id];
    if other != conversation_id && random.random_bool(0.5) {
        conversations.push(other);
    }
    let one = Counts { received: 1, ..Counts::ZERO };
    Erasure {
        conversations,
        kept: KeptNumbers {
            messages: 1,
            totals: one,
            today: one,
            hours: vec![(NOON, one)],
            ..KeptNumbers::default()
        },
        // Some that there are, so that both ways of finding what was published are taken.
        positions: random.random_bool(0.3).then(|| (1..2000).map(Position).collect()),
        ..Erasure::default()
    }
}

fn tenant_data(random: &mut SmallRng) -> EventData {
    match random.random_range(0..5) {
        0 => EventData::BotStatusChanged {
            status: if random.random_bool(0.5) { BotMode::Active } else { BotMode::Paused },
            reason: random.random_bool(0.5).then(|| "noche".to_owned()),
        },
        1 => EventData::WhatsappStateChanged {
            status: WhatsAppStatus::Connected,
            phone_number: Some("+5491155550000".to_owned()),
            name: None,
            qr: None,
            quality: random.random_bool(0.5).then(|| "GREEN".to_owned()),
            reason: None,
            at: random.random_bool(0.5).then(|| moment(random)),
        },
        2 => EventData::DayStarted {
            date: format!("2026-11-{:02}", random.random_range(1..=28)),
            time_zone: "America/Argentina/Buenos_Aires".to_owned(),
        },
        3 => EventData::AnswersForgotten { before: moment(random) },
        _ => EventData::Unknown { event_type: "later_release".to_owned() },
    }
}

fn directory_data(random: &mut SmallRng, conversation_id: ConversationId) -> EventData {
    let identities = vec![IdentityHash([random.random_range(0..6); 16])];
    if random.random_bool(0.7) {
        return EventData::ContactRegistered { conversation_id, identities };
    }
    let into = ConversationId(random.random_range(1..=CONVERSATIONS));
    EventData::ContactsMerged { from: conversation_id, into, identities }
}

fn incoming(random: &mut SmallRng, conversation_id: ConversationId) -> IncomingMessage {
    let number = random.random_range(0..MESSAGES);
    let reaction = random.random_bool(0.1);
    IncomingMessage {
        conversation_id,
        message_id: MessageId(Uuid::from_u128(1000 + number)),
        wa_message_id: format!("wamid.{number}"),
        dedupe_key: format!("wamid.{number}"),
        kind: if reaction { MessageKind::Reaction } else { MessageKind::Text },
        text: Some(format!("mensaje número {number} de prueba")),
        media: random.random_bool(0.2).then(|| Media {
            id: Some("m".to_owned()),
            voice: true,
            ..Media::default()
        }),
        payload: random
            .random_bool(0.2)
            .then(|| json!({"latitude": -34.5, "name": "Café"}).as_object().cloned())
            .flatten(),
        reply_to: random.random_bool(0.2).then(|| "wamid.1".to_owned()),
        sent_at: moment(random),
        imported: random.random_bool(0.1),
        status: None,
        by_api: random.random_bool(0.5),
    }
}

fn queued(random: &mut SmallRng, conversation_id: ConversationId) -> QueuedMessage {
    QueuedMessage {
        conversation_id,
        message_id: message_id(random),
        sender: if random.random_bool(0.5) { Sender::Agent } else { Sender::Bot },
        kind: MessageKind::Text,
        text: Some("respuesta".to_owned()),
        media: None,
        payload: None,
        reply_to: None,
        client_ref: Some("ref".to_owned()),
        bulk_id: None,
    }
}

fn status(random: &mut SmallRng, conversation_id: ConversationId) -> StatusChange {
    let key = format!("wamid.{}", random.random_range(0..MESSAGES));
    let by_id = random.random_bool(0.5);
    StatusChange {
        conversation_id,
        message_id: by_id.then(|| message_id(random)),
        dedupe_key: random.random_bool(0.8).then(|| key.clone()),
        wa_message_id: random.random_bool(0.8).then_some(key),
        at: moment(random),
        error: random.random_bool(0.3).then(|| ProviderError {
            code: 131_049,
            title: "title".to_owned(),
            detail: "detail".to_owned(),
        }),
    }
}

fn amendment(
    random: &mut SmallRng,
    conversation_id: ConversationId,
    text: Option<&str>,
) -> MessageAmendment {
    let number = random.random_range(0..30u128);
    MessageAmendment {
        conversation_id,
        message_id: MessageId(Uuid::from_u128(5000 + number)),
        dedupe_key: format!("notice.{number}"),
        target: format!("wamid.{}", random.random_range(0..MESSAGES)),
        text: text.map(str::to_owned),
        outbound: random.random_bool(0.2),
        at: moment(random),
    }
}

fn contact(random: &mut SmallRng) -> Contact {
    Contact {
        phone: random.random_bool(0.7).then(|| "+5491155550000".to_owned()),
        name: random.random_bool(0.7).then(|| format!("Ana {}", random.random_range(0..9))),
        ..Contact::default()
    }
}

fn message_id(random: &mut SmallRng) -> MessageId {
    MessageId(Uuid::from_u128(3000 + random.random_range(0..MESSAGES / 2)))
}

fn moment(random: &mut SmallRng) -> Timestamp {
    NOON.plus_ms(random.random_range(-5_000_000..5_000_000) / 1000 * 1000)
}
