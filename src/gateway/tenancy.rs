//! Which tenant has which numbers, sessions, secrets and ways out, as it stands now: the
//! configuration file's tenants, and what was set up at run time, which wins.
//!
//! The setups come from the read model, to which every instance projects the same log; the
//! credentials in them are opened here and nowhere else. From both, the receivers of webhooks and
//! the lines are made anew as a whole, so a request sees either the state before or the one after.
//!
//! **Invariant:** two tenants never have the same number or session. A setup that claims what
//! another has is refused when it is made; should two instances have taken two of them at once,
//! the earlier one holds, on every instance.
//!
//! **Invariant:** credentials leave this module as a sender's or receiver's own, and as "there is
//! one"; never in an error, a log line or an answer.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use super::{
    http::{HttpError, ProviderHttpSettings},
    lines::TenantLines,
    outbound::{Line, Lines},
    routes::{Routes, RoutesError, TenantRoutes, TenantRouting, WahaSession},
    waha::{Waha, WahaSettings},
    whatsapp_cloud::{WhatsAppCloud, WhatsAppCloudSettings},
};
use crate::{
    domain::{
        ids::{ClientId, EventId},
        tenant::{Sealed, StoredSetup, TenantSetup},
        time::Timestamp,
    },
    runtime::{
        keyring::{CredentialsSettings, Keyring, KeyringError},
        secret::Secret,
    },
};

/// Who reads providers' webhooks.
pub struct Receivers {
    pub whatsapp_cloud: WhatsAppCloud,
    pub waha: Waha,
}

/// A tenant of the configuration file.
#[derive(Debug, Clone)]
pub struct ConfiguredTenant {
    pub routing: TenantRouting,
    /// An IANA name.
    pub time_zone: Option<String>,
}

/// What a tenant hands over and nobody reads again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Credentials {
    pub access_token: Option<Secret<String>>,
    pub app_secrets: Vec<Secret<String>>,
    pub waha: Vec<WahaCredentials>,
}

/// The keys of one session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WahaCredentials {
    pub session: String,
    #[serde(default)]
    pub hmac_key: Option<Secret<String>>,
    #[serde(default)]
    pub api_key: Option<Secret<String>>,
}

/// Why there is no tenancy to start with.
#[derive(Debug, thiserror::Error)]
pub enum TenancyError {
    #[error(transparent)]
    Routes(#[from] RoutesError),
    #[error("credentials.keys: {0}")]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Why credentials can't be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credentials can't be kept here: credentials.keys is not set")]
pub struct NoKey;

/// A tenant as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantView {
    /// `None`: it is the configuration file's.
    pub set_up_at: Option<Timestamp>,
    /// Without the credentials.
    pub setup: TenantSetup,
    /// The key that its credentials are sealed with.
    pub key_id: Option<String>,
    /// The credentials can't be opened: their key is not configured.
    pub locked: bool,
    pub has_access_token: bool,
    pub app_secrets: usize,
    /// Session, whether it has an HMAC key, whether it has an API key.
    pub waha: Vec<(String, bool, bool)>,
}

impl TenantView {
    /// What is going to be shown of a setup that is about to be made.
    pub fn of(setup: &TenantSetup, credentials: &Credentials, at: Timestamp) -> Self {
        let sealed = setup.credentials.as_ref();
        Self {
            set_up_at: Some(at),
            key_id: sealed.map(|sealed| sealed.key_id.clone()),
            ..view_of(&routes_of(setup, credentials), setup.clone())
        }
    }
}

/// A setup with its credentials open.
struct RunTime {
    stored: StoredSetup,
    credentials: Credentials,
    locked: bool,
}

/// All tenants. One per process, shared.
pub struct Tenancy {
    shared_cloud: WhatsAppCloudSettings,
    shared_waha: WahaSettings,
    configured: Vec<ConfiguredTenant>,
    keyring: Option<Keyring>,
    run_time: Mutex<BTreeMap<ClientId, RunTime>>,
    receivers: ArcSwap<Receivers>,
    lines: TenantLines,
    /// One refresh at a time, so that an older reading never replaces a newer one.
    refresh: tokio::sync::Mutex<()>,
}

impl Tenancy {
    pub fn new(
        whatsapp_cloud: &WhatsAppCloudSettings,
        waha: &WahaSettings,
        http: &ProviderHttpSettings,
        credentials: &CredentialsSettings,
        configured: Vec<ConfiguredTenant>,
    ) -> Result<Self, TenancyError> {
        let routing: Vec<TenantRouting> =
            configured.iter().map(|tenant| tenant.routing.clone()).collect();
        Ok(Self {
            receivers: ArcSwap::from_pointee(receivers(whatsapp_cloud, waha, &routing)?),
            lines: TenantLines::new(whatsapp_cloud, waha, http, &routing)?,
            keyring: Keyring::new(credentials)?,
            shared_cloud: whatsapp_cloud.clone(),
            shared_waha: waha.clone(),
            configured,
            run_time: Mutex::default(),
            refresh: tokio::sync::Mutex::default(),
        })
    }

    /// Who reads webhooks now.
    pub fn receivers(&self) -> Arc<Receivers> {
        self.receivers.load_full()
    }

    /// Every tenant and its time zone, where it has one of its own.
    pub fn time_zones(&self) -> Vec<(ClientId, Option<String>)> {
        let run_time = self.run_time.lock();
        let configured = self
            .configured
            .iter()
            .filter(|tenant| !run_time.contains_key(&tenant.routing.client))
            .map(|tenant| (tenant.routing.client, tenant.time_zone.clone()));
        let set_up = run_time
            .iter()
            .map(|(client, tenant)| (*client, tenant.stored.setup.time_zone.clone()));
        configured.chain(set_up).collect()
    }

    /// How many messages a second the tenant's number may send, where that was set.
    pub fn messages_per_second(&self, client: ClientId) -> Option<u32> {
        self.run_time.lock().get(&client)?.stored.setup.messages_per_second
    }

    /// `None`: nobody has set up such a tenant.
    pub fn view(&self, client: ClientId) -> Option<TenantView> {
        if let Some(tenant) = self.run_time.lock().get(&client) {
            return Some(tenant.view());
        }
        let tenant = self.configured.iter().find(|tenant| tenant.routing.client == client)?;
        Some(tenant.view())
    }

    /// Whether nobody else has what this setup claims, and all that it needs is there.
    pub fn check(
        &self,
        client: ClientId,
        setup: &TenantSetup,
        credentials: &Credentials,
    ) -> Result<(), RoutesError> {
        let mut routing = self.routing(Some(client), true);
        routing.push(TenantRouting { client, routes: routes_of(setup, credentials) });
        receivers(&self.shared_cloud, &self.shared_waha, &routing).map(|_usable| ())
    }

    /// What the tenant has handed over before, to be kept when a new setup brings none.
    pub fn sealed(&self, client: ClientId) -> Option<(Sealed, Credentials)> {
        let run_time = self.run_time.lock();
        let tenant = run_time.get(&client).filter(|tenant| !tenant.locked)?;
        Some((tenant.stored.setup.credentials.clone()?, tenant.credentials.clone()))
    }

    /// Seals what a tenant hands over.
    pub fn seal(&self, client: ClientId, credentials: &Credentials) -> Result<Sealed, NoKey> {
        let keyring = self.keyring.as_ref().ok_or(NoKey)?;
        let plain = credentials.to_json().to_string();
        keyring.seal(&context(client), plain.as_bytes()).ok_or(NoKey)
    }

    /// Tells requests with different credentials apart without keeping anything of them.
    pub fn mark(&self, body: &[u8]) -> Option<[u8; 32]> {
        self.keyring.as_ref().map(|keyring| keyring.mark(body))
    }

    /// Reads all setups and takes them in. Does nothing where none has changed.
    pub async fn refresh<E>(
        &self,
        load: impl Future<Output = Result<Vec<StoredSetup>, E>>,
    ) -> Result<(), E> {
        let _turn = self.refresh.lock().await;
        let stored = load.await?;
        self.take(stored);
        Ok(())
    }

    fn take(&self, stored: Vec<StoredSetup>) {
        let mut run_time = self.run_time.lock();
        let mut changed = run_time.len() != stored.len();
        let mut next = BTreeMap::new();
        for stored in stored {
            let client = stored.client_id;
            let tenant = match run_time.remove(&client) {
                Some(known) if known.stored.event == stored.event => known,
                _ => {
                    changed = true;
                    self.open(stored)
                }
            };
            next.insert(client, tenant);
        }
        *run_time = next;
        drop(run_time);
        if changed {
            self.rebuild();
        }
    }

    fn open(&self, stored: StoredSetup) -> RunTime {
        let Some(sealed) = &stored.setup.credentials else {
            return RunTime { stored, credentials: Credentials::default(), locked: false };
        };
        let opened = match &self.keyring {
            Some(keyring) => {
                let opened = keyring.open(&context(stored.client_id), sealed);
                opened.map_err(|error| error.to_string())
            }
            None => Err(NoKey.to_string()),
        };
        let credentials = opened.and_then(|plain| {
            serde_json::from_slice(&plain).map_err(|_| "it is of another form".to_owned())
        });
        match credentials {
            Ok(credentials) => RunTime { stored, credentials, locked: false },
            Err(reason) => {
                let client = stored.client_id;
                tracing::error!(%client, %reason, "a tenant's credentials can't be opened");
                RunTime { stored, credentials: Credentials::default(), locked: true }
            }
        }
    }

    /// Credentials that another key than the first one sealed, sealed anew: the tenant, the event
    /// whose sealing this replaces, and the new sealing.
    pub fn resealed(&self) -> Vec<(ClientId, EventId, Sealed)> {
        let Some(keyring) = &self.keyring else { return Vec::new() };
        let run_time = self.run_time.lock();
        let old = run_time.values().filter(|tenant| {
            let sealed = tenant.stored.setup.credentials.as_ref();
            !tenant.locked && sealed.is_some_and(|sealed| sealed.key_id != keyring.current())
        });
        old.filter_map(|tenant| {
            let client = tenant.stored.client_id;
            Some((client, tenant.stored.event, self.seal(client, &tenant.credentials).ok()?))
        })
        .collect()
    }

    /// The tenants as they are, but for one. Those whose credentials can't be opened take part in
    /// nothing, for others' secrets would speak for them; with `locked` they keep their numbers.
    fn routing(&self, left_out: Option<ClientId>, locked: bool) -> Vec<TenantRouting> {
        let run_time = self.run_time.lock();
        let configured = self.configured.iter().map(|tenant| &tenant.routing);
        let mut routing: Vec<TenantRouting> =
            configured.filter(|routing| !run_time.contains_key(&routing.client)).cloned().collect();
        // In the order in which they were made, so that of two that clash the earlier one holds.
        let mut set_up: Vec<&RunTime> =
            run_time.values().filter(|tenant| locked || !tenant.locked).collect();
        set_up.sort_by_key(|tenant| tenant.stored.event);
        routing.extend(set_up.into_iter().map(RunTime::routing));
        routing.retain(|routing| Some(routing.client) != left_out);
        routing
    }

    fn rebuild(&self) {
        let all = self.routing(None, false);
        let (receivers, routing) = self.usable(all);
        if let Some(receivers) = receivers {
            self.receivers.store(Arc::new(receivers));
            self.lines.replace(&routing);
        }
    }

    /// All of them, or, where they clash, as many as can be.
    fn usable(&self, all: Vec<TenantRouting>) -> (Option<Receivers>, Vec<TenantRouting>) {
        let build =
            |routing: &[TenantRouting]| receivers(&self.shared_cloud, &self.shared_waha, routing);
        if let Ok(receivers) = build(&all) {
            return (Some(receivers), all);
        }
        let mut usable = Vec::with_capacity(all.len());
        for routing in all {
            let client = routing.client;
            usable.push(routing);
            if let Err(error) = build(&usable) {
                tracing::error!(%client, %error, "a tenant's setup can't be used and is left out");
                usable.pop();
            }
        }
        (build(&usable).ok(), usable)
    }
}

impl Lines for Tenancy {
    fn of(&self, client: ClientId) -> Option<Line> {
        self.lines.of(client)
    }
}

fn context(client: ClientId) -> String {
    format!("tenant {client}")
}

fn receivers(
    cloud: &WhatsAppCloudSettings,
    waha: &WahaSettings,
    tenants: &[TenantRouting],
) -> Result<Receivers, RoutesError> {
    let routes = Arc::new(Routes::new(tenants)?);
    Ok(Receivers {
        whatsapp_cloud: WhatsAppCloud::new(cloud, routes.clone())?,
        waha: Waha::new(waha, &routes)?,
    })
}

fn routes_of(setup: &TenantSetup, credentials: &Credentials) -> TenantRoutes {
    let session = |session: &crate::domain::tenant::WahaSessionSetup| {
        let keys = credentials.waha.iter().find(|keys| keys.session == session.name);
        WahaSession {
            name: session.name.clone(),
            hmac_key: keys.and_then(|keys| keys.hmac_key.clone()),
            url: session.url.clone(),
            api_key: keys.and_then(|keys| keys.api_key.clone()),
        }
    };
    TenantRoutes {
        phone_number_ids: setup.phone_number_ids.clone(),
        waba_ids: setup.waba_ids.clone(),
        app_secrets: credentials.app_secrets.clone(),
        access_token: credentials.access_token.clone(),
        graph_url: None,
        waha_sessions: setup.waha_sessions.iter().map(session).collect(),
    }
}

impl Credentials {
    /// For being sealed, and for nothing else.
    fn to_json(&self) -> serde_json::Value {
        let text = |secret: &Option<Secret<String>>| secret.as_ref().map(|s| s.expose().clone());
        let secrets: Vec<&String> = self.app_secrets.iter().map(Secret::expose).collect();
        let waha: Vec<_> = self
            .waha
            .iter()
            .map(|keys| {
                json!({"session": keys.session, "hmac_key": text(&keys.hmac_key),
                       "api_key": text(&keys.api_key)})
            })
            .collect();
        json!({"access_token": text(&self.access_token), "app_secrets": secrets, "waha": waha})
    }
}

impl RunTime {
    fn routing(&self) -> TenantRouting {
        let mut routes = routes_of(&self.stored.setup, &self.credentials);
        if self.locked {
            // Their keys are not known, and without one a session can't be routed.
            routes.waha_sessions.clear();
        }
        TenantRouting { client: self.stored.client_id, routes }
    }

    fn view(&self) -> TenantView {
        let sealed = self.stored.setup.credentials.as_ref();
        TenantView {
            set_up_at: Some(self.stored.at),
            key_id: sealed.map(|sealed| sealed.key_id.clone()),
            locked: self.locked,
            ..view_of(&routes_of(&self.stored.setup, &self.credentials), self.stored.setup.clone())
        }
    }
}

impl ConfiguredTenant {
    fn view(&self) -> TenantView {
        let routes = &self.routing.routes;
        let sessions = routes.waha_sessions.iter();
        let setup = TenantSetup {
            time_zone: self.time_zone.clone(),
            messages_per_second: None,
            phone_number_ids: routes.phone_number_ids.clone(),
            waba_ids: routes.waba_ids.clone(),
            waha_sessions: sessions
                .map(|session| crate::domain::tenant::WahaSessionSetup {
                    name: session.name.clone(),
                    url: session.url.clone(),
                })
                .collect(),
            credentials: None,
        };
        view_of(routes, setup)
    }
}

fn view_of(routes: &TenantRoutes, setup: TenantSetup) -> TenantView {
    let sessions = routes.waha_sessions.iter();
    TenantView {
        set_up_at: None,
        setup: TenantSetup { credentials: None, ..setup },
        key_id: None,
        locked: false,
        has_access_token: routes.access_token.is_some(),
        app_secrets: routes.app_secrets.len(),
        waha: sessions
            .map(|session| {
                (session.name.clone(), session.hmac_key.is_some(), session.api_key.is_some())
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "tenancy_test.rs"]
mod tests;
