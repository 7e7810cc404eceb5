//! The shapes of the Cloud API's webhooks, as far as we read them.
//!
//! Each level is read for itself and leaves the next one unread, so that one broken part spoils
//! only itself. Texts borrow from the body.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::super::json::{Items, Text, read};

/// The body.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) object: Text<'a>,
    #[serde(borrow, default)]
    pub(super) entry: Items<'a>,
}

/// What concerns one WhatsApp business account.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry<'a> {
    /// The account's id.
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) time: Text<'a>,
    #[serde(borrow, default)]
    pub(super) changes: Items<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Change<'a> {
    #[serde(borrow, default)]
    pub(super) field: Text<'a>,
    #[serde(borrow)]
    pub(super) value: &'a RawValue,
}

/// A change's value, the lists of all fields that we know in one.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Value<'a> {
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) contacts: Items<'a>,
    #[serde(borrow, default)]
    pub(super) messages: Items<'a>,
    #[serde(borrow, default)]
    pub(super) message_echoes: Items<'a>,
    #[serde(borrow, default)]
    pub(super) statuses: Items<'a>,
    #[serde(borrow, default)]
    pub(super) errors: Items<'a>,
    #[serde(borrow, default)]
    pub(super) history: Items<'a>,
    #[serde(borrow, default)]
    pub(super) user_preferences: Items<'a>,
    #[serde(borrow, default)]
    pub(super) state_sync: Items<'a>,
    #[serde(borrow, default)]
    pub(super) calls: Items<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn metadata(&self) -> Metadata<'a> {
        self.metadata.and_then(read).unwrap_or_default()
    }
}

/// Our number.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow, default)]
    pub(super) phone_number_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) display_phone_number: Text<'a>,
}

/// An element of `contacts`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Person<'a> {
    #[serde(borrow, default)]
    pub(super) wa_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) parent_user_id: Text<'a>,
    #[serde(borrow, default)]
    profile: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Profile<'a> {
    #[serde(borrow, default)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) username: Text<'a>,
}

impl<'a> Person<'a> {
    pub(super) fn profile(&self) -> Profile<'a> {
        self.profile.and_then(read).unwrap_or_default()
    }
}

/// An element of `messages`, `message_echoes` or a history thread. Its body stands under the
/// name of its type, so fields that are not common to all messages are kept unread in `bodies`.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) from: Text<'a>,
    pub(super) from_user_id: Text<'a>,
    pub(super) from_parent_user_id: Text<'a>,
    pub(super) to: Text<'a>,
    pub(super) to_user_id: Text<'a>,
    pub(super) to_parent_user_id: Text<'a>,
    pub(super) id: Text<'a>,
    pub(super) timestamp: Text<'a>,
    pub(super) kind: Text<'a>,
    pub(super) group_id: Text<'a>,
    pub(super) context: Option<&'a RawValue>,
    pub(super) referral: Option<&'a RawValue>,
    pub(super) errors: Option<&'a RawValue>,
    pub(super) history_context: Option<&'a RawValue>,
    bodies: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Message<'a> {
    pub(super) fn body(&self, kind: &str) -> Option<&'a RawValue> {
        self.bodies.iter().find(|(name, _)| name.is(kind)).map(|(_, body)| *body)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            match name.as_str().unwrap_or_default() {
                "from" => message.from = map.next_value()?,
                "from_user_id" => message.from_user_id = map.next_value()?,
                "from_parent_user_id" => message.from_parent_user_id = map.next_value()?,
                "to" => message.to = map.next_value()?,
                "to_user_id" => message.to_user_id = map.next_value()?,
                "to_parent_user_id" => message.to_parent_user_id = map.next_value()?,
                "id" => message.id = map.next_value()?,
                "timestamp" => message.timestamp = map.next_value()?,
                "type" => message.kind = map.next_value()?,
                "group_id" => message.group_id = map.next_value()?,
                "context" => message.context = map.next_value()?,
                "referral" => message.referral = map.next_value()?,
                "errors" => message.errors = map.next_value()?,
                "history_context" => message.history_context = map.next_value()?,
                _ => message.bodies.push((name, map.next_value()?)),
            }
        }
        Ok(message)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Context<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) forwarded: Text<'a>,
    #[serde(borrow, default)]
    pub(super) frequently_forwarded: Text<'a>,
    #[serde(borrow, default)]
    pub(super) referred_product: Option<&'a RawValue>,
}

/// The body of a text.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TextBody<'a> {
    #[serde(borrow, default)]
    pub(super) body: Text<'a>,
}

/// The body of an image, a video, a document, an audio or a sticker.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MediaBody<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) mime_type: Text<'a>,
    #[serde(borrow, default)]
    pub(super) sha256: Text<'a>,
    #[serde(borrow, default)]
    pub(super) filename: Text<'a>,
    #[serde(borrow, default)]
    pub(super) url: Text<'a>,
    #[serde(borrow, default)]
    pub(super) caption: Text<'a>,
    #[serde(borrow, default)]
    pub(super) voice: Text<'a>,
    #[serde(borrow, default)]
    pub(super) animated: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ReactionBody<'a> {
    #[serde(borrow, default)]
    pub(super) message_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) emoji: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SystemBody<'a> {
    #[serde(borrow, default)]
    pub(super) wa_id: Text<'a>,
    /// As `wa_id` was called before.
    #[serde(borrow, default)]
    pub(super) new_wa_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) parent_user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) previous_user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) previous_parent_user_id: Text<'a>,
}

/// The body of an edit or a revocation.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AmendmentBody<'a> {
    #[serde(borrow, default)]
    pub(super) original_message_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
}

/// An element of `statuses`. `conversation` and `pricing` are not read: billing is no part of
/// what clients see.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) status: Text<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Text<'a>,
    #[serde(borrow, default)]
    pub(super) recipient_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) recipient_user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) recipient_parent_user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) recipient_type: Text<'a>,
    #[serde(borrow, default)]
    pub(super) biz_opaque_callback_data: Text<'a>,
    #[serde(borrow, default)]
    pub(super) errors: Items<'a>,
}

/// An error as it stands in statuses, messages and values.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody<'a> {
    #[serde(borrow, default)]
    pub(super) code: Text<'a>,
    #[serde(borrow, default)]
    pub(super) title: Text<'a>,
    #[serde(borrow, default)]
    pub(super) message: Text<'a>,
    #[serde(borrow, default)]
    error_data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorData<'a> {
    #[serde(borrow, default)]
    details: Text<'a>,
}

impl<'a> ErrorBody<'a> {
    pub(super) fn details(&self) -> Text<'a> {
        self.error_data.and_then(read::<ErrorData<'a>>).map(|data| data.details).unwrap_or_default()
    }
}

/// An element of `history`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HistoryChunk<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) threads: Items<'a>,
    #[serde(borrow, default)]
    pub(super) errors: Items<'a>,
}

/// The messages exchanged with one person.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Thread<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) messages: Items<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct HistoryContext<'a> {
    #[serde(borrow, default)]
    pub(super) status: Text<'a>,
}

/// An element of `user_preferences`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Preference<'a> {
    #[serde(borrow, default)]
    pub(super) wa_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) parent_user_id: Text<'a>,
    #[serde(borrow, default)]
    pub(super) category: Text<'a>,
    #[serde(borrow, default)]
    pub(super) value: Text<'a>,
    #[serde(borrow, default)]
    pub(super) timestamp: Text<'a>,
}

/// An element of `state_sync`: a change of the address book on the company's phone.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StateSync<'a> {
    #[serde(borrow, default)]
    contact: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) action: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct AddressBookEntry<'a> {
    #[serde(borrow, default)]
    pub(super) full_name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) first_name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) phone_number: Text<'a>,
}

impl<'a> StateSync<'a> {
    pub(super) fn contact(&self) -> AddressBookEntry<'a> {
        self.contact.and_then(read).unwrap_or_default()
    }
}
