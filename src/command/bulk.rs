//! Bulks: taken in part by part, claimed a batch at a time, paused, resumed, cancelled.
//!
//! | who | what |
//! | --- | --- |
//! | `api` | [`begin_bulk`](Commands::begin_bulk), its recipients as they are read, then the bulk itself; [`Write::ControlBulk`](super::Write) |
//! | the runner | [`claim_batch`](Commands::claim_batch), [`advance_bulk`](Commands::advance_bulk), [`withdraw`](Commands::withdraw) |
//! | whoever erases a person | [`erase_from_bulks`](Commands::erase_from_bulks) |
//!
//! **Where personal data stands.** Recipients nobody has written to yet have no conversation, and
//! opening a hundred thousand before the answer would take minutes. They stand in streams of
//! their own (`recipients-…`), [`PART_RECIPIENTS_MAX`] to an event and one event to a stream. To
//! erase a person, the part is appended anew without them to another stream, and then the old
//! stream is deleted: a crash in between leaves both, and the erasure is done again. The order in
//! which a rebuild meets parts, claims and messages makes no difference to the fold.
//!
//! **Invariant:** a bulk that was created has all of its parts, for they are stored before. What
//! is stored of one that never came to be is discarded, at once or by the runner's sweep.
//!
//! **Invariant:** a claim and its queued messages are one append, at the version of the bulk's
//! stream that was decided on, so of two runners one wins and a pause or a cancellation in
//! between wins over both. The messages stand before the claim: where a backend stores only a
//! first part of an append, they are queued again by the next claim, under the same ids.

use std::sync::Arc;

use super::{
    Actor, Answer, Answered, CommandError, Commands, Request, conversation_stream,
    directory::{PlaceError, Placed, Placing, Telling, Told},
    idempotency::Keyed,
};
use crate::{
    domain::{
        bulk::{
            self, Bulk, BulkBatch, BulkControl, BulkSpec, BulkStatus, LeftOut, LeftOutReason,
            Recipient, RecipientPart, RecipientResult,
            content::{Rendered, Rendering},
            decide_control,
        },
        conversation::{Contact, Conversation},
        event::{Event, EventData, QueuedMessage, StatusChange},
        ids::{BulkId, ClientId, ConversationId, EventId, IdentityHash, MessageId, Position},
        message::{NOT_SENDABLE_CODE, ProviderError, Sender},
    },
    event_log::{Append, AppendError, Appended, Expected, Revision, StreamName},
    projection::queries::Queries,
};

/// Recipients in one part. A part is an event of some 100 KB, which every backend takes.
pub const PART_RECIPIENTS_MAX: usize = 1000;
/// Recipients in one claim. Larger batches would hold single messages up in the log's writer.
pub const BATCH_RECIPIENTS_MAX: usize = 256;
/// Events of a stream read at once while its last revision is looked for.
const REVISION_PAGE_EVENTS: usize = 1024;
/// As whom the runner's events are recorded.
const RUNNER: &str = "bulk";

/// A bulk on its way in: its recipients are being stored.
pub struct BulkDraft {
    pub id: BulkId,
    client: ClientId,
    actor: Actor,
    keyed: Option<Keyed>,
    parts: u32,
    recipients: u32,
}

/// What [`Commands::begin_bulk`] comes to.
pub enum Begun {
    Draft(BulkDraft),
    /// It was done before, under the same key.
    Repeated(Answered),
}

/// What became of a change that expected the bulk as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    Done(Appended),
    /// Somebody else was first.
    Lost,
}

/// What the runner finds about a bulk.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    ItsTimeHasCome,
    NothingWaits,
    Refused(ProviderError),
}

impl Commands {
    /// Begins to take in a bulk, unless its key was answered before.
    pub async fn begin_bulk(
        &self,
        client: ClientId,
        actor: &Actor,
        request: Option<&Request>,
    ) -> Result<Begun, CommandError> {
        let mut keyed = None;
        if let Some(request) = request {
            let begun = Keyed::begin(&self.core, &self.turns, client, request).await;
            if let Some(first) = begun.first_answer(&self.core, client).await? {
                return Ok(Begun::Repeated(first));
            }
            keyed = Some(begun);
        }
        let id = bulk::bulk_id(self.core.clock.new_id());
        let actor = actor.clone();
        Ok(Begun::Draft(BulkDraft { id, client, actor, keyed, parts: 0, recipients: 0 }))
    }

    /// Stores the next recipients, at most [`PART_RECIPIENTS_MAX`] to a part.
    pub async fn add_recipients(
        &self,
        draft: &mut BulkDraft,
        parts: Vec<Vec<Recipient>>,
    ) -> Result<(), CommandError> {
        let mut batch = Vec::with_capacity(parts.len());
        for recipients in parts {
            debug_assert!(recipients.len() <= PART_RECIPIENTS_MAX);
            let (part, first) = (draft.parts, draft.recipients);
            draft.parts += 1;
            draft.recipients = first.saturating_add(recipients.len() as u32);
            let stream = StreamName::Recipients(draft.client, draft.id, part);
            let part = RecipientPart { bulk_id: draft.id, part, first, recipients };
            let data = EventData::BulkRecipientsAdded(part);
            let events = vec![self.core.event(draft.client, &draft.actor.0, data)];
            batch.push(Append { stream, expected: Expected::NoStream, events });
        }
        self.core.log.append(batch).await?;
        Ok(())
    }

    /// Creates the bulk whose recipients are stored. `spec.recipients` is what was added.
    pub async fn create_bulk(
        &self,
        draft: &BulkDraft,
        mut spec: BulkSpec,
        answer: impl FnOnce(&Bulk) -> Answer,
    ) -> Result<Answered, CommandError> {
        let BulkDraft { id, client, .. } = *draft;
        spec.recipients = draft.recipients;
        let data = EventData::BulkCreated { bulk_id: id, spec: spec.clone() };
        let created = self.core.event(client, &draft.actor.0, data);
        let bulk = Bulk::created(id, client, Arc::new(spec), created.time);
        let answer = answer(&bulk);
        let stream = StreamName::Bulk(client, id);
        let mut batch =
            vec![Append { stream, expected: Expected::NoStream, events: vec![created] }];
        if let Some(keyed) = &draft.keyed {
            batch.push(keyed.entry(&self.core, client, &draft.actor.0, &answer, None, batch.len()));
        }
        match self.core.log.append(batch).await {
            Ok(appended) => {
                let position = appended.first().map_or(Position::START, |first| first.position);
                Ok(Answered { answer, position, repeated: false })
            }
            // Another instance was asked the same at the same time and answered first.
            Err(AppendError::Conflict { .. }) => {
                let Some(keyed) = &draft.keyed else { return Err(CommandError::Unavailable) };
                let first = keyed.first_answer(&self.core, client).await?;
                self.discard_draft(draft).await?;
                first.ok_or(CommandError::Unavailable)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back what is stored of a bulk that will not be.
    pub async fn discard_draft(&self, draft: &BulkDraft) -> Result<(), CommandError> {
        let parts = (0..draft.parts).collect();
        self.discard_bulk(draft.client, draft.id, parts).await
    }

    /// Takes back the parts of a bulk that was never created.
    pub async fn discard_bulk(
        &self,
        client: ClientId,
        id: BulkId,
        parts: Vec<u32>,
    ) -> Result<(), CommandError> {
        for part in parts {
            self.core.log.delete_stream(&StreamName::Recipients(client, id, part)).await?;
        }
        let data = EventData::BulkRecipientsDiscarded { bulk_id: id };
        self.append_to_bulk(client, id, Expected::NoStream, data).await?;
        Ok(())
    }

    /// The control's event, and the bulk as it is after it.
    pub(super) async fn decide_bulk(
        &self,
        client: ClientId,
        id: BulkId,
        control: BulkControl,
        fresh: bool,
    ) -> Result<(Bulk, Option<EventData>), CommandError> {
        let mut bulk = self.core.view.bulk(client, id).await?.ok_or(CommandError::NotFound)?;
        let now = self.core.clock.now();
        let decided = decide_control(&bulk, control, now)
            .map_err(|error| CommandError::Conflict { reason: error.to_string() })?;
        let bulk_id = id;
        let data = match control {
            BulkControl::Pause => EventData::BulkPaused { bulk_id },
            BulkControl::Resume => EventData::BulkResumed { bulk_id },
            BulkControl::Cancel => EventData::BulkCancelled { bulk_id },
        };
        let Some(status) = decided else { return Ok((bulk, (!fresh).then_some(data))) };
        let progress = &mut bulk.progress;
        progress.status = status;
        progress.finished_at = (status == BulkStatus::Cancelled).then_some(now);
        if control == BulkControl::Resume {
            progress.refusal = None;
            if status == BulkStatus::Running {
                progress.started_at.get_or_insert(now);
            }
        }
        Ok((bulk, Some(data)))
    }

    /// The newest revision of the bulk's stream, looked for from `known` on. The events up to it
    /// are in the read model when this returns, so a bulk that is read afterwards is at least
    /// as new.
    pub async fn bulk_revision(
        &self,
        client: ClientId,
        id: BulkId,
        known: Option<Revision>,
    ) -> Result<Option<Revision>, CommandError> {
        let found = self.newest_revision(&StreamName::Bulk(client, id), known).await?;
        if !self.core.come_up().await? {
            return Err(CommandError::Unavailable);
        }
        Ok(found)
    }

    async fn newest_revision(
        &self,
        stream: &StreamName,
        known: Option<Revision>,
    ) -> Result<Option<Revision>, CommandError> {
        let mut newest = known;
        loop {
            let page = self.core.log.read_stream(stream, newest, REVISION_PAGE_EVENTS).await?;
            newest = page.last().map(|record| record.revision).or(newest);
            if page.len() < REVISION_PAGE_EVENTS {
                return Ok(newest);
            }
        }
    }

    /// Claims the bulk's next recipients and queues a message for each who gets one, opening
    /// conversations with those who have none. At most [`BATCH_RECIPIENTS_MAX`], at least one.
    pub async fn claim_batch(
        &self,
        bulk: &Bulk,
        expected: Expected,
        recipients: Vec<Recipient>,
    ) -> Result<Advanced, CommandError> {
        let client = bulk.client_id;
        let batch = self.prepare_batch(bulk, recipients).await?;
        let Prepared { claim, messages, contacts } = batch;
        let finish = {
            let (core, id) = (Arc::clone(&self.core), bulk.id);
            Box::new(move |placed: &[Placed], _| -> Vec<Append> {
                let mut entries = Vec::with_capacity(placed.len() + 1);
                for ((number, rendered), placed) in messages.iter().zip(placed) {
                    // A contact that a message is for is always taken up.
                    let Some(conversation_id) = placed.id else { continue };
                    let queued = queued(id, *number, rendered, conversation_id);
                    let data = EventData::MessageQueued(queued);
                    let events = vec![core.event(client, RUNNER, data)];
                    let stream = conversation_stream(client, conversation_id);
                    entries.push(Append { stream, expected: Expected::Any, events });
                }
                let data = EventData::BulkBatchStarted(claim.clone());
                let events = vec![core.event(client, RUNNER, data)];
                entries.push(Append { stream: StreamName::Bulk(client, id), expected, events });
                entries
            })
        };
        let placing = Placing { client, actor: RUNNER.to_owned(), contacts, finish };
        match self.directory.place(placing).await {
            Ok(settled) => match settled.finished.last() {
                Some(claimed) => Ok(Advanced::Done(*claimed)),
                None => Err(CommandError::Unknown),
            },
            Err(PlaceError::Conflict) => Ok(Advanced::Lost),
            Err(PlaceError::Failed(error)) => Err(error),
        }
    }

    /// Who of the recipients gets which message.
    async fn prepare_batch(
        &self,
        bulk: &Bulk,
        recipients: Vec<Recipient>,
    ) -> Result<Prepared, CommandError> {
        self.heed_erasures().await?;
        let held = self.directory.held();
        let client = bulk.client_id;
        let first = bulk.progress.next;
        let count = recipients.len() as u32;
        let mut told = Vec::with_capacity(recipients.len());
        for recipient in &recipients {
            let contact = contact_of(recipient);
            let identities = self.core.hasher.identities(client, &contact);
            told.push(Told { contact, identities, telling: Telling::Filling });
        }
        // One who was erased has none, and a phone number makes one.
        let nobody = IdentityHash([0; 16]);
        let hash = |told: &Told| told.identities.first().copied().unwrap_or(nobody);
        let hashes = told.iter().map(hash).collect();
        let known = self.core.view.conversations_of_contacts(client, hashes).await?;
        let forbids = |known: &Option<Conversation>| {
            let marketing = known.as_ref().and_then(|known| known.marketing);
            marketing.is_some_and(|told| !told.allowed)
        };
        let rendering = Rendering::of(&bulk.spec.content, &bulk.spec.columns);
        let (mut left_out, mut messages, mut contacts) = (Vec::new(), Vec::new(), Vec::new());
        for (((number, recipient), told), known) in (first..).zip(&recipients).zip(told).zip(&known)
        {
            // Their part may not be written anew yet.
            let erased = self.was_erased(client, &told.contact);
            let erased = erased.is_some_and(|at| at >= bulk.progress.created_at);
            let reason = if recipient.is_erased() || erased {
                LeftOutReason::Erased
            } else if forbids(known) {
                LeftOutReason::OptedOut
            } else {
                match rendering.render(recipient) {
                    Ok(rendered) => {
                        messages.push((number, rendered));
                        contacts.push(told);
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(bulk_id = %bulk.id, number, %error, "a recipient makes no message");
                        LeftOutReason::Invalid
                    }
                }
            };
            left_out.push(LeftOut { number, reason });
        }
        held.prime(&known.into_iter().flatten().collect::<Vec<_>>(), self.core.clock.now());
        let paced_to_us = bulk::paced_to(bulk, self.core.clock.now(), count);
        let claim = BulkBatch { bulk_id: bulk.id, first, count, left_out, paced_to_us };
        Ok(Prepared { claim, messages, contacts })
    }

    /// Records what the runner found, if the bulk is still as it was.
    pub async fn advance_bulk(
        &self,
        bulk: &Bulk,
        expected: Expected,
        finding: Finding,
    ) -> Result<Advanced, CommandError> {
        let bulk_id = bulk.id;
        let data = match finding {
            Finding::ItsTimeHasCome => EventData::BulkStarted { bulk_id },
            Finding::NothingWaits => EventData::BulkCompleted { bulk_id },
            Finding::Refused(error) => EventData::BulkFailed { bulk_id, error },
        };
        self.append_to_bulk(bulk.client_id, bulk_id, expected, data).await
    }

    async fn append_to_bulk(
        &self,
        client: ClientId,
        id: BulkId,
        expected: Expected,
        data: EventData,
    ) -> Result<Advanced, CommandError> {
        let events = vec![self.core.event(client, RUNNER, data)];
        let entry = Append { stream: StreamName::Bulk(client, id), expected, events };
        match self.core.log.append(vec![entry]).await {
            Ok(appended) => match appended.last() {
                Some(last) => Ok(Advanced::Done(*last)),
                None => Err(CommandError::Unknown),
            },
            Err(AppendError::Conflict { .. }) => Ok(Advanced::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back the messages to these recipients of a cancelled bulk that nobody has claimed for
    /// sending: each fails, at the version of its conversation at which that was so. Answers how
    /// many; the others are on their way.
    pub async fn withdraw(&self, bulk: &Bulk, numbers: &[u32]) -> Result<usize, CommandError> {
        let mut withdrawn = 0;
        for &number in numbers {
            let id = bulk::message_id(bulk.id, number);
            if let Some(entry) = self.withdrawal(bulk, id).await? {
                match self.core.log.append(vec![entry]).await {
                    Ok(_) => withdrawn += 1,
                    Err(AppendError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(withdrawn)
    }

    /// `None` when the message is gone, or on its way.
    async fn withdrawal(
        &self,
        bulk: &Bulk,
        message_id: MessageId,
    ) -> Result<Option<Append>, CommandError> {
        let client = bulk.client_id;
        let found = self.core.view.message(client, message_id).await?;
        let Some(conversation_id) = found.map(|message| message.conversation_id) else {
            return Ok(None);
        };
        let stream = conversation_stream(client, conversation_id);
        let (mut newest, mut standing) = (None, Standing::Unclaimed);
        loop {
            let page = self.core.log.read_stream(&stream, newest, REVISION_PAGE_EVENTS).await?;
            for record in &page {
                standing = standing.after(&record.event, message_id);
            }
            newest = page.last().map(|record| record.revision).or(newest);
            if page.len() < REVISION_PAGE_EVENTS {
                break;
            }
        }
        let Some(newest) = newest.filter(|_| standing == Standing::Unclaimed) else {
            return Ok(None);
        };
        let error = ProviderError {
            code: NOT_SENDABLE_CODE,
            title: "Cancelled".to_owned(),
            detail: "the bulk was cancelled before this message was sent".to_owned(),
        };
        let data = EventData::MessageFailed(StatusChange {
            conversation_id,
            message_id: Some(message_id),
            dedupe_key: None,
            wa_message_id: None,
            at: self.core.clock.now(),
            error: Some(error),
        });
        let events = vec![self.core.event(client, RUNNER, data)];
        Ok(Some(Append { stream, expected: Expected::Revision(newest), events }))
    }

    /// Erases the person known by these identities from the recipients of all of the tenant's
    /// bulks, those who were written to and those who were not. Answers in how many parts they
    /// were; doing it again does no harm. To be called before the person's messages go from the
    /// read model: the bulks keep their numbers. Who was not written to yet is left out.
    pub async fn erase_from_bulks(
        &self,
        queries: &Queries,
        client: ClientId,
        actor: &Actor,
        identities: &[IdentityHash],
    ) -> Result<usize, CommandError> {
        let is_they = {
            let (core, identities) = (Arc::clone(&self.core), identities.to_vec());
            move |recipient: &Recipient| {
                let hashes = core.hasher.identities(client, &contact_of(recipient));
                hashes.iter().any(|hash| identities.contains(hash))
            }
        };
        // A part that is in the log and not in the read model yet would be overlooked.
        if !self.core.come_up().await? {
            return Err(CommandError::Unavailable);
        }
        let parts = queries.bulk_parts_with(client, is_they.clone()).await?;
        let rewritten = parts.len();
        for part in parts {
            let (bulk_id, old) = (part.bulk_id, part.part);
            let theirs = (part.first..).zip(&part.recipients).filter(|(_, one)| is_they(one));
            let numbers = theirs.map(|(number, _)| number).collect();
            let mut recipients = queries.bulk_results(client, bulk_id, numbers).await?;
            for (_, result) in &mut recipients {
                // What was not sent is not sent any more.
                if *result == RecipientResult::Waiting {
                    *result = RecipientResult::Erased;
                }
            }
            let part = part.rewritten(&is_they);
            let stream = StreamName::Recipients(client, bulk_id, part.part);
            let mut batch = Vec::new();
            if !recipients.is_empty() {
                let data = EventData::BulkRecipientsErased { bulk_id, recipients };
                batch.push((StreamName::Bulk(client, bulk_id), data));
            }
            batch.push((stream, EventData::BulkRecipientsAdded(part)));
            let entry = |(stream, data)| Append {
                stream,
                expected: Expected::Any,
                events: vec![self.core.event(client, &actor.0, data)],
            };
            self.core.log.append(batch.into_iter().map(entry).collect()).await?;
            self.core.log.delete_stream(&StreamName::Recipients(client, bulk_id, old)).await?;
        }
        Ok(rewritten)
    }

    /// Keyed hashes of the names under which somebody with this phone number is known.
    pub fn identities_of_phone(&self, client: ClientId, phone: &str) -> Vec<IdentityHash> {
        let recipient = Recipient { phone: phone.to_owned(), ..Recipient::default() };
        self.core.hasher.identities(client, &contact_of(&recipient)).to_vec()
    }
}

/// Nobody, for one who was erased.
fn contact_of(recipient: &Recipient) -> Contact {
    Contact {
        phone: (!recipient.is_erased()).then(|| recipient.phone.clone()),
        name: recipient.name.clone(),
        ..Contact::default()
    }
}

/// A batch, decided.
struct Prepared {
    claim: BulkBatch,
    /// With the recipients' numbers; as many as `contacts`, in the same order.
    messages: Vec<(u32, Rendered)>,
    contacts: Vec<Told>,
}

fn queued(
    bulk: BulkId,
    number: u32,
    rendered: &Rendered,
    conversation_id: ConversationId,
) -> QueuedMessage {
    QueuedMessage {
        conversation_id,
        message_id: bulk::message_id(bulk, number),
        sender: Sender::Bulk,
        kind: rendered.kind,
        text: rendered.text.clone(),
        media: None,
        payload: rendered.payload.clone(),
        reply_to: None,
        client_ref: None,
        bulk_id: Some(bulk),
    }
}

/// How a queued message stands in its conversation's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unclaimed,
    /// By the event with this id.
    Claimed(EventId),
    /// Its outcome is known.
    Settled,
}

impl Standing {
    fn after(self, event: &Event, id: MessageId) -> Self {
        match (&event.data, self) {
            (EventData::SendStarted { message_id, .. }, Self::Unclaimed) if *message_id == id => {
                Self::Claimed(event.id)
            }
            (EventData::SendReleased { message_id, claim, .. }, Self::Claimed(by))
                if *message_id == id && claim.is_none_or(|claim| claim == by) =>
            {
                Self::Unclaimed
            }
            (
                EventData::MessageSent(change)
                | EventData::MessageDelivered(change)
                | EventData::MessageRead(change)
                | EventData::MessageFailed(change),
                _,
            ) if change.message_id == Some(id) => Self::Settled,
            _ => self,
        }
    }
}
