//! `GET /v1/events/stream`: Server-Sent Events.
//!
//! The endpoint checks the caller and opens a session; then the connection is taken over from
//! HTTP and a small task writes the session's ready frames to the bare socket. The stream ends
//! with the connection (`connection: close`), which every `EventSource` answers by coming back
//! with `Last-Event-ID`.
//!
//! Frames that carry a cursor set `id:`, so a heartbeat does too when the cursor has moved past
//! hidden events. A block with `id:` and no data moves the client's last id and raises no event.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{Method, StatusCode, header},
};
use tokio::io::AsyncReadExt;

use super::{
    coding::{Coding, Encoder},
    control,
    listener::{
        stream::Stream,
        takeover::{Taken, Takeover},
    },
    registry::{Ending, Transport},
    request::StreamRequest,
    session::{Output, Session},
    sessions::Sessions,
    write::{WriteError, write_all},
};
use crate::{
    auth::Auth,
    feed::frame::{control as encode_control, write_sse_id},
    wire::{cursor::Cursor, problem::Problem},
};

/// A client has nothing to send on an event stream; what it sends is read in pieces of this many
/// bytes and thrown away.
const IGNORED_BYTES: usize = 64;

/// The endpoint of event streams.
pub struct EventStream {
    sessions: Arc<Sessions>,
    auth: Arc<Auth>,
}

impl EventStream {
    pub fn new(sessions: Arc<Sessions>, auth: Arc<Auth>) -> Self {
        Self { sessions, auth }
    }

    async fn open(&self, request: &Request) -> Result<Response, Problem> {
        let identity = self.auth.identify_request(request).await?;
        let mut asked = StreamRequest::parse(request.uri().query().unwrap_or_default())?;
        if let Some(id) = request.headers().get("last-event-id") {
            asked.resume_after(&String::from_utf8_lossy(id.as_bytes()))?;
        }
        let coding = accepted_coding(request);
        let response = head(coding);
        if request.method() == Method::HEAD {
            return Ok(response.finish());
        }
        let session =
            self.sessions.open(Transport::Sse, coding.frames(), &identity, &asked).await?;
        let sessions = self.sessions.clone();
        Ok(Takeover::attach(response.finish(), move |taken| async move {
            let follower = Follower::new(sessions, session, coding, asked.ping);
            follower.run(taken).await;
        }))
    }
}

impl Endpoint for EventStream {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.open(&request).await.unwrap_or_else(Problem::into_response))
    }
}

fn accepted_coding(request: &Request) -> Coding {
    let fields = request.headers().get_all(header::ACCEPT_ENCODING);
    let fields: Vec<_> = fields.iter().filter_map(|field| field.to_str().ok()).collect();
    Coding::choose(&fields.join(","))
}

fn head(coding: Coding) -> poem::ResponseBuilder {
    let response = Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::VARY, "accept-encoding")
        .header(header::CONNECTION, "close")
        .header("x-accel-buffering", "no");
    match coding.header() {
        Some(name) => response.header(header::CONTENT_ENCODING, name),
        None => response,
    }
}

/// Writes one session to one socket.
struct Follower {
    sessions: Arc<Sessions>,
    session: Session,
    encoder: Option<Encoder>,
    /// What is to be written now.
    queue: VecDeque<Bytes>,
    /// The newest cursor that the client was told.
    told: Cursor,
    ping: bool,
}

impl Follower {
    fn new(sessions: Arc<Sessions>, session: Session, coding: Coding, ping: bool) -> Self {
        let mut follower = Self {
            told: session.cursor(),
            // An encoder that can't be made fails the stream when it begins.
            encoder: Encoder::new(coding).ok(),
            queue: VecDeque::new(),
            sessions,
            session,
            ping,
        };
        follower.queue.extend(follower.encoder.as_ref().and_then(Encoder::head));
        let retry = format!("retry: {}\n", follower.sessions.settings().sse_retry_ms);
        follower.push_text(retry.into_bytes());
        follower
    }

    async fn run(mut self, taken: Taken) {
        let Taken { mut stream, read_ahead } = taken;
        drop(read_ahead);
        loop {
            let output = tokio::select! {
                biased;
                output = self.session.next() => output,
                () = has_left(&mut stream) => return,
            };
            let closing = matches!(output, Output::Close(_));
            let written = self.write(&mut stream, output).await;
            match written {
                Ok(()) if !closing => {}
                Ok(()) => return,
                Err(WriteError::Stalled) => {
                    self.session.ends(Ending::Timeout);
                    return stream.abort();
                }
                Err(WriteError::Broken(_)) => return self.session.ends(Ending::Broken),
            }
        }
    }

    async fn write(&mut self, stream: &mut Stream, output: Output) -> Result<(), WriteError> {
        let settings = self.sessions.settings();
        let (stall, whole) = (settings.slow_consumer_timeout(), settings.slow_write_timeout());
        match output {
            Output::Batch(batch) => {
                self.told = batch.cursor;
                self.queue.extend(batch.bytes.iter().cloned());
                self.encode()?;
                write_all(stream, &mut self.queue, stall, whole).await?;
                self.session.written(&batch);
                return Ok(());
            }
            Output::Control(bytes) => self.queue.push_back(bytes),
            Output::Heartbeat { cursor } => self.push_heartbeat(cursor),
            Output::Close(_) => {}
        }
        self.encode()?;
        write_all(stream, &mut self.queue, stall, whole).await
    }

    fn push_heartbeat(&mut self, cursor: Cursor) {
        let mut text = Vec::new();
        if cursor > self.told {
            self.told = cursor;
            write_sse_id(&mut text, cursor, self.sessions.hub().epoch());
        }
        match self.ping {
            true if text.is_empty() => {}
            // A block of its own: `ping` itself carries no cursor.
            true => text.push(b'\n'),
            false => text.extend_from_slice(b":\n\n"),
        }
        if !text.is_empty() {
            self.push_text(text);
        }
        if self.ping {
            self.queue.push_back(encode_control(self.session.encoding(), control::PING, None));
        }
    }

    /// Puts in line what is no frame.
    fn push_text(&mut self, text: Vec<u8>) {
        let bytes = crate::feed::frame::finish(text, self.session.encoding());
        self.queue.push_back(Bytes::from(bytes));
    }

    /// Passes what is in line through the connection's own encoder, if it has one.
    fn encode(&mut self) -> std::io::Result<()> {
        let Some(encoder) = &mut self.encoder else {
            return Err(std::io::Error::other("the content coding has no encoder"));
        };
        if let Some(encoded) = encoder.encode(self.queue.make_contiguous())? {
            self.queue.clear();
            self.queue.push_back(encoded);
        }
        Ok(())
    }
}

/// Ends when the client closes its side or the connection fails.
async fn has_left(stream: &mut Stream) {
    let mut ignored = [0; IGNORED_BYTES];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}
