//! Bulks: created, claimed from, paused, ended; and what their messages do to their counters.
//!
//! A claim is known again by the number of its first recipient, a message by its id, and a change
//! of the status by the status: repeated in the log, none of them does anything.
//!
//! Progress is published when the numbers that it tells or the status change, until the bulk
//! ends: then a fact tells the numbers, and a late `delivered` or a doubt that is settled after the end is told by the message's
//! own event, and a screen that closed the bulk's progress need not open it again. Whoever ends a
//! bulk, a fact says so: `bulk_message_completed` with what was sent until then when a person
//! cancels it, since a screen that waits for the end must not wait for ever.

use std::sync::Arc;

use super::Folding;
use crate::domain::{
    bulk::{
        Bulk, BulkBatch, BulkCounts, BulkRecipient, BulkSpec, BulkStatus, RecipientResult,
        is_refusal, recipient_number, resumed_status,
    },
    ids::{BulkId, ConversationId, MessageId},
    message::{Message, ProviderError},
    public::PublicEvent,
    state::State,
};

impl<S: State> Folding<'_, S> {
    pub(super) fn bulk_created(&mut self, id: BulkId, spec: &BulkSpec) {
        let client = self.client();
        let known = self.state.bulk(client, id).is_some();
        // A pace that is no number at all, of a damaged event, could never be kept.
        if known || !(spec.rate_per_second.is_finite() && spec.rate_per_second > 0.0) {
            return;
        }
        let bulk = Bulk::created(id, client, Arc::new(spec.clone()), self.event.time);
        self.put_bulk(None, bulk);
    }

    pub(super) fn bulk_recipients_discarded(&mut self, id: BulkId) {
        let client = self.client();
        if self.state.bulk(client, id).is_none() {
            self.state.drop_bulk_parts(client, id);
        }
    }

    /// Whoever folded the messages knows all of it. In a rebuild their events are gone.
    pub(super) fn bulk_recipients_erased(
        &mut self,
        id: BulkId,
        recipients: &[(u32, RecipientResult)],
    ) {
        let client = self.client();
        let Some(bulk) = self.state.bulk(client, id) else { return };
        let mut after = Bulk::clone(&bulk);
        for &(number, result) in recipients {
            let known = self.state.bulk_recipient(client, id, number);
            let known = known.map(|known| known.result);
            // Queued, and dropped by whoever would have sent it.
            let dropped = result == RecipientResult::Erased
                && known.is_none_or(|known| known == RecipientResult::Waiting);
            if number >= bulk.spec.recipients || (known.is_some() && !dropped) {
                continue;
            }
            let progress = &mut after.progress;
            progress.counts.subtract(known.map(BulkCounts::of).unwrap_or_default());
            progress.counts.add(BulkCounts::of(result));
            progress.left_out = progress.left_out.saturating_add(u32::from(dropped));
            let recipient = BulkRecipient { result, conversation_id: None };
            self.state.put_bulk_recipient(client, id, number, recipient);
        }
        if after != *bulk {
            self.put_bulk(Some(&bulk), after);
        }
    }

    pub(super) fn bulk_started(&mut self, id: BulkId) {
        let now = self.event.time;
        self.change_bulk(id, |bulk| {
            if bulk.progress.status == BulkStatus::Scheduled {
                bulk.progress.status = BulkStatus::Running;
                bulk.progress.started_at = Some(now);
                bulk.progress.paced_to_us = now.0.saturating_mul(1000);
            }
        });
    }

    pub(super) fn bulk_batch_started(&mut self, batch: &BulkBatch) {
        let (client, id) = (self.client(), batch.bulk_id);
        let Some(bulk) = self.state.bulk(client, id) else { return };
        let claimed = bulk.progress.next;
        let end = batch.first.saturating_add(batch.count).min(bulk.spec.recipients);
        if end <= claimed {
            return;
        }
        let mut left_out = 0;
        for left in &batch.left_out {
            if (claimed..end).contains(&left.number) {
                left_out += 1;
                let result = RecipientResult::from(left.reason);
                let recipient = BulkRecipient { result, conversation_id: None };
                self.state.put_bulk_recipient(client, id, left.number, recipient);
            }
        }
        self.change_bulk(id, |bulk| {
            bulk.progress.next = end;
            bulk.progress.left_out = bulk.progress.left_out.saturating_add(left_out);
            bulk.progress.paced_to_us = batch.paced_to_us;
        });
    }

    pub(super) fn bulk_paused(&mut self, id: BulkId) {
        self.change_bulk(id, |bulk| {
            if matches!(bulk.progress.status, BulkStatus::Scheduled | BulkStatus::Running) {
                bulk.progress.status = BulkStatus::Paused;
            }
        });
    }

    pub(super) fn bulk_resumed(&mut self, id: BulkId) {
        let now = self.event.time;
        self.change_bulk(id, |bulk| {
            if !matches!(bulk.progress.status, BulkStatus::Paused | BulkStatus::Failed) {
                return;
            }
            let status = resumed_status(bulk, now);
            let progress = &mut bulk.progress;
            progress.status = status;
            progress.refusal = None;
            progress.finished_at = None;
            progress.paced_to_us = now.0.saturating_mul(1000);
            if status == BulkStatus::Running {
                progress.started_at.get_or_insert(now);
            }
        });
    }

    pub(super) fn bulk_cancelled(&mut self, id: BulkId) {
        self.end_bulk(id, BulkStatus::Cancelled, None, |bulk| {
            !matches!(bulk.progress.status, BulkStatus::Completed | BulkStatus::Cancelled)
        });
    }

    pub(super) fn bulk_completed(&mut self, id: BulkId) {
        self.end_bulk(id, BulkStatus::Completed, None, |bulk| !bulk.progress.status.is_ended());
    }

    pub(super) fn bulk_failed(&mut self, id: BulkId, error: &ProviderError) {
        self.end_bulk(id, BulkStatus::Failed, Some(error), |bulk| !bulk.progress.status.is_ended());
    }

    fn end_bulk(
        &mut self,
        id: BulkId,
        status: BulkStatus,
        error: Option<&ProviderError>,
        may_end: impl FnOnce(&Bulk) -> bool,
    ) {
        let Some(before) = self.state.bulk(self.event.client_id, id) else { return };
        if !may_end(&before) {
            return;
        }
        let mut after = Bulk::clone(&before);
        after.progress.status = status;
        after.progress.finished_at = Some(self.event.time);
        if let Some(error) = error {
            after.progress.refusal = Some(error.clone());
        }
        let BulkCounts { sent, failed, .. } = after.progress.counts;
        self.public.push(match error {
            Some(error) => PublicEvent::BulkMessageError { bulk_id: id, error: error_text(error) },
            None => PublicEvent::BulkMessageCompleted {
                bulk_id: id,
                success_count: sent,
                error_count: failed,
            },
        });
        self.put_bulk(Some(&before), after);
    }

    fn change_bulk(&mut self, id: BulkId, change: impl FnOnce(&mut Bulk)) {
        let Some(before) = self.state.bulk(self.event.client_id, id) else { return };
        let mut after = Bulk::clone(&before);
        change(&mut after);
        if after != *before {
            self.put_bulk(Some(&before), after);
        }
    }

    /// Stores a bulk that changed from `before`, and publishes its progress when that changed.
    fn put_bulk(&mut self, before: Option<&Bulk>, mut after: Bulk) {
        after.progress.updated_at = after.progress.updated_at.max(self.event.time);
        let changed = before.is_none_or(|before| seen(before) != seen(&after));
        if changed && !after.progress.status.is_ended() {
            self.bulk_progress = Some(PublicEvent::BulkMessageProgress {
                bulk_id: after.id,
                sent: after.progress.counts.sent,
                total: after.total(),
                current: after.progress.current,
            });
        }
        self.state.put_bulk(Arc::new(after));
    }

    /// A recipient's message, queued before its bulk was there (which no log has), is of none: the
    /// bulk's counters would miss it.
    pub(super) fn is_countable(&mut self, id: BulkId, message: MessageId) -> bool {
        let client = self.client();
        recipient_number(id, message).is_none() || self.state.bulk(client, id).is_some()
    }

    /// Keeps a bulk's counters up with one of its messages, which became `after`.
    pub(super) fn count_in_bulk(&mut self, before: Option<&Message>, after: &Message) {
        let Some(id) = after.bulk_id else { return };
        let Some(number) = recipient_number(id, after.id) else { return };
        let was = before.map(RecipientResult::of);
        let is = RecipientResult::of(after);
        if was == Some(is) {
            return;
        }
        let client = self.client();
        let Some(bulk) = self.state.bulk(client, id) else { return };
        if number >= bulk.spec.recipients {
            return;
        }
        let conversation_id = Some(after.conversation_id);
        let recipient = BulkRecipient { result: is, conversation_id };
        self.state.put_bulk_recipient(client, id, number, recipient);
        let mut changed = Bulk::clone(&bulk);
        let counts = &mut changed.progress.counts;
        counts.subtract(was.map(BulkCounts::of).unwrap_or_default());
        counts.add(BulkCounts::of(is));
        if counts.sent > bulk.progress.counts.sent {
            changed.progress.current = conversation_id;
        }
        let refusal = after.error.as_ref().filter(|error| is_refusal(error));
        if let Some(refusal) = refusal.filter(|_| !bulk.progress.status.is_ended()) {
            changed.progress.refusal = Some(refusal.clone());
        }
        self.put_bulk(Some(&bulk), changed);
    }
}

/// What of a bulk a screen follows.
fn seen(bulk: &Bulk) -> (BulkStatus, i64, i64, i64, Option<ConversationId>) {
    let BulkCounts { sent, failed, .. } = bulk.progress.counts;
    (bulk.progress.status, bulk.total(), sent, failed, bulk.progress.current)
}

fn error_text(error: &ProviderError) -> String {
    let ProviderError { code, title, detail } = error;
    if detail.is_empty() {
        format!("{title} ({code})")
    } else {
        format!("{title}: {detail} ({code})")
    }
}
