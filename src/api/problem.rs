//! From what went wrong inside to the problem that a client sees, in one place.
//!
//! All of it is trait impls, so `delivery` uses `Problem::from(error)` and
//! `problem.into_response()` for its own endpoints without importing this module.
//!
//! **Invariant:** internal text (a query's error, a panic's message) is logged where it happened
//! and never goes out.

use poem::{IntoResponse, Response, error::ResponseError, http::StatusCode};

use crate::{
    auth::AuthError,
    command::CommandError,
    gateway::WebhookError,
    projection::queries::QueryError,
    wire::{
        cursor::CursorError,
        problem::{Code, FieldError, Problem},
    },
};

/// When to try again after the log or the read model could not answer, in seconds.
const RETRY_AFTER_S: u64 = 1;

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let detail = error.to_string();
        let problem = match error {
            AuthError::Missing => Problem::new(Code::TokenMissing),
            AuthError::Invalid { .. } => Problem::new(Code::TokenInvalid),
            AuthError::Expired => Problem::new(Code::TokenExpired),
            AuthError::Scope { scope } => Problem::new(Code::ScopeMissing).scope(scope),
            AuthError::RateLimited { retry_after_s } => {
                Problem::new(Code::RateLimited).retry_after_s(retry_after_s)
            }
            AuthError::Unavailable => {
                Problem::new(Code::AuthUnavailable).retry_after_s(RETRY_AFTER_S)
            }
        };
        problem.detail(detail)
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound => {
                Problem::new(Code::NotFound).detail("there is no such conversation")
            }
            CommandError::Invalid { field, reason } => Problem::new(Code::ValidationFailed)
                .detail(reason.clone())
                .errors(vec![FieldError::at_pointer(format!("/{field}"), reason)]),
            CommandError::KeyReused => Problem::new(Code::IdempotencyKeyReused),
            CommandError::Unavailable => {
                Problem::new(Code::LogUnavailable).retry_after_s(RETRY_AFTER_S)
            }
            CommandError::Unknown => {
                Problem::new(Code::OutcomeUnknown).retry_after_s(RETRY_AFTER_S)
            }
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Overloaded => Problem::new(Code::Overloaded).retry_after_s(RETRY_AFTER_S),
            QueryError::NotYet => Problem::new(Code::NotProjectedYet).retry_after_s(RETRY_AFTER_S),
            QueryError::Broken(reason) => {
                tracing::error!(reason, "the read model could not answer a request");
                Problem::new(Code::Internal)
            }
        }
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Unauthorized => Problem::new(Code::SignatureInvalid),
            WebhookError::Malformed { .. } => {
                Problem::new(Code::MalformedWebhook).detail(error.to_string())
            }
        }
    }
}

/// A cursor that can't be used; whoever knows the head adds it with [`Problem::cursor`].
impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Malformed => Problem::new(Code::InvalidCursor),
            CursorError::OtherEpoch => Problem::new(Code::UnknownCursor),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.as_response()
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(Problem::status(self)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn as_response(&self) -> Response {
        let mut response = Response::builder()
            .status(ResponseError::status(self))
            .content_type("application/problem+json")
            .header("cache-control", "no-store");
        for (name, value) in self.headers() {
            response = response.header(name, value);
        }
        response.body(self.to_json())
    }
}
