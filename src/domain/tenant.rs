//! How a tenant was set up at run time: its numbers and sessions, its time zone, its rate, and the
//! credentials, sealed.

use serde::{Deserialize, Serialize};

use super::{
    ids::{ClientId, EventId},
    time::Timestamp,
};

/// A tenant's setup. It replaces the one before as a whole, and the configuration file's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantSetup {
    /// An IANA name. `None`: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How many messages a second its number may send. `None`: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phone_number_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waba_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waha_sessions: Vec<WahaSessionSetup>,
    /// `None`: it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Sealed>,
}

/// A session of a WAHA server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WahaSessionSetup {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Something that only the holder of a key can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which key it was sealed with.
    pub key_id: String,
    /// Base64.
    pub nonce: String,
    /// Base64.
    pub ciphertext: String,
}

/// A setup as it holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSetup {
    pub client_id: ClientId,
    /// The event that made it so.
    pub event: EventId,
    pub at: Timestamp,
    pub setup: TenantSetup,
}
