//! Settings of what all transports share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// A slow client may take this many times the slow-consumer time-out for one write, as long as it
/// reads something within each.
const WRITE_TIMEOUTS_MAX: u32 = 4;

/// Settings of sessions: connections on which events flow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// Milliseconds between heartbeats on a connection (default 25,000). A connection's first one
    /// comes up to half of that earlier, so that thousands don't beat at once.
    pub heartbeat_ms: u64,
    /// WebSockets, event streams and waiting polls in all (default 50,000). A further one gets
    /// `429`.
    pub connections_max: usize,
    /// The same per tenant (default 10,000).
    pub connections_per_tenant_max: usize,
    /// Bytes of events written to a connection at once (default 256 KiB). What is beyond that
    /// waits in the ring, where it costs nothing.
    pub write_bytes_max: usize,
    /// Bytes of polls' answers that are not read yet, of all clients together (default 256 MiB). A
    /// poll that would go beyond gets `503` and `Retry-After`; it loses nothing by that.
    pub poll_answers_max_bytes: usize,
    /// Milliseconds that a write may stand still before the client counts as too slow and is
    /// disconnected (default 30,000); one write may take four times as long in all. It may come
    /// back with its cursor.
    pub slow_consumer_timeout_ms: u64,
    /// While the instance drains, connections are told to reconnect and closed at moments spread
    /// over this many milliseconds (default 5,000).
    pub drain_spread_ms: u64,
    /// `retry:` of event streams, in milliseconds (default 2,000): how long a browser waits
    /// before it reconnects.
    pub sse_retry_ms: u64,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 25_000,
            connections_max: 50_000,
            connections_per_tenant_max: 10_000,
            write_bytes_max: 256 << 10,
            poll_answers_max_bytes: 256 << 20,
            slow_consumer_timeout_ms: 30_000,
            drain_spread_ms: 5_000,
            sse_retry_ms: 2_000,
        }
    }
}

/// Bounds of reading that the REST interface has too: `app` takes them from its settings.
#[derive(Debug, Clone, Copy)]
pub struct ReadBounds {
    /// Conversations in a snapshot, the newest first.
    pub snapshot_conversations_max: usize,
    /// The longest that `at_least` waits.
    pub at_least_wait: Duration,
}

impl DeliverySettings {
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.max(1))
    }

    pub fn slow_consumer_timeout(&self) -> Duration {
        Duration::from_millis(self.slow_consumer_timeout_ms)
    }

    /// The longest that one write may take altogether, for a client that takes a little now and
    /// then.
    pub fn slow_write_timeout(&self) -> Duration {
        self.slow_consumer_timeout() * WRITE_TIMEOUTS_MAX
    }
}
