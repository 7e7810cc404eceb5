//! What comes in: messages, statuses and changes that a gateway or a bridge brings.
//!
//! All of one call is one append: the contacts that are new, what is new of them, and one event
//! for each thing. A thing that was stored lately is a duplicate and costs nothing.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use super::{
    Actor, Answer, Answered, CommandError, Commands, Core, IntakeOutcome, Request,
    conversation_stream,
    directory::{PlaceError, Placed, Placing, Settled, Telling, Told},
    idempotency::Keyed,
    recent::{Key, Recent},
};
use crate::{
    domain::{
        conversation::Contact,
        event::{EventData, IncomingMessage, MessageAmendment, StatusChange},
        ids::{ClientId, ConversationId, MessageId, Position},
        intake::{Intake, IntakeAmendment, IntakeMessage, IntakeStatus},
        message::{Direction, MessageStatus},
        time::Timestamp,
        whatsapp::{WhatsApp, WhatsAppStatus, WhatsAppTold},
    },
    event_log::{Append, AppendError, Expected, StreamName},
    projection::queries::MessageName,
};

/// The most things in one call.
pub const INTAKE_ITEMS_MAX: usize = 1000;

/// Where a status is kept that names nobody, of a message that is not here (yet): it waits there
/// for the message, which settles whose it is. No contact ever has this id.
const NOBODY: ConversationId = ConversationId(0);

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenIn {
    /// One per item, in order.
    pub outcomes: Vec<IntakeOutcome>,
    /// Where the first event of the call stands that clients may hear of: an item, or what is new
    /// of its contact. `None` when nothing was stored.
    pub first: Option<Position>,
}

/// What is to be done with one thing that came in.
enum Step {
    /// Stored already.
    Duplicate,
    /// An event in the conversation of the contact with this index, if there is one.
    ForContact(usize),
    /// What is told of the contact with this index is all there is.
    Telling(usize),
    /// An event in a conversation that is known without asking for the contact.
    In(ConversationId),
    /// An event of the tenant's.
    Tenant(Box<EventData>),
}

/// The things of one call, and what is to be done with each.
struct Work {
    items: Vec<Intake>,
    steps: Vec<Step>,
    contacts: Vec<Told>,
    /// Under what each is remembered, where it is.
    keys: Vec<Option<Key>>,
}

impl Commands {
    /// As [`Commands::take_in_all`], for who asks only what became of each item.
    pub async fn take_in(
        &self,
        client: ClientId,
        actor: &Actor,
        items: Vec<Intake>,
    ) -> Result<Vec<IntakeOutcome>, CommandError> {
        Ok(self.take_in_all(client, actor, items).await?.outcomes)
    }

    /// Stores what came in for a tenant, all of it in one append, conversation ids resolved and
    /// taken on the way. An error means that nothing, or nothing certain, was stored. At most
    /// [`INTAKE_ITEMS_MAX`] items.
    pub async fn take_in_all(
        &self,
        client: ClientId,
        actor: &Actor,
        items: Vec<Intake>,
    ) -> Result<TakenIn, CommandError> {
        if items.len() > INTAKE_ITEMS_MAX {
            let reason = format!("at most {INTAKE_ITEMS_MAX} items at once");
            return Err(CommandError::Invalid { field: "items", reason });
        }
        self.heed_erasures().await?;
        let recent = self.recent.load_full();
        let (items, told_by_words) = self.with_preferences(client, &recent, items);
        let mut work = self.sort(client, actor, &recent, items).await?;
        let contacts = std::mem::take(&mut work.contacts);
        let work = Arc::new(work);
        let finish = {
            let (core, work) = (Arc::clone(&self.core), Arc::clone(&work));
            let actor = actor.0.clone();
            Box::new(move |placed: &[Placed], _| work.appends(&core, client, &actor, placed))
        };
        let placing = Placing { client, actor: actor.0.clone(), contacts, finish };
        let settled = match self.directory.place(placing).await {
            Ok(settled) => settled,
            // Nothing here expects a version.
            Err(PlaceError::Conflict) => return Err(CommandError::Unavailable),
            Err(PlaceError::Failed(error)) => return Err(error),
        };
        let mut outcomes = outcomes(client, &work, &settled, &recent);
        let mut told_by_words = told_by_words.into_iter();
        outcomes.retain(|_| told_by_words.next() != Some(true));
        Ok(TakenIn { outcomes, first: settled.first() })
    }

    /// As [`Commands::take_in_all`], under an `Idempotency-Key`: whoever comes with the same key is
    /// told the first answer again, the `cursor` in its body included. The answer is kept in an append of its own: should it fail,
    /// things that are stored are duplicates when they come again, so nothing is done twice.
    pub async fn take_in_once(
        &self,
        client: ClientId,
        actor: &Actor,
        request: &Request,
        items: Vec<Intake>,
        answer: impl FnOnce(&TakenIn) -> Answer + Send,
    ) -> Result<Answered, CommandError> {
        let keyed = Keyed::begin(&self.core, &self.turns, client, request).await;
        if let Some(first) = keyed.first_answer(&self.core, client).await? {
            return Ok(first);
        }
        let answer = answer(&self.take_in_all(client, actor, items).await?);
        let entry = keyed.entry(&self.core, client, &actor.0, &answer, None, 0);
        match self.core.log.append(vec![entry]).await {
            Ok(appended) => {
                let position = appended.last().map_or(Position::START, |last| last.position);
                Ok(Answered { answer, position, repeated: false })
            }
            // Another instance was asked the same at the same time and answered first.
            Err(AppendError::Conflict { .. }) => {
                let first = keyed.first_answer(&self.core, client).await?;
                first.ok_or(CommandError::Unavailable)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Decides what is to be done with each thing.
    async fn sort(
        &self,
        client: ClientId,
        actor: &Actor,
        recent: &Recent,
        items: Vec<Intake>,
    ) -> Result<Work, CommandError> {
        let mut work = Work {
            steps: Vec::with_capacity(items.len()),
            contacts: Vec::with_capacity(items.len()),
            keys: Vec::with_capacity(items.len()),
            items: Vec::new(),
        };
        let mut seen = HashSet::new();
        let mut is_new = |key: &Key| recent.get(key).is_none() && seen.insert(*key);
        work.keys = items.iter().map(|item| self.key_of(client, item)).collect();
        let news: Vec<bool> =
            work.keys.iter().map(|key| key.as_ref().is_none_or(&mut is_new)).collect();
        let located = self.locate(client, recent, &items, &news).await?;
        let mut state = None;
        for ((item, is_new), located) in items.iter().zip(news).zip(located) {
            let step = if self.is_of_the_erased_past(client, item) {
                Step::Duplicate
            } else if is_new {
                self.step(client, actor, item, located, &mut work.contacts, &mut state).await?
            } else {
                self.repeated(client, item, &mut work.contacts)
            };
            work.steps.push(step);
        }
        work.items = items;
        Ok(work)
    }

    /// Where the messages are that new statuses, and amendments of nobody or of erased persons,
    /// speak of: in memory first, and with one query for all others.
    async fn locate(
        &self,
        client: ClientId,
        recent: &Recent,
        items: &[Intake],
        news: &[bool],
    ) -> Result<Vec<Option<ConversationId>>, CommandError> {
        let mut located = vec![None; items.len()];
        let (mut places, mut names) = (Vec::new(), Vec::new());
        for (place, (item, is_new)) in items.iter().zip(news).enumerate() {
            let Some(name) = self.speaks_of(client, item).filter(|_| *is_new) else { continue };
            located[place] = recent.get(&self.message_key(client, &name.dedupe_key));
            if located[place].is_none() {
                places.push(place);
                names.push(name);
            }
        }
        if !names.is_empty() {
            let found = self.core.view.conversations_of(client, names).await?;
            for (place, found) in places.into_iter().zip(found) {
                located[place] = found;
            }
        }
        Ok(located)
    }

    /// The message that a thing is about, where that says whose it is.
    fn speaks_of(&self, client: ClientId, item: &Intake) -> Option<MessageName> {
        match item {
            Intake::Status { status, .. } => {
                Some(MessageName { id: status.message_id, dedupe_key: status.dedupe_key.clone() })
            }
            Intake::Amendment { contact, amendment }
                if self.core.hasher.identities(client, contact).is_empty()
                    || self.was_erased(client, contact).is_some() =>
            {
                Some(MessageName { id: None, dedupe_key: amendment.target.clone() })
            }
            _ => None,
        }
    }

    async fn step(
        &self,
        client: ClientId,
        actor: &Actor,
        item: &Intake,
        located: Option<ConversationId>,
        contacts: &mut Vec<Told>,
        state: &mut Option<WhatsApp>,
    ) -> Result<Step, CommandError> {
        let mut told = |contact: &Contact, telling| {
            self.told(client, contact, telling, contacts).map(Step::ForContact)
        };
        let without = |what, key: &str| self.without_contact(client, actor, what, key);
        Ok(match item {
            Intake::Message { contact, message } => {
                let own_doing = message.direction == Direction::Inbound && !message.imported;
                let telling =
                    if own_doing { Telling::News(message.sent_at) } else { Telling::Filling };
                told(contact, telling).unwrap_or_else(|| without("message", &message.dedupe_key))
            }
            // The company may write to many with other tools: they are no conversations here.
            Intake::Status { contact, .. } => match located {
                Some(id) => Step::In(id),
                None if self.was_erased(client, contact).is_some() => {
                    self.of_erased(client, contact).await?
                }
                None => told(contact, Telling::Unopened).unwrap_or(Step::In(NOBODY)),
            },
            Intake::Amendment { contact, .. } if self.was_erased(client, contact).is_some() => {
                match located {
                    Some(id) => Step::In(id),
                    None => self.of_erased(client, contact).await?,
                }
            }
            Intake::Amendment { contact, amendment } => told(contact, Telling::Filling)
                .or_else(|| located.map(Step::In))
                .unwrap_or_else(|| without("amendment", &amendment.target)),
            Intake::ContactChange { contact, previous, at } => {
                self.told_change(client, contact, previous, *at, contacts)
            }
            // A refusal must be kept also of somebody of whom nothing else is.
            Intake::MarketingPreference { contact, allowed, .. } => {
                let telling = if *allowed { Telling::OfKnown } else { Telling::Filling };
                told(contact, telling).unwrap_or_else(|| without("contact_change", ""))
            }
            Intake::UnknownOfContact { contact, .. } => {
                told(contact, Telling::Unopened).unwrap_or_else(|| without("contact_change", ""))
            }
            Intake::WhatsAppState { told, at, .. } => {
                self.state_step(client, actor, told, *at, state).await?
            }
            Intake::Unknown { kind, raw, .. } => Step::Tenant(Box::new(EventData::UnknownChange {
                provider: actor.0.clone(),
                kind: kind.clone(),
                raw: raw.clone(),
            })),
        })
    }

    /// A message that was written before its contact was erased is gone, whenever it is told:
    /// providers repeat themselves, and histories are imported.
    fn is_of_the_erased_past(&self, client: ClientId, item: &Intake) -> bool {
        let Intake::Message { contact, message } = item else { return false };
        self.was_erased(client, contact).is_some_and(|at| message.sent_at <= at)
    }

    /// What speaks of a message that is not here, of a contact that was erased: it is of an
    /// erased message, unless they have written since.
    async fn of_erased(&self, client: ClientId, contact: &Contact) -> Result<Step, CommandError> {
        let identities = self.core.hasher.identities(client, contact);
        let now = self.directory.find(client, &identities).await?;
        Ok(now.map_or(Step::Duplicate, Step::In))
    }

    /// Adds the contact to those that are to be placed, unless nothing tells who it is.
    fn told(
        &self,
        client: ClientId,
        contact: &Contact,
        telling: Telling,
        contacts: &mut Vec<Told>,
    ) -> Option<usize> {
        let identities = self.core.hasher.identities(client, contact);
        if identities.is_empty() {
            return None;
        }
        contacts.push(Told { contact: contact.clone(), identities, telling });
        Some(contacts.len() - 1)
    }

    /// A repetition is stored already, but it may name the contact by one more identity: WAHA
    /// tells one message under `@c.us` and under `@lid`. Of it is taken what is not known; what
    /// is known may be newer.
    fn repeated(&self, client: ClientId, item: &Intake, contacts: &mut Vec<Told>) -> Step {
        let Intake::Message { contact, .. } = item else { return Step::Duplicate };
        if self.core.hasher.identities(client, contact).len() < 2 {
            return Step::Duplicate;
        }
        let told = self.told(client, contact, Telling::OfKnown, contacts);
        told.map_or(Step::Duplicate, Step::Telling)
    }

    /// A change ties the contact's identities to those that it had.
    fn told_change(
        &self,
        client: ClientId,
        contact: &Contact,
        previous: &Contact,
        at: Option<Timestamp>,
        contacts: &mut Vec<Told>,
    ) -> Step {
        let mut identities = self.core.hasher.identities(client, contact);
        identities.extend(self.core.hasher.identities(client, previous));
        if identities.is_empty() {
            return Step::Duplicate;
        }
        let telling = at.map_or(Telling::OfKnown, Telling::NewsOfKnown);
        contacts.push(Told { contact: contact.clone(), identities, telling });
        Step::Telling(contacts.len() - 1)
    }

    /// The tenant's state as a gateway tells it, when that is another than the one before.
    async fn state_step(
        &self,
        client: ClientId,
        actor: &Actor,
        told: &WhatsAppTold,
        at: Timestamp,
        state: &mut Option<WhatsApp>,
    ) -> Result<Step, CommandError> {
        let known = match state.take() {
            Some(known) => known,
            None => {
                // On an old state the event may be one too many, which the fold finds out.
                self.core.come_up().await?;
                self.core.view.whatsapp(client).await?
            }
        };
        let now = self.core.clock.now();
        // Who tells no status says nothing of when it began.
        let at = told.status.map(|_| at.min(now));
        let is_old = at.is_some_and(|at| known.was_told_after(&actor.0, at));
        let mut next = known.told_by_gateway(told.clone(), now);
        if is_old || next.is_as(&known) {
            *state = Some(known);
            return Ok(Step::Duplicate);
        }
        next.told_at.extend(at.map(|at| (actor.0.clone(), at)));
        let step = Step::Tenant(Box::new(state_changed(next.clone(), at)));
        *state = Some(next);
        Ok(step)
    }

    /// Something that nobody can be found for. Its content is left out: it could not be erased.
    /// Nor is its id kept, in which a phone number may stand: a hash tells it from others.
    fn without_contact(&self, client: ClientId, actor: &Actor, what: &str, key: &str) -> Step {
        let hash = hex::encode(self.core.hasher.recent_key(client, b"nobody", key));
        Step::Tenant(Box::new(EventData::UnknownChange {
            provider: actor.0.clone(),
            kind: format!("{what}_without_contact"),
            raw: json!({ "key_hash": hash }),
        }))
    }

    pub(super) fn is_recent(&self, client: ClientId, recent: &Recent, item: &Intake) -> bool {
        self.key_of(client, item).is_some_and(|key| recent.get(&key).is_some())
    }

    pub(super) fn message_key(&self, client: ClientId, dedupe_key: &str) -> Key {
        (client, self.core.hasher.recent_key(client, b"message", dedupe_key))
    }

    /// Under what a thing is known again; `None` for those that are not told from each other.
    fn key_of(&self, client: ClientId, item: &Intake) -> Option<Key> {
        let (kind, key): (&[u8], &str) = match item {
            Intake::Message { message, .. } => (b"message", &message.dedupe_key),
            Intake::Status { status, .. } => (status_kind(status.status), &status.dedupe_key),
            Intake::Amendment { amendment, .. } => (b"amendment", &amendment.dedupe_key),
            Intake::MarketingPreference { key, .. } => (b"preference", key.as_ref()?),
            Intake::WhatsAppState { key, .. } => (b"whatsapp", key.as_ref()?),
            Intake::UnknownOfContact { key, .. } | Intake::Unknown { key, .. } => {
                (b"unknown", key.as_ref()?)
            }
            Intake::ContactChange { .. } => return None,
        };
        Some((client, self.core.hasher.recent_key(client, kind, key)))
    }
}

/// Tells what became of each thing, and remembers what is durable now.
fn outcomes(
    client: ClientId,
    work: &Work,
    settled: &Settled,
    recent: &Recent,
) -> Vec<IntakeOutcome> {
    let mut finished = settled.finished.iter().map(|appended| appended.position);
    let mut outcomes = Vec::with_capacity(work.steps.len());
    for (step, key) in work.steps.iter().zip(&work.keys) {
        let (position, id) = match step {
            Step::Duplicate => (None, None),
            Step::Telling(contact) => (settled.told_at[*contact], None),
            Step::ForContact(contact) => match settled.placed[*contact].id {
                Some(id) => (finished.next(), Some(id)),
                None => (None, None),
            },
            Step::In(id) => (finished.next(), Some(*id)),
            Step::Tenant(_) => (finished.next(), Some(NOBODY)),
        };
        if let (Some(key), Some(id), Some(_)) = (key, id, position) {
            debug_assert_eq!(key.0, client);
            recent.remember(*key, id);
        }
        outcomes.push(position.map_or(IntakeOutcome::Duplicate, IntakeOutcome::Stored));
    }
    outcomes
}

impl Work {
    /// One entry for each thing that is an event, in the order in which they came.
    fn appends(
        &self,
        core: &Core,
        client: ClientId,
        actor: &str,
        placed: &[Placed],
    ) -> Vec<Append> {
        let mut entries = Vec::with_capacity(self.steps.len());
        for (step, item) in self.steps.iter().zip(&self.items) {
            let (stream, data) = match step {
                Step::Duplicate | Step::Telling(_) => continue,
                Step::Tenant(data) => (StreamName::Tenant(client), EventData::clone(data)),
                Step::In(id) => {
                    (conversation_stream(client, *id), event_of(core, actor, item, *id))
                }
                Step::ForContact(contact) => {
                    let Some(id) = placed[*contact].id else { continue };
                    (conversation_stream(client, id), event_of(core, actor, item, id))
                }
            };
            let events = vec![core.event(client, actor, data)];
            entries.push(Append { stream, expected: Expected::Any, events });
        }
        entries
    }
}

/// The event that a thing of a conversation is.
fn event_of(core: &Core, provider: &str, item: &Intake, id: ConversationId) -> EventData {
    match item {
        Intake::Message { message, .. } => {
            message_event(message, id, MessageId(core.clock.new_id()))
        }
        Intake::Status { status, .. } => status_event(status, id),
        Intake::Amendment { amendment, .. } => {
            amendment_event(amendment, id, MessageId(core.clock.new_id()))
        }
        Intake::MarketingPreference { allowed, at, .. } => EventData::MarketingPreferenceChanged {
            conversation_id: id,
            allowed: *allowed,
            at: *at,
        },
        Intake::UnknownOfContact { kind, raw, .. } => EventData::UnknownContactChange {
            conversation_id: id,
            provider: provider.to_owned(),
            kind: kind.clone(),
            raw: raw.clone(),
        },
        // These have steps of their own and never come here with a conversation.
        Intake::ContactChange { .. } | Intake::WhatsAppState { .. } | Intake::Unknown { .. } => {
            EventData::UnknownChange {
                provider: provider.to_owned(),
                kind: "unplaced".to_owned(),
                raw: serde_json::Value::Null,
            }
        }
    }
}

fn message_event(message: &IntakeMessage, id: ConversationId, message_id: MessageId) -> EventData {
    let incoming = IncomingMessage {
        conversation_id: id,
        message_id,
        wa_message_id: message.wa_message_id.clone(),
        dedupe_key: message.dedupe_key.clone(),
        kind: message.kind,
        text: message.text.clone(),
        media: message.media.clone(),
        payload: message.payload.clone(),
        reply_to: message.reply_to.clone(),
        sent_at: message.sent_at,
        imported: message.imported,
        status: message.status,
        by_api: message.by_api,
    };
    match message.direction {
        Direction::Inbound => EventData::MessageReceived(incoming),
        Direction::Outbound => EventData::MessageEchoed(incoming),
    }
}

fn status_event(status: &IntakeStatus, id: ConversationId) -> EventData {
    let change = StatusChange {
        conversation_id: id,
        message_id: status.message_id,
        dedupe_key: Some(status.dedupe_key.clone()),
        wa_message_id: Some(status.wa_message_id.clone()),
        at: status.at,
        error: status.error.clone(),
    };
    match status.status {
        MessageStatus::Delivered => EventData::MessageDelivered(change),
        MessageStatus::Read => EventData::MessageRead(change),
        MessageStatus::Failed => EventData::MessageFailed(change),
        // No provider tells the first two of them; both would say that it was not delivered yet.
        MessageStatus::Received | MessageStatus::Queued | MessageStatus::Sent => {
            EventData::MessageSent(change)
        }
    }
}

fn amendment_event(
    amendment: &IntakeAmendment,
    id: ConversationId,
    message_id: MessageId,
) -> EventData {
    let amended = MessageAmendment {
        conversation_id: id,
        message_id,
        dedupe_key: amendment.dedupe_key.clone(),
        target: amendment.target.clone(),
        text: amendment.text.clone(),
        outbound: amendment.direction == Direction::Outbound,
        at: amendment.at,
    };
    match amendment.text {
        Some(_) => EventData::MessageEdited(amended),
        None => EventData::MessageRevoked(amended),
    }
}

/// `at`: when it was so, as a gateway tells it.
pub(super) fn state_changed(state: WhatsApp, at: Option<Timestamp>) -> EventData {
    let WhatsApp { status, phone_number, name, qr, quality, reason, .. } = state;
    let qr = qr.filter(|_| status == WhatsAppStatus::Qr);
    EventData::WhatsappStateChanged { status, phone_number, name, qr, quality, reason, at }
}

fn status_kind(status: MessageStatus) -> &'static [u8] {
    match status {
        MessageStatus::Received => b"received",
        MessageStatus::Queued => b"queued",
        MessageStatus::Sent => b"sent",
        MessageStatus::Delivered => b"delivered",
        MessageStatus::Read => b"read",
        MessageStatus::Failed => b"failed",
    }
}
