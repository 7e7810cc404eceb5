//! Any event, over so few ids and keys that they collide all the time.

use proptest::prelude::*;

use super::{events::*, *};
use crate::domain::{
    bot::BotMode,
    conversation::{Contact, ConversationStatus},
    event::{ConversationChange, RequestAnswer, StatusChange},
    ids::IdentityHash,
    message::{MessageKind, MessageStatus, ProviderError, Sender},
    whatsapp::WhatsAppStatus,
};

pub(super) fn a_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (0..4_i64).prop_map(|hours| NOON.plus_ms(hours * HOUR_MS)),
        1 => any::<i64>().prop_map(Timestamp),
    ]
}

pub(super) fn nonsense() -> impl Strategy<Value = EventData> {
    prop_oneof![
        2 => (1..5_u32).prop_map(|id| opened(id, "Ana")),
        6 => nonsense_message(),
        2 => (nonsense_sender(), 1..5_u32, 1..6_u128).prop_map(|(sender, conversation, number)| {
            match queued(number, sender) {
                EventData::MessageQueued(mut queued) => {
                    queued.conversation_id = ConversationId(conversation);
                    EventData::MessageQueued(queued)
                }
                other => other,
            }
        }),
        1 => (1..6_u128).prop_map(send_started),
        1 => (1..6_u128).prop_map(send_released),
        1 => (1..6_u128).prop_map(send_doubted),
        6 => nonsense_status(),
        3 => nonsense_amendment(),
        2 => (1..5_u32, 1..5_u32).prop_map(|(from, into)| merged(from, into)),
        2 => nonsense_change(),
        1 => (1..5_u32).prop_map(|id| EventData::ConversationRead { conversation_id: ConversationId(id) }),
        2 => nonsense_of_tenant(),
    ]
}

fn nonsense_sender() -> impl Strategy<Value = Sender> {
    prop_oneof![
        Just(Sender::Contact),
        Just(Sender::Agent),
        Just(Sender::Bot),
        Just(Sender::Bulk),
        Just(Sender::System)
    ]
}

fn nonsense_kind() -> impl Strategy<Value = MessageKind> {
    prop_oneof![
        Just(MessageKind::Text),
        Just(MessageKind::Reaction),
        Just(MessageKind::System),
        Just(MessageKind::Unsupported)
    ]
}

fn any_status() -> impl Strategy<Value = MessageStatus> {
    prop_oneof![
        Just(MessageStatus::Received),
        Just(MessageStatus::Queued),
        Just(MessageStatus::Sent),
        Just(MessageStatus::Delivered),
        Just(MessageStatus::Read),
        Just(MessageStatus::Failed)
    ]
}

fn nonsense_message() -> impl Strategy<Value = EventData> {
    let ids = (1..5_u32, 1..6_u128, 1..6_u128);
    let rest = (nonsense_kind(), a_time(), any::<bool>(), proptest::option::of(any_status()));
    (ids, rest, any::<bool>()).prop_map(
        |((conversation, id, key_of), (kind, sent_at, imported, status), inbound)| {
            let mut message = incoming(conversation, id, sent_at);
            message.dedupe_key = key(key_of);
            message.kind = kind;
            message.imported = imported;
            message.status = status;
            message.by_api = !inbound && key_of % 2 == 0;
            if inbound {
                EventData::MessageReceived(message)
            } else {
                EventData::MessageEchoed(message)
            }
        },
    )
}

fn nonsense_status() -> impl Strategy<Value = EventData> {
    let names = (
        proptest::option::of(1..6_u128),
        proptest::option::of(1..6_u128),
        proptest::option::of(1..6_u128),
    );
    (names, a_time(), any::<Option<i64>>(), 0..4_usize).prop_map(
        |((id, dedupe, wa), at, code, status)| {
            let change = StatusChange {
                conversation_id: ConversationId(1),
                message_id: id.map(message_id),
                dedupe_key: dedupe.map(key),
                wa_message_id: wa.map(key),
                at,
                error: code.map(|code| ProviderError { code, ..error(0) }),
            };
            match status {
                0 => EventData::MessageSent(change),
                1 => EventData::MessageDelivered(change),
                2 => EventData::MessageRead(change),
                _ => EventData::MessageFailed(change),
            }
        },
    )
}

fn nonsense_amendment() -> impl Strategy<Value = EventData> {
    (1..9_u128, 1..6_u128, 1..5_u32, any::<Option<String>>(), a_time(), any::<(bool, bool)>())
        .prop_map(|(notice, target, conversation, text, at, (revoked, outbound))| {
            let mut amendment = amendment(notice, target, text.as_deref(), 0);
            amendment.conversation_id = ConversationId(conversation);
            amendment.at = at;
            amendment.outbound = outbound;
            if revoked {
                EventData::MessageRevoked(amendment)
            } else {
                EventData::MessageEdited(amendment)
            }
        })
}

fn nonsense_change() -> impl Strategy<Value = EventData> {
    let status = proptest::option::of(prop_oneof![
        Just(ConversationStatus::Open),
        Just(ConversationStatus::Pending),
        Just(ConversationStatus::Closed)
    ]);
    (1..5_u32, status, any::<Option<Option<bool>>>(), any::<Option<bool>>(), a_time()).prop_map(
        |(id, status, assigned, enabled, at)| {
            let conversation_id = ConversationId(id);
            match enabled {
                Some(allowed) if status.is_none() => {
                    EventData::MarketingPreferenceChanged { conversation_id, allowed, at }
                }
                None if status.is_none() => EventData::ContactChanged {
                    conversation_id,
                    contact: Contact { lid: Some(id.to_string()), ..Contact::default() },
                },
                bot_enabled => EventData::ConversationChanged {
                    conversation_id,
                    change: ConversationChange {
                        status,
                        assigned_to: assigned.map(|name| name.map(|name| name.to_string())),
                        labels: None,
                        bot_enabled,
                    },
                },
            }
        },
    )
}

fn nonsense_of_tenant() -> impl Strategy<Value = EventData> {
    prop_oneof![
        any::<bool>().prop_map(|active| EventData::BotStatusChanged {
            status: if active { BotMode::Active } else { BotMode::Paused },
            reason: None,
        }),
        any::<Option<bool>>().prop_map(|qr| EventData::WhatsappStateChanged {
            status: WhatsAppStatus::Qr,
            phone_number: None,
            name: None,
            qr: qr.map(|qr| qr.to_string()),
            quality: None,
            reason: None,
        }),
        ("(2026-11-2[0-9]|.{0,8})", any::<bool>()).prop_map(|(date, zone)| {
            EventData::DayStarted { date, time_zone: zone.to_string() }
        }),
        (0..3_u8, 1..5_u32).prop_map(|(hash, id)| EventData::IdentitiesLinked {
            conversation_id: ConversationId(id),
            identities: vec![IdentityHash([hash; 16])],
        }),
        (0..3_u8).prop_map(|key| EventData::RequestAnswered(RequestAnswer {
            key: key.to_string(),
            fingerprint: String::new(),
            status: 200,
            body: serde_json::Value::Null,
            conversation_id: None,
        })),
        Just(EventData::Unknown { event_type: "moon_landed".to_owned() }),
    ]
}
