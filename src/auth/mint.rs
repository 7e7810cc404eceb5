//! Making HS256 tokens: for `condorito token` and for tests. A real installation has an issuer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{AuthSettings, AuthSettingsError, Scopes};
use crate::domain::{ids::ClientId, time::Timestamp};

/// What a token shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mint {
    pub subject: String,
    pub client_id: ClientId,
    pub scopes: Scopes,
    pub ttl_s: u64,
}

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("there is no shared secret to sign with: set auth.secret or auth.secret_file")]
    NoSecret,
    #[error(transparent)]
    Settings(#[from] AuthSettingsError),
    #[error("the token can't be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// A token that a server with these settings accepts, until `ttl_s` after `now`.
pub fn mint(settings: &AuthSettings, order: &Mint, now: Timestamp) -> Result<String, MintError> {
    let secret = settings.signing_secret()?.ok_or(MintError::NoSecret)?;
    let issued_s = now.0.div_euclid(1000);
    let expires_s = issued_s.saturating_add(i64::try_from(order.ttl_s).unwrap_or(i64::MAX));
    let mut claims = json!({
        "sub": order.subject,
        "client_id": order.client_id,
        "scope": order.scopes.to_string(),
        "iat": issued_s,
        "exp": expires_s,
    });
    if let Some(issuer) = settings.issuers.first() {
        claims["iss"] = json!(issuer);
    }
    if let Some(audience) = settings.audiences.first() {
        claims["aud"] = json!(audience);
    }
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let encode = |part: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256)?;
    Ok(format!("{signed}.{signature}"))
}
