//! The REST interface of a running server: what each operation does, and what it says when it
//! can't.

use std::collections::BTreeSet;

use condorito::{
    domain::{event::EventData, ids::Position},
    event_log::{EventLog, sqlite::SqliteLog},
};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    config::{
        APP_SECRET, TestConfig, VERIFY_TOKEN, expired_token, mint_token, signature, webhook_body,
    },
    server::ServerProcess,
    server_binary,
    webhook::try_post_webhook,
};

/// A server of its own and a caller with all scopes but `admin`.
struct Rest {
    server: ServerProcess,
    http: reqwest::Client,
    token: String,
    _folder: TempDir,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Self { status, headers, body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    /// A problem of this kind, complete as RFC 9457 and the protocol say.
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/problems#{code}"));
        assert!(self.body["title"].is_string() && self.body["detail"].is_string());
        assert!(!self.header("x-request-id").is_empty());
    }

    /// The pointers or parameters that are named as wrong.
    fn faults(&self) -> BTreeSet<String> {
        let faults = self.body["errors"].as_array().cloned().unwrap_or_default();
        let place = |fault: &Value| {
            let place = fault.get("pointer").or(fault.get("parameter"));
            place.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        faults.iter().map(place).collect()
    }

    fn cursor(&self) -> String {
        self.body["cursor"]
            .as_str()
            .unwrap_or_else(|| panic!("no cursor: {}", self.body))
            .to_owned()
    }
}

impl Rest {
    fn start() -> Self {
        Self::with(TestConfig::default())
    }

    fn with(config: TestConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = ServerProcess::start(&server_binary(), &config.write(folder.path()), None);
        let token = mint_token(1, None);
        Self { server, http: reqwest::Client::new(), token, _folder: folder }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.base())).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.expect("answered")).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send_under(None, method, path, body).await
    }

    async fn send_under(
        &self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let mut request = self
            .request(method, path)
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Answer::of(request.send().await.expect("answered")).await
    }

    /// Opens a conversation and waits until it can be read.
    async fn open(&self, phone: &str) -> u64 {
        let opened = self
            .send(Method::POST, "/v1/conversations", json!({"phone": phone, "name": "Ana"}))
            .await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        let read = self.get(&format!("/v1/snapshot?at_least={}", opened.cursor())).await;
        assert_eq!(read.status, 200, "{}", read.body);
        opened.body["conversation"]["id"].as_u64().expect("a number")
    }

    /// Brings in messages `first..last` from this number, a second apart.
    async fn ingest(&self, phone: &str, numbers: std::ops::Range<u32>) -> Answer {
        let messages: Vec<Value> = numbers
            .map(|number| {
                json!({
                    "wa_message_id": format!("{phone}-{number}"),
                    "contact": {"phone": phone},
                    "text": format!("number {number}"),
                    "timestamp": format!("2026-11-24T10:{:02}:{:02}Z", number / 60, number % 60),
                })
            })
            .collect();
        self.send(Method::POST, "/v1/ingest/messages", json!({"messages": messages})).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_are_opened_listed_changed_and_read() {
    let rest = Rest::start();
    let first = rest.open("+1 (202) 555-0142").await;
    let again =
        rest.send(Method::POST, "/v1/conversations", json!({"phone": "0012025550142"})).await;
    assert_eq!((again.status, again.body["conversation"]["id"].as_u64()), (200, Some(first)));

    let change = json!({"status": "pending", "labels": ["vip"], "assigned_to": "ben"});
    let path = format!("/v1/conversations/{first}");
    let changed = rest.send(Method::PATCH, &path, change).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let read = rest.get(&format!("{path}?at_least={}", changed.cursor())).await;
    assert_eq!(read.body["status"], "pending");
    assert_eq!(read.body["labels"], json!(["vip"]));
    assert_eq!(read.body["assigned_to"], "ben");
    assert_eq!(read.header("cache-control"), "no-store");
    // What the write was answered with is what is read; the moment may be the append's.
    for member in ["id", "contact", "status", "labels", "assigned_to", "bot_enabled"] {
        assert_eq!(changed.body["conversation"][member], read.body[member], "{member}");
    }
    let taken_away = rest.send(Method::PATCH, &path, json!({"assigned_to": null})).await;
    assert_eq!(taken_away.body["conversation"]["assigned_to"], Value::Null);
    assert_eq!(taken_away.body["conversation"]["status"], "pending");

    let ingested = rest.ingest("+12025550142", 0..3).await;
    let read = rest.get(&format!("{path}?at_least={}", ingested.cursor())).await;
    assert!(read.body["unread_count"].as_u64() >= Some(1), "{}", read.body);
    let seen = rest.send(Method::POST, &format!("{path}/read"), Value::Null).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let read = rest.get(&format!("{path}?at_least={}", seen.cursor())).await;
    assert_eq!(read.body["unread_count"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_read_page_by_page() {
    let rest = Rest::start();
    for number in 0..5 {
        rest.open(&format!("+1202555015{number}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/conversations?limit=2".to_owned();
    loop {
        let page = rest.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let listed = page.body["conversations"].as_array().expect("a list");
        assert!(listed.len() <= 2);
        seen.extend(listed.iter().map(|conversation| conversation["id"].as_u64()));
        match page.body["next"].as_str() {
            Some(next) => path = format!("/v1/conversations?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 5);
    rest.get("/v1/conversations?after=nonsense").await.is_problem(400, "invalid_parameter");

    let ingested = rest.ingest("+12025550150", 0..5).await;
    let mut texts = Vec::new();
    let conversation = ingested_conversation(&rest, "+12025550150", &ingested.cursor()).await;
    let history = format!("/v1/conversations/{conversation}/messages?limit=2");
    let last = ingested.body["results"][4]["cursor"].as_str().expect("stored").to_owned();
    let mut path = format!("{history}&at_least={last}");
    loop {
        let page = rest.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let listed = page.body["messages"].as_array().expect("a list");
        texts.extend(listed.iter().map(|message| message["text"].as_str().map(str::to_owned)));
        match page.body["next"].as_str() {
            Some(next) => path = format!("{history}&before={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..5).rev().map(|number| Some(format!("number {number}"))).collect();
    assert_eq!(texts, expected);
    let unknown = "019ab4d2-7c3f-7d10-9f6e-3b1f7c2a9e55";
    rest.get(&format!("{history}&before={unknown}")).await.is_problem(400, "invalid_parameter");

    let found = rest.get("/v1/conversations?q=number").await;
    assert_eq!(found.body["conversations"].as_array().map(Vec::len), Some(1), "{}", found.body);
    let open = rest.get("/v1/conversations?status=closed").await;
    assert_eq!(open.body["conversations"], json!([]));
}

/// The number of the conversation with this phone.
async fn ingested_conversation(rest: &Rest, phone: &str, cursor: &str) -> u64 {
    let listed = rest.get(&format!("/v1/conversations?limit=200&at_least={cursor}")).await;
    let all = listed.body["conversations"].as_array().cloned().unwrap_or_default();
    let ours = all.iter().find(|conversation| conversation["contact"]["phone"] == phone);
    ours.and_then(|conversation| conversation["id"].as_u64()).expect("the conversation")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_repeating_harmless() {
    let rest = Rest::start();
    let id = rest.open("+12025550160").await;
    let path = format!("/v1/conversations/{id}");
    let closed = json!({"status": "closed"});
    let first = rest.send_under(Some("key-1"), Method::PATCH, &path, closed.clone()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""), "{}", first.body);
    rest.send(Method::PATCH, &path, json!({"status": "open"})).await;
    let again = rest.send_under(Some("key-1"), Method::PATCH, &path, closed).await;
    assert_eq!(again.body, first.body, "the first answer again");
    assert_eq!(again.header("idempotency-replayed"), "true");
    let read = rest.get(&format!("{path}?at_least={}", again.cursor())).await;
    assert_eq!(read.body["status"], "open", "nothing was done again");
    let other =
        rest.send_under(Some("key-1"), Method::PATCH, &path, json!({"status": "open"})).await;
    other.is_problem(422, "idempotency_key_reused");
    let wrong = rest.send_under(Some("a b"), Method::PATCH, &path, json!({})).await;
    wrong.is_problem(400, "invalid_parameter");
    assert_eq!(wrong.faults(), BTreeSet::from(["Idempotency-Key".to_owned()]));

    let open = json!({"phone": "+12025550161"});
    let opened =
        rest.send_under(Some("key-2"), Method::POST, "/v1/conversations", open.clone()).await;
    assert_eq!(opened.status, 201);
    let again = rest.send_under(Some("key-2"), Method::POST, "/v1/conversations", open).await;
    assert_eq!((again.status, &again.body), (201, &opened.body));

    let batch = json!({"messages": [{
        "wa_message_id": "idem-1",
        "contact": {"phone": "+12025550161"},
        "timestamp": "2026-11-24T10:00:00Z",
    }]});
    let taken =
        rest.send_under(Some("key-3"), Method::POST, "/v1/ingest/messages", batch.clone()).await;
    assert_eq!(taken.body["stored"], 1, "{}", taken.body);
    let again = rest.send_under(Some("key-3"), Method::POST, "/v1/ingest/messages", batch).await;
    assert_eq!(again.body, taken.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_answers_the_place_of_its_first_event_with_a_key_and_without() {
    let rest = Rest::start();
    let first_event_after = async |cursor: &str| {
        let page = rest.get(&format!("/v1/events?cursor={cursor}&wait=5&limit=1")).await;
        page.body["events"][0]["id"].as_str().expect("an event").to_owned()
    };
    let mut last = rest.get("/v1/events").await.cursor();
    for (turn, key) in [None, Some("a-key")].into_iter().enumerate() {
        let named = |what: &str| key.map(|key| format!("{key}-{what}"));
        let phone = format!("+1202555018{turn}");
        let message = json!({"messages": [{
            "wa_message_id": format!("first-{turn}"),
            "contact": {"phone": format!("+1202555019{turn}")},
            "timestamp": "2026-11-24T10:00:00Z",
        }]});
        let reason = json!({"status": "paused", "reason": format!("turn {turn}")});
        let mut id = 0;
        for what in ["open", "change", "bot", "ingest"] {
            let (method, path, body) = match what {
                "open" => (Method::POST, "/v1/conversations".to_owned(), json!({"phone": phone})),
                "change" => {
                    let path = format!("/v1/conversations/{id}");
                    (Method::PATCH, path, json!({"labels": [format!("turn {turn}")]}))
                }
                "bot" => (Method::PUT, "/v1/bot/status".to_owned(), reason.clone()),
                _ => (Method::POST, "/v1/ingest/messages".to_owned(), message.clone()),
            };
            let before = rest.get(&format!("/v1/events?at_least={last}")).await.cursor();
            let key = named(what);
            let done = rest.send_under(key.as_deref(), method.clone(), &path, body.clone()).await;
            last = done.cursor();
            assert_eq!(last, first_event_after(&before).await, "{what} {key:?}");
            if key.is_some() {
                let again = rest.send_under(key.as_deref(), method, &path, body).await;
                assert_eq!(again.body, done.body);
            }
            id = done.body["conversation"]["id"].as_u64().unwrap_or(id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_is_too_long_keeps_no_other_from_being_stored() {
    let rest = Rest::start();
    let message = |id: &str, raw: &str| {
        json!({"wa_message_id": id, "contact": {"phone": "+12025550199"},
               "payload": {"raw": raw}, "timestamp": "2026-11-24T10:00:00Z"})
    };
    let long = "x".repeat(5 * 1024 * 1024);
    let batch = json!({"messages": [message("short", "x"), message("long", &long)]});
    let taken = rest.send(Method::POST, "/v1/ingest/messages", batch).await;
    assert_eq!((taken.status, &taken.body["stored"]), (200, &json!(1)));
    let errors = &taken.body["results"][1]["errors"];
    assert_eq!(errors[0]["pointer"], "/messages/1/payload", "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_answered_item_by_item() {
    let rest = Rest::start();
    let message = |id: &str, phone: &str| {
        json!({
            "wa_message_id": id,
            "contact": {"phone": phone},
            "text": "hola",
            "timestamp": "2026-11-24T07:00:00-03:00",
        })
    };
    let batch = json!({"messages": [
        message("m1", "+12025550170"),
        message("m2", "not a number"),
        {"wa_message_id": "m3", "contact": {}, "timestamp": "yesterday", "typ": "text"},
        message("m1", "+12025550170"),
    ]});
    let taken = rest.send(Method::POST, "/v1/ingest/messages", batch.clone()).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    let outcomes: Vec<_> =
        taken.body["results"].as_array().unwrap().iter().map(|item| &item["outcome"]).collect();
    assert_eq!(outcomes, ["stored", "rejected", "rejected", "duplicate"], "{}", taken.body);
    let wrong = &taken.body["results"][2]["errors"];
    let pointers: BTreeSet<_> =
        wrong.as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, BTreeSet::from(["/messages/2/timestamp", "/messages/2/typ"]));
    let place = |cursor: &str| -> u64 {
        cursor.split('-').nth(1).and_then(|place| place.parse().ok()).expect("a cursor")
    };
    let item = place(taken.body["results"][0]["cursor"].as_str().unwrap());
    assert_eq!(place(&taken.cursor()), item - 1, "the contact's opening is the first event");
    let again = rest.send(Method::POST, "/v1/ingest/messages", batch).await;
    assert_eq!(again.body["duplicates"], 2);

    let outbound = json!({"messages": [{
        "wa_message_id": "o1",
        "contact": {"phone": "+12025550170"},
        "direction": "outbound",
        "text": "we are here",
        "timestamp": "2026-11-24T10:01:00Z",
    }]});
    rest.send(Method::POST, "/v1/ingest/messages", outbound).await;
    let statuses = json!({"statuses": [
        {"wa_message_id": "o1", "status": "read", "timestamp": "2026-11-24T10:02:00Z"},
        {"wa_message_id": "o1", "status": "received", "timestamp": "2026-11-24T10:02:00Z"},
    ]});
    let told = rest.send(Method::POST, "/v1/ingest/statuses", statuses).await;
    assert_eq!(told.body["results"][0]["outcome"], "stored", "{}", told.body);
    assert_eq!(told.body["results"][1]["errors"][0]["pointer"], "/statuses/1/status");
    let stats = rest.get(&format!("/v1/stats?at_least={}", told.cursor())).await;
    assert_eq!(stats.body["stats"]["read"], 1, "{}", stats.body);

    let many: Vec<Value> = (0..1001).map(|id| message(&format!("x{id}"), "+12025550170")).collect();
    let refused = rest.send(Method::POST, "/v1/ingest/messages", json!({"messages": many})).await;
    refused.is_problem(422, "validation_failed");
    assert_eq!(refused.faults(), BTreeSet::from(["/messages".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_has_one_name_in_the_log_whatever_the_transport() {
    let rest = Rest::start();
    let conversation = rest.open("+12025550191").await;
    let mark_over_rest = async || {
        let path = format!("/v1/conversations/{conversation}/read");
        let marked = rest.send(Method::POST, &path, Value::Null).await;
        assert_eq!(marked.status, 200, "{}", marked.body);
    };
    let ingested = rest.ingest("+12025550191", 0..1).await;
    rest.get(&format!("/v1/stats?at_least={}", ingested.cursor())).await;
    mark_over_rest().await;
    let ingested = rest.ingest("+12025550191", 1..2).await;
    rest.get(&format!("/v1/stats?at_least={}", ingested.cursor())).await;
    let url = format!("ws://{}/v1/ws?access_token={}", rest.server.address, rest.token);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("connected");
    let command = json!({"type": "mark_read", "ref": 1, "data": {"conversation_id": conversation}});
    socket.send(Message::text(command.to_string())).await.expect("sent");
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(frame) = message else { continue };
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        assert_ne!(frame["type"], "error", "{frame}");
        if frame["type"] == "ack" {
            break;
        }
    }
    let Rest { server, _folder: folder, .. } = rest;
    server.kill();
    let path = folder.path().join("data/log.db");
    let log = SqliteLog::open(&path).expect("the log");
    let records = log.read(Position::START, usize::MAX).await.expect("records");
    let readers: Vec<&str> = records
        .iter()
        .filter(|record| matches!(record.event.data, EventData::ConversationRead { .. }))
        .map(|record| record.event.actor.as_str())
        .collect();
    assert_eq!(readers, ["user:tester", "user:tester"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_come_as_a_series_in_the_tenants_days() {
    let rest = Rest::start();
    let ingested = rest.ingest("+12025550180", 0..3).await;
    let at_least = ingested.body["results"][2]["cursor"].as_str().unwrap().to_owned();
    let plain = rest.get(&format!("/v1/stats?at_least={at_least}")).await;
    assert_eq!(plain.body["stats"]["received"], 3, "{}", plain.body);
    assert_eq!(plain.body["series"], Value::Null);
    let hours = rest.get("/v1/stats?bucket=hour").await;
    let points = hours.body["series"]["points"].as_array().expect("points");
    let sum = |series: &Value| -> i64 {
        let points = series["points"].as_array().expect("points");
        points.iter().filter_map(|point| point["received"].as_i64()).sum()
    };
    assert!((24..=25).contains(&points.len()), "{}", points.len());
    let days = rest.get("/v1/stats?from=2026-11-01T00:00:00Z&bucket=day").await;
    assert_eq!(days.body["series"]["bucket"], "day");
    let zone = days.body["series"]["time_zone"].as_str().unwrap_or_default();
    assert_eq!(zone, "America/Santiago");
    // Santiago is three hours behind in summer.
    let start = days.body["series"]["points"][1]["start"].as_str().unwrap_or_default();
    assert!(start.ends_with("T03:00:00.000Z"), "{start}");
    // They count for the hour in which they came in, whenever they were sent.
    assert_eq!(sum(&hours.body["series"]), 3, "{}", hours.body);
    assert_eq!(sum(&days.body["series"]), 3, "{}", days.body);
    for wrong in
        ["from=yesterday", "bucket=week", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"]
    {
        rest.get(&format!("/v1/stats?{wrong}")).await.is_problem(400, "invalid_parameter");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_and_the_connection_are_told_and_read() {
    let rest = Rest::start();
    let set = json!({"status": "paused", "reason": "lunch"});
    let set = rest.send(Method::PUT, "/v1/bot/status", set).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let read = rest.get(&format!("/v1/bot/status?at_least={}", set.cursor())).await;
    assert_eq!((&read.body["status"], &read.body["reason"]), (&json!("paused"), &json!("lunch")));
    assert_eq!(set.body["botStatus"]["status"], read.body["status"]);
    assert_eq!(set.body["botStatus"]["changed_by"], read.body["changed_by"]);

    let set = json!({"status": "connected", "phone_number": "+12025550100"});
    let set = rest.send(Method::PUT, "/v1/whatsapp/state", set).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let read = rest.get(&format!("/v1/whatsapp/state?at_least={}", set.cursor())).await;
    assert_eq!(read.body["phone_number"], "+12025550100", "{}", read.body);
    assert_eq!(read.body["qr"], Value::Null);

    let snapshot = rest.get(&format!("/v1/snapshot?at_least={}", set.cursor())).await;
    assert_eq!(snapshot.body["botStatus"]["status"], "paused");
    assert_eq!(snapshot.body["whatsappState"]["status"], "connected");
    assert!(snapshot.body["bulks"].is_array() && snapshot.body["cursor"].is_string());
    let ticket = rest.send(Method::POST, "/v1/tickets", Value::Null).await;
    assert!(ticket.body["ticket"].is_string() && ticket.body["expires_at"].is_string());
    let path = format!("/v1/bot/status?ticket={}", ticket.body["ticket"].as_str().unwrap());
    let url = format!("{}{path}", rest.server.base());
    assert_eq!(rest.http.get(&url).send().await.unwrap().status(), StatusCode::OK);
    let spent = Answer::of(rest.http.get(&url).send().await.unwrap()).await;
    spent.is_problem(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_as_a_problem() {
    let rest = Rest::start();
    rest.get("/v1/nowhere").await.is_problem(404, "route_not_found");
    rest.get("/v1/conversations/999").await.is_problem(404, "not_found");
    rest.get("/v1/conversations/999/messages").await.is_problem(404, "not_found");
    for wrong in ["abc", "0", "-1", "99999999999", "1.5"] {
        let answer = rest.get(&format!("/v1/conversations/{wrong}")).await;
        answer.is_problem(400, "invalid_parameter");
    }
    let limit = rest.get("/v1/conversations?limit=201").await;
    limit.is_problem(400, "invalid_parameter");
    assert_eq!(limit.faults(), BTreeSet::from(["limit".to_owned()]));
    assert!(limit.body["detail"].as_str().unwrap().contains("at most 200"));
    let method = rest.send(Method::DELETE, "/v1/bot/status", json!({})).await;
    method.is_problem(405, "method_not_allowed");
    assert_eq!(method.header("allow"), "GET, HEAD, OPTIONS, PUT");

    let bodies = |body: &'static str, content_type: &'static str| {
        let request = rest.request(Method::PUT, "/v1/bot/status");
        let request = request.header("content-type", content_type).body(body);
        async move { Answer::of(request.send().await.expect("answered")).await }
    };
    bodies("{", "application/json").await.is_problem(400, "invalid_json");
    bodies("{}", "text/plain").await.is_problem(415, "unsupported_media_type");
    bodies("[]", "application/json").await.is_problem(422, "validation_failed");
    let several =
        bodies(r#"{"status":"asleep","reasn":"x"}"#, "application/json; charset=utf-8").await;
    several.is_problem(422, "validation_failed");
    assert_eq!(several.faults(), BTreeSet::from(["/status".to_owned(), "/reasn".to_owned()]));
    let long = json!({"status": "active", "reason": "x".repeat(70_000)});
    let long = rest.send(Method::PUT, "/v1/bot/status", long).await;
    long.is_problem(413, "body_too_large");
    let phone = rest.send(Method::POST, "/v1/conversations", json!({"phone": "12"})).await;
    phone.is_problem(422, "validation_failed");
    assert_eq!(phone.faults(), BTreeSet::from(["/phone".to_owned()]));
    let address = rest.get(&format!("/v1/conversations?q={}", "x".repeat(9_000))).await;
    address.is_problem(414, "uri_too_long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_waits_or_says_why_not() {
    let more = "[api]\nat_least_wait_ms = 200".to_owned();
    let rest = Rest::with(TestConfig { more, ..TestConfig::default() });
    rest.open("+12025550190").await;
    let cursor = rest.get("/v1/snapshot").await.cursor();
    assert_eq!(rest.get(&format!("/v1/snapshot?at_least={cursor}")).await.status, 200);
    let (epoch, _) = cursor.split_once('-').expect("a cursor");
    let future = rest.get(&format!("/v1/snapshot?at_least={epoch}-999999999-0")).await;
    future.is_problem(504, "not_projected_yet");
    assert!(!future.header("retry-after").is_empty());
    let other = rest.get("/v1/snapshot?at_least=zzzzz-1-0").await;
    other.is_problem(410, "unknown_cursor");
    assert!(other.cursor().starts_with(epoch));
    rest.get("/v1/snapshot?at_least=nonsense").await.is_problem(400, "invalid_parameter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_asks_for_its_token_and_its_scope() {
    let rest = Rest::start();
    let document = rest.get("/openapi.json").await.body;
    let no_scope = mint_token(1, Some(""));
    let expired = expired_token(1);
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let is_open = operation["security"].as_array().is_none_or(Vec::is_empty);
            // A WebSocket is asked for its upgrade first; `access.rs` proves its tokens.
            if is_open || path == "/v1/ws" {
                continue;
            }
            asked += 1;
            let method: Method = method.to_uppercase().parse().expect("a method");
            let url = format!("{}{}", rest.server.base(), path.replace("{id}", "1"));
            let ask = |token: Option<&str>| {
                let request = rest.http.request(method.clone(), &url);
                let request = request.header("content-type", "application/json").body("{}");
                let request = match token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                };
                async move { Answer::of(request.send().await.expect("answered")).await }
            };
            let missing = ask(None).await;
            assert_eq!(missing.status, 401, "{method} {path}");
            missing.is_problem(401, "token_missing");
            assert_eq!(missing.header("www-authenticate"), "Bearer realm=\"condorito\"");
            ask(Some("nonsense")).await.is_problem(401, "token_invalid");
            ask(Some(&expired)).await.is_problem(401, "token_expired");
            if let Some(scope) = operation["x-required-scope"].as_str() {
                let refused = ask(Some(&no_scope)).await;
                assert_eq!(refused.status, 403, "{method} {path}: {}", refused.body);
                refused.is_problem(403, "scope_missing");
                assert!(refused.body["detail"].as_str().unwrap().contains(scope), "{path}");
                assert!(refused.header("www-authenticate").contains(scope), "{path}");
            }
        }
    }
    assert!(asked >= 15, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_things_do_not_exist() {
    let rest = Rest::start();
    let id = rest.open("+12025550195").await;
    let path = format!("/v1/conversations/{id}");
    let stranger = Rest { token: mint_token(2, None), ..rest };
    stranger.get(&path).await.is_problem(404, "not_found");
    stranger.get(&format!("{path}/messages")).await.is_problem(404, "not_found");
    let closed = json!({"status": "closed"});
    stranger.send(Method::PATCH, &path, closed).await.is_problem(404, "not_found");
    stranger
        .send(Method::POST, &format!("{path}/read"), json!({}))
        .await
        .is_problem(404, "not_found");
    assert_eq!(stranger.get("/v1/conversations").await.body["conversations"], json!([]));
    assert_eq!(stranger.get("/v1/snapshot").await.body["conversations"], json!([]));
    assert_eq!(stranger.get("/v1/conversations?q=Ana").await.body["conversations"], json!([]));
    let named = stranger.request(Method::GET, &path).header("x-client-id", "1");
    Answer::of(named.send().await.unwrap()).await.is_problem(404, "not_found");
    let admin = mint_token(2, Some("admin"));
    let named = stranger.http.get(format!("{}{path}", stranger.server.base()));
    let named = named.bearer_auth(admin).header("x-client-id", "1").send().await.unwrap();
    assert_eq!(named.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_taken_signed_and_durable() {
    let rest = Rest::start();
    let base = rest.server.base();
    let post = async |body| {
        Answer::of(try_post_webhook(&rest.http, &base, body).await.expect("answered")).await
    };
    let post_under = |body: Vec<u8>, signature: Option<String>| {
        let request = rest.http.post(format!("{base}/webhooks/whatsapp")).body(body);
        let request = match signature {
            Some(signature) => request.header("x-hub-signature-256", signature),
            None => request,
        };
        async move { Answer::of(request.send().await.expect("answered")).await }
    };
    let body = webhook_body(1, 12_025_550_199, "wamid.rest1", "hola");
    let taken = post(body.clone()).await;
    assert_eq!((taken.status, &taken.body["stored"]), (200, &json!(1)), "{}", taken.body);
    let again = post(body.clone()).await;
    assert_eq!((again.status, &again.body["duplicates"]), (200, &json!(1)), "{}", again.body);
    let mut changed = body.clone();
    changed.push(b' ');
    let signed = signature(&body);
    post_under(changed, Some(signed)).await.is_problem(401, "signature_invalid");
    post_under(body, None).await.is_problem(401, "signature_invalid");
    post(b"hello".to_vec()).await.is_problem(400, "malformed_webhook");
    post(vec![b' '; 3 * 1024 * 1024 + 1]).await.is_problem(413, "body_too_large");

    let handshake = |token: &str| {
        let query =
            [("hub.mode", "subscribe"), ("hub.challenge", "11582"), ("hub.verify_token", token)];
        let url = url::Url::parse_with_params(&format!("{base}/webhooks/whatsapp"), query);
        rest.http.get(url.expect("a URL")).send()
    };
    let verified = handshake(VERIFY_TOKEN).await.expect("answered");
    assert_eq!(verified.status(), StatusCode::OK);
    assert_eq!(verified.text().await.unwrap(), "11582");
    let refused = Answer::of(handshake(APP_SECRET).await.expect("answered")).await;
    refused.is_problem(403, "verification_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_and_pages_come_from_here() {
    let rest = Rest::start();
    for path in ["/", "/docs", "/openapi.json"] {
        let refused = rest.send(Method::POST, path, json!({})).await;
        refused.is_problem(405, "method_not_allowed");
        assert!(refused.header("allow").starts_with("GET, HEAD"), "{path}");
    }
    for (path, committed) in [
        ("/openapi.json", include_str!("../../openapi/openapi.json")),
        ("/asyncapi.json", include_str!("../../openapi/asyncapi.json")),
    ] {
        let served = rest.get(path).await;
        let committed: Value = serde_json::from_str(committed).expect("JSON");
        assert_eq!(served.body, committed, "{path}");
        let again = rest.request(Method::GET, path).header("if-none-match", served.header("etag"));
        assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    }
    for path in
        ["/docs", "/docs/swagger-ui.js", "/docs/swagger-ui.css", "/docs/start.js", "/problems"]
    {
        let page = rest.http.get(format!("{}{path}", rest.server.base())).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
    }
}
