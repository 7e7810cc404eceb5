//! Errors as clients see them: problem details of RFC 9457, with a stable `code`.
//!
//! Made by `api` and `delivery` from what went wrong inside, and by nobody else. The shape stands
//! here, the conversions (domain errors in, HTTP responses out) are trait impls in
//! `api::problem`, so that `delivery` has them without importing `api`.
//!
//! **Invariant:** what a problem says never holds a secret, personal data or internal text.

use std::fmt;

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

/// Where the table of all codes is served; `type` points into it.
pub const TABLE_PATH: &str = "/problems";

macro_rules! codes {
    ($($code:ident $text:literal $status:literal $title:literal $help:literal;)*) => {
        /// Why a request was not done. Stable: clients decide by it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $code),* }

        impl Code {
            /// All of them, in the order of their status.
            pub const ALL: &[Code] = &[$(Code::$code),*];

            /// As it stands in `code`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text),* }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Code::$code => $status),* }
            }

            /// The same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$code => $title),* }
            }

            /// What the client does next.
            pub const fn help(self) -> &'static str {
                match self { $(Code::$code => $help),* }
            }
        }
    };
}

codes! {
    InvalidParameter "invalid_parameter" 400 "A parameter can't be read" "Mend the parameters named in `errors`.";
    InvalidJson "invalid_json" 400 "The body is not JSON" "Send well-formed JSON in UTF-8.";
    InvalidCursor "invalid_cursor" 400 "The cursor is malformed" "Send a cursor exactly as the server gave it.";
    InvalidRequest "invalid_request" 400 "The request can't be understood" "Mend the request; repeating it does not help.";
    MalformedWebhook "malformed_webhook" 400 "The webhook can't be read" "For providers: the body is signed and not of the provider's form.";
    TokenMissing "token_missing" 401 "A token is needed" "Send `Authorization: Bearer <token>`.";
    TokenInvalid "token_invalid" 401 "The token is not valid" "Get a new token.";
    TokenExpired "token_expired" 401 "The token has expired" "Get a new token and repeat.";
    SignatureInvalid "signature_invalid" 401 "The signature is missing or wrong" "For providers: sign the raw body with the configured secret.";
    ScopeMissing "scope_missing" 403 "The token does not allow this" "Get a token with the scope that `detail` names.";
    VerificationFailed "verification_failed" 403 "The verification token is wrong" "For providers: use the configured verify token.";
    OriginForbidden "origin_forbidden" 403 "This origin may not connect" "Have the server allow the page's origin.";
    RouteNotFound "route_not_found" 404 "There is no such route" "Look the path up in /openapi.json.";
    NotFound "not_found" 404 "There is no such thing" "It does not exist, or is not of this tenant.";
    MethodNotAllowed "method_not_allowed" 405 "The route has no such method" "Use one of the methods in `Allow`.";
    RequestTimeout "request_timeout" 408 "The request took too long to arrive" "Send it again.";
    Conflict "conflict" 409 "Another request is in the way" "Read the state again and decide anew.";
    WindowClosed "window_closed" 409 "The 24-hour window is closed" "Send a template: `GET /v1/templates` lists them. Text can be sent again once the contact has written.";
    NotConnected "not_connected" 409 "The tenant has no way to send" "Have the operator configure a number or session for the tenant.";
    NotRetryable "not_retryable" 409 "This message can't be sent again" "It is under way or was sent; its status tells.";
    BotNotActive "bot_not_active" 409 "The bot is not active" "Switch it to `active` with `PUT /v1/bot/status`.";
    BotDisabled "bot_disabled" 409 "The bot is switched off in this conversation" "Leave the conversation to people, or set `bot_enabled`.";
    BotPaused "bot_paused" 409 "A person has answered" "Leave the conversation to people until the time that `detail` names.";
    UnknownCursor "unknown_cursor" 410 "The cursor is of another event store" "Load the snapshot and go on from `cursor`.";
    ExpiredCursor "expired_cursor" 410 "The cursor is older than what is kept" "Load the snapshot and go on from `cursor`.";
    TooFarBehind "too_far_behind" 410 "The cursor is too far behind" "Load the snapshot and go on from `cursor`.";
    MediaGone "media_gone" 410 "The medium could not be fetched" "The provider does not have it any more; asking again does not help.";
    BodyTooLarge "body_too_large" 413 "The body is too large" "Send less at once.";
    QuotaUsedUp "quota_used_up" 413 "The tenant's room for media is used up" "Ask the operator for more, or erase what is not needed.";
    UriTooLong "uri_too_long" 414 "The address is too long" "Shorten the query.";
    UnsupportedMediaType "unsupported_media_type" 415 "The body's media type is not supported" "Send what the operation takes: `Content-Type: application/json`, or a medium that WhatsApp takes.";
    RangeNotSatisfiable "range_not_satisfiable" 416 "The range lies outside of the medium" "`Content-Range` says how large it is.";
    ValidationFailed "validation_failed" 422 "The request is not valid" "Mend what `errors` names.";
    IdempotencyKeyReused "idempotency_key_reused" 422 "The Idempotency-Key was used with another request" "Use a new key for a new request.";
    UpgradeRequired "upgrade_required" 426 "This route speaks WebSocket" "Connect with a WebSocket client.";
    RateLimited "rate_limited" 429 "Too many requests" "Wait for the seconds in `Retry-After`.";
    TooManyConnections "too_many_connections" 429 "Too many connections" "Close some, or wait for the seconds in `Retry-After`.";
    HeadersTooLarge "headers_too_large" 431 "The header fields are too large" "Send less in headers.";
    Internal "internal" 500 "Something failed inside" "Try again later; tell the operator the `X-Request-Id`.";
    NotSupported "not_supported" 501 "This is not supported here" "Ask the operator.";
    Overloaded "overloaded" 503 "The server is busy" "Wait for the seconds in `Retry-After`.";
    LogUnavailable "log_unavailable" 503 "Nothing can be stored now" "Nothing was stored. Wait for the seconds in `Retry-After` and repeat.";
    OutcomeUnknown "outcome_unknown" 503 "It is not known whether this was stored" "Repeat it with the same Idempotency-Key.";
    MediaPending "media_pending" 503 "The medium is still being fetched" "Wait for the seconds in `Retry-After` and ask again.";
    MediaUnavailable "media_unavailable" 503 "The media store does not answer" "Wait for the seconds in `Retry-After`.";
    ProviderUnavailable "provider_unavailable" 503 "WhatsApp does not answer" "Wait for the seconds in `Retry-After`.";
    AuthUnavailable "auth_unavailable" 503 "Tokens can't be checked now" "Wait for the seconds in `Retry-After`.";
    NotReady "not_ready" 503 "This instance does not serve yet" "Wait for the seconds in `Retry-After`; another instance answers.";
    Draining "draining" 503 "This instance is about to stop" "Repeat; another instance answers.";
    NotProjectedYet "not_projected_yet" 504 "This instance has not come that far" "Repeat with the same `at_least`.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with a request. Either `pointer` or `parameter` is set.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct FieldError {
    /// What is wrong with it.
    pub detail: String,
    /// JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of the path, query or header parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

impl FieldError {
    pub fn at_pointer(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), pointer: Some(pointer.into()), parameter: None }
    }

    pub fn of_parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), pointer: None, parameter: Some(name.into()) }
    }
}

/// Problem details (RFC 9457) as they are sent, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct ProblemBody {
    /// Address of the description of `code`.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// Short, and the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// Stable, for programs; the table is at `/problems`.
    pub code: String,
    /// What is wrong in detail, for `validation_failed` and `invalid_parameter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
    /// With `410`: where to go on after loading the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A problem on its way out. Small, since it travels in every `Result`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    cursor: Option<String>,
    retry_after_s: Option<u64>,
    allow: Option<String>,
    scope: Option<&'static str>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self(Box::new(Details {
            code,
            detail: None,
            errors: Vec::new(),
            cursor: None,
            retry_after_s: None,
            allow: None,
            scope: None,
        }))
    }

    /// What is wrong this time; without it `detail` repeats the title.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Where the client goes on after a `410`.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.0.cursor = Some(cursor.into());
        self
    }

    /// Sends `Retry-After`.
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Sends `Allow`, the methods separated by commas.
    pub fn allow(mut self, methods: impl Into<String>) -> Self {
        self.0.allow = Some(methods.into());
        self
    }

    /// The scope that the token lacks.
    pub fn scope(mut self, scope: &'static str) -> Self {
        self.0.scope = Some(scope);
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn status(&self) -> u16 {
        self.0.code.status()
    }

    /// Header fields beside `Content-Type` that this problem is sent with.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let details = &self.0;
        let mut headers = Vec::new();
        if let Some(seconds) = details.retry_after_s {
            headers.push(("retry-after", seconds.to_string()));
        }
        if let Some(methods) = &details.allow {
            headers.push(("allow", methods.clone()));
        }
        if let Some(challenge) = self.challenge() {
            headers.push(("www-authenticate", challenge));
        }
        headers
    }

    /// `WWW-Authenticate` of RFC 6750, where a token could help.
    fn challenge(&self) -> Option<String> {
        const REALM: &str = "Bearer realm=\"condorito\"";
        match self.0.code {
            Code::TokenMissing => Some(REALM.to_owned()),
            Code::TokenInvalid | Code::TokenExpired => {
                Some(format!("{REALM}, error=\"invalid_token\""))
            }
            Code::SignatureInvalid => Some("Signature realm=\"condorito\"".to_owned()),
            Code::ScopeMissing => {
                let scope = self.0.scope.unwrap_or_default();
                Some(format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            _ => None,
        }
    }

    /// What is sent.
    pub fn body(&self) -> ProblemBody {
        let details = &self.0;
        let title = details.code.title();
        ProblemBody {
            kind: format!("{TABLE_PATH}#{}", details.code),
            title: title.to_owned(),
            status: details.code.status(),
            detail: details.detail.clone().unwrap_or_else(|| title.to_owned()),
            code: details.code.as_str().to_owned(),
            errors: (!details.errors.is_empty()).then(|| details.errors.clone()),
            cursor: details.cursor.clone(),
        }
    }

    /// What is sent, as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body()).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail.as_deref().unwrap_or(self.0.code.title()))
    }
}

impl std::error::Error for Problem {}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn says_what_rfc_9457_asks_and_leaves_out_what_is_not_known() {
        let problem = Problem::new(Code::ValidationFailed)
            .errors(vec![FieldError::at_pointer("/labels/2", "is too long")]);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "/problems#validation_failed",
                "title": "The request is not valid",
                "status": 422,
                "detail": "The request is not valid",
                "code": "validation_failed",
                "errors": [{"detail": "is too long", "pointer": "/labels/2"}],
            })
        );
    }

    #[test]
    fn challenges_as_rfc_6750_says() {
        let headers = Problem::new(Code::ScopeMissing).scope("messages:write").headers();
        let challenge =
            "Bearer realm=\"condorito\", error=\"insufficient_scope\", scope=\"messages:write\"";
        assert_eq!(headers, [("www-authenticate", challenge.to_owned())]);
        let headers = Problem::new(Code::RateLimited).retry_after_s(3).headers();
        assert_eq!(headers, [("retry-after", "3".to_owned())]);
    }

    #[test]
    fn codes_are_unique_and_ordered_by_status() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
