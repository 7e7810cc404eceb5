//! Why a call is turned away, and how that is said over HTTP: status, code, headers.

use http::StatusCode;

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
    /// `X-Client-Id` names a tenant that the caller may not act for, or nothing that could be one.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// Too many calls; try again after this many seconds.
    #[error("too many requests")]
    RateLimited { retry_after_s: u64 },
    /// The keys to check tokens with can't be fetched now.
    #[error("tokens can't be checked now")]
    Unavailable,
}

impl AuthError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Invalid { .. } | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::Scope { .. } => StatusCode::FORBIDDEN,
            Self::NoSuchTenant => StatusCode::NOT_FOUND,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable `code` of the problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid { .. } => "token_invalid",
            Self::Expired => "token_expired",
            Self::Scope { .. } => "scope_missing",
            Self::NoSuchTenant => "not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable => "auth_unavailable",
        }
    }

    /// The `WWW-Authenticate` header that the answer carries (RFC 6750 section 3).
    pub fn www_authenticate(&self) -> Option<String> {
        const CHALLENGE: &str = "Bearer realm=\"condorito\"";
        match self {
            Self::Missing => Some(CHALLENGE.to_owned()),
            Self::Invalid { .. } | Self::Expired => {
                Some(format!("{CHALLENGE}, error=\"invalid_token\", error_description=\"{self}\""))
            }
            Self::Scope { scope } => {
                Some(format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            Self::NoSuchTenant | Self::RateLimited { .. } | Self::Unavailable => None,
        }
    }

    /// The `Retry-After` header that the answer carries.
    pub fn retry_after_s(&self) -> Option<u64> {
        const KEYS_RETRY_S: u64 = 5;
        match self {
            Self::RateLimited { retry_after_s } => Some((*retry_after_s).max(1)),
            Self::Unavailable => Some(KEYS_RETRY_S),
            _ => None,
        }
    }
}
