//! Who calls, for which tenant, and what they may do.
//!
//! A request's credentials ([`credentials`]) are a JWT or a one-time ticket ([`tickets`]). A JWT
//! is checked against the configured keys ([`keys`], fetched and rotated by [`key_source`]) and
//! its claims ([`token`]); what held is remembered for a while ([`Auth::identify`]), so that a
//! busy client does not pay for a signature check with every request. What comes out is an
//! [`Identity`], the only thing by which the rest of the server knows a caller.
//!
//! **Invariant:** the algorithm follows the key, never the token's header: a key is loaded for
//! exactly one algorithm, and a token whose header names another is refused. `none` is no
//! algorithm of any key.
//!
//! **Invariant:** a caller learns nothing of another tenant: naming one without `admin` is
//! answered as if it did not exist ([`AuthError::NoSuchTenant`]).

pub mod client_address;
pub mod cors;
pub mod credentials;
mod error;
pub mod key_source;
pub mod keys;
pub mod mint;
pub mod rate_limit;
mod scopes;
mod settings;
pub mod tickets;
pub mod token;

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

pub use self::{
    credentials::{Credentials, Token},
    error::AuthError,
    scopes::Scopes,
    settings::{AuthSettings, AuthSettingsError},
};
use self::{
    key_source::KeySource,
    tickets::{IssuedTicket, Tickets},
    token::Checks,
};
use crate::{
    domain::{ids::ClientId, message::Sender, time::Timestamp},
    runtime::{clock::Clock, shutdown::Shutdown},
};

/// A caller whose token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub subject: String,
    /// The tenant that the call is for: the token's, or with `admin` the one named.
    pub client_id: ClientId,
    pub scopes: Scopes,
    /// When this server stops accepting the token: its `exp` and the configured leeway.
    pub expires_at: Timestamp,
}

impl Identity {
    /// Refuses a caller whose token does not hold `needed`.
    pub fn require(&self, needed: Scopes) -> Result<(), AuthError> {
        match self.scopes.first_missing(needed) {
            None => Ok(()),
            Some(scope) => Err(AuthError::Scope { scope }),
        }
    }

    /// As whom the caller's messages go out; `None`: it may send none. A token with
    /// `messages:write` is a person's, whatever else it allows: an agent's holds `bot:write` too,
    /// to switch the bot. One with `bot:write` and without it is the bot's own.
    pub fn sends_as(&self) -> Option<Sender> {
        if self.scopes.allows(Scopes::MESSAGES_WRITE) {
            return Some(Sender::Agent);
        }
        self.scopes.allows(Scopes::BOT_WRITE).then_some(Sender::Bot)
    }

    /// The identity for a call that names a tenant with `X-Client-Id`.
    fn acting_for(self, named: Option<ClientId>) -> Result<Self, AuthError> {
        match named {
            None => Ok(self),
            Some(named) if named == self.client_id => Ok(self),
            Some(named) if self.scopes.allows(Scopes::ADMIN) => {
                Ok(Self { client_id: named, ..self })
            }
            Some(_) => Err(AuthError::NoSuchTenant),
        }
    }
}

/// Checks credentials. One per process, shared by all transports and the API.
pub struct Auth {
    keys: Arc<KeySource>,
    checks: Checks,
    /// Tokens that held, by their hash, with the generation of the keys that checked them.
    /// Bounded by `auth.cache_tokens_max`; the least used leave first.
    verified: Cache<[u8; 32], Arc<Verified>>,
    tickets: Tickets,
    clock: Arc<dyn Clock>,
}

struct Verified {
    key_generation: u64,
    identity: Identity,
}

impl Auth {
    /// Loads the keys and keeps them fresh in a task that ends with `shutdown`. Keys that can't
    /// be fetched from a URL now are no error: tokens are answered with
    /// [`AuthError::Unavailable`] until they can.
    pub async fn start(
        settings: &AuthSettings,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, AuthSettingsError> {
        settings.validate()?;
        let keys = KeySource::load(settings).await?;
        let auth = Arc::new(Self {
            keys,
            checks: Checks::new(settings),
            verified: Cache::new(settings.cache_tokens_max),
            tickets: Tickets::new(settings),
            clock,
        });
        if let Some(refresh) = auth.keys.clone().refresh_task(shutdown.stopping.clone()) {
            shutdown.spawn(refresh);
        }
        Ok(auth)
    }

    /// Who calls. A ticket is spent by this, so it is asked once per request.
    pub async fn identify(&self, credentials: &Credentials) -> Result<Identity, AuthError> {
        let named = credentials.named_tenant()?;
        match credentials.token()? {
            Token::Jwt(jwt) => self.verify(jwt).await?.acting_for(named),
            // The tenant was chosen when the ticket was issued.
            Token::Ticket(ticket) => {
                let identity = self.tickets.redeem(ticket, self.clock.now())?;
                match named {
                    Some(named) if named != identity.client_id => Err(AuthError::NoSuchTenant),
                    _ => Ok(identity),
                }
            }
        }
    }

    /// As [`Auth::identify`], from an HTTP request.
    pub async fn identify_request(&self, request: &poem::Request) -> Result<Identity, AuthError> {
        self.identify(&Credentials::of_request(request)).await
    }

    /// Checks one JWT, for instance the one with which a WebSocket renews its right to stay.
    pub async fn verify(&self, jwt: &str) -> Result<Identity, AuthError> {
        if jwt.len() > token::MAX_TOKEN_BYTES {
            return Err(AuthError::Invalid { reason: "it is too long" });
        }
        let hash: [u8; 32] = Sha256::digest(jwt.as_bytes()).into();
        let now = self.clock.now();
        if let Some(known) = self.verified.get(&hash)
            && known.key_generation == self.keys.generation()
        {
            return match now < known.identity.expires_at {
                true => Ok(known.identity.clone()),
                false => {
                    self.verified.remove(&hash);
                    Err(AuthError::Expired)
                }
            };
        }
        let parts = token::Parts::split(jwt)?;
        let keys = self.keys.for_token(parts.header.kid.as_deref()).await?;
        let identity = token::check(&parts, &keys, &self.checks, now)?;
        let verified = Verified { key_generation: keys.generation(), identity: identity.clone() };
        self.verified.insert(hash, Arc::new(verified));
        Ok(identity)
    }

    /// A one-time ticket for `identity`, for a client that can't set headers.
    pub fn issue_ticket(&self, identity: &Identity) -> Result<IssuedTicket, AuthError> {
        self.tickets.issue(identity, self.clock.now())
    }
}

#[cfg(test)]
mod tests;
