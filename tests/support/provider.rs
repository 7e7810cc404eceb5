//! A server with a provider behind it: the simulator in this process, the server in its own.

use std::{path::PathBuf, sync::Arc, time::Duration};

use condorito::{
    gateway::simulator::provider::{
        Faults, LedgerView, ProviderSimulator, ProviderSimulatorSettings,
    },
    runtime::{clock::SystemClock, secret::Secret},
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    config::{APP_SECRET, TestConfig, mint_token},
    server::ServerProcess,
    server_binary,
};

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(120);

pub struct Stage {
    pub provider: ProviderSimulator,
    pub server: Option<ServerProcess>,
    config: PathBuf,
    binary: PathBuf,
    pin: Option<usize>,
    client: reqwest::Client,
    token: String,
    _folder: TempDir,
}

impl Stage {
    /// With these faults, and more TOML for the server.
    pub async fn start(faults: Faults, more: &str) -> Self {
        Self::start_pinned(faults, more, server_binary(), None).await
    }

    pub async fn start_pinned(
        faults: Faults,
        more: &str,
        binary: PathBuf,
        pin: Option<usize>,
    ) -> Self {
        let settings = ProviderSimulatorSettings {
            app_secret: Secret::new(APP_SECRET.to_owned()),
            faults,
            ..ProviderSimulatorSettings::for_tests()
        };
        let provider = ProviderSimulator::start(settings, Arc::new(SystemClock)).await;
        let provider = provider.expect("a provider");
        let folder = tempfile::tempdir().expect("a folder");
        let config = TestConfig {
            cloud: format!("graph_url = {:?}\naccess_token = \"a token\"", provider.url()),
            more: more.to_owned(),
            ..TestConfig::default()
        };
        let config = config.write(folder.path());
        let mut stage = Self {
            provider,
            server: None,
            config,
            binary,
            pin,
            client: reqwest::Client::new(),
            token: mint_token(1, None),
            _folder: folder,
        };
        stage.begin().await;
        stage
    }

    async fn begin(&mut self) {
        let (binary, config, pin) = (self.binary.clone(), self.config.clone(), self.pin);
        let begun =
            tokio::task::spawn_blocking(move || ServerProcess::start(&binary, &config, pin)).await;
        let server = begun.expect("a server");
        self.provider.send_webhooks_to(&server.base());
        self.server = Some(server);
    }

    /// `kill -9`, and a new process over the same files.
    pub async fn crash(&mut self) {
        let server = self.server.take();
        let killed = tokio::task::spawn_blocking(move || {
            if let Some(server) = server {
                server.kill();
            }
        });
        killed.await.expect("killed");
        self.begin().await;
    }

    fn base(&self) -> String {
        self.server.as_ref().expect("a server runs").base()
    }

    /// A request of tenant 1, with a body of this type where one is given.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Response {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base()))
            .bearer_auth(&self.token)
            .timeout(STUCK);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.expect("an answer")
    }

    /// The same for another caller, whose token is among the headers.
    pub async fn call_as(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.timeout(STUCK).body(body.unwrap_or_default());
        request.send().await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, &[], None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        json_of(answer).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("content-type", "application/json")];
        let body = Some(body.to_string().into_bytes());
        let answer = self.call(Method::POST, path, &headers, body).await;
        (answer.status(), json_of(answer).await)
    }

    /// Looks at the bulk until it is as wanted. One that was just created may not be there yet.
    pub async fn bulk_until(&self, id: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let started = tokio::time::Instant::now();
        loop {
            let answer = self.call(Method::GET, &format!("/v1/bulk/{id}"), &[], None).await;
            let there = answer.status() == StatusCode::OK;
            let bulk = json_of(answer).await;
            if there && wanted(&bulk) {
                return bulk;
            }
            assert!(started.elapsed() < STUCK, "the bulk stays as it is: {bulk}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All recipients of a bulk, page by page.
    pub async fn recipients(&self, id: &str, result: Option<&str>) -> Vec<Value> {
        let filter = result.map(|result| format!("&result={result}")).unwrap_or_default();
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/bulk/{id}/recipients?limit=1000{filter}{after}");
            let page = self.get(&path).await;
            all.extend(page["recipients"].as_array().expect("a list").iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// What the provider took, once it has told everything.
    pub async fn told(&self) -> LedgerView {
        let started = tokio::time::Instant::now();
        loop {
            let ledger = self.provider.ledger();
            if ledger.webhooks_waiting == 0 {
                return ledger;
            }
            assert!(started.elapsed() < STUCK, "{} webhooks wait", ledger.webhooks_waiting);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub async fn json_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}
