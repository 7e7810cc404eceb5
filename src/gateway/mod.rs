//! Gateways: what speaks a provider's language. A provider's JSON never leaves its folder.
//!
//! A webhook's raw bytes and its signature come in from `api`; what they say, tenant by tenant,
//! goes out to `ingest` as [`Inbound`]. Everything in between is pure: no I/O, no clock (the
//! time of receipt is an argument), so a payload is judged by a fixture and nothing else.
//!
//! **Invariant:** nothing is parsed before its signature held.
//!
//! **Invariant:** a part that can't be understood never keeps the rest from being understood. It
//! becomes an `unsupported` message or an unknown change with its raw JSON.
//!
//! **Invariant:** an [`Intake::Unknown`] holds no
//! personal data, for it ends in the tenant's stream, which erasing a person leaves alone. What
//! can't be told to be free of it is redacted (see `json::redacted`).
//!
//! Adding a provider: a folder with its webhook, signature and payload, an entry in `app`, and
//! fixtures in `tests/fixtures/<provider>/`, which `fixtures_test` finds by itself.

pub mod http;
pub mod lines;
pub mod outbound;
pub mod routes;
pub mod simulator;
pub mod tenancy;
pub mod waha;
pub mod whatsapp_cloud;

mod identity;
mod json;

#[cfg(test)]
mod fixtures_test;
#[cfg(test)]
mod peer_test;
#[cfg(test)]
mod properties_test;

use crate::domain::{ids::ClientId, intake::Intake};

/// What one webhook request held, tenants told apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inbound {
    pub items: Vec<(ClientId, Intake)>,
    /// Parts that belong to no configured tenant: counted, logged without content, not stored.
    pub unrouted: usize,
    /// Parts that are understood and have no place in conversations with one contact each
    /// (groups, channels, stories, who is typing): counted, not stored.
    pub ignored: usize,
}

/// Why a webhook request was turned away. Nothing of it was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// No signature, or one that no configured secret made.
    #[error("the signature is missing or wrong")]
    Unauthorized,
    /// Signed, and not JSON, or not an object of this provider.
    #[error("the body can't be read as this provider's webhook: {reason}")]
    Malformed { reason: String },
}
