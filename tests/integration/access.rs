//! Who may do what, from outside: every operation of the document without a token, with a forged
//! one, without its scope, and as another tenant; then expiry, tickets, rate limits, CORS.
//!
//! **Invariant:** an operation that the document has and this table has not fails the test.

use std::time::Duration;

use condorito::auth::Scopes;
use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::support::{
    config::{ALL_SCOPES, JWT_SECRET, TestConfig, mint_token, mint_token_for, webhook_body},
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

/// A conversation that nobody has.
const NOBODYS: u32 = 999_999;
/// What of tenant 1 nobody else may see.
const MARK: &str = "the-mark-of-tenant-one";

/// What tenant 2 gets where tenant 1 has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AsAnother {
    /// The same as for what does not exist.
    NotFound,
    /// Its own, in which nothing of tenant 1 is.
    OwnOnly,
    /// A stream of its own events.
    OwnStream,
    /// That it has no provider, as tenant 1 has none here.
    NotConnected,
}

struct Case {
    id: &'static str,
    scope: Option<&'static str>,
    body: Option<Value>,
    as_another: AsAnother,
}

fn case(id: &'static str, scope: Option<&'static str>, as_another: AsAnother) -> Case {
    Case { id, scope, body: None, as_another }
}

fn with_body(mut case: Case, body: Value) -> Case {
    case.body = Some(body);
    case
}

/// Operations for anybody, and for providers, whose signature is their token.
const OPEN: [&str; 8] = [
    "get_asyncapi",
    "get_openapi",
    "get_metrics",
    "health_live",
    "health_ready",
    "receive_waha_webhook",
    "receive_whatsapp_webhook",
    "verify_whatsapp_webhook",
];

fn cases() -> Vec<Case> {
    use AsAnother::{NotConnected, NotFound, OwnOnly, OwnStream};
    let message = json!({
        "wa_message_id": "access-1", "contact": {"phone": "56911112222"}, "type": "text", "text": "hi",
        "timestamp": "2026-11-24T10:15:30.123Z"
    });
    let (read, write) = (Some("messages:read"), Some("messages:write"));
    vec![
        case("get_snapshot", read, OwnOnly),
        case("list_conversations", read, OwnOnly),
        with_body(case("open_conversation", write, OwnOnly), json!({"phone": "+56933334444"})),
        case("get_conversation", read, NotFound),
        with_body(case("change_conversation", write, NotFound), json!({"status": "closed"})),
        case("list_messages", read, NotFound),
        with_body(case("send_message", write, NotFound), json!({"text": "hi"})),
        case("retry_message", write, NotFound),
        case("list_templates", read, NotConnected),
        case("mark_read", write, NotFound),
        case("erase_personal_data", Some("tenant:write"), NotFound),
        with_body(case("upload_media", write, OwnOnly), json!({"a": "file of text"})),
        case("get_media", read, NotFound),
        case("get_stats", read, OwnOnly),
        case("get_bot_status", read, OwnOnly),
        with_body(
            case("set_bot_status", Some("bot:write"), OwnOnly),
            json!({"status": "paused", "reason": "lunch"}),
        ),
        case("get_whatsapp_state", read, OwnOnly),
        with_body(
            case("set_whatsapp_state", Some("tenant:write"), OwnOnly),
            json!({"status": "connected"}),
        ),
        with_body(
            case("create_bulk", Some("bulk:write"), OwnOnly),
            json!({"name": "access", "text": "hi", "recipients": [{"phone": "+56933334444"}]}),
        ),
        case("list_bulks", read, OwnOnly),
        case("get_bulk", read, NotFound),
        case("list_bulk_recipients", read, NotFound),
        case("pause_bulk", Some("bulk:write"), NotFound),
        case("resume_bulk", Some("bulk:write"), NotFound),
        case("cancel_bulk", Some("bulk:write"), NotFound),
        case("get_tenant", Some("tenant:write"), NotFound),
        with_body(case("set_tenant", Some("tenant:write"), NotFound), json!({"time_zone": "UTC"})),
        case("create_ticket", None, OwnOnly),
        with_body(
            case("ingest_messages", Some("ingest:write"), OwnOnly),
            json!({"messages": [message]}),
        ),
        with_body(
            case("ingest_statuses", Some("ingest:write"), OwnOnly),
            json!({"statuses": [{"wa_message_id": "none", "status": "sent",
                    "timestamp": "2026-11-24T10:15:30.123Z"}]}),
        ),
        case("poll_events", Some("events:read"), OwnOnly),
        case("stream_events", Some("events:read"), OwnStream),
        case("connect_websocket", Some("events:read"), OwnStream),
    ]
}

struct Server {
    process: ServerProcess,
    client: reqwest::Client,
    bulk: std::sync::OnceLock<String>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(config: &TestConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = config.write(folder.path());
        let process = ServerProcess::start(&server_binary(), &path, None);
        let bulk = std::sync::OnceLock::new();
        Self { process, client: reqwest::Client::new(), bulk, _folder: folder }
    }

    async fn say(&self, tenant: u32, wamid: &str, text: &str) {
        self.say_from(tenant, 56_911_112_222, wamid, text).await;
    }

    async fn say_from(&self, tenant: u32, customer: u64, wamid: &str, text: &str) {
        let body = webhook_body(tenant, customer, wamid, text);
        post_webhook(&self.client, &self.process.base(), body).await;
    }

    async fn get(&self, path: &str, token: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.process.base()));
        request.bearer_auth(token).send().await.expect("answered")
    }

    /// Lets so many customers write to tenant 1; the number of the last one's conversation, once
    /// it is projected. Tenants count their conversations alike, so it is one that the other
    /// tenant, with fewer, does not have.
    async fn last_of_conversations(&self, count: u64, token: &str) -> Value {
        for customer in 0..count {
            let wamid = format!("wamid.ACCESS.{customer}");
            self.say_from(1, 56_922_220_000 + customer, &wamid, MARK).await;
        }
        loop {
            let list = json_of(self.get("/v1/conversations", token).await).await;
            let items = list["conversations"].as_array().or(list["items"].as_array());
            let ids = items.into_iter().flatten().filter_map(|item| item["id"].as_u64());
            if let Some(last) = ids.max().filter(|last| *last >= count) {
                return json!(last);
            }
            tokio::task::yield_now().await;
        }
    }

    fn request(&self, operation: &Operation, case: &Case, id: &Value) -> reqwest::RequestBuilder {
        // A medium's id is no number, nor is a bulk's.
        let id = match operation.path.as_str() {
            path if path.starts_with("/v1/media") => {
                "019ab4d2-7c3f-7d10-9f6e-3b1f7c2a9e55".to_owned()
            }
            path if path.starts_with("/v1/bulk/") => self.bulk_id(id),
            _ => id.to_string(),
        };
        let path = operation.path.replace("{id}", &id);
        let path = path.replace("{client_id}", "1");
        let path = path.replace("{message_id}", &uuid::Uuid::nil().to_string());
        let url = format!("{}{path}", self.process.base());
        let mut request = self.client.request(operation.method.clone(), url);
        if let Some(body) = &case.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request
    }
}

impl Server {
    /// Tenant 1's bulk, and for a conversation that nobody has a bulk that nobody has.
    fn bulk_id(&self, conversation: &Value) -> String {
        let nobodys = uuid::Uuid::from_u128(7 << 20).to_string();
        let own = self.bulk.get().filter(|_| *conversation != json!(NOBODYS));
        own.cloned().unwrap_or(nobodys)
    }

    /// Has tenant 1 schedule a bulk.
    async fn schedule_bulk(&self) {
        let later = crate::support::config::now().plus_ms(3_600_000).to_string();
        let body = json!({"name": MARK, "text": MARK, "scheduled_at": later,
            "recipients": [{"phone": "+56944445555"}]});
        let answer = self
            .client
            .post(format!("{}/v1/bulk", self.process.base()))
            .bearer_auth(mint_token(1, None))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .expect("answered");
        let id = json_of(answer).await["bulk"]["id"].as_str().expect("an id").to_owned();
        self.bulk.set(id).expect("once");
    }
}

struct Operation {
    id: String,
    method: Method,
    path: String,
}

fn operations() -> Vec<Operation> {
    let document: Value =
        serde_json::from_str(&condorito::api::document::openapi_json()).expect("JSON");
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(id) = operation["operationId"].as_str() else { continue };
            let method = method.to_uppercase().parse().expect("a method");
            operations.push(Operation { id: id.to_owned(), method, path: path.clone() });
        }
    }
    operations
}

async fn json_of(response: Response) -> Value {
    let bytes = response.bytes().await.expect("a body");
    serde_json::from_slice(&bytes).unwrap_or_default()
}

async fn code_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem = json_of(response).await;
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// A token with all scopes but `missing`; without `messages:write` it is not the bot's either.
fn without(tenant: u32, missing: &str) -> String {
    let bots = if missing == "messages:write" { "bot:write" } else { missing };
    let scopes = ALL_SCOPES.split_whitespace().filter(|scope| *scope != missing && *scope != bots);
    let scopes: Vec<&str> = scopes.collect();
    mint_token(tenant, Some(&scopes.join(" ")))
}

#[test]
fn the_table_has_every_operation_of_the_document() {
    let cases = cases();
    let known: Vec<&str> = cases.iter().map(|case| case.id).chain(OPEN).collect();
    for operation in operations() {
        let id = operation.id.as_str();
        assert!(known.contains(&id), "{id} is not proved: add it to the table of access.rs");
    }
    let documented: Vec<String> = operations().into_iter().map(|operation| operation.id).collect();
    for id in known {
        assert!(documented.iter().any(|known| known == id), "{id} is gone from the document");
    }
    for scope in cases.iter().filter_map(|case| case.scope) {
        assert!(Scopes::named(scope).is_some(), "{scope}");
    }
}

#[tokio::test]
async fn every_operation_is_closed_to_strangers_and_to_other_tenants() {
    let server = Server::start(&TestConfig::default());
    let id = server.last_of_conversations(10, &mint_token(1, None)).await;
    server.schedule_bulk().await;
    let cases = cases();
    let documented = operations();
    let walked = documented.iter().filter_map(|operation| {
        Some((operation, cases.iter().find(|case| case.id == operation.id)?))
    });
    for (operation, case) in walked {
        let name = case.id;
        if name == "connect_websocket" {
            websocket_is_closed(&server).await;
            continue;
        }
        let ask = async |token: Option<&str>, named: Option<&str>| {
            let mut request = server.request(operation, case, &id);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            if let Some(named) = named {
                request = request.header("x-client-id", named);
            }
            request.send().await.expect("answered")
        };
        let expect = |status: u16, code: &str| (status, code.to_owned());
        assert_eq!(code_of(ask(None, None).await).await, expect(401, "token_missing"), "{name}");
        let forged = forged_token();
        let answer = code_of(ask(Some(&forged), None).await).await;
        assert_eq!(answer, expect(401, "token_invalid"), "{name}");
        if let Some(scope) = case.scope {
            let answer = code_of(ask(Some(&without(1, scope)), None).await).await;
            assert_eq!(answer, expect(403, "scope_missing"), "{name} without {scope}");
        }
        let scope = case.scope.unwrap_or("");
        let other = mint_token(2, Some(scope));
        // Naming the other tenant, and one that nobody is: the same answer.
        let named = code_of(ask(Some(&other), Some("1")).await).await;
        assert_eq!(named, expect(404, "not_found"), "{name} for tenant 1");
        assert_eq!(code_of(ask(Some(&other), Some("4000000000")).await).await, named, "{name}");
        as_another(&server, operation, case, &id, &other).await;
    }
}

async fn as_another(server: &Server, operation: &Operation, case: &Case, id: &Value, token: &str) {
    let name = case.id;
    let request = server.request(operation, case, id).bearer_auth(token);
    let answer = request.send().await.expect("answered");
    match case.as_another {
        AsAnother::NotFound => {
            let nothing = server.request(operation, case, &json!(NOBODYS)).bearer_auth(token);
            let nothing = nothing.send().await.expect("answered");
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
            assert_eq!(code_of(answer).await, code_of(nothing).await, "{name}");
        }
        AsAnother::OwnOnly => {
            let status = answer.status();
            let body = answer.text().await.expect("a body");
            assert!(status.is_success(), "{name}: {status} {body}");
            assert!(!body.contains(MARK), "{name} shows another tenant's message");
        }
        AsAnother::NotConnected => {
            assert_eq!(code_of(answer).await, (409, "not_connected".to_owned()), "{name}");
        }
        AsAnother::OwnStream => {
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
            server.say(2, "wamid.ACCESS2", "mine").await;
            let seen = read_until(answer, "\"mine\"").await;
            assert!(!seen.contains(MARK), "{name} shows another tenant's message");
        }
    }
}

/// Reads a stream until `text` is in it, or it ends.
async fn read_until(response: Response, text: &str) -> String {
    let mut seen = String::new();
    let mut parts = response.bytes_stream();
    let read = async {
        while !seen.contains(text) {
            match parts.next().await {
                Some(Ok(part)) => seen.push_str(&String::from_utf8_lossy(&part)),
                _ => return,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time");
    seen
}

/// Well made, and signed with another's secret.
fn forged_token() -> String {
    use condorito::{
        auth::{
            AuthSettings,
            mint::{Mint, mint},
        },
        domain::ids::ClientId,
        runtime::secret::Secret,
    };
    let settings = AuthSettings {
        secret: Some(Secret::new(JWT_SECRET.chars().rev().collect())),
        ..AuthSettings::default()
    };
    let order = Mint {
        subject: "tester".to_owned(),
        client_id: ClientId(1),
        scopes: Scopes::ADMIN,
        ttl_s: 3600,
    };
    mint(&settings, &order, crate::support::config::now()).expect("a token")
}

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &Server, query: &str, headers: &[(&'static str, String)]) -> Socket {
    let url = format!("ws://{}/v1/ws{query}", server.process.address);
    let mut request = url.into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    tokio_tungstenite::connect_async(request).await.expect("connected").0
}

/// The close code, and the text frames before it.
async fn until_closed(socket: &mut Socket) -> (u16, Vec<String>) {
    let mut frames = Vec::new();
    let read = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => frames.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |f| f.code.into()),
                Some(Ok(_)) => {}
                _ => return 1006,
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time");
    (code, frames)
}

/// A page can't see the status of a handshake, so a WebSocket is opened and closed with a code.
async fn websocket_is_closed(server: &Server) {
    let bearer = |token: String| ("authorization", format!("Bearer {token}"));
    let other = mint_token(2, None);
    for (headers, expected) in [
        (vec![], 4401),
        (vec![bearer(forged_token())], 4401),
        (vec![bearer(without(1, "events:read"))], 4403),
        (vec![bearer(other.clone()), ("x-client-id", "1".to_owned())], 4403),
        (vec![bearer(other.clone()), ("x-client-id", "4000000000".to_owned())], 4403),
        (
            vec![("sec-websocket-protocol", format!("condorito.v1, bearer.{}", forged_token()))],
            4401,
        ),
    ] {
        let mut socket = connect(server, "", &headers).await;
        let (code, frames) = until_closed(&mut socket).await;
        assert_eq!(code, expected, "{frames:?}");
    }
    let headers = [("sec-websocket-protocol", format!("condorito.v1, bearer.{other}"))];
    let mut socket = connect(server, "", &headers).await;
    let hello = next_text(&mut socket).await;
    assert!(hello.contains("\"hello\""), "{hello}");
    server.say(1, "wamid.ACCESS3", MARK).await;
    server.say(2, "wamid.ACCESS4", "mine over ws").await;
    loop {
        let frame = next_text(&mut socket).await;
        assert!(!frame.contains(MARK), "another tenant's message");
        if frame.contains("mine over ws") {
            return;
        }
    }
}

async fn next_text(socket: &mut Socket) -> String {
    let read = async {
        loop {
            if let Message::Text(text) = socket.next().await.expect("open").expect("a frame") {
                return text.to_string();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time")
}

#[tokio::test]
async fn streams_end_with_their_token_unless_it_is_renewed() {
    let server = Server::start(&TestConfig::default());
    // The server adds its leeway of five seconds.
    let short = || mint_token_for(1, None, 1);
    let bearer = |token: String| [("authorization", format!("Bearer {token}"))];
    let mut ends = connect(&server, "", &bearer(short())).await;
    let mut renewed = connect(&server, "", &bearer(short())).await;
    let stream = server.get("/v1/events/stream", &short()).await;
    let token = mint_token(1, None);
    let renewal = json!({"type": "auth", "data": {"token": token}}).to_string();
    futures_util::SinkExt::send(&mut renewed, Message::Text(renewal.into())).await.expect("sent");

    let streamed = read_until(stream, "never said").await;
    assert!(streamed.contains("\"hello\""), "it ran until it ended: {streamed}");
    assert_eq!(until_closed(&mut ends).await.0, 4401);
    server.say(1, "wamid.RENEWED", "still here").await;
    while !next_text(&mut renewed).await.contains("still here") {}
}

#[tokio::test]
async fn a_ticket_opens_one_stream() {
    let server = Server::start(&TestConfig::default());
    let url = format!("{}/v1/tickets", server.process.base());
    let token = mint_token(1, Some("events:read"));
    let issued = server.client.post(url).bearer_auth(&token).send().await.expect("answered");
    let issued = json_of(issued).await;
    let ticket = issued["ticket"].as_str().expect("a ticket");
    let open = async || {
        let path = format!("/v1/events/stream?ticket={ticket}");
        server
            .client
            .get(format!("{}{path}", server.process.base()))
            .send()
            .await
            .expect("answered")
    };
    let first = open().await;
    assert_eq!(first.status(), StatusCode::OK);
    assert!(read_until(first, "\"hello\"").await.contains("\"hello\""));
    assert_eq!(code_of(open().await).await, (401, "token_invalid".to_owned()));
}

/// A server with tight limits and one allowed origin.
fn limited_server() -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("condorito.toml");
    let text = format!(
        "data_dir = {data:?}\n[listener]\naddress = \"127.0.0.1:0\"\n[auth]\nsecret = \
         {JWT_SECRET:?}\n[rate_limits]\nper_token_per_second = 1\nper_token_burst = 3\n[cors]\n\
         allowed_origins = [\"https://crm.example\"]\n[[tenants]]\nclient_id = 1\n",
        data = folder.path().join("data"),
    );
    std::fs::write(&path, text).expect("written");
    let process = ServerProcess::start(&server_binary(), &path, None);
    let bulk = std::sync::OnceLock::new();
    Server { process, client: reqwest::Client::new(), bulk, _folder: folder }
}

#[tokio::test]
async fn over_the_limit_is_told_in_a_way_that_pages_can_read() {
    let server = limited_server();
    let token = mint_token(1, None);
    let url = format!("{}/v1/stats", server.process.base());
    let ask = async || {
        let request = server.client.get(&url).bearer_auth(&token);
        request.header("origin", "https://crm.example").send().await.expect("answered")
    };
    let first = ask().await;
    assert_eq!(first.status(), StatusCode::OK);
    let policy = first.headers()["ratelimit-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("\"token\";q=3;w=3"), "{policy}");
    let over = loop {
        let answer = ask().await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(over.headers()["access-control-allow-origin"], "https://crm.example");
    assert_eq!(over.headers()["retry-after"], "1");
    assert!(over.headers()["ratelimit"].to_str().expect("text").contains("\"token\";r=0"));
    assert_eq!(over.headers()["content-type"], "application/problem+json");
    assert_eq!(code_of(over).await, (429, "rate_limited".to_owned()));
    let health = format!("{}/health/live", server.process.base());
    let health = server.client.get(health).send().await.expect("answered");
    assert_eq!(health.status(), StatusCode::OK, "probes are not counted");
}

#[tokio::test]
async fn preflights_let_only_the_allowed_origin_in() {
    let server = limited_server();
    let url = format!("{}/v1/conversations/1", server.process.base());
    let ask = async |origin: &str| {
        let request = server.client.request(Method::OPTIONS, &url).header("origin", origin);
        let request = request.header("access-control-request-method", "PATCH");
        request.send().await.expect("answered")
    };
    let allowed = ask("https://crm.example").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    let methods = allowed.headers()["access-control-allow-methods"].to_str().expect("text");
    assert!(methods.contains("PATCH"), "{methods}");
    let foreign = ask("https://evil.example").await;
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
}
