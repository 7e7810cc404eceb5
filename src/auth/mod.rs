//! Who calls, for which tenant, and what they may do.

use crate::domain::{ids::ClientId, time::Timestamp};

/// What a token allows. One bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(pub u16);

impl Scopes {
    pub const EVENTS_READ: Scopes = Scopes(1);
    pub const MESSAGES_READ: Scopes = Scopes(1 << 1);
    pub const MESSAGES_WRITE: Scopes = Scopes(1 << 2);
    pub const BULK_WRITE: Scopes = Scopes(1 << 3);
    pub const BOT_WRITE: Scopes = Scopes(1 << 4);
    pub const INGEST_WRITE: Scopes = Scopes(1 << 5);
    pub const TENANT_WRITE: Scopes = Scopes(1 << 6);
    /// May name another tenant with `X-Client-Id`, and holds all other scopes.
    pub const ADMIN: Scopes = Scopes(1 << 7);

    /// Whether all of `needed` is allowed.
    pub fn allows(self, needed: Scopes) -> bool {
        self.0 & Self::ADMIN.0 != 0 || self.0 & needed.0 == needed.0
    }
}

/// A caller whose token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub subject: String,
    /// The tenant that the call is for: the token's, or with `admin` the one named.
    pub client_id: ClientId,
    pub scopes: Scopes,
    pub expires_at: Timestamp,
}

/// Why a call is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("a token is needed")]
    Missing,
    /// Malformed, of an unknown key, badly signed, or not for this server.
    #[error("the token is not valid: {reason}")]
    Invalid { reason: &'static str },
    #[error("the token has expired")]
    Expired,
    #[error("the token does not allow this: it needs the scope {scope}")]
    Scope { scope: &'static str },
    /// Too many calls; try again after this many seconds.
    #[error("too many requests")]
    RateLimited { retry_after_s: u64 },
    /// The keys to check tokens with can't be fetched now.
    #[error("tokens can't be checked now")]
    Unavailable,
}
