//! One WebSocket from its handshake to its end: a single loop over a closed set of events.
//!
//! The session says what is to be written, the socket what has arrived; this file decides what
//! follows. A connection at rest is this struct and its session, and nothing else: no buffer, no
//! queue, no second task.
//!
//! **Invariant:** the session is asked for more only when everything before has left, so a slow
//! client has at most one batch and its own answers waiting.
//!
//! **Invariant:** commands are done one after the other, in the order in which they came, and
//! nothing more is read while one is under way; events go on meanwhile.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Shared,
    close::Close,
    commands::{self, Ack, Command, PONG, Refused},
    engine::Received,
    frames,
    socket::{ReadEnd, Socket},
};
use crate::{
    auth::{AuthError, Identity, Scopes},
    delivery::{
        control,
        registry::Ending,
        session::{Output, Session},
    },
    domain::ids::Position,
    feed::{frame::control as encode_control, subscriber::Batch},
    wire::{cursor::Cursor, problem::Problem},
};

/// With this many bytes of answers waiting, nothing more is read: a client that asks without
/// reading has to wait for itself.
const ANSWER_BYTES_MAX: usize = 65_536;
/// A slow client may take this many times the slow-consumer time-out for one batch, as long as it
/// reads something within each.
const WRITE_TIMEOUTS_MAX: u32 = 4;

pub(super) struct Connection {
    shared: Arc<Shared>,
    socket: Socket,
    session: Box<Session>,
    identity: Identity,
    inbox: Inbox,
    /// Events being written.
    writing: Option<Batch>,
    /// While the client does not take what is to be written.
    stall: Option<Box<Stall>>,
    /// The command under way.
    running: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Says heartbeats as frames, too, for clients that can't see pings.
    says_ping: bool,
}

/// What has arrived and was not looked at yet, and what that says of the client.
struct Inbox {
    commands: VecDeque<Result<Command, Refused>>,
    /// Answers to pings, which need nobody's leave.
    pongs: Vec<Bytes>,
    /// Why to end, seen while reading.
    end: Option<End>,
    /// A ping is out and nothing has come since.
    awaits_life: bool,
    /// The moment up to which the client has used up its allowance of messages.
    used_until: Instant,
}

struct Stall {
    timer: Pin<Box<Sleep>>,
    waiting_bytes: usize,
    began: Instant,
}

/// What happens to a connection.
enum Event {
    Session(Output),
    Received(Result<(), ReadEnd>),
    Done(Done),
    Stalled,
    Broken(io::Error),
}

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// With a close frame from us, and the client's to be awaited.
    Close(Close, Ending),
    /// The client said goodbye, with a code or without.
    Goodbye(Option<u16>),
    /// It broke the protocol: its frames can't be followed any more.
    Violation(Close),
    /// It does not read.
    Abort,
    /// The socket is gone.
    Gone(Ending),
}

/// What came of a command that took time.
enum Done {
    Answer(Result<Ack, Refused>),
    Renewed(commands::Ref, Box<Identity>),
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: Socket,
        session: Box<Session>,
        identity: Identity,
        says_ping: bool,
    ) -> Self {
        let inbox = Inbox {
            commands: VecDeque::new(),
            pongs: Vec::new(),
            end: None,
            awaits_life: false,
            used_until: Instant::now(),
        };
        Self {
            shared,
            socket,
            session,
            identity,
            inbox,
            writing: None,
            stall: None,
            running: None,
            says_ping,
        }
    }

    /// Lives until the client leaves, is sent away, or the instance stops.
    pub(super) async fn run(mut self: Box<Self>) {
        let end = loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            if let ControlFlow::Break(end) = self.handle(event) {
                break end;
            }
        };
        // Boxed, since it holds the socket and lasts for a moment only.
        Box::pin(self.end(end)).await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let is_flushed = match self.socket.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.stall = None;
                if let Some(batch) = self.writing.take() {
                    self.session.written(&batch);
                }
                true
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Event::Broken(error)),
            Poll::Pending => {
                if self.poll_stall(cx).is_ready() {
                    return Poll::Ready(Event::Stalled);
                }
                false
            }
        };
        if let Some(running) = &mut self.running {
            if let Poll::Ready(done) = running.as_mut().poll(cx) {
                self.running = None;
                return Poll::Ready(Event::Done(done));
            }
        } else if self.socket.outbox_bytes() <= ANSWER_BYTES_MAX || self.writing.is_some() {
            let (inbox, shared) = (&mut self.inbox, &self.shared);
            let received = self.socket.poll_receive(cx, |received| inbox.take(received, shared));
            if let Poll::Ready(end) = received {
                return Poll::Ready(Event::Received(end));
            }
        }
        if is_flushed {
            return self.session.poll_next(cx).map(Event::Session);
        }
        Poll::Pending
    }

    /// Watches a client that does not take what waits for it.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.shared.sessions.settings().slow_consumer_timeout();
        let waiting_bytes = self.socket.outbox_bytes();
        let stall = self.stall.get_or_insert_with(|| {
            let began = Instant::now();
            Box::new(Stall { timer: Box::pin(sleep_until(began + timeout)), waiting_bytes, began })
        });
        if waiting_bytes < stall.waiting_bytes {
            let latest = stall.began + timeout * WRITE_TIMEOUTS_MAX;
            stall.timer.as_mut().reset(latest.min(Instant::now() + timeout));
        }
        stall.waiting_bytes = waiting_bytes;
        stall.timer.as_mut().poll(cx)
    }

    fn handle(&mut self, event: Event) -> ControlFlow<End> {
        match event {
            Event::Session(Output::Control(frame)) => self.socket.push(frame),
            Event::Session(Output::Batch(batch)) => {
                for bytes in &batch.bytes {
                    self.socket.push(bytes.clone());
                }
                self.writing = Some(batch);
            }
            Event::Session(Output::Heartbeat { .. }) => return self.heartbeat(),
            Event::Session(Output::Close(ending)) => {
                return ControlFlow::Break(End::Close(Close::of_ending(ending), ending));
            }
            Event::Received(received) => {
                for pong in self.inbox.pongs.drain(..) {
                    self.socket.push(pong);
                }
                self.work_off_commands();
                if let Some(end) = self.inbox.end.take() {
                    return ControlFlow::Break(end);
                }
                return match received {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(ReadEnd::Left) => ControlFlow::Break(End::Gone(Ending::Client)),
                    Err(ReadEnd::Broken(_)) => ControlFlow::Break(End::Gone(Ending::Broken)),
                    Err(ReadEnd::Violation(violation)) => {
                        tracing::debug!(%violation, "a client broke the WebSocket protocol");
                        let code = violation.close_code();
                        ControlFlow::Break(End::Violation(Close { code, reason: "" }))
                    }
                };
            }
            Event::Done(done) => {
                self.done(done);
                self.work_off_commands();
            }
            Event::Stalled => return ControlFlow::Break(End::Abort),
            Event::Broken(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                return ControlFlow::Break(End::Gone(Ending::Broken));
            }
        }
        ControlFlow::Continue(())
    }

    fn heartbeat(&mut self) -> ControlFlow<End> {
        if self.inbox.awaits_life {
            return ControlFlow::Break(End::Close(Close::TIMEOUT, Ending::Timeout));
        }
        self.inbox.awaits_life = true;
        self.socket.push(frames::PING);
        if self.says_ping {
            self.answer(control::PING);
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, json: &[u8]) {
        self.socket.push(encode_control(self.session.encoding(), json, None));
    }

    /// Does what has arrived, up to the first command that takes time.
    fn work_off_commands(&mut self) {
        while self.running.is_none()
            && let Some(command) = self.inbox.commands.pop_front()
        {
            match command.and_then(|command| self.start(command)) {
                Ok(Some(ack)) => self.answer(&ack.to_json()),
                Ok(None) => {}
                Err(refused) => self.answer(&refused.to_json()),
            }
        }
        if self.inbox.commands.is_empty() {
            self.inbox.commands = VecDeque::new();
        }
    }

    /// Does a command, or begins to.
    fn start(&mut self, command: Command) -> Result<Option<Ack>, Refused> {
        match command {
            Command::Ping => {
                self.answer(PONG);
                Ok(None)
            }
            Command::Subscribe { mark, filter } => {
                self.session.set_filter(filter);
                Ok(Some(Ack::of(mark)))
            }
            Command::Typing { mark, conversation, typing } => {
                self.require_sender(&mark)?;
                self.shared.desk.typing(&self.identity, conversation, typing);
                Ok(Some(Ack::of(mark)))
            }
            Command::Send { mark, conversation, body } => {
                self.require_sender(&mark)?;
                let shared = self.shared.clone();
                let identity = self.identity.clone();
                self.running = Some(Box::pin(async move {
                    let sent = shared.desk.send(&identity, conversation, *body).await;
                    Done::Answer(match sent {
                        Ok((message, position)) => {
                            let cursor = Some(cursor_at(&shared, position));
                            Ok(Ack { message: Some(message), cursor, ..Ack::of(mark) })
                        }
                        Err(problem) => Err(Refused::of_problem(mark, &problem)),
                    })
                }));
                Ok(None)
            }
            Command::MarkRead { mark, conversation } => {
                self.require(&mark, Scopes::MESSAGES_WRITE)?;
                let shared = self.shared.clone();
                let identity = self.identity.clone();
                self.running = Some(Box::pin(async move {
                    let marked = shared.desk.mark_read(&identity, conversation).await;
                    Done::Answer(match marked {
                        Ok(position) => {
                            let cursor = Some(cursor_at(&shared, position));
                            Ok(Ack { cursor, ..Ack::of(mark) })
                        }
                        Err(error) => Err(Refused::of_problem(mark, &error.into())),
                    })
                }));
                Ok(None)
            }
            Command::Auth { mark, token } => {
                let shared = self.shared.clone();
                self.running = Some(Box::pin(async move {
                    match shared.desk.verify(token.expose()).await {
                        Ok(identity) => Done::Renewed(mark, Box::new(identity)),
                        Err(error) => Done::Answer(Err(Refused::of_problem(mark, &error.into()))),
                    }
                }));
                Ok(None)
            }
        }
    }

    fn require(&self, mark: &commands::Ref, scope: Scopes) -> Result<(), Refused> {
        self.identity
            .require(scope)
            .map_err(|error| Refused::of_problem(mark.clone(), &error.into()))
    }

    /// Of who may send: people, and the bot.
    fn require_sender(&self, mark: &commands::Ref) -> Result<(), Refused> {
        match self.identity.sends_as() {
            Some(_) => Ok(()),
            None => self.require(mark, Scopes::MESSAGES_WRITE),
        }
    }

    fn done(&mut self, done: Done) {
        let answer = match done {
            Done::Answer(answer) => answer,
            Done::Renewed(mark, identity) => self.renew(mark, *identity),
        };
        match answer {
            Ok(ack) => self.answer(&ack.to_json()),
            Err(refused) => self.answer(&refused.to_json()),
        }
    }

    /// Goes on with a newer token of the same caller. With another's the connection lives on as
    /// it was, until its own token ends.
    fn renew(&mut self, mark: commands::Ref, mut identity: Identity) -> Result<Ack, Refused> {
        if identity.scopes.allows(Scopes::ADMIN) {
            // It named the tenant when it connected.
            identity.client_id = self.identity.client_id;
        }
        let is_the_same = identity.subject == self.identity.subject
            && identity.client_id == self.identity.client_id;
        let refusal = match identity.require(Scopes::EVENTS_READ) {
            Err(error) => Some(error),
            Ok(()) if !is_the_same || !self.session.renew(&identity) => {
                Some(AuthError::Invalid { reason: "it is not of the same subject and tenant" })
            }
            Ok(()) => None,
        };
        if let Some(error) = refusal {
            return Err(Refused::of_problem(mark, &Problem::from(error)));
        }
        let token_expires_at = Some(identity.expires_at);
        self.identity = identity;
        Ok(Ack { token_expires_at, ..Ack::of(mark) })
    }

    async fn end(self: Box<Self>, end: End) {
        let Self { shared, socket, mut session, .. } = *self;
        let ending = match &end {
            End::Close(_, ending) | End::Gone(ending) => *ending,
            End::Goodbye(_) => Ending::Client,
            End::Violation(_) => Ending::Policy,
            End::Abort => Ending::Timeout,
        };
        session.ends(ending);
        // Its place is free while the farewell takes its time.
        drop(session);
        let timeout = shared.settings.close_timeout();
        match end {
            End::Close(close, _) => farewell(socket, close, false, timeout).await,
            End::Violation(close) => farewell(socket, close, true, timeout).await,
            End::Goodbye(code) => {
                let frame = code.map_or(frames::CLOSE, |code| frames::close(code, ""));
                Box::pin(socket.close(frame, true, timeout)).await;
            }
            End::Abort => socket.abort(),
            End::Gone(_) => {}
        }
    }
}

fn cursor_at(shared: &Shared, position: Position) -> String {
    let cursor = Cursor { position, ordinal: 0 };
    cursor.display(shared.sessions.hub().epoch()).to_string()
}

/// Ends a connection with a close frame of ours.
pub(super) async fn farewell(socket: Socket, close: Close, has_closed: bool, timeout: Duration) {
    let frame = frames::close(close.code, close.reason);
    Box::pin(socket.close(frame, has_closed, timeout)).await;
}

impl Inbox {
    /// Takes in one message or control frame while it lies in the shared buffer.
    fn take(&mut self, received: Received<'_>, shared: &Shared) {
        self.awaits_life = false;
        if self.end.is_some() {
            return;
        }
        if let Received::Close(code) = received {
            self.end = Some(End::Goodbye(code));
            return;
        }
        if !self.is_within_rate(shared) {
            self.end = Some(End::Close(Close::RATE_LIMITED, Ending::Policy));
            return;
        }
        match received {
            Received::Text(text) => self.commands.push_back(commands::parse(text)),
            Received::Binary(_) => self.end = Some(End::Close(Close::BINARY, Ending::Policy)),
            Received::Ping(payload) => self.pongs.push(frames::pong(payload)),
            Received::Pong(_) | Received::Close(_) => {}
        }
    }

    /// Takes one message off the client's allowance, which refills with time.
    fn is_within_rate(&mut self, shared: &Shared) -> bool {
        let interval = shared.settings.message_interval();
        let now = Instant::now();
        self.used_until = self.used_until.max(now) + interval;
        self.used_until <= now + interval * shared.settings.messages_burst.max(1)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
