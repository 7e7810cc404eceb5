//! Settings of what all transports share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// Conversations in a `snapshot` frame, the newest first (default 500). Older ones are there
    /// with `GET /v1/conversations`.
    pub snapshot_conversations_max: usize,
    /// Bytes of events written to a connection at once (default 256 KiB). What is beyond that
    /// waits in the ring, where it costs nothing.
    pub write_bytes_max: usize,
    /// Milliseconds that a write may stand still before the client counts as too slow and is
    /// disconnected (default 30,000). It may come back with its cursor.
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
            snapshot_conversations_max: 500,
            write_bytes_max: 256 << 10,
            slow_consumer_timeout_ms: 30_000,
            drain_spread_ms: 5_000,
            sse_retry_ms: 2_000,
        }
    }
}

impl DeliverySettings {
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.max(1))
    }

    pub fn slow_consumer_timeout(&self) -> Duration {
        Duration::from_millis(self.slow_consumer_timeout_ms)
    }
}
