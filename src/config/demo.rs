//! What `serve --demo` adds so that it runs without any configuration: a demo tenant with secrets
//! of its own, and a secret for tokens that stays the same over restarts, kept in the data folder
//! so that `condorito token` and `tail` find it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::Rng;

use super::{Settings, TenantSettings};
use crate::{
    domain::ids::ClientId,
    gateway::routes::{TenantRoutes, WahaSession},
    runtime::secret::Secret,
};

/// By which the providers know the demo tenant.
pub const PHONE_NUMBER_ID: &str = "demo-number";
pub const WAHA_SESSION: &str = "demo-session";

/// The demo tenant and the secrets that its webhooks are signed with.
#[derive(Debug, Clone)]
pub struct Demo {
    pub client_id: ClientId,
    pub app_secret: Secret<String>,
    pub waha_hmac_key: Secret<String>,
}

/// Adds the demo tenant to `settings`, under the first number that no other tenant has, and a
/// secret for its tokens when there is none.
pub fn add_to(settings: &mut Settings) -> io::Result<Demo> {
    if settings.auth.secret.is_none() && settings.auth.secret_file.is_none() {
        settings.auth.secret_file = Some(ensure_secret(&settings.data_dir)?);
    }
    let is_free = |id: &u32| settings.tenants.iter().all(|tenant| tenant.client_id != *id);
    let client_id = (1..=u32::MAX).find(is_free).unwrap_or(u32::MAX);
    // Drawn anew with every start: only this process posts with them.
    let (app_secret, waha_hmac_key) = (Secret::new(draw()), Secret::new(draw()));
    let session = WahaSession {
        name: WAHA_SESSION.to_owned(),
        hmac_key: Some(waha_hmac_key.clone()),
        ..WahaSession::default()
    };
    settings.tenants.push(TenantSettings {
        client_id,
        time_zone: None,
        messages_per_second: None,
        routes: TenantRoutes {
            phone_number_ids: vec![PHONE_NUMBER_ID.to_owned()],
            app_secrets: vec![app_secret.clone()],
            waha_sessions: vec![session],
            ..TenantRoutes::default()
        },
    });
    Ok(Demo { client_id: ClientId(client_id), app_secret, waha_hmac_key })
}

impl Demo {
    /// Lets the demo tenant send through the simulated provider at this address.
    pub fn send_through(&self, settings: &mut Settings, provider_url: &str) {
        let tenants = settings.tenants.iter_mut();
        for tenant in tenants.filter(|tenant| tenant.client_id == self.client_id.0) {
            tenant.routes.graph_url = Some(provider_url.to_owned());
            tenant.routes.access_token = Some(Secret::new(draw()));
            for session in &mut tenant.routes.waha_sessions {
                session.url = Some(provider_url.to_owned());
            }
        }
    }
}

/// Where the demo's secret for tokens lies.
pub fn secret_file(data_dir: &Path) -> PathBuf {
    data_dir.join("demo-secret")
}

/// Draws the demo's secret unless it is there; for its owner alone to read.
fn ensure_secret(data_dir: &Path) -> io::Result<PathBuf> {
    const OWNER_ONLY: u32 = 0o600;
    let path = secret_file(data_dir);
    std::fs::create_dir_all(data_dir)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&path);
    match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(error),
        Ok(mut file) => {
            writeln!(file, "{}", draw())?;
            Ok(path)
        }
    }
}

fn draw() -> String {
    const SECRET_BYTES: usize = 36;
    let mut secret = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut secret);
    BASE64_URL_SAFE_NO_PAD.encode(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_secret_is_drawn_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let path = ensure_secret(&data_dir).unwrap();
        let secret = std::fs::read_to_string(&path).unwrap();
        assert_eq!(secret.trim().len(), 48);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(ensure_secret(&data_dir).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
    }

    #[test]
    fn only_the_demo_sends_through_the_simulated_provider() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
        add_to(&mut settings).unwrap();
        let demo = add_to(&mut settings).unwrap();
        demo.send_through(&mut settings, "http://127.0.0.1:1");
        let urls: Vec<_> =
            settings.tenants.iter().map(|tenant| tenant.routes.graph_url.as_deref()).collect();
        assert_eq!(urls, [None, Some("http://127.0.0.1:1")]);
    }

    #[test]
    fn the_demo_takes_a_free_number_and_leaves_the_rest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
        assert_eq!(add_to(&mut settings).unwrap().client_id, ClientId(1));
        assert_eq!(settings.auth.secret_file, Some(secret_file(folder.path())));

        let secret = Some(Secret::new("configured".to_owned()));
        let mut configured = Settings::default();
        configured.auth.secret.clone_from(&secret);
        configured.tenants = settings.tenants;
        assert_eq!(add_to(&mut configured).unwrap().client_id, ClientId(2));
        assert_eq!((configured.auth.secret, configured.auth.secret_file), (secret, None));
    }
}
