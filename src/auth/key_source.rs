//! Where the keys come from, and how they stay fresh: secrets from the settings, PEM files, and a
//! JSON Web Key Set from a file or a URL.
//!
//! Files are read and the URL is fetched again every `jwks_refresh_s`. A token that names a key
//! id nobody knows fetches at once, since its issuer may just have rotated, but at most every
//! `jwks_refetch_min_interval_s`, since everybody can make such tokens. One fetch runs at a time.
//!
//! **Invariant:** a read or fetch that fails changes nothing: the keys known before stay in force.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::{
    AuthError, AuthSettings, AuthSettingsError,
    keys::{Key, KeySet, SharedSecrets, parse_jwks},
    settings::check_secret,
};
use crate::runtime::backoff::Backoff;

/// A longer answer of the JWKS URL is a failed fetch. Sixty-four RSA keys with certificates need
/// less.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// First delay after a failed refresh; it doubles up to `jwks_refresh_s`.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The keys in force and what they are made of.
pub struct KeySource {
    current: ArcSwap<KeySet>,
    settings: AuthSettings,
    remote: Option<Remote>,
    /// Held while refreshing, so that one refresh runs at a time.
    state: Mutex<State>,
}

struct Remote {
    url: Url,
    client: reqwest::Client,
}

/// The keys by origin, each replaced on its own.
struct State {
    secrets: Vec<Key>,
    files: Vec<Key>,
    /// `None` until the first fetch succeeded.
    fetched: Option<Vec<Key>>,
    last_fetch: Option<Instant>,
}

/// Why a fetch failed. Logged, never sent to a client.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the key set can't be fetched")]
    Http(#[from] reqwest::Error),
    #[error("the key set's server answered {0}")]
    Status(reqwest::StatusCode),
    #[error("the key set is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge,
    #[error("the key set can't be read: {0}")]
    Unreadable(String),
}

impl KeySource {
    /// Reads everything once. A wrong setting or file is an error; a URL that does not answer is
    /// not.
    pub async fn load(settings: &AuthSettings) -> Result<Arc<Self>, AuthSettingsError> {
        let source = Arc::new(Self {
            current: ArcSwap::default(),
            remote: settings.jwks_url.as_deref().map(|url| remote(url, settings)).transpose()?,
            state: Mutex::new(State {
                secrets: secrets(settings)?,
                files: read_files(settings)?,
                fetched: None,
                last_fetch: None,
            }),
            settings: settings.clone(),
        });
        let mut state = source.state.lock().await;
        source.fetch(&mut state).await;
        source.install(&state);
        drop(state);
        Ok(source)
    }

    /// Grows whenever the keys change; what an older generation verified is verified anew.
    pub fn generation(&self) -> u64 {
        self.current.load().generation()
    }

    /// The keys with which to check a token that names `kid`.
    pub async fn for_token(&self, kid: Option<&str>) -> Result<Arc<KeySet>, AuthError> {
        let keys = self.current.load_full();
        let Some(unknown) = kid.filter(|kid| self.remote.is_some() && !keys.knows(kid)) else {
            return usable(keys);
        };
        let mut state = self.state.lock().await;
        let min_interval = Duration::from_secs(self.settings.jwks_refetch_min_interval_s);
        let recently = state.last_fetch.is_some_and(|last| last.elapsed() < min_interval);
        if !recently && !self.current.load().knows(unknown) {
            self.fetch(&mut state).await;
            self.install(&state);
        }
        let keys = self.current.load_full();
        if state.fetched.is_none() && keys.candidates(kid).next().is_none() {
            return Err(AuthError::Unavailable);
        }
        usable(keys)
    }

    /// Keeps the keys fresh until `stopping`; `None` when they can't change.
    pub fn refresh_task(
        self: Arc<Self>,
        stopping: CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let from_files =
            self.settings.jwks_file.is_some() || !self.settings.public_key_files.is_empty();
        if !from_files && self.remote.is_none() {
            return None;
        }
        let period = Duration::from_secs(self.settings.jwks_refresh_s);
        Some(async move {
            let mut backoff = Backoff::new(FIRST_RETRY, period);
            let mut fresh = self.state.lock().await.is_complete(self.remote.is_some());
            loop {
                let delay = if fresh { period } else { backoff.next_delay() };
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(delay) => {}
                }
                fresh = self.refresh().await;
                if fresh {
                    backoff.reset();
                }
            }
        })
    }

    /// Reads and fetches everything anew; whether all of it could be had.
    pub(super) async fn refresh(&self) -> bool {
        let mut state = self.state.lock().await;
        let files_read = match read_files(&self.settings) {
            Ok(files) => {
                state.files = files;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "keeping the token keys known: a key file can't be read");
                false
            }
        };
        let fetched = self.fetch(&mut state).await;
        self.install(&state);
        files_read && fetched
    }

    /// Fetches the URL's keys into `state`; whether that worked or there is no URL.
    async fn fetch(&self, state: &mut State) -> bool {
        let Some(remote) = &self.remote else { return true };
        state.last_fetch = Some(Instant::now());
        match remote.fetch().await {
            Ok(keys) => {
                state.fetched = Some(keys);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                let host = remote.url.host_str().unwrap_or_default();
                tracing::warn!(
                    error,
                    host,
                    "keeping the token keys known: the key set can't be had"
                );
                false
            }
        }
    }

    fn install(&self, state: &State) {
        let fetched = state.fetched.iter().flatten();
        let keys: Vec<Key> =
            state.secrets.iter().chain(&state.files).chain(fetched).cloned().collect();
        let current = self.current.load();
        if !current.has_same_keys(&keys) {
            tracing::info!(keys = keys.len(), "token keys loaded");
            self.current.store(Arc::new(KeySet::new(keys, current.generation() + 1)));
        }
    }
}

impl State {
    fn is_complete(&self, has_remote: bool) -> bool {
        !has_remote || self.fetched.is_some()
    }
}

impl Remote {
    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let response = self.client.get(self.url.clone()).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > MAX_JWKS_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        parse_jwks(&body, SharedSecrets::Refused).map_err(FetchError::Unreadable)
    }
}

fn usable(keys: Arc<KeySet>) -> Result<Arc<KeySet>, AuthError> {
    if keys.is_empty() { Err(AuthError::Unavailable) } else { Ok(keys) }
}

fn remote(url: &str, settings: &AuthSettings) -> Result<Remote, AuthSettingsError> {
    let bad = |reason: String| AuthSettingsError::BadUrl { reason };
    let url = Url::parse(url).map_err(|error| bad(format!("it is not a URL: {error}")))?;
    let on_this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(bad("it names no host".to_owned())),
    };
    match url.scheme() {
        "https" => {}
        "http" if on_this_machine || settings.jwks_allow_http => {}
        "http" => {
            return Err(bad("plain http lets anybody on the way forge tokens: use https, or set \
                            auth.jwks_allow_http"
                .to_owned()));
        }
        other => return Err(bad(format!("{other} is not supported: use https"))),
    }
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(settings.jwks_timeout_s))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("condorito/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| bad(format!("no HTTP client for it: {error}")))?;
    Ok(Remote { url, client })
}

fn secrets(settings: &AuthSettings) -> Result<Vec<Key>, AuthSettingsError> {
    let mut keys = Vec::new();
    if let Some(secret) = settings.signing_secret()? {
        keys.push(Key::from_secret(secret.expose().as_bytes()));
    }
    for secret in &settings.previous_secrets {
        check_secret("auth.previous_secrets", secret.expose())?;
        keys.push(Key::from_secret(secret.expose().as_bytes()));
    }
    Ok(keys)
}

/// Small local files, read at start and every few minutes: not worth another thread.
fn read_files(settings: &AuthSettings) -> Result<Vec<Key>, AuthSettingsError> {
    let mut keys = Vec::new();
    for path in &settings.public_key_files {
        let pem = read("auth.public_key_files", path)?;
        keys.push(Key::from_public_pem(&pem).map_err(|reason| AuthSettingsError::BadKeyFile {
            key: "auth.public_key_files",
            path: path.clone(),
            reason,
        })?);
    }
    if let Some(path) = &settings.jwks_file {
        let json = read("auth.jwks_file", path)?;
        let from_file = parse_jwks(json.as_bytes(), SharedSecrets::Allowed);
        keys.extend(from_file.map_err(|reason| AuthSettingsError::BadKeyFile {
            key: "auth.jwks_file",
            path: path.clone(),
            reason,
        })?);
    }
    Ok(keys)
}

fn read(key: &'static str, path: &Path) -> Result<String, AuthSettingsError> {
    std::fs::read_to_string(path).map_err(|source| AuthSettingsError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}
