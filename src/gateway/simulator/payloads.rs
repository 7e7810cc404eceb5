//! Webhook bodies as Meta and WAHA write them: for the simulator, tests and benches.
//!
//! Each builder writes its JSON in one pass into one buffer, so that a load generator spends its
//! time on posting and not on building.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::time::Timestamp;

pub use super::super::{waha::sign as sign_waha, whatsapp_cloud::sign};

/// The WhatsApp business account that the bodies name where they name one.
const WABA_ID: &str = "102290129340398";
const BUSINESS_NUMBER: &str = "576015550100";

#[derive(Serialize)]
struct Body<'a, V> {
    object: &'static str,
    entry: [Entry<'a, V>; 1],
}

#[derive(Serialize)]
struct Entry<'a, V> {
    id: &'a str,
    changes: [Change<'a, V>; 1],
}

#[derive(Serialize)]
struct Change<'a, V> {
    value: V,
    field: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    display_phone_number: &'a str,
    phone_number_id: &'a str,
}

#[derive(Serialize)]
struct TextValue<'a> {
    messaging_product: &'static str,
    metadata: Metadata<'a>,
    contacts: [Contact<'a>; 1],
    messages: [TextMessage<'a>; 1],
}

#[derive(Serialize)]
struct Contact<'a> {
    profile: Profile<'a>,
    wa_id: &'a str,
}

#[derive(Serialize)]
struct Profile<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct TextMessage<'a> {
    from: &'a str,
    id: &'a str,
    timestamp: String,
    #[serde(rename = "type")]
    kind: &'static str,
    text: TextBody<'a>,
}

#[derive(Serialize)]
struct TextBody<'a> {
    body: &'a str,
}

/// A text from a customer. `from` is their number, digits only.
pub fn cloud_text_message(
    phone_number_id: &str,
    from: &str,
    name: &str,
    wamid: &str,
    text: &str,
    time: Timestamp,
) -> Vec<u8> {
    let value = TextValue {
        messaging_product: "whatsapp",
        metadata: Metadata { display_phone_number: BUSINESS_NUMBER, phone_number_id },
        contacts: [Contact { profile: Profile { name }, wa_id: from }],
        messages: [TextMessage {
            from,
            id: wamid,
            timestamp: seconds(time),
            kind: "text",
            text: TextBody { body: text },
        }],
    };
    cloud_body("messages", value)
}

/// A message of any type from a customer: `body` is what stands under the type's name, `extra`
/// what stands beside it (`context`, `referral`).
#[derive(Debug, Clone, Copy)]
pub struct CloudMessage<'a> {
    pub phone_number_id: &'a str,
    pub from: &'a str,
    pub name: &'a str,
    pub wamid: &'a str,
    pub kind: &'a str,
    pub body: &'a Value,
    pub reply_to: Option<&'a str>,
    pub time: Timestamp,
}

pub fn cloud_message(message: CloudMessage<'_>) -> Vec<u8> {
    let mut sent = json!({
        "from": message.from, "id": message.wamid, "timestamp": seconds(message.time),
        "type": message.kind, message.kind: message.body,
    });
    if let Some(target) = message.reply_to {
        sent["context"] = json!({"from": BUSINESS_NUMBER, "id": target});
    }
    let contact = json!({"profile": {"name": message.name}, "wa_id": message.from});
    cloud_body(
        "messages",
        json!({
            "messaging_product": "whatsapp", "metadata": metadata(message.phone_number_id),
            "contacts": [contact], "messages": [sent],
        }),
    )
}

/// What the company wrote on its phone: a text, or an edit of one (`edits` names the message).
pub fn cloud_echo(
    phone_number_id: &str,
    to: &str,
    wamid: &str,
    text: &str,
    edits: Option<&str>,
    time: Timestamp,
) -> Vec<u8> {
    let text = json!({"body": text});
    let mut echo = json!({
        "from": BUSINESS_NUMBER, "to": to, "id": wamid, "timestamp": seconds(time),
    });
    match edits {
        None => {
            echo["type"] = json!("text");
            echo["text"] = text;
        }
        Some(original) => {
            echo["type"] = json!("edit");
            let message = json!({"type": "text", "text": text});
            echo["edit"] = json!({"original_message_id": original, "message": message});
        }
    }
    cloud_body(
        "smb_message_echoes",
        json!({
            "messaging_product": "whatsapp", "metadata": metadata(phone_number_id),
            "message_echoes": [echo],
        }),
    )
}

/// How far a message of the company has come: `sent`, `delivered`, `read` or `failed`.
pub fn cloud_status(
    phone_number_id: &str,
    to: &str,
    wamid: &str,
    status: &str,
    time: Timestamp,
) -> Vec<u8> {
    let mut told = json!({
        "id": wamid, "status": status, "timestamp": seconds(time), "recipient_id": to,
    });
    if status == "failed" {
        told["errors"] = json!([{
            "code": 131026, "title": "Message undeliverable", "message": "Message undeliverable",
            "error_data": {"details": "The recipient can't receive this message."},
        }]);
    }
    cloud_body(
        "messages",
        json!({
            "messaging_product": "whatsapp", "metadata": metadata(phone_number_id),
            "statuses": [told],
        }),
    )
}

/// An event of WAHA's. `number` makes its id.
pub fn waha_event(
    session: &str,
    event: &str,
    number: u64,
    payload: &Value,
    time: Timestamp,
) -> Vec<u8> {
    bytes(&json!({
        "id": format!("evt_{number:026}"), "timestamp": time.0, "event": event,
        "session": session,
        "me": {"id": format!("{BUSINESS_NUMBER}@c.us"), "pushName": "Tienda Sol"},
        "payload": payload, "engine": "WEBJS",
        "environment": {"version": "2026.7.1", "engine": "WEBJS", "tier": "CORE"},
    }))
}

fn metadata(phone_number_id: &str) -> Value {
    json!({"display_phone_number": BUSINESS_NUMBER, "phone_number_id": phone_number_id})
}

fn cloud_body<V: Serialize>(field: &str, value: V) -> Vec<u8> {
    let changes = [Change { value, field }];
    let entry = [Entry { id: WABA_ID, changes }];
    bytes(&Body { object: "whatsapp_business_account", entry })
}

fn bytes(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    #[expect(clippy::expect_used, reason = "strings and numbers, written to memory")]
    serde_json::to_writer(&mut bytes, body).expect("it is plain JSON");
    bytes
}

/// Meta tells times as text, in seconds.
fn seconds(time: Timestamp) -> String {
    time.0.div_euclid(1000).to_string()
}
