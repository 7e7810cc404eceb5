//! Statistics: counters that move in the same order as the messages.
//!
//! **Invariant:** counters are sums over the log's events; nothing is ever counted by scanning
//! messages, so the cost of an event does not grow with the history.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

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

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConversationCounts {
    pub total: i64,
    pub open: i64,
    pub pending: i64,
    pub closed: i64,
    /// Conversations with at least one unread message.
    pub unread: i64,
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
