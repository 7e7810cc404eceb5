//! What an operator's tools ask: `/metrics`, `/health/live`, `/health/ready`.

use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use poem::{
    Endpoint, IntoResponse, Response, Route,
    endpoint::{make, make_sync},
    http::{StatusCode, header},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    api::only_get,
    event_log::EventLog,
    metrics::{self, DELIVERY_LAG_SECONDS, Kind},
    wire::problem::{Code, Problem},
};

/// Upper bounds, in seconds, of all duration histograms: from a commit to a slow request.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Upper bounds, in seconds, of the delivery lag, which is known in whole milliseconds.
const LAG_SECONDS: &[f64] =
    &[0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How long a load balancer is asked to leave an instance alone that is not ready.
const NOT_READY_RETRY_S: u64 = 2;

/// The process's recorder: there can be one only, so that several apps in one process (as in
/// tests) share it.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder, once, and describes every metric of the table.
///
/// # Errors
/// When another recorder is installed already.
pub fn install_recorder() -> anyhow::Result<PrometheusHandle> {
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full(DELIVERY_LAG_SECONDS.into()), LAG_SECONDS)?
        .install_recorder()?;
    for metric in metrics::ALL {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    Ok(RECORDER.get_or_init(|| handle).clone())
}

/// What readiness depends on.
#[derive(Clone)]
pub struct Readiness {
    pub log: Arc<dyn EventLog>,
    /// Whether the projector has caught up with the log.
    pub caught_up: Arc<dyn Fn() -> bool + Send + Sync>,
    pub draining: CancellationToken,
}

impl Readiness {
    /// What stands in the way; empty when ready.
    async fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if self.draining.is_cancelled() {
            obstacles.push("the instance is about to stop".to_owned());
        }
        if !(self.caught_up)() {
            obstacles.push("the read model is catching up with the event log".to_owned());
        }
        if self.log.health().await.is_err() {
            obstacles.push("the event log can't store events now".to_owned());
        }
        obstacles
    }
}

/// Adds `/metrics`, `/health/live` and `/health/ready`. They need no token: an operator who wants
/// them hidden does that in the proxy.
pub fn mount(routes: Route, recorder: PrometheusHandle, readiness: Readiness) -> Route {
    routes
        .at("/metrics", only_get(exposition(recorder)))
        .at("/health/live", only_get(live()))
        .at("/health/ready", only_get(ready(readiness)))
}

fn exposition(recorder: PrometheusHandle) -> impl Endpoint {
    make_sync(move |_| {
        Response::builder()
            .header(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
            .header(header::CACHE_CONTROL, "no-store")
            .body(recorder.render())
    })
}

fn live() -> impl Endpoint {
    make_sync(|_| health(StatusCode::OK, &json!({ "status": "live" })))
}

fn ready(readiness: Readiness) -> impl Endpoint {
    make(move |_| {
        let readiness = readiness.clone();
        async move {
            let obstacles = readiness.obstacles().await;
            if obstacles.is_empty() {
                return health(StatusCode::OK, &json!({ "status": "ready" }));
            }
            Problem::new(Code::NotReady)
                .detail(obstacles.join("; "))
                .retry_after_s(NOT_READY_RETRY_S)
                .into_response()
        }
    })
}

fn health(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(body.to_string())
}
