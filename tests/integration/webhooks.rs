//! Providers' webhooks against the running server: `200` means durable, anything else means that
//! nothing was stored, and what can't be understood costs nobody else anything.

use std::time::Duration;

use condorito::gateway::simulator::payloads;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    config::{
        APP_SECRET, TestConfig, VERIFY_TOKEN, WAHA_KEY, mint_token, now, phone_number_id,
        webhook_body,
    },
    follower::text,
    server::ServerProcess,
    server_binary,
    webhook::try_post_webhook,
};

/// A server with two tenants, and a client of it.
struct Hooks {
    folder: tempfile::TempDir,
    server: ServerProcess,
    client: reqwest::Client,
}

impl Hooks {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = TestConfig::default().write(folder.path());
        let server = ServerProcess::start(&server_binary(), &config, None);
        Self { folder, server, client: reqwest::Client::new() }
    }

    /// `kill -9`, and the same again.
    fn killed_and_started_again(self) -> Self {
        let Self { folder, server, client } = self;
        server.kill();
        let config = folder.path().join("condorito.toml");
        let server = ServerProcess::start(&server_binary(), &config, None);
        Self { folder, server, client }
    }

    async fn post(&self, path: &str, header: Option<(&str, String)>, body: Vec<u8>) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.server.base())).body(body);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.expect("answered")
    }

    async fn cloud(&self, body: Vec<u8>) -> Response {
        try_post_webhook(&self.client, &self.server.base(), body).await.expect("answered")
    }

    async fn waha(&self, tenant: u32, number: u64, event: &str, payload: Value) -> Response {
        self.waha_body(waha_event(tenant, number, event, &payload)).await
    }

    async fn waha_body(&self, body: Vec<u8>) -> Response {
        let header = ("x-webhook-hmac", payloads::sign_waha(WAHA_KEY, &body));
        self.post("/webhooks/waha", Some(header), body).await
    }

    async fn ingest(&self, tenant: u32, what: &str, body: &Value) -> Value {
        let url = format!("{}/v1/ingest/{what}", self.server.base());
        let request = self.client.post(url).bearer_auth(mint_token(tenant, None));
        let request = request.header("content-type", "application/json").body(body.to_string());
        body_of(request.send().await.expect("answered")).await
    }

    async fn get(&self, tenant: u32, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.server.base()));
        let answer = request.bearer_auth(mint_token(tenant, None)).send().await.expect("answered");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        body_of(answer).await
    }

    /// All public events of a tenant, from the first on, until `facts` facts are there.
    async fn facts(&self, tenant: u32, facts: usize) -> Vec<Value> {
        let mut found = Vec::new();
        let mut from = "from=1970-01-01T00:00:00Z".to_owned();
        while found.len() < facts {
            let page = self.get(tenant, &format!("/v1/events?{from}&limit=1000&wait=5")).await;
            let events = page["events"].as_array().expect("events");
            assert!(!events.is_empty(), "{} of {facts} facts", found.len());
            found.extend(events.iter().filter(|event| is_fact(event)).cloned());
            from = format!("cursor={}", text(&page["cursor"]));
        }
        found
    }

    /// What came of all that was posted, told by a message that comes after it.
    async fn texts(&self, tenant: u32, wanted: usize) -> Vec<String> {
        let facts = self.facts(tenant, wanted).await;
        facts.iter().map(|fact| text(&fact["data"]["message"]["text"])).collect()
    }
}

fn waha_event(tenant: u32, number: u64, event: &str, payload: &Value) -> Vec<u8> {
    payloads::waha_event(&format!("session{tenant}"), event, number, payload, now())
}

fn is_fact(event: &Value) -> bool {
    event["type"] == "new_message" || event["type"] == "message_status_updated"
}

async fn body_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

async fn stored(answer: Response) -> (u64, u64) {
    assert_eq!(answer.status(), StatusCode::OK);
    let body = body_of(answer).await;
    (body["stored"].as_u64().expect("a number"), body["duplicates"].as_u64().expect("a number"))
}

async fn refused(answer: Response, status: u16, code: &str) {
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(body_of(answer).await["code"], code);
}

fn message(tenant: u32, number: usize, text: &str) -> Vec<u8> {
    webhook_body(tenant, 56_912_345_678, &format!("wamid.hook{number}"), text)
}

fn with_messages(tenant: u32, messages: Vec<Value>) -> Vec<u8> {
    let value = json!({"metadata": {"phone_number_id": phone_number_id(tenant)},
                       "messages": messages});
    with_values(vec![value])
}

fn with_values(values: Vec<Value>) -> Vec<u8> {
    let change = |value| json!({"field": "messages", "value": value});
    let changes: Vec<Value> = values.into_iter().map(change).collect();
    let entry = json!([{"id": "1", "changes": changes}]);
    json!({"object": "whatsapp_business_account", "entry": entry}).to_string().into_bytes()
}

fn said(id: usize, text: &str) -> Value {
    json!({"from": format!("5691{:07}", id % 50), "id": format!("wamid.many{id}"),
           "timestamp": (now().0 / 1000).to_string(), "type": "text", "text": {"body": text}})
}

#[tokio::test]
async fn meta_verifies_the_address_with_the_token() {
    let hooks = Hooks::start();
    let ask = async |token: &str| {
        let url = format!("{}/webhooks/whatsapp", hooks.server.base());
        let mut url = url::Url::parse(&url).expect("a URL");
        url.query_pairs_mut()
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.challenge", "1158201444")
            .append_pair("hub.verify_token", token);
        hooks.client.get(url).send().await.expect("answered")
    };
    let answer = ask(VERIFY_TOKEN).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(
        answer.headers()["content-type"].to_str().unwrap_or_default().starts_with("text/plain")
    );
    assert_eq!(answer.text().await.expect("a body"), "1158201444");
    refused(ask("guess").await, 403, "verification_failed").await;
}

#[tokio::test]
async fn what_was_answered_with_200_outlives_kill_9() {
    let hooks = Hooks::start();
    assert_eq!(stored(hooks.cloud(message(1, 1, "uno")).await).await, (1, 0));
    let hooks = hooks.killed_and_started_again();
    assert_eq!(hooks.texts(1, 1).await, ["uno"]);
    // Meta may not have seen the answer, and posts it again.
    stored(hooks.cloud(message(1, 1, "uno")).await).await;
    stored(hooks.cloud(message(1, 2, "dos")).await).await;
    assert_eq!(hooks.texts(1, 2).await, ["uno", "dos"]);
}

#[tokio::test]
async fn a_bad_signature_leaves_nothing() {
    let hooks = Hooks::start();
    let body = || message(1, 1, "forged");
    let forged = payloads::sign("somebody else's secret", &body());
    for header in [None, Some(forged), Some("sha256=".to_owned()), Some("x".repeat(500))] {
        let header = header.map(|value| ("x-hub-signature-256", value));
        let answer = hooks.post("/webhooks/whatsapp", header, body()).await;
        refused(answer, 401, "signature_invalid").await;
    }
    let waha = br#"{"event":"message","session":"session1","payload":{}}"#.to_vec();
    let key = payloads::sign_waha(APP_SECRET, &waha);
    refused(hooks.post("/webhooks/waha", None, waha.clone()).await, 401, "signature_invalid").await;
    let answer = hooks.post("/webhooks/waha", Some(("x-webhook-hmac", key)), waha).await;
    refused(answer, 401, "signature_invalid").await;

    stored(hooks.cloud(message(1, 2, "genuine")).await).await;
    assert_eq!(hooks.texts(1, 1).await, ["genuine"], "the first there is");
    let conversations = hooks.get(1, "/v1/conversations").await;
    assert_eq!(conversations["conversations"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn garbage_in_a_webhook_costs_the_rest_nothing() {
    let hooks = Hooks::start();
    let messages = vec![
        json!(7),
        said(1, "uno"),
        json!({"from": "56910000001", "id": "wamid.odd", "type": "text", "text": 1}),
        json!(null),
        json!({"type": "text"}),
        said(2, "dos"),
        json!([[[]]]),
    ];
    stored(hooks.cloud(with_messages(1, messages)).await).await;
    let facts = hooks.facts(1, 3).await;
    let texts: Vec<&Value> = facts.iter().map(|fact| &fact["data"]["message"]["text"]).collect();
    assert_eq!(texts, [&json!("uno"), &json!("1"), &json!("dos")]);

    for body in [&b"{"[..], b"[]", b"{\"object\":\"page\"}", b"\xff"] {
        refused(hooks.cloud(body.to_vec()).await, 400, "malformed_webhook").await;
    }
}

#[tokio::test]
async fn a_thousand_updates_in_one_webhook_are_stored_once() {
    let hooks = Hooks::start();
    let messages = (0..1000).map(|number| said(number, &format!("n{number}"))).collect();
    let body = with_messages(1, messages);
    let (taken, duplicates) = stored(hooks.cloud(body.clone()).await).await;
    assert_eq!((taken, duplicates), (1000, 0));
    assert_eq!(stored(hooks.cloud(body).await).await, (0, 1000));
    let expected: Vec<String> = (0..1000).map(|number| format!("n{number}")).collect();
    assert_eq!(hooks.texts(1, 1000).await, expected, "in their order");
}

#[tokio::test]
async fn three_mebibytes_are_taken_and_more_is_refused() {
    const LIMIT_BYTES: usize = 3 * 1024 * 1024;
    let hooks = Hooks::start();
    let padded = |bytes: usize, number: usize| {
        let mut body = message(1, number, "grande");
        body.resize(bytes, b' ');
        body
    };
    assert_eq!(stored(hooks.cloud(padded(LIMIT_BYTES, 1)).await).await, (1, 0));
    refused(hooks.cloud(padded(LIMIT_BYTES + 1, 2)).await, 413, "body_too_large").await;
    assert_eq!(stored(hooks.cloud(message(1, 2, "después")).await).await, (1, 0));
}

#[tokio::test]
async fn each_tenant_gets_its_own_part_of_a_webhook() {
    let hooks = Hooks::start();
    let part = |number: &str, message: Value| json!({"metadata": {"phone_number_id": number}, "messages": [message]});
    let body = with_values(vec![
        part(&phone_number_id(1), said(1, "for one")),
        part("123", said(2, "for nobody")),
        part(&phone_number_id(2), said(3, "for two")),
    ]);
    assert_eq!(stored(hooks.cloud(body).await).await, (2, 0));
    assert_eq!(hooks.texts(1, 1).await, ["for one"]);
    assert_eq!(hooks.texts(2, 1).await, ["for two"]);
}

#[tokio::test]
async fn waha_tells_messages_once_and_each_state_when_it_was_so() {
    let hooks = Hooks::start();
    let message = |chat: &str| {
        json!({"id": format!("false_{chat}_3EB0AB"), "timestamp": now().0 / 1000,
               "from": chat, "fromMe": false, "body": "Hola", "hasMedia": false,
               "_data": {"key": {"remoteJidAlt": "56911112222@s.whatsapp.net"}}})
    };
    assert_eq!(
        stored(hooks.waha(1, 1, "message", message("56911112222@c.us")).await).await,
        (1, 0)
    );
    for (number, event, chat, taken) in [
        (2, "message.any", "56911112222@c.us", (0, 1)),
        // What is new is the lid.
        (3, "message.any", "77001@lid", (1, 0)),
        (4, "message.any", "77001@lid", (0, 1)),
    ] {
        let answer = hooks.waha(1, number, event, message(chat)).await;
        assert_eq!(stored(answer).await, taken, "{number}");
    }
    let echo = json!({"id": "true_77001@lid_3EB0AC", "timestamp": now().0 / 1000, "from": "me",
                      "to": "77001@lid", "fromMe": true, "body": "Buenas", "ack": 1});
    stored(hooks.waha(1, 5, "message.any", echo).await).await;
    let ack = json!({"id": "true_56911112222@c.us_3EB0AC", "from": "56911112222@c.us",
                     "fromMe": true, "ack": 3});
    stored(hooks.waha(1, 6, "message.ack", ack).await).await;
    let facts = hooks.facts(1, 3).await;
    let shown: Vec<(String, String)> = facts
        .iter()
        .map(|fact| (text(&fact["data"]["message"]["text"]), text(&fact["data"]["status"])))
        .collect();
    let pair = |text: &str, status: &str| (text.to_owned(), status.to_owned());
    assert_eq!(shown, [pair("Hola", ""), pair("Buenas", ""), pair("", "read")]);
    let conversations = hooks.get(1, "/v1/conversations").await;
    assert_eq!(conversations["conversations"].as_array().map(Vec::len), Some(1), "one person");

    let scan = waha_event(1, 7, "session.status", &json!({"status": "SCAN_QR_CODE"}));
    let working = json!({"status": "WORKING"});
    assert_eq!(stored(hooks.waha_body(scan.clone()).await).await, (1, 0));
    assert_eq!(stored(hooks.waha(1, 8, "session.status", working).await).await, (1, 0));
    // WAHA did not see the first answer.
    assert_eq!(stored(hooks.waha_body(scan.clone()).await).await, (0, 1));
    let hooks = hooks.killed_and_started_again();
    assert_eq!(stored(hooks.waha_body(scan.clone()).await).await, (0, 1));
    stored(hooks.cloud(webhook_body(1, 56_912_345_678, "wamid.after", "después")).await).await;
    hooks.facts(1, 4).await;
    let state = hooks.get(1, "/v1/whatsapp/state").await;
    assert_eq!(text(&state["status"]), "connected");
    let other = hooks.get(2, "/v1/whatsapp/state").await;
    assert_eq!(text(&other["status"]), "disconnected");
}

#[tokio::test]
async fn a_bridge_that_fills_a_gap_doubles_nothing() {
    let hooks = Hooks::start();
    let chat = "56911112222@c.us";
    let id = format!("false_{chat}_3EB0AB");
    let message = json!({"id": id, "timestamp": now().0 / 1000, "from": chat, "fromMe": false,
                         "body": "Hola", "hasMedia": false});
    stored(hooks.waha(1, 1, "message", message).await).await;
    let echo = json!({"id": format!("true_{chat}_3EB0AC"), "timestamp": now().0 / 1000,
                      "from": "me", "to": chat, "fromMe": true, "body": "Buenas", "ack": 1});
    stored(hooks.waha(1, 2, "message.any", echo).await).await;
    let contact = json!({"phone": "+56911112222"});
    let read = |id: &str, text: &str| {
        json!({"wa_message_id": id, "contact": contact, "text": text,
               "timestamp": "2026-11-24T10:00:00Z"})
    };
    let batch =
        json!({"messages": [read(&id, "Hola"), read("false_56911112222@c.us_3EB0AD", "¿?")]});
    let taken = hooks.ingest(1, "messages", &batch).await;
    assert_eq!((&taken["stored"], &taken["duplicates"]), (&json!(1), &json!(1)), "{taken}");
    let status = json!({"statuses": [{"wa_message_id": format!("true_{chat}_3EB0AC"),
                                      "status": "read", "timestamp": "2026-11-24T10:00:00Z"}]});
    hooks.ingest(1, "statuses", &status).await;
    let facts = hooks.facts(1, 4).await;
    let kinds: Vec<String> = facts.iter().map(|fact| text(&fact["data"]["status"])).collect();
    assert_eq!(kinds, ["", "", "", "read"]);
}

#[tokio::test]
async fn a_log_that_takes_nothing_makes_the_provider_come_again() {
    let hooks = Hooks::start();
    stored(hooks.cloud(message(1, 1, "antes")).await).await;
    let log = rusqlite::Connection::open(hooks.folder.path().join("data/log.db")).expect("the log");
    log.execute_batch("BEGIN IMMEDIATE").expect("held by somebody else");
    let answer =
        tokio::time::timeout(Duration::from_secs(30), hooks.cloud(message(1, 2, "mientras tanto")));
    let answer = answer.await.expect("answers in time");
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    assert!(wait.is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{wait:?}");
    assert_eq!(answer.status().as_u16(), 503);
    log.execute_batch("ROLLBACK").expect("given back");
    stored(hooks.cloud(message(1, 2, "mientras tanto")).await).await;
    assert_eq!(hooks.texts(1, 2).await, ["antes", "mientras tanto"], "once");
}
