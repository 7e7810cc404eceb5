//! The Cloud API's side of it: what the Graph API answers.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Outcome, Shared,
    courier::Parcel,
    media::{self, multipart_file},
    plan::{Answering, Told},
    server::{Call, Reply},
    taking::{Handed, Taken},
};

/// The longest text.
const TEXT_CHARS_MAX: usize = 4096;
/// A token that Meta doesn't take any more.
const EXPIRED_TOKEN: &str = "expired";

pub(super) async fn answer(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if token.is_none_or(|token| token.is_empty() || token == EXPIRED_TOKEN) {
        return refused(190);
    }
    match (call.method.as_str(), path) {
        ("POST", [number, "messages"]) => messages(shared, number, &call.json()).await,
        ("POST", [_, "media"]) => upload(shared, call),
        ("GET", [_, "message_templates"]) => Reply::Json(200, templates()),
        ("GET", ["lookaside", id]) => match shared.shelf.lock().get(id) {
            Some((mime_type, bytes)) => Reply::File { mime_type, bytes },
            None => Reply::not_found(),
        },
        ("GET", [_number]) if asks_for_number(call) => Reply::Json(
            200,
            json!({
                "id": path[0], "display_phone_number": "+57 601 555 0100",
                "verified_name": "Tienda Sol", "quality_rating": "GREEN", "status": "CONNECTED",
            }),
        ),
        ("GET", [id]) => medium(shared, call, id),
        _ => Reply::not_found(),
    }
}

fn asks_for_number(call: &Call) -> bool {
    call.query.get("fields").is_some_and(|fields| fields.contains("display_phone_number"))
}

async fn messages(shared: &Arc<Shared>, number: &str, body: &Value) -> Reply {
    if body["status"] == "read" {
        let mut ledger = shared.ledger.lock();
        ledger.read();
        if body["typing_indicator"].is_object() {
            ledger.typing();
        }
        return Reply::Json(200, json!({"success": true}));
    }
    let handed = match handed(number, body) {
        Ok(handed) => handed,
        Err(code) => {
            shared.ledger.lock().refused(code);
            return refused(code);
        }
    };
    let make_id = |number| format!("wamid.sim{:x}n{number}", shared.run);
    let (wamid, answering, statuses) = match shared.take(&handed, make_id) {
        Taken::Refused(code) => return refused(code),
        Taken::Cut => return Reply::Cut,
        Taken::Yes { wa_message_id, answering, statuses } => (wa_message_id, answering, statuses),
    };
    for told in statuses {
        let parcel = status(shared, &handed, &wamid, told);
        shared.courier.send(told.after, parcel);
    }
    shared.let_customer_answer(&handed, &wamid);
    match answering {
        Answering::AtOnce => {}
        Answering::Outrun(by) => tokio::time::sleep(by).await,
        Answering::Never => return Reply::Never,
        Answering::Cut => return Reply::Cut,
    }
    Reply::Json(
        200,
        json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": handed.recipient, "wa_id": handed.recipient}],
            "messages": [{"id": wamid}],
        }),
    )
}

/// Reads a message; an error's code where it is none.
fn handed(number: &str, body: &Value) -> Result<Handed, i64> {
    let recipient = body["to"].as_str().or(body["recipient"].as_str()).unwrap_or_default();
    let recipient = recipient.trim_start_matches('+');
    let kind = body["type"].as_str().unwrap_or_default();
    if body["messaging_product"] != "whatsapp" || recipient.is_empty() {
        return Err(100);
    }
    let content = &body[kind];
    let text = content["body"].as_str();
    let is_sound = match kind {
        "text" => {
            text.is_some_and(|text| !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX)
        }
        "image" | "video" | "audio" | "document" | "sticker" => {
            content["id"].is_string() || content["link"].is_string()
        }
        "template" => content["name"].is_string() && content["language"]["code"].is_string(),
        "reaction" => content["message_id"].is_string(),
        "location" | "interactive" => content.is_object(),
        "contacts" => content.is_array(),
        _ => false,
    };
    match content["name"].as_str().filter(|_| kind == "template") {
        _ if !is_sound => return Err(131_009),
        Some("paused_template") => return Err(132_015),
        Some("missing_template") => return Err(132_001),
        _ => {}
    }
    let text = text.or(content["caption"].as_str()).or(content["emoji"].as_str());
    Ok(Handed {
        provider: "whatsapp_cloud",
        sender: number.to_owned(),
        recipient: recipient.to_owned(),
        message_id: body["biz_opaque_callback_data"].as_str().map(str::to_owned),
        kind: kind.to_owned(),
        text: text.map(str::to_owned),
    })
}

/// The webhook of a status.
fn status(shared: &Shared, handed: &Handed, wamid: &str, told: Told) -> Parcel {
    let at = shared.clock.now().plus_ms(as_ms(told.after));
    let mut status = json!({
        "id": wamid, "status": told.status.name(),
        "timestamp": at.0.div_euclid(1000).to_string(),
        "recipient_id": handed.recipient,
    });
    if let Some(id) = &handed.message_id {
        status["biz_opaque_callback_data"] = json!(id);
    }
    if told.status == Outcome::Sent {
        status["pricing"] =
            json!({"billable": true, "pricing_model": "PMP", "category": "utility"});
    }
    if let Some(code) = told.error {
        status["errors"] = json!([{
            "code": code, "title": title(code), "message": title(code),
            "error_data": {"details": "The simulator makes it fail."},
        }]);
    }
    Parcel::CloudStatus { phone_number_id: handed.sender.clone(), status }
}

fn as_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An error as Meta writes it.
fn refused(code: i64) -> Reply {
    let http_status = match code {
        130_429 | 131_056 | 4 | 80_007 => 429,
        131_000 | 2 => 500,
        131_016 | 131_057 => 503,
        190 | 0 => 401,
        10 | 200..=299 | 131_031 | 368 => 403,
        _ => 400,
    };
    Reply::Json(
        http_status,
        json!({"error": {
            "message": format!("(#{code}) {}", title(code)), "type": "OAuthException", "code": code,
            "error_data": {"messaging_product": "whatsapp", "details": "The simulator says so."},
            "fbtrace_id": "Asimulated",
        }}),
    )
}

fn title(code: i64) -> &'static str {
    match code {
        130_429 => "Rate limit hit",
        131_056 => "Pair rate limit hit",
        131_000 => "Something went wrong",
        131_016 => "Service unavailable",
        4 | 80_007 => "Too many calls",
        131_026 => "Message undeliverable",
        131_047 => "Re-engagement message",
        131_048 => "Spam rate limit hit",
        131_049 => "Meta chose not to deliver",
        131_050 => "User opted out of marketing messages",
        131_009 => "Parameter value is not valid",
        132_001 => "Template does not exist",
        132_015 => "Template is paused",
        190 => "Access token has expired",
        _ => "Refused",
    }
}

fn templates() -> Value {
    let template = |name: &str, status: &str, category: &str, body: &str| {
        json!({
            "id": name, "name": name, "language": "es_CO", "status": status,
            "category": category, "components": [{"type": "BODY", "text": body}],
        })
    };
    json!({
        "data": [
            template("pedido_en_camino", "APPROVED", "UTILITY",
                "Hola {{1}}, su pedido {{2}} va en camino."),
            template("promo_temporada", "APPROVED", "MARKETING",
                "{{1}}, esta semana todo con 20 % de descuento."),
            template("paused_template", "PAUSED", "MARKETING", "Hola {{1}}"),
        ],
        "paging": {"cursors": {"before": "MAZDZD", "after": "MgZDZD"}},
    })
}

fn upload(shared: &Shared, call: &Call) -> Reply {
    let file = multipart_file(call.header("content-type").unwrap_or_default(), &call.body);
    let Some((mime_type, bytes)) = file else { return refused(131_053) };
    let id = shared.shelf.lock().put(mime_type, bytes);
    Reply::Json(200, json!({"id": id}))
}

fn medium(shared: &Shared, call: &Call, id: &str) -> Reply {
    let Some((mime_type, bytes)) = shared.shelf.lock().get(id) else { return refused(100) };
    Reply::Json(
        200,
        json!({
            "messaging_product": "whatsapp", "id": id, "mime_type": mime_type,
            "sha256": media::sha256_hex(&bytes), "file_size": bytes.len(),
            "url": format!("{}/lookaside/{id}", call.base()),
        }),
    )
}
