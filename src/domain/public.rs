//! What the fold publishes, before it has a wire shape.

use std::sync::Arc;

use super::{
    conversation::Conversation,
    ids::{ConversationId, MessageId},
    message::{Message, MessageStatus, ProviderError},
};

/// A public event that follows from one domain event. Its ordinal is its index in what
/// [`fold`](super::fold::fold) returns.
///
/// State events carry no content: only the latest of each key matters, so the projector encodes
/// it once at the end of a batch, from the state as it is then. That equals the state at the
/// last event of that key in the batch, since every change of it publishes one.
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
        conversation_id: ConversationId,
    },
    StatsUpdated,
    BotStatusChanged,
    WhatsappStatusChanged,
}
