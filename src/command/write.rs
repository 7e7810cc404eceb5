//! What people and programs ask for: one closed list of writes, decided on the state at the log's
//! head, so that nothing is appended that changes nothing.

use super::{
    Actor, Answer, Answered, CommandError, Commands, Request, conversation_stream,
    directory::{PlaceError, Placed, Placing, Settled, Telling, Told},
    idempotency::Keyed,
    identity::Identities,
    intake::state_changed,
    send::{Again, Asked, NewMessage},
};
use crate::{
    domain::{
        bot::{Bot, BotMode},
        bulk::{Bulk, BulkControl},
        contact::NAME_CHARS_MAX,
        conversation::{Contact, Conversation, decide_change},
        event::{ConversationChange, EventData},
        ids::{BulkId, ClientId, ConversationId, Position},
        message::Message,
        whatsapp::{WhatsApp, WhatsAppStatus},
    },
    event_log::{Append, AppendError, Expected, StreamName},
};
use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

/// The longest reason for a status, in characters.
pub const REASON_CHARS_MAX: usize = 500;
/// The longest text of a QR code, in characters.
pub const QR_CHARS_MAX: usize = 4096;
/// The longest other field of a WhatsApp state, in characters.
pub const STATE_FIELD_CHARS_MAX: usize = 64;
/// How often a write that a key's answer got in the way of is tried again: the answer may expire
/// between the conflict and the look at it.
const KEY_ATTEMPTS_MAX: usize = 4;

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Opens the conversation with a contact, or finds it.
    OpenConversation {
        contact: Contact,
    },
    ChangeConversation {
        id: ConversationId,
        change: ConversationChange,
    },
    /// Marks as read all that has arrived.
    MarkRead {
        id: ConversationId,
    },
    SetBotStatus {
        status: BotMode,
        reason: Option<String>,
    },
    SetWhatsAppState(WhatsAppUpdate),
    ControlBulk {
        id: BulkId,
        control: BulkControl,
    },
    /// Queues a message to be sent.
    Send(Box<NewMessage>),
    /// Sends a message again that failed or is in doubt.
    SendAgain(Again),
}

/// The whole state of the connection to WhatsApp: what is left out is not so any more.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatsAppUpdate {
    pub status: WhatsAppStatus,
    pub phone_number: Option<String>,
    pub name: Option<String>,
    pub qr: Option<String>,
    pub quality: Option<String>,
    pub reason: Option<String>,
}

/// What a write comes to: the state as it will be, for making the answer. A conversation that
/// lives on in another is answered as that one.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    Opened {
        conversation: Conversation,
        created: bool,
    },
    Changed {
        conversation: Conversation,
    },
    Read {
        conversation: Conversation,
    },
    Bot(Bot),
    WhatsApp(WhatsApp),
    Bulk(Bulk),
    /// It waits to be sent.
    Queued {
        message: Message,
    },
}

/// A decision: where it leads, and the event that leads there, if anything changes.
struct Decision {
    done: Done,
    event: Option<(StreamName, EventData)>,
}

pub(super) type MakeAnswer = Arc<dyn Fn(&Done) -> Answer + Send + Sync>;

impl Commands {
    /// Does a write and answers it. With a `request`, the answer is kept for 24 hours and given
    /// again to whoever comes with the same key and fingerprint; another fingerprint is
    /// [`CommandError::KeyReused`]. What fails is not kept, so it can be tried again.
    pub async fn write(
        &self,
        client: ClientId,
        actor: &Actor,
        request: Option<&Request>,
        write: Write,
        answer: impl Fn(&Done) -> Answer + Send + Sync + 'static,
    ) -> Result<Answered, CommandError> {
        let answer: MakeAnswer = Arc::new(answer);
        let Some(request) = request else {
            let done = self.attempt(client, actor, None, write, answer).await?;
            // Without a key there is no entry that could be in the way.
            return done.ok_or(CommandError::Unavailable);
        };
        let keyed = Keyed::begin(&self.core, &self.turns, client, request).await;
        let keyed = Arc::new(keyed);
        for _ in 0..KEY_ATTEMPTS_MAX {
            if let Some(first) = keyed.first_answer(&self.core, client).await? {
                return Ok(first);
            }
            let answer = Arc::clone(&answer);
            let (keyed, write) = (Some(Arc::clone(&keyed)), write.clone());
            if let Some(done) = self.attempt(client, actor, keyed, write, answer).await? {
                return Ok(done);
            }
        }
        Err(CommandError::Unavailable)
    }

    /// Marks as read all that has arrived.
    pub async fn mark_read(
        &self,
        client: ClientId,
        actor: &Actor,
        id: ConversationId,
    ) -> Result<Position, CommandError> {
        let no_answer = Arc::new(|_: &Done| Answer { status: 204, body: Value::Null });
        let done = self.attempt(client, actor, None, Write::MarkRead { id }, no_answer).await?;
        // Without a key there is no entry that could be in the way.
        done.map(|answered| answered.position).ok_or(CommandError::Unavailable)
    }

    /// Appends `day_started` for the tenant if its last one is of another date or zone.
    pub async fn start_day(
        &self,
        client: ClientId,
        date: String,
        time_zone: String,
    ) -> Result<(), CommandError> {
        self.core.come_up().await?;
        let day = (date, time_zone);
        if self.core.view.day(client).await?.as_ref() == Some(&day) {
            return Ok(());
        }
        let (date, time_zone) = day;
        let data = EventData::DayStarted { date, time_zone };
        let entry = self.entry(client, &Actor::system(), StreamName::Tenant(client), data);
        self.core.log.append(vec![entry]).await?;
        Ok(())
    }

    /// Decides and appends; `None` when an answer under the key was there first.
    async fn attempt(
        &self,
        client: ClientId,
        actor: &Actor,
        keyed: Option<Arc<Keyed>>,
        write: Write,
        answer: MakeAnswer,
    ) -> Result<Option<Answered>, CommandError> {
        if let Write::OpenConversation { contact } = write {
            let opened = self.open(client, actor, contact, keyed, Arc::clone(&answer)).await?;
            return Ok(opened.map(|(done, position)| Answered {
                answer: answer(&done),
                position,
                repeated: false,
            }));
        }
        match &write {
            Write::Send(new) => {
                return self.send(Asked { client, actor, keyed, answer }, new).await;
            }
            Write::SendAgain(again) => {
                return self.send_again(Asked { client, actor, keyed, answer }, *again).await;
            }
            _ => {}
        }
        let fresh = self.core.come_up().await?;
        let Decision { done, event } = self.decide(client, actor, write, fresh).await?;
        let answer = answer(&done);
        let mut batch = Vec::new();
        batch.extend(event.map(|(stream, data)| self.entry(client, actor, stream, data)));
        if let Some(keyed) = keyed {
            let id = done.conversation_id();
            let events_before = batch.len();
            batch.push(keyed.entry(&self.core, client, &actor.0, &answer, id, events_before));
        }
        let appended = match self.core.log.append(batch).await {
            Ok(appended) => appended,
            Err(AppendError::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let position = match appended.first() {
            Some(first) => first.position,
            // Nothing changes: what is so already stands at or before the head.
            None => self.core.log.head().await?,
        };
        Ok(Some(Answered { answer, position, repeated: false }))
    }

    /// On a state that is not `fresh` even what seems to change nothing is appended: what it
    /// repeats may have been undone since. The fold finds out.
    async fn decide(
        &self,
        client: ClientId,
        actor: &Actor,
        write: Write,
        fresh: bool,
    ) -> Result<Decision, CommandError> {
        match write {
            // Go their own ways, before this.
            Write::OpenConversation { .. } | Write::Send(_) | Write::SendAgain(_) => {
                Err(CommandError::NotFound)
            }
            Write::ChangeConversation { id, change } => {
                let conversation = self.conversation(client, id).await?;
                self.decide_conversation(client, conversation, change, fresh)
            }
            Write::MarkRead { id } => {
                let mut conversation = self.conversation(client, id).await?;
                let changes = conversation.unread_count > 0 || !fresh;
                conversation.unread_count = 0;
                let data = EventData::ConversationRead { conversation_id: conversation.id };
                let event = changes.then(|| (conversation_stream(client, conversation.id), data));
                if event.is_some() {
                    conversation.updated_at = self.core.clock.now();
                }
                Ok(Decision { done: Done::Read { conversation }, event })
            }
            Write::SetBotStatus { status, reason } => {
                let reason = clean("reason", reason, REASON_CHARS_MAX)?;
                let known = self.core.view.bot(client).await?;
                if fresh && known.status == status && known.reason == reason {
                    return Ok(Decision { done: Done::Bot(known), event: None });
                }
                let bot = Bot {
                    status,
                    reason: reason.clone(),
                    changed_by: Some(actor.0.strip_prefix("user:").unwrap_or(&actor.0).to_owned()),
                    changed_at: self.core.clock.now(),
                };
                let data = EventData::BotStatusChanged { status, reason };
                let event = Some((StreamName::Tenant(client), data));
                Ok(Decision { done: Done::Bot(bot), event })
            }
            Write::SetWhatsAppState(update) => {
                let wanted = self.wanted_state(update)?;
                let known = self.core.view.whatsapp(client).await?;
                if fresh && wanted.is_as(&known) {
                    return Ok(Decision { done: Done::WhatsApp(known), event: None });
                }
                let event = Some((StreamName::Tenant(client), state_changed(wanted.clone(), None)));
                Ok(Decision { done: Done::WhatsApp(wanted), event })
            }
            Write::ControlBulk { id, control } => {
                let (bulk, data) = self.decide_bulk(client, id, control, fresh).await?;
                let event = data.map(|data| (StreamName::Bulk(client, id), data));
                Ok(Decision { done: Done::Bulk(bulk), event })
            }
        }
    }

    fn decide_conversation(
        &self,
        client: ClientId,
        mut conversation: Conversation,
        wanted: ConversationChange,
        fresh: bool,
    ) -> Result<Decision, CommandError> {
        let invalid = |error: crate::domain::conversation::ChangeError| CommandError::Invalid {
            field: error.field(),
            reason: error.to_string(),
        };
        let decided = decide_change(&conversation, wanted.clone()).map_err(invalid)?;
        let change = if fresh { decided } else { Some(wanted) };
        let Some(change) = change else {
            return Ok(Decision { done: Done::Changed { conversation }, event: None });
        };
        apply(&mut conversation, &change);
        conversation.updated_at = self.core.clock.now();
        let stream = conversation_stream(client, conversation.id);
        let data = EventData::ConversationChanged { conversation_id: conversation.id, change };
        Ok(Decision { done: Done::Changed { conversation }, event: Some((stream, data)) })
    }

    fn wanted_state(&self, update: WhatsAppUpdate) -> Result<WhatsApp, CommandError> {
        let qr = update.qr.filter(|_| update.status == WhatsAppStatus::Qr);
        Ok(WhatsApp {
            status: update.status,
            phone_number: clean("phone_number", update.phone_number, STATE_FIELD_CHARS_MAX)?,
            name: clean("name", update.name, NAME_CHARS_MAX)?,
            qr: clean("qr", qr, QR_CHARS_MAX)?,
            quality: clean("quality", update.quality, STATE_FIELD_CHARS_MAX)?,
            reason: clean("reason", update.reason, REASON_CHARS_MAX)?,
            changed_at: self.core.clock.now(),
            told_at: BTreeMap::new(),
        })
    }

    pub(super) async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Conversation, CommandError> {
        self.core.view.conversation(client, id).await?.ok_or(CommandError::NotFound)
    }

    async fn open(
        &self,
        client: ClientId,
        actor: &Actor,
        contact: Contact,
        keyed: Option<Arc<Keyed>>,
        answer: MakeAnswer,
    ) -> Result<Option<(Done, Position)>, CommandError> {
        let contact =
            Contact { name: clean("name", contact.name.clone(), NAME_CHARS_MAX)?, ..contact };
        let identities = self.core.hasher.identities(client, &contact);
        if identities.is_empty() {
            let reason = "nothing tells which contact it is".to_owned();
            return Err(CommandError::Invalid { field: "phone", reason });
        }
        self.core.come_up().await?;
        self.heed_erasures().await?;
        let opening = Opening {
            existing: self.existing(client, &identities, &contact).await?,
            contact: contact.clone(),
            client,
            opened_at: self.core.clock.now(),
        };
        let opening = Arc::new(opening);
        let finish = {
            let (core, opening) = (Arc::clone(&self.core), Arc::clone(&opening));
            let actor = actor.0.clone();
            Box::new(move |placed: &[Placed], told: usize| -> Vec<Append> {
                let Some(keyed) = &keyed else { return Vec::new() };
                let done = opening.done(placed);
                let id = placed.first().and_then(|placed| placed.id);
                vec![keyed.entry(&core, client, &actor, &answer(&done), id, told)]
            })
        };
        let told = Told { contact, identities, telling: Telling::Filling };
        let placing = Placing { client, actor: actor.0.clone(), contacts: vec![told], finish };
        match self.directory.place(placing).await {
            Ok(settled) => {
                let position = self.opened_at(&settled).await?;
                Ok(Some((opening.done(&settled.placed), position)))
            }
            Err(PlaceError::Conflict) => Ok(None),
            Err(PlaceError::Failed(error)) => Err(error),
        }
    }

    /// The contact's conversation as it is, with what the opening adds to the contact.
    async fn existing(
        &self,
        client: ClientId,
        identities: &Identities,
        contact: &Contact,
    ) -> Result<Option<Conversation>, CommandError> {
        let Some(id) = self.directory.find(client, identities).await? else { return Ok(None) };
        let mut existing = self.core.view.conversation(client, id).await?;
        if let Some(existing) = &mut existing {
            existing.contact.fill_from(contact);
        }
        Ok(existing)
    }

    async fn opened_at(&self, settled: &Settled) -> Result<Position, CommandError> {
        match settled.first() {
            Some(position) => Ok(position),
            None => Ok(self.core.log.head().await?),
        }
    }

    fn entry(
        &self,
        client: ClientId,
        actor: &Actor,
        stream: StreamName,
        data: EventData,
    ) -> Append {
        let events = vec![self.core.event(client, &actor.0, data)];
        Append { stream, expected: Expected::Any, events }
    }
}

/// The opening of one conversation.
struct Opening {
    existing: Option<Conversation>,
    contact: Contact,
    client: ClientId,
    opened_at: crate::domain::time::Timestamp,
}

impl Opening {
    fn done(&self, placed: &[Placed]) -> Done {
        let placed = placed.first().copied();
        let id = placed.and_then(|placed| placed.id).unwrap_or(ConversationId(0));
        let created = placed.is_some_and(|placed| placed.opened);
        let existing = self.existing.as_ref().filter(|existing| existing.id == id && !created);
        let conversation = existing.cloned().unwrap_or_else(|| {
            Conversation::opened(id, self.client, self.contact.clone(), self.opened_at)
        });
        Done::Opened { conversation, created }
    }
}

impl Done {
    /// The conversation it is about.
    fn conversation_id(&self) -> Option<ConversationId> {
        match self {
            Done::Opened { conversation, .. }
            | Done::Changed { conversation }
            | Done::Read { conversation } => Some(conversation.id),
            Done::Queued { message } => Some(message.conversation_id),
            Done::Bot(_) | Done::WhatsApp(_) | Done::Bulk(_) => None,
        }
    }
}

/// What the fold will make of the change.
fn apply(conversation: &mut Conversation, change: &ConversationChange) {
    let ConversationChange { status, assigned_to, labels, bot_enabled } = change;
    if let Some(status) = status {
        conversation.status = *status;
    }
    if let Some(assigned_to) = assigned_to {
        conversation.assigned_to.clone_from(assigned_to);
    }
    if let Some(labels) = labels {
        conversation.labels.clone_from(labels);
    }
    if let Some(bot_enabled) = bot_enabled {
        conversation.bot_enabled = *bot_enabled;
    }
}

/// Trimmed, empty taken for absent, refused when too long.
fn clean(
    field: &'static str,
    text: Option<String>,
    chars_max: usize,
) -> Result<Option<String>, CommandError> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.chars().count() > chars_max {
        let reason = format!("at most {chars_max} characters");
        return Err(CommandError::Invalid { field, reason });
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}
