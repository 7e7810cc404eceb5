//! `GET /v1/ws`: the feed over WebSocket (PROTOCOL.md).
//!
//! [`handshake`] agrees on the connection, [`connection`] runs it on the bare socket ([`socket`]),
//! [`engine`] reads what the client sends, [`commands`] says what that means, and [`close`] how it
//! ends. What is written comes ready from the session and the feed.

pub mod close;
pub mod commands;
mod connection;
pub mod engine;
pub mod frames;
pub mod handshake;
mod settings;
pub mod socket;

use std::sync::Arc;

use async_trait::async_trait;
use poem::{Endpoint, IntoResponse, Request, Response};
use serde_json::Value;

pub use self::settings::WebSocketSettings;
use self::{
    close::Close,
    commands::{Ref, Refused},
    connection::{Connection, farewell},
    engine::{Limits, Reader},
    handshake::Agreed,
    socket::Socket,
};
use super::{
    listener::takeover::{Taken, Takeover},
    registry::Transport,
    request::StreamRequest,
    session::Session,
    sessions::Sessions,
};
use crate::{
    auth::{Auth, AuthError, Credentials, Identity, Scopes},
    command::{
        Actor, Answer, CommandError, Commands, Done, Write,
        send::{ContactSignals, NewMessage},
    },
    domain::ids::{ConversationId, Position},
    feed::frame::{Encoding, control as encode_control},
    projection::to_wire,
    wire::{
        problem::{Code, Problem},
        send::SendMessage,
    },
};

/// What a WebSocket asks of the rest of the server. A port, so that tests can stand in.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Who calls, by what the request brought.
    async fn identify(&self, credentials: &Credentials) -> Result<Identity, AuthError>;
    /// Whose token this is.
    async fn verify(&self, jwt: &str) -> Result<Identity, AuthError>;
    /// Marks a conversation of the caller's tenant as read; durable when it answers.
    async fn mark_read(
        &self,
        identity: &Identity,
        conversation: ConversationId,
    ) -> Result<Position, CommandError>;
    /// Queues a message in a conversation of the caller's tenant; durable when it answers. The
    /// message is JSON as clients see it.
    async fn send(
        &self,
        identity: &Identity,
        conversation: ConversationId,
        body: SendMessage,
    ) -> Result<(Value, Position), Problem>;
    /// Shows the contact that somebody writes, or stopped. Best effort, and at once.
    fn typing(&self, identity: &Identity, conversation: ConversationId, typing: bool);
}

/// The desk of the running server.
pub struct ServerDesk {
    pub auth: Arc<Auth>,
    pub commands: Arc<Commands>,
    pub signals: Arc<dyn ContactSignals>,
}

#[async_trait]
impl Desk for ServerDesk {
    async fn identify(&self, credentials: &Credentials) -> Result<Identity, AuthError> {
        self.auth.identify(credentials).await
    }

    async fn verify(&self, jwt: &str) -> Result<Identity, AuthError> {
        self.auth.verify(jwt).await
    }

    async fn mark_read(
        &self,
        identity: &Identity,
        conversation: ConversationId,
    ) -> Result<Position, CommandError> {
        self.commands.mark_read(identity.client_id, &actor(identity), conversation).await
    }

    async fn send(
        &self,
        identity: &Identity,
        conversation: ConversationId,
        body: SendMessage,
    ) -> Result<(Value, Position), Problem> {
        let sender = match identity.sends_as() {
            Some(sender) => sender,
            None => return Err(missing_scope(identity)),
        };
        let write = Write::Send(Box::new(NewMessage { conversation, sender, body }));
        let answer = |done: &Done| Answer {
            status: 202,
            body: match done {
                Done::Queued { message } => {
                    serde_json::to_value(to_wire::message(message)).unwrap_or_default()
                }
                _ => Value::Null,
            },
        };
        let answered =
            self.commands.write(identity.client_id, &actor(identity), None, write, answer).await?;
        Ok((answered.answer.body, answered.position))
    }

    fn typing(&self, identity: &Identity, conversation: ConversationId, typing: bool) {
        self.signals.typing(identity.client_id, conversation, typing);
    }
}

/// As whom the caller's events are recorded.
fn actor(identity: &Identity) -> Actor {
    Actor(format!("user:{}", identity.subject))
}

fn missing_scope(identity: &Identity) -> Problem {
    match identity.require(Scopes::MESSAGES_WRITE) {
        Err(error) => error.into(),
        Ok(()) => Problem::new(Code::ScopeMissing),
    }
}

/// What all WebSockets share.
struct Shared {
    desk: Arc<dyn Desk>,
    sessions: Arc<Sessions>,
    settings: WebSocketSettings,
}

/// The endpoint of `GET /v1/ws`.
#[derive(Clone)]
pub struct WebSocketEndpoint(Arc<Shared>);

impl WebSocketEndpoint {
    pub fn new(desk: Arc<dyn Desk>, sessions: Arc<Sessions>, settings: WebSocketSettings) -> Self {
        Self(Arc::new(Shared { desk, sessions, settings }))
    }

    /// Finds out who calls and opens the session.
    async fn open(&self, request: &Request, agreed: &Agreed) -> Result<Opened, Problem> {
        let identity = self.0.desk.identify(&Credentials::of_request(request)).await?;
        let query = request.uri().query().unwrap_or_default();
        let stream_request = StreamRequest::parse(query)?;
        let encoding = encoding(agreed);
        let sessions = &self.0.sessions;
        let session =
            sessions.open(Transport::WebSocket, encoding, &identity, &stream_request).await?;
        Ok(Opened { session: Box::new(session), identity, says_ping: stream_request.ping })
    }

    fn socket(&self, taken: Taken, agreed: &Agreed) -> Socket {
        let limits = Limits { message_bytes_max: self.0.settings.message_bytes_max };
        Socket::new(taken, Reader::new(limits, agreed.reads_deflated()))
    }

    /// Makes the connection, boxed: what is moved from one future to the next is kept in each.
    fn connection(&self, taken: Taken, agreed: &Agreed, opened: Opened) -> Box<Connection> {
        let Opened { session, identity, says_ping } = opened;
        let socket = self.socket(taken, agreed);
        Box::new(Connection::new(self.0.clone(), socket, session, identity, says_ping))
    }

    /// Tells a client that may not connect in the way in which a browser's page can see it.
    async fn send_away(&self, taken: Taken, agreed: &Agreed, problem: Problem) {
        let mut socket = self.socket(taken, agreed);
        let error = Refused::of_problem(Ref::NONE, &problem);
        socket.push(encode_control(encoding(agreed), &error.to_json(), None));
        let timeout = self.0.settings.close_timeout();
        farewell(socket, Close::of_problem(&problem), false, timeout).await;
    }
}

/// A client that may connect.
struct Opened {
    session: Box<Session>,
    identity: Identity,
    says_ping: bool,
}

fn encoding(agreed: &Agreed) -> Encoding {
    if agreed.writes_deflated() { Encoding::WsDeflate } else { Encoding::WsText }
}

impl Endpoint for WebSocketEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let settings = &self.0.settings;
        let agreed = handshake::agree(
            request.method(),
            request.version(),
            request.headers(),
            settings.compression,
            |origin| settings.may_connect(origin),
        );
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(refusal) => return Ok(refusal.into_response()),
        };
        let opened = self.open(&request, &agreed).await;
        let endpoint = self.clone();
        let response = agreed.response();
        Ok(match opened {
            Ok(opened) => Takeover::attach(response, move |taken| {
                let connection = endpoint.connection(taken, &agreed, opened);
                async move {
                    connection.run().await;
                    None
                }
            }),
            Err(problem) => Takeover::attach(response, move |taken| async move {
                endpoint.send_away(taken, &agreed, problem).await;
                None
            }),
        })
    }
}
