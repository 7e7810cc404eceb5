//! From the log to what is read: the projector folds events into the read model and hands the
//! public events on to the feed; queries answer from the read model.
//!
//! **Invariant:** the projector alone writes the read model, and state, feed and checkpoint change
//! in one transaction. All of it is a function of the log.

use bytes::Bytes;

use crate::{
    domain::{
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    wire::{cursor::Cursor, event_type::EventType},
};

pub mod encode;
pub mod follow;
pub mod outbox_rows;
pub mod queries;
pub mod read_model;
pub mod rebuild;
pub mod settings;
pub mod to_wire;

mod bulks;
mod erasing;
mod feed_pages;
mod feed_table;
mod flush;
mod lookups;
mod pool;
mod projector;
mod retention;
mod search;
mod state;
mod stored;
mod words;
mod write_back;

pub use erasing::Erasing;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

/// A public event in its final form.
#[derive(Debug, Clone)]
pub struct PublicFrame {
    pub client_id: ClientId,
    pub cursor: Cursor,
    pub event_type: EventType,
    /// Within (tenant, `event_type`): what a later state event supersedes. The conversation's
    /// number, a hash of the bulk's id, or 0 for one per tenant. Without meaning for facts.
    pub key: u64,
    /// For the `conversation_id` filter; `None` where the event is of no conversation.
    pub conversation_id: Option<ConversationId>,
    /// The JSON object of PROTOCOL.md ("Public event"), `id` included.
    pub json: Bytes,
    /// When the domain event was taken in, for measuring the delivery lag.
    pub taken_in_at: Timestamp,
}

/// One transaction of the projector, after its commit.
#[derive(Debug, Clone)]
pub struct CommittedBatch {
    /// In feed order per tenant; superseded state events of the batch are left out already.
    pub frames: Vec<PublicFrame>,
    /// All events up to here are projected.
    pub position: Position,
    /// Conversations that were erased in it: what followers still hold of them is to be let go.
    pub erased: Vec<(ClientId, Vec<ConversationId>)>,
}

/// Takes what was projected. Called on the projector's thread, in order, after the commit; must
/// not block.
pub trait FeedSink: Send + Sync + 'static {
    fn committed(&self, batch: &CommittedBatch);
}
