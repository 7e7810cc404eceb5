//! One-time tickets for clients that can't set headers (`EventSource`, `WebSocket` in a browser):
//! asked for with a token, then given as `?ticket=`. A URL ends up in logs and histories, a spent
//! ticket there harms nobody.
//!
//! Tickets live in this instance's memory: behind a balancer, ask and connect on the same
//! instance, or use the WebSocket's subprotocol pair.
//!
//! **Invariant:** a tenant has at most `auth.tickets_per_tenant_max` of them waiting, so that one
//! can't use up all that there are.
//!
//! **Invariant:** a ticket works once, and stands for exactly the identity that asked for it: its
//! tenant, its scopes, and its token's remaining life.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::Rng;
use sha2::{Digest, Sha256};

use super::{AuthError, AuthSettings, Identity};
use crate::{
    domain::{ids::ClientId, time::Timestamp},
    metrics::RATE_LIMITED,
};

/// Random bytes of a ticket: beyond guessing.
const TICKET_BYTES: usize = 32;

/// A ticket as it is handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedTicket {
    pub ticket: String,
    pub expires_at: Timestamp,
}

/// The tickets that wait to be used. Bounded by `auth.tickets_max`.
pub struct Tickets {
    room: Mutex<WaitingRoom>,
    ttl_ms: i64,
    max: usize,
    per_tenant_max: usize,
}

#[derive(Default)]
struct WaitingRoom {
    /// By hash, so that a look-up's time tells nothing about a ticket.
    tickets: HashMap<[u8; 32], Waiting>,
    /// How many of them each tenant has; none with none.
    by_tenant: HashMap<ClientId, usize>,
}

struct Waiting {
    identity: Identity,
    expires_at: Timestamp,
}

impl Tickets {
    pub fn new(settings: &AuthSettings) -> Self {
        Self {
            room: Mutex::default(),
            ttl_ms: i64::try_from(settings.ticket_ttl_s.saturating_mul(1000)).unwrap_or(i64::MAX),
            max: settings.tickets_max,
            per_tenant_max: settings.tickets_per_tenant_max,
        }
    }

    pub fn issue(&self, identity: &Identity, now: Timestamp) -> Result<IssuedTicket, AuthError> {
        let expires_at = now.plus_ms(self.ttl_ms).min(identity.expires_at);
        let client = identity.client_id;
        let mut room = self.room.lock();
        if !self.has_place(&room, client) {
            room.forget_expired(now);
        }
        if !self.has_place(&room, client) {
            metrics::counter!(RATE_LIMITED, "limit" => "tickets").increment(1);
            let retry_after_s = self.ttl_ms.div_euclid(1000).unsigned_abs();
            return Err(AuthError::RateLimited { retry_after_s });
        }
        let mut bytes = [0; TICKET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let ticket = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        room.tickets.insert(hash(&ticket), Waiting { identity: identity.clone(), expires_at });
        *room.by_tenant.entry(client).or_default() += 1;
        Ok(IssuedTicket { ticket, expires_at })
    }

    fn has_place(&self, room: &WaitingRoom, client: ClientId) -> bool {
        let of_tenant = room.by_tenant.get(&client).copied().unwrap_or_default();
        room.tickets.len() < self.max && of_tenant < self.per_tenant_max
    }

    /// Spends a ticket. Unknown, spent and expired ones are told apart by nothing.
    pub fn redeem(&self, ticket: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let waiting = self.room.lock().take(&hash(ticket));
        match waiting {
            Some(ticket) if now < ticket.expires_at => Ok(ticket.identity),
            _ => Err(AuthError::Invalid { reason: "the ticket is unknown, used or expired" }),
        }
    }
}

impl WaitingRoom {
    fn take(&mut self, hash: &[u8; 32]) -> Option<Waiting> {
        let waiting = self.tickets.remove(hash)?;
        let client = waiting.identity.client_id;
        if let Some(count) = self.by_tenant.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_tenant.remove(&client);
            }
        }
        Some(waiting)
    }

    fn forget_expired(&mut self, now: Timestamp) {
        self.tickets.retain(|_, ticket| now < ticket.expires_at);
        self.by_tenant.clear();
        for ticket in self.tickets.values() {
            *self.by_tenant.entry(ticket.identity.client_id).or_default() += 1;
        }
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Scopes, domain::ids::ClientId};

    const NOW: Timestamp = Timestamp(1_795_515_330_000);
    const REFUSED: AuthError =
        AuthError::Invalid { reason: "the ticket is unknown, used or expired" };

    fn identity(expires_at: Timestamp) -> Identity {
        Identity {
            subject: "agent-1".to_owned(),
            client_id: ClientId(7),
            scopes: Scopes::EVENTS_READ,
            expires_at,
        }
    }

    fn tickets(max: usize) -> Tickets {
        Tickets::new(&AuthSettings { tickets_max: max, ..AuthSettings::default() })
    }

    #[test]
    fn works_once_and_stands_for_who_asked() {
        let tickets = tickets(10);
        let identity = identity(NOW.plus_ms(3_600_000));
        let issued = tickets.issue(&identity, NOW).unwrap();
        assert_eq!(issued.expires_at, NOW.plus_ms(30_000));
        assert_eq!(tickets.redeem(&issued.ticket, NOW.plus_ms(29_999)), Ok(identity));
        assert_eq!(tickets.redeem(&issued.ticket, NOW), Err(REFUSED));
        assert_eq!(tickets.redeem("", NOW), Err(REFUSED));
    }

    #[test]
    fn expires_and_never_outlives_the_token() {
        let tickets = tickets(10);
        let late = tickets.issue(&identity(NOW.plus_ms(3_600_000)), NOW).unwrap();
        assert_eq!(tickets.redeem(&late.ticket, NOW.plus_ms(30_000)), Err(REFUSED));
        let short = tickets.issue(&identity(NOW.plus_ms(5_000)), NOW).unwrap();
        assert_eq!(short.expires_at, NOW.plus_ms(5_000));
    }

    #[test]
    fn one_tenant_leaves_some_for_the_others() {
        let settings =
            AuthSettings { tickets_max: 10, tickets_per_tenant_max: 3, ..AuthSettings::default() };
        let tickets = Tickets::new(&settings);
        let hungry = identity(NOW.plus_ms(3_600_000));
        let other = Identity { client_id: ClientId(8), ..hungry.clone() };
        let first = tickets.issue(&hungry, NOW).unwrap();
        for subject in ["agent-2", "agent-3"] {
            let colleague = Identity { subject: subject.to_owned(), ..hungry.clone() };
            tickets.issue(&colleague, NOW.plus_ms(1)).unwrap();
        }
        let full = AuthError::RateLimited { retry_after_s: 30 };
        assert_eq!(tickets.issue(&hungry, NOW).err(), Some(full.clone()));
        tickets.issue(&other, NOW).unwrap();
        tickets.redeem(&first.ticket, NOW).unwrap();
        tickets.issue(&hungry, NOW.plus_ms(1)).unwrap();
        assert_eq!(tickets.issue(&hungry, NOW.plus_ms(30_000)).err(), Some(full));
        assert!(tickets.issue(&hungry, NOW.plus_ms(30_001)).is_ok(), "the others have expired");
        assert_eq!(tickets.room.lock().by_tenant, [(ClientId(7), 1)].into());
    }

    #[test]
    fn refuses_beyond_the_bound_until_tickets_expire() {
        let tickets = tickets(2);
        let identity = identity(NOW.plus_ms(3_600_000));
        let first = tickets.issue(&identity, NOW).unwrap();
        let second = tickets.issue(&identity, NOW).unwrap();
        assert_ne!(first.ticket, second.ticket);
        let full = AuthError::RateLimited { retry_after_s: 30 };
        assert_eq!(tickets.issue(&identity, NOW).err(), Some(full));
        assert!(tickets.issue(&identity, NOW.plus_ms(30_000)).is_ok());
    }
}
