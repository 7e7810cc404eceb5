//! All settings: where they come from, what they are, and whether they make sense together.
//!
//! A TOML file, then `CONDORITO_*` variables, then flags; the later wins ([`sources`]). Each
//! component defines its own settings beside its code, and this file puts them together. Types,
//! defaults and doc comments are read from the code by way of a JSON schema ([`known`]): that is
//! how a variable's text becomes a number, how an unknown key finds its nearest relative, and
//! where the table in `docs/settings.md` comes from ([`mod@reference`]), so none of them can drift.
//!
//! **Invariant:** a key that nobody reads is an error, in the file and in the environment: a
//! misspelt bound would otherwise be a missing one.

pub mod demo;
pub mod known;
pub mod reference;
pub mod sources;
mod validate;

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    api::settings::ApiSettings,
    auth::{AuthSettings, cors::CorsSettings, rate_limit::RateLimitSettings},
    bulk::BulkSettings,
    command::consent::ConsentSettings,
    command::send::BotSettings,
    delivery::{listener::ListenerSettings, settings::DeliverySettings, ws::WebSocketSettings},
    domain::ids::ClientId,
    feed::FeedSettings,
    gateway::{
        http::ProviderHttpSettings,
        routes::{TenantRoutes, TenantRouting},
        simulator::SimulatorSettings,
        waha::WahaSettings,
        whatsapp_cloud::WhatsAppCloudSettings,
    },
    media::MediaSettings,
    outbox::OutboxSettings,
    projection::settings::ProjectionSettings,
    runtime::keyring::CredentialsSettings,
};

/// All settings of a process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the event log is kept: `sqlite:PATH`. Default: `sqlite:` and `log.db` in `data_dir`.
    pub log: String,
    /// Folder for what the server keeps; made when missing. Default: `data`.
    pub data_dir: PathBuf,
    pub listener: ListenerSettings,
    pub api: ApiSettings,
    pub auth: AuthSettings,
    pub rate_limits: RateLimitSettings,
    pub cors: CorsSettings,
    pub delivery: DeliverySettings,
    pub websocket: WebSocketSettings,
    pub feed: FeedSettings,
    pub whatsapp_cloud: WhatsAppCloudSettings,
    pub waha: WahaSettings,
    pub provider_http: ProviderHttpSettings,
    pub outbox: OutboxSettings,
    pub bot: BotSettings,
    pub credentials: CredentialsSettings,
    pub simulator: SimulatorSettings,
    pub projection: ProjectionSettings,
    pub bulk: BulkSettings,
    pub consent: ConsentSettings,
    pub media: MediaSettings,
    pub logging: LoggingSettings,
    /// The tenants and what of the providers belongs to each: one `[[tenants]]` table per tenant.
    pub tenants: Vec<TenantSettings>,
}

impl Settings {
    /// The file of the embedded log; `None` when `log` names no backend that this build has,
    /// which validation refuses.
    pub fn log_path(&self) -> Option<PathBuf> {
        self.log.strip_prefix("sqlite:").map(PathBuf::from)
    }

    /// What of the providers belongs to which tenant, as the gateways take it.
    pub fn tenant_routing(&self) -> Vec<TenantRouting> {
        let routing = |tenant: &TenantSettings| TenantRouting {
            client: ClientId(tenant.client_id),
            routes: tenant.routes.clone(),
        };
        self.tenants.iter().map(routing).collect()
    }
}

/// How the server writes its own log.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingSettings {
    /// What to write: a level, or levels by module like `info,condorito::feed=debug`. The
    /// variable `RUST_LOG` wins over it.
    pub filter: String,
    /// `text`, `json` (one object a line), or `auto`: text on a terminal, else JSON.
    pub format: LogFormat,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// One tenant: a company that shares the installation.
///
/// Unknown keys are found by [`sources`]: serde can't deny them beside a flattened struct.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct TenantSettings {
    /// Its number, as in the tokens' `client_id` claim.
    pub client_id: u32,
    /// Time zone of its days in the statistics, an IANA name. Absent: `api.time_zone`.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Messages a second that its number may send. Absent: `outbox.messages_per_second`.
    #[serde(default)]
    pub messages_per_second: Option<u32>,
    /// What of the providers belongs to it.
    #[serde(flatten)]
    pub routes: TenantRoutes,
}

/// One thing that is wrong with the settings: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A file with its line, a variable, a flag, or a key.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Why the settings can't be used; all of it, so that it is mended in one go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration can't be used:{}", lines(.problems))]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

#[cfg(test)]
mod tests;
