//! HTTP towards providers: one client for all of them, with what every call needs: time-outs,
//! connections that are used again, TLS by rustls, a bound on what is read of an answer.
//!
//! What matters to who sends is told apart here, where it is known: no connection came to be
//! ([`CallError::NotConnected`], nothing was sent), or one did and no whole answer came back
//! ([`CallError::Unanswered`], anything may have happened).
//!
//! **Invariant:** no error text holds an address, a header or a body: any of them may name a
//! person or be a secret.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use reqwest::{Client, RequestBuilder, Response, redirect};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::outbound::{RetryScope, SendError};
use crate::domain::message::{NOT_SENDABLE_CODE, ProviderError};

/// The longest answer that is read; a page of templates is the longest that is asked for. One
/// that is longer counts as none.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// How many redirects within its origin a medium's address may take; an API's takes none.
const MAX_MEDIA_REDIRECTS: usize = 3;
/// The longest `Retry-After` that is heeded; a longer one is cut to it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// The longest title or detail of an error, in characters; the rest is cut.
const MAX_ERROR_CHARS: usize = 500;

/// How the server calls providers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderHttpSettings {
    /// How long it may take until a connection stands, TLS included (default 5000). After that
    /// nothing was sent, and it is tried again.
    pub connect_timeout_ms: u64,
    /// How long a call may take in all (default 30000). A message whose call takes longer is in
    /// doubt.
    pub request_timeout_ms: u64,
    /// How long a medium's transfer may stand still (default 30000).
    pub media_stall_timeout_ms: u64,
    /// How many connections to each provider are kept open while nothing is sent (default 64).
    pub idle_connections: usize,
    /// How long each of them is kept (default 60000).
    pub idle_timeout_ms: u64,
    /// Origins, like `https://bucket.example`, from which WAHA's media may be fetched beside WAHA
    /// itself (default none): webhooks name the address, and must not have this server ask others.
    pub media_origins: Vec<String>,
}

impl Default for ProviderHttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            media_stall_timeout_ms: 30_000,
            idle_connections: 64,
            idle_timeout_ms: 60_000,
            media_origins: Vec::new(),
        }
    }
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("there is no HTTP client for providers")]
pub struct HttpError(#[from] reqwest::Error);

/// The clients. Clones share their connections.
#[derive(Debug, Clone)]
pub struct ProviderHttp {
    /// For API calls: with a time-out over all.
    pub(super) api: Client,
    /// For media: as long as bytes come.
    pub(super) media: Client,
    media_origins: Arc<[String]>,
}

impl ProviderHttp {
    pub fn new(settings: &ProviderHttpSettings) -> Result<Self, HttpError> {
        let common = || {
            Client::builder()
                .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
                .pool_max_idle_per_host(settings.idle_connections)
                .pool_idle_timeout(Duration::from_millis(settings.idle_timeout_ms))
                .tcp_nodelay(true)
        };
        let api = common()
            .timeout(Duration::from_millis(settings.request_timeout_ms))
            // A redirected POST would be sent twice, and the key along with it.
            .redirect(redirect::Policy::none())
            .build()?;
        let media = common()
            .read_timeout(Duration::from_millis(settings.media_stall_timeout_ms))
            .redirect(redirect::Policy::custom(within_origin))
            .build()?;
        let origin = |text: &String| text.trim_end_matches('/').to_ascii_lowercase();
        let media_origins = settings.media_origins.iter().map(origin).collect();
        Ok(Self { api, media, media_origins })
    }

    /// Whether media may be fetched from there, for all that a webhook says.
    pub(super) fn allows_media_from(&self, url: &Url) -> bool {
        let origin = url.origin().ascii_serialization();
        self.media_origins.contains(&origin)
    }
}

/// A medium may have moved at its own host. Elsewhere nobody has said that we may ask, and keys in
/// header fields would go along; such an answer counts as it is.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    let is_near = first.is_some_and(|first| first == attempt.url().origin());
    if is_near && attempt.previous().len() <= MAX_MEDIA_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// A provider's answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Answer {
    /// `None` when it is no JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallError {
    /// The request can't be made: an address that is none.
    NoRequest,
    /// Refused, not found, no TLS: nothing was sent.
    NotConnected,
    /// The request may have been read, and no whole answer came.
    Unanswered(&'static str),
}

impl CallError {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            Self::NoRequest
        } else if error.is_connect() {
            Self::NotConnected
        } else if error.is_timeout() {
            Self::Unanswered("the provider did not answer in time")
        } else {
            Self::Unanswered("the connection ended before the provider's answer")
        }
    }

    /// For a call that sends a message: what is not certain is in doubt.
    pub(super) fn of_sending(self) -> SendError {
        match self {
            Self::Unanswered(reason) => SendError::InDoubt { reason: reason.to_owned() },
            other => other.of_asking(),
        }
    }

    /// For a call that may be made twice without harm.
    pub(super) fn of_asking(self) -> SendError {
        let retry = |title: &str, detail: &str| SendError::Retry {
            error: own_error(title, detail),
            after: None,
            scope: RetryScope::Number,
        };
        match self {
            Self::NoRequest => final_error(
                "The provider's address is wrong",
                "No request can be made with the configured address or credentials.",
            ),
            Self::NotConnected => {
                retry("The provider can't be reached", "No connection to it could be made.")
            }
            Self::Unanswered(reason) => retry("The provider gave no answer", reason),
        }
    }
}

/// Makes the call and reads the whole answer.
pub(super) async fn call(request: RequestBuilder) -> Result<Answer, CallError> {
    let response = request.send().await.map_err(|error| CallError::of(&error))?;
    read_whole(response).await
}

/// Reads an answer that has begun.
pub(super) async fn read_whole(mut response: Response) -> Result<Answer, CallError> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                return Err(CallError::Unanswered("the provider's answer was too long"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => {
                return Err(CallError::Unanswered("the provider's answer ended before its end"));
            }
        }
    }
    Ok(Answer { status, retry_after, body: body.freeze() })
}

/// In seconds only: the form with a date needs a clock that both agree on.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// An error that we state ourselves.
pub(super) fn own_error(title: &str, detail: &str) -> ProviderError {
    ProviderError { code: NOT_SENDABLE_CODE, title: title.to_owned(), detail: detail.to_owned() }
}

pub(super) fn final_error(title: &str, detail: &str) -> SendError {
    SendError::Final { error: own_error(title, detail) }
}

/// A provider's text without what may name a person or be a secret: long runs of digits and very
/// long words are left out.
pub(super) fn scrubbed(text: &str) -> String {
    /// A phone number has 7 digits or more, an error's code six.
    const PHONE_DIGITS: usize = 7;
    /// Tokens and ids of messages are longer than words.
    const WORD_CHARS: usize = 40;
    let mut clean = String::with_capacity(text.len().min(MAX_ERROR_CHARS));
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            clean.push(' ');
        }
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if digits >= PHONE_DIGITS || word.chars().count() > WORD_CHARS {
            clean.push('…');
        } else {
            clean.push_str(word);
        }
    }
    clean.chars().take(MAX_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_text_names_nobody() {
        let text = "(#131030) Recipient +573001234567 not in 57-300-123-4567 list";
        assert_eq!(scrubbed(text), "(#131030) Recipient … not in … list");
        assert_eq!(scrubbed(&"EAAG".repeat(30)), "…");
        assert_eq!(scrubbed(&"word ".repeat(300)).chars().count(), MAX_ERROR_CHARS);
    }

    #[test]
    fn only_a_request_that_never_left_may_be_sent_again() {
        assert!(matches!(CallError::NotConnected.of_sending(), SendError::Retry { .. }));
        assert!(matches!(CallError::NoRequest.of_sending(), SendError::Final { .. }));
        assert!(matches!(CallError::Unanswered("x").of_sending(), SendError::InDoubt { .. }));
        assert!(matches!(CallError::Unanswered("x").of_asking(), SendError::Retry { .. }));
    }
}
