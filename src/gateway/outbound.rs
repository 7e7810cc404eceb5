//! The port through which the server speaks to a provider: one trait, one vocabulary of errors.
//!
//! The outbox calls it with a tenant's [`Account`] and gets back what became of the call in the
//! only terms that matter to it: done, may be tried again, will never work, the number itself is
//! refused, or **nobody knows**. Which provider answers, and in what JSON, stays in its folder.
//!
//! **Invariant:** [`SendError::InDoubt`] is said whenever the request may have reached the
//! provider and no answer of it was understood. A provider has no idempotency key, so who sends
//! again after that may send twice. [`SendError::Retry`] is said only where the provider, or the
//! refused connection, made sure that nothing was sent.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};

use crate::{
    domain::{
        ids::MessageId,
        message::{MessageKind, ProviderError},
        whatsapp::WhatsAppStatus,
    },
    runtime::secret::Secret,
};

/// Whose number sends, and with which credentials.
#[derive(Debug, Clone)]
pub enum Account {
    WhatsAppCloud {
        phone_number_id: String,
        waba_id: Option<String>,
        access_token: Secret<String>,
    },
    Waha {
        /// Where the tenant's WAHA server listens, without a path.
        base_url: String,
        session: String,
        api_key: Option<Secret<String>>,
    },
}

/// To whom: what is known of the contact's identities. At least one is.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Recipient {
    /// E.164 with `+`.
    pub phone: Option<String>,
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
    /// WAHA's `…@lid`.
    pub lid: Option<String>,
}

/// Without the identities: who sees a log line must not see a person.
impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(…)")
    }
}

/// Media to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaSource {
    /// Uploaded to the provider before: its id.
    Provider(String),
    /// At a public address, which the provider fetches.
    Link(String),
}

/// What is to be sent.
#[derive(Clone, PartialEq)]
pub struct OutboundMessage {
    /// Ours; goes along as `biz_opaque_callback_data`, so that a status settles a doubt.
    pub id: MessageId,
    pub kind: MessageKind,
    pub text: Option<String>,
    pub media: Option<MediaSource>,
    pub filename: Option<String>,
    pub mime_type: Option<String>,
    /// Recorded as a voice message.
    pub voice: bool,
    /// What the kind has beyond text and media: a template's `name`, `language`, `components`; a
    /// reaction's `emoji`; a location's `latitude`, …
    pub payload: Option<Map<String, Value>>,
    /// The provider's id of the message that this one answers or reacts to.
    pub reply_to: Option<String>,
}

impl fmt::Debug for OutboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMessage")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The provider took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The provider's id of the message.
    pub wa_message_id: String,
    /// What makes its echo and its statuses this message (see `IncomingMessage::dedupe_key`).
    pub dedupe_key: String,
}

/// Why something was not sent, or is not known to be. Names no person and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Surely not sent; may be tried again, not before `after` where the provider said so.
    #[error("not sent, can be tried again: {}", .error.title)]
    Retry { error: ProviderError, after: Option<Duration>, scope: RetryScope },
    /// Surely not sent, and trying again won't help.
    #[error("not sent: {}", .error.title)]
    Final { error: ProviderError },
    /// The number, its token or its template is refused: nothing more goes out that way until a
    /// person has looked at it.
    #[error("the sender is refused: {}", .error.title)]
    Stopped { error: ProviderError, what: Stopped },
    /// The request may have arrived and no answer was understood.
    #[error("nobody knows whether it was sent: {reason}")]
    InDoubt { reason: String },
}

/// What has to wait before a [`SendError::Retry`] is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryScope {
    /// This message alone (the pair rate, a passing fault).
    Recipient,
    /// All that the number sends (throughput, API quota, provider not reachable).
    Number,
}

/// What the provider refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The whole number: token, permission, restriction, payment.
    Number,
    /// The template alone: paused or disabled.
    Template,
}

/// A medium at the provider, to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMedia {
    pub id: Option<String>,
    pub url: Option<String>,
}

/// A medium's bytes as they come.
pub struct MediaDownload {
    pub mime_type: Option<String>,
    pub length: Option<u64>,
    pub bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

/// A medium's bytes on their way to the provider.
pub struct MediaUpload {
    pub mime_type: String,
    pub filename: Option<String>,
    pub length: u64,
    pub bytes: BoxStream<'static, std::io::Result<Bytes>>,
}

/// A message template as the provider knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub name: String,
    /// As `en_US`.
    pub language: String,
    /// As the provider spells it: `APPROVED`, `PAUSED`, ….
    pub status: String,
    pub category: Option<String>,
    /// The provider's own description of header, body and buttons.
    pub components: Vec<Value>,
}

/// How the number or session stands at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub status: WhatsAppStatus,
    pub phone_number: Option<String>,
    pub name: Option<String>,
    pub qr: Option<String>,
    pub quality: Option<String>,
    pub reason: Option<String>,
}

/// One provider's sending side.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Sends one message. Called once per claim; never tries again by itself.
    async fn send(
        &self,
        account: &Account,
        to: &Recipient,
        message: &OutboundMessage,
    ) -> Result<Accepted, SendError>;

    /// Tells the contact that their message, and all before it, was seen; with `typing`, also
    /// that an answer is being written, where the provider ties both together.
    async fn mark_read(
        &self,
        account: &Account,
        from: &Recipient,
        wa_message_id: &str,
        typing: bool,
    ) -> Result<(), SendError>;

    /// Tells the contact that somebody writes, or stopped. `newest` is the contact's newest
    /// message, which the Cloud API wants named.
    async fn typing(
        &self,
        account: &Account,
        to: &Recipient,
        newest: Option<&str>,
        typing: bool,
    ) -> Result<(), SendError>;

    /// Opens a medium for reading. The caller bounds how much it takes.
    async fn fetch_media(
        &self,
        account: &Account,
        media: &RemoteMedia,
    ) -> Result<MediaDownload, SendError>;

    /// Hands a medium to the provider; answers how to name it in a message.
    async fn upload_media(
        &self,
        account: &Account,
        media: MediaUpload,
    ) -> Result<MediaSource, SendError>;

    /// The templates that the provider has for the account; empty where it knows none.
    async fn templates(&self, account: &Account) -> Result<Vec<Template>, SendError>;

    /// How the number or session stands.
    async fn session(&self, account: &Account) -> Result<Session, SendError>;
}

/// A tenant's way out: which provider, with which account.
#[derive(Clone)]
pub struct Line {
    pub account: Account,
    pub provider: std::sync::Arc<dyn Outbound>,
}

/// Who sends for whom, as it stands now: from the configuration, and from what was set at run
/// time, which wins.
pub trait Lines: Send + Sync {
    /// `None`: the tenant has no way to send yet.
    fn of(&self, client: crate::domain::ids::ClientId) -> Option<Line>;
}
