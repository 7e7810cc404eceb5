//! Settings of the bulk runner.

use schemars::JsonSchema;
use serde::Deserialize;

/// How bulks are worked off.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkSettings {
    /// How much of a bulk's pace may be queued ahead of the sender, in milliseconds (2,000): what
    /// still leaves after a pause. At the bound nothing more is claimed until messages have left.
    pub queued_ahead_ms: u64,
    /// How long a bulk waits for messages in doubt once all others are settled, in milliseconds
    /// (30,000). Then it completes with them in doubt; a later status settles them all the same.
    pub in_doubt_wait_ms: u64,
}

impl Default for BulkSettings {
    fn default() -> Self {
        Self { queued_ahead_ms: 2_000, in_doubt_wait_ms: 30_000 }
    }
}
