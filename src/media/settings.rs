//! Settings of media.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::runtime::secret::Secret;

/// How media are fetched, taken in and kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MediaSettings {
    /// Folder for media; made when missing, for its owner alone. Default `media` in `data_dir`.
    /// Not used when `s3.bucket` is set.
    pub directory: PathBuf,
    /// An S3-compatible store instead of the folder.
    pub s3: S3Settings,
    /// Bytes that a medium of a contact may have, default 104857600 (100 MiB). A larger one is
    /// not kept, and its message says so.
    pub inbound_bytes_max: u64,
    /// Seconds that fetching one medium may take, default 300; then it is tried again.
    pub fetch_timeout_s: u64,
    /// Media that are fetched at once, default 8; further ones wait.
    pub fetches_at_once: usize,
    /// The same for one tenant, so that none waits for another's. Default 4.
    pub fetches_at_once_per_tenant: usize,
    /// Attempts to fetch a medium, default 8, with growing pauses; then it is given up.
    pub fetch_attempts_max: u32,
    /// Milliseconds that asking for a medium waits while it is being fetched, default 10000; then
    /// the answer is `503` with `media_pending`.
    pub pending_wait_ms: u64,
    /// Milliseconds that an upload may stand still, default 30000; then it is broken off. In all
    /// it may take `listener.request_timeout_ms`.
    pub upload_stall_timeout_ms: u64,
    /// Uploads of one tenant at once, default 8; a further one gets `429`.
    pub uploads_at_once_per_tenant: usize,
    /// Bytes that a tenant may keep in all, default 0: as many as there is room for. When they
    /// are used up, uploads get `413`; what contacts send is kept all the same.
    pub tenant_bytes_max: u64,
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("data/media"),
            s3: S3Settings::default(),
            inbound_bytes_max: 100 << 20,
            fetch_timeout_s: 300,
            fetches_at_once: 8,
            fetches_at_once_per_tenant: 4,
            fetch_attempts_max: 8,
            pending_wait_ms: 10_000,
            upload_stall_timeout_ms: 30_000,
            uploads_at_once_per_tenant: 8,
            tenant_bytes_max: 0,
        }
    }
}

/// An S3-compatible store. It should abort multipart uploads that were begun and not ended after
/// a day (a lifecycle rule): a crash leaves some.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Settings {
    /// Its bucket. Empty (the default): media are kept in `directory`.
    pub bucket: String,
    /// Default: as `endpoint` has it, else `us-east-1`.
    pub region: String,
    /// Where the store listens, when it is not Amazon's: `https://minio.example.org`.
    pub endpoint: String,
    /// Its access key. Without both keys the machine's own credentials are used, as on EC2.
    pub access_key_id: Option<Secret<String>>,
    /// The secret that belongs to `access_key_id`.
    pub secret_access_key: Option<Secret<String>>,
    /// What all names begin with, for a bucket that is shared. Default: nothing.
    pub prefix: String,
    /// Whether `endpoint` may be plain `http://`. Default false.
    pub allow_http: bool,
    /// Whether the bucket is part of the host's name instead of the path. Default false.
    pub virtual_hosted: bool,
}
