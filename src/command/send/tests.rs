//! Sending: what is queued, what is refused and why, and sending again.

use super::*;
use crate::domain::message::MessageKind;

/// A message of a contact that WhatsApp knows.
pub(super) fn a_message() -> Message {
    Message {
        id: MessageId(uuid::Uuid::from_u128(9)),
        direction: Direction::Inbound,
        sender: Sender::Contact,
        kind: MessageKind::Text,
        wa_message_id: Some("wamid.known".to_owned()),
        dedupe_key: Some("wamid.known".to_owned()),
        ..as_folded(
            ClientId(1),
            &QueuedMessage {
                conversation_id: ConversationId(1),
                message_id: MessageId(uuid::Uuid::from_u128(9)),
                sender: Sender::Agent,
                kind: MessageKind::Text,
                text: Some("hola".to_owned()),
                media: None,
                payload: None,
                reply_to: None,
                client_ref: None,
                bulk_id: None,
            },
            Timestamp(1_795_515_330_000),
        )
    }
}
