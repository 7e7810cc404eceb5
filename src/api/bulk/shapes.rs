//! What requests and answers about bulks look like.

use poem_openapi::{Enum, Object};
use serde::Serialize;
use serde_json::Value;

use super::super::moment::Moment;
use crate::{
    domain::bulk::RecipientResult,
    wire::types::{Bulk, MessageError},
};

/// A bulk to be sent: a text or a template, and to whom.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct NewBulk {
    /// What to call it.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub name: String,
    /// A text for all; `{{city}}` stands for the recipient's parameter `city`, `{{name}}` and
    /// `{{phone}}` for their own. WhatsApp takes text only within 24 hours of the contact's last
    /// message. Either `text` or `template`.
    #[oai(validator(min_length = 1, max_length = 4096))]
    pub text: Option<String>,
    pub template: Option<NewBulkTemplate>,
    /// Up to 100,000. The same person counts once.
    #[oai(validator(min_items = 1, max_items = 100000))]
    pub recipients: Vec<NewBulkRecipient>,
    /// Messages a second; 20 when absent, unless the operator set another.
    #[oai(validator(minimum(value = "0.001"), maximum(value = "1000")))]
    pub rate_per_second: Option<f64>,
    /// When to begin; at once when absent or past.
    pub scheduled_at: Option<Moment>,
}

/// A template of WhatsApp, with what differs by recipient.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct NewBulkTemplate {
    #[oai(validator(min_length = 1, max_length = 512))]
    pub name: String,
    /// As `en_US`.
    #[oai(validator(min_length = 2, max_length = 20))]
    pub language: String,
    /// The parameters of the template's body, with placeholders as in `text`: a list for those by
    /// position, an object for those by name. Absent, and no `components`: the recipients'
    /// parameters as they are.
    pub parameters: Option<Value>,
    /// All components as WhatsApp's Cloud API takes them, with placeholders in their texts.
    /// Instead of `parameters`.
    #[oai(validator(max_items = 20))]
    pub components: Option<Vec<Value>>,
}

/// To whom, and with which parameters.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct NewBulkRecipient {
    /// An international number as people write it: `+34 600 000 001`, `0034600000001`.
    pub phone: String,
    /// What to call the contact until WhatsApp tells a name.
    pub name: Option<String>,
    /// Their parameters: a list for those by position, an object for those by name.
    pub parameters: Option<Value>,
}

/// A row that gets no message.
#[derive(Debug, Clone, Object, Serialize)]
pub struct RejectedRow {
    /// In a CSV the row as a spreadsheet counts them, the header being 1; else the place in
    /// `recipients`, from 1.
    pub row: u32,
    /// What is wrong with it.
    pub detail: String,
}

/// A bulk that was taken in.
#[derive(Debug, Object, Serialize)]
pub struct BulkAccepted {
    pub bulk: Bulk,
    /// Rows left out because an earlier one has the same number.
    pub duplicates: u32,
    /// Rows that can't be written to.
    pub rejected_count: u32,
    /// The first 1,000 of these.
    pub rejected: Vec<RejectedRow>,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// A bulk after a write.
#[derive(Debug, Object, Serialize)]
pub struct BulkWritten {
    /// As it is after the write.
    pub bulk: Bulk,
    /// Place of the write's first event; give it as `at_least` to read the write.
    pub cursor: String,
}

/// A page of bulks.
#[derive(Debug, Object, Serialize)]
pub struct BulkPage {
    /// Newest first.
    pub bulks: Vec<Bulk>,
    /// Give it as `after` for the page that follows; `null` at the end.
    pub next: Option<String>,
}

/// How far the message to a recipient has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum BulkResult {
    /// Not sent yet; of a bulk that has ended: was not sent.
    Waiting,
    /// On its way to WhatsApp, or nobody knows whether it arrived there.
    InDoubt,
    Sent,
    Delivered,
    Read,
    Failed,
    /// Left out: the contact does not want such messages.
    OptedOut,
    /// Left out: the person was erased.
    Erased,
    /// Left out: what is stored makes no message.
    Invalid,
}

macro_rules! same_results {
    ($($variant:ident),*) => {
        impl From<RecipientResult> for BulkResult {
            fn from(result: RecipientResult) -> Self {
                match result { $(RecipientResult::$variant => Self::$variant),* }
            }
        }
        impl From<BulkResult> for RecipientResult {
            fn from(result: BulkResult) -> Self {
                match result { $(BulkResult::$variant => Self::$variant),* }
            }
        }
        impl BulkResult {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => RESULT_NAMES[Self::$variant as usize]),* }
            }
        }
    };
}

/// In the order of [`BulkResult`].
const RESULT_NAMES: [&str; 9] = [
    "waiting",
    "in_doubt",
    "sent",
    "delivered",
    "read",
    "failed",
    "opted_out",
    "erased",
    "invalid",
];

same_results!(Waiting, InDoubt, Sent, Delivered, Read, Failed, OptedOut, Erased, Invalid);

/// A recipient, and what became of the message.
#[derive(Debug, Clone, Object, Serialize)]
pub struct BulkRecipient {
    /// The place among the bulk's recipients, from 1.
    pub number: u32,
    /// `null` once the person was erased.
    pub phone: Option<String>,
    pub name: Option<String>,
    pub result: BulkResult,
    /// Why, with `failed`.
    pub error: Option<MessageError>,
    pub conversation_id: Option<u32>,
    pub message_id: Option<String>,
    pub wa_message_id: Option<String>,
    /// When the result last changed, as WhatsApp told it.
    pub status_at: Option<String>,
}

/// A page of a bulk's recipients.
#[derive(Debug, Object, Serialize)]
pub struct BulkRecipientPage {
    /// In the order in which they were given. There may be fewer than `limit`, or none, although
    /// more follow.
    pub recipients: Vec<BulkRecipient>,
    /// Give it as `after` for the page that follows; `null` at the end.
    pub next: Option<String>,
}
