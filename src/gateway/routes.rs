//! Which tenant a webhook is for, and whose secret may speak for it.
//!
//! The configuration names for each tenant its phone numbers, business accounts and WAHA
//! sessions; a webhook names one of them. It is refused at start, with a reason, when two
//! tenants claim the same, since then one would read the other's messages.
//!
//! **Invariant:** a signature speaks only for the tenants that its secret was configured for.
//! The installation's own secrets speak for the tenants that have none of their own.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{domain::ids::ClientId, runtime::secret::Secret};

/// How many different secrets each provider may have. A request with a wrong signature costs a
/// hash of its body per secret, so the number bounds what a stranger can make us work.
pub const MAX_SECRETS: usize = 64;

/// What of the providers belongs to one tenant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRoutes {
    /// Ids (not the numbers themselves) of the tenant's phone numbers in the WhatsApp Cloud API.
    pub phone_number_ids: Vec<String>,
    /// Ids of the tenant's WhatsApp business accounts, for what is not about one number:
    /// restrictions, templates, limits.
    pub waba_ids: Vec<String>,
    /// Secrets of the tenant's own Meta app. Empty (the default): the tenant's webhooks come
    /// through the installation's app and are signed with `whatsapp_cloud.app_secrets`.
    pub app_secrets: Vec<Secret<String>>,
    /// Token with which the tenant's numbers send. Absent: `whatsapp_cloud.access_token`, unless
    /// `graph_url` is set: a token is not shown to another server than its own.
    pub access_token: Option<Secret<String>>,
    /// Where the tenant's Graph API is, if not at `whatsapp_cloud.graph_url`.
    pub graph_url: Option<String>,
    /// The tenant's WAHA sessions.
    pub waha_sessions: Vec<WahaSession>,
}

/// A session of a WAHA server.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WahaSession {
    /// The session's name at WAHA. Two tenants may have one of the same name (WAHA Core knows
    /// only `default`) if their keys differ.
    pub name: String,
    /// The session's `hmac.key`. Absent: `waha.hmac_key`.
    #[serde(default)]
    pub hmac_key: Option<Secret<String>>,
    /// Where the session's WAHA server is. Absent: `waha.url`.
    #[serde(default)]
    pub url: Option<String>,
    /// That server's API key. Absent: `waha.api_key`, unless `url` is set: a key is not shown to
    /// another server than its own.
    #[serde(default)]
    pub api_key: Option<Secret<String>>,
}

/// A tenant and what belongs to it.
#[derive(Debug, Clone)]
pub struct TenantRouting {
    pub client: ClientId,
    pub routes: TenantRoutes,
}

/// Why the routes or secrets can't be used. Names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutesError {
    #[error("{kind} {id} is given to tenant {first} and to tenant {second}")]
    Claimed { kind: &'static str, id: String, first: ClientId, second: ClientId },
    #[error("tenant {client} has an empty {kind}")]
    Empty { client: ClientId, kind: &'static str },
    #[error("an installation-wide {kind} is empty")]
    EmptyShared { kind: &'static str },
    #[error(
        "tenant {client}'s WAHA session {session} has no hmac_key, and waha.hmac_key is not set"
    )]
    NoKey { client: ClientId, session: String },
    #[error("there are more than {MAX_SECRETS} different {kind}s")]
    TooMany { kind: &'static str },
}

/// The table of who is who.
#[derive(Debug, Default)]
pub struct Routes {
    numbers: HashMap<String, ClientId>,
    accounts: HashMap<String, ClientId>,
    pub(super) app_secrets: Vec<(ClientId, Secret<String>)>,
    pub(super) own_app: HashSet<ClientId>,
    pub(super) waha_sessions: Vec<(ClientId, WahaSession)>,
}

impl Routes {
    pub fn new(tenants: &[TenantRouting]) -> Result<Self, RoutesError> {
        let mut routes = Self::default();
        for TenantRouting { client, routes: of_tenant } in tenants {
            let client = *client;
            for id in &of_tenant.phone_number_ids {
                claim(&mut routes.numbers, "phone number id", id, client)?;
            }
            for id in &of_tenant.waba_ids {
                claim(&mut routes.accounts, "business account id", id, client)?;
            }
            for secret in &of_tenant.app_secrets {
                if secret.expose().is_empty() {
                    return Err(RoutesError::Empty { client, kind: "app secret" });
                }
                routes.own_app.insert(client);
                routes.app_secrets.push((client, secret.clone()));
            }
            for session in &of_tenant.waha_sessions {
                if session.name.is_empty() {
                    return Err(RoutesError::Empty { client, kind: "WAHA session name" });
                }
                if session.hmac_key.as_ref().is_some_and(|key| key.expose().is_empty()) {
                    return Err(RoutesError::Empty { client, kind: "WAHA hmac_key" });
                }
                routes.waha_sessions.push((client, session.clone()));
            }
        }
        Ok(routes)
    }

    /// The tenant of a phone number id.
    pub fn of_number(&self, phone_number_id: &str) -> Option<ClientId> {
        self.numbers.get(phone_number_id).copied()
    }

    /// The tenant of a WhatsApp business account.
    pub fn of_account(&self, waba_id: &str) -> Option<ClientId> {
        self.accounts.get(waba_id).copied()
    }
}

fn claim(
    table: &mut HashMap<String, ClientId>,
    kind: &'static str,
    id: &str,
    client: ClientId,
) -> Result<(), RoutesError> {
    if id.is_empty() {
        return Err(RoutesError::Empty { client, kind });
    }
    match table.insert(id.to_owned(), client) {
        Some(first) if first != client => {
            Err(RoutesError::Claimed { kind, id: id.to_owned(), first, second: client })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(client: u32, routes: TenantRoutes) -> TenantRouting {
        TenantRouting { client: ClientId(client), routes }
    }

    fn numbers(ids: &[&str]) -> TenantRoutes {
        TenantRoutes {
            phone_number_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..TenantRoutes::default()
        }
    }

    #[test]
    fn finds_the_tenant_of_each_number_and_account() {
        let accounts = TenantRoutes { waba_ids: vec!["9".to_owned()], ..TenantRoutes::default() };
        let routes =
            Routes::new(&[tenant(1, numbers(&["10", "11"])), tenant(2, accounts)]).unwrap();
        assert_eq!(routes.of_number("11"), Some(ClientId(1)));
        assert_eq!(routes.of_account("9"), Some(ClientId(2)));
        assert_eq!(routes.of_number("9"), None);
    }

    #[test]
    fn refuses_a_number_that_two_tenants_claim() {
        let error =
            Routes::new(&[tenant(1, numbers(&["10"])), tenant(2, numbers(&["10"]))]).unwrap_err();
        assert_eq!(error.to_string(), "phone number id 10 is given to tenant 1 and to tenant 2");
    }

    #[test]
    fn refuses_what_is_empty() {
        assert!(Routes::new(&[tenant(1, numbers(&[""]))]).is_err());
        let secrets = TenantRoutes {
            app_secrets: vec![Secret::new(String::new())],
            ..TenantRoutes::default()
        };
        let error = Routes::new(&[tenant(3, secrets)]).unwrap_err();
        assert_eq!(error.to_string(), "tenant 3 has an empty app secret");
    }
}
