//! A message as the Cloud API wants it.
//!
//! What a kind has beyond text and media is taken from the payload, by Meta's own names: a
//! template's `name`, `language` (`es_CO` or `{"code": …}`) and `components`; the whole of an
//! `interactive`; a location's `latitude`, `longitude`, `name`, `address`; `contacts`; a
//! reaction's `emoji`.

use serde_json::{Map, Value, json};

use super::super::super::{
    http::final_error,
    outbound::{MediaSource, OutboundMessage, Recipient, SendError},
};
use crate::domain::message::MessageKind;

/// The body for `POST /{phone-number-id}/messages`.
pub(super) fn message(to: &Recipient, message: &OutboundMessage) -> Result<Value, SendError> {
    let (kind, content) = content(message)?;
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "type": kind,
        "biz_opaque_callback_data": message.id.to_string(),
    });
    body[kind] = content;
    let (field, address) = address(to)?;
    body[field] = Value::String(address);
    if let Some(answered) = &message.reply_to
        && message.kind != MessageKind::Reaction
    {
        body["context"] = json!({"message_id": answered});
    }
    Ok(body)
}

/// The field that names the recipient, and its value.
fn address(to: &Recipient) -> Result<(&'static str, String), SendError> {
    let is_number =
        |id: &&String| (6..=15).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(wa_id) = to.wa_id.as_ref().filter(is_number) {
        return Ok(("to", format!("+{wa_id}")));
    }
    if let Some(phone) = &to.phone {
        return Ok(("to", phone.clone()));
    }
    match to.user_id.as_ref().or(to.wa_id.as_ref()) {
        Some(user_id) => Ok(("recipient", user_id.clone())),
        None => Err(final_error(
            "The contact has no address here",
            "Neither a phone number nor a business-scoped user id of the contact is known.",
        )),
    }
}

/// The type's name, and what stands under it.
fn content(message: &OutboundMessage) -> Result<(&'static str, Value), SendError> {
    let payload = || message.payload.clone().unwrap_or_default();
    Ok(match message.kind {
        MessageKind::Text => {
            let text = message.text.as_deref().unwrap_or_default();
            let has_link = text.contains("http://") || text.contains("https://");
            ("text", json!({"body": text, "preview_url": has_link}))
        }
        MessageKind::Image => ("image", media(message, true)?),
        MessageKind::Video => ("video", media(message, true)?),
        MessageKind::Sticker => ("sticker", media(message, false)?),
        MessageKind::Audio => {
            let mut audio = media(message, false)?;
            if message.voice {
                audio["voice"] = Value::Bool(true);
            }
            ("audio", audio)
        }
        MessageKind::Document => {
            let mut document = media(message, true)?;
            if let Some(filename) = &message.filename {
                document["filename"] = Value::String(filename.clone());
            }
            ("document", document)
        }
        MessageKind::Template => ("template", template(payload())?),
        MessageKind::Interactive => ("interactive", under(payload(), "interactive")?),
        MessageKind::Contacts => ("contacts", under(payload(), "contacts")?),
        MessageKind::Location => {
            let mut location = payload();
            location.retain(|name, _| {
                matches!(name.as_str(), "latitude" | "longitude" | "name" | "address")
            });
            ("location", non_empty(location)?)
        }
        MessageKind::Reaction => ("reaction", reaction(message)?),
        MessageKind::Button
        | MessageKind::Order
        | MessageKind::System
        | MessageKind::Unsupported => {
            return Err(final_error(
                "Messages of this kind can't be sent",
                "The WhatsApp Cloud API takes them from contacts only.",
            ));
        }
    })
}

fn media(message: &OutboundMessage, with_caption: bool) -> Result<Value, SendError> {
    let mut media = match &message.media {
        Some(MediaSource::Provider(id)) => json!({"id": id}),
        Some(MediaSource::Link(link)) => json!({"link": link}),
        None => {
            return Err(final_error("The medium is missing", "There is no medium to be sent."));
        }
    };
    if let Some(caption) = message.text.as_deref().filter(|text| with_caption && !text.is_empty()) {
        media["caption"] = Value::String(caption.to_owned());
    }
    Ok(media)
}

fn template(mut payload: Map<String, Value>) -> Result<Value, SendError> {
    let language = match payload.remove("language") {
        Some(Value::String(code)) => json!({"code": code}),
        Some(Value::Object(language)) => Value::Object(language),
        _ => return Err(incomplete("a template's language")),
    };
    let Some(Value::String(name)) = payload.remove("name") else {
        return Err(incomplete("a template's name"));
    };
    let mut template = json!({"name": name, "language": language});
    if let Some(components) = payload.remove("components").filter(Value::is_array) {
        template["components"] = components;
    }
    Ok(template)
}

fn reaction(message: &OutboundMessage) -> Result<Value, SendError> {
    let Some(target) = &message.reply_to else {
        return Err(incomplete("the message that is reacted to"));
    };
    // An empty one takes the reaction back.
    let of_payload = message.payload.as_ref().and_then(|payload| payload.get("emoji"));
    let emoji = of_payload.and_then(Value::as_str).or(message.text.as_deref()).unwrap_or_default();
    Ok(json!({"message_id": target, "emoji": emoji}))
}

/// The payload's member of that name, or the payload itself.
fn under(mut payload: Map<String, Value>, name: &str) -> Result<Value, SendError> {
    match payload.remove(name) {
        Some(member) => Ok(member),
        None => non_empty(payload),
    }
}

fn non_empty(payload: Map<String, Value>) -> Result<Value, SendError> {
    if payload.is_empty() {
        return Err(incomplete("the payload"));
    }
    Ok(Value::Object(payload))
}

fn incomplete(what: &str) -> SendError {
    final_error("The message is incomplete", &format!("It lacks {what}."))
}
