//! The WhatsApp Cloud API: as Meta's webhooks tell it, and (`send`) as the Graph API takes it.
//!
//! `webhook` checks and takes apart, `translate` decides per change, and below it there is one
//! file for each kind of thing: messages, statuses, history, the account. `payload` has the
//! shapes. What is decided where Meta's documentation leaves it open:
//!
//! - A message is known by its wamid, so `dedupe_key` is the wamid. One without an id is known
//!   by a hash of its JSON, so that Meta's retry of it is the same message.
//! - `payload` has the body's own fields flat (a location's `latitude`), and beside them
//!   `forwarded`, `frequently_forwarded`, `referral`, `referred_product` and `errors`. An
//!   `unsupported` message has its whole JSON under `raw`.
//! - Messages within a group are kept raw in the participant's stream: shown in the conversation
//!   with that participant they would invite an answer to the wrong place. Statuses of group
//!   messages are counted and dropped: we send none, so there is nothing they could be of.
//! - A history import's placeholder of a medium gets a key of its own, since the medium itself
//!   may follow under the same wamid and would be taken for a repetition.
//! - What the account's own changes say of the connection becomes `WhatsAppState`; the change
//!   itself is kept raw beside it.

mod account;
mod history;
mod message;
mod payload;
mod send;
mod signature;
mod status;
mod translate;
mod webhook;

pub use send::WhatsAppCloudSender;
pub use webhook::{HandshakeRefused, WhatsAppCloud, WhatsAppCloudSettings};

/// The value of `X-Hub-Signature-256` for a body: for the simulator, tests and tools that post.
pub fn sign(app_secret: &str, body: &[u8]) -> String {
    signature::AppSecret::new(app_secret).header(body)
}
