//! `[auth]`: which tokens this server accepts.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::runtime::secret::Secret;

/// HMAC secrets shorter than the hash can be guessed (RFC 7518 section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Which tokens this server accepts. At least one key is needed: `secret`, `secret_file`,
/// `public_key_files`, `jwks_file` or `jwks_url`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// Shared secret of HS256 tokens, at least 32 bytes. `condorito token` signs with it.
    /// Default: none.
    pub secret: Option<Secret<String>>,
    /// File that holds the shared secret instead; white space at its ends is ignored.
    /// Default: none.
    pub secret_file: Option<PathBuf>,
    /// Secrets that are still accepted, and no longer signed with, while clients change to a new
    /// one. Default: none.
    pub previous_secrets: Vec<Secret<String>>,
    /// PEM files with public keys: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA). Read again
    /// every `jwks_refresh_s`. Default: none.
    pub public_key_files: Vec<PathBuf>,
    /// File with a JSON Web Key Set. Read again every `jwks_refresh_s`. Default: none.
    pub jwks_file: Option<PathBuf>,
    /// Where to fetch a JSON Web Key Set, `https` (or `http` on this machine). Default: none.
    pub jwks_url: Option<String>,
    /// Allow `http` for `jwks_url` on other machines too: whoever can change the answer can then
    /// forge tokens. Default: false.
    pub jwks_allow_http: bool,
    /// Seconds after which keys are read or fetched again. When that fails the keys known stay.
    /// Default: 300.
    pub jwks_refresh_s: u64,
    /// Least seconds between two fetches for the sake of a token with an unknown key id; tokens
    /// with unknown key ids in between are refused. Default: 10.
    pub jwks_refetch_min_interval_s: u64,
    /// Seconds that a fetch may take. Default: 5.
    pub jwks_timeout_s: u64,
    /// Accepted `iss` claims; with none given `iss` is not looked at. Default: none.
    pub issuers: Vec<String>,
    /// Accepted `aud` claims, one of which a token must name; with none given `aud` is not
    /// looked at. Default: none.
    pub audiences: Vec<String>,
    /// Seconds by which a token's `exp` and `nbf` may be missed, for clocks that differ.
    /// Default: 5.
    pub leeway_s: u64,
    /// Verified tokens to remember, so that their signature is not checked again; the least used
    /// are forgotten first. Default: 10000.
    pub cache_tokens_max: usize,
    /// Seconds within which a ticket of `POST /v1/tickets` has to be used. Default: 30.
    pub ticket_ttl_s: u64,
    /// Unused tickets to keep; further ones are refused (429) until some are used or expire.
    /// Default: 10000.
    pub tickets_max: usize,
    /// The same for one tenant, whatever its callers. Default: 2000.
    pub tickets_per_tenant_max: usize,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            previous_secrets: Vec::new(),
            public_key_files: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            jwks_allow_http: false,
            jwks_refresh_s: 300,
            jwks_refetch_min_interval_s: 10,
            jwks_timeout_s: 5,
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_s: 5,
            cache_tokens_max: 10_000,
            ticket_ttl_s: 30,
            tickets_max: 10_000,
            tickets_per_tenant_max: 2_000,
        }
    }
}

/// What is wrong with `[auth]`, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthSettingsError {
    #[error(
        "no key to check tokens with: set auth.secret (or auth.secret_file, auth.public_key_files, \
         auth.jwks_file, auth.jwks_url); `openssl rand -base64 48` makes a good secret"
    )]
    NoKey,
    #[error("{key} must not be zero")]
    Zero { key: &'static str },
    #[error("{key} and {other} are both set: keep one")]
    Both { key: &'static str, other: &'static str },
    #[error(
        "{key} is too short: a secret needs at least {MIN_SECRET_BYTES} bytes; `openssl rand -base64 48` makes one"
    )]
    ShortSecret { key: &'static str },
    #[error(
        "{key} holds a PEM key, not a shared secret: a public key as a secret would let anybody \
         sign; name its file in auth.public_key_files"
    )]
    PemAsSecret { key: &'static str },
    #[error("{key}: can't read {}: {source}", path.display())]
    Unreadable { key: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{key}: {}: {reason}", path.display())]
    BadKeyFile { key: &'static str, path: PathBuf, reason: String },
    #[error("auth.jwks_url: {reason}")]
    BadUrl { reason: String },
}

impl AuthSettings {
    /// What can be seen to be wrong without reading a file.
    pub fn validate(&self) -> Result<(), AuthSettingsError> {
        let has_key = self.secret.is_some()
            || self.secret_file.is_some()
            || !self.public_key_files.is_empty()
            || self.jwks_file.is_some()
            || self.jwks_url.is_some();
        if !has_key {
            return Err(AuthSettingsError::NoKey);
        }
        if self.secret.is_some() && self.secret_file.is_some() {
            return Err(AuthSettingsError::Both { key: "auth.secret", other: "auth.secret_file" });
        }
        let bounds = [
            ("auth.jwks_refresh_s", self.jwks_refresh_s),
            ("auth.jwks_refetch_min_interval_s", self.jwks_refetch_min_interval_s),
            ("auth.jwks_timeout_s", self.jwks_timeout_s),
            ("auth.cache_tokens_max", self.cache_tokens_max as u64),
            ("auth.ticket_ttl_s", self.ticket_ttl_s),
            ("auth.tickets_max", self.tickets_max as u64),
            ("auth.tickets_per_tenant_max", self.tickets_per_tenant_max as u64),
        ];
        match bounds.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(AuthSettingsError::Zero { key }),
            None => Ok(()),
        }
    }

    /// The secret that tokens are signed with, checked.
    pub fn signing_secret(&self) -> Result<Option<Secret<String>>, AuthSettingsError> {
        if let Some(secret) = &self.secret {
            check_secret("auth.secret", secret.expose())?;
            return Ok(Some(secret.clone()));
        }
        let Some(path) = &self.secret_file else { return Ok(None) };
        let key = "auth.secret_file";
        let text = std::fs::read_to_string(path)
            .map_err(|source| AuthSettingsError::Unreadable { key, path: path.clone(), source })?;
        check_secret(key, text.trim())?;
        Ok(Some(Secret::new(text.trim().to_owned())))
    }
}

/// **Invariant:** no PEM ever becomes an HMAC secret.
pub(super) fn check_secret(key: &'static str, secret: &str) -> Result<(), AuthSettingsError> {
    if secret.contains("-----BEGIN") {
        return Err(AuthSettingsError::PemAsSecret { key });
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(AuthSettingsError::ShortSecret { key });
    }
    Ok(())
}
