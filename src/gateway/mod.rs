//! Gateways: what speaks a provider's language. A provider's JSON never leaves its folder.
//!
//! Adding a provider: a folder with its webhook, signature and payload, an entry in `app`, and
//! fixtures in `tests/fixtures/<provider>/`.

use crate::domain::{ids::ClientId, intake::Intake};

/// What one webhook request held, tenants told apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inbound {
    pub items: Vec<(ClientId, Intake)>,
    /// Parts that belong to no configured tenant: counted, logged without content, not stored.
    pub unrouted: usize,
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
