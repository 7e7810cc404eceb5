//! WAHA, the HTTP gateway to WhatsApp Web: as its webhooks tell it, and (`send`) as it is called.
//!
//! One event comes in each request. `webhook` checks it and finds its tenant, `event` decides
//! where it goes; `message` and `session` read what they are named for, `chat` reads ids. What
//! is decided where WAHA's documentation leaves it open:
//!
//! - A message is known by the last part of its id alone (`false_1111@c.us_AAA` by `AAA`): WAHA
//!   tells one message under `@lid` and under `@c.us`, and names the target of an edit, a
//!   revocation or a reply by that part only. WhatsApp draws it at random, 70 bits or more.
//! - `message` and `message.any` of one message are the same intake, so subscribing to both is
//!   harmless.
//! - Groups, channels, stories and broadcast lists are no conversation with one contact. They
//!   are counted and not stored: a number may be in hundreds of groups full of people who never
//!   wrote to the company, and without their personal data nothing would remain. The same goes
//!   for who is typing and for the engine's own events.
//! - A message that can't be decrypted yet (`message.waiting`) comes again as itself under the
//!   same id, so it must not take that id: it is kept raw in the contact's stream.
//! - An acknowledgement of 0 (pending) tells nothing that is not known, and one of a message of
//!   the contact tells only that somebody on our side looked at it: both are ignored.

mod chat;
mod event;
mod message;
mod payload;
mod send;
mod session;
mod signature;
mod webhook;

pub use send::WahaSender;
pub use webhook::{Waha, WahaSettings};

/// The value of `X-Webhook-Hmac` for a body: for the simulator, tests and tools that post.
pub fn sign(hmac_key: &str, body: &[u8]) -> String {
    signature::HmacKey::new(hmac_key).header(body)
}

/// The key under which a message with this id of WAHA's is known, whatever chat id it has.
pub fn dedupe_key(message_id: &str) -> &str {
    chat::MessageId::parse(message_id).key
}
