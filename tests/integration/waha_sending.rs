//! Sending through WAHA, which gives nothing back by which its echo could be known: whatever goes
//! wrong between the request and its answer, a message goes out once and stands in the history once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use condorito::{
    gateway::simulator::{
        payloads,
        provider::{Faults, ProviderSimulator, ProviderSimulatorSettings},
    },
    runtime::{clock::SystemClock, secret::Secret},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    config::{TestConfig, WAHA_KEY, mint_token, now},
    server::ServerProcess,
    server_binary,
};

const CUSTOMERS: u64 = 5;
const MESSAGES_EACH: u64 = 8;
const FIRST_CUSTOMER: u64 = 56_911_110_000;
/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(90);

struct Stage {
    provider: ProviderSimulator,
    server: ServerProcess,
    client: reqwest::Client,
    token: String,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start(faults: Faults) -> Self {
        let settings = ProviderSimulatorSettings {
            waha_hmac_key: Secret::new(WAHA_KEY.to_owned()),
            faults,
            ..ProviderSimulatorSettings::for_tests()
        };
        let provider = ProviderSimulator::start(settings, Arc::new(SystemClock)).await;
        let provider = provider.expect("a provider");
        let folder = tempfile::tempdir().expect("a folder");
        let url = provider.url();
        let more = format!("url = {url:?}\n[provider_http]\nrequest_timeout_ms = 400");
        let config = TestConfig { more, ..TestConfig::default() }.write(folder.path());
        let server = ServerProcess::start(&server_binary(), &config, None);
        provider.send_webhooks_to(&server.base());
        let client = reqwest::Client::new();
        Self { provider, server, client, token: mint_token(1, None), _folder: folder }
    }

    async fn customer_writes(&self, customer: u64) {
        let number = FIRST_CUSTOMER + customer;
        let payload = json!({
            "id": format!("false_{number}@c.us_IN{customer}"), "from": format!("{number}@c.us"),
            "timestamp": now().0 / 1000, "fromMe": false, "source": "app", "body": "hola",
        });
        self.webhook("message", customer, &payload).await;
    }

    async fn webhook(&self, event: &str, number: u64, payload: &Value) {
        let body = payloads::waha_event("session1", event, number, payload, now());
        let request = self.client.post(format!("{}/webhooks/waha", self.server.base()));
        let request = request.header("x-webhook-hmac", payloads::sign_waha(WAHA_KEY, &body));
        let answer = request.body(body).send().await.expect("answered");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.server.base()));
        let answer = request.bearer_auth(&self.token).send().await.expect("answered");
        let bytes = answer.bytes().await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    async fn send(&self, conversation: u64, text: &str) {
        let path = format!("/v1/conversations/{conversation}/messages");
        let request = self.client.post(format!("{}{path}", self.server.base()));
        let request = request.bearer_auth(&self.token).header("content-type", "application/json");
        let answer =
            request.body(json!({"text": text}).to_string()).send().await.expect("answered");
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }

    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let found = self.get(path).await;
                if wanted(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::time::timeout(STUCK, look).await.expect("it comes about in time")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_through_waha_is_sent_once_and_shown_once_whatever_outruns_what() {
    let stage = Stage::start(Faults {
        webhook_first_permille: 400,
        cut_after_permille: 150,
        silence_permille: 100,
        twice_permille: 200,
        reversed_permille: 200,
        ..Faults::default()
    })
    .await;
    for customer in 0..CUSTOMERS {
        stage.customer_writes(customer).await;
    }
    let list = stage
        .until("/v1/conversations", |page| {
            page["conversations"].as_array().is_some_and(|all| all.len() as u64 == CUSTOMERS)
        })
        .await;
    let ids = list["conversations"].as_array().expect("a list").iter();
    let ids: Vec<u64> = ids.map(|item| item["id"].as_u64().expect("a number")).collect();
    for round in 0..MESSAGES_EACH {
        for id in &ids {
            // The same words again in another conversation, and twice in each.
            stage.send(*id, &format!("mensaje {}", round / 2)).await;
        }
    }
    stage.until("/v1/stats", |answer| answer["stats"]["queued"] == 0).await;
    let sent = CUSTOMERS * MESSAGES_EACH;
    let ledger = stage.provider.ledger();
    assert_eq!(ledger.taken, sent, "each was taken once");
    for id in ids {
        let path = format!("/v1/conversations/{id}/messages?limit=100");
        let all_told = |page: &Value| {
            outbound(page)
                .all(|message| matches!(message["status"].as_str(), Some("delivered" | "read")))
        };
        let page = stage.until(&path, all_told).await;
        let mut texts: HashMap<&str, u64> = HashMap::new();
        for message in outbound(&page) {
            *texts.entry(message["text"].as_str().expect("text")).or_default() += 1;
            assert!(message["error"].is_null(), "{message}");
        }
        assert_eq!(texts.len() as u64, MESSAGES_EACH / 2, "{texts:?}");
        assert!(texts.values().all(|count| *count == 2), "shown once each: {texts:?}");
    }
}

fn outbound(page: &Value) -> impl Iterator<Item = &Value> {
    let all = page["messages"].as_array().into_iter().flatten();
    all.filter(|message| message["direction"] == "outbound")
}

#[tokio::test]
async fn whoever_pairs_a_phone_sees_each_code_and_then_that_it_is_connected() {
    let stage = Stage::start(Faults::default()).await;
    let state = "/v1/whatsapp/state";
    for (number, code) in ["2@first", "2@second"].into_iter().enumerate() {
        stage.provider.ask_to_pair(Some(code));
        stage.webhook("session.status", number as u64, &json!({"status": "SCAN_QR_CODE"})).await;
        let seen = stage.until(state, |state| state["qr"] == code).await;
        assert_eq!(seen["status"], "qr");
    }
    stage.provider.ask_to_pair(None);
    stage.webhook("session.status", 2, &json!({"status": "WORKING"})).await;
    let seen = stage.until(state, |state| state["status"] == "connected").await;
    assert_eq!(seen["qr"], Value::Null);
}
