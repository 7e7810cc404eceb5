//! Settings of the outbox.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// How messages leave.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxSettings {
    /// Messages a second that one number sends, unless the tenant has a figure of its own.
    /// Default 80, WhatsApp's usual limit; an upgraded number may send 1000.
    pub messages_per_second: u32,
    /// How many messages may leave at once after a pause, beyond the steady pace. Default 10.
    pub messages_burst: u32,
    /// Seconds between two messages to one recipient, for long. Default 6.
    pub recipient_interval_s: u32,
    /// How many messages may go to one recipient at once before that interval counts.
    /// Default 45.
    pub recipient_burst: u32,
    /// Messages of one number that may be under way at the provider at once; bulks leave a
    /// quarter of it to single messages. Beyond it messages wait. Default 256.
    pub in_flight_max: usize,
    /// How long a provider may take to answer, in milliseconds. Then nobody knows whether the
    /// message was sent: it is in doubt. Must be below `doubt_after_ms`. Default 30000.
    pub call_timeout_ms: u64,
    /// How long after its claim a message of another instance, which says no more of it, is held
    /// to be in doubt, in milliseconds. Default 60000.
    pub doubt_after_ms: u64,
    /// How often a message that the provider sends back for later is tried, if it is for the
    /// recipient's sake. Then it fails with the provider's error. Default 8.
    pub attempts_max: u32,
    /// How long after it was queued a message is tried again after errors that pass, in seconds.
    /// Then it fails with the provider's error. Default 3600.
    pub retry_for_s: u64,
    /// How long a number that is refused is left alone before one message is tried, in seconds;
    /// twice as long after each failure, up to 16 times. Default 30.
    pub refused_pause_s: u64,
    /// Waiting messages that are kept in memory. Those beyond stay in the read model and are
    /// fetched when there is room. Default 100000.
    pub waiting_max: usize,
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            messages_per_second: 80,
            messages_burst: 10,
            recipient_interval_s: 6,
            recipient_burst: 45,
            in_flight_max: 256,
            call_timeout_ms: 30_000,
            doubt_after_ms: 60_000,
            attempts_max: 8,
            retry_for_s: 3600,
            refused_pause_s: 30,
            waiting_max: 100_000,
        }
    }
}

impl OutboxSettings {
    pub(super) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(super) fn doubt_after(&self) -> Duration {
        Duration::from_millis(self.doubt_after_ms)
    }

    pub(super) fn refused_pause(&self) -> Duration {
        Duration::from_secs(self.refused_pause_s)
    }
}
