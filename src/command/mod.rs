//! Commands: load, decide, append, and try again when another was first.
//!
//! **Invariant:** nothing else appends to the log. What a command answers is durable.

use std::sync::Arc;

use crate::{
    domain::{
        bot::BotMode,
        conversation::Contact,
        event::ConversationChange,
        ids::{ClientId, ConversationId, Position},
        intake::Intake,
        whatsapp::WhatsAppStatus,
    },
    event_log::EventLog,
    projection::queries::Queries,
    runtime::clock::Clock,
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// Why a command was not done. None of the texts names a person or a secret.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("there is no such conversation")]
    NotFound,
    /// Well-formed, and not allowed as things stand or by its content.
    #[error("{reason}")]
    Invalid { field: &'static str, reason: String },
    /// The same `Idempotency-Key` came with another request.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// The log can't take events now: nothing was stored, try again.
    #[error("the event log can't store events now")]
    Unavailable,
    /// It may be stored or not; trying again does no harm.
    #[error("the event log did not answer in time")]
    Unknown,
}

/// What became of one thing that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeOutcome {
    /// Durable, at this position.
    Stored(Position),
    /// Known already; nothing was appended.
    Duplicate,
}

/// The write side. One per process, shared.
pub struct Commands {
    #[expect(dead_code, reason = "bodies follow")]
    log: Arc<dyn EventLog>,
    #[expect(dead_code, reason = "bodies follow")]
    queries: Queries,
    #[expect(dead_code, reason = "bodies follow")]
    clock: Arc<dyn Clock>,
}

#[expect(unused_variables, reason = "bodies follow")]
impl Commands {
    pub fn new(log: Arc<dyn EventLog>, queries: Queries, clock: Arc<dyn Clock>) -> Self {
        Self { log, queries, clock }
    }

    /// Stores what came in for a tenant, all of it in one append where possible, conversation
    /// ids resolved and taken on the way. The answer has one outcome per item, in order; an
    /// error means that nothing, or nothing certain, was stored.
    pub async fn take_in(
        &self,
        client: ClientId,
        actor: &Actor,
        items: Vec<Intake>,
    ) -> Result<Vec<IntakeOutcome>, CommandError> {
        todo!()
    }

    /// Opens the conversation with a contact, or finds it. Answers its id, whether it is new,
    /// and the position to read from.
    pub async fn open_conversation(
        &self,
        client: ClientId,
        actor: &Actor,
        contact: Contact,
    ) -> Result<(ConversationId, bool, Position), CommandError> {
        todo!()
    }

    pub async fn change_conversation(
        &self,
        client: ClientId,
        actor: &Actor,
        id: ConversationId,
        change: ConversationChange,
    ) -> Result<Position, CommandError> {
        todo!()
    }

    /// Marks as read all that has arrived.
    pub async fn mark_read(
        &self,
        client: ClientId,
        actor: &Actor,
        id: ConversationId,
    ) -> Result<Position, CommandError> {
        todo!()
    }

    pub async fn set_bot_status(
        &self,
        client: ClientId,
        actor: &Actor,
        status: BotMode,
        reason: Option<String>,
    ) -> Result<Position, CommandError> {
        todo!()
    }

    #[expect(clippy::too_many_arguments, reason = "the state's own fields")]
    pub async fn set_whatsapp_state(
        &self,
        client: ClientId,
        actor: &Actor,
        status: WhatsAppStatus,
        phone_number: Option<String>,
        name: Option<String>,
        qr: Option<String>,
        quality: Option<String>,
        reason: Option<String>,
    ) -> Result<Position, CommandError> {
        todo!()
    }

    /// Appends `day_started` for the tenant if its last one is of another date or zone.
    pub async fn start_day(
        &self,
        client: ClientId,
        date: String,
        time_zone: String,
    ) -> Result<(), CommandError> {
        todo!()
    }
}
