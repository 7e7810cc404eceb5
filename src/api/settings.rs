//! Settings of the REST interface.

use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds of the REST interface.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// The longest path with query, in bytes (8,192). Beyond: 414.
    pub uri_length_max_bytes: usize,
    /// The largest JSON body of a request other than ingest and webhooks, in bytes (65,536).
    /// Beyond: 413.
    pub body_max_bytes: usize,
    /// The largest body of an ingest batch, in bytes (8 MiB). Beyond: 413.
    pub ingest_body_max_bytes: usize,
    /// The largest body of a bulk, in bytes (64 MiB). Beyond: 413.
    pub bulk_body_max_bytes: usize,
    /// The pace of a bulk that names none, in messages a second (20; at most 1,000).
    pub bulk_rate_per_second_default: u32,
    /// The largest body of a webhook, in bytes (3 MiB, what WhatsApp may send). Beyond: 413.
    pub webhook_body_max_bytes: usize,
    /// The bytes of all bodies that are being read or answered, of all clients together (64 MiB);
    /// JSON takes several times as much for the moment in which it is parsed. Beyond: 503, and
    /// bodies over 64 KiB leave a quarter to smaller ones.
    pub bodies_in_flight_max_bytes: usize,
    /// The longest that a body may take to arrive, in milliseconds (30,000). Beyond: 408.
    pub body_timeout_ms: u64,
    /// The longest that `at_least` waits, on REST and on every transport of events, in
    /// milliseconds (5,000). Beyond: 504.
    pub at_least_wait_ms: u64,
    /// The most conversations in a snapshot, the newest first, as a frame and over REST (500). The
    /// rest is read page by page.
    pub snapshot_conversations_max: usize,
    /// Time zone of the day buckets for tenants that have none yet, an IANA name (`UTC`).
    pub time_zone: String,
    /// Address under which clients reach this server, for the document's `servers`; empty: `/`.
    pub public_url: String,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            uri_length_max_bytes: 8 * 1024,
            body_max_bytes: 64 * 1024,
            ingest_body_max_bytes: 8 * 1024 * 1024,
            bulk_body_max_bytes: 64 * 1024 * 1024,
            bulk_rate_per_second_default: 20,
            webhook_body_max_bytes: 3 * 1024 * 1024,
            bodies_in_flight_max_bytes: 64 * 1024 * 1024,
            body_timeout_ms: 30_000,
            at_least_wait_ms: 5_000,
            snapshot_conversations_max: 500,
            time_zone: "UTC".to_owned(),
            public_url: String::new(),
        }
    }
}
