//! Messages come to be: received, echoed, imported, queued.
//!
//! What each does to its conversation:
//!
//! | | last message | unread, reopens, awaits an answer | opens the 24 h window | answers |
//! | --- | --- | --- | --- | --- |
//! | the contact wrote | yes | yes | yes | – |
//! | the contact reacted | no | no | yes | – |
//! | the company wrote (echo, agent, bot) | yes | no | no | yes |
//! | the company reacted | no | no | no | no |
//! | a bulk or system message | yes | no | no | no |
//! | imported, either way | yes | no | no | no |
//!
//! - A reaction opens the window since it is a message of the contact to WhatsApp; it asks for
//!   nothing, so nobody is called.
//! - A closed conversation opens again when the contact writes: what nobody sees is lost. A
//!   pending one stays pending, for it is not out of sight. What the company writes changes no
//!   conversation's status, since an agent set it knowingly.
//! - What a person wrote, here or on the phone, is noted with its time: the bot keeps quiet in that
//!   conversation for a while.
//! - The bot's answer ends the contact's waiting like an agent's; a bulk's does not, for it is
//!   no answer to anything.
//! - An import publishes no `new_message`: its messages happened long ago, by the thousand. The
//!   conversation's update tells a screen that the history grew.

use std::sync::Arc;

use super::{Folding, amendment};
use crate::domain::{
    conversation::{Conversation, ConversationStatus, LastMessage},
    event::{IncomingMessage, QueuedMessage, StatusChange},
    message::{Direction, Message, MessageKind, MessageStatus, Sender},
    public::PublicEvent,
    state::State,
};

/// WhatsApp's service window: how long after the contact's last message text may be sent.
pub const WINDOW_MS: i64 = 24 * 60 * 60 * 1000;

impl<S: State> Folding<'_, S> {
    pub(super) fn message_received(&mut self, message: &IncomingMessage) {
        self.came_from_outside(message, Direction::Inbound, MessageStatus::Received);
        if !message.imported {
            self.heard_through();
        }
    }

    /// An echo was sent already, whatever else is known of it.
    pub(super) fn message_echoed(&mut self, message: &IncomingMessage) {
        let told = message.status.filter(|told| MessageStatus::Sent.advances_to(*told));
        let status = told.unwrap_or(MessageStatus::Sent);
        let is_known = self.state.message_by_key(self.client(), &message.dedupe_key).is_some();
        if !is_known && let Some(ours) = self.claimed_as(message) {
            let change = StatusChange {
                conversation_id: message.conversation_id,
                message_id: Some(ours),
                dedupe_key: Some(message.dedupe_key.clone()),
                wa_message_id: Some(message.wa_message_id.clone()),
                at: message.sent_at,
                error: None,
            };
            self.status_told(&change, status);
            return;
        }
        self.came_from_outside(message, Direction::Outbound, status);
    }

    fn came_from_outside(
        &mut self,
        incoming: &IncomingMessage,
        direction: Direction,
        status: MessageStatus,
    ) {
        let client = self.client();
        if let Some(known) = self.state.message_by_key(client, &incoming.dedupe_key) {
            // An import may know more of a message than its echo did.
            if direction == Direction::Outbound && incoming.status.is_some() {
                self.advance_known(&known, status, self.plausible(incoming.sent_at));
            }
            return;
        }
        if self.state.message(client, incoming.message_id).is_some() {
            return;
        }
        let (before, conversation) = self.resolve_or_open(incoming.conversation_id);
        let timestamp = self.plausible(incoming.sent_at);
        let message = Message {
            id: incoming.message_id,
            client_id: client,
            conversation_id: conversation.id,
            direction,
            sender: match direction {
                Direction::Inbound => Sender::Contact,
                Direction::Outbound => Sender::Agent,
            },
            kind: incoming.kind,
            text: incoming.text.clone(),
            media: incoming.media.clone().map(|media| media.to_be_copied(incoming.message_id)),
            payload: amendment::without_marks(incoming.payload.clone()),
            reply_to: incoming.reply_to.clone(),
            client_ref: None,
            bulk_id: None,
            status,
            error: None,
            wa_message_id: Some(incoming.wa_message_id.clone()),
            dedupe_key: Some(incoming.dedupe_key.clone()),
            send_started: false,
            imported: incoming.imported,
            timestamp,
            created_at: self.event.time,
            status_at: timestamp,
        };
        self.add_message(before, conversation, message);
    }

    pub(super) fn message_queued(&mut self, queued: &QueuedMessage) {
        let client = self.client();
        if self.state.message(client, queued.message_id).is_some() {
            return;
        }
        let (before, conversation) = self.resolve_or_open(queued.conversation_id);
        let message = Message {
            id: queued.message_id,
            client_id: client,
            conversation_id: conversation.id,
            direction: Direction::Outbound,
            sender: queued.sender,
            kind: queued.kind,
            text: queued.text.clone(),
            media: queued.media.clone(),
            payload: amendment::without_marks(queued.payload.clone()),
            reply_to: queued.reply_to.clone(),
            client_ref: queued.client_ref.clone(),
            bulk_id: queued.bulk_id.filter(|id| self.is_countable(*id, queued.message_id)),
            status: MessageStatus::Queued,
            error: None,
            wa_message_id: None,
            dedupe_key: None,
            send_started: false,
            imported: false,
            timestamp: self.event.time,
            created_at: self.event.time,
            status_at: self.event.time,
        };
        self.add_message(before, conversation, message);
    }

    /// A new message with what is here before it. What waited is news of today, also when the
    /// message itself is imported.
    fn with_waiting(&mut self, mut message: Message) -> Message {
        let client = self.client();
        let Some(key) = message.dedupe_key.clone() else { return message };
        let Some(waiting) = self.state.waiting(client, &key) else { return message };
        self.state.put_waiting(client, &key, None);
        let arrived = message.clone();
        if let Some(status) = waiting.status {
            super::status::advance(&mut message, status.status, status.at, status.error.as_ref());
        }
        if let Some(waiting) = waiting.amendment {
            amendment::amend(&mut message, waiting.revoked, waiting.text.as_deref(), waiting.at);
            self.tie_notice(waiting.notice, Some(message.id));
        }
        self.count_message(Some(&arrived), &message);
        message
    }

    fn add_message(
        &mut self,
        before: Option<Arc<Conversation>>,
        mut conversation: Conversation,
        message: Message,
    ) {
        self.count_message(None, &message);
        let message = self.with_waiting(message);
        self.update_conversation(&mut conversation, &message);
        let imported = message.imported;
        let message = Arc::new(message);
        self.state.put_message(Arc::clone(&message));
        let unchanged = before.as_deref() == Some(&conversation);
        let conversation = match before {
            Some(before) if unchanged && !imported => before,
            before => self.put_conversation(before.as_deref(), conversation),
        };
        self.public.push(if imported {
            PublicEvent::ConversationUpdated { conversation }
        } else {
            PublicEvent::NewMessage { message, conversation }
        });
    }

    /// What a new message does to its conversation: the table above.
    fn update_conversation(&mut self, conversation: &mut Conversation, message: &Message) {
        let followed_by_ours = has_newer_outbound(conversation, message);
        if message.kind.is_talk() {
            note_as_last(conversation, message);
        }
        if message.imported {
            return;
        }
        match message.direction {
            Direction::Inbound => {
                if message.kind != MessageKind::System {
                    let expires_at = message.timestamp.plus_ms(WINDOW_MS);
                    conversation.window_expires_at =
                        conversation.window_expires_at.max(Some(expires_at));
                }
                if message.kind.is_talk() {
                    conversation.unread_count = conversation.unread_count.saturating_add(1);
                    if conversation.status == ConversationStatus::Closed {
                        conversation.status = ConversationStatus::Open;
                    }
                    if conversation.awaiting_response_since.is_none() && !followed_by_ours {
                        conversation.awaiting_response_since = Some(message.timestamp);
                    }
                }
            }
            Direction::Outbound => {
                let answers = message.kind.is_talk()
                    && message.bulk_id.is_none()
                    && matches!(message.sender, Sender::Agent | Sender::Bot);
                if self.is_written_by_a_person(message) {
                    conversation.person_answered_at =
                        conversation.person_answered_at.max(Some(message.timestamp));
                }
                // What was written before the question answers nothing, whenever it comes.
                if answers
                    && let Some(since) = conversation.awaiting_response_since
                    && message.timestamp >= since
                {
                    conversation.awaiting_response_since = None;
                    let stats = self.stats();
                    stats.first_responses += 1;
                    stats.first_response_sum_ms =
                        stats.first_response_sum_ms.saturating_add(message.timestamp.since(since));
                }
            }
        }
    }
}

impl<S: State> Folding<'_, S> {
    /// WAHA also echoes what was sent through its own interface, which may be the bot's words and
    /// be here before the answer to the request that sent them: its echoes are nobody's.
    fn is_written_by_a_person(&self, message: &Message) -> bool {
        let echo = message.wa_message_id.is_some();
        message.sender == Sender::Agent
            && message.kind.is_talk()
            && message.bulk_id.is_none()
            && !(echo && self.event.actor == "waha")
    }
}

/// The newest message by (`timestamp`, `id`) is the last one: a late message does not push a
/// newer one away.
fn note_as_last(conversation: &mut Conversation, message: &Message) {
    let newest = conversation
        .last_message
        .as_ref()
        .is_none_or(|last| (last.timestamp, last.id) < (message.timestamp, message.id));
    if newest {
        conversation.last_message = Some(LastMessage::of(message));
    }
}

/// The conversation with what its last message became, `None` when another one is the last.
pub(super) fn with_refreshed_last(
    conversation: &Conversation,
    message: &Message,
) -> Option<Conversation> {
    let last = conversation.last_message.as_ref()?;
    if last.id != message.id {
        return None;
    }
    let mut conversation = conversation.clone();
    conversation.last_message = Some(LastMessage::of(message));
    Some(conversation)
}

/// The message arrives late and the company has written since: nobody awaits an answer to it.
fn has_newer_outbound(conversation: &Conversation, message: &Message) -> bool {
    conversation.last_message.as_ref().is_some_and(|last| {
        last.direction == Direction::Outbound && last.timestamp > message.timestamp
    })
}
