//! What WAHA answers: the id of what it sent, which each engine puts elsewhere, and what its
//! errors mean.
//!
//! WAHA has no codes: an error is `{"statusCode", "message", "error"}`, and with 422 also the
//! session's `status` and the one that was `expected`. A 5xx comes from the engine at any moment,
//! also after the message has left, so while sending it is in doubt.

use serde_json::Value;

use super::super::super::{
    http::{Answer, scrubbed},
    outbound::{RetryScope, SendError, Stopped},
};
use crate::domain::message::ProviderError;

/// The id of the message that was sent.
pub(super) fn message_id(json: &Value) -> Option<String> {
    let candidates = [
        &json["id"]["_serialized"],
        &json["id"],
        &json["_data"]["id"]["_serialized"],
        &json["key"]["id"],
        &json["_data"]["key"]["id"],
        &json["id"]["id"],
        &json["messageId"],
    ];
    let id = candidates.into_iter().find_map(|id| id.as_str().filter(|id| !id.is_empty()));
    id.map(str::to_owned)
}

/// What an answer that is no yes comes to.
pub(super) fn refusal(answer: &Answer, sending: bool) -> SendError {
    let json = answer.json().unwrap_or_default();
    let status = answer.status.as_u16();
    let told = json["message"].as_str().or_else(|| json["message"][0].as_str());
    let told = told.or_else(|| json["exception"]["message"].as_str()).map(scrubbed);
    let error = ProviderError {
        code: i64::from(status),
        title: json["error"].as_str().map_or_else(|| format!("HTTP {status}"), scrubbed),
        detail: told.unwrap_or_else(|| "WAHA gave no reason that can be read.".to_owned()),
    };
    let retry =
        |error| SendError::Retry { error, after: answer.retry_after, scope: RetryScope::Number };
    match status {
        429 => retry(error),
        // The session is not working: it starts, or waits for a person.
        422 if json["status"] == "STARTING" => retry(error),
        422 if json["status"].is_string() => SendError::Stopped { error, what: Stopped::Number },
        // The key, or a session that isn't there.
        401 | 403 | 404 => SendError::Stopped { error, what: Stopped::Number },
        408 | 500..=599 if sending && !never_sent(&error) => SendError::InDoubt {
            reason: format!("the provider's answer ({status}) is not understood"),
        },
        500..=599 if sending => SendError::Final { error },
        408 | 500..=599 => retry(error),
        // A redirect or a success that isn't read: an address that is not WAHA's.
        200..=399 => SendError::Final { error },
        _ => SendError::Final { error },
    }
}

/// Errors of an engine that it makes while it looks for the recipient.
fn never_sent(error: &ProviderError) -> bool {
    ["No LID for user", "not on WhatsApp", "numberExists"]
        .iter()
        .any(|text| error.detail.contains(text))
}
