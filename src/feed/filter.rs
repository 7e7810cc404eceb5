//! What a subscriber wants to see of its tenant's feed.

use crate::{domain::ids::ConversationId, projection::PublicFrame, wire::event_type::EventType};

/// A set of event types, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Types(u16);

impl Types {
    pub const ALL: Types = Types((1 << EventType::ALL.len()) - 1);
    pub const NONE: Types = Types(0);

    pub fn with(self, event_type: EventType) -> Self {
        Self(self.0 | 1 << event_type as u8)
    }

    pub fn union(self, other: Types) -> Self {
        Self(self.0 | other.0)
    }

    pub fn contains(self, event_type: EventType) -> bool {
        self.0 & (1 << event_type as u8) != 0
    }

    pub fn intersects(self, other: Types) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<EventType> for Types {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        types.into_iter().fold(Self::NONE, Types::with)
    }
}

/// Hides events; it never makes a gap, since the cursor also moves past what it hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Filter {
    pub types: Types,
    /// Only events of this conversation; those of no conversation are hidden too.
    pub conversation: Option<ConversationId>,
    /// The number by which `conversation` was asked for, when that one was merged into it: what
    /// was said of it before is shown too.
    pub merged_away: Option<ConversationId>,
}

impl Filter {
    /// Hides nothing.
    pub const ALL: Filter = Filter { types: Types::ALL, conversation: None, merged_away: None };

    pub fn shows(&self, event: &PublicFrame) -> bool {
        self.types.contains(event.event_type) && self.is_about(event.conversation_id)
    }

    fn is_about(&self, conversation: Option<ConversationId>) -> bool {
        self.conversation.is_none()
            || conversation.is_some()
                && (conversation == self.conversation || conversation == self.merged_away)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::ALL
    }
}
