//! The log: the truth, behind one small door.
//!
//! Events come from `command` (and from it alone) and go to the projector. Adapters:
//! `memory` (tests), `sqlite` (embedded, the default). Each passes [`contract`].

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use rand::RngExt;

use crate::domain::{
    event::Event,
    ids::{BulkId, ClientId, ConversationId, Position},
};

pub mod contract;
pub mod memory;
pub mod record;
pub mod sqlite;
mod tail;

/// A stream's name, as DESIGN.md lays the streams out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamName {
    /// `directory-{client}`: which contact has which conversation id.
    Directory(ClientId),
    /// `conversation-{client}-{id}`: all of one contact, personal data included.
    Conversation(ClientId, ConversationId),
    /// `tenant-{client}`: bot, WhatsApp state, days.
    Tenant(ClientId),
    /// `bulk-{client}-{id}`.
    Bulk(ClientId, BulkId),
    /// `recipients-{client}-{bulk id}.{part}`: a part of a bulk's recipients, with personal data.
    Recipients(ClientId, BulkId, u32),
    /// `request-{client}-{key hash}`: the answer to one idempotency key.
    Request(ClientId, String),
    /// A stream of a later release: kept as it is named, never written.
    Other(String),
}

/// A stream's version after some event of it. Opaque: SQLite counts the stream's events,
/// KurrentDB gives its revision, JetStream the last sequence of the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What the appender believes of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Any,
    /// The stream has no events (never had, or was deleted).
    NoStream,
    /// The stream's last event has this revision.
    Revision(Revision),
}

/// Events for one stream, stored all or none.
#[derive(Debug, Clone)]
pub struct Append {
    pub stream: StreamName,
    pub expected: Expected,
    pub events: Vec<Event>,
}

/// Where an event of an append came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub position: Position,
    pub revision: Revision,
}

/// An event as the log returns it.
#[derive(Debug, Clone)]
pub struct Record {
    pub position: Position,
    pub revision: Revision,
    pub stream: StreamName,
    pub event: Arc<Event>,
}

/// What [`EventLog::tail`] yields.
#[derive(Debug, Clone)]
pub enum Tail {
    /// Events in log order, at least one, at most [`TAIL_BATCH_MAX`].
    Records(Arc<[Record]>),
    /// All that was in the log when this was said has been yielded. Said once after the past,
    /// and again whenever a later backlog has been worked off.
    CaughtUp,
}

/// The most records in one [`Tail::Records`].
pub const TAIL_BATCH_MAX: usize = 1024;

/// Why an append was not, or may not have been, stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer was first. Nothing of entry `index` was stored.
    #[error("the stream has moved on: entry {index} expected another version")]
    Conflict { index: usize, actual: Option<Revision> },
    /// Not stored, and will not be: the log can't take it now (full disk, no leader).
    #[error("the event log can't store events now: {reason}")]
    Unavailable { reason: String },
    /// Not known: it may be stored. The fold makes an append that is repeated harmless.
    #[error("the event log did not answer; the events may be stored: {reason}")]
    Unknown { reason: String },
    /// An event is over the backend's limits; repeating does not help.
    #[error("the events can't be stored: {reason}")]
    Rejected { reason: String },
}

impl AppendError {
    /// A short name, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            AppendError::Conflict { .. } => "conflict",
            AppendError::Unavailable { .. } => "unavailable",
            AppendError::Unknown { .. } => "unknown",
            AppendError::Rejected { .. } => "rejected",
        }
    }
}

/// Why the log can't be read or opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// May pass: try again with a back-off.
    #[error("the event log is not available: {reason}")]
    Unavailable { reason: String },
    /// Will not pass by itself: what is wrong and what to do.
    #[error("{reason}")]
    Broken { reason: String },
}

/// What was drawn once when the store was created and stays with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// 5 to 8 characters of `[a-z0-9]`; the first part of every cursor.
    pub epoch: String,
    /// Key for hashing contacts' identities ([`crate::domain::ids::IdentityHash`]).
    pub hash_key: [u8; 32],
}

impl StoreIdentity {
    /// A new store's identity.
    pub fn draw() -> Self {
        const EPOCH_LENGTH: usize = 6;
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = rand::rng();
        let letter = |_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]);
        let epoch = (0..EPOCH_LENGTH).map(letter).collect();
        Self { epoch, hash_key: rand::rng().random() }
    }
}

/// Whether a stream whose last event has the revision `actual` is what entry `index` expects.
fn check_expected(
    expected: Expected,
    actual: Option<Revision>,
    index: usize,
) -> Result<(), AppendError> {
    let met = match expected {
        Expected::Any => true,
        Expected::NoStream => actual.is_none(),
        Expected::Revision(revision) => actual == Some(revision),
    };
    if met { Ok(()) } else { Err(AppendError::Conflict { index, actual }) }
}

/// An append-only log of all tenants' events.
///
/// **Order.** Positions grow in the order in which events become visible. A reader that has seen
/// position `p` will never be shown a smaller one: a committed event is not skipped by `read` or
/// `tail`, also while others are being appended.
///
/// **Durability.** When `append` returns `Ok`, the events survive a crash of the process and of
/// the machine.
///
/// **Cancellation.** Dropping an `append` future does not undo it: the events may be stored.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    fn identity(&self) -> &StoreIdentity;

    /// Stores the entries in order and returns the place of every event, entry by entry.
    ///
    /// Each entry is all or none. Entries after a failed one are not stored; entries before it
    /// are not either where the backend is transactional (`memory`, `sqlite`) and may be
    /// elsewhere, so callers order entries such that a prefix does no harm. Entries that name
    /// the same stream see each other. Where the backend is transactional, the events of one
    /// append have consecutive positions. Empty input returns an empty answer.
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, AppendError>;

    /// Up to `limit` events over all streams after `after`, in log order. Empty at the end.
    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError>;

    /// All events after `after`, past and future, in log order, each once. Never ends by itself;
    /// an `Err` is its last item, after which the caller tails again from what it has seen.
    /// A slow caller delays nobody.
    fn tail(&self, after: Position) -> BoxStream<'static, Result<Tail, LogError>>;

    /// Up to `limit` events of one stream after revision `after` (`None`: from the first).
    /// Empty for a stream that does not exist.
    async fn read_stream(
        &self,
        stream: &StreamName,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<Record>, LogError>;

    /// Deletes a stream with all its events, durably; one that does not exist is no error.
    /// Its positions stay unused. A later append may begin it anew with `NoStream`.
    async fn delete_stream(&self, stream: &StreamName) -> Result<(), LogError>;

    /// Position of the newest event, [`Position::START`] when there is none.
    async fn head(&self) -> Result<Position, LogError>;

    /// `Ok` when the log can take appends now.
    async fn health(&self) -> Result<(), LogError>;

    /// Ends in order: what was acknowledged is stored, files are closed. Later calls fail.
    async fn close(&self);
}
