//! Edits and revocations: an author changes or withdraws an earlier message.
//!
//! The message itself is changed, so that the history shows what holds now, and a notice (a
//! message of kind and sender `system`, payload `{"event", "message_id", "at"}`) tells the
//! screens, since no public event changes a message. The notice that is published carries the
//! new text; the one that is stored does not, so that a later revocation leaves nothing of the
//! text behind. Only when the message itself is not known (from before the installation, or
//! still on its way) is the text kept in the notice, until the message is here.
//!
//! An edit that is older than what holds already changes nothing and is not told; a revocation
//! is final.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Folding, message::with_refreshed_last, notice::Notice};
use crate::domain::{
    event::MessageAmendment,
    ids::{ConversationId, MessageId},
    message::{Direction, Message},
    public::PublicEvent,
    state::{State, Waiting, WaitingAmendment},
    time::Timestamp,
};

/// In the payload of a message that was edited: when.
const EDITED_AT: &str = "edited_at";
/// In the payload of a message that was withdrawn: when.
const REVOKED_AT: &str = "revoked_at";

impl<S: State> Folding<'_, S> {
    pub(super) fn message_amended(&mut self, amendment: &MessageAmendment, revoked: bool) {
        let client = self.client();
        let known = self.state.message_by_key(client, &amendment.dedupe_key).is_some()
            || self.state.message(client, amendment.message_id).is_some();
        if known {
            return;
        }
        let target = self.state.message_by_key(client, &amendment.target);
        match target.filter(|target| !target.is_notice()) {
            Some(target) => self.amend_known(amendment, revoked, &target),
            None => self.let_amendment_wait(amendment, revoked),
        }
    }

    fn amend_known(&mut self, amendment: &MessageAmendment, revoked: bool, target: &Message) {
        let mut after = target.clone();
        let at = self.plausible(amendment.at);
        amend(&mut after, revoked, amendment.text.as_deref(), at);
        if after == *target {
            return;
        }
        let (conversation_id, conversation) = self.resolve(target.conversation_id);
        let changed = conversation.as_deref().and_then(|known| with_refreshed_last(known, &after));
        self.state.put_message(Arc::new(after));
        let conversation = match (conversation, changed) {
            (before, Some(changed)) => self.put_conversation(before.as_deref(), changed),
            (Some(unchanged), None) => unchanged,
            (None, None) => {
                let (_, opened) = self.resolve_or_open(conversation_id);
                self.put_conversation(None, opened)
            }
        };
        let notice = self.notice(amendment, revoked, conversation.id, Some(target.id));
        self.state.put_message(Arc::new(Message { text: None, ..notice.clone() }));
        self.public.push(PublicEvent::NewMessage { message: Arc::new(notice), conversation });
    }

    fn let_amendment_wait(&mut self, amendment: &MessageAmendment, revoked: bool) {
        let client = self.client();
        let mut waiting = self.state.waiting(client, &amendment.target).unwrap_or(Waiting {
            conversation_id: amendment.conversation_id,
            status: None,
            amendment: None,
            since: self.event.time,
        });
        let told = WaitingAmendment {
            revoked,
            text: if revoked { None } else { amendment.text.clone() },
            at: self.plausible(amendment.at),
            notice: amendment.message_id,
        };
        if let Some(earlier) = waiting.amendment {
            let superseded = !earlier.revoked && (told.revoked || told.at >= earlier.at);
            if !superseded {
                return;
            }
            self.tie_notice(earlier.notice, None);
        }
        waiting.amendment = Some(told);
        self.state.put_waiting(client, &amendment.target, Some(waiting));

        let (before, opened) = self.resolve_or_open(amendment.conversation_id);
        let conversation = match before {
            Some(before) => before,
            None => self.put_conversation(None, opened),
        };
        let message = Arc::new(self.notice(amendment, revoked, conversation.id, None));
        self.state.put_message(Arc::clone(&message));
        self.public.push(PublicEvent::NewMessage { message, conversation });
    }

    /// The text of a notice now stands in the message it speaks of, or is void.
    pub(super) fn tie_notice(&mut self, notice: MessageId, target: Option<MessageId>) {
        let client = self.client();
        let Some(mut notice) = self.state.message(client, notice) else { return };
        if !notice.is_notice() {
            return;
        }
        let changed = Arc::make_mut(&mut notice);
        changed.text = None;
        if let (Some(target), Some(payload)) = (target, &mut changed.payload) {
            payload.insert("message_id".to_owned(), Value::String(target.to_string()));
        }
        self.state.put_message(notice);
    }

    fn notice(
        &self,
        amendment: &MessageAmendment,
        revoked: bool,
        conversation_id: ConversationId,
        target: Option<MessageId>,
    ) -> Message {
        let direction = match amendment.outbound {
            true => Direction::Outbound,
            false => Direction::Inbound,
        };
        let notice = Notice {
            id: amendment.message_id,
            conversation_id,
            direction,
            event: if revoked { "revoked" } else { "edited" },
            target,
            reply_to: Some(amendment.target.clone()),
            dedupe_key: Some(amendment.dedupe_key.clone()),
            text: if revoked { None } else { amendment.text.clone() },
            media: None,
            at: self.plausible(amendment.at),
        };
        notice.into_message(self.event)
    }
}

/// Changes or withdraws the message, unless what holds is newer or final.
pub(super) fn amend(message: &mut Message, revoked: bool, text: Option<&str>, at: Timestamp) {
    if amended_at(message, REVOKED_AT).is_some() {
        return;
    }
    if revoked {
        message.text = None;
        message.media = None;
        message.payload = Some(Map::from_iter([stamp(REVOKED_AT, at)]));
        return;
    }
    if amended_at(message, EDITED_AT).is_some_and(|known| known > at) {
        return;
    }
    message.text = text.map(str::to_owned);
    message.payload.get_or_insert_default().extend([stamp(EDITED_AT, at)]);
}

/// What a provider or bridge tells of a message, without what only we note there: it would look
/// as if the message were edited or withdrawn already.
pub(super) fn without_marks(payload: Option<Map<String, Value>>) -> Option<Map<String, Value>> {
    let mut payload = payload?;
    payload.remove(EDITED_AT);
    payload.remove(REVOKED_AT);
    Some(payload).filter(|payload| !payload.is_empty())
}

fn amended_at(message: &Message, what: &str) -> Option<Timestamp> {
    Timestamp::parse(message.payload.as_ref()?.get(what)?.as_str()?)
}

fn stamp(what: &str, at: Timestamp) -> (String, Value) {
    (what.to_owned(), Value::String(at.to_string()))
}
