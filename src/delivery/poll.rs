//! `GET /v1/events`: polling, short and long.
//!
//! A poll follows the feed for as long as it waits: it is woken by the ring like any stream, and
//! costs neither a thread nor a query meanwhile, and of HTTP only the socket ([`Later`]). A poller
//! that comes back in time finds the ring still there, so steady polling does not touch the
//! database at all.
//!
//! `snapshot=true` answers at once with the state and its cursor, which then takes the place of
//! the one sent.

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{StatusCode, header},
};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use url::form_urlencoded;

use super::{
    listener::later::Later,
    registry::{Connection, Transport},
    request::StreamRequest,
    sessions::{Opening, Sessions},
};
use crate::{
    auth::{Auth, Identity, Scopes},
    domain::{ids::ClientId, time::Timestamp},
    feed::{
        frame::Encoding,
        hub::Start,
        subscriber::{Batch, Budget, Next, ResetReason, Subscriber},
    },
    wire::{
        cursor::Cursor,
        problem::{Code, FieldError, Problem},
        types::Snapshot,
    },
};

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
const WAIT_MAX_S: f64 = 60.0;

/// An answer holds about this many bytes of events at most, whatever its `limit`; the rest comes
/// with the next poll (`has_more`).
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The endpoint of polls.
pub struct Poll {
    sessions: Arc<Sessions>,
    auth: Arc<Auth>,
    room: Room,
}

/// What answers may hold, all of them together, until they are read: each has a bound, but clients
/// that ask and don't read could be many.
#[derive(Clone)]
struct Room(Arc<Semaphore>);

/// An answer that gives its room back when the last of it has left.
struct Held {
    body: Vec<u8>,
    _taken: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Room {
    fn hold(&self, body: Vec<u8>) -> Result<Bytes, Problem> {
        let full = || {
            let detail = "more is waiting to be read than this instance holds";
            Problem::new(Code::Overloaded).detail(detail).retry_after_s(1)
        };
        let bytes = u32::try_from(body.len()).map_err(|_| full())?;
        let taken = self.0.clone().try_acquire_many_owned(bytes).map_err(|_| full())?;
        Ok(Bytes::from_owner(Held { body, _taken: taken }))
    }
}

/// What polls have beside what all transports take.
#[derive(Debug, PartialEq)]
struct Asked {
    limit: u32,
    wait: Duration,
}

impl Poll {
    pub fn new(sessions: Arc<Sessions>, auth: Arc<Auth>) -> Self {
        let bytes = sessions.settings().poll_answers_max_bytes.min(Semaphore::MAX_PERMITS);
        Self { sessions, auth, room: Room(Arc::new(Semaphore::new(bytes))) }
    }

    async fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let identity = self.auth.identify_request(request).await?;
        let query = request.uri().query().unwrap_or_default();
        let stream = StreamRequest::parse(query)?;
        let asked = Asked::parse(query)?;
        match answer(&self.sessions, &identity, &stream, asked).await? {
            Outcome::Now(body) => Ok(ok(self.room.hold(body)?)),
            Outcome::Later(waiting) => {
                let room = self.room.clone();
                let answer = async move {
                    let body = waiting.answer().await.and_then(|body| room.hold(body));
                    body.map_or_else(Problem::into_response, ok)
                };
                Ok(Later::attach(Response::default(), answer))
            }
        }
    }
}

fn ok(body: Bytes) -> Response {
    let response = Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store");
    response.body(body)
}

impl Endpoint for Poll {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(self.answer(&request).await.unwrap_or_else(Problem::into_response))
    }
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self { limit: LIMIT_DEFAULT, wait: Duration::ZERO };
        let mut errors = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=LIMIT_MAX) => asked.limit = limit,
                    _ => errors.push(FieldError::of_parameter("limit", "is not 1 to 1000")),
                },
                "wait" => match value.parse::<f64>() {
                    Ok(wait) if (0.0..=WAIT_MAX_S).contains(&wait) => {
                        asked.wait = Duration::from_secs_f64(wait);
                    }
                    _ => errors.push(FieldError::of_parameter("wait", "is not 0 to 60 seconds")),
                },
                _ => {}
            }
        }
        match errors.is_empty() {
            true => Ok(asked),
            false => Err(Problem::new(Code::InvalidParameter).errors(errors)),
        }
    }
}

/// What becomes of a poll.
enum Outcome {
    Now(Vec<u8>),
    /// There is nothing yet, and it waits.
    Later(Box<Waiting>),
}

async fn answer(
    sessions: &Arc<Sessions>,
    identity: &Identity,
    request: &StreamRequest,
    asked: Asked,
) -> Result<Outcome, Problem> {
    identity.require(Scopes::EVENTS_READ)?;
    let client = identity.client_id;
    let opening = sessions.opening(client, request).await?;
    if request.snapshot {
        // Never one that is older than what the client has.
        if let Opening::At(Start::After(cursor)) = opening {
            sessions.comes_to(cursor.position).await?;
        }
        return Ok(Outcome::Now(snapshot(sessions, client).await?));
    }
    let start = match opening {
        Opening::At(Start::Live) => {
            return Ok(Outcome::Now(Answer::at(sessions.hub().head()).into_body(sessions)));
        }
        Opening::At(start) => start,
        Opening::Unknown => {
            sessions.hub().count_reset(ResetReason::UnknownCursor);
            return Err(gone(sessions, ResetReason::UnknownCursor, sessions.hub().head()));
        }
    };
    let filter = sessions.resolve(client, request.filter).await?;
    let mut subscriber = sessions.hub().subscribe(client, start, filter, Encoding::Json);
    let answer = Answer::at(subscriber.cursor());
    let until = sessions.hub().head();
    let first = subscriber.ready_batch(answer.budget(asked.limit), until).await;
    if first.is_some() || asked.wait.is_zero() {
        let answer = collect(sessions, &mut subscriber, answer, first, until, asked.limit).await?;
        return Ok(Outcome::Now(answer.into_body(sessions)));
    }
    let counted = sessions.admit(Transport::Polling, identity)?;
    let sessions = sessions.clone();
    let lifetime_ms = identity.expires_at.since(sessions.clock.now()).max(0) as u64;
    let wait = asked.wait.min(Duration::from_millis(lifetime_ms));
    let Asked { limit, .. } = asked;
    Ok(Outcome::Later(Box::new(Waiting { sessions, subscriber, answer, limit, wait, counted })))
}

/// A poll that waits for events, no longer than its token holds and the instance stays.
struct Waiting {
    sessions: Arc<Sessions>,
    subscriber: Subscriber,
    /// Empty.
    answer: Answer,
    limit: u32,
    wait: Duration,
    counted: Connection,
}

impl Waiting {
    async fn answer(self: Box<Self>) -> Result<Vec<u8>, Problem> {
        let Self { sessions, mut subscriber, answer, limit, wait, counted } = *self;
        let budget = answer.budget(limit);
        let first = tokio::select! {
            found = timeout(wait, subscriber.next_batch(budget)) => found.ok(),
            () = sessions.shutdown.draining.cancelled() => None,
        };
        drop(counted);
        let until = sessions.hub().head();
        let answer = collect(&sessions, &mut subscriber, answer, first, until, limit).await?;
        Ok(answer.into_body(&sessions))
    }
}

/// Adds what there is, from what was found first up to `until`. What comes in while a poll is
/// answered waits for the next one, so that a busy tenant can't keep one from its end.
async fn collect(
    sessions: &Sessions,
    subscriber: &mut Subscriber,
    mut answer: Answer,
    first: Option<Next>,
    until: Cursor,
    limit: u32,
) -> Result<Answer, Problem> {
    let mut next = first;
    while let Some(found) = next {
        match found {
            Next::Batch(batch) => answer.add(batch),
            // What was found is given; the next poll meets what is in the way.
            Next::Reset { .. } | Next::Unavailable if answer.events > 0 => {
                answer.has_more = true;
                return Ok(answer);
            }
            Next::Reset { reason, cursor } => return Err(gone(sessions, reason, cursor)),
            Next::Unavailable => return Err(Problem::new(Code::Overloaded).retry_after_s(1)),
            Next::Paused => {}
        }
        if answer.events >= limit || answer.bytes >= ANSWER_BYTES_MAX {
            return Ok(answer);
        }
        if subscriber.resume_cursor() >= until {
            return Ok(answer);
        }
        next = subscriber.ready_batch(answer.budget(limit), until).await;
    }
    answer.has_more = false;
    // Past what the filter hid, too.
    answer.cursor = subscriber.cursor();
    Ok(answer)
}

async fn snapshot(sessions: &Arc<Sessions>, client: ClientId) -> Result<Vec<u8>, Problem> {
    #[derive(Serialize)]
    struct Body {
        events: [(); 0],
        cursor: String,
        has_more: bool,
        snapshot: Snapshot,
    }
    let snapshot = sessions.state(client).await?;
    let body = Body { events: [], cursor: snapshot.cursor.clone(), has_more: false, snapshot };
    // String keys and finite numbers: this does not fail.
    Ok(serde_json::to_vec(&body).unwrap_or_default())
}

fn gone(sessions: &Sessions, reason: ResetReason, cursor: Cursor) -> Problem {
    let code = match reason {
        ResetReason::UnknownCursor => Code::UnknownCursor,
        ResetReason::ExpiredCursor => Code::ExpiredCursor,
        ResetReason::TooFarBehind => Code::TooFarBehind,
    };
    Problem::new(code).cursor(sessions.cursor_text(cursor))
}

/// What a poll is answered with.
struct Answer {
    chunks: Vec<Bytes>,
    bytes: usize,
    events: u32,
    cursor: Cursor,
    has_more: bool,
    /// When the oldest of what came while the poll waited was taken in.
    oldest_live: Option<Timestamp>,
}

impl Answer {
    fn at(cursor: Cursor) -> Self {
        let (chunks, oldest_live) = (Vec::new(), None);
        Self { chunks, bytes: 0, events: 0, cursor, has_more: false, oldest_live }
    }

    fn add(&mut self, batch: Batch) {
        self.bytes += batch.bytes.iter().map(Bytes::len).sum::<usize>();
        self.events += batch.events;
        self.cursor = batch.cursor;
        self.has_more = batch.more;
        if batch.live {
            let taken_in = batch.oldest_taken_in;
            self.oldest_live =
                Some(self.oldest_live.map_or(taken_in, |oldest| oldest.min(taken_in)));
        }
        self.chunks.extend(batch.bytes);
    }

    fn budget(&self, limit: u32) -> Budget {
        Budget {
            bytes: ANSWER_BYTES_MAX.saturating_sub(self.bytes),
            events: limit.saturating_sub(self.events),
        }
    }

    /// The body; its events count as delivered.
    fn into_body(self, sessions: &Sessions) -> Vec<u8> {
        sessions.count_polled(self.events, self.bytes, self.oldest_live);
        const AROUND_BYTES: usize = 128;
        let mut body = Vec::with_capacity(self.bytes + AROUND_BYTES);
        body.extend_from_slice(b"{\"events\":[");
        for chunk in &self.chunks {
            body.extend_from_slice(chunk);
        }
        // Each event is followed by a comma.
        body.pop_if(|last| *last == b',');
        let cursor = self.cursor.display(sessions.hub().epoch());
        // Writing into a vector does not fail; a cursor needs no escaping.
        let _ = write!(body, "],\"cursor\":\"{cursor}\",\"has_more\":{}}}", self.has_more);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_nobody_has_read_yet_have_a_bound_in_common() {
        let room = Room(Arc::new(Semaphore::new(150)));
        let mut first = room.hold(vec![1; 100]).unwrap();
        let written = first.split_to(99);
        drop(written);
        let full = room.hold(vec![2; 100]).unwrap_err();
        assert_eq!((full.code(), full.status()), (Code::Overloaded, 503));
        let small = room.hold(vec![3; 50]).unwrap();
        drop(first);
        assert_eq!(room.hold(vec![2; 100]).unwrap(), vec![2; 100]);
        drop(small);
    }
}
