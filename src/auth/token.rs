//! One JWT: taking it apart, its signature, its claims.
//!
//! The signature is checked by `jsonwebtoken` (aws-lc); header and claims are read here, because
//! the time comes from the injected clock and because the header must have no say in how its
//! token is checked beyond naming a key.
//!
//! **Invariant:** nothing of a token's claims is believed, or told to the caller, before its
//! signature holds.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

use super::{AuthError, AuthSettings, Identity, Scopes, keys::KeySet};
use crate::domain::{ids::ClientId, time::Timestamp};

/// Longer tokens are refused unread: no claim that we use needs more.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longer `sub` claims are refused: the subject is kept with what it changed.
pub const MAX_SUBJECT_BYTES: usize = 256;
/// Expiry is clamped to the end of the year 9999, so that any `exp` can be written as a date.
const MAX_EXPIRY_S: f64 = 253_402_300_799.0;

/// What a token is checked against besides the keys.
#[derive(Debug, Clone)]
pub struct Checks {
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_ms: i64,
}

impl Checks {
    pub fn new(settings: &AuthSettings) -> Self {
        Self {
            issuers: settings.issuers.clone(),
            audiences: settings.audiences.clone(),
            leeway_ms: i64::try_from(settings.leeway_s.saturating_mul(1000)).unwrap_or(i64::MAX),
        }
    }
}

/// The part of a JOSE header that matters here. All else in it is ignored, in particular keys
/// that it brings along or points to (`jwk`, `jku`, `x5c`, `x5u`).
#[derive(Debug, Deserialize)]
pub struct Header {
    pub alg: String,
    #[serde(default)]
    pub kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// A compact JWS, taken apart and not yet believed.
pub struct Parts<'a> {
    pub header: Header,
    /// What is signed: header and payload as they were sent.
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    pub fn split(jwt: &'a str) -> Result<Self, AuthError> {
        const MALFORMED: AuthError = AuthError::Invalid { reason: "it is not a JWT" };
        if jwt.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid { reason: "it is too long" });
        }
        let (signed, signature) = jwt.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        if payload.contains('.') {
            return Err(MALFORMED);
        }
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| MALFORMED)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| MALFORMED)?;
        if header.crit.is_some() {
            // RFC 7515 section 4.1.11: extensions that we don't know must not be ignored.
            return Err(AuthError::Invalid { reason: "it has critical header extensions" });
        }
        Ok(Self { header, signed, payload, signature })
    }
}

/// Checks signature and claims.
pub fn check(
    parts: &Parts<'_>,
    keys: &KeySet,
    checks: &Checks,
    now: Timestamp,
) -> Result<Identity, AuthError> {
    let mut reason = "its key is not known";
    let mut holds = false;
    for key in keys.candidates(parts.header.kid.as_deref()) {
        if !key.algorithm.is_named(&parts.header.alg) {
            reason = "its algorithm is not the key's";
        } else if key.verifies(parts.signed.as_bytes(), parts.signature) {
            holds = true;
            break;
        } else {
            reason = "its signature is wrong";
        }
    }
    if !holds {
        return Err(AuthError::Invalid { reason });
    }
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(parts.payload)
        .map_err(|_| AuthError::Invalid { reason: "it is not a JWT" })?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| AuthError::Invalid { reason: "a claim is missing or of the wrong type" })?;
    claims.check(checks, now)
}

/// The claims of PROTOCOL.md. Others are ignored.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
    client_id: Option<u32>,
    #[serde(default)]
    scope: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<OneOrMany>,
    aud: Option<OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn names_one_of(&self, accepted: &[String]) -> bool {
        match self {
            Self::One(name) => accepted.contains(name),
            Self::Many(names) => names.iter().any(|name| accepted.contains(name)),
        }
    }
}

impl Claims {
    fn check(self, checks: &Checks, now: Timestamp) -> Result<Identity, AuthError> {
        let invalid = |reason| AuthError::Invalid { reason };
        let exp = self.exp.ok_or(invalid("it has no exp claim"))?;
        let expires_at = seconds(exp).ok_or(invalid("its exp claim is not a time"))?;
        let expires_at = expires_at.plus_ms(checks.leeway_ms);
        if now >= expires_at {
            return Err(AuthError::Expired);
        }
        if let Some(nbf) = self.nbf {
            let not_before = seconds(nbf).ok_or(invalid("its nbf claim is not a time"))?;
            if now < not_before.plus_ms(-checks.leeway_ms) {
                return Err(invalid("it is not valid yet"));
            }
        }
        let names = |claim: &Option<OneOrMany>, accepted: &[String]| {
            accepted.is_empty() || claim.as_ref().is_some_and(|claim| claim.names_one_of(accepted))
        };
        if !names(&self.iss, &checks.issuers) {
            return Err(invalid("it is of another issuer"));
        }
        if !names(&self.aud, &checks.audiences) {
            return Err(invalid("it is for another audience"));
        }
        let client_id = self.client_id.ok_or(invalid("it has no client_id claim"))?;
        let subject =
            self.sub.filter(|sub| !sub.is_empty()).ok_or(invalid("it has no sub claim"))?;
        if subject.len() > MAX_SUBJECT_BYTES {
            return Err(invalid("its sub claim is too long"));
        }
        Ok(Identity {
            subject,
            client_id: ClientId(client_id),
            scopes: Scopes::parse(self.scope.as_deref().unwrap_or_default()),
            expires_at,
        })
    }
}

/// A NumericDate (RFC 7519 section 2): seconds, fractions allowed.
fn seconds(value: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
    (value >= 0.0).then(|| Timestamp((value.min(MAX_EXPIRY_S) * 1000.0) as i64))
}
