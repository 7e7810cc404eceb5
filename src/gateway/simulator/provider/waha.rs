//! WAHA's side of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::payloads,
    Outcome, Shared,
    courier::Parcel,
    plan::{Answering, Told},
    server::{Call, Reply},
    taking::{Handed, Taken},
};
use crate::domain::time::Timestamp;

/// How long after a message its echo comes, when it doesn't outrun the answer.
const ECHO_DELAY: Duration = Duration::from_millis(5);

pub(super) async fn answer(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let body = call.json();
    match (call.method.as_str(), path) {
        ("GET", ["sessions", name]) => {
            let (status, me) = match shared.pairing_code.load().is_some() {
                true => ("SCAN_QR_CODE", Value::Null),
                false => ("WORKING", json!({"id": "576015550100@c.us", "pushName": "Tienda Sol"})),
            };
            let engine = json!({"engine": "WEBJS"});
            Reply::Json(200, json!({"name": name, "status": status, "engine": engine, "me": me}))
        }
        ("GET", [_, "auth", "qr"]) => match &*shared.pairing_code.load() {
            Some(code) => Reply::Json(200, json!({"value": &**code})),
            None => error(422, "Session status is not as expected", Some("WORKING")),
        },
        ("GET", ["files", _, file]) => {
            let id = file.split('.').next().unwrap_or(file);
            match shared.shelf.lock().get(id) {
                Some((mime_type, bytes)) => Reply::File { mime_type, bytes },
                None => Reply::not_found(),
            }
        }
        ("POST", ["sendSeen"]) => {
            shared.ledger.lock().read();
            Reply::Json(201, json!({"success": true}))
        }
        ("POST", ["startTyping" | "stopTyping"]) => {
            shared.ledger.lock().typing();
            Reply::File { mime_type: "text/plain".to_owned(), bytes: Bytes::new() }
        }
        ("PUT", ["reaction"]) => send(shared, &body, "reaction").await,
        ("POST", [send_path]) => match kind_of(send_path) {
            Some(kind) => send(shared, &body, kind).await,
            None => Reply::not_found(),
        },
        _ => Reply::not_found(),
    }
}

fn kind_of(path: &str) -> Option<&'static str> {
    Some(match path {
        "sendText" => "chat",
        "sendImage" => "image",
        "sendFile" => "document",
        "sendVideo" => "video",
        "sendVoice" => "ptt",
        "sendLocation" => "location",
        "sendContactVcard" => "vcard",
        _ => return None,
    })
}

async fn send(shared: &Arc<Shared>, body: &Value, kind: &str) -> Reply {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let Some(session) = text("session") else { return error(400, "session is missing", None) };
    let chat = match kind {
        // A reaction names its target, and in it the chat.
        "reaction" => text("messageId").and_then(|id| id.split('_').nth(1).map(str::to_owned)),
        _ => text("chatId"),
    };
    let Some(chat) = chat else { return error(400, "chatId is missing", None) };
    let handed = Handed {
        provider: "waha",
        sender: session,
        recipient: chat.split('@').next().unwrap_or_default().to_owned(),
        message_id: None,
        kind: kind.to_owned(),
        text: text("text").or_else(|| text("caption")).or_else(|| text("reaction")),
    };
    let make_id = |number: u64| format!("true_{chat}_3EB0{:X}{number:08X}", shared.run);
    let (id, answering, statuses) = match shared.take(&handed, make_id) {
        Taken::Refused(code) => return refused(code),
        Taken::Cut => return Reply::Cut,
        Taken::Yes { wa_message_id, answering, statuses } => (wa_message_id, answering, statuses),
    };
    if !statuses.is_empty() {
        let echo_after = match answering {
            Answering::Outrun(_) => Duration::ZERO,
            _ => ECHO_DELAY,
        };
        shared.courier.send(echo_after, echo(shared, &handed, &chat, &id));
    }
    for told in statuses {
        shared.courier.send(told.after, acknowledgement(shared, &handed, &chat, &id, told));
    }
    shared.let_customer_answer(&handed, &id);
    match answering {
        Answering::AtOnce => {}
        Answering::Outrun(by) => tokio::time::sleep(by).await,
        Answering::Never => return Reply::Never,
        Answering::Cut => return Reply::Cut,
    }
    Reply::Json(201, json!({"id": id, "timestamp": seconds(shared.clock.now()), "fromMe": true}))
}

fn echo(shared: &Shared, handed: &Handed, chat: &str, id: &str) -> Parcel {
    let has_media = matches!(handed.kind.as_str(), "image" | "document" | "video" | "ptt");
    let payload = json!({
        "id": id, "timestamp": seconds(shared.clock.now()), "from": "576015550100@c.us",
        "to": chat, "fromMe": true, "source": "api", "body": handed.text, "hasMedia": has_media,
        "ack": 0, "_data": {"type": handed.kind},
    });
    Parcel::Waha(event(shared, handed, "message.any", &payload))
}

fn acknowledgement(shared: &Shared, handed: &Handed, chat: &str, id: &str, told: Told) -> Parcel {
    let (ack, name) = match told.status {
        Outcome::Failed => (-1, "ERROR"),
        Outcome::Untold => (0, "PENDING"),
        Outcome::Sent => (1, "SERVER"),
        Outcome::Delivered => (2, "DEVICE"),
        Outcome::Read => (3, "READ"),
    };
    let payload = json!({"id": id, "from": chat, "fromMe": true, "ack": ack, "ackName": name});
    Parcel::Waha(event(shared, handed, "message.ack", &payload))
}

fn event(shared: &Shared, handed: &Handed, name: &str, payload: &Value) -> Vec<u8> {
    let number = shared.courier.next_number();
    payloads::waha_event(&handed.sender, name, number, payload, shared.clock.now())
}

fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1000)
}

/// WAHA has no codes: what passes is a full house, the rest a bad request.
fn refused(code: i64) -> Reply {
    match code {
        130_429 | 131_056 | 4 | 80_007 | 131_016 | 131_000 | 2 => {
            error(429, "Too Many Requests", None)
        }
        _ => error(400, "the simulator refuses it", None),
    }
}

fn error(status: u16, message: &str, session_status: Option<&str>) -> Reply {
    let mut body = json!({"statusCode": status, "error": "Error", "message": message});
    if let Some(session_status) = session_status {
        body["status"] = json!(session_status);
    }
    Reply::Json(status, body)
}
