//! A server's configuration for tests and benchmarks, and what goes with it: tokens and signed
//! webhooks that it accepts.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use condorito::{
    auth::{
        AuthSettings, Scopes,
        mint::{Mint, mint},
    },
    domain::{ids::ClientId, time::Timestamp},
    gateway::simulator::payloads,
    runtime::secret::Secret,
};

pub const JWT_SECRET: &str = "a secret for tests only, of more than 32 bytes";
pub const APP_SECRET: &str = "the app secret of the tests";
pub const VERIFY_TOKEN: &str = "the verify token of the tests";
pub const WAHA_KEY: &str = "the hmac key of the tests";
/// What a frontend's token allows, and a bridge's.
pub const ALL_SCOPES: &str = "events:read messages:read messages:write bulk:write bot:write \
                              ingest:write tenant:write";

/// What differs from test to test.
#[derive(Debug, Clone)]
pub struct TestConfig {
    /// Tenants 1 to this.
    pub tenants: usize,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// More of the `[whatsapp_cloud]` table.
    pub cloud: String,
    /// More TOML, after the tables that are here.
    pub more: String,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self { tenants: 2, port: 0, cloud: String::new(), more: String::new() }
    }
}

impl TestConfig {
    /// Writes `condorito.toml` into `folder`, where the server keeps its data too.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let mut text = format!(
            "data_dir = {data:?}\n\
             [listener]\naddress = \"127.0.0.1:{port}\"\n\
             [rate_limits]\nenabled = false\n\
             [auth]\nsecret = {JWT_SECRET:?}\n\
             [whatsapp_cloud]\nverify_token = {VERIFY_TOKEN:?}\napp_secrets = [{APP_SECRET:?}]\n\
             {cloud}\n\
             [waha]\nhmac_key = {WAHA_KEY:?}\n{more}\n",
            data = folder.join("data"),
            port = self.port,
            cloud = self.cloud,
            more = self.more,
        );
        for tenant in 1..=self.tenants {
            write!(
                text,
                "[[tenants]]\nclient_id = {tenant}\ntime_zone = \"America/Santiago\"\n\
                 phone_number_ids = [\"{}\"]\nwaba_ids = [\"{}\"]\n\
                 waha_sessions = [{{ name = \"session{tenant}\" }}]\n",
                phone_number_id(tenant as u32),
                9_000_000 + tenant,
            )
            .expect("text");
        }
        let path = folder.join("condorito.toml");
        fs::write(&path, text).expect("the configuration is written");
        path
    }
}

/// The phone number id of a tenant.
pub fn phone_number_id(tenant: u32) -> String {
    (1_000_000 + tenant).to_string()
}

/// A token for a tenant with these scopes, or with all but `admin`.
pub fn mint_token(tenant: u32, scopes: Option<&str>) -> String {
    mint_token_for(tenant, scopes, 3600)
}

/// The same, for so many seconds from now.
pub fn mint_token_for(tenant: u32, scopes: Option<&str>, ttl_s: u64) -> String {
    mint_token_at(tenant, scopes, ttl_s, now())
}

/// A token that ended an hour ago.
pub fn expired_token(tenant: u32) -> String {
    mint_token_at(tenant, None, 60, now().plus_ms(-3_660_000))
}

fn mint_token_at(tenant: u32, scopes: Option<&str>, ttl_s: u64, at: Timestamp) -> String {
    let settings = AuthSettings {
        secret: Some(Secret::new(JWT_SECRET.to_owned())),
        ..AuthSettings::default()
    };
    let order = Mint {
        subject: "tester".to_owned(),
        client_id: ClientId(tenant),
        scopes: Scopes::parse(scopes.unwrap_or(ALL_SCOPES)),
        ttl_s,
    };
    mint(&settings, &order, at).expect("a token")
}

pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a real server's peer, by the machine's clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(since_epoch.as_millis() as i64)
}

/// The value of `X-Hub-Signature-256`.
pub fn signature(body: &[u8]) -> String {
    payloads::sign(APP_SECRET, body)
}

/// A Cloud API webhook with one text message from a customer.
pub fn webhook_body(tenant: u32, customer: u64, wamid: &str, text: &str) -> Vec<u8> {
    payloads::cloud_text_message(
        &phone_number_id(tenant),
        &customer.to_string(),
        "Ana Test",
        wamid,
        text,
        now(),
    )
}

/// A Cloud API webhook with what the company wrote from its phone.
pub fn echo_body(tenant: u32, customer: u64, wamid: &str, text: &str) -> Vec<u8> {
    let (number, customer) = (phone_number_id(tenant), customer.to_string());
    payloads::cloud_echo(&number, &customer, wamid, text, None, now())
}

/// A Cloud API webhook with one status.
pub fn status_body(tenant: u32, customer: u64, wamid: &str, status: &str) -> Vec<u8> {
    payloads::cloud_status(&phone_number_id(tenant), &customer.to_string(), wamid, status, now())
}
