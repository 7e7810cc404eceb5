//! Why a call is turned away. `api::problem` says how that is told over HTTP, `delivery` how over
//! a WebSocket.

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
    /// `X-Client-Id` names a tenant that the caller may not act for, or nothing that could be
    /// one. Told as everything else that is not there, so that nothing can be learnt from it.
    #[error("there is no such thing")]
    NoSuchTenant,
    /// Too many calls; try again after this many seconds.
    #[error("too many requests")]
    RateLimited { retry_after_s: u64 },
    /// The keys to check tokens with can't be fetched now.
    #[error("tokens can't be checked now")]
    Unavailable,
}
