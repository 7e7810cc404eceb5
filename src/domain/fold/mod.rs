//! The fold: from the state and one event to the next state and what the public hears of it.
//!
//! The projector calls it for every event of the log, in log order; nothing else changes the
//! read model's state. One file per kind of thing an event is about: [`message`] (what came in or
//! is to be sent), [`claim`] (who sends it), [`status`] (how far it has come), [`amendment`]
//! (edits, revocations), [`conversation`] (the conversation itself, merges), [`media`] (our
//! copies of attachments), [`erasure`] (a person goes), [`bulk`] (bulks and the counters that
//! their messages move) and [`tenant`] (bot, WhatsApp, days).
//!
//! The public events of one domain event come in this order: the fact, the conversations that
//! changed without a fact that carries them, the bulk's progress, the tenant's state.
//!
//! What an event repeated in the log does: a message, a status, an amendment, an opened
//! conversation, a merge, a day are known again wherever the repetition stands. The events that
//! set a value (contact, conversation, read, bot, WhatsApp) are last-writer-wins in log order:
//! repeating one is harmless until another writer has set the same value, which `command` and
//! the log's own de-duplication of retries rule out.

mod amendment;
mod bulk;
mod claim;
mod conversation;
mod erasure;
mod media;
mod message;
mod notice;
mod status;
mod tenant;
#[cfg(test)]
mod tests;

pub use erasure::ERASED_KEPT_MS;
pub use tenant::ANSWER_KEPT_MS;

use std::sync::Arc;

use super::{
    conversation::{Contact, Conversation},
    event::{Event, EventData},
    ids::{ClientId, ConversationId},
    message::{Message, MessageStatus},
    public::PublicEvent,
    state::State,
    stats::{ConversationCounts, Counts, Share, Stats},
    time::Timestamp,
};

/// The version of what the fold makes of a log: it goes up with every change of that, and makes
/// every read model be built anew.
pub const FOLD_VERSION: u32 = 3;

/// The longest chain of merges that is followed. A contact has a handful of identities, and each
/// merge ties two conversations, so that a longer one is a damaged state.
const MERGE_CHAIN_MAX: usize = 1024;

/// How far a message may lie ahead of the time at which we took it in. More is no clock's drift
/// but an error of the sender (seconds taken for milliseconds), and would stand as the newest
/// message for ever; the time of the intake is taken instead.
const AHEAD_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Applies `event` to `state` and returns the public events that follow from it, in order.
///
/// **Invariant:** total and deterministic. It never panics on any logged event, and reads no
/// clock and no randomness, so every instance folds the same log to the same state and events.
///
/// **Invariant:** idempotent over meaning. A message whose key is known, a status that is no
/// advance, a repeated notice change nothing and publish nothing.
pub fn fold(state: &mut impl State, event: &Event) -> Vec<PublicEvent> {
    let mut folding =
        Folding { state, event, public: Vec::new(), bulk_progress: None, stats_before: None };
    folding.apply();
    folding.finish()
}

/// One event's way through the fold.
struct Folding<'a, S> {
    state: &'a mut S,
    event: &'a Event,
    public: Vec<PublicEvent>,
    /// A bulk's progress, when the event changed it.
    bulk_progress: Option<PublicEvent>,
    /// The statistics as they were, once they were touched.
    stats_before: Option<Stats>,
}

impl<S: State> Folding<'_, S> {
    fn apply(&mut self) {
        if self.state.has_erased() && self.is_late_for_erased() {
            return;
        }
        match &self.event.data {
            EventData::ContactRegistered { conversation_id, identities }
            | EventData::IdentitiesLinked { conversation_id, identities } => {
                self.link_identities(*conversation_id, identities);
            }
            EventData::ContactsMerged { from, into, identities } => {
                self.contacts_merged(*from, *into, identities);
            }
            EventData::ConversationOpened { conversation_id, contact, at } => {
                self.conversation_opened(*conversation_id, contact, *at);
            }
            EventData::ContactChanged { conversation_id, contact, at } => {
                self.contact_changed(*conversation_id, contact, *at);
            }
            EventData::MessageReceived(message) => self.message_received(message),
            EventData::MessageEchoed(message) => self.message_echoed(message),
            EventData::MessageQueued(message) => self.message_queued(message),
            EventData::SendStarted { message_id, .. } => self.send_started(*message_id),
            EventData::SendReleased { message_id, .. } => self.send_released(*message_id),
            EventData::SendDoubted { message_id, .. } => self.send_doubted(*message_id),
            EventData::MessageSent(change) => self.status_told(change, MessageStatus::Sent),
            EventData::MessageDelivered(change) => {
                self.status_told(change, MessageStatus::Delivered);
            }
            EventData::MessageRead(change) => self.status_told(change, MessageStatus::Read),
            EventData::MessageFailed(change) => self.status_told(change, MessageStatus::Failed),
            EventData::MessageEdited(amendment) => self.message_amended(amendment, false),
            EventData::MessageRevoked(amendment) => self.message_amended(amendment, true),
            EventData::ConversationChanged { conversation_id, change } => {
                self.conversation_changed(*conversation_id, change);
            }
            EventData::ConversationRead { conversation_id } => {
                self.conversation_read(*conversation_id);
            }
            EventData::MarketingPreferenceChanged { conversation_id, allowed, at } => {
                self.marketing_preference_changed(*conversation_id, *allowed, *at);
            }
            EventData::MediaStored { message_id, media, .. } => {
                self.media_stored(*message_id, media);
            }
            EventData::MediaFailed { message_id, reason, .. } => {
                self.media_failed(*message_id, *reason);
            }
            EventData::PersonalDataErased(erasure) => self.personal_data_erased(erasure),
            EventData::ErasureCompleted { conversation_id } => {
                self.state.put_erasing(self.event.client_id, *conversation_id, None);
            }
            EventData::BotStatusChanged { status, reason } => {
                self.bot_status_changed(*status, reason.as_deref());
            }
            EventData::WhatsappStateChanged { .. } => self.whatsapp_state_changed(),
            EventData::DayStarted { date, time_zone } => self.day_started(date, time_zone),
            EventData::BulkRecipientsAdded(part) => {
                self.state.put_bulk_part(self.event.client_id, part);
            }
            EventData::BulkRecipientsDiscarded { bulk_id } => {
                self.bulk_recipients_discarded(*bulk_id);
            }
            EventData::BulkCreated { bulk_id, spec } => self.bulk_created(*bulk_id, spec),
            EventData::BulkRecipientsErased { bulk_id, recipients } => {
                self.bulk_recipients_erased(*bulk_id, recipients);
            }
            EventData::BulkStarted { bulk_id } => self.bulk_started(*bulk_id),
            EventData::BulkBatchStarted(batch) => self.bulk_batch_started(batch),
            EventData::BulkPaused { bulk_id } => self.bulk_paused(*bulk_id),
            EventData::BulkResumed { bulk_id } => self.bulk_resumed(*bulk_id),
            EventData::BulkCancelled { bulk_id } => self.bulk_cancelled(*bulk_id),
            EventData::BulkCompleted { bulk_id } => self.bulk_completed(*bulk_id),
            EventData::BulkFailed { bulk_id, error } => self.bulk_failed(*bulk_id, error),
            EventData::TenantSetUp(setup) => self.tenant_set_up(setup),
            EventData::CredentialsResealed { replaces, sealed } => {
                self.credentials_resealed(*replaces, sealed);
            }
            EventData::AnswersForgotten { before } => {
                self.state.forget_answers(self.event.client_id, *before);
            }
            EventData::RequestAnswered(answer) => {
                self.state.put_answer(self.event.client_id, answer, self.event.time);
            }
            EventData::ErasureBegun { .. }
            | EventData::UnknownContactChange { .. }
            | EventData::UnknownChange { .. }
            | EventData::Unknown { .. } => {}
        }
    }

    /// The statistics' event comes last, and once however much of them changed.
    fn finish(mut self) -> Vec<PublicEvent> {
        self.public.extend(self.bulk_progress.take());
        if let Some(before) = self.stats_before {
            let stats = &mut self.state.tenant(self.event.client_id).stats;
            if *stats != before {
                stats.updated_at = stats.updated_at.max(self.event.time);
                self.public.push(PublicEvent::StatsUpdated);
            }
        }
        self.public
    }

    /// The statistics, to be changed.
    fn stats(&mut self) -> &mut Stats {
        let stats = &mut self.state.tenant(self.event.client_id).stats;
        self.stats_before.get_or_insert_with(|| stats.clone());
        stats
    }

    fn client(&self) -> ClientId {
        self.event.client_id
    }

    /// The conversation that lives on under `id`, merges followed.
    fn resolve(&mut self, id: ConversationId) -> (ConversationId, Option<Arc<Conversation>>) {
        let client = self.client();
        let mut id = id;
        for _ in 0..MERGE_CHAIN_MAX {
            let found = self.state.conversation(client, id);
            match found.as_deref().and_then(|conversation| conversation.merged_into) {
                Some(into) => id = into,
                None => return (id, found),
            }
        }
        (id, None)
    }

    /// As [`resolve`](Self::resolve); one that was never opened is made, empty. Its opening can
    /// be missing where a contact was erased and writes again.
    fn resolve_or_open(&mut self, id: ConversationId) -> (Option<Arc<Conversation>>, Conversation) {
        let (id, known) = self.resolve(id);
        let conversation = match &known {
            Some(known) => Conversation::clone(known),
            None => Conversation::opened(id, self.client(), Contact::default(), self.event.time),
        };
        (known, conversation)
    }

    /// Stores a conversation that changed from `before`, and keeps the counters up.
    fn put_conversation(
        &mut self,
        before: Option<&Conversation>,
        mut after: Conversation,
    ) -> Arc<Conversation> {
        after.updated_at = after.updated_at.max(self.event.time);
        let was = before.map(ConversationCounts::of).unwrap_or_default();
        let is = ConversationCounts::of(&after);
        if was != is {
            let counts = &mut self.stats().conversations;
            counts.subtract(&was);
            counts.add(&is);
        }
        let after = Arc::new(after);
        self.state.put_conversation(Arc::clone(&after));
        after
    }

    /// Stores a conversation, when it changed, and publishes it.
    fn publish_conversation(&mut self, before: Option<&Conversation>, after: Conversation) {
        if before == Some(&after) {
            return;
        }
        let conversation = self.put_conversation(before, after);
        self.public.push(PublicEvent::ConversationUpdated { conversation });
    }

    /// Keeps the counters up with a message that became `after`. The change counts for the hour
    /// and the day in which we learn of it; an imported message for the hour in which it was
    /// written and for no `today`.
    fn count_message(&mut self, before: Option<&Message>, after: &Message) {
        self.count_in_bulk(before, after);
        let was = before.map(Share::of).unwrap_or_default();
        let change = Share::of(after).minus(was);
        if change == Share::default() {
            return;
        }
        let import = before.is_none() && after.imported;
        let stats = self.stats();
        stats.total_messages += change.messages;
        stats.queued += change.queued;
        stats.totals.add(change.counts);
        if !import {
            stats.today.add(change.counts);
        }
        if change.counts != Counts::ZERO {
            let moment = if import { after.timestamp } else { self.event.time };
            self.state.add_to_hour(self.event.client_id, moment.floor_to_hour(), change.counts);
        }
    }

    /// A provider's time, unless it is absurdly late.
    fn plausible(&self, told: Timestamp) -> Timestamp {
        if told.since(self.event.time) > AHEAD_MAX_MS { self.event.time } else { told }
    }
}
