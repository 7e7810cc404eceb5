//! Statistics: counters that move in the same order as the messages.
//!
//! **Invariant:** `totals`, `total_messages`, `queued` and `conversations` equal at any time what a
//! recount of all messages ([`Share`]) and conversations ([`ConversationCounts::of`]) would give,
//! and of erased persons what their messages had come to (`event::KeptNumbers`).
//! They are kept up by adding the difference that an event makes; nothing is ever counted by
//! scanning messages, so the cost of an event does not grow with the history.

use serde::{Deserialize, Serialize};

use super::{
    conversation::{Conversation, ConversationStatus},
    message::{Direction, Message, MessageStatus},
    time::Timestamp,
};

/// How many messages reached each status. `read` implies delivered: `delivered` counts messages
/// that were delivered or read. A bucket adds up the changes within its hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub received: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
}

impl Counts {
    pub const ZERO: Counts = Counts { received: 0, sent: 0, delivered: 0, read: 0, failed: 0 };

    pub fn add(&mut self, other: Counts) {
        self.received += other.received;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.read += other.read;
        self.failed += other.failed;
    }

    pub fn minus(self, other: Counts) -> Counts {
        Counts {
            received: self.received - other.received,
            sent: self.sent - other.sent,
            delivered: self.delivered - other.delivered,
            read: self.read - other.read,
            failed: self.failed - other.failed,
        }
    }
}

/// What one message adds to the statistics as it stands.
///
/// A function of the message's state and not of its way there, so that late and repeated
/// statuses can't make the counters wrong: the totals are always the sum over all messages.
/// A message that failed counts as sent too when the provider had accepted it (it has the
/// provider's id), so that `delivered` of `sent` shows such failures; one that the provider
/// refused at once counts as failed only. Imported messages count like others, since the totals
/// speak of the history that a client sees. Our own notices of edits count nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    pub messages: i64,
    pub queued: i64,
    pub counts: Counts,
}

impl Share {
    pub fn of(message: &Message) -> Share {
        if message.is_notice() {
            return Share::default();
        }
        let counts = match (message.direction, message.status) {
            (Direction::Inbound, _) => Counts { received: 1, ..Counts::ZERO },
            (Direction::Outbound, MessageStatus::Received | MessageStatus::Queued) => Counts::ZERO,
            (Direction::Outbound, MessageStatus::Sent) => Counts { sent: 1, ..Counts::ZERO },
            (Direction::Outbound, MessageStatus::Delivered) => {
                Counts { sent: 1, delivered: 1, ..Counts::ZERO }
            }
            (Direction::Outbound, MessageStatus::Read) => {
                Counts { sent: 1, delivered: 1, read: 1, ..Counts::ZERO }
            }
            (Direction::Outbound, MessageStatus::Failed) => Counts {
                sent: i64::from(message.wa_message_id.is_some()),
                failed: 1,
                ..Counts::ZERO
            },
        };
        let queued =
            message.direction == Direction::Outbound && message.status == MessageStatus::Queued;
        Share { messages: 1, queued: i64::from(queued), counts }
    }

    pub fn minus(self, other: Share) -> Share {
        Share {
            messages: self.messages - other.messages,
            queued: self.queued - other.queued,
            counts: self.counts.minus(other.counts),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConversationCounts {
    pub total: i64,
    pub open: i64,
    pub pending: i64,
    pub closed: i64,
    /// Conversations with at least one unread message.
    pub unread: i64,
}

impl ConversationCounts {
    /// What one conversation adds; nothing once it is merged away.
    pub fn of(conversation: &Conversation) -> Self {
        if conversation.merged_into.is_some() {
            return Self::default();
        }
        let is = |status| i64::from(conversation.status == status);
        Self {
            total: 1,
            open: is(ConversationStatus::Open),
            pending: is(ConversationStatus::Pending),
            closed: is(ConversationStatus::Closed),
            unread: i64::from(conversation.unread_count > 0),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.open += other.open;
        self.pending += other.pending;
        self.closed += other.closed;
        self.unread += other.unread;
    }

    pub fn subtract(&mut self, other: &Self) {
        self.total -= other.total;
        self.open -= other.open;
        self.pending -= other.pending;
        self.closed -= other.closed;
        self.unread -= other.unread;
    }
}

/// A tenant's statistics after the events so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    pub total_messages: i64,
    pub totals: Counts,
    /// Messages waiting to be sent now.
    pub queued: i64,
    /// Changes since the tenant's last `day_started`.
    pub today: Counts,
    pub conversations: ConversationCounts,
    pub first_responses: i64,
    pub first_response_sum_ms: i64,
    pub updated_at: Timestamp,
}
