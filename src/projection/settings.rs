//! Settings of the projection.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// How the read model is kept, written and read.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionSettings {
    /// File of the read model; its folder is made when missing. Default `data/read-model.db`.
    pub path: PathBuf,
    /// Events that one transaction takes in at most; what waits beyond goes into the next one.
    /// Default 1024.
    pub batch_events_max: usize,
    /// The same while the projection works off the past: larger transactions are faster, and
    /// nobody waits for them. Default 16384.
    pub catch_up_batch_events_max: usize,
    /// Page cache of the writing connection, in KiB. Beyond it pages are read from the file.
    /// Default 65536.
    pub page_cache_kib: u32,
    /// Conversations kept in memory for the fold; the least used are dropped, and read again
    /// when needed. Default 20000.
    pub cached_conversations_max: usize,
    /// Messages kept in memory for the fold, as above. Default 20000.
    pub cached_messages_max: usize,
    /// Tenants kept in memory for the fold, as above. Default 10000.
    pub cached_tenants_max: usize,
    /// How long facts stay in the feed table, in seconds; a cursor from before is expired.
    /// Default 604800 (7 days).
    pub feed_retention_s: u64,
    /// Read-only connections for clients. A query beyond them waits. Default 4.
    pub readers: usize,
    /// Read-only connections for what comes in and is written, so that it never waits for clients'
    /// searches. Default 2.
    pub command_readers: usize,
    /// Page cache of each read-only connection, in KiB. Default 8192.
    pub reader_cache_kib: u32,
    /// How long a query waits for a connection before it is turned away as too many, in
    /// milliseconds. Default 2000.
    pub query_wait_ms: u64,
    /// How long a query may run before it is broken off and turned away, in milliseconds.
    /// Default 5000.
    pub query_time_max_ms: u64,
}

impl Default for ProjectionSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data/read-model.db"),
            batch_events_max: 1024,
            catch_up_batch_events_max: 16_384,
            page_cache_kib: 65_536,
            cached_conversations_max: 20_000,
            cached_messages_max: 20_000,
            cached_tenants_max: 10_000,
            feed_retention_s: 7 * 24 * 3600,
            readers: 4,
            command_readers: 2,
            reader_cache_kib: 8192,
            query_wait_ms: 2000,
            query_time_max_ms: 5000,
        }
    }
}
