//! Commands: load, decide, append, and try again when another was first.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`intake`] | what gateways and bridges bring: up to [`INTAKE_ITEMS_MAX`] things in one append |
//! | [`mod@write`] | what people and programs ask for |
//! | [`send`] | a message to be sent: checked and queued |
//! | [`outbox`] | what the outbox appends: claims and outcomes |
//! | `tenant` | how a tenant is set up |
//! | [`idempotency`] | a write under an `Idempotency-Key`, done once on all instances |
//! | [`bulk`] | bulks: taken in, claimed from, controlled |
//! | [`consent`] | words by which a contact forbids, or allows again, marketing messages |
//! | [`directory`] | which conversation a contact has: the one place where instances could race |
//! | [`identity`] | contacts' keyed hashes |
//! | [`erasure`] | a person goes, and what is told of them late stays out |
//! | [`media`] | what became of the copies of media |
//! | [`view`] | what of the read model is read for deciding |
//!
//! **Invariant:** nothing else appends to the log. What a command answers is durable.
//!
//! **Invariant:** what is kept in memory here is a cache of the log with a bound. Losing it, or
//! having an old one, costs time or an event that the fold finds to be nothing new; never a
//! message, and never two conversations for one contact. A contact's new name that comes while
//! another command, or another instance, tells one too may be missed until it is told again.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    domain::{
        event::{Event, EventData},
        ids::{ClientId, ConversationId, EventId, Position},
        time::Timestamp,
    },
    event_log::{AppendError, EventLog, LogError},
    projection::queries::{Queries, QueryError},
    runtime::clock::Clock,
};

pub mod bulk;
pub mod consent;
mod directory;
mod erasure;
pub mod idempotency;
mod identity;
mod intake;
pub mod media;
pub mod outbox;
mod recent;
pub mod send;
mod tenant;
pub mod view;
pub mod write;

use self::{
    directory::Directory,
    erasure::Erased,
    idempotency::KeyTurns,
    identity::Hasher,
    recent::Recent,
    send::{FieldProblem, Sending},
    view::View,
};
pub use self::{
    idempotency::{Answer, Answered, Request},
    intake::{INTAKE_ITEMS_MAX, TakenIn},
    write::{Done, WhatsAppUpdate, Write},
};

/// How long a decision waits for the read model to come up to the log's head.
const COME_UP_MAX: Duration = Duration::from_secs(5);
/// How often it then looks whether anything is left to be projected at all.
const COME_UP_LOOK: Duration = Duration::from_millis(250);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

impl Actor {
    /// A person or program with a token, whatever the transport; the prefix keeps them apart from
    /// the server's own parts and from gateways.
    pub fn user(subject: &str) -> Self {
        Self(format!("user:{subject}"))
    }

    /// What this server does of itself.
    pub fn system() -> Self {
        Self("system".to_owned())
    }
}

/// Why a command was not done. None of the texts names a person or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("there is no such conversation")]
    NotFound,
    /// Well-formed, and not allowed as things stand or by its content.
    #[error("{reason}")]
    Invalid { field: &'static str, reason: String },
    /// Well-formed, and not possible as things stand.
    #[error("{reason}")]
    Conflict { reason: String },
    /// A message to be sent is not as it must be: all that is wrong with it.
    #[error("the message can't be sent like that")]
    InvalidFields(Vec<FieldProblem>),
    #[error("there is no such message in this conversation")]
    NoSuchMessage,
    #[error("nothing is configured through which this tenant could send")]
    NoChannel,
    #[error(
        "the contact has not written within the last 24 hours: WhatsApp takes only a template now"
    )]
    WindowClosed,
    #[error("the bot is not active")]
    BotNotActive,
    #[error("the bot is switched off in this conversation")]
    BotDisabled,
    #[error("a person has answered: the bot is paused in this conversation until {until}")]
    BotPaused { until: Timestamp },
    /// It is under way, or was sent.
    #[error("only a message that failed or is in doubt can be sent again")]
    NotRetryable,
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
    core: Arc<Core>,
    directory: Directory,
    recent: ArcSwap<Recent>,
    erased: Erased,
    turns: KeyTurns,
    consent: consent::Words,
    sending: Sending,
}

/// What every part of the write side works with.
struct Core {
    log: Arc<dyn EventLog>,
    view: Arc<dyn View>,
    clock: Arc<dyn Clock>,
    hasher: Hasher,
}

impl Commands {
    pub fn new(log: Arc<dyn EventLog>, queries: Queries, clock: Arc<dyn Clock>) -> Self {
        Self::over(log, Arc::new(queries), clock)
    }

    /// Over any view of the log.
    pub fn over(log: Arc<dyn EventLog>, view: Arc<dyn View>, clock: Arc<dyn Clock>) -> Self {
        let hasher = Hasher::new(&log.identity().hash_key);
        let core = Arc::new(Core { log, view, clock, hasher });
        Self {
            directory: Directory::new(Arc::clone(&core)),
            erased: Erased::new(core.view.erasures()),
            core,
            recent: ArcSwap::from_pointee(Recent::new()),
            turns: KeyTurns::default(),
            consent: consent::Words::default(),
            sending: Sending::default(),
        }
    }

    /// With other words than the usual ones.
    #[must_use]
    pub fn with_consent(self, settings: &consent::ConsentSettings) -> Self {
        Self { consent: consent::Words::new(settings), ..self }
    }

    /// The same, with what sending is decided with; without it no tenant has a way to send.
    #[must_use]
    pub fn with_sending(self, sending: Sending) -> Self {
        Self { sending, ..self }
    }
}

impl Core {
    fn event(&self, client: ClientId, actor: &str, data: EventData) -> Event {
        Event {
            id: EventId(self.clock.new_id()),
            client_id: client,
            time: self.clock.now(),
            actor: actor.to_owned(),
            causation: None,
            data,
        }
    }

    /// Waits until the view has all that is in the log now, and says whether it has. A decision
    /// on an older state could take a change for one that was made already.
    async fn come_up(&self) -> Result<bool, CommandError> {
        let head = self.log.head().await?;
        let mut projected = self.view.projected();
        let started = tokio::time::Instant::now();
        while started.elapsed() < COME_UP_MAX {
            let wait = projected.wait_for(|projected| *projected >= head);
            match tokio::time::timeout(COME_UP_LOOK, wait).await {
                Ok(Ok(_)) => return Ok(true),
                // The projector has ended: the process is stopping.
                Ok(Err(_)) => return Ok(false),
                Err(_) => {}
            }
            // The newest events may have been deleted: then nothing more is to come.
            let seen = *projected.borrow();
            if self.log.read(seen, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl CommandError {
    /// It is about what was asked, and not about the log: another command may succeed.
    fn is_of_one(&self) -> bool {
        !matches!(self, Self::Unavailable | Self::Unknown)
    }
}

impl From<AppendError> for CommandError {
    fn from(error: AppendError) -> Self {
        match error {
            // Who appends with an expectation handles its conflict; one that is left over means
            // that others were faster each time.
            AppendError::Conflict { .. } | AppendError::Unavailable { .. } => Self::Unavailable,
            AppendError::Unknown { .. } => Self::Unknown,
            AppendError::Rejected { reason } => Self::Invalid { field: "body", reason },
        }
    }
}

impl From<LogError> for CommandError {
    fn from(error: LogError) -> Self {
        tracing::warn!(%error, "a command could not read the event log");
        Self::Unavailable
    }
}

impl From<QueryError> for CommandError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NotYet | QueryError::Incomplete => {}
            QueryError::Overloaded | QueryError::Broken(_) => {
                tracing::warn!(%error, "a command could not read the read model")
            }
        }
        Self::Unavailable
    }
}

/// Follows a chain of merges that this process knows of. Chains are short; a longer one than this
/// is followed by the fold.
const MERGES_FOLLOWED_MAX: usize = 8;

/// The stream in which all of a contact stands.
fn conversation_stream(client: ClientId, id: ConversationId) -> crate::event_log::StreamName {
    crate::event_log::StreamName::Conversation(client, id)
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
