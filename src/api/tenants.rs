//! Tenants at run time: their numbers and sessions, their time zone, their rate, and credentials
//! that come in and never go out.
//!
//! A setup replaces the whole setup before, and the configuration file's; only the credentials
//! stay as they are when none are sent. It is answered once this instance works with it; the
//! others take it in within a second.
//!
//! Where a WAHA server is, is the installation's business: only `admin` may name an address, or a
//! tenant could have the server call whatever is near it.

use std::{sync::Arc, time::Duration};

use poem::Result;
use poem_openapi::{Object, OpenApi, param::Path};
use serde::Serialize;

use super::{
    Deps,
    answer::{Answer, WriteAnswer, unsent},
    extract::{AtLeast, Caller, IdempotencyKey, JsonBody, TenantWrite},
    problem,
    shapes::Chapter,
};
use crate::{
    auth::Scopes,
    domain::{
        ids::ClientId,
        tenant::{TenantSetup, WahaSessionSetup},
    },
    gateway::{
        routes::RoutesError,
        tenancy::{Credentials, TenantView, WahaCredentials},
    },
    runtime::secret::Secret,
    wire::{
        cursor::Cursor,
        problem::{Code, FieldError, Problem},
    },
};

/// How long a setup's answer waits for this instance to work with it. It does so a moment later
/// otherwise.
const TAKES_EFFECT_WAIT: Duration = Duration::from_secs(5);

/// How a tenant is set up. It replaces the setup before as a whole, except for `credentials`.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetTenant {
    /// Time zone of its days, an IANA name. Absent: the installation's.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub time_zone: Option<String>,
    /// How many messages a second its number may send. Absent: the installation's.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    pub messages_per_second: Option<u32>,
    /// Its numbers in the WhatsApp Cloud API: their ids. The first one sends.
    #[oai(validator(max_items = 50, min_length = 1, max_length = 64))]
    pub phone_number_ids: Option<Vec<String>>,
    /// Its WhatsApp business accounts.
    #[oai(validator(max_items = 50, min_length = 1, max_length = 64))]
    pub waba_ids: Option<Vec<String>>,
    /// Its sessions at WAHA.
    #[oai(validator(max_items = 20))]
    pub waha_sessions: Option<Vec<SetWahaSession>>,
    /// Replace all that were handed over before. Absent: those stay. They are sealed and never
    /// shown again.
    pub credentials: Option<SetCredentials>,
}

/// A session at WAHA.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetWahaSession {
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: String,
    /// Where its server is, for `admin` to name. Absent: the installation's.
    #[oai(validator(min_length = 1, max_length = 300))]
    pub url: Option<String>,
}

/// What a tenant hands over and nobody reads again.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetCredentials {
    /// With which its numbers send.
    #[oai(validator(min_length = 1, max_length = 4096))]
    pub access_token: Option<String>,
    /// Secrets of its own Meta app, which sign its webhooks.
    #[oai(validator(max_items = 5, min_length = 1, max_length = 256))]
    pub app_secrets: Option<Vec<String>>,
    /// Keys of its sessions.
    #[oai(validator(max_items = 20))]
    pub waha: Option<Vec<SetWahaKeys>>,
}

/// Without anything that it holds.
impl std::fmt::Debug for SetCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetCredentials(…)")
    }
}

/// Keys of a session at WAHA.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct SetWahaKeys {
    /// The session's name.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub session: String,
    /// Signs its webhooks.
    #[oai(validator(min_length = 1, max_length = 256))]
    pub hmac_key: Option<String>,
    /// Opens its server.
    #[oai(validator(min_length = 1, max_length = 1024))]
    pub api_key: Option<String>,
}

impl std::fmt::Debug for SetWahaKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetWahaKeys(…)")
    }
}

/// How a tenant is set up.
#[derive(Debug, Clone, Object, Serialize)]
pub struct TenantShown {
    pub client_id: u32,
    /// When it was set up at run time; `null`: it is as the configuration file says.
    pub set_up_at: Option<String>,
    pub time_zone: Option<String>,
    pub messages_per_second: Option<u32>,
    pub phone_number_ids: Vec<String>,
    pub waba_ids: Vec<String>,
    pub waha_sessions: Vec<WahaSessionShown>,
    pub credentials: CredentialsShown,
}

/// A session at WAHA, and which keys it has of its own.
#[derive(Debug, Clone, Object, Serialize)]
pub struct WahaSessionShown {
    pub name: String,
    pub url: Option<String>,
    pub has_hmac_key: bool,
    pub has_api_key: bool,
}

/// Which credentials there are; never what they are.
#[derive(Debug, Clone, Object, Serialize)]
pub struct CredentialsShown {
    pub has_access_token: bool,
    pub app_secrets: u32,
    /// The name of the key that they are sealed with.
    pub sealed_with: Option<String>,
    /// That key is not configured any more: hand them over anew.
    pub locked: bool,
}

/// A tenant after a write.
#[derive(Debug, Object, Serialize)]
pub struct TenantWritten {
    /// As it is after the write.
    pub tenant: TenantShown,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

pub struct TenantsApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Tenant")]
impl TenantsApi {
    /// How the tenant is set up.
    #[oai(path = "/v1/tenants/:client_id", method = "get", operation_id = "get_tenant")]
    async fn get(
        &self,
        caller: Caller<TenantWrite>,
        /// The tenant's number: the caller's own.
        client_id: Path<u32>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<TenantShown>> {
        let client = own(&caller, client_id.0)?;
        self.refresh().await?;
        let view = self.0.tenancy.view(client).ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok(Answer(shown(client, view)))
    }

    /// Set the tenant up.
    ///
    /// Takes effect at once, for webhooks, for sending and for the days of the statistics.
    #[oai(path = "/v1/tenants/:client_id", method = "put", operation_id = "set_tenant")]
    async fn set(
        &self,
        caller: Caller<TenantWrite>,
        /// The tenant's number: the caller's own.
        client_id: Path<u32>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: JsonBody<SetTenant>,
    ) -> Result<WriteAnswer<TenantWritten>> {
        let client = own(&caller, client_id.0)?;
        let tenancy = &self.0.tenancy;
        // What is kept of the body must not help to guess a secret in it.
        let marked = tenancy.mark(&body.bytes);
        let request = key.request(marked.as_ref().map_or(&body.bytes[..], |mark| &mark[..]));
        check(&body.value, caller.identity.scopes.allows(Scopes::ADMIN))?;
        self.refresh().await?;
        let (setup, credentials) = self.merged(client, body.value)?;
        tenancy.check(client, &setup, &credentials).map_err(|error| refused(&error))?;
        let answer = answer(client, &setup, &credentials, self.0.clock.now());
        let answered = self
            .0
            .commands
            .set_up_tenant(client, &caller.actor(), request.as_ref(), setup, answer)
            .await
            .map_err(Problem::from)?;
        let cursor = Cursor::end_of(answered.position);
        if self.0.queries.at_least(cursor, TAKES_EFFECT_WAIT).await.is_ok() {
            self.refresh().await?;
        }
        Ok(WriteAnswer::new(&self.0, answered))
    }
}

impl TenantsApi {
    /// Takes in what the read model has.
    async fn refresh(&self) -> Result<(), Problem> {
        Ok(self.0.tenancy.refresh(self.0.queries.setups()).await?)
    }

    /// The setup as it will be, and its credentials open.
    fn merged(
        &self,
        client: ClientId,
        wanted: SetTenant,
    ) -> Result<(TenantSetup, Credentials), Problem> {
        let tenancy = &self.0.tenancy;
        let (sealed, credentials) = match wanted.credentials {
            Some(given) => {
                let credentials = credentials_of(given);
                let sealed = tenancy
                    .seal(client, &credentials)
                    .map_err(|error| Problem::new(Code::NotSupported).detail(error.to_string()))?;
                (Some(sealed), credentials)
            }
            None => tenancy.sealed(client).map_or_else(
                || (None, Credentials::default()),
                |(sealed, credentials)| (Some(sealed), credentials),
            ),
        };
        let sessions = wanted.waha_sessions.unwrap_or_default().into_iter();
        let setup = TenantSetup {
            time_zone: wanted.time_zone,
            messages_per_second: wanted.messages_per_second,
            phone_number_ids: wanted.phone_number_ids.unwrap_or_default(),
            waba_ids: wanted.waba_ids.unwrap_or_default(),
            waha_sessions: sessions
                .map(|session| WahaSessionSetup { name: session.name, url: session.url })
                .collect(),
            credentials: sealed,
        };
        Ok((setup, credentials))
    }
}

/// A tenant's own; another's is what does not exist.
fn own(caller: &Caller<TenantWrite>, client_id: u32) -> Result<ClientId, Problem> {
    let client = caller.identity.client_id;
    if client.0 == client_id { Ok(client) } else { Err(Problem::new(Code::NotFound)) }
}

/// What the schema can't say.
fn check(wanted: &SetTenant, is_admin: bool) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Some(zone) = &wanted.time_zone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        errors.push(FieldError::at_pointer("/time_zone", "must be an IANA time zone"));
    }
    for (index, session) in wanted.waha_sessions.iter().flatten().enumerate() {
        let Some(url) = &session.url else { continue };
        let pointer = format!("/waha_sessions/{index}/url");
        let is_http = url::Url::parse(url)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_admin {
            errors.push(FieldError::at_pointer(pointer, "may be set with the scope admin only"));
        } else if !is_http {
            errors.push(FieldError::at_pointer(pointer, "must be an http or https address"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(problem::invalid_body(errors)) }
}

/// Why it can't be so. Who else has what is claimed stays unsaid.
fn refused(error: &RoutesError) -> Problem {
    let detail = match error {
        RoutesError::Claimed { kind, id, .. } => format!("the {kind} {id} is in use"),
        RoutesError::Empty { kind, .. } => format!("there is an empty {kind}"),
        RoutesError::NoKey { session, .. } => {
            format!("the session {session} needs an hmac_key in credentials.waha")
        }
        RoutesError::EmptyShared { .. } | RoutesError::TooMany { .. } => {
            "this installation can't take further secrets".to_owned()
        }
    };
    problem::invalid_body(vec![FieldError::at_pointer("", detail)])
}

fn credentials_of(given: SetCredentials) -> Credentials {
    let keys = |keys: SetWahaKeys| WahaCredentials {
        session: keys.session,
        hmac_key: keys.hmac_key.map(Secret::new),
        api_key: keys.api_key.map(Secret::new),
    };
    Credentials {
        access_token: given.access_token.map(Secret::new),
        app_secrets: given.app_secrets.unwrap_or_default().into_iter().map(Secret::new).collect(),
        waha: given.waha.unwrap_or_default().into_iter().map(keys).collect(),
    }
}

fn answer(
    client: ClientId,
    setup: &TenantSetup,
    credentials: &Credentials,
    now: crate::domain::time::Timestamp,
) -> crate::command::Answer {
    let tenant = shown(client, TenantView::of(setup, credentials, now));
    unsent(200, &TenantWritten { tenant, cursor: String::new() })
}

fn shown(client: ClientId, view: TenantView) -> TenantShown {
    let sessions = view.setup.waha_sessions.into_iter().zip(view.waha);
    TenantShown {
        client_id: client.0,
        set_up_at: view.set_up_at.map(|at| at.to_string()),
        time_zone: view.setup.time_zone,
        messages_per_second: view.setup.messages_per_second,
        phone_number_ids: view.setup.phone_number_ids,
        waba_ids: view.setup.waba_ids,
        waha_sessions: sessions
            .map(|(session, (_, has_hmac_key, has_api_key))| WahaSessionShown {
                name: session.name,
                url: session.url,
                has_hmac_key,
                has_api_key,
            })
            .collect(),
        credentials: CredentialsShown {
            has_access_token: view.has_access_token,
            app_secrets: u32::try_from(view.app_secrets).unwrap_or(u32::MAX),
            sealed_with: view.key_id,
            locked: view.locked,
        },
    }
}
