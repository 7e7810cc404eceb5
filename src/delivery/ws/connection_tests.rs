//! The contract of a WebSocket, over a real socket: listener, handshake, session, connection.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use poem::Route;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use super::super::{Desk, WebSocketEndpoint, WebSocketSettings};
use crate::{
    auth::{AuthError, Credentials, Identity, Scopes, Token},
    command::CommandError,
    delivery::{
        listener::{Listener, ListenerSettings},
        sessions::{ReadModel, Sessions},
        settings::{DeliverySettings, ReadBounds},
    },
    domain::{
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    event_log::LogError,
    feed::{FeedSettings, hub::Hub, past::Past},
    projection::{
        CommittedBatch, FeedSink, PublicFrame,
        queries::{FeedPage, QueryError},
    },
    runtime::{
        clock::{Clock, ManualClock},
        shutdown::Shutdown,
    },
    wire::{
        cursor::Cursor, event_type::EventType, problem::Problem, send::SendMessage, types::Snapshot,
    },
};

use super::*;

const EPOCH: &str = "k3v9q";
const NOW: Timestamp = Timestamp(1_795_515_330_123);
const TENANT: ClientId = ClientId(7);

/// A store with nothing in it but a head.
struct Empty;

#[async_trait]
impl Past for Empty {
    fn epoch(&self) -> &str {
        EPOCH
    }

    fn projected(&self) -> Position {
        Position(100)
    }

    async fn page(&self, _: ClientId, after: Cursor, _: usize) -> Result<FeedPage, QueryError> {
        Ok(FeedPage { frames: Vec::new(), scanned_to: after, at_head: true })
    }

    async fn floor(&self, _: ClientId) -> Result<Cursor, QueryError> {
        Ok(Cursor::START)
    }

    async fn backlog(&self, _: ClientId, _: Cursor, _: u64) -> Result<u64, QueryError> {
        Ok(0)
    }

    async fn log_head(&self) -> Result<Position, LogError> {
        Ok(Position(1_000_000))
    }
}

#[async_trait]
impl ReadModel for Empty {
    async fn snapshot(&self, _: ClientId, _: usize) -> Result<Snapshot, QueryError> {
        Err(QueryError::Broken("there is no snapshot here".to_owned()))
    }

    async fn feed_at(&self, _: ClientId, _: Timestamp) -> Result<Cursor, QueryError> {
        Ok(Cursor::START)
    }

    /// 1 exists, and 2 was merged into it.
    async fn conversation(
        &self,
        _: ClientId,
        id: ConversationId,
    ) -> Result<Option<ConversationId>, QueryError> {
        Ok(matches!(id.0, 1 | 2).then_some(ConversationId(1)))
    }

    async fn complete(&self) -> Result<(), QueryError> {
        Ok(())
    }
}

/// Tokens of the form `subject.scopes.seconds-left`.
struct FakeDesk;

#[async_trait]
impl Desk for FakeDesk {
    async fn identify(&self, credentials: &Credentials) -> Result<Identity, AuthError> {
        match credentials.token()? {
            Token::Jwt(jwt) => self.verify(jwt).await,
            Token::Ticket(_) => Err(AuthError::Missing),
        }
    }

    async fn verify(&self, jwt: &str) -> Result<Identity, AuthError> {
        let mut parts = jwt.split('.');
        let (Some(subject), Some(scopes), Some(seconds)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(AuthError::Invalid { reason: "it is not of the test's form" });
        };
        let seconds: i64 = seconds.parse().expect("a number");
        let scopes = match scopes {
            "read" => Scopes::EVENTS_READ,
            "bot" => Scopes::EVENTS_READ.with(Scopes::BOT_WRITE),
            "write" => Scopes::EVENTS_READ.with(Scopes::MESSAGES_WRITE),
            _ => Scopes::default(),
        };
        let expires_at = NOW.plus_ms(seconds * 1_000);
        Ok(Identity { subject: subject.to_owned(), client_id: TENANT, scopes, expires_at })
    }

    async fn mark_read(
        &self,
        identity: &Identity,
        conversation: ConversationId,
    ) -> Result<Position, CommandError> {
        assert_eq!(identity.client_id, TENANT);
        match conversation {
            ConversationId(1) => Ok(Position(123)),
            _ => Err(CommandError::NotFound),
        }
    }

    async fn send(
        &self,
        identity: &Identity,
        conversation: ConversationId,
        body: SendMessage,
    ) -> Result<(Value, Position), Problem> {
        assert_eq!(identity.client_id, TENANT);
        match conversation {
            ConversationId(1) => Ok((json!({"text": body.text}), Position(124))),
            _ => Err(CommandError::WindowClosed.into()),
        }
    }

    fn typing(&self, identity: &Identity, conversation: ConversationId, _: bool) {
        assert_eq!((identity.client_id, conversation), (TENANT, ConversationId(1)));
    }
}

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    hub: Arc<Hub>,
    sessions: Arc<Sessions>,
    clock: Arc<ManualClock>,
    next_position: u64,
}

fn start(settings: WebSocketSettings) -> Running {
    let shutdown = Shutdown::new();
    let hub = Hub::start(Arc::new(Empty), FeedSettings::default(), &shutdown);
    let clock = Arc::new(ManualClock::at(NOW));
    let sessions = Sessions::new(
        hub.clone(),
        Arc::new(Empty),
        clock.clone() as Arc<dyn Clock>,
        DeliverySettings::default(),
        ReadBounds { snapshot_conversations_max: 500, at_least_wait: Duration::from_secs(5) },
        shutdown.clone(),
    );
    let endpoint = WebSocketEndpoint::new(Arc::new(FakeDesk), sessions.clone(), settings);
    let listener = Listener::bind(ListenerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..ListenerSettings::default()
    })
    .expect("a free port");
    let address = listener.local_address();
    let serving = shutdown.clone();
    let routes = Route::new().at("/v1/ws", endpoint);
    shutdown.spawn(async move { listener.serve(routes, serving).await });
    Running { address, shutdown, hub, sessions, clock, next_position: 101 }
}

impl Running {
    /// Puts an event of this many bytes into the feed.
    fn publish(&mut self, event_type: EventType, text: &str) {
        self.publish_of(None, event_type, text);
    }

    fn publish_of(
        &mut self,
        conversation_id: Option<ConversationId>,
        event_type: EventType,
        text: &str,
    ) {
        let cursor = Cursor { position: Position(self.next_position), ordinal: 0 };
        self.next_position += 1;
        let name = event_type.as_str();
        let id = cursor.display(EPOCH).to_string();
        let json = json!({"id": id, "type": name, "data": {"text": text}}).to_string();
        self.hub.committed(&CommittedBatch {
            position: cursor.position,
            frames: vec![PublicFrame {
                client_id: TENANT,
                cursor,
                event_type,
                key: 0,
                conversation_id,
                json: Bytes::from(json),
                taken_in_at: NOW,
            }],
            erased: Vec::new(),
        });
    }

    async fn connect(&self, token: &str, query: &str) -> Client {
        let url = format!("ws://{}/v1/ws?{query}", self.address);
        let mut request = url.into_client_request().expect("a request");
        if !token.is_empty() {
            let offer = format!("condorito.v1, bearer.{token}");
            let offer = offer.parse().expect("a header");
            request.headers_mut().insert("sec-websocket-protocol", offer);
        }
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let (socket, _) =
            tokio_tungstenite::client_async(request, stream).await.expect("a handshake");
        Client(socket)
    }

    /// A client that speaks by itself, its handshake done.
    async fn connect_raw(&self, extensions: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let request = format!(
            "GET /v1/ws?access_token=ann.read.9000 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n{extensions}\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    async fn stop(self) {
        self.shutdown.draining.cancel();
        self.shutdown.stopping.cancel();
        self.shutdown.tasks.close();
        self.shutdown.tasks.wait().await;
        assert_eq!(self.sessions.connections(), 0);
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    /// The next text frame.
    async fn next(&mut self) -> Value {
        loop {
            match self.0.next().await.expect("more").expect("a frame") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn hello(&mut self) {
        let hello = self.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        assert_eq!(hello["data"]["protocol"], 1);
    }

    async fn say(&mut self, command: Value) {
        self.0.send(Message::text(command.to_string())).await.expect("sent");
    }

    /// Reads on until the close frame: its code and reason.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.0.next().await.expect("a close frame").expect("a frame") {
                Message::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Close(None) => return (1005, String::new()),
                _ => {}
            }
        }
    }
}

fn closes(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn events_flow_and_commands_are_answered_in_order() {
    let mut server = start(WebSocketSettings::default());
    let mut client = server.connect("ann.write.9000", "").await;
    client.hello().await;
    server.publish(EventType::NewMessage, "first");
    assert_eq!(client.next().await["data"]["text"], "first");
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.next().await, json!({"type": "pong", "data": {}}));
    for (command, answer) in [
        (
            json!({"type": "mark_read", "ref": "m1", "data": {"conversation_id": 1}}),
            json!({"type": "ack", "data": {"ref": "m1", "cursor": "k3v9q-123-0"}}),
        ),
        (
            json!({"type": "mark_read", "ref": 2, "data": {"conversation_id": 9}}),
            json!({"type": "error", "data": {"ref": 2, "code": "not_found", "message": "there is no such conversation"}}),
        ),
        (
            json!({"type": "typing", "data": {"conversation_id": 1, "typing": true}}),
            json!({"type": "ack", "data": {"ref": null}}),
        ),
        (
            json!({"type": "typing", "ref": 3, "data": {"conversation_id": 9, "typing": true}}),
            json!({"type": "error", "data": {"ref": 3, "code": "not_found"}}),
        ),
        (
            json!({"type": "subscribe", "ref": "s", "data": {"types": ["stats_updated"]}}),
            json!({"type": "ack", "data": {"ref": "s"}}),
        ),
    ] {
        client.say(command).await;
        let got = client.next().await;
        if answer["type"] == "error" {
            assert_eq!(got["data"]["code"], answer["data"]["code"]);
            assert_eq!(got["data"]["ref"], answer["data"]["ref"]);
        } else {
            assert_eq!(got, answer);
        }
    }
    client.say(json!({"type": "subscribe", "ref": "c", "data": {"conversation_id": 2}})).await;
    assert_eq!(client.next().await, json!({"type": "ack", "data": {"ref": "c"}}));
    server.publish_of(Some(ConversationId(3)), EventType::NewMessage, "another's");
    server.publish_of(Some(ConversationId(2)), EventType::NewMessage, "before the merge");
    assert_eq!(client.next().await["data"]["text"], "before the merge");
    server.publish_of(Some(ConversationId(1)), EventType::NewMessage, "after the merge");
    assert_eq!(client.next().await["data"]["text"], "after the merge");
    client.say(json!({"type": "subscribe", "data": {"types": ["stats_updated"]}})).await;
    assert_eq!(client.next().await["type"], "ack");
    server.publish(EventType::NewMessage, "hidden");
    server.publish(EventType::StatsUpdated, "seen");
    assert_eq!(client.next().await["data"]["text"], "seen");
    client.0.close(None).await.expect("closed");
    assert_eq!(client.closed().await, closes(1005, ""));
    server.stop().await;
}

#[tokio::test]
async fn a_reader_may_not_write_and_lives_on() {
    let server = start(WebSocketSettings::default());
    let mut client = server.connect("ann.read.9000", "").await;
    client.hello().await;
    client.say(json!({"type": "mark_read", "ref": 1, "data": {"conversation_id": 1}})).await;
    let refused = client.next().await;
    assert_eq!(refused["data"]["code"], "scope_missing", "{refused}");
    for (command, data) in [
        ("send_message", json!({"conversation_id": 1, "text": "hola"})),
        ("typing", json!({"conversation_id": 1, "typing": true})),
    ] {
        client.say(json!({"type": command, "ref": "x", "data": data})).await;
        assert_eq!(client.next().await["data"]["code"], "scope_missing", "{command}");
    }
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.next().await["type"], "pong");
    server.stop().await;
}

#[tokio::test]
async fn a_message_is_sent_and_acknowledged_with_itself() {
    let server = start(WebSocketSettings::default());
    for token in ["ann.write.9000", "bot.bot.9000"] {
        let mut client = server.connect(token, "").await;
        client.hello().await;
        let data = json!({"conversation_id": 1, "text": "hola"});
        client.say(json!({"type": "send_message", "ref": 7, "data": data})).await;
        let cursor = format!("{EPOCH}-124-0");
        let expected = json!({"ref": 7, "message": {"text": "hola"}, "cursor": cursor});
        assert_eq!(client.next().await["data"], expected);
        let data = json!({"conversation_id": 2, "text": "hola"});
        client.say(json!({"type": "send_message", "ref": 8, "data": data})).await;
        assert_eq!(client.next().await["data"]["code"], "window_closed");
        let data = json!({"conversation_id": 1, "typing": true});
        client.say(json!({"type": "typing", "ref": 9, "data": data})).await;
        assert_eq!(client.next().await["data"], json!({"ref": 9}));
    }
    server.stop().await;
}

#[tokio::test]
async fn who_may_not_connect_learns_why_from_the_close_code() {
    let server = start(WebSocketSettings::default());
    for (token, query, error, close) in [
        ("", "", "token_missing", closes(4401, "token_missing")),
        ("ann", "", "token_invalid", closes(4401, "token_invalid")),
        ("ann.read.0", "", "token_expired", closes(4401, "token_expired")),
        ("ann.none.9000", "", "scope_missing", closes(4403, "scope_missing")),
        ("ann.read.9000", "types=x", "invalid_parameter", closes(4400, "invalid_parameter")),
    ] {
        let mut client = server.connect(token, query).await;
        let frame = client.next().await;
        assert_eq!(frame["data"]["code"], error, "{token} {query}: {frame}");
        assert_eq!(client.closed().await, close, "{token} {query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_clients_must_not_send_ends_the_connection() {
    let server = start(WebSocketSettings::default());
    let text = |text: String| vec![Message::text(text)];
    for (messages, close) in [
        (vec![Message::binary(vec![1, 2])], closes(1003, "text frames only")),
        (text("x".repeat(70_000)), closes(1009, "")),
        (vec![Message::text("{\"type\":\"ping\"}"); 120], closes(4429, "rate_limited")),
    ] {
        let mut client = server.connect("ann.read.9000", "").await;
        client.hello().await;
        for message in messages {
            client.0.feed(message).await.expect("written");
        }
        client.0.flush().await.expect("sent");
        assert_eq!(client.closed().await, close);
    }
    let mut empty = server.connect_raw("").await;
    // The beginning of a text, and then nothing, again and again.
    let frames = [&[0x01, 0x80, 0, 0, 0, 0][..], &[0x00, 0x80, 0, 0, 0, 0].repeat(100)].concat();
    empty.write_all(&frames).await.expect("written");
    let mut bytes = Vec::new();
    empty.read_to_end(&mut bytes).await.expect("an end in order");
    assert!(bytes.ends_with(&[0x88, 2, 0x03, 0xf0]), "{bytes:02x?}");
    let mut unmasked = server.connect_raw("").await;
    unmasked.write_all(&[0x81, 0x00]).await.expect("written");
    let mut bytes = Vec::new();
    unmasked.read_to_end(&mut bytes).await.expect("an end in order");
    assert!(bytes.ends_with(&[0x88, 2, 0x03, 0xea]), "{bytes:02x?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_dropped_and_one_that_does_lives() {
    let server = start(WebSocketSettings::default());
    let mut silent = server.connect_raw("").await;
    let mut alive = server.connect("ann.read.9000", "ping=true").await;
    alive.hello().await;
    let heartbeat = server.sessions.settings().heartbeat();
    let began = Instant::now();
    let mut bytes = Vec::new();
    tokio::select! {
        read = silent.read_to_end(&mut bytes) => drop(read.expect("an end in order")),
        _ = async { loop { assert_eq!(alive.next().await["type"], "ping") } } => {}
    }
    let took = began.elapsed();
    assert!(took > heartbeat && took < heartbeat * 3, "{took:?}");
    let close = [&[0x88, 2 + 17, 0x11, 0x38][..], b"heartbeat_timeout"].concat();
    assert!(bytes.ends_with(&close), "{bytes:02x?}");
    assert_eq!(server.sessions.connections(), 1);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_the_connection_unless_it_is_renewed_by_the_same_caller() {
    let server = start(WebSocketSettings::default());
    let mut client = server.connect("ann.read.60", "").await;
    client.hello().await;
    client.say(json!({"type": "auth", "ref": 1, "data": {"token": "bob.read.9000"}})).await;
    assert_eq!(client.next().await["data"]["code"], "token_invalid");
    client.say(json!({"type": "auth", "ref": 2, "data": {"token": "ann.read.120"}})).await;
    let ack = client.next().await;
    assert_eq!(ack["data"]["ref"], 2, "{ack}");
    assert_eq!(ack["data"]["token_expires_at"], "2026-11-24T10:17:30.123Z");
    // The machine's time does not pass by itself while the runtime's is paused.
    server.clock.advance_ms(120_000);
    let began = Instant::now();
    assert_eq!(client.closed().await, closes(4401, "token_expired"));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(100) && took < Duration::from_secs(130), "{took:?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_announced_and_ends_with_1001() {
    let server = start(WebSocketSettings::default());
    let mut client = server.connect("ann.read.9000", "").await;
    client.hello().await;
    server.shutdown.draining.cancel();
    let draining = client.next().await;
    assert_eq!(draining["type"], "draining");
    let after_ms = draining["data"]["reconnect_after_ms"].as_u64().expect("a number");
    assert!(after_ms <= server.sessions.settings().drain_spread_ms);
    assert_eq!(client.closed().await, (u16::from(CloseCode::Away), "draining".to_owned()));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off_and_the_others_are_served() {
    let mut server = start(WebSocketSettings::default());
    let _slow = server.connect_raw("").await;
    let mut quick = server.connect("ann.read.9000", "").await;
    quick.hello().await;
    let text = "x".repeat(100_000);
    let mut published = 0;
    while server.sessions.connections() == 2 && published < 1_000 {
        server.publish(EventType::NewMessage, &text);
        assert_eq!(quick.next().await["data"]["text"], text);
        published += 1;
        if published % 100 == 0 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
    assert_eq!(server.sessions.connections(), 1, "after {published} events");
    server.stop().await;
}

#[tokio::test]
async fn events_are_deflated_for_who_agreed_and_plain_for_who_can_not_inflate_them() {
    let mut server = start(WebSocketSettings::default());
    let offer = "sec-websocket-extensions: permessage-deflate";
    let mut deflated = server.connect_raw(&format!("{offer}\r\n")).await;
    let mut small = server.connect_raw(&format!("{offer}; server_max_window_bits=9\r\n")).await;
    for stream in [&mut deflated, &mut small] {
        read_frame(stream).await;
    }
    server.publish(EventType::NewMessage, &"again and ".repeat(50));
    assert_eq!(read_frame(&mut deflated).await, 0xc1);
    assert_eq!(read_frame(&mut small).await, 0x81);
    server.stop().await;
}

/// Reads one frame; answers its first byte.
async fn read_frame(stream: &mut TcpStream) -> u8 {
    let first = stream.read_u8().await.expect("a frame");
    let length = match stream.read_u8().await.expect("a length") {
        126 => stream.read_u16().await.expect("a length"),
        short => u16::from(short),
    };
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await.expect("a payload");
    first
}

#[test]
fn a_connection_at_rest_is_small() {
    let connection = size_of::<Connection>();
    let session = size_of::<Session>();
    assert!(connection <= 560 && session <= 480, "{connection} {session}");
}
