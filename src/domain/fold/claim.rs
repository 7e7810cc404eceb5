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
    ids::MessageId,
    message::{Message, MessageStatus, ProviderError},
    public::PublicEvent,
    state::State,
};

impl<S: State> Folding<'_, S> {
    pub(super) fn send_started(&mut self, id: MessageId) {
        let Some(mut message) = self.waiting_message(id) else { return };
        if !message.send_started {
            Arc::make_mut(&mut message).send_started = true;
            self.state.put_message(message);
        }
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
