//! Taking a connection away from HTTP.
//!
//! A handler answers with a response that carries a [`Takeover`]: its head is written, then the
//! handler's task gets the bare [`Stream`] and what the client has sent already. WebSocket needs
//! that by definition. Server-Sent Events gain by it: hyper keeps at least 8 KiB of buffers for a
//! connection and passes every chunk through a body, a task on the bare socket writes many shared
//! frames with one system call and keeps nothing.
//!
//! hyper's own upgrade hides the socket behind a box without vectored writes and exists for `101`
//! alone, hence this. The body of such a response is not sent, and nothing is added to its head
//! but `date`: a task that answers `200` says itself how the body ends (`connection: close`).

use std::{fmt, fmt::Write as _, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use poem::Response;

use super::stream::Stream;
use crate::runtime::clock::{Clock, SystemClock};

type Task = Box<dyn FnOnce(Taken) -> TaskFuture + Send>;
type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is no longer HTTP's.
#[derive(Debug)]
pub struct Taken {
    pub stream: Stream,
    /// What the client has sent behind its request.
    pub read_ahead: Bytes,
}

/// What becomes of the connection once the response's head is written.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Task>>>);

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Takeover")
    }
}

impl Takeover {
    /// `response`, whose connection `task` takes over. The task ends at `Shutdown::stopping` by
    /// being dropped; `draining` it watches itself.
    pub fn attach<F>(response: Response, task: impl FnOnce(Taken) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task: Task = Box::new(move |taken| Box::pin(task(taken)));
        let mut response = response;
        response.extensions_mut().insert(Takeover(Arc::new(Mutex::new(Some(task)))));
        response
    }

    /// Takes it out of a response on its way to the socket.
    pub(super) fn detach(response: &mut Response) -> Option<Accepted> {
        let takeover = response.extensions_mut().remove::<Takeover>()?;
        let task = takeover.0.lock().take()?;
        Some(Accepted { head: head(response), task })
    }
}

/// A response's head and the task that follows.
pub(super) struct Accepted {
    head: Bytes,
    task: Task,
}

impl Accepted {
    /// Writes the head and runs the task.
    pub(super) async fn run(self, mut taken: Taken) {
        use tokio::io::AsyncWriteExt as _;
        let Self { head, task } = self;
        if let Err(error) = taken.stream.write_all(&head).await {
            tracing::debug!(%error, "a client left during its handshake");
            return;
        }
        drop(head);
        task(taken).await;
    }
}

/// A response's head, as it goes over the wire.
pub(super) fn head(response: &Response) -> Bytes {
    let status = response.status();
    let mut head = String::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or("");
    // Writing to a string does not fail.
    let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_str());
    if !response.headers().contains_key(http::header::DATE)
        && let Some(date) = date()
    {
        let _ = write!(head, "date: {date}\r\n");
    }
    let mut head = head.into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Bytes::from(head)
}

fn date() -> Option<String> {
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().0).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()
}
