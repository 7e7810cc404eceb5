//! The feed: public events on their way from the projector to whoever follows them.
//!
//! [`hub::Hub`] takes what the projector committed and puts it into one [`ring`] per
//! tenant that has followers. A [`subscriber::Subscriber`] is a cursor with a filter that pulls
//! what lies after it: from the ring while that still holds its place, else from the feed table,
//! else it is told to `reset`. Transports (`delivery`) write what it hands them as it is.
//!
//! ```text
//! projector ── committed ──► Hub ── frame ──► Ring: open │ sealed segments ◄── pull ── Subscriber
//!                                   flusher ── seal, wake ──┘                 feed table ◄┘
//! ```
//!
//! Why segments: an event is encoded for a whole segment at once, and all subscribers with the
//! same filter and encoding share those bytes. Since every subscriber is woken when a segment is
//! sealed, and never in between, they stay in lock step: a delivery costs a reference, not a copy.
//!
//! **Invariant:** no queue, no encoding and no copy per subscriber on the way through the ring.
//!
//! **Invariant:** a subscriber gets every fact after its cursor once and in order, and the latest
//! state event of each key, or is told to `reset`; nothing is left out silently.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

mod catch_up;
pub mod filter;
pub mod frame;
pub mod hub;
pub mod past;
mod ring;
mod segment;
pub mod subscriber;
#[cfg(test)]
pub(crate) mod tests;

/// Settings of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedSettings {
    /// In a steady stream a subscriber is written to at most this often, in milliseconds
    /// (default 5). An event after a quiet moment leaves at once. 0 writes without gathering.
    pub batch_window_ms: u64,
    /// Bytes of events (as JSON) that a tenant's ring holds (default 8 MiB). Beyond it the oldest
    /// are let go, and subscribers that had not pulled them read the feed table. Their ready
    /// encodings come on top, at most once more per encoding in use.
    pub ring_bytes_max: usize,
    /// Events that a tenant's ring holds (default 20,000); the same happens beyond it.
    pub ring_events_max: usize,
    /// Bytes of events that all rings hold together (default 256 MiB). Beyond it a ring that
    /// takes events in keeps only its newest segment.
    pub rings_bytes_max: usize,
    /// Seconds that a ring without subscribers is kept for those that come back (default 60).
    pub ring_idle_s: u64,
    /// Stored events after a cursor beyond which a subscriber is told `reset` with
    /// `too_far_behind` instead of being led through all of them (default 2,000,000).
    pub backlog_events_max: u64,
    /// Events that a subscriber who catches up reads from the feed table at once (default 1,000).
    pub page_events: usize,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            batch_window_ms: 5,
            ring_bytes_max: 8 << 20,
            ring_events_max: 20_000,
            rings_bytes_max: 256 << 20,
            ring_idle_s: 60,
            backlog_events_max: 2_000_000,
            page_events: 1_000,
        }
    }
}

impl FeedSettings {
    fn batch_window(&self) -> Duration {
        Duration::from_millis(self.batch_window_ms)
    }

    fn ring_idle(&self) -> Duration {
        Duration::from_secs(self.ring_idle_s)
    }
}
