//! Connections and routes. A connection can be cut in the middle, which is why this is hyper itself.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{Faults, Shared, cloud, waha};
use crate::runtime::shutdown::Shutdown;

/// The most connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 1024;
/// The longest body: a document, as WhatsApp allows.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;
/// How long an answer that never comes is kept back, before the connection is cut.
const SILENCE: Duration = Duration::from_secs(300);

/// A call, read.
pub(super) struct Call {
    pub(super) method: Method,
    /// The path's parts.
    pub(super) path: Vec<String>,
    pub(super) query: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Null` when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// By which the caller knows this server.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.header("host").unwrap_or("localhost"))
    }
}

/// What a call comes to.
pub(super) enum Reply {
    Json(u16, Value),
    File { mime_type: String, bytes: Bytes },
    Cut,
    Never,
}

impl Reply {
    pub(super) fn not_found() -> Self {
        Reply::Json(404, json!({"statusCode": 404, "message": "not found", "error": "Not Found"}))
    }
}

/// Ends the connection without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulator cuts the connection")
    }
}

impl std::error::Error for Cut {}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.stopping.cancelled() => return,
        };
        // Out of file handles, or a peer that is gone already.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (shared, stopping) = (shared.clone(), shutdown.stopping.clone());
        shutdown.spawn(async move {
            tokio::select! {
                () = serve_connection(stream, shared) => {}
                () = stopping.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move { respond(&shared, request).await }
    });
    // It ends with an error whenever it is cut, which is what is wanted.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Cut)?.to_bytes();
    let decode = |text: &str| {
        url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    let path = head.uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let query = head.uri.query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let call = Call { method: head.method, path, query, headers: head.headers, body };
    let (status, content_type, bytes) = match route(shared, &call).await {
        Reply::Json(status, json) => {
            (status, "application/json".to_owned(), Bytes::from(json.to_string()))
        }
        Reply::File { mime_type, bytes } => (200, mime_type, bytes),
        Reply::Cut => return Err(Cut),
        Reply::Never => {
            tokio::time::sleep(SILENCE).await;
            return Err(Cut);
        }
    };
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or_default())
        .header(header::CONTENT_TYPE, content_type)
        .body(Full::new(bytes))
        .map_err(|_| Cut)
}

async fn route(shared: &Arc<Shared>, call: &Call) -> Reply {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["ledger"]) => {
            let mut view = shared.ledger_view();
            if call.query.get("summary").is_some_and(|value| value == "true") {
                view.entries.clear();
            }
            Reply::Json(200, serde_json::to_value(view).unwrap_or_default())
        }
        ("PUT", ["faults"]) => match serde_json::from_slice::<Faults>(&call.body) {
            Ok(faults) => {
                shared.faults.store(Arc::new(faults));
                Reply::Json(200, json!({"success": true}))
            }
            Err(error) => Reply::Json(400, json!({"message": error.to_string()})),
        },
        (_, ["api", ..]) => waha::answer(shared, call, &path[1..]).await,
        (_, [version, rest @ ..]) if is_version(version) => cloud::answer(shared, call, rest).await,
        _ => cloud::answer(shared, call, &path).await,
    }
}

/// `v24.0`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}
