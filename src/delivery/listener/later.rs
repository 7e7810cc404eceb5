//! Answers that come later, at the price of a socket.
//!
//! A long poll waits for up to a minute, and hyper keeps some 16 KiB of buffers for a request under
//! way, beside the futures of all layers that the request passed. So a handler that has to wait
//! says so: it returns the answer's common header fields at once with a [`Later`], HTTP is put
//! away as for a takeover, and what waits is the handler's own future. The answer is written to
//! the bare socket, and then the connection is HTTP's again.
//!
//! **Invariant:** what the client sends meanwhile (its next request) is kept and read first
//! afterwards.

use std::{
    collections::VecDeque, fmt, future::poll_fn, pin::Pin, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use poem::Response;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    stream::Stream,
    takeover::{Taken, head},
};
use crate::{
    delivery::write::{WriteError, write_all},
    runtime::shutdown::Shutdown,
};

/// What a client may send before it has its answer; then nothing more is read, and whether it
/// leaves is noticed when it is answered.
const READ_AHEAD_BYTES_MAX: usize = 4_096;
/// Read at once, while waiting. It lies in the future of every connection that waits.
const PIECE_BYTES: usize = 64;
/// For so long at most a client may take to read an answer, however steadily it reads.
const WRITE_MAX: Duration = Duration::from_secs(600);

type Answer = BoxFuture<'static, Response>;

/// Marks a response whose place another one takes, later.
#[derive(Clone)]
pub struct Later(Arc<Mutex<Option<Answer>>>);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl Later {
    /// `response` lends its header fields to `answer`, which goes out in its place. The future is
    /// dropped when the client leaves, and at `Shutdown::stopping`; `draining` it watches itself,
    /// as it does its own time.
    pub fn attach(
        response: Response,
        answer: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let mut response = response;
        let answer: Answer = Box::pin(answer);
        response.extensions_mut().insert(Later(Arc::new(Mutex::new(Some(answer)))));
        response
    }

    /// Takes it out of a response on its way to the socket. `keeps_alive`: the client wants to go
    /// on with the connection afterwards.
    pub(super) fn detach(response: &mut Response, keeps_alive: bool) -> Option<Waiting> {
        let later = response.extensions_mut().remove::<Later>()?;
        let answer = later.0.lock().take()?;
        Some(Waiting { headers: std::mem::take(response.headers_mut()), answer, keeps_alive })
    }
}

/// An answer that is awaited.
pub(super) struct Waiting {
    headers: HeaderMap,
    answer: Answer,
    keeps_alive: bool,
}

impl Waiting {
    /// The answer, for a connection that HTTP can't let go of.
    pub(super) async fn here(self) -> Response {
        with_headers(self.answer.await, self.headers)
    }

    /// Awaits the answer and writes it. The connection comes back when it can take another
    /// request.
    pub(super) async fn run(
        self,
        taken: Taken,
        shutdown: &Shutdown,
        stall: Duration,
    ) -> Option<Taken> {
        let Self { headers, answer, keeps_alive } = self;
        let Taken { mut stream, read_ahead } = taken;
        let mut kept = Kept::new(&read_ahead);
        drop(read_ahead);
        let mut response =
            with_headers(answer_unless_left(answer, &mut stream, &mut kept).await?, headers);
        let goes_on = keeps_alive && !shutdown.draining.is_cancelled();
        if !goes_on {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let mut queue = in_bytes(response).await?;
        match write_all(&mut stream, &mut queue, stall, WRITE_MAX).await {
            Ok(()) => {}
            Err(WriteError::Stalled) => {
                stream.abort();
                return None;
            }
            Err(WriteError::Broken(error)) => {
                tracing::debug!(%error, "a client left while it was answered");
                return None;
            }
        }
        goes_on.then(|| Taken { stream, read_ahead: kept.bytes.freeze() })
    }
}

/// What the client has sent meanwhile.
struct Kept {
    bytes: BytesMut,
}

impl Kept {
    fn new(read_ahead: &[u8]) -> Self {
        Self { bytes: BytesMut::from(read_ahead) }
    }

    /// Ready when the client has left. Never when it has sent too much to be read on.
    fn poll_left(&mut self, cx: &mut std::task::Context<'_>, stream: &mut Stream) -> Poll<()> {
        while self.bytes.len() < READ_AHEAD_BYTES_MAX {
            let mut piece = [0; PIECE_BYTES];
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.bytes.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}

/// `None` when the client has left before.
async fn answer_unless_left(
    answer: Answer,
    stream: &mut Stream,
    kept: &mut Kept,
) -> Option<Response> {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        if let Poll::Ready(response) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        kept.poll_left(cx, stream).map(|()| None)
    })
    .await
}

/// The answer's own header fields win.
fn with_headers(mut response: Response, lent: HeaderMap) -> Response {
    let own = response.headers_mut();
    for (name, value) in &lent {
        if !own.contains_key(name) {
            own.append(name, value.clone());
        }
    }
    response
}

async fn in_bytes(mut response: Response) -> Option<VecDeque<Bytes>> {
    // Made of bytes that are there: this does not fail.
    let body = response.take_body().into_bytes().await.ok()?;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut queue = VecDeque::from([head(&response)]);
    if !body.is_empty() {
        queue.push_back(body);
    }
    Some(queue)
}
