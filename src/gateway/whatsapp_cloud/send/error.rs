//! What Meta means when it refuses: by the error's code, as Meta asks for, and only for codes
//! that are not known by the HTTP status.
//!
//! | class | what follows |
//! | --- | --- |
//! | retry, number | all that the number sends waits: throughput, quota, an outage |
//! | retry, recipient | this message waits: the pair rate, a passing fault |
//! | stop, number | token, permission, restriction, payment, registration: every further message would fail alike |
//! | stop, template | paused or disabled: the same, for the messages with it |
//! | final | the message or the recipient is refused |
//! | in doubt | a server's error that isn't understood, while sending |
//!
//! Registration (133010, 131045, 131005, 3) stops the number although WHATSAPP.md counts it among
//! bad requests: a campaign would burn all its recipients on it.

use std::time::Duration;

use serde_json::Value;

use super::super::super::{
    http::{Answer, scrubbed},
    outbound::{RetryScope, SendError, Stopped},
};
use crate::domain::message::ProviderError;

/// Meta's own word: an upgrade of a number's throughput takes up to a minute.
const UPGRADE_LASTS: Duration = Duration::from_secs(60);

/// What is to be done about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Retry(RetryScope, Option<Duration>),
    Stop(Stopped),
    Final,
}

/// `None`: a code that is not known.
pub(super) fn class_of(code: i64) -> Option<Class> {
    let retry = |scope| Some(Class::Retry(scope, None));
    match code {
        130_429 | 4 | 80_007 | 131_016 | 2 => retry(RetryScope::Number),
        131_057 => Some(Class::Retry(RetryScope::Number, Some(UPGRADE_LASTS))),
        131_056 | 131_000 => retry(RetryScope::Recipient),
        131_048
        | 368
        | 131_031
        | 190
        | 0
        | 3
        | 10
        | 200..=299
        | 131_042
        | 131_064
        | 131_005
        | 131_045
        | 133_010 => Some(Class::Stop(Stopped::Number)),
        132_015 | 132_016 => Some(Class::Stop(Stopped::Template)),
        // The recipient: undeliverable, outside the window, held back, opted out, in an
        // experiment, not supported, ourselves, not on the test list, no number for this template.
        131_026 | 131_047 | 131_049 | 131_050 | 130_472 | 131_051 | 131_021 | 131_030 | 131_062 => {
            Some(Class::Final)
        }
        // The request.
        100 | 131_008 | 131_009 | 131_052 | 131_053 | 132_000..=132_099 | 133_000..=133_099 => {
            Some(Class::Final)
        }
        _ => None,
    }
}

/// What an answer that is no yes comes to. `sending`: whether a message may be on its way when
/// it isn't understood.
pub(super) fn refusal(answer: &Answer, json: Option<&Value>, sending: bool) -> SendError {
    let told = json.and_then(|json| json.get("error")).filter(|error| error.is_object());
    let (error, class) = match told {
        Some(told) => {
            let error = provider_error(told);
            let class = told["code"].as_i64().and_then(class_of);
            let passing =
                told["is_transient"].as_bool() == Some(true) && answer.status.is_client_error();
            let passing = passing.then_some(Class::Retry(RetryScope::Recipient, None));
            (error, class.or(passing))
        }
        None => (error_of_status(answer), None),
    };
    match class.or_else(|| class_of_status(answer)) {
        Some(Class::Retry(scope, after)) => {
            SendError::Retry { error, after: answer.retry_after.or(after), scope }
        }
        Some(Class::Stop(what)) => SendError::Stopped { error, what },
        Some(Class::Final) => SendError::Final { error },
        None if sending => SendError::InDoubt {
            reason: format!("the provider's answer ({}) is not understood", answer.status.as_u16()),
        },
        None => SendError::Retry { error, after: answer.retry_after, scope: RetryScope::Number },
    }
}

/// By the HTTP status alone; `None`: anything may have happened.
fn class_of_status(answer: &Answer) -> Option<Class> {
    match answer.status.as_u16() {
        429 => Some(Class::Retry(RetryScope::Number, None)),
        401 | 403 => Some(Class::Stop(Stopped::Number)),
        408 => None,
        400..=499 => Some(Class::Final),
        _ => None,
    }
}

fn error_of_status(answer: &Answer) -> ProviderError {
    let status = answer.status.as_u16();
    ProviderError {
        code: i64::from(status),
        title: format!("HTTP {status}"),
        detail: "The provider gave no reason that can be read.".to_owned(),
    }
}

fn provider_error(told: &Value) -> ProviderError {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(scrubbed);
    let message = text(&told["message"]);
    let details = text(&told["error_data"]["details"]);
    ProviderError {
        code: told["code"].as_i64().unwrap_or_default(),
        title: text(&told["error_user_title"])
            .or_else(|| message.clone())
            .unwrap_or_else(|| "refused".to_owned()),
        detail: details.or_else(|| text(&told["error_user_msg"])).or(message).unwrap_or_default(),
    }
}
