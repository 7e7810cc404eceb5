//! Tenants that are set up at run time, from outside: what they hand over works at once and after
//! a kill, is shown nowhere, and nobody gets at what another has.

use std::{path::Path, time::Duration};

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    config::{ALL_SCOPES, TestConfig, mint_token, now, phone_number_id, signature, webhook_body},
    server::ServerProcess,
    server_binary,
};
use condorito::gateway::simulator::payloads;

/// Two keys, as `openssl rand -base64 32` makes them.
const KEY_A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const KEY_B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OWN_APP: &str = "the-secret-of-their-own-app";
const OWN_TOKEN: &str = "EAAG-the-token-of-their-own";
const OWN_HOOK: &str = "the-key-of-their-own-session";

struct World {
    folder: tempfile::TempDir,
    server: ServerProcess,
    client: reqwest::Client,
}

fn start(folder: &Path, keys: &[&str]) -> ServerProcess {
    let more = format!("[credentials]\nkeys = {keys:?}");
    let config = TestConfig { more, ..TestConfig::default() }.write(folder);
    ServerProcess::start(&server_binary(), &config, None)
}

impl World {
    fn with(keys: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = start(folder.path(), keys);
        Self { folder, server, client: reqwest::Client::new() }
    }

    /// `kill -9`, and the same with these keys.
    fn killed_and_started_with(self, keys: &[&str]) -> Self {
        let Self { folder, server, client } = self;
        server.kill();
        let server = start(folder.path(), keys);
        Self { folder, server, client }
    }

    async fn set(&self, tenant: u32, token: &str, body: Value) -> Response {
        let url = format!("{}/v1/tenants/{tenant}", self.server.base());
        let request = self.client.put(url).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.expect("answered")
    }

    async fn get(&self, tenant: u32) -> Value {
        let url = format!("{}/v1/tenants/{tenant}", self.server.base());
        let request = self.client.get(url).bearer_auth(mint_token(tenant, None));
        json_of(request.send().await.expect("answered")).await
    }

    /// Posts a message to this number, signed with this secret: how many things were stored.
    async fn say(&self, number: &str, secret: &str, wamid: &str) -> u64 {
        let body = payloads::cloud_text_message(number, "56911112222", "Ana", wamid, "hola", now());
        let url = format!("{}/webhooks/whatsapp", self.server.base());
        let request =
            self.client.post(url).header("x-hub-signature-256", payloads::sign(secret, &body));
        let answer = request.body(body).send().await.expect("answered");
        match answer.status() {
            StatusCode::OK => json_of(answer).await["stored"].as_u64().expect("a number"),
            _ => 0,
        }
    }
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or_default()
}

fn setup() -> Value {
    json!({
        "time_zone": "America/Bogota", "messages_per_second": 20,
        "phone_number_ids": ["777000111"], "waba_ids": ["888000111"],
        "waha_sessions": [{"name": "their-session"}],
        "credentials": {
            "access_token": OWN_TOKEN, "app_secrets": [OWN_APP],
            "waha": [{"session": "their-session", "hmac_key": OWN_HOOK}],
        },
    })
}

#[tokio::test]
async fn a_setup_works_at_once_and_after_a_kill_and_its_secrets_are_nowhere() {
    let world = World::with(&[KEY_A]);
    // A tenant that no configuration file names.
    let token = mint_token(9, None);
    let answer = world.set(9, &token, setup()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let written = json_of(answer).await;
    assert_eq!(written["tenant"]["credentials"]["sealed_with"], "a");
    assert_eq!(written["tenant"]["waha_sessions"][0]["has_hmac_key"], true);
    assert_eq!(world.say("777000111", OWN_APP, "wamid.T1").await, 1);

    let world = world.killed_and_started_with(&[KEY_A]);
    assert_eq!(world.say("777000111", OWN_APP, "wamid.T2").await, 1);
    let shown = world.get(9).await;
    assert_eq!(shown["time_zone"], "America/Bogota");
    assert_eq!(shown["credentials"]["has_access_token"], true);
    for text in [written.to_string(), shown.to_string()] {
        assert_no_secret(text.as_bytes(), "an answer");
    }
    let folder = world.folder.path().to_owned();
    assert!(world.server.terminate(Duration::from_secs(20)));
    let log = folder.join("condorito.log");
    assert_no_secret(&std::fs::read(log).expect("a log"), "the server's log");
    for entry in std::fs::read_dir(folder.join("data")).expect("the data folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            assert_no_secret(&std::fs::read(&path).expect("a file"), &path.display().to_string());
        }
    }
}

fn assert_no_secret(bytes: &[u8], place: &str) {
    for secret in [OWN_APP, OWN_TOKEN, OWN_HOOK] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret stands in {place}");
    }
}

#[tokio::test]
async fn a_setup_wins_over_the_configuration_file_and_keeps_credentials_when_none_are_sent() {
    let world = World::with(&[KEY_A]);
    let token = mint_token(1, None);
    assert_eq!(world.get(1).await["set_up_at"], Value::Null);
    assert_eq!(world.set(1, &token, setup()).await.status(), StatusCode::OK);
    let theirs = webhook_body(1, 56_911_112_222, "wamid.OLD", "hola");
    let url = format!("{}/webhooks/whatsapp", world.server.base());
    let request = world.client.post(url).header("x-hub-signature-256", signature(&theirs));
    let answer = json_of(request.body(theirs).send().await.expect("answered")).await;
    assert_eq!(answer["stored"], 0, "the file's number is not theirs any more");

    let mut changed = setup();
    changed.as_object_mut().expect("members").remove("credentials");
    changed["phone_number_ids"] = json!(["777000222"]);
    assert_eq!(world.set(1, &token, changed).await.status(), StatusCode::OK);
    assert_eq!(world.say("777000222", OWN_APP, "wamid.N1").await, 1);
    assert_eq!(world.say("777000111", OWN_APP, "wamid.N2").await, 0);
}

#[tokio::test]
async fn what_another_has_cant_be_claimed_and_is_not_told() {
    let world = World::with(&[KEY_A]);
    let token = mint_token(9, None);
    let claim = json!({"phone_number_ids": [phone_number_id(2)]});
    let refused = world.set(9, &token, claim).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem = json_of(refused).await["detail"].to_string();
    assert!(problem.contains("in use") && !problem.contains("tenant"), "{problem}");
    // Neither reading nor writing another's, whether it exists or not.
    for other in [1, 2, 4_000_000] {
        let refused = world.set(other, &token, json!({"time_zone": "UTC"})).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    }
    let nobody = world.get(9).await;
    assert_eq!(nobody["code"], "not_found", "it was not set up");
    let admin = mint_token(1, Some(&format!("{ALL_SCOPES} admin")));
    let url = format!("{}/v1/tenants/9", world.server.base());
    let request = world.client.put(url).bearer_auth(admin).header("x-client-id", "9");
    let session = json!({"waha_sessions": [{"name": "s", "url": "http://waha.test:3000"}],
                         "credentials": {"waha": [{"session": "s", "hmac_key": "k"}]}});
    let request = request.header("content-type", "application/json").body(session.to_string());
    assert_eq!(request.send().await.expect("answered").status(), StatusCode::OK);
    let shown = world.get(9).await;
    assert_eq!(shown["waha_sessions"][0]["url"], Value::Null, "nor does the tenant see it");
    let refused = world.set(9, &token, session).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "an address is for admin");
}

#[tokio::test]
async fn keys_rotate_and_what_they_seal_goes_on_working() {
    let world = World::with(&[KEY_A]);
    assert_eq!(world.set(9, &mint_token(9, None), setup()).await.status(), StatusCode::OK);
    let world = world.killed_and_started_with(&[KEY_B, KEY_A]);
    let resealed = async {
        while world.get(9).await["credentials"]["sealed_with"] != "b" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), resealed).await.expect("sealed with the new key");
    let world = world.killed_and_started_with(&[KEY_B]);
    assert_eq!(world.say("777000111", OWN_APP, "wamid.R1").await, 1);
    assert_eq!(world.get(9).await["credentials"]["locked"], false);
}

#[tokio::test]
async fn without_a_key_credentials_are_refused_and_the_rest_is_taken() {
    let world = World::with(&[]);
    let token = mint_token(9, None);
    assert_eq!(world.set(9, &token, setup()).await.status(), StatusCode::NOT_IMPLEMENTED);
    let rest = json!({"time_zone": "America/Bogota", "phone_number_ids": ["777000333"]});
    assert_eq!(world.set(9, &token, rest).await.status(), StatusCode::OK);
    let wrong = world.set(9, &token, json!({"time_zone": "Mars/Olympus"})).await;
    assert_eq!(json_of(wrong).await["errors"][0]["pointer"], "/time_zone");
}
