//! The shapes of WAHA's webhooks, as far as we read them. Texts borrow from the body.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::json::{Fields, Items, Text, read};

/// The body.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope<'a> {
    /// The event's own id, the same when it is delivered again.
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Text<'a>,
    #[serde(borrow, default)]
    pub(super) event: Text<'a>,
    #[serde(borrow, default)]
    pub(super) session: Text<'a>,
    #[serde(borrow, default)]
    me: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    pub(super) fn me(&self) -> Me<'a> {
        self.me.and_then(read).unwrap_or_default()
    }
}

/// Our own account.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Me<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) lid: Text<'a>,
    #[serde(rename = "pushName", borrow, default)]
    pub(super) push_name: Text<'a>,
}

/// A message, and what the events about a message have in common with one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Text<'a>,
    #[serde(borrow, default)]
    pub(super) from: Text<'a>,
    #[serde(borrow, default)]
    pub(super) to: Text<'a>,
    #[serde(rename = "fromMe", borrow, default)]
    pub(super) from_me: Text<'a>,
    #[serde(borrow, default)]
    pub(super) body: Text<'a>,
    #[serde(rename = "hasMedia", borrow, default)]
    pub(super) has_media: Text<'a>,
    #[serde(borrow, default)]
    media: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) location: Option<&'a RawValue>,
    #[serde(rename = "vCards", borrow, default)]
    pub(super) cards: Items<'a>,
    #[serde(rename = "replyTo", borrow, default)]
    reply_to: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) ack: Text<'a>,
    /// `app`, `api`, or nothing with engines that can't tell.
    #[serde(borrow, default)]
    pub(super) source: Text<'a>,
    #[serde(borrow, default)]
    pub(super) reaction: Option<&'a RawValue>,
    #[serde(rename = "editedMessageId", borrow, default)]
    pub(super) edited_message_id: Text<'a>,
    #[serde(rename = "_data", borrow, default)]
    data: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    pub(super) fn media(&self) -> Option<Media<'a>> {
        self.media.and_then(read)
    }

    /// The id of the message that it answers.
    pub(super) fn reply_to(&self) -> Text<'a> {
        let Some(raw) = self.reply_to else { return Text::default() };
        match read::<Text<'a>>(raw) {
            Some(id) if id.filled().is_some() => id,
            _ => read::<ReplyTo<'a>>(raw).unwrap_or_default().id,
        }
    }

    pub(super) fn data(&self) -> EngineData<'a> {
        self.data.and_then(read).unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
struct ReplyTo<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Media<'a> {
    #[serde(borrow, default)]
    pub(super) url: Text<'a>,
    #[serde(borrow, default)]
    pub(super) mimetype: Text<'a>,
    #[serde(borrow, default)]
    pub(super) filename: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Location<'a> {
    #[serde(borrow, default)]
    pub(super) description: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Reaction<'a> {
    #[serde(borrow, default)]
    pub(super) text: Text<'a>,
    #[serde(rename = "messageId", borrow, default)]
    pub(super) message_id: Text<'a>,
}

/// A revocation: the message before, when WAHA still had it, and what stands in its place.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Revocation<'a> {
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(rename = "revokedMessageId", borrow, default)]
    pub(super) revoked_message_id: Text<'a>,
}

impl<'a> Revocation<'a> {
    pub(super) fn before(&self) -> Message<'a> {
        self.before.and_then(read).unwrap_or_default()
    }

    pub(super) fn after(&self) -> Message<'a> {
        self.after.and_then(read).unwrap_or_default()
    }
}

/// What the engine behind WAHA adds: the names differ by engine, each is tried.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EngineData<'a> {
    /// WEBJS.
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Text<'a>,
    #[serde(rename = "notifyName", borrow, default)]
    notify_name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) mimetype: Text<'a>,
    #[serde(borrow, default)]
    pub(super) filename: Text<'a>,
    #[serde(rename = "isForwarded", borrow, default)]
    pub(super) is_forwarded: Text<'a>,
    /// NOWEB.
    #[serde(rename = "pushName", borrow, default)]
    push_name: Text<'a>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    /// GOWS.
    #[serde(rename = "Info", borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(rename = "Message", borrow, default)]
    gows_message: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Key<'a> {
    #[serde(rename = "remoteJidAlt", borrow, default)]
    remote_jid_alt: Text<'a>,
    #[serde(rename = "senderPn", borrow, default)]
    sender_pn: Text<'a>,
    #[serde(rename = "senderLid", borrow, default)]
    sender_lid: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Info<'a> {
    #[serde(rename = "PushName", borrow, default)]
    push_name: Text<'a>,
    #[serde(rename = "SenderAlt", borrow, default)]
    sender_alt: Text<'a>,
    #[serde(rename = "RecipientAlt", borrow, default)]
    recipient_alt: Text<'a>,
}

impl<'a> EngineData<'a> {
    /// What the sender calls themselves.
    pub(super) fn sender_name(&self) -> Option<String> {
        let info: Info<'_> = self.info.and_then(read).unwrap_or_default();
        let names = [&self.notify_name, &self.push_name, &info.push_name];
        names.iter().find_map(|name| name.filled_owned())
    }

    /// Further ids of the person on the other side.
    pub(super) fn other_ids(&self, from_me: bool) -> Vec<Text<'a>> {
        let key: Key<'a> = self.key.and_then(read).unwrap_or_default();
        let info: Info<'a> = self.info.and_then(read).unwrap_or_default();
        match from_me {
            true => vec![key.remote_jid_alt, info.recipient_alt],
            false => vec![key.remote_jid_alt, key.sender_pn, key.sender_lid, info.sender_alt],
        }
    }

    /// Names of the parts of the message itself, such as `imageMessage`.
    pub(super) fn parts(&self) -> Fields<'a> {
        self.message.or(self.gows_message).and_then(read).unwrap_or_default()
    }
}

/// The payload of `session.status`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SessionStatus<'a> {
    #[serde(borrow, default)]
    pub(super) status: Text<'a>,
    #[serde(borrow, default)]
    pub(super) qr: Text<'a>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl<'a> SessionStatus<'a> {
    pub(super) fn data(&self) -> SessionData<'a> {
        self.data.and_then(read).unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SessionData<'a> {
    #[serde(borrow, default)]
    pub(super) qr: Text<'a>,
    #[serde(borrow, default)]
    pub(super) code: Text<'a>,
    #[serde(rename = "reachoutTimelock", borrow, default)]
    timelock: Option<&'a RawValue>,
    #[serde(rename = "messageCapping", borrow, default)]
    capping: Option<&'a RawValue>,
}

impl<'a> SessionData<'a> {
    pub(super) fn timelock(&self) -> Timelock<'a> {
        self.timelock.and_then(read).unwrap_or_default()
    }

    pub(super) fn capping(&self) -> Capping<'a> {
        self.capping.and_then(read).unwrap_or_default()
    }
}

/// WhatsApp holds back messages to new contacts for a while.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Timelock<'a> {
    #[serde(rename = "isActive", borrow, default)]
    pub(super) is_active: Text<'a>,
    #[serde(rename = "timeEnforcementEnds", borrow, default)]
    pub(super) ends: Text<'a>,
}

/// How many new contacts may still be written to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Capping<'a> {
    #[serde(rename = "cappingStatus", borrow, default)]
    pub(super) status: Text<'a>,
    #[serde(rename = "totalQuota", borrow, default)]
    pub(super) total: Text<'a>,
    #[serde(rename = "usedQuota", borrow, default)]
    pub(super) used: Text<'a>,
}
