//! What the fold publishes, before it has a wire shape.

use std::sync::Arc;

use super::{
    conversation::Conversation,
    ids::{BulkId, ConversationId, MessageId},
    message::{Message, MessageStatus, ProviderError},
};

/// A public event that follows from one domain event. Its ordinal is its index in what
/// [`fold`](super::fold::fold) returns.
///
/// Of the state events only the latest of each key matters, so the projector encodes one of each
/// at the end of a batch. A tenant's state (stats, bot, WhatsApp) is read from the state as it is
/// then, which equals that at the key's last event, since every change of it publishes one. A
/// conversation also changes along with the facts that carry it, so its event holds it as it was
/// right after its own domain event: where batches end makes no difference to what a frame says.
///
/// **Invariant:** whatever a client can see of a conversation or of a tenant's state changes only
/// together with a public event that carries the new content.
#[derive(Debug, Clone, PartialEq)]
pub enum PublicEvent {
    NewMessage {
        message: Arc<Message>,
        conversation: Arc<Conversation>,
    },
    MessageStatusUpdated {
        message_id: MessageId,
        conversation_id: ConversationId,
        status: MessageStatus,
        error: Option<ProviderError>,
    },
    ConversationUpdated {
        conversation: Arc<Conversation>,
    },
    StatsUpdated,
    BotStatusChanged,
    WhatsappStatusChanged,
    /// A bulk's number changes along with facts about messages, so it says what it was.
    BulkMessageProgress {
        bulk_id: BulkId,
        sent: i64,
        total: i64,
        /// The conversation whose message was taken by the provider last.
        current: Option<ConversationId>,
    },
    BulkMessageCompleted {
        bulk_id: BulkId,
        success_count: i64,
        error_count: i64,
    },
    BulkMessageError {
        bulk_id: BulkId,
        error: String,
    },
}
