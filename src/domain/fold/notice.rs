//! Messages of the system that tell what became of another message: edits, revocations, copies of
//! media. No public event changes a message, so a `new_message` tells it.

use serde_json::{Map, Value};

use crate::domain::{
    event::Event,
    ids::{ConversationId, MessageId},
    message::{Direction, Media, Message, MessageKind, MessageStatus, Sender},
    time::Timestamp,
};

/// What a notice tells, and of which message.
pub(super) struct Notice<'a> {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub direction: Direction,
    /// What became of it.
    pub event: &'a str,
    /// Our id of the message, where it is known.
    pub target: Option<MessageId>,
    /// The message's dedupe key.
    pub reply_to: Option<String>,
    /// Its own.
    pub dedupe_key: Option<String>,
    pub text: Option<String>,
    pub media: Option<Media>,
    pub at: Timestamp,
}

impl Notice<'_> {
    pub(super) fn into_message(self, told_by: &Event) -> Message {
        let target = self.target.map_or(Value::Null, |target| Value::String(target.to_string()));
        let payload = Map::from_iter([
            ("event".to_owned(), Value::String(self.event.to_owned())),
            ("message_id".to_owned(), target),
            ("at".to_owned(), Value::String(self.at.to_string())),
        ]);
        let status = match self.direction {
            Direction::Inbound => MessageStatus::Received,
            Direction::Outbound => MessageStatus::Sent,
        };
        Message {
            id: self.id,
            client_id: told_by.client_id,
            conversation_id: self.conversation_id,
            direction: self.direction,
            sender: Sender::System,
            kind: MessageKind::System,
            text: self.text,
            media: self.media,
            payload: Some(payload),
            reply_to: self.reply_to,
            client_ref: None,
            bulk_id: None,
            status,
            error: None,
            wa_message_id: None,
            dedupe_key: self.dedupe_key,
            send_started: false,
            imported: false,
            timestamp: self.at,
            created_at: told_by.time,
            status_at: self.at,
        }
    }
}
