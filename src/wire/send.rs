//! What clients ask to be sent: the body of `POST …/messages` and the `data` of `send_message`.
//!
//! Lengths are those of WhatsApp; what else must hold (one thing at a time, a caption where one
//! can be) is checked by `command`, so that both transports say the same.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::types::{Message, MessageType};

/// A message to be sent: one of `text`, `media`, `template`, `reaction` and `location`. A `text`
/// beside `media` is its caption.
#[derive(Debug, Clone, PartialEq, Default, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// What the message is. Needed with a medium at a `link` of which `mime_type` does not tell;
    /// elsewhere it may be left out.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: Option<MessageType>,
    /// The text, or the caption of `media`.
    #[oai(validator(min_length = 1, max_length = 4096))]
    pub text: Option<String>,
    pub media: Option<SendMedia>,
    pub template: Option<SendTemplate>,
    pub reaction: Option<SendReaction>,
    pub location: Option<SendLocation>,
    /// Id of the message of this conversation that is answered.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub reply_to: Option<String>,
    /// The client's own mark; stands in the message from then on.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub client_ref: Option<String>,
}

/// A medium to be sent: uploaded before (`id`), or at a public address (`link`).
#[derive(Debug, Clone, PartialEq, Default, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
#[serde(deny_unknown_fields)]
pub struct SendMedia {
    /// Id of an upload, from `POST /v1/media`.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub id: Option<String>,
    /// An `https` address from which WhatsApp fetches the medium.
    #[oai(validator(min_length = 1, max_length = 2000))]
    pub link: Option<String>,
    #[oai(validator(min_length = 1, max_length = 128))]
    pub mime_type: Option<String>,
    /// The name that a document is shown with.
    #[oai(validator(min_length = 1, max_length = 240))]
    pub filename: Option<String>,
    /// Of an audio: shown as a voice note.
    pub voice: Option<bool>,
}

/// A template to be sent, which may start a conversation and needs no open 24-hour window.
#[derive(Debug, Clone, PartialEq, Default, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
#[serde(deny_unknown_fields)]
pub struct SendTemplate {
    /// As `GET /v1/templates` lists it.
    #[oai(validator(min_length = 1, max_length = 512))]
    pub name: String,
    /// As `en_US`.
    #[oai(validator(min_length = 1, max_length = 16))]
    pub language: String,
    /// What fills the template's variables, as WhatsApp writes `components`.
    #[oai(validator(max_items = 16))]
    pub components: Option<Vec<Value>>,
}

/// A reaction to a message of the conversation.
#[derive(Debug, Clone, PartialEq, Default, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
#[serde(deny_unknown_fields)]
pub struct SendReaction {
    /// Id of the message that is reacted to.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub message_id: String,
    /// One emoji; absent or empty takes the reaction back.
    #[oai(validator(max_length = 32))]
    pub emoji: Option<String>,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Default, Object, Serialize, Deserialize)]
#[oai(deny_unknown_fields)]
#[serde(deny_unknown_fields)]
pub struct SendLocation {
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    pub latitude: f64,
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    pub longitude: f64,
    #[oai(validator(min_length = 1, max_length = 1000))]
    pub name: Option<String>,
    #[oai(validator(min_length = 1, max_length = 1000))]
    pub address: Option<String>,
}

/// A message that waits to be sent.
#[derive(Debug, Object, Serialize)]
pub struct MessageQueued {
    /// As it is now; `message_status_updated` tells how it goes on.
    pub message: Message,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// A template that the provider has for the tenant.
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
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

/// The provider's templates.
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
pub struct Templates {
    pub templates: Vec<Template>,
}
