//! Sending, as far as it is decided here: a message is checked, and queued as a fact. The outbox
//! follows the log and sends it.
//!
//! What is checked: the body ([`content`]); that the tenant has a way to send; that WhatsApp's
//! 24-hour window is open where the way has one, unless it is a template; and for the bot, that it
//! may speak. All but the bot is decided on the read model as it stands, so that a send waits for
//! nobody, and once more on the newest state when that said no: a contact who wrote a moment ago
//! has opened the window. The bot is always decided on the newest state.
//!
//! Who the sender is: a token with `messages:write` is a person's (an agent's token holds
//! `bot:write` too, to switch the bot), one with `bot:write` alone is the bot's. When a person has
//! answered, here or on the phone, the bot is held back in that conversation for
//! [`BotSettings::pause_after_person_s`]. The answer itself is the fact in the log, and how long
//! it counts is decided when the bot asks: so the setting works at once, and no event is needed
//! for the pause's end.
//!
//! Sending again is a person's call. A message in doubt is released, to be claimed anew. One that
//! failed stays failed, since the provider may still speak of it, and what it said is queued as a
//! new message.
//!
//! **Invariant:** a release is appended at the revision at which the message is in doubt: of two
//! who press the button at once, one releases, and nobody takes a running claim away.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Actor, Answer, Answered, CommandError, Commands, Core, conversation_stream,
    idempotency::Keyed,
    write::{Done, MakeAnswer},
};
use crate::{
    domain::{
        bot::BotMode,
        conversation::Conversation,
        event::{Event, EventData, QueuedMessage},
        ids::{ClientId, ConversationId, EventId, MediaId, MessageId},
        message::{Direction, IN_DOUBT_CODE, Message, MessageStatus, Sender},
        time::Timestamp,
    },
    event_log::{Append, AppendError, Expected, Record, Revision},
    wire::send::SendMessage,
};

mod content;

pub use content::FieldProblem;
use content::{Content, Found};

/// How often a release is decided anew because the conversation moved on meanwhile.
const RELEASE_ATTEMPTS_MAX: usize = 16;
/// Events of a conversation that are read at once.
const STREAM_PAGE: usize = 512;

/// How long the bot keeps quiet.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BotSettings {
    /// How long the bot is held back in a conversation after a person of the company has written
    /// there, in seconds. Default 1800; 0: not at all.
    pub pause_after_person_s: u64,
}

impl Default for BotSettings {
    fn default() -> Self {
        Self { pause_after_person_s: 1800 }
    }
}

/// A tenant's way to its contacts, as far as it decides what may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Free text only within 24 hours after the contact wrote; templates at any time.
    WhatsAppCloud,
    /// No such window, and no templates.
    Waha,
}

/// Who sends for whom. A port: gateways are unknown here.
pub trait Channels: Send + Sync + 'static {
    /// `None`: the tenant has no way to send yet.
    fn of(&self, client: ClientId) -> Option<Channel>;
}

/// What is known of a medium that was uploaded to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: MediaId,
    pub size: u64,
    pub mime_type: String,
    pub filename: Option<String>,
    pub sha256: Option<String>,
}

/// Media that were uploaded. A port, as [`Channels`] is.
#[async_trait]
pub trait Uploads: Send + Sync + 'static {
    async fn find(&self, client: ClientId, id: &str) -> Result<Option<Upload>, CommandError>;
}

/// Tells contacts that somebody writes. A port: who knows providers does it, when there is room.
pub trait ContactSignals: Send + Sync + 'static {
    fn typing(&self, client: ClientId, conversation: ConversationId, typing: bool);
}

/// What sending is decided with.
#[derive(Clone)]
pub struct Sending {
    pub channels: Arc<dyn Channels>,
    pub uploads: Arc<dyn Uploads>,
    pub bot: BotSettings,
}

/// For who never sends: no tenant has a way out, and nothing was uploaded.
struct Nowhere;

impl Channels for Nowhere {
    fn of(&self, _: ClientId) -> Option<Channel> {
        None
    }
}

#[async_trait]
impl Uploads for Nowhere {
    async fn find(&self, _: ClientId, _: &str) -> Result<Option<Upload>, CommandError> {
        Ok(None)
    }
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            channels: Arc::new(Nowhere),
            uploads: Arc::new(Nowhere),
            bot: BotSettings::default(),
        }
    }
}

/// Who writes, as a contact sees it, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    pub conversation: ConversationId,
    /// [`Sender::Agent`] or [`Sender::Bot`].
    pub sender: Sender,
    pub body: SendMessage,
}

/// A message to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    pub conversation: ConversationId,
    pub message: MessageId,
}

/// Nothing but what a keyed write needs beside the decision.
pub(super) struct Asked<'a> {
    pub client: ClientId,
    pub actor: &'a Actor,
    pub keyed: Option<Arc<Keyed>>,
    pub answer: MakeAnswer,
}

impl Commands {
    /// Queues a message; `None` when an answer under the key was there first.
    pub(super) async fn send(
        &self,
        asked: Asked<'_>,
        new: &NewMessage,
    ) -> Result<Option<Answered>, CommandError> {
        let bot = new.sender == Sender::Bot;
        if bot {
            self.core.come_up().await?;
        }
        let queued = match self.decide_send(asked.client, new).await {
            Err(error) if error.is_of_one() && !bot => {
                self.core.come_up().await?;
                self.decide_send(asked.client, new).await?
            }
            decided => decided?,
        };
        self.queue(asked, queued, Expected::Any).await
    }

    async fn decide_send(
        &self,
        client: ClientId,
        new: &NewMessage,
    ) -> Result<QueuedMessage, CommandError> {
        let conversation = self.conversation(client, new.conversation).await?;
        let channel = self.sending.channels.of(client).ok_or(CommandError::NoChannel)?;
        let found = self.find_for(client, &conversation, &new.body).await?;
        let content =
            content::check(&new.body, channel, &found).map_err(CommandError::InvalidFields)?;
        self.may_speak(client, &conversation, new.sender).await?;
        within_window(&conversation, channel, &content, self.core.clock.now())?;
        Ok(QueuedMessage {
            conversation_id: conversation.id,
            message_id: MessageId(self.core.clock.new_id()),
            sender: new.sender,
            kind: content.kind,
            text: content.text,
            media: content.media,
            payload: content.payload,
            reply_to: content.reply_to,
            client_ref: new.body.client_ref.clone(),
            bulk_id: None,
        })
    }

    /// Looks up what the body names.
    async fn find_for(
        &self,
        client: ClientId,
        conversation: &Conversation,
        body: &SendMessage,
    ) -> Result<Found, CommandError> {
        let reacted = body.reaction.as_ref().map(|reaction| reaction.message_id.as_str());
        let upload = match body.media.as_ref().and_then(|media| media.id.as_deref()) {
            Some(id) => self.sending.uploads.find(client, id).await?,
            None => None,
        };
        Ok(Found {
            upload,
            answered: self.message_of(client, conversation, body.reply_to.as_deref()).await?,
            reacted: self.message_of(client, conversation, reacted).await?,
        })
    }

    /// The message with this id, if it is one of the conversation.
    async fn message_of(
        &self,
        client: ClientId,
        conversation: &Conversation,
        id: Option<&str>,
    ) -> Result<Option<Message>, CommandError> {
        let Some(id) = id.and_then(|id| id.parse().ok()) else { return Ok(None) };
        let found = self.core.view.message(client, id).await?;
        Ok(found.filter(|message| message.conversation_id == conversation.id))
    }

    /// Whether the bot may write here now; people always may.
    async fn may_speak(
        &self,
        client: ClientId,
        conversation: &Conversation,
        sender: Sender,
    ) -> Result<(), CommandError> {
        if sender != Sender::Bot {
            return Ok(());
        }
        if !conversation.bot_enabled {
            return Err(CommandError::BotDisabled);
        }
        if self.core.view.bot(client).await?.status != BotMode::Active {
            return Err(CommandError::BotNotActive);
        }
        let pause_s = i64::try_from(self.sending.bot.pause_after_person_s).unwrap_or(i64::MAX);
        let until = conversation
            .person_answered_at
            .map(|at| at.plus_ms(pause_s.saturating_mul(1000)))
            .filter(|until| *until > self.core.clock.now());
        match until {
            Some(until) => Err(CommandError::BotPaused { until }),
            None => Ok(()),
        }
    }

    /// Sends a message again; `None` when an answer under the key was there first.
    pub(super) async fn send_again(
        &self,
        asked: Asked<'_>,
        again: Again,
    ) -> Result<Option<Answered>, CommandError> {
        self.core.come_up().await?;
        let client = asked.client;
        let conversation = self.conversation(client, again.conversation).await?;
        let found = self.core.view.message(client, again.message).await?;
        let message = found
            .filter(|message| message.conversation_id == conversation.id)
            .filter(|message| message.direction == Direction::Outbound && !message.is_notice())
            .ok_or(CommandError::NoSuchMessage)?;
        let channel = self.sending.channels.of(client).ok_or(CommandError::NoChannel)?;
        let content = Content::of(&message);
        within_window(&conversation, channel, &content, self.core.clock.now())?;
        match message.status {
            MessageStatus::Failed => {
                let queued = QueuedMessage {
                    conversation_id: conversation.id,
                    message_id: MessageId(self.core.clock.new_id()),
                    sender: Sender::Agent,
                    kind: content.kind,
                    text: content.text,
                    media: content.media,
                    payload: content.payload,
                    reply_to: content.reply_to,
                    client_ref: None,
                    bulk_id: None,
                };
                self.queue(asked, queued, Expected::Any).await
            }
            MessageStatus::Queued if is_in_doubt(&message) => self.release(asked, message).await,
            _ => Err(CommandError::NotRetryable),
        }
    }

    /// Releases a message in doubt, if it still is.
    async fn release(
        &self,
        asked: Asked<'_>,
        mut message: Message,
    ) -> Result<Option<Answered>, CommandError> {
        let stream = conversation_stream(asked.client, message.conversation_id);
        let data = EventData::SendReleased {
            conversation_id: message.conversation_id,
            message_id: message.id,
            bulk_id: message.bulk_id,
            claim: None,
        };
        message.send_started = false;
        message.error = None;
        let answer = (asked.answer)(&Done::Queued { message: message.clone() });
        let mut told = Told::default();
        for _ in 0..RELEASE_ATTEMPTS_MAX {
            told.read(&self.core, asked.client, message.conversation_id, message.id).await?;
            if told.is_settled || told.is_under_way {
                return Err(CommandError::NotRetryable);
            }
            let expected = told.revision.map_or(Expected::NoStream, Expected::Revision);
            let events = vec![self.core.event(asked.client, &asked.actor.0, data.clone())];
            let release = Append { stream: stream.clone(), expected, events };
            let mut batch = vec![release];
            batch.extend(self.kept_answer(&asked, &answer, message.conversation_id));
            match self.core.log.append(batch).await {
                Ok(appended) => {
                    let position = appended.first().map(|first| first.position).unwrap_or_default();
                    return Ok(Some(Answered { answer, position, repeated: false }));
                }
                // Somebody wrote in the conversation meanwhile: look again.
                Err(AppendError::Conflict { index: 0, .. }) => {}
                Err(AppendError::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommandError::Unavailable)
    }

    /// Appends a queued message, and what it is answered with.
    async fn queue(
        &self,
        asked: Asked<'_>,
        queued: QueuedMessage,
        expected: Expected,
    ) -> Result<Option<Answered>, CommandError> {
        let conversation = queued.conversation_id;
        let at = self.core.clock.now();
        let message = as_folded(asked.client, &queued, at);
        let answer = (asked.answer)(&Done::Queued { message });
        let event = Event {
            id: EventId(self.core.clock.new_id()),
            client_id: asked.client,
            time: at,
            actor: asked.actor.0.clone(),
            causation: None,
            data: EventData::MessageQueued(queued),
        };
        let stream = conversation_stream(asked.client, conversation);
        let mut batch = vec![Append { stream, expected, events: vec![event] }];
        batch.extend(self.kept_answer(&asked, &answer, conversation));
        match self.core.log.append(batch).await {
            Ok(appended) => {
                let position = appended.first().map(|first| first.position).unwrap_or_default();
                Ok(Some(Answered { answer, position, repeated: false }))
            }
            Err(AppendError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn kept_answer(
        &self,
        asked: &Asked<'_>,
        answer: &Answer,
        conversation: ConversationId,
    ) -> Option<Append> {
        let keyed = asked.keyed.as_ref()?;
        let id = Some(conversation);
        Some(keyed.entry(&self.core, asked.client, &asked.actor.0, answer, id, 1))
    }
}

/// What a conversation's stream tells of one message's claim, as far as it was read.
#[derive(Debug, Default)]
struct Told {
    revision: Option<Revision>,
    is_under_way: bool,
    is_settled: bool,
}

impl Told {
    /// Reads on to the stream's end.
    async fn read(
        &mut self,
        core: &Core,
        client: ClientId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<(), CommandError> {
        let stream = conversation_stream(client, conversation);
        loop {
            let page = core.log.read_stream(&stream, self.revision, STREAM_PAGE).await?;
            for record in &page {
                self.note(record, message);
            }
            if page.len() < STREAM_PAGE {
                return Ok(());
            }
        }
    }

    fn note(&mut self, record: &Record, message: MessageId) {
        self.revision = Some(record.revision);
        match &record.event.data {
            // Until it is in doubt, a claim is under way; a release lets it be claimed.
            EventData::SendReleased { message_id, .. }
            | EventData::SendStarted { message_id, .. }
                if *message_id == message =>
            {
                self.is_under_way = true;
            }
            EventData::SendDoubted { message_id, .. } if *message_id == message => {
                self.is_under_way = false;
            }
            EventData::MessageSent(change)
            | EventData::MessageDelivered(change)
            | EventData::MessageRead(change)
            | EventData::MessageFailed(change)
                if change.message_id == Some(message) =>
            {
                self.is_settled = true;
            }
            _ => {}
        }
    }
}

fn is_in_doubt(message: &Message) -> bool {
    let error = message.error.as_ref();
    message.send_started && error.is_some_and(|error| error.code == IN_DOUBT_CODE)
}

/// Refuses what WhatsApp would refuse now. What it takes the message for an hour later is told by
/// the provider.
fn within_window(
    conversation: &Conversation,
    channel: Channel,
    content: &Content,
    now: Timestamp,
) -> Result<(), CommandError> {
    let needs_window = channel == Channel::WhatsAppCloud && content.needs_window();
    let is_open = conversation.window_expires_at.is_some_and(|end| end > now);
    if needs_window && !is_open { Err(CommandError::WindowClosed) } else { Ok(()) }
}

/// What the fold will make of it.
fn as_folded(client_id: ClientId, queued: &QueuedMessage, at: Timestamp) -> Message {
    Message {
        id: queued.message_id,
        client_id,
        conversation_id: queued.conversation_id,
        direction: Direction::Outbound,
        sender: queued.sender,
        kind: queued.kind,
        text: queued.text.clone(),
        media: queued.media.clone(),
        payload: queued.payload.clone(),
        reply_to: queued.reply_to.clone(),
        client_ref: queued.client_ref.clone(),
        bulk_id: queued.bulk_id,
        status: MessageStatus::Queued,
        error: None,
        wa_message_id: None,
        dedupe_key: None,
        send_started: false,
        imported: false,
        timestamp: at,
        created_at: at,
        status_at: at,
    }
}

#[cfg(test)]
mod tests;
