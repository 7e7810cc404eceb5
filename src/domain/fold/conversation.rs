//! Conversations themselves: opened, changed, read, merged.

use std::sync::Arc;

use super::Folding;
use crate::domain::{
    conversation::{CLAIMED_MAX, Contact, Conversation, ConversationStatus, MarketingPreference},
    event::ConversationChange,
    ids::{ConversationId, IdentityHash},
    public::PublicEvent,
    state::State,
    time::Timestamp,
};

impl<S: State> Folding<'_, S> {
    /// The log's order decides which conversation an identity is of, for numbers change hands.
    pub(super) fn link_identities(&mut self, id: ConversationId, identities: &[IdentityHash]) {
        if self.state.is_erased(self.client(), id) {
            return;
        }
        for hash in identities {
            self.state.put_identity(self.event.client_id, *hash, id);
        }
    }

    /// A repeated opening, or one of a conversation that was merged away, tells only what is not
    /// known yet, unless it says when that was so: what it tells is old.
    pub(super) fn conversation_opened(
        &mut self,
        id: ConversationId,
        contact: &Contact,
        at: Option<Timestamp>,
    ) {
        let (before, mut conversation) = self.resolve_or_open(id);
        match at {
            Some(at) => self.tell_of_contact(&mut conversation, contact, at),
            None => conversation.contact.fill_from(contact),
        }
        self.put_contact(before.as_deref(), conversation);
    }

    pub(super) fn contact_changed(
        &mut self,
        id: ConversationId,
        contact: &Contact,
        at: Option<Timestamp>,
    ) {
        let (_, Some(before)) = self.resolve(id) else { return };
        let mut after = Conversation::clone(&before);
        match at {
            Some(at) => self.tell_of_contact(&mut after, contact, at),
            None => after.contact.replace_with(contact),
        }
        self.put_contact(Some(&before), after);
    }

    /// What was so at `at` replaces what was told before that, and fills in what is not known.
    /// WhatsApp tells the same for days, so that old news comes after newer ones.
    fn tell_of_contact(&self, conversation: &mut Conversation, contact: &Contact, at: Timestamp) {
        let at = at.min(self.event.time);
        if conversation.contact_told_at.is_none_or(|told_at| told_at <= at) {
            conversation.contact.replace_with(contact);
            conversation.contact_told_at = Some(at);
        } else {
            conversation.contact.fill_from(contact);
        }
    }

    /// No client sees when something was told.
    fn put_contact(&mut self, before: Option<&Conversation>, after: Conversation) {
        match before {
            Some(known) if known.contact == after.contact => {
                if *known != after {
                    self.state.put_conversation(Arc::new(after));
                }
            }
            _ => self.publish_conversation(before, after),
        }
    }

    pub(super) fn conversation_changed(&mut self, id: ConversationId, change: &ConversationChange) {
        self.change(id, |conversation| {
            if let Some(status) = change.status {
                conversation.status = status;
            }
            if let Some(assigned_to) = &change.assigned_to {
                conversation.assigned_to.clone_from(assigned_to);
            }
            if let Some(labels) = &change.labels {
                conversation.labels.clone_from(labels);
            }
            if let Some(bot_enabled) = change.bot_enabled {
                conversation.bot_enabled = bot_enabled;
            }
        });
    }

    pub(super) fn conversation_read(&mut self, id: ConversationId) {
        self.change(id, |conversation| conversation.unread_count = 0);
    }

    /// No client sees the preference, so nothing is published. At the same moment a refusal wins.
    pub(super) fn marketing_preference_changed(
        &mut self,
        id: ConversationId,
        allowed: bool,
        at: Timestamp,
    ) {
        let (_, Some(mut conversation)) = self.resolve(id) else { return };
        let told = MarketingPreference { allowed, at };
        let joined = later_preference(conversation.marketing, Some(told));
        if joined != conversation.marketing {
            Arc::make_mut(&mut conversation).marketing = joined;
            self.state.put_conversation(conversation);
        }
    }

    /// Changes a conversation that was opened; of others there is nothing to change.
    fn change(&mut self, id: ConversationId, change: impl FnOnce(&mut Conversation)) {
        let (_, Some(before)) = self.resolve(id) else { return };
        let mut after = Conversation::clone(&before);
        change(&mut after);
        self.publish_conversation(Some(&before), after);
    }

    /// `from` lives on in `into`. Where one of them was merged already, the conversations they
    /// live on in are merged: all of them are one person's. So merges never form a circle.
    pub(super) fn contacts_merged(
        &mut self,
        from: ConversationId,
        into: ConversationId,
        identities: &[IdentityHash],
    ) {
        let (from, from_known) = self.resolve(from);
        let (into, into_known) = self.resolve(into);
        let client = self.client();
        if self.state.is_erased(client, from) || self.state.is_erased(client, into) {
            return;
        }
        self.link_identities(into, identities);
        if from == into {
            return;
        }
        let emptied = emptied(from, into, from_known.as_deref(), self);
        let emptied = self.put_conversation(from_known.as_deref(), emptied);
        let Some(absorbed) = from_known else { return };

        self.state.move_messages(client, from, into);
        let mut joined = match &into_known {
            Some(known) => Conversation::clone(known),
            None => Conversation { id: into, ..Conversation::clone(&absorbed) },
        };
        if into_known.is_some() {
            absorb(&mut joined, &absorbed);
        }
        let conversation = self.put_conversation(into_known.as_deref(), joined);
        self.public.push(PublicEvent::ConversationUpdated { conversation });
        self.public.push(PublicEvent::ConversationUpdated { conversation: emptied });
    }
}

/// What is left of `from`: a signpost to `into`, closed and empty for a screen that shows it
/// still. One that was never opened gets a signpost too, since events may name it yet.
fn emptied<S: State>(
    from: ConversationId,
    into: ConversationId,
    known: Option<&Conversation>,
    folding: &Folding<'_, S>,
) -> Conversation {
    let opened_at = known.map_or(folding.event.time, |known| known.created_at);
    let contact = Contact::default();
    let mut emptied = Conversation::opened(from, folding.event.client_id, contact, opened_at);
    emptied.status = ConversationStatus::Closed;
    emptied.merged_into = Some(into);
    emptied
}

/// Joins what two conversations of one person hold. What `into` knows wins; a decision to hold
/// back (bot off, no marketing) holds for both; the more open status wins, so that nothing that
/// somebody works on goes out of sight.
fn absorb(into: &mut Conversation, from: &Conversation) {
    into.contact.fill_from(&from.contact);
    into.status = match (into.status, from.status) {
        (ConversationStatus::Open, _) | (_, ConversationStatus::Open) => ConversationStatus::Open,
        (ConversationStatus::Pending, _) | (_, ConversationStatus::Pending) => {
            ConversationStatus::Pending
        }
        (ConversationStatus::Closed, ConversationStatus::Closed) => ConversationStatus::Closed,
    };
    into.unread_count = into.unread_count.saturating_add(from.unread_count);
    let from_is_newer = match (&into.last_message, &from.last_message) {
        (Some(a), Some(b)) => (b.timestamp, b.id) > (a.timestamp, a.id),
        (None, _) => true,
        (_, None) => false,
    };
    if from_is_newer {
        into.last_message.clone_from(&from.last_message);
    }
    if into.assigned_to.is_none() {
        into.assigned_to.clone_from(&from.assigned_to);
    }
    for label in &from.labels {
        if !into.labels.contains(label) {
            into.labels.push(label.clone());
        }
    }
    into.bot_enabled &= from.bot_enabled;
    into.contact_told_at = into.contact_told_at.max(from.contact_told_at);
    into.marketing = later_preference(into.marketing, from.marketing);
    into.window_expires_at = into.window_expires_at.max(from.window_expires_at);
    into.awaiting_response_since =
        [into.awaiting_response_since, from.awaiting_response_since].into_iter().flatten().min();
    into.person_answered_at = into.person_answered_at.max(from.person_answered_at);
    into.claimed.extend_from_slice(&from.claimed);
    let too_many = into.claimed.len().saturating_sub(CLAIMED_MAX);
    into.claimed.drain(..too_many);
    into.created_at = into.created_at.min(from.created_at);
}

/// The later of two; at the same moment the refusal.
fn later_preference(
    a: Option<MarketingPreference>,
    b: Option<MarketingPreference>,
) -> Option<MarketingPreference> {
    [a, b].into_iter().flatten().max_by_key(|preference| (preference.at, !preference.allowed))
}
