//! How far a message of ours has come.

use serde_json::value::RawValue;

use super::{
    super::{
        identity,
        json::{kept, read},
    },
    payload::{ErrorBody, Status},
    translate::{People, Scope, unknown},
};
use crate::domain::{
    intake::{Intake, IntakeStatus},
    message::{MessageStatus, ProviderError},
    time::Timestamp,
};

/// Takes one element of `statuses`. `false`: it is understood, and of nothing that we have.
///
/// The contact may be without any identity, when Meta tells none: the message is found by its
/// ids alone.
pub(super) fn take(
    scope: &Scope<'_>,
    people: &People<'_>,
    raw: &RawValue,
    take: &mut impl FnMut(Intake),
) -> bool {
    let Some(status) = read::<Status<'_>>(raw) else {
        take(unknown(scope, "status", raw));
        return true;
    };
    if status.recipient_type.is("group") {
        return false;
    }
    let value = match status.status.filled() {
        Some("sent") => MessageStatus::Sent,
        Some("delivered") => MessageStatus::Delivered,
        // A voice note that was played was read.
        Some("read" | "played") => MessageStatus::Read,
        Some("failed") => MessageStatus::Failed,
        _ => {
            take(unknown(scope, "status", raw));
            return true;
        }
    };
    let ids = [&status.recipient_id, &status.recipient_user_id, &status.recipient_parent_user_id];
    let contact = people.contact(ids, usize::MAX);
    let wa_message_id = status.id.filled_owned();
    let message_id = status.biz_opaque_callback_data.filled().and_then(|id| id.parse().ok());
    let Some(wa_message_id) = wa_message_id else {
        take(if identity::is_known(&contact) {
            let (key, raw) = (Some(scope.key(raw)), kept(raw.get()));
            Intake::UnknownOfContact { contact, kind: "status".to_owned(), raw, key }
        } else {
            unknown(scope, "status", raw)
        });
        return true;
    };
    let error = match value {
        MessageStatus::Failed => Some(failure(&status)),
        _ => None,
    };
    let at: Timestamp = status.timestamp.as_time(scope.time);
    let dedupe_key = wa_message_id.clone();
    let status = IntakeStatus { wa_message_id, dedupe_key, message_id, status: value, at, error };
    take(Intake::Status { contact, status });
    true
}

/// The first error; a failure without one is still a failure.
fn failure(status: &Status<'_>) -> ProviderError {
    let error: ErrorBody<'_> =
        status.errors.0.first().and_then(|raw| read(raw)).unwrap_or_default();
    let title = error.title.filled().or(error.message.filled()).unwrap_or("failed");
    let details = error.details();
    let detail = details.filled().or(error.message.filled()).unwrap_or_default();
    ProviderError {
        code: error.code.as_integer().unwrap_or_default(),
        title: title.to_owned(),
        detail: detail.to_owned(),
    }
}
