//! The sending side of WAHA: [`Outbound`] over its HTTP API.
//!
//! `body` says which endpoint takes a message and what it wants, `answer` reads what the engines
//! answer, each in its own way. What is decided where WAHA leaves it open:
//!
//! - WAHA has no templates, interactive messages or stickers to send: those are refused here,
//!   without a call.
//! - WAHA stores no media. What is handed to [`upload_media`](Outbound::upload_media) is carried
//!   in the message itself, as base64, and is bounded for that reason.
//! - A medium's address names the host that WAHA thinks it has (`localhost:3000` mostly); when it
//!   is one of WAHA's own files it is asked for where the session's server is. The API key goes
//!   to that server and nowhere else.

mod answer;
mod body;
mod media;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::answer::refusal;
use super::{
    super::{
        http::{Answer, ProviderHttp, call, final_error},
        outbound::{
            Accepted, Account, MediaDownload, MediaSource, MediaUpload, Outbound, OutboundMessage,
            Recipient, RemoteMedia, SendError, Session, Template,
        },
    },
    chat::Chat,
};
use crate::{
    domain::{conversation::Contact, message::MessageKind, whatsapp::WhatsAppStatus},
    runtime::secret::Secret,
};

/// The sender. One per process, shared by all tenants.
#[derive(Debug)]
pub struct WahaSender {
    http: ProviderHttp,
}

/// What of an account each call needs.
struct Line<'a> {
    base: &'a str,
    session: &'a str,
    api_key: Option<&'a Secret<String>>,
}

impl WahaSender {
    pub fn new(http: ProviderHttp) -> Self {
        Self { http }
    }

    fn request(&self, line: &Line<'_>, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.api.request(method, format!("{}/api/{path}", line.base));
        let request = request.header("accept", "application/json");
        match line.api_key {
            Some(key) => request.header("x-api-key", key.expose()),
            None => request,
        }
    }

    fn with_body(
        &self,
        line: &Line<'_>,
        method: Method,
        path: &str,
        mut body: Value,
    ) -> RequestBuilder {
        body["session"] = Value::String(line.session.to_owned());
        let request = self.request(line, method, path);
        request.header("content-type", "application/json").body(body.to_string())
    }

    /// A call that may be made twice without harm, and whose answer says no more than yes.
    async fn tell(&self, line: &Line<'_>, path: &str, body: Value) -> Result<(), SendError> {
        let request = self.with_body(line, Method::POST, path, body);
        let answer = call(request).await.map_err(|error| error.of_asking())?;
        succeeded(&answer, false)
    }

    async fn get(&self, line: &Line<'_>, path: &str) -> Result<Value, SendError> {
        let request = self.request(line, Method::GET, path);
        let answer = call(request).await.map_err(|error| error.of_asking())?;
        succeeded(&answer, false)?;
        answer.json().ok_or_else(|| refusal(&answer, false))
    }
}

fn succeeded(answer: &Answer, sending: bool) -> Result<(), SendError> {
    if answer.status.is_success() { Ok(()) } else { Err(refusal(answer, sending)) }
}

fn line(account: &Account) -> Result<Line<'_>, SendError> {
    match account {
        Account::Waha { base_url, session, api_key } => {
            Ok(Line { base: base_url.trim_end_matches('/'), session, api_key: api_key.as_ref() })
        }
        Account::WhatsAppCloud { .. } => Err(final_error(
            "The account is of another provider",
            "A number of the WhatsApp Cloud API can't send through WAHA.",
        )),
    }
}

/// The contact's chat: by number where it is known, which every engine takes.
fn chat_id(to: &Recipient) -> Result<String, SendError> {
    let digits = |id: &String| {
        let digits = id.strip_prefix('+').unwrap_or(id);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.to_owned())
    };
    if let Some(number) = to.phone.as_ref().and_then(digits).or(to.wa_id.as_ref().and_then(digits))
    {
        return Ok(format!("{number}@c.us"));
    }
    match &to.lid {
        Some(lid) => Ok(format!("{}@lid", lid.trim_end_matches("@lid"))),
        None => Err(final_error(
            "The contact has no address here",
            "Neither a phone number nor a lid of the contact is known.",
        )),
    }
}

#[async_trait]
impl Outbound for WahaSender {
    async fn send(
        &self,
        account: &Account,
        to: &Recipient,
        message: &OutboundMessage,
    ) -> Result<Accepted, SendError> {
        let line = line(account)?;
        let order = body::of(&chat_id(to)?, message)?;
        let request = self.with_body(&line, order.method, order.path, order.body);
        let answer = call(request).await.map_err(|error| error.of_sending())?;
        succeeded(&answer, true)?;
        let id = answer.json().as_ref().and_then(answer::message_id);
        let wa_message_id = match id {
            Some(id) => id,
            // Not every engine gives a reaction an id, and none of them asks for one later.
            None if message.kind == MessageKind::Reaction => format!("reaction.{}", message.id),
            None => {
                let reason = "the provider took it and named no message".to_owned();
                return Err(SendError::InDoubt { reason });
            }
        };
        let dedupe_key = super::dedupe_key(&wa_message_id).to_owned();
        Ok(Accepted { wa_message_id, dedupe_key })
    }

    async fn mark_read(
        &self,
        account: &Account,
        from: &Recipient,
        wa_message_id: &str,
        typing: bool,
    ) -> Result<(), SendError> {
        let line = line(account)?;
        let chat = chat_id(from)?;
        self.tell(&line, "sendSeen", json!({"chatId": chat, "messageId": wa_message_id})).await?;
        if typing {
            self.tell(&line, "startTyping", json!({"chatId": chat})).await?;
        }
        Ok(())
    }

    async fn typing(
        &self,
        account: &Account,
        to: &Recipient,
        _newest: Option<&str>,
        typing: bool,
    ) -> Result<(), SendError> {
        let path = if typing { "startTyping" } else { "stopTyping" };
        self.tell(&line(account)?, path, json!({"chatId": chat_id(to)?})).await
    }

    async fn fetch_media(
        &self,
        account: &Account,
        media: &RemoteMedia,
    ) -> Result<MediaDownload, SendError> {
        self.open_media(&line(account)?, media).await
    }

    async fn upload_media(
        &self,
        account: &Account,
        media: MediaUpload,
    ) -> Result<MediaSource, SendError> {
        line(account)?;
        media::inline(media).await
    }

    async fn templates(&self, account: &Account) -> Result<Vec<Template>, SendError> {
        line(account).map(|_has_none| Vec::new())
    }

    async fn session(&self, account: &Account) -> Result<Session, SendError> {
        let line = line(account)?;
        let name = path_segment(line.session);
        let found = self.get(&line, &format!("sessions/{name}")).await?;
        let mut session = session(&found);
        if session.status == WhatsAppStatus::Qr {
            // It may have been scanned in between: then there is none.
            let path = format!("{name}/auth/qr?format=raw");
            let qr = self.get(&line, &path).await.ok();
            session.qr = qr.and_then(|qr| qr["value"].as_str().map(str::to_owned));
        }
        Ok(session)
    }
}

/// A session's name as a part of a path.
fn path_segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

fn session(found: &Value) -> Session {
    let told = found["status"].as_str().unwrap_or_default();
    let status = match told {
        "WORKING" => WhatsAppStatus::Connected,
        "STARTING" | "PASSKEY_REQUIRED" | "PASSKEY_CONFIRMATION_REQUIRED" => {
            WhatsAppStatus::Connecting
        }
        "SCAN_QR_CODE" => WhatsAppStatus::Qr,
        "STOPPED" => WhatsAppStatus::Disconnected,
        _ => WhatsAppStatus::Error,
    };
    let mut ours = Contact::default();
    if let Some(chat) = found["me"]["id"].as_str().and_then(Chat::parse) {
        chat.add_to(&mut ours);
    }
    let reason = match status {
        WhatsAppStatus::Connected | WhatsAppStatus::Qr => None,
        _ => Some(format!("the session's status at WAHA is {told}")),
    };
    let name = found["me"]["pushName"].as_str().map(str::to_owned);
    Session { status, phone_number: ours.phone, name, qr: None, quality: None, reason }
}

#[cfg(test)]
#[path = "send_test.rs"]
mod tests;
