//! The sending side of the WhatsApp Cloud API: [`Outbound`] over Meta's Graph API.
//!
//! `body` writes a message as Meta wants it, `error` reads what Meta says when it refuses,
//! `media` moves media; here is which call goes where and what its answer means.
//!
//! - A message goes to the contact's WhatsApp id where it is known, else to the phone number, else
//!   to the business-scoped user id, which has a field of its own (`recipient`): `to` wins at
//!   Meta when both are there.
//! - An answer of 2xx without a message's id is no answer: the message may be on its way.
//! - Typing shows for 25 s or until a message comes; there is no call that ends it, and it can't
//!   be told without marking the contact's newest message as read.

mod body;
mod error;
mod media;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::error::refusal;
use super::{
    super::{
        http::{Answer, ProviderHttp, call, final_error},
        outbound::{
            Accepted, Account, MediaDownload, MediaSource, MediaUpload, Outbound, OutboundMessage,
            Recipient, RemoteMedia, SendError, Session, Template,
        },
    },
    webhook::WhatsAppCloudSettings,
};
use crate::{domain::whatsapp::WhatsAppStatus, runtime::secret::Secret};

/// How many templates are asked for at a time.
const TEMPLATES_PER_PAGE: usize = 250;
/// How many pages are read: more templates than Meta lets an account have. The rest is left out.
const MAX_TEMPLATE_PAGES: usize = 40;

/// The sender. One per process, shared by all tenants.
#[derive(Debug)]
pub struct WhatsAppCloudSender {
    http: ProviderHttp,
    /// `https://graph.facebook.com/v24.0`, without a slash at its end.
    base: String,
}

/// What of an account each call needs.
struct Line<'a> {
    phone_number_id: &'a str,
    waba_id: Option<&'a str>,
    access_token: &'a Secret<String>,
}

impl WhatsAppCloudSender {
    pub fn new(settings: &WhatsAppCloudSettings, http: ProviderHttp) -> Self {
        let base = settings.graph_url.trim_end_matches('/');
        let base = match settings.graph_version.trim_matches('/') {
            "" => base.to_owned(),
            version => format!("{base}/{version}"),
        };
        Self { http, base }
    }

    fn request(&self, line: &Line<'_>, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.api.request(method, format!("{}/{path}", self.base));
        request.bearer_auth(line.access_token.expose())
    }

    fn post(&self, line: &Line<'_>, path: &str, body: &Value) -> RequestBuilder {
        let request = self.request(line, Method::POST, path);
        request.header("content-type", "application/json").body(body.to_string())
    }

    /// A `GET` that answers JSON.
    async fn get(&self, line: &Line<'_>, path: &str) -> Result<Value, SendError> {
        let request = self.request(line, Method::GET, path);
        let answer = call(request).await.map_err(|error| error.of_asking())?;
        understood(&answer, false)
    }
}

/// The JSON of an answer that means yes.
fn understood(answer: &Answer, sending: bool) -> Result<Value, SendError> {
    let json = answer.json();
    match json {
        Some(json) if answer.status.is_success() && json.get("error").is_none() => Ok(json),
        json => Err(refusal(answer, json.as_ref(), sending)),
    }
}

fn line(account: &Account) -> Result<Line<'_>, SendError> {
    match account {
        Account::WhatsAppCloud { phone_number_id, waba_id, access_token } => {
            Ok(Line { phone_number_id, waba_id: waba_id.as_deref(), access_token })
        }
        Account::Waha { .. } => Err(final_error(
            "The account is of another provider",
            "A WAHA session can't send through the WhatsApp Cloud API.",
        )),
    }
}

#[async_trait]
impl Outbound for WhatsAppCloudSender {
    async fn send(
        &self,
        account: &Account,
        to: &Recipient,
        message: &OutboundMessage,
    ) -> Result<Accepted, SendError> {
        let line = line(account)?;
        let body = body::message(to, message)?;
        let request = self.post(&line, &format!("{}/messages", line.phone_number_id), &body);
        let answer = call(request).await.map_err(|error| error.of_sending())?;
        let json = understood(&answer, true)?;
        let id = json["messages"][0]["id"].as_str().filter(|id| !id.is_empty());
        let Some(id) = id else {
            let reason = "the provider took it and named no message".to_owned();
            return Err(SendError::InDoubt { reason });
        };
        Ok(Accepted { wa_message_id: id.to_owned(), dedupe_key: id.to_owned() })
    }

    async fn mark_read(
        &self,
        account: &Account,
        _from: &Recipient,
        wa_message_id: &str,
        typing: bool,
    ) -> Result<(), SendError> {
        let line = line(account)?;
        let mut body = json!({
            "messaging_product": "whatsapp", "status": "read", "message_id": wa_message_id,
        });
        if typing {
            body["typing_indicator"] = json!({"type": "text"});
        }
        let request = self.post(&line, &format!("{}/messages", line.phone_number_id), &body);
        let answer = call(request).await.map_err(|error| error.of_asking())?;
        understood(&answer, false).map(|_success| ())
    }

    async fn typing(
        &self,
        account: &Account,
        to: &Recipient,
        newest: Option<&str>,
        typing: bool,
    ) -> Result<(), SendError> {
        match newest {
            Some(newest) if typing => self.mark_read(account, to, newest, true).await,
            _ => Ok(()),
        }
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
        self.hand_over_media(&line(account)?, media).await
    }

    async fn templates(&self, account: &Account) -> Result<Vec<Template>, SendError> {
        let line = line(account)?;
        let Some(waba_id) = line.waba_id else {
            return Err(final_error(
                "No WhatsApp business account is configured",
                "Templates belong to an account: give the tenant its waba_ids.",
            ));
        };
        let fields = "name,language,status,category,components";
        let first =
            format!("{waba_id}/message_templates?fields={fields}&limit={TEMPLATES_PER_PAGE}");
        let mut templates = Vec::new();
        let mut after = None;
        for _ in 0..MAX_TEMPLATE_PAGES {
            let path = match after.take() {
                None => first.clone(),
                Some(after) => format!("{first}&after={after}"),
            };
            let page = self.get(&line, &path).await?;
            templates.extend(page["data"].as_array().into_iter().flatten().filter_map(template));
            let has_next = page["paging"]["next"].is_string();
            let cursor = page["paging"]["cursors"]["after"].as_str();
            match cursor.filter(|cursor| has_next && is_cursor(cursor)) {
                Some(cursor) => after = Some(cursor.to_owned()),
                None => break,
            }
        }
        Ok(templates)
    }

    async fn session(&self, account: &Account) -> Result<Session, SendError> {
        let line = line(account)?;
        let fields = "display_phone_number,verified_name,quality_rating,status";
        let number = self.get(&line, &format!("{}?fields={fields}", line.phone_number_id)).await?;
        Ok(session(&number))
    }
}

/// Meta's cursors are base64; one of another form is not put into an address.
fn is_cursor(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// `None`: it has no name or no language, so nothing could be sent with it.
fn template(json: &Value) -> Option<Template> {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    Some(Template {
        name: text("name")?,
        language: text("language")?,
        status: text("status").unwrap_or_else(|| "UNKNOWN".to_owned()),
        category: text("category"),
        components: json["components"].as_array().cloned().unwrap_or_default(),
    })
}

fn session(number: &Value) -> Session {
    let text = |name: &str| number[name].as_str().filter(|text| !text.is_empty());
    let status = text("status").unwrap_or("CONNECTED");
    let (connection, reason) = match status {
        "CONNECTED" => (WhatsAppStatus::Connected, None),
        "FLAGGED" | "RATE_LIMITED" => (WhatsAppStatus::Connected, Some(status)),
        "PENDING" | "MIGRATED" | "UNVERIFIED" => (WhatsAppStatus::Connecting, Some(status)),
        "DISCONNECTED" | "DELETED" => (WhatsAppStatus::Disconnected, Some(status)),
        _ => (WhatsAppStatus::Error, Some(status)),
    };
    let digits = |number: &str| number.chars().filter(char::is_ascii_digit).collect::<String>();
    Session {
        status: connection,
        phone_number: text("display_phone_number").map(|number| format!("+{}", digits(number))),
        name: text("verified_name").map(str::to_owned),
        qr: None,
        quality: text("quality_rating").map(str::to_owned),
        reason: reason.map(|status| format!("the number's status at Meta is {status}")),
    }
}

#[cfg(test)]
#[path = "send_test.rs"]
mod tests;
