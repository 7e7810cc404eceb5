//! One judge for every provider: each `tests/fixtures/<provider>/*.json` is signed, received and
//! compared with the `.expected` beside it, one intake a line.
//!
//! `UPDATE_FIXTURES=1 cargo test fixtures` writes the expectations anew; read the difference
//! before you commit it.

use std::{fmt::Write, path::PathBuf, sync::Arc};

use serde_json::{Value, json};

use super::{
    Inbound,
    routes::{Routes, TenantRoutes, TenantRouting, WahaSession},
    waha::{self, Waha, WahaSettings},
    whatsapp_cloud::{self, WhatsAppCloud, WhatsAppCloudSettings},
};
use crate::{
    domain::{
        conversation::Contact,
        ids::ClientId,
        intake::{Intake, IntakeAmendment, IntakeMessage, IntakeStatus},
        time::Timestamp,
    },
    runtime::secret::Secret,
};

/// Stands in for the time of receipt, and is seen where a part tells no time of its own.
pub(super) const NOW: Timestamp = Timestamp(1_795_515_330_123);
pub(super) const SECRET: &str = "fixture-secret";

#[test]
fn whatsapp_cloud_fixtures_mean_what_is_expected() {
    let receiver = cloud();
    judge("whatsapp_cloud", 30, |body| {
        receiver.receive(Some(&whatsapp_cloud::sign(SECRET, body)), body, NOW).unwrap()
    });
}

#[test]
fn waha_fixtures_mean_what_is_expected() {
    let receiver = waha();
    judge("waha", 50, |body| receiver.receive(Some(&waha::sign(SECRET, body)), body, NOW).unwrap());
}

#[test]
fn one_message_of_waha_has_one_key_however_it_is_told() {
    let receiver = waha();
    let key = |name: &str| {
        let path = format!("{}/tests/fixtures/waha/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read(path).unwrap();
        let inbound = receiver.receive(Some(&waha::sign(SECRET, &body)), &body, NOW).unwrap();
        match inbound.items.into_iter().next() {
            Some((_, Intake::Message { message, .. })) => message.dedupe_key,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(key("message"), key("message_any"));
    assert_eq!(key("message"), key("message_lid"));
    assert_ne!(key("message"), key("message_lid_only"));
}

#[test]
fn a_replay_is_understood_as_the_same() {
    let receiver = cloud();
    for path in fixtures("whatsapp_cloud") {
        let body = std::fs::read(path).unwrap();
        let signature = whatsapp_cloud::sign(SECRET, &body);
        let first = receiver.receive(Some(&signature), &body, NOW).unwrap();
        assert_eq!(receiver.receive(Some(&signature), &body, NOW).unwrap(), first);
    }
}

pub(super) fn cloud() -> WhatsAppCloud {
    let tenant = |client, number: &str, account: &str| TenantRouting {
        client: ClientId(client),
        routes: TenantRoutes {
            phone_number_ids: vec![number.to_owned()],
            waba_ids: vec![account.to_owned()],
            ..TenantRoutes::default()
        },
    };
    let routes = Routes::new(&[
        tenant(1, "106540352242922", "102290129340398"),
        tenant(2, "205540352242900", "202290129340300"),
    ]);
    let settings = WhatsAppCloudSettings {
        app_secrets: vec![Secret::new(SECRET.to_owned())],
        ..WhatsAppCloudSettings::default()
    };
    WhatsAppCloud::new(&settings, Arc::new(routes.unwrap())).unwrap()
}

pub(super) fn waha() -> Waha {
    let session = WahaSession {
        name: "shop".to_owned(),
        hmac_key: Some(Secret::new(SECRET.to_owned())),
        ..WahaSession::default()
    };
    let routes = Routes::new(&[TenantRouting {
        client: ClientId(1),
        routes: TenantRoutes { waha_sessions: vec![session], ..TenantRoutes::default() },
    }]);
    Waha::new(&WahaSettings::default(), &Arc::new(routes.unwrap())).unwrap()
}

fn fixtures(provider: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(provider);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

fn judge(provider: &str, at_least: usize, receive: impl Fn(&[u8]) -> Inbound) {
    let paths = fixtures(provider);
    assert!(paths.len() >= at_least, "only {} fixtures found", paths.len());
    let mut wrong = String::new();
    for path in paths {
        let understood = describe(&receive(&std::fs::read(&path).unwrap()));
        let expected_at = path.with_extension("expected");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&expected_at, &understood).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_at).unwrap_or_default();
        if understood != expected {
            writeln!(wrong, "{}:\n{understood}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "understood otherwise than expected:\n{wrong}");
}

fn describe(inbound: &Inbound) -> String {
    let mut text = String::new();
    for (client, intake) in &inbound.items {
        let (kind, fields) = shown(intake);
        writeln!(text, "{client} {kind} {}", without_nulls(fields)).unwrap();
    }
    writeln!(text, "unrouted {}, ignored {}", inbound.unrouted, inbound.ignored).unwrap();
    text
}

fn shown(intake: &Intake) -> (&'static str, Value) {
    match intake {
        Intake::Message { contact, message } => ("message", message_json(contact, message)),
        Intake::Status { contact, status } => ("status", status_json(contact, status)),
        Intake::Amendment { contact, amendment } => {
            ("amendment", amendment_json(contact, amendment))
        }
        Intake::ContactChange { contact, previous, at } => {
            ("contact_change", json!({"contact": contact, "previous": previous, "at": at}))
        }
        Intake::MarketingPreference { contact, allowed, at } => {
            ("marketing_preference", json!({"contact": contact, "allowed": allowed, "at": at}))
        }
        Intake::WhatsAppState { status, phone_number, name, qr, quality, reason } => (
            "whatsapp_state",
            json!({"status": status, "phone_number": phone_number, "name": name, "qr": qr,
                   "quality": quality, "reason": reason}),
        ),
        Intake::UnknownOfContact { contact, kind, raw } => {
            ("unknown_of_contact", json!({"kind": kind, "contact": contact, "raw": raw}))
        }
        Intake::Unknown { kind, raw } => ("unknown", json!({"kind": kind, "raw": raw})),
    }
}

fn message_json(contact: &Contact, message: &IntakeMessage) -> Value {
    let key = Some(&message.dedupe_key).filter(|key| **key != message.wa_message_id);
    json!({
        "contact": contact, "direction": message.direction, "id": message.wa_message_id,
        "key": key, "kind": message.kind, "text": message.text, "media": message.media,
        "payload": message.payload, "reply_to": message.reply_to, "sent_at": message.sent_at,
        "imported": message.imported.then_some(true), "status": message.status,
    })
}

fn status_json(contact: &Contact, status: &IntakeStatus) -> Value {
    let key = Some(&status.dedupe_key).filter(|key| **key != status.wa_message_id);
    json!({
        "contact": contact, "id": status.wa_message_id, "key": key,
        "message_id": status.message_id, "status": status.status, "at": status.at,
        "error": status.error,
    })
}

fn amendment_json(contact: &Contact, amendment: &IntakeAmendment) -> Value {
    json!({
        "contact": contact, "direction": amendment.direction, "key": amendment.dedupe_key,
        "target": amendment.target, "text": amendment.text, "at": amendment.at,
    })
}

/// Leaves out the fields of the outer object that are null.
fn without_nulls(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}
