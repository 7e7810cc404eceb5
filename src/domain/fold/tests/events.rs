//! Events for the tests, each with as little as it can have. Message `7` has the provider's id
//! `wamid.7`.

use super::{NOON, message_id};
use crate::domain::{
    conversation::Contact,
    event::{EventData, IncomingMessage, MessageAmendment, QueuedMessage, StatusChange},
    ids::{ConversationId, IdentityHash},
    message::{MessageKind, ProviderError, Sender},
    time::Timestamp,
};

pub(super) fn key(number: u128) -> String {
    format!("wamid.{number}")
}

pub(super) fn opened(conversation: u32, name: &str) -> EventData {
    let contact = Contact { name: Some(name.to_owned()), ..Contact::default() };
    EventData::ConversationOpened { conversation_id: ConversationId(conversation), contact }
}

pub(super) fn incoming(conversation: u32, number: u128, sent_at: Timestamp) -> IncomingMessage {
    IncomingMessage {
        conversation_id: ConversationId(conversation),
        message_id: message_id(number),
        wa_message_id: key(number),
        dedupe_key: key(number),
        kind: MessageKind::Text,
        text: Some(format!("text {number}")),
        media: None,
        payload: None,
        reply_to: None,
        sent_at,
        imported: false,
        status: None,
        by_api: false,
    }
}

/// The contact of conversation 1 wrote at noon and `seconds`.
pub(super) fn received(number: u128, seconds: i64) -> EventData {
    EventData::MessageReceived(incoming(1, number, NOON.plus_ms(seconds * 1000)))
}

/// The company wrote from the phone at noon and `seconds`.
pub(super) fn echoed(number: u128, seconds: i64) -> EventData {
    EventData::MessageEchoed(incoming(1, number, NOON.plus_ms(seconds * 1000)))
}

/// As `event`, changed.
pub(super) fn but(event: EventData, change: impl FnOnce(&mut IncomingMessage)) -> EventData {
    match event {
        EventData::MessageReceived(mut message) => {
            change(&mut message);
            EventData::MessageReceived(message)
        }
        EventData::MessageEchoed(mut message) => {
            change(&mut message);
            EventData::MessageEchoed(message)
        }
        other => panic!("{other:?} is no incoming message"),
    }
}

pub(super) fn reaction(event: EventData) -> EventData {
    but(event, |message| {
        message.kind = MessageKind::Reaction;
        message.text = None;
        message.reply_to = Some(key(1));
    })
}

pub(super) fn imported(event: EventData) -> EventData {
    but(event, |message| message.imported = true)
}

pub(super) fn queued(number: u128, sender: Sender) -> EventData {
    EventData::MessageQueued(QueuedMessage {
        conversation_id: ConversationId(1),
        message_id: message_id(number),
        sender,
        kind: MessageKind::Text,
        text: Some(format!("text {number}")),
        media: None,
        payload: None,
        reply_to: None,
        client_ref: None,
        bulk_id: None,
    })
}

pub(super) fn send_started(number: u128) -> EventData {
    EventData::SendStarted { conversation_id: ConversationId(1), message_id: message_id(number) }
}

pub(super) fn send_released(number: u128) -> EventData {
    EventData::SendReleased {
        conversation_id: ConversationId(1),
        message_id: message_id(number),
        bulk_id: None,
        claim: None,
    }
}

pub(super) fn send_doubted(number: u128) -> EventData {
    EventData::SendDoubted { conversation_id: ConversationId(1), message_id: message_id(number) }
}

/// What the provider told of its message `wamid.number`, at noon and `seconds`.
pub(super) fn told(number: u128, seconds: i64) -> StatusChange {
    StatusChange {
        conversation_id: ConversationId(1),
        message_id: None,
        dedupe_key: Some(key(number)),
        wa_message_id: Some(key(number)),
        at: NOON.plus_ms(seconds * 1000),
        error: None,
    }
}

pub(super) fn sent(number: u128, seconds: i64) -> EventData {
    EventData::MessageSent(told(number, seconds))
}

pub(super) fn delivered(number: u128, seconds: i64) -> EventData {
    EventData::MessageDelivered(told(number, seconds))
}

pub(super) fn read(number: u128, seconds: i64) -> EventData {
    EventData::MessageRead(told(number, seconds))
}

pub(super) fn failed(number: u128, seconds: i64) -> EventData {
    let error = Some(error(131_026));
    EventData::MessageFailed(StatusChange { error, ..told(number, seconds) })
}

pub(super) fn error(code: i64) -> ProviderError {
    ProviderError { code, title: "Undeliverable".to_owned(), detail: String::new() }
}

/// The outbox sent message `number`, and the provider calls it `wamid.number`.
pub(super) fn accepted(number: u128, seconds: i64) -> EventData {
    let message_id = Some(message_id(number));
    EventData::MessageSent(StatusChange { message_id, ..told(number, seconds) })
}

/// The notice `notice` of a change of message `target`, at noon and `seconds`.
pub(super) fn amendment(
    notice: u128,
    target: u128,
    text: Option<&str>,
    seconds: i64,
) -> MessageAmendment {
    MessageAmendment {
        conversation_id: ConversationId(1),
        message_id: message_id(notice),
        dedupe_key: key(notice),
        target: key(target),
        text: text.map(str::to_owned),
        outbound: false,
        at: NOON.plus_ms(seconds * 1000),
    }
}

pub(super) fn edited(notice: u128, target: u128, text: &str, seconds: i64) -> EventData {
    EventData::MessageEdited(amendment(notice, target, Some(text), seconds))
}

pub(super) fn revoked(notice: u128, target: u128, seconds: i64) -> EventData {
    EventData::MessageRevoked(amendment(notice, target, None, seconds))
}

pub(super) fn merged(from: u32, into: u32) -> EventData {
    EventData::ContactsMerged {
        from: ConversationId(from),
        into: ConversationId(into),
        identities: vec![IdentityHash([9; 16])],
    }
}

pub(super) fn read_by_agent() -> EventData {
    EventData::ConversationRead { conversation_id: ConversationId(1) }
}
