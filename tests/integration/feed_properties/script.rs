//! What happens in a story: events of two tenants over few ids, so that they meet, and what is
//! done to followers and instances meanwhile.

use condorito::{
    domain::{
        bot::BotMode,
        conversation::{Contact, ConversationStatus},
        event::{
            ConversationChange, Event, EventData, IncomingMessage, MessageAmendment, QueuedMessage,
            StatusChange,
        },
        ids::{ClientId, ConversationId, EventId, MessageId},
        message::{MessageKind, Sender},
        time::Timestamp,
        whatsapp::WhatsAppStatus,
    },
    feed::{
        filter::{Filter, Types},
        frame::Encoding,
    },
    wire::event_type::EventType,
};
use proptest::{collection::vec, option, prelude::*, sample::Index, sample::subsequence};
use uuid::Uuid;

use super::{
    CLIENTS,
    follower::{Loss, Plan},
    instance::Size,
};

/// When the stories begin.
pub(super) const NOON: Timestamp = Timestamp(1_795_521_600_000);

#[derive(Debug, Clone)]
pub(super) struct Story {
    pub sizes: [Size; 2],
    pub followers: Vec<Plan>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(Vec<Happening>),
    Pull {
        who: Index,
        bytes: usize,
        events: u32,
        times: u8,
    },
    Lose {
        who: Index,
        loss: Loss,
    },
    Move {
        who: Index,
    },
    Restart {
        instance: usize,
        rebuild: bool,
    },
    Settle {
        instance: usize,
    },
    Snapshot {
        instance: usize,
        client: ClientId,
    },
    /// The instance's clock goes on.
    Later {
        instance: usize,
        milliseconds: i64,
    },
}

/// A domain event, compact enough to be shrunk and read.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    client: ClientId,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Opened(u32),
    Received(u32, u32),
    Reacted(u32, u32),
    Imported(u32, u32),
    Echoed(u32, u32),
    Queued(u32, u32),
    Accepted(u32),
    Delivered(u32),
    Read(u32),
    Failed(u32),
    Edited(u32),
    Revoked(u32),
    Seen(u32),
    Closed(u32),
    Merged(u32, u32),
    Bot(bool),
    WhatsApp(Option<u8>),
    Day(u8),
    Unknown,
}

/// With `forgetful` instances followers may be told to reset, else never.
pub(super) fn a_story(forgetful: bool) -> impl Strategy<Value = Story> {
    (any::<[bool; 2]>(), vec(a_plan(), 1..6), vec(a_step(), 1..40)).prop_map(
        move |(tight, followers, steps)| Story {
            sizes: tight.map(|tight| Size { tight, forgetful }),
            followers,
            steps,
        },
    )
}

fn a_plan() -> impl Strategy<Value = Plan> {
    let types = prop_oneof![
        2 => Just(Types::ALL),
        1 => subsequence(EventType::ALL.to_vec(), 1..4).prop_map(|types| types.into_iter().collect()),
    ];
    let conversation = option::weighted(0.3, (1..=3_u32).prop_map(ConversationId));
    let encoding = prop_oneof![
        Just(Encoding::Json),
        Just(Encoding::Sse),
        Just(Encoding::SseGzip),
        Just(Encoding::WsText),
        Just(Encoding::WsDeflate),
    ];
    (a_client(), types, conversation, encoding, 0..2_usize, any::<bool>()).prop_map(
        |(client, types, conversation, encoding, instance, live)| Plan {
            client,
            filter: Filter { types, conversation },
            encoding,
            instance,
            live,
        },
    )
}

fn a_client() -> impl Strategy<Value = ClientId> {
    prop_oneof![3 => Just(CLIENTS[0]), 1 => Just(CLIENTS[1])]
}

fn a_step() -> impl Strategy<Value = Step> {
    let loss = prop_oneof![
        Just(Loss::Nothing),
        Just(Loss::NothingAndToldPlace),
        (1..8_usize).prop_map(Loss::Tail),
    ];
    let events = prop_oneof![Just(u32::MAX), 1..5_u32];
    let bytes = prop_oneof![Just(64_usize << 10), 1..2000_usize];
    prop_oneof![
        8 => vec(a_happening(), 1..12).prop_map(Step::Append),
        8 => (any::<Index>(), bytes, events, 1..4_u8)
            .prop_map(|(who, bytes, events, times)| Step::Pull { who, bytes, events, times }),
        3 => (any::<Index>(), loss).prop_map(|(who, loss)| Step::Lose { who, loss }),
        2 => any::<Index>().prop_map(|who| Step::Move { who }),
        1 => (0..2_usize, any::<bool>())
            .prop_map(|(instance, rebuild)| Step::Restart { instance, rebuild }),
        2 => (0..2_usize).prop_map(|instance| Step::Settle { instance }),
        1 => (0..2_usize, a_client())
            .prop_map(|(instance, client)| Step::Snapshot { instance, client }),
        1 => (0..2_usize, 1..100_i64)
            .prop_map(|(instance, milliseconds)| Step::Later { instance, milliseconds }),
    ]
}

fn a_happening() -> impl Strategy<Value = Happening> {
    let conversation = || 1..=3_u32;
    let number = || 1..=12_u32;
    let in_conversation = || (conversation(), number());
    let what = prop_oneof![
        2 => conversation().prop_map(What::Opened),
        6 => in_conversation().prop_map(|(id, number)| What::Received(id, number)),
        1 => in_conversation().prop_map(|(id, number)| What::Reacted(id, number)),
        1 => in_conversation().prop_map(|(id, number)| What::Imported(id, number)),
        3 => in_conversation().prop_map(|(id, number)| What::Echoed(id, number)),
        2 => in_conversation().prop_map(|(id, number)| What::Queued(id, number)),
        2 => number().prop_map(What::Accepted),
        3 => number().prop_map(What::Delivered),
        3 => number().prop_map(What::Read),
        1 => number().prop_map(What::Failed),
        1 => number().prop_map(What::Edited),
        1 => number().prop_map(What::Revoked),
        2 => conversation().prop_map(What::Seen),
        1 => conversation().prop_map(What::Closed),
        1 => in_conversation().prop_map(|(from, into)| What::Merged(from, 1 + into % 3)),
        1 => any::<bool>().prop_map(What::Bot),
        1 => option::of(0..3_u8).prop_map(What::WhatsApp),
        1 => (20..30_u8).prop_map(What::Day),
        1 => Just(What::Unknown),
    ];
    (a_client(), what).prop_map(|(client, what)| Happening { client, what })
}

impl Happening {
    /// The event, as the `number`th of the log.
    pub(super) fn event(&self, number: u64) -> Event {
        Event {
            id: EventId(Uuid::from_u128(number.into())),
            client_id: self.client,
            time: NOON.plus_ms(i64::try_from(number).expect("a short log")),
            actor: "whatsapp_cloud".to_owned(),
            causation: None,
            data: self.what.data(),
        }
    }
}

impl What {
    fn data(&self) -> EventData {
        match *self {
            What::Opened(id) => EventData::ConversationOpened {
                conversation_id: ConversationId(id),
                contact: Contact { name: Some(format!("Contact {id}")), ..Contact::default() },
            },
            What::Received(id, number) => EventData::MessageReceived(incoming(id, number)),
            What::Reacted(id, number) => EventData::MessageReceived(IncomingMessage {
                kind: MessageKind::Reaction,
                reply_to: Some(key(1)),
                ..incoming(id, number)
            }),
            What::Imported(id, number) => EventData::MessageReceived(IncomingMessage {
                imported: true,
                ..incoming(id, number)
            }),
            What::Echoed(id, number) => EventData::MessageEchoed(incoming(id, number)),
            What::Queued(id, number) => EventData::MessageQueued(queued(id, number)),
            What::Accepted(number) => EventData::MessageSent(StatusChange {
                message_id: Some(message_id(number)),
                ..told(number)
            }),
            What::Delivered(number) => EventData::MessageDelivered(told(number)),
            What::Read(number) => EventData::MessageRead(told(number)),
            What::Failed(number) => EventData::MessageFailed(told(number)),
            What::Edited(number) => EventData::MessageEdited(amendment(number, 100)),
            What::Revoked(number) => {
                EventData::MessageRevoked(MessageAmendment { text: None, ..amendment(number, 200) })
            }
            What::Seen(id) => EventData::ConversationRead { conversation_id: ConversationId(id) },
            What::Closed(id) => EventData::ConversationChanged {
                conversation_id: ConversationId(id),
                change: ConversationChange {
                    status: Some(ConversationStatus::Closed),
                    ..ConversationChange::default()
                },
            },
            What::Merged(from, into) => EventData::ContactsMerged {
                from: ConversationId(from),
                into: ConversationId(into),
                identities: Vec::new(),
            },
            What::Bot(active) => EventData::BotStatusChanged {
                status: if active { BotMode::Active } else { BotMode::Paused },
                reason: None,
            },
            What::WhatsApp(qr) => EventData::WhatsappStateChanged {
                status: if qr.is_some() { WhatsAppStatus::Qr } else { WhatsAppStatus::Connected },
                phone_number: None,
                name: Some("Shop".to_owned()),
                qr: qr.map(|qr| format!("2@{qr}")),
                quality: None,
                reason: None,
            },
            What::Day(day) => EventData::DayStarted {
                date: format!("2026-11-{day}"),
                time_zone: "America/Lima".to_owned(),
            },
            What::Unknown => EventData::UnknownChange {
                provider: "waha".to_owned(),
                kind: "call.received".to_owned(),
                raw: serde_json::Value::Null,
            },
        }
    }
}

fn key(number: u32) -> String {
    format!("wamid.{number}")
}

fn message_id(number: u32) -> MessageId {
    MessageId(Uuid::from_u128(number.into()))
}

fn incoming(conversation: u32, number: u32) -> IncomingMessage {
    IncomingMessage {
        conversation_id: ConversationId(conversation),
        message_id: message_id(number),
        wa_message_id: key(number),
        dedupe_key: key(number),
        kind: MessageKind::Text,
        text: Some(format!("text {number} ").repeat(1 + number as usize * 3)),
        media: None,
        payload: None,
        reply_to: None,
        sent_at: NOON.plus_ms(i64::from(number) * 1000),
        imported: false,
        status: None,
        by_api: false,
    }
}

fn queued(conversation: u32, number: u32) -> QueuedMessage {
    QueuedMessage {
        conversation_id: ConversationId(conversation),
        message_id: message_id(number),
        sender: Sender::Agent,
        kind: MessageKind::Text,
        text: Some(format!("text {number}")),
        media: None,
        payload: None,
        reply_to: None,
        client_ref: Some(number.to_string()),
        bulk_id: None,
    }
}

fn told(number: u32) -> StatusChange {
    StatusChange {
        conversation_id: ConversationId(1),
        message_id: None,
        dedupe_key: Some(key(number)),
        wa_message_id: Some(key(number)),
        at: NOON.plus_ms(i64::from(number) * 1500),
        error: None,
    }
}

fn amendment(target: u32, notices: u32) -> MessageAmendment {
    MessageAmendment {
        conversation_id: ConversationId(1),
        message_id: message_id(notices + target),
        dedupe_key: key(notices + target),
        target: key(target),
        text: Some("edited".to_owned()),
        outbound: false,
        at: NOON.plus_ms(i64::from(target) * 2000),
    }
}
