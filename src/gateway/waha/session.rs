//! The session's state: whether the tenant is connected to WhatsApp.

use super::{
    super::json::{kept, read, redacted},
    chat::Chat,
    payload::{Envelope, SessionData, SessionStatus},
};
use crate::domain::{
    conversation::Contact, intake::Intake, time::Timestamp, whatsapp::WhatsAppStatus,
};

/// Reads `session.status`. A status that isn't known is kept as it came.
pub(super) fn state(envelope: &Envelope<'_>) -> Intake {
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
            return Intake::Unknown { kind: "session.status".to_owned(), raw: redacted(raw) };
        }
    };
    let me = envelope.me();
    let mut ours = Contact::default();
    if let Some(chat) = me.id.filled().and_then(Chat::parse) {
        chat.add_to(&mut ours);
    }
    let qr = status.qr.filled_owned().or_else(|| data.qr.filled_owned());
    Intake::WhatsAppState {
        status: connection,
        phone_number: ours.phone,
        name: me.push_name.filled_owned(),
        qr: qr.filter(|_| connection == WhatsAppStatus::Qr),
        quality: quality(&data),
        reason,
    }
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
