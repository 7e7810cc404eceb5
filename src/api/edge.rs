//! Around every route: the outermost layer that a request passes, and the last word on what goes
//! out.
//!
//! A request comes from the listener, gets an id, is bounded in length, and goes to its route;
//! what comes back is counted under the route's template, and every error becomes a problem:
//! ours, poem's own (404, 405, 413, 415), a panic's.
//!
//! **Invariant:** no answer of 400 or more leaves without `application/problem+json`, and none
//! tells internal text.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, Result};
use tokio::time::Instant;
use tracing::Instrument;

use super::{problem, settings::ApiSettings};
use crate::{
    metrics::{HTTP_REQUESTS, HTTP_SECONDS},
    runtime::clock::Clock,
    wire::problem::{Code, Problem},
};

/// Names a request in answers and logs. A client's own is kept when it is short and plain.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client, in characters.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// The layer. `app` puts it around all routes, those of `delivery` included.
#[derive(Clone)]
pub struct Edge {
    clock: Arc<dyn Clock>,
    uri_length_max: usize,
}

impl Edge {
    pub fn new(settings: &ApiSettings, clock: Arc<dyn Clock>) -> Self {
        Self { clock, uri_length_max: settings.uri_length_max_bytes }
    }
}

impl<E: Endpoint> Middleware<E> for Edge {
    type Output = EdgeEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        EdgeEndpoint { edge: self.clone(), inner }
    }
}

/// What [`Edge`] makes of an endpoint.
pub struct EdgeEndpoint<E> {
    edge: Edge,
    inner: E,
}

impl<E: Endpoint> Endpoint for EdgeEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let started = Instant::now();
        let id = self.edge.request_id(&request);
        let method = method_label(request.method());
        request.headers_mut().insert(REQUEST_ID, id.clone());

        let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method);
        let mut response = self.answer(request).instrument(span.clone()).await;

        // The pattern is set on the answer by the route that matched.
        let route = response.data::<PathPattern>().map_or_else(
            || metrics::SharedString::const_str("unmatched"),
            |pattern| pattern.0.clone().into(),
        );
        span.in_scope(|| log_failure(response.status(), &route));
        count(method, route, response.status(), started.elapsed());
        finish_headers(&mut response, id);
        Ok(response)
    }
}

impl<E: Endpoint> EdgeEndpoint<E> {
    /// The route's answer, or the problem that stands for its error.
    async fn answer(&self, request: Request) -> Response {
        let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
        if length > self.edge.uri_length_max {
            return Problem::new(Code::UriTooLong).into_response();
        }
        let result = AssertUnwindSafe(self.inner.call(request)).catch_unwind().await;
        let result = result.unwrap_or_else(|_panic| {
            // The panic hook has logged it, with its place.
            Err(Problem::new(Code::Internal).into())
        });
        match result {
            Ok(answer) => as_problem(answer.into_response()),
            Err(error) => {
                let pattern = error.data::<PathPattern>().cloned();
                let mut response = match error_response(&error) {
                    Some(response) => response,
                    None => as_problem(error.into_response()),
                };
                if let Some(pattern) = pattern {
                    response.set_data(pattern);
                }
                response
            }
        }
    }
}

impl Edge {
    fn request_id(&self, request: &Request) -> HeaderValue {
        let given = request.headers().get(&REQUEST_ID).filter(|value| is_plain_id(value));
        given.cloned().unwrap_or_else(|| {
            HeaderValue::try_from(self.clock.new_id().to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        })
    }
}

fn is_plain_id(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=REQUEST_ID_LENGTH_MAX).contains(&value.len()) && value.as_bytes().iter().all(plain)
}

/// The problem for an error that is not a ready answer.
fn error_response(error: &poem::Error) -> Option<Response> {
    if error.is_from_response() {
        return None;
    }
    Some(problem::of_poem_error(error).into_response())
}

/// An answer of 400 or more that is no problem yet (a middleware's plain text) becomes one, with
/// its header fields kept.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.content_type() == Some(problem::CONTENT_TYPE) {
        return response;
    }
    let mut made = problem::of_status(status).into_response();
    made.set_status(status);
    for (name, value) in response.headers() {
        if !made.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            made.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Some(pattern) = response.data::<PathPattern>() {
        made.set_data(pattern.clone());
    }
    made
}

fn log_failure(status: StatusCode, route: &str) {
    if status.is_server_error() {
        tracing::warn!(route, status = status.as_u16(), "a request could not be answered");
    } else {
        tracing::debug!(route, status = status.as_u16(), "answered a request");
    }
}

fn count(method: &'static str, route: metrics::SharedString, status: StatusCode, took: Duration) {
    metrics::counter!(
        HTTP_REQUESTS,
        "method" => method,
        "route" => route.clone(),
        "status" => status_label(status),
    )
    .increment(1);
    metrics::histogram!(HTTP_SECONDS, "method" => method, "route" => route).record(took);
}

/// The method for a label: clients may invent others.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn status_label(status: StatusCode) -> metrics::SharedString {
    match status.as_u16() {
        200 => "200".into(),
        202 => "202".into(),
        other => other.to_string().into(),
    }
}

/// What every answer carries. Answers are personal data unless a route says that they are not.
fn finish_headers(response: &mut Response, request_id: HeaderValue) {
    let is_unread = response.status() == StatusCode::PAYLOAD_TOO_LARGE;
    let headers = response.headers_mut();
    if is_unread {
        // The rest of the body is still on its way, so the connection can't take another request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(REQUEST_ID, request_id);
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use poem::{Body, EndpointExt, Route, endpoint::make_sync, error::NotFoundError};

    use super::*;
    use crate::{domain::time::Timestamp, runtime::clock::ManualClock};

    fn edge() -> Edge {
        Edge::new(&ApiSettings::default(), Arc::new(ManualClock::at(Timestamp(0))))
    }

    fn get(path: &str) -> Request {
        Request::builder().method(Method::GET).uri_str(path).finish()
    }

    async fn code_of(response: Response) -> String {
        assert_eq!(response.content_type(), Some(problem::CONTENT_TYPE));
        let body: serde_json::Value = response.into_body().into_json().await.unwrap();
        body["code"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn every_error_leaves_as_a_problem() {
        let app = Route::new()
            .at("/panics", make_sync(|_| -> Response { panic!("secret") }))
            .at("/plain", make_sync(|_| StatusCode::PAYLOAD_TOO_LARGE))
            .at(
                "/inner",
                make_sync(|_| -> Result<Response> {
                    let secret = std::io::Error::other("secret");
                    Err(poem::Error::new(secret, StatusCode::INTERNAL_SERVER_ERROR))
                }),
            )
            .at("/gone", make_sync(|_| -> Result<Response> { Err(NotFoundError.into()) }))
            .with(edge());
        for (path, status, code) in [
            ("/panics", 500, "internal"),
            ("/plain", 413, "body_too_large"),
            ("/inner", 500, "internal"),
            ("/gone", 404, "route_not_found"),
            ("/nowhere", 404, "route_not_found"),
        ] {
            let response = app.get_response(get(path)).await;
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert!(response.headers().contains_key(&REQUEST_ID), "{path}");
            assert_eq!(code_of(response).await, code, "{path}");
        }
    }

    #[tokio::test]
    async fn keeps_a_plain_request_id_and_replaces_any_other() {
        let app = make_sync(|_| Body::empty()).with(edge());
        for (given, kept) in [("abc-1", true), ("a b", false), ("", false)] {
            let mut request = get("/");
            request.headers_mut().insert(REQUEST_ID, HeaderValue::from_static(given));
            let response = app.get_response(request).await;
            assert_eq!(response.headers()[&REQUEST_ID] == given, kept, "{given:?}");
        }
    }

    #[tokio::test]
    async fn a_long_address_is_turned_away() {
        let app = make_sync(|_| Body::empty()).with(edge());
        let response = app.get_response(get(&format!("/?q={}", "x".repeat(9_000)))).await;
        assert_eq!(response.status(), StatusCode::URI_TOO_LONG);
        assert_eq!(code_of(response).await, "uri_too_long");
    }
}
