//! One connection: HTTP/1 by hyper until it ends or is taken over.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Version, header, uri::Scheme};
use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use poem::{
    Addr, Endpoint as _, IntoResponse, Response,
    endpoint::BoxEndpoint,
    web::{LocalAddr, RemoteAddr},
};

use super::{
    ListenerSettings,
    admission::Admitted,
    http_io::HttpIo,
    later::{Later, Waiting},
    stream::Stream,
    takeover::{Accepted, Taken, Takeover},
};
use crate::{
    runtime::shutdown::Shutdown,
    wire::problem::{Code, Problem},
};

/// What hyper may hold of a body, so that large ones need few system calls.
const HTTP_BUFFER_BYTES: usize = 65_536;

/// All that connections have in common.
#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

struct Inner {
    endpoint: BoxEndpoint<'static>,
    local_address: LocalAddr,
    settings: Arc<ListenerSettings>,
    shutdown: Shutdown,
}

impl Server {
    pub(super) fn new(
        endpoint: BoxEndpoint<'static>,
        local_address: SocketAddr,
        settings: Arc<ListenerSettings>,
        shutdown: Shutdown,
    ) -> Self {
        let local_address = LocalAddr(Addr::SocketAddr(local_address));
        Self(Arc::new(Inner { endpoint, local_address, settings, shutdown }))
    }

    pub(super) fn settings(&self) -> &ListenerSettings {
        &self.0.settings
    }

    pub(super) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Serves a connection in a task of its own.
    pub(super) fn spawn(&self, stream: Stream, remote: SocketAddr, admitted: Admitted) {
        let server = self.clone();
        self.0.shutdown.spawn(async move {
            let _admitted = admitted;
            tokio::select! {
                biased;
                () = server.0.shutdown.stopping.cancelled() => {}
                () = server.serve(stream, remote) => {}
            }
        });
    }

    /// HTTP, and then who takes the connection over, if somebody does; HTTP again after an answer
    /// that came later. Each stage is boxed: what HTTP needs is freed meanwhile.
    async fn serve(&self, stream: Stream, remote: SocketAddr) {
        let mut connection = Taken { stream, read_ahead: Bytes::new() };
        let mut requests = 0;
        loop {
            let http: BoxFuture<'_, _> = Box::pin(self.serve_http(connection, remote, requests));
            let Some((detour, taken, served)) = http.await else { return };
            requests = served;
            let detour: BoxFuture<'_, _> = match detour {
                Detour::Takeover(accepted) => Box::pin(async {
                    accepted.run(taken).await;
                    None
                }),
                Detour::Later(waiting) => {
                    let stall = self.0.settings.write_stall_timeout();
                    Box::pin(waiting.run(taken, &self.0.shutdown, stall))
                }
            };
            let Some(back) = detour.await else { return };
            connection = back;
        }
    }

    /// Serves requests on a connection that has had `requests` of them. Answers what comes next,
    /// and how many there were then; `None` when the connection has ended.
    async fn serve_http(
        &self,
        connection: Taken,
        remote: SocketAddr,
        requests: u64,
    ) -> Option<(Detour, Taken, u64)> {
        let settings = &self.0.settings;
        let exchange = Arc::new(Exchange::new(requests));
        let io = HttpIo::new(connection, exchange.clone(), settings.write_stall_timeout());
        let service = HttpService {
            server: self.clone(),
            remote: RemoteAddr(Addr::SocketAddr(remote)),
            exchange: exchange.clone(),
        };
        let mut connection = self.builder(&exchange).serve_connection(TokioIo::new(io), service);
        let draining = &self.0.shutdown.draining;
        let outcome = tokio::select! {
            biased;
            () = draining.cancelled() => None,
            detour = ended_or_taken_over(&mut connection, &exchange) => Some(detour),
        };
        let detour = match outcome {
            Some(detour) => detour,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                let rest = ended_or_taken_over(&mut connection, &exchange);
                tokio::time::timeout(settings.drain_timeout(), rest).await.ok().flatten()
            }
        }?;
        let parts = connection.into_parts();
        let (stream, unread) = parts.io.into_inner().into_parts();
        // Copied, so that hyper's buffer does not live on behind a few bytes or none.
        let read_ahead = Bytes::from([&*parts.read_buf, &*unread].concat());
        Some((detour, Taken { stream, read_ahead }, exchange.requests.load(Relaxed)))
    }

    fn builder(&self, exchange: &Arc<Exchange>) -> http1::Builder {
        let settings = self.settings();
        let mut builder = http1::Builder::new();
        builder
            .half_close(false)
            .max_headers(settings.header_count_max)
            .max_header_size(settings.header_bytes_max)
            .max_buf_size(settings.header_bytes_max.max(HTTP_BUFFER_BYTES))
            .header_read_timeout(settings.keep_alive_idle_timeout())
            .timer(HeadTimer {
                exchange: exchange.clone(),
                head_timeout: settings.header_read_timeout(),
            });
        builder
    }
}

/// What follows HTTP on a connection.
enum Detour {
    Takeover(Accepted),
    Later(Waiting),
}

/// Drives HTTP until the connection ends (`None`) or a response takes it over and all that was
/// answered before has left.
async fn ended_or_taken_over(
    connection: &mut http1::Connection<TokioIo<HttpIo>, HttpService>,
    exchange: &Exchange,
) -> Option<Detour> {
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended with an error");
            }
            return Poll::Ready(None);
        }
        if !exchange.flushed.load(Relaxed) {
            return Poll::Pending;
        }
        match exchange.detour.lock().take() {
            Some(detour) => Poll::Ready(Some(detour)),
            None => Poll::Pending,
        }
    })
    .await
}

/// What a connection's parts tell each other: its socket, its timer, its service and its driver.
pub(super) struct Exchange {
    bytes_read: AtomicU64,
    requests: AtomicU64,
    /// Whether all that hyper has answered so far has left.
    flushed: AtomicBool,
    detour: Mutex<Option<Detour>>,
}

impl Exchange {
    fn new(requests: u64) -> Self {
        Self {
            bytes_read: AtomicU64::new(0),
            requests: AtomicU64::new(requests),
            flushed: AtomicBool::new(true),
            detour: Mutex::new(None),
        }
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Relaxed);
    }
}

/// Hands hyper's requests to the endpoint.
struct HttpService {
    server: Server,
    remote: RemoteAddr,
    exchange: Arc<Exchange>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for HttpService {
    type Response = hyper::Response<BoxBody<Bytes, std::io::Error>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.exchange.requests.fetch_add(1, Relaxed);
        let server = self.server.clone();
        let remote = self.remote.clone();
        let exchange = self.exchange.clone();
        Box::pin(async move {
            let may_be_taken_over = request.body().is_end_stream();
            let keeps_alive = keeps_alive(&request);
            let has_no_answer_body = request.method() == Method::HEAD;
            let request = (request, server.0.local_address.clone(), remote, Scheme::HTTP).into();
            let answer = server.0.endpoint.get_response(request);
            let timeout = server.settings().request_timeout();
            let Ok(mut response) = tokio::time::timeout(timeout, answer).await else {
                return Ok(timed_out().into());
            };
            let detour = match Later::detach(&mut response, keeps_alive) {
                // The rest of a body would be taken for the next request.
                Some(waiting) if !may_be_taken_over || has_no_answer_body => {
                    return Ok(waiting.here().await.into());
                }
                Some(waiting) => Detour::Later(waiting),
                None => match Takeover::detach(&mut response) {
                    // Or for the other protocol's first bytes.
                    Some(_) if !may_be_taken_over => return Ok(with_body().into()),
                    Some(accepted) => Detour::Takeover(accepted),
                    None => return Ok(response.into()),
                },
            };
            *exchange.detour.lock() = Some(detour);
            pending().await
        })
    }
}

/// Whether the connection may take another request after this one. Clients of HTTP/1.0 come
/// anew.
fn keeps_alive(request: &hyper::Request<Incoming>) -> bool {
    let says_close = |value: &HeaderValue| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    request.version() == Version::HTTP_11
        && !request.headers().get_all(header::CONNECTION).iter().any(says_close)
}

fn timed_out() -> Response {
    last_answer(Problem::new(Code::Overloaded).detail("the request took too long"))
}

fn with_body() -> Response {
    let detail = "a request that changes the protocol has no body";
    last_answer(Problem::new(Code::InvalidRequest).detail(detail))
}

/// An answer that the listener gives by itself, after which the connection ends.
fn last_answer(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Tells hyper the time, and bounds the reading of heads in two steps: a connection may be idle
/// for long, but once a head has begun it must be complete soon. hyper knows one time-out for
/// both; it starts a timer when it begins to wait and drops it when the head is complete.
struct HeadTimer {
    exchange: Arc<Exchange>,
    head_timeout: Duration,
}

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadSleep {
            sleep: tokio::time::sleep_until(deadline.into()),
            bytes_before: self.exchange.bytes_read.load(Relaxed),
            begun: false,
            exchange: self.exchange.clone(),
            head_timeout: self.head_timeout,
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

pin_project! {
    struct HeadSleep {
        #[pin]
        sleep: tokio::time::Sleep,
        bytes_before: u64,
        begun: bool,
        exchange: Arc<Exchange>,
        head_timeout: Duration,
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.begun {
            let first = this.exchange.requests.load(Relaxed) == 0;
            *this.begun = first || this.exchange.bytes_read.load(Relaxed) > *this.bytes_before;
            let soon = tokio::time::Instant::now() + *this.head_timeout;
            if *this.begun && soon < this.sleep.deadline() {
                this.sleep.as_mut().reset(soon);
            }
        }
        this.sleep.poll(cx)
    }
}

impl hyper::rt::Sleep for HeadSleep {}
