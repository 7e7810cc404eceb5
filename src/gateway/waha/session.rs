//! The session's state: whether the tenant is connected to WhatsApp.

use super::{
    super::json::{kept, read, redacted},
    chat::Chat,
    event::Scope,
    payload::{Envelope, SessionData, SessionStatus},
};
use crate::domain::{
    conversation::Contact,
    intake::Intake,
    time::Timestamp,
    whatsapp::{WhatsAppStatus, WhatsAppTold},
};

/// Reads `session.status`. A status that isn't known is kept as it came.
///
/// WAHA says that there is a new QR code and not which: the code before it is void from then on,
/// and the new one is to be fetched.
pub(super) fn state(scope: &Scope<'_>, envelope: &Envelope<'_>) -> Intake {
    let status: SessionStatus<'_> = envelope.payload.and_then(read).unwrap_or_default();
    let data = status.data();
    let (connection, reason) = match status.status.filled() {
        Some("WORKING") => (WhatsAppStatus::Connected, restriction(&data)),
        Some("STARTING") => (WhatsAppStatus::Connecting, None),
        Some("SCAN_QR_CODE") => (WhatsAppStatus::Qr, None),
        Some("PASSKEY_REQUIRED") => {
            (WhatsAppStatus::Connecting, Some("a passkey is needed to finish pairing".to_owned()))
        }
        Some("PASSKEY_CONFIRMATION_REQUIRED") => {
            (WhatsAppStatus::Connecting, Some(confirmation(&data)))
        }
        Some("STOPPED") => (WhatsAppStatus::Disconnected, None),
        Some("FAILED") => (
            WhatsAppStatus::Error,
            Some("the session failed: restart it, or log out and scan the code again".to_owned()),
        ),
        _ => {
            let raw = envelope.payload.map(|raw| kept(raw.get())).unwrap_or_default();
            let kind = "session.status".to_owned();
            return Intake::Unknown { kind, raw: redacted(raw), key: scope.key() };
        }
    };
    let mut ours = Contact::default();
    if let Some(chat) = scope.me.id.filled().and_then(Chat::parse) {
        chat.add_to(&mut ours);
    }
    let told = WhatsAppTold {
        status: Some(connection),
        phone_number: ours.phone,
        name: scope.me.push_name.name(),
        qr: None,
        quality: quality(&data),
        reason,
    };
    Intake::WhatsAppState { told, at: scope.time, key: scope.key() }
}

fn confirmation(data: &SessionData<'_>) -> String {
    match data.code.filled() {
        Some(code) => format!("check that the phone shows the code {code}"),
        None => "the code on the phone must be confirmed".to_owned(),
    }
}

fn restriction(data: &SessionData<'_>) -> Option<String> {
    let timelock = data.timelock();
    if !timelock.is_active.is("true") {
        return None;
    }
    let what = "WhatsApp holds back messages to new contacts";
    Some(match timelock.ends.as_time(Timestamp(0)) {
        Timestamp(0) => what.to_owned(),
        until => format!("{what} until {until}"),
    })
}

/// `FIRST_WARNING 640/1000`: how much of the quota for new contacts is used.
fn quality(data: &SessionData<'_>) -> Option<String> {
    let capping = data.capping();
    let status = capping.status.filled()?;
    Some(match (capping.used.filled(), capping.total.filled()) {
        (Some(used), Some(total)) => format!("{status} {used}/{total}"),
        _ => status.to_owned(),
    })
}
