//! A person goes: all that their conversations held is taken out of the state, at once.
//!
//! The event stands in the directory and stays, while the streams that it speaks of are deleted
//! afterwards. So there are two ways of coming to it, and both must lead to the same state:
//!
//! - Who has folded the streams takes the messages out and leaves the statistics as they are.
//! - Who folds the log after the streams are gone never saw the messages, and adds what the event
//!   says that they had added.
//!
//! Which of both it is, the person's conversation tells: it is there, or it is not.
//!
//! **Invariant:** an erased number never comes to life again. What is appended for it late, by
//! an instance that did not know yet, is dropped ([`Folding::apply`]); the contact that writes
//! again gets another number, since the identities are unlinked.

use super::Folding;
use crate::domain::{
    conversation::{Contact, Conversation, ConversationStatus},
    event::{Erasure, KeptNumbers},
    public::PublicEvent,
    state::State,
    stats::{ConversationCounts, Counts},
};

/// How long it is known that an identity was erased: what was written before is not taken in
/// when it is told once more. A provider repeats for 7 days at most; afterwards nothing is left
/// but the number.
pub const ERASED_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

impl<S: State> Folding<'_, S> {
    pub(super) fn personal_data_erased(&mut self, erasure: &Erasure) {
        let client = self.client();
        let mut erasure = erasure.clone();
        erasure.conversations.retain(|id| !self.state.is_erased(client, *id));
        let erasure = &erasure;
        let Some(&first) = erasure.conversations.first() else { return };
        let mut folded = false;
        for &id in &erasure.conversations {
            let Some(known) = self.state.conversation(client, id) else { continue };
            folded |= known.merged_into.is_none();
            let counts = ConversationCounts::of(&known);
            self.stats().conversations.subtract(&counts);
        }
        let time = self.event.time;
        let queued = self.state.erase(client, erasure, time);
        self.stats().queued -= queued;
        if !folded {
            self.add_kept(&erasure.kept);
        }
        self.state.put_erasing(client, first, Some(erasure));
        self.publish_emptied(erasure);
    }

    /// Whether the event was on its way when its person was erased. Then its stream is there
    /// again, and is to be deleted again.
    pub(super) fn is_late_for_erased(&mut self) -> bool {
        let Some(id) = self.event.data.conversation_id() else { return false };
        let client = self.client();
        let (living, _) = self.resolve(id);
        if !self.state.is_erased(client, id) && !self.state.is_erased(client, living) {
            return false;
        }
        let again = Erasure { conversations: vec![id], ..Erasure::default() };
        self.state.put_erasing(client, id, Some(&again));
        true
    }

    fn add_kept(&mut self, kept: &KeptNumbers) {
        let client = self.client();
        let stats = self.stats();
        stats.total_messages += kept.messages;
        stats.totals.add(kept.totals);
        stats.today.add(kept.today);
        stats.first_responses += kept.first_responses;
        stats.first_response_sum_ms =
            stats.first_response_sum_ms.saturating_add(kept.first_response_sum_ms);
        for (hour, counts) in &kept.hours {
            if *counts != Counts::ZERO {
                self.state.add_to_hour(client, *hour, *counts);
            }
        }
    }

    /// Screens that show the conversation see it empty and closed. Nothing keeps it.
    fn publish_emptied(&mut self, erasure: &Erasure) {
        for &id in &erasure.conversations {
            let contact = Contact::default();
            let mut emptied =
                Conversation::opened(id, self.event.client_id, contact, self.event.time);
            emptied.status = ConversationStatus::Closed;
            emptied.bot_enabled = false;
            self.public.push(PublicEvent::ConversationUpdated { conversation: emptied.into() });
        }
    }
}
