//! Which web pages may read answers (the Fetch standard's CORS protocol).
//!
//! Not poem's `Cors`: with no origin configured that one lets every page in, it answers 403 to
//! every other request that carries an `Origin` (which browsers also send with same-origin
//! writes), forgets `Vary`, overwrites one that is there, and allows a preflight when one of the
//! headers asked for is allowed. CORS does not keep requests out, it keeps pages from reading; so
//! here an origin that is not allowed gets its answer without the fields that would let it.
//!
//! Tokens travel in headers that a page sets, not in cookies, so `*` is safe for an API that is
//! meant for all pages.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use schemars::JsonSchema;
use serde::Deserialize;

const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Cache-Control, Range, \
     X-Client-Id, X-Request-Id",
);
/// What pages may read beyond the few fields that they always may.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, WWW-Authenticate, Location, \
     Content-Range, Accept-Ranges, ETag, Idempotency-Replayed",
);
/// Every field of a request that a preflight's answer depends on.
const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// Which web pages may read answers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorsSettings {
    /// Origins whose pages may read answers, like `https://crm.example`; `*` for all. The
    /// server's own pages need none. Default: none.
    pub allowed_origins: Vec<String>,
    /// Whether browsers may send cookies and HTTP authentication along, for a proxy in front that
    /// asks for them. Not together with `*`. Default: false.
    pub allow_credentials: bool,
    /// Seconds for which a browser may remember a preflight. Default: 7200, the most that Chrome
    /// takes.
    pub max_age_s: u32,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self { allowed_origins: Vec::new(), allow_credentials: false, max_age_s: 7_200 }
    }
}

/// What is wrong with `[cors]`, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsSettingsError {
    #[error(
        "{0:?} is not an origin: write scheme, host and port as browsers do, like \
         \"https://crm.example\" or \"http://localhost:4200\", without a path"
    )]
    NoOrigin(String),
    #[error(
        "allow_credentials can't go with the origin \"*\": every page could act with its \
         visitor's cookies; list the origins"
    )]
    CredentialsForAll,
}

impl CorsSettings {
    pub fn validate(&self) -> Result<(), CorsSettingsError> {
        check_origins(&self.allowed_origins)?;
        if self.allow_credentials && self.allows_all() {
            return Err(CorsSettingsError::CredentialsForAll);
        }
        Ok(())
    }

    fn allows_all(&self) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed == "*")
    }
}

/// Whether a list of origins holds what browsers would match, or `*`.
pub fn check_origins(allowed: &[String]) -> Result<(), CorsSettingsError> {
    for origin in allowed {
        let as_browsers_write = url::Url::parse(origin)
            .map(|url| url.origin().ascii_serialization())
            .is_ok_and(|serialized| serialized == *origin && !origin.contains('*'));
        if origin != "*" && !as_browsers_write {
            return Err(CorsSettingsError::NoOrigin(origin.clone()));
        }
    }
    Ok(())
}

/// Whether a list of origins has this one, or all.
pub fn is_allowed(allowed: &[String], origin: &str) -> bool {
    allowed.iter().any(|allowed| allowed == "*" || allowed == origin)
}

/// The middleware, around all routes and inside what makes errors into problems, so that a page
/// can read those too.
#[derive(Clone)]
pub struct Cors(Arc<CorsSettings>);

impl Cors {
    pub fn new(settings: &CorsSettings) -> Self {
        Self(Arc::new(settings.clone()))
    }
}

impl<E: Endpoint> Middleware<E> for Cors {
    type Output = CorsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        CorsEndpoint { settings: self.0.clone(), inner }
    }
}

/// What [`Cors`] makes of an endpoint.
pub struct CorsEndpoint<E> {
    settings: Arc<CorsSettings>,
    inner: E,
}

impl<E: Endpoint> Endpoint for CorsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if self.settings.allowed_origins.is_empty() {
            return self.inner.call(request).await.map(IntoResponse::into_response);
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if let (Some(origin), true) = (&origin, preflight) {
            return Ok(self.settings.answer_preflight(origin));
        }
        let mut response = self.inner.get_response(request).await;
        let headers = response.headers_mut();
        if let Some(origin) = origin.and_then(|origin| self.settings.allowed(&origin)) {
            self.settings.allow(origin, headers);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
        // Also without an origin: a cache must not give that answer to a page.
        if !self.settings.allows_all() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        Ok(response)
    }
}

impl CorsSettings {
    fn answer_preflight(&self, origin: &HeaderValue) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::VARY, PREFLIGHT_VARY);
        if let Some(origin) = self.allowed(origin) {
            self.allow(origin, headers);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age_s.into());
        }
        response
    }

    /// What `Access-Control-Allow-Origin` says to a page of `origin`, if anything.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.allows_all() {
            return Some(HeaderValue::from_static("*"));
        }
        is_allowed(&self.allowed_origins, origin.to_str().ok()?).then(|| origin.clone())
    }

    fn allow(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.allow_credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::{EndpointExt, Route, endpoint::make_sync};

    use super::*;

    fn settings(origins: &[&str], allow_credentials: bool) -> CorsSettings {
        CorsSettings {
            allowed_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            allow_credentials,
            ..CorsSettings::default()
        }
    }

    async fn ask(settings: &CorsSettings, method: Method, headers: &[(&str, &str)]) -> Response {
        let handler = make_sync(|_| StatusCode::OK.with_header("vary", "Accept-Encoding"));
        let app = Route::new().at("/", handler).with(Cors::new(settings));
        let mut request = Request::builder().method(method).uri_str("/");
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        app.get_response(request.finish()).await
    }

    fn allowed_origin(response: &Response) -> Option<&str> {
        let value = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        value.to_str().ok()
    }

    #[tokio::test]
    async fn pages_of_allowed_origins_may_read_and_others_get_their_answer_unread() {
        let one = settings(&["https://crm.example"], false);
        for (cors, origin, expected) in [
            (&one, "https://crm.example", Some("https://crm.example")),
            (&one, "https://crm.example.evil", None),
            (&one, "http://crm.example", None),
            (&one, "null", None),
            (&one, "https://\u{fc}", None),
            (&settings(&["*"], false), "https://any.example", Some("*")),
            (&settings(&[], false), "https://crm.example", None),
        ] {
            let response = ask(cors, Method::GET, &[("origin", origin)]).await;
            assert_eq!(response.status(), StatusCode::OK, "{origin}");
            assert_eq!(allowed_origin(&response), expected, "{origin}");
            let exposed = response.headers().contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS);
            assert_eq!(exposed, expected.is_some(), "{origin}");
            if let Some(exposed) = response.headers().get(header::ACCESS_CONTROL_EXPOSE_HEADERS) {
                assert!(exposed.to_str().unwrap().contains("Idempotency-Replayed"));
            }
            assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
    }

    #[tokio::test]
    async fn caches_keep_origins_apart() {
        let one = settings(&["https://crm.example"], false);
        for headers in [&[][..], &[("origin", "https://crm.example")], &[("origin", "null")]] {
            let response = ask(&one, Method::GET, headers).await;
            let vary: Vec<_> = response.headers().get_all(header::VARY).iter().collect();
            assert_eq!(vary, ["Accept-Encoding", "Origin"], "{headers:?}");
        }
    }

    #[tokio::test]
    async fn preflights_are_answered_here_and_other_options_are_not() {
        let one = settings(&["https://crm.example"], true);
        let asked = [("origin", "https://crm.example"), ("access-control-request-method", "PATCH")];
        let response = ask(&one, Method::OPTIONS, &asked).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(allowed_origin(&response), Some("https://crm.example"));
        let headers = response.headers();
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], ALLOWED_METHODS);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_HEADERS], ALLOWED_HEADERS);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "7200");

        let foreign = [("origin", "https://evil.example"), asked[1]];
        let response = ask(&one, Method::OPTIONS, &foreign).await;
        assert_eq!(allowed_origin(&response), None);
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_METHODS));

        let plain = ask(&one, Method::OPTIONS, &[asked[0]]).await;
        assert_eq!(plain.status(), StatusCode::OK, "the route's own answer");
    }

    #[test]
    fn refuses_what_browsers_would_never_match() {
        for origin in ["crm.example", "https://crm.example/", "https://CRM.example", "https://*"] {
            let refused = settings(&[origin], false).validate();
            assert_eq!(refused, Err(CorsSettingsError::NoOrigin(origin.to_owned())));
        }
        for origin in ["https://crm.example", "http://localhost:4200", "*"] {
            assert_eq!(settings(&[origin], false).validate(), Ok(()), "{origin}");
        }
        let all = settings(&["*"], true).validate();
        assert_eq!(all, Err(CorsSettingsError::CredentialsForAll));
    }
}
