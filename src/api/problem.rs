//! From what went wrong inside to the problem that a client sees, in one place.
//!
//! All of it is trait impls, so `delivery` uses `Problem::from(error)` and
//! `problem.into_response()` for its own endpoints without importing this module.
//!
//! **Invariant:** internal text (a query's error, a panic's message) is logged where it happened
//! and never goes out.

use poem::{
    IntoResponse, Response,
    error::{
        MethodNotAllowedError, NotFoundError, ParsePathError, ReadBodyError, ResponseError,
        SizedLimitError,
    },
    http::StatusCode,
};
use poem_openapi::error::{
    ContentTypeError, ParseParamError, ParsePathError as ParsePathParamError,
    ParseRequestPayloadError,
};

use crate::{
    auth::AuthError,
    command::{CommandError, send::FieldProblem},
    gateway::{WebhookError, outbound::SendError},
    projection::queries::QueryError,
    wire::{
        cursor::CursorError,
        problem::{Code, FieldError, Problem},
    },
};

/// Media type of problem details.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// When to try again on an instance that is not ready, in seconds.
const NOT_READY_RETRY_S: u64 = 2;
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
            AuthError::NoSuchTenant => Problem::new(Code::NotFound),
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
            CommandError::Conflict { reason } => Problem::new(Code::Conflict).detail(reason),
            CommandError::InvalidFields(problems) => {
                let error =
                    |problem: FieldProblem| FieldError::at_pointer(problem.pointer, problem.detail);
                invalid_body(problems.into_iter().map(error).collect())
            }
            CommandError::NoSuchMessage => of_command(Code::NotFound, &error),
            CommandError::NoChannel => of_command(Code::NotConnected, &error),
            CommandError::WindowClosed => of_command(Code::WindowClosed, &error),
            CommandError::BotNotActive => of_command(Code::BotNotActive, &error),
            CommandError::BotDisabled => of_command(Code::BotDisabled, &error),
            CommandError::BotPaused { .. } => of_command(Code::BotPaused, &error),
            CommandError::NotRetryable => of_command(Code::NotRetryable, &error),
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

fn of_command(code: Code, error: &CommandError) -> Problem {
    Problem::new(code).detail(error.to_string())
}

/// What a provider says when it is asked for something beside sending.
impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        let unavailable = Problem::new(Code::ProviderUnavailable).retry_after_s(RETRY_AFTER_S);
        match &error {
            SendError::Retry { after: Some(after), .. } => {
                Problem::new(Code::ProviderUnavailable).retry_after_s(after.as_secs().max(1))
            }
            SendError::Retry { .. } | SendError::InDoubt { .. } => unavailable,
            SendError::Final { error } | SendError::Stopped { error, .. } => {
                unavailable.detail(format!("WhatsApp answers: {} ({})", error.title, error.code))
            }
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Overloaded => Problem::new(Code::Overloaded).retry_after_s(RETRY_AFTER_S),
            QueryError::Incomplete => Problem::new(Code::NotReady)
                .detail("this instance is catching up with the event log")
                .retry_after_s(NOT_READY_RETRY_S),
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
            .content_type(CONTENT_TYPE)
            .header("cache-control", "no-store");
        for (name, value) in self.headers() {
            response = response.header(name, value);
        }
        response.body(self.to_json())
    }
}

/// The problem for an error of poem or poem-openapi, or for one of ours that travelled in it.
pub fn of_poem_error(error: &poem::Error) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return invalid_parameter(error.name, readable(&error.reason));
    }
    if let Some(error) = error.downcast_ref::<ParsePathParamError>() {
        return invalid_parameter(error.name, readable(&error.reason));
    }
    if error.is::<ParsePathError>() {
        return Problem::new(Code::RouteNotFound);
    }
    if error.is::<ParseRequestPayloadError>() {
        return Problem::new(Code::InvalidRequest).detail("the body can't be read");
    }
    if error.is::<ContentTypeError>() {
        return Problem::new(Code::UnsupportedMediaType);
    }
    if error.is::<NotFoundError>() {
        return Problem::new(Code::RouteNotFound);
    }
    if error.is::<MethodNotAllowedError>() {
        return Problem::new(Code::MethodNotAllowed);
    }
    if error.is::<SizedLimitError>() {
        return Problem::new(Code::BodyTooLarge);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return of_body_error(error);
    }
    let status = error.status();
    if status.is_server_error() {
        tracing::error!(error = %error, "a request failed inside");
    }
    of_status(status)
}

/// The problem for a body that could not be read to its end.
pub fn of_body_error(error: &ReadBodyError) -> Problem {
    match error {
        ReadBodyError::PayloadTooLarge => Problem::new(Code::BodyTooLarge),
        _ => Problem::new(Code::InvalidRequest).detail("the body did not arrive whole"),
    }
}

/// The problem that tells a bare status.
pub fn of_status(status: StatusCode) -> Problem {
    let code = match status.as_u16() {
        401 => Code::TokenMissing,
        403 => Code::OriginForbidden,
        404 => Code::RouteNotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        409 => Code::Conflict,
        413 => Code::BodyTooLarge,
        414 => Code::UriTooLong,
        415 => Code::UnsupportedMediaType,
        416 => Code::RangeNotSatisfiable,
        422 => Code::ValidationFailed,
        426 => Code::UpgradeRequired,
        429 => Code::RateLimited,
        431 => Code::HeadersTooLarge,
        501 => Code::NotSupported,
        503 => Code::Overloaded,
        400..=499 => Code::InvalidRequest,
        _ => Code::Internal,
    };
    Problem::new(code)
}

/// A path, query or header parameter that can't be used.
pub fn invalid_parameter(name: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::new(Code::InvalidParameter)
        .detail(format!("{name}: {detail}"))
        .errors(vec![FieldError::of_parameter(name, detail)])
}

/// A body that is JSON and not valid.
pub fn invalid_body(errors: Vec<FieldError>) -> Problem {
    let detail = match errors.as_slice() {
        [one] => format!("{}: {}", one.pointer.as_deref().unwrap_or_default(), one.detail),
        several => format!("{} things are wrong with the body", several.len()),
    };
    Problem::new(Code::ValidationFailed).detail(detail).errors(errors)
}

/// What poem-openapi says of a parameter, for people.
fn readable(reason: &str) -> String {
    let Some((_, rule)) = reason.split_once("verification failed. ") else {
        return "is not a valid value".to_owned();
    };
    let (name, rest) = rule.split_once('(').unwrap_or((rule, ""));
    let bound = rest.split([',', ')']).next().unwrap_or_default();
    match name {
        "maximum" => format!("must be at most {bound}"),
        "minimum" => format!("must be at least {bound}"),
        "maxLength" => format!("must have at most {bound} characters"),
        "minLength" => format!("must have at least {bound} characters"),
        _ => "is not of the right form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_poem_openapi_read_as_sentences() {
        let reason = "verification failed. maximum(200, exclusive: false)";
        assert_eq!(readable(reason), "must be at most 200");
        assert_eq!(readable("failed to parse \"integer\": x"), "is not a valid value");
    }

    #[test]
    fn what_is_broken_inside_stays_inside() {
        let problem = Problem::from(QueryError::Broken("no such table: message".to_owned()));
        assert_eq!(problem.code(), Code::Internal);
        assert!(!String::from_utf8(problem.to_json()).unwrap().contains("message\""));
    }
}
