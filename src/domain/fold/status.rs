//! How far messages have come.
//!
//! A status names its message by our id (we sent it, or the provider gave the id back), by the
//! provider's id, or by both; the first status that has both ties the provider's id to a message
//! that we sent. One that is here before its message waits, joined with others in the lattice of
//! [`MessageStatus`], and is applied together with it: the message then appears with that
//! status, and no status event follows.

use std::sync::Arc;

use super::{Folding, amendment, message::with_refreshed_last};
use crate::domain::{
    event::StatusChange,
    message::{Direction, Message, MessageStatus, ProviderError},
    public::PublicEvent,
    state::{State, Waiting, WaitingStatus},
    time::Timestamp,
};

impl<S: State> Folding<'_, S> {
    pub(super) fn status_told(&mut self, change: &StatusChange, status: MessageStatus) {
        let client = self.client();
        let key = change.dedupe_key.as_deref().or(change.wa_message_id.as_deref());
        let by_id = change.message_id.and_then(|id| self.state.message(client, id));
        let found = by_id.or_else(|| key.and_then(|key| self.state.message_by_key(client, key)));
        let Some(before) = found else {
            if let Some(key) = key {
                self.let_status_wait(change, key, status);
            }
            return;
        };
        if before.direction == Direction::Inbound || before.is_notice() {
            return;
        }
        let mut after = Message::clone(&before);
        if let Some(key) = key {
            self.tie_to_provider(&mut after, key, change.wa_message_id.as_deref());
        }
        advance(&mut after, status, self.plausible(change.at), change.error.as_ref());
        if after != *before {
            self.put_advanced(&before, after);
        }
    }

    /// Gives a message that we sent its provider's id, and what came in under that id before.
    fn tie_to_provider(&mut self, message: &mut Message, key: &str, wa_message_id: Option<&str>) {
        if message.dedupe_key.is_some() || message.wa_message_id.is_some() {
            return;
        }
        let client = self.client();
        if let Some(echo) = self.state.message_by_key(client, key) {
            if echo.direction == Direction::Inbound || echo.is_notice() {
                return;
            }
            self.take_key_from_echo(message, &echo);
        }
        message.dedupe_key = Some(key.to_owned());
        message.wa_message_id = Some(wa_message_id.unwrap_or(key).to_owned());
        let Some(waiting) = self.state.waiting(client, key) else { return };
        self.state.put_waiting(client, key, None);
        if let Some(waiting) = waiting.status {
            advance(message, waiting.status, waiting.at, waiting.error.as_ref());
        }
        if let Some(waiting) = waiting.amendment {
            amendment::amend(message, waiting.revoked, waiting.text.as_deref(), waiting.at);
            self.tie_notice(waiting.notice, Some(message.id));
        }
    }

    /// The gateway echoed our own message before it answered the request that sent it, in words
    /// that are not ours (see [`claim`](super::claim)), so that it stands in the history twice,
    /// and was told so. From now on statuses are the first one's.
    fn take_key_from_echo(&mut self, message: &mut Message, echo: &Arc<Message>) {
        advance(message, echo.status, echo.status_at, echo.error.as_ref());
        let mut echo = Message::clone(echo);
        echo.dedupe_key = None;
        self.state.put_message(Arc::new(echo));
    }

    fn put_advanced(&mut self, before: &Message, after: Message) {
        self.count_message(Some(before), &after);
        let after = Arc::new(after);
        self.state.put_message(Arc::clone(&after));
        let (conversation_id, conversation) = self.resolve(after.conversation_id);
        if after.status != before.status {
            self.public.push(PublicEvent::MessageStatusUpdated {
                message_id: after.id,
                conversation_id,
                status: after.status,
                error: after.error.clone(),
            });
        }
        let Some(conversation) = conversation else { return };
        let conversation = self.forget_claim(conversation, after.id);
        if let Some(changed) = with_refreshed_last(&conversation, &after) {
            self.publish_conversation(Some(&conversation), changed);
        }
    }

    fn let_status_wait(&mut self, change: &StatusChange, key: &str, status: MessageStatus) {
        let client = self.client();
        let told = WaitingStatus {
            status,
            at: self.plausible(change.at),
            error: failure(status, change.error.as_ref()),
        };
        let mut waiting = self.state.waiting(client, key).unwrap_or(Waiting {
            conversation_id: change.conversation_id,
            status: None,
            amendment: None,
            since: self.event.time,
        });
        let further =
            waiting.status.as_ref().is_none_or(|known| known.status.advances_to(told.status));
        if further {
            waiting.status = Some(told);
            self.state.put_waiting(client, key, Some(waiting));
        }
    }
}

/// Moves the message on to `status` when that is further. The error belongs to `failed` and goes
/// with it: a message that turns out to be delivered has none.
pub(super) fn advance(
    message: &mut Message,
    status: MessageStatus,
    at: Timestamp,
    error: Option<&ProviderError>,
) {
    if message.direction == Direction::Inbound || !message.status.advances_to(status) {
        return;
    }
    message.status = status;
    message.status_at = at;
    message.error = failure(status, error);
    message.send_started = false;
}

fn failure(status: MessageStatus, error: Option<&ProviderError>) -> Option<ProviderError> {
    error.filter(|_| status == MessageStatus::Failed).cloned()
}
