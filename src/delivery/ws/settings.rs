//! Settings of WebSockets alone; what all transports share stands in `DeliverySettings`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::cors::is_allowed;

/// Settings of WebSocket connections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketSettings {
    /// Origins whose pages may connect, as browsers write them (`https://crm.example`), or `*`
    /// for all (default: nobody is recognised by a cookie, so a foreign page gains nothing by
    /// connecting). Clients that send no `Origin` are no browsers and may connect. Others get
    /// `403`.
    pub allowed_origins: Vec<String>,
    /// Whether permessage-deflate is agreed to when offered (default true). An event is deflated
    /// once for all who agreed.
    pub compression: bool,
    /// Bytes of one message from a client, also when inflated (default 65,536). A longer one
    /// ends the connection with 1009.
    pub message_bytes_max: u32,
    /// Messages, pings and pongs a second that a client may send for long (default 20).
    pub messages_per_second_max: u32,
    /// How many it may send at once after a quiet time (default 100). Then 4429.
    pub messages_burst: u32,
    /// Milliseconds that the closing handshake may take (default 5,000). Then the connection is
    /// cut off.
    pub close_timeout_ms: u64,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            allowed_origins: vec!["*".to_owned()],
            compression: true,
            message_bytes_max: 65_536,
            messages_per_second_max: 20,
            messages_burst: 100,
            close_timeout_ms: 5_000,
        }
    }
}

impl WebSocketSettings {
    pub(super) fn may_connect(&self, origin: &str) -> bool {
        is_allowed(&self.allowed_origins, origin)
    }

    pub(super) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }

    /// The time that one message takes of the allowance.
    pub(super) fn message_interval(&self) -> Duration {
        Duration::from_secs(1) / self.messages_per_second_max.max(1)
    }
}
