//! The nine public event types.

/// A public event's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventType {
    NewMessage = 0,
    MessageStatusUpdated = 1,
    ConversationUpdated = 2,
    StatsUpdated = 3,
    BotStatusChanged = 4,
    WhatsappStatusChanged = 5,
    BulkMessageProgress = 6,
    BulkMessageCompleted = 7,
    BulkMessageError = 8,
}

impl EventType {
    pub const ALL: [EventType; 9] = [
        EventType::NewMessage,
        EventType::MessageStatusUpdated,
        EventType::ConversationUpdated,
        EventType::StatsUpdated,
        EventType::BotStatusChanged,
        EventType::WhatsappStatusChanged,
        EventType::BulkMessageProgress,
        EventType::BulkMessageCompleted,
        EventType::BulkMessageError,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EventType::NewMessage => "new_message",
            EventType::MessageStatusUpdated => "message_status_updated",
            EventType::ConversationUpdated => "conversation_updated",
            EventType::StatsUpdated => "stats_updated",
            EventType::BotStatusChanged => "bot_status_changed",
            EventType::WhatsappStatusChanged => "whatsapp_status_changed",
            EventType::BulkMessageProgress => "bulk_message_progress",
            EventType::BulkMessageCompleted => "bulk_message_completed",
            EventType::BulkMessageError => "bulk_message_error",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether a later event with the same key supersedes this one. The others are facts.
    pub fn is_state(self) -> bool {
        matches!(
            self,
            EventType::ConversationUpdated
                | EventType::StatsUpdated
                | EventType::BotStatusChanged
                | EventType::WhatsappStatusChanged
                | EventType::BulkMessageProgress
        )
    }
}
