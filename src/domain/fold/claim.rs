//! Who sends a queued message: the claim, its release, its doubt.
//!
//! ```text
//! queued ── send_started ──► claimed ── an outcome ──► sent, failed
//!   ▲                          │ send_doubted
//!   └────── send_released ─────┴──► in doubt: claimed, and shown with an error
//! ```
//!
//! A doubt is shown to clients as `message_status_updated` with the status that still holds,
//! `queued`, and an error ([`ProviderError::in_doubt`]); the message itself has that error as long
//! as it is in doubt. No status of its own was made for it, since a client that knows none shows
//! the message as waiting, which is what it is to everybody but the provider. A later status, or
//! the release, takes the error away.

use std::sync::Arc;

use super::Folding;
use crate::domain::{
    conversation::{CLAIMED_MAX, Conversation},
    event::IncomingMessage,
    ids::MessageId,
    message::{Message, MessageKind, MessageStatus, ProviderError},
    public::PublicEvent,
    state::State,
};

impl<S: State> Folding<'_, S> {
    pub(super) fn send_started(&mut self, id: MessageId) {
        let Some(mut message) = self.waiting_message(id) else { return };
        if !message.send_started {
            Arc::make_mut(&mut message).send_started = true;
            self.note_claim(&message);
            self.state.put_message(message);
        }
    }

    /// Keeps the claimed message in the conversation's mind. Nobody sees it, so the conversation is
    /// not told of as changed.
    fn note_claim(&mut self, message: &Message) {
        let (_, Some(mut conversation)) = self.resolve(message.conversation_id) else { return };
        let changed = Arc::make_mut(&mut conversation);
        if changed.claimed.len() >= CLAIMED_MAX {
            changed.claimed.remove(0);
        }
        changed.claimed.push(message.id);
        self.state.put_conversation(conversation);
    }

    /// The message has an outcome, or its claim was given back.
    pub(super) fn forget_claim(
        &mut self,
        mut conversation: Arc<Conversation>,
        id: MessageId,
    ) -> Arc<Conversation> {
        if conversation.claimed.contains(&id) {
            Arc::make_mut(&mut conversation).claimed.retain(|claimed| *claimed != id);
            self.state.put_conversation(Arc::clone(&conversation));
        }
        conversation
    }

    /// The message of ours that this echo is of, when the gateway was faster with the echo than
    /// with the answer to the request that sent it, or never answered. The gateway gives nothing
    /// back by which we could know it, so it is known by what it says: the newest claimed message
    /// of the conversation with the same content. Newest, since an echo comes within a moment of
    /// its sending, and what was claimed before and is still without an outcome is an old doubt.
    pub(super) fn claimed_as(&mut self, echo: &IncomingMessage) -> Option<MessageId> {
        if !echo.by_api {
            return None;
        }
        let (_, conversation) = self.resolve(echo.conversation_id);
        let claimed = conversation?.claimed.clone();
        claimed.into_iter().rev().find(|id| {
            self.waiting_message(*id).is_some_and(|ours| ours.send_started && says(&ours, echo))
        })
    }

    pub(super) fn send_released(&mut self, id: MessageId) {
        let Some(message) = self.waiting_message(id) else { return };
        if message.send_started {
            self.put_claim(&message, false, None);
        }
    }

    pub(super) fn send_doubted(&mut self, id: MessageId) {
        let Some(message) = self.waiting_message(id) else { return };
        if message.send_started {
            self.put_claim(&message, true, Some(ProviderError::in_doubt()));
        }
    }

    /// The message, unless it is known what became of it.
    fn waiting_message(&mut self, id: MessageId) -> Option<Arc<Message>> {
        let client = self.client();
        let found = self.state.message(client, id)?;
        (found.status == MessageStatus::Queued).then_some(found)
    }

    fn put_claim(&mut self, message: &Message, send_started: bool, error: Option<ProviderError>) {
        if !send_started && let (_, Some(conversation)) = self.resolve(message.conversation_id) {
            self.forget_claim(conversation, message.id);
        }
        let told = message.error != error;
        let mut after = message.clone();
        after.send_started = send_started;
        after.error.clone_from(&error);
        self.state.put_message(Arc::new(after));
        if told {
            let (conversation_id, _) = self.resolve(message.conversation_id);
            self.public.push(PublicEvent::MessageStatusUpdated {
                message_id: message.id,
                conversation_id,
                status: MessageStatus::Queued,
                error,
            });
        }
    }
}

/// How much earlier than we queued it the gateway may say that it was written: its clock, and its
/// times of whole seconds.
const CLOCK_SKEW_MAX_MS: i64 = 60_000;

/// Whether the echo says what our message says.
fn says(ours: &Message, echo: &IncomingMessage) -> bool {
    let same_content = match (ours.kind, echo.kind) {
        (MessageKind::Text, MessageKind::Text) => spoken(&ours.text) == spoken(&echo.text),
        // A file may come back as the image that it is.
        (ours_kind, kind) if is_medium(ours_kind) && is_medium(kind) => {
            spoken(&ours.text) == spoken(&echo.text)
        }
        (MessageKind::Reaction, MessageKind::Reaction) => ours.reply_to == echo.reply_to,
        (ours_kind, kind) => ours_kind == kind,
    };
    same_content && echo.sent_at.since(ours.created_at) >= -CLOCK_SKEW_MAX_MS
}

fn is_medium(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::Image
            | MessageKind::Audio
            | MessageKind::Video
            | MessageKind::Document
            | MessageKind::Sticker
    )
}

/// WhatsApp takes space around a text away.
fn spoken(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default().trim()
}
