//! Which of WAHA's endpoints takes a message, and what it wants.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    super::super::{
        http::final_error,
        outbound::{MediaSource, OutboundMessage, SendError},
    },
    media::inlined,
};
use crate::domain::message::MessageKind;

/// A call to be made; the session is added by who makes it.
pub(super) struct Order {
    pub(super) method: Method,
    /// Below `/api/`.
    pub(super) path: &'static str,
    pub(super) body: Value,
}

pub(super) fn of(chat_id: &str, message: &OutboundMessage) -> Result<Order, SendError> {
    if message.kind == MessageKind::Reaction {
        return reaction(message);
    }
    let (path, mut body) = content(message)?;
    body["chatId"] = Value::String(chat_id.to_owned());
    if let Some(answered) = &message.reply_to {
        body["reply_to"] = Value::String(answered.clone());
    }
    Ok(Order { method: Method::POST, path, body })
}

fn reaction(message: &OutboundMessage) -> Result<Order, SendError> {
    let Some(target) = &message.reply_to else {
        return Err(incomplete("the message that is reacted to"));
    };
    // An empty one takes the reaction back.
    let of_payload = message.payload.as_ref().and_then(|payload| payload.get("emoji"));
    let emoji = of_payload.and_then(Value::as_str).or(message.text.as_deref()).unwrap_or_default();
    let body = json!({"messageId": target, "reaction": emoji});
    Ok(Order { method: Method::PUT, path: "reaction", body })
}

fn content(message: &OutboundMessage) -> Result<(&'static str, Value), SendError> {
    Ok(match message.kind {
        MessageKind::Text => {
            let text = message.text.as_deref().unwrap_or_default();
            ("sendText", json!({"text": text}))
        }
        MessageKind::Image => ("sendImage", file(message)?),
        MessageKind::Video => ("sendVideo", file(message)?),
        MessageKind::Audio if message.voice => ("sendVoice", file(message)?),
        MessageKind::Audio | MessageKind::Document => ("sendFile", file(message)?),
        MessageKind::Location => ("sendLocation", location(message)?),
        MessageKind::Contacts => ("sendContactVcard", contacts(message)?),
        _ => {
            return Err(final_error(
                "Messages of this kind can't be sent",
                "WAHA sends text, images, video, audio, documents, locations, contacts and \
                 reactions.",
            ));
        }
    })
}

fn file(message: &OutboundMessage) -> Result<Value, SendError> {
    let mut file = match &message.media {
        Some(MediaSource::Link(link)) => match inlined(link) {
            Some((mime_type, data)) => json!({"mimetype": mime_type, "data": data}),
            None => json!({"url": link}),
        },
        Some(MediaSource::Provider(_)) => {
            return Err(final_error(
                "The medium is of another provider",
                "WAHA stores no media; it takes an address or the bytes.",
            ));
        }
        None => return Err(incomplete("the medium")),
    };
    if let Some(mime_type) = &message.mime_type {
        file["mimetype"] = Value::String(mime_type.clone());
    }
    if let Some(filename) = &message.filename {
        file["filename"] = Value::String(filename.clone());
    }
    let mut body = json!({"file": file});
    if let Some(caption) = message.text.as_deref().filter(|text| !text.is_empty()) {
        body["caption"] = Value::String(caption.to_owned());
    }
    Ok(body)
}

fn location(message: &OutboundMessage) -> Result<Value, SendError> {
    let payload = payload(message)?;
    let number = |name: &str| payload.get(name).filter(|value| value.is_number()).cloned();
    let (Some(latitude), Some(longitude)) = (number("latitude"), number("longitude")) else {
        return Err(incomplete("latitude or longitude"));
    };
    let title = payload.get("name").or(payload.get("address")).and_then(Value::as_str);
    let title = title.unwrap_or_default();
    Ok(json!({"latitude": latitude, "longitude": longitude, "title": title}))
}

/// Cards as the Cloud API has them, or `vcards` as WAHA tells them.
fn contacts(message: &OutboundMessage) -> Result<Value, SendError> {
    let payload = payload(message)?;
    let list = |name: &str| payload.get(name).and_then(Value::as_array).into_iter().flatten();
    let ready = list("vcards").filter_map(Value::as_str).map(|vcard| json!({"vcard": vcard}));
    let made = list("contacts").map(|contact| {
        let phone = &contact["phones"][0];
        json!({
            "fullName": contact["name"]["formatted_name"],
            "phoneNumber": phone["phone"],
            "whatsappId": phone["wa_id"],
            "organization": contact["org"]["company"],
        })
    });
    let contacts: Vec<Value> = ready.chain(made).collect();
    if contacts.is_empty() {
        return Err(incomplete("the contacts"));
    }
    Ok(json!({"contacts": contacts}))
}

fn payload(message: &OutboundMessage) -> Result<&Map<String, Value>, SendError> {
    message.payload.as_ref().ok_or_else(|| incomplete("the payload"))
}

fn incomplete(what: &str) -> SendError {
    final_error("The message is incomplete", &format!("It lacks {what}."))
}
