//! The stored shape: between the domain and the rows of `schema.sql`.
//!
//! **Invariant:** what is read is what was written, field by field (held by tests), so that an
//! entity dropped from the cache and read again is the same to the fold.

use std::borrow::Cow;

use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    domain::{
        bulk::RecipientResult,
        conversation::{
            Contact, Conversation, ConversationStatus, LastMessage, MarketingPreference,
        },
        ids::{BulkId, ClientId, ConversationId, MessageId, Position},
        message::{Direction, Media, Message, MessageKind, MessageStatus, Sender},
        time::Timestamp,
    },
    wire::cursor::Cursor,
};

/// The largest position that a `feed.row` can hold: 2^47 - 1, some 140 TB of a KurrentDB log.
pub(super) const POSITION_MAX: u64 = (1 << 47) - 1;

/// A cursor as one integer, ordered as the feed is. What is beyond [`POSITION_MAX`], which only
/// a made-up cursor is, comes last.
pub(super) fn feed_row(cursor: Cursor) -> i64 {
    if cursor.position.0 > POSITION_MAX {
        return i64::MAX;
    }
    (cursor.position.0 << 16) as i64 | i64::from(cursor.ordinal)
}

pub(super) fn cursor_of(feed_row: i64) -> Cursor {
    Cursor { position: Position(feed_row as u64 >> 16), ordinal: (feed_row & 0xffff) as u16 }
}

/// The row of a conversation: all of a tenant's lie together.
pub(super) fn conversation_row(client: ClientId, id: ConversationId) -> i64 {
    ((u64::from(client.0) << 32) | u64::from(id.0)) as i64
}

pub(super) fn conversation_of(row: i64) -> (ClientId, ConversationId) {
    let row = row as u64;
    (ClientId((row >> 32) as u32), ConversationId(row as u32))
}

/// What the index over `dedupe_key` keeps of it. Two keys may share it: compare the key too.
pub(super) fn key_hash(client: ClientId, key: &str) -> i64 {
    let digest =
        Sha256::new().chain_update(client.0.to_le_bytes()).chain_update(key.as_bytes()).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

macro_rules! stored_names {
    ($($type:ident { $($variant:ident = $name:literal),* $(,)? })*) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let name = match self { $($type::$variant => $name),* };
                Ok(ToSqlOutput::Borrowed(ValueRef::Text(name.as_bytes())))
            }
        }
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($name => Ok($type::$variant),)*
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }
    )*};
}

stored_names! {
    Direction { Inbound = "inbound", Outbound = "outbound" }
    Sender {
        Contact = "contact", Agent = "agent", Bot = "bot", Bulk = "bulk", System = "system",
    }
    MessageKind {
        Text = "text", Image = "image", Audio = "audio", Video = "video", Document = "document",
        Sticker = "sticker", Location = "location", Contacts = "contacts",
        Interactive = "interactive", Button = "button", Reaction = "reaction",
        Template = "template", Order = "order", System = "system", Unsupported = "unsupported",
    }
    MessageStatus {
        Received = "received", Queued = "queued", Sent = "sent", Delivered = "delivered",
        Read = "read", Failed = "failed",
    }
    RecipientResult {
        Waiting = "waiting", InDoubt = "in_doubt", Sent = "sent", Delivered = "delivered",
        Read = "read", Failed = "failed", OptedOut = "opted_out", Erased = "erased",
        Invalid = "invalid",
    }
    ConversationStatus { Open = "open", Pending = "pending", Closed = "closed" }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Timestamp)
    }
}

/// 16 bytes of an id.
pub(super) struct StoredUuid(pub Uuid);

impl FromSql for StoredUuid {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::from_slice(value.as_blob()?).map(StoredUuid).map_err(FromSqlError::other)
    }
}

/// A column of JSON.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

const SEND_STARTED: i64 = 1;
const IMPORTED: i64 = 2;
/// For the index of messages whose medium is to be fetched; what `media` says is what holds.
const MEDIA_PENDING: i64 = 64;

pub(super) fn message_flags(message: &Message) -> i64 {
    let flag = |set: bool, flag: i64| if set { flag } else { 0 };
    let pending = message.media.as_ref().is_some_and(Media::is_pending);
    flag(message.send_started, SEND_STARTED)
        | flag(message.imported, IMPORTED)
        | flag(pending, MEDIA_PENDING)
}

/// The columns that [`read_message`] reads, in its order.
macro_rules! message_columns {
    () => {
        "row, conversation_row, id, timestamp, kind, direction, sender, status, status_at, \
         created_at, flags, dedupe_key, wa_message_id, text, media, payload, reply_to, \
         client_ref, bulk_id, error"
    };
}
pub(super) use message_columns;

/// A message and its row's number.
pub(super) fn read_message(row: &Row<'_>) -> rusqlite::Result<(i64, Message)> {
    let (client_id, conversation_id) = conversation_of(row.get(1)?);
    let flags: i64 = row.get(10)?;
    let message = Message {
        id: MessageId(row.get::<_, StoredUuid>(2)?.0),
        client_id,
        conversation_id,
        direction: row.get(5)?,
        sender: row.get(6)?,
        kind: row.get(4)?,
        text: row.get(13)?,
        media: row.get::<_, Option<Json<_>>>(14)?.map(|json| json.0),
        payload: row.get::<_, Option<Json<_>>>(15)?.map(|json| json.0),
        reply_to: row.get(16)?,
        client_ref: row.get(17)?,
        bulk_id: row.get::<_, Option<StoredUuid>>(18)?.map(|id| BulkId(id.0)),
        status: row.get(7)?,
        error: row.get::<_, Option<Json<_>>>(19)?.map(|json| json.0),
        wa_message_id: row.get(12)?,
        dedupe_key: row.get(11)?,
        send_started: flags & SEND_STARTED != 0,
        imported: flags & IMPORTED != 0,
        timestamp: row.get(3)?,
        created_at: row.get(9)?,
        status_at: row.get(8)?,
    };
    Ok((row.get(0)?, message))
}

/// The columns that [`read_conversation`] reads, in its order.
macro_rules! conversation_columns {
    () => {
        "row, status, merged_into, body, feed_row"
    };
}
pub(super) use conversation_columns;

/// A conversation, and the `feed_row` of its newest `conversation_updated`.
pub(super) fn read_conversation(row: &Row<'_>) -> rusqlite::Result<(Conversation, Option<i64>)> {
    let (client_id, id) = conversation_of(row.get(0)?);
    let body = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let body: ConversationBody<'_> = serde_json::from_str(body).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(3, kind, error.into())
    })?;
    let conversation = Conversation {
        id,
        client_id,
        contact: body.contact.into_owned(),
        status: row.get(1)?,
        unread_count: body.unread_count,
        last_message: body.last_message.map(|last| LastMessage {
            id: last.id,
            text: last.text.map(Cow::into_owned),
            kind: last.kind,
            direction: last.direction,
            status: last.status,
            timestamp: Timestamp(last.timestamp),
        }),
        assigned_to: body.assigned_to.map(Cow::into_owned),
        labels: body.labels.into_owned(),
        bot_enabled: body.bot_enabled,
        contact_told_at: body.contact_told_at.map(Timestamp),
        marketing: body
            .marketing
            .map(|(allowed, at)| MarketingPreference { allowed, at: Timestamp(at) }),
        window_expires_at: body.window_expires_at.map(Timestamp),
        awaiting_response_since: body.awaiting_response_since.map(Timestamp),
        person_answered_at: body.person_answered_at.map(Timestamp),
        claimed: body.claimed.into_owned(),
        merged_into: row.get::<_, Option<u32>>(2)?.map(ConversationId),
        created_at: Timestamp(body.created_at),
        updated_at: Timestamp(body.updated_at),
    };
    Ok((conversation, row.get(4)?))
}

/// What a conversation's `body` holds: all that no query selects or orders by.
#[derive(Serialize, Deserialize)]
struct ConversationBody<'a> {
    contact: Cow<'a, Contact>,
    unread_count: u32,
    last_message: Option<LastMessageBody<'a>>,
    assigned_to: Option<Cow<'a, str>>,
    labels: Cow<'a, [String]>,
    bot_enabled: bool,
    contact_told_at: Option<i64>,
    marketing: Option<(bool, i64)>,
    window_expires_at: Option<i64>,
    awaiting_response_since: Option<i64>,
    #[serde(default, skip_serializing_if = "<[MessageId]>::is_empty")]
    claimed: Cow<'a, [MessageId]>,
    person_answered_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

#[derive(Serialize, Deserialize)]
struct LastMessageBody<'a> {
    id: MessageId,
    text: Option<Cow<'a, str>>,
    kind: MessageKind,
    direction: Direction,
    status: MessageStatus,
    timestamp: i64,
}

/// Replaces `out` by the `body` of a conversation.
pub(super) fn conversation_body(out: &mut Vec<u8>, conversation: &Conversation) {
    out.clear();
    let body = ConversationBody {
        contact: Cow::Borrowed(&conversation.contact),
        unread_count: conversation.unread_count,
        last_message: conversation.last_message.as_ref().map(|last| LastMessageBody {
            id: last.id,
            text: last.text.as_deref().map(Cow::Borrowed),
            kind: last.kind,
            direction: last.direction,
            status: last.status,
            timestamp: last.timestamp.0,
        }),
        assigned_to: conversation.assigned_to.as_deref().map(Cow::Borrowed),
        labels: Cow::Borrowed(&conversation.labels),
        bot_enabled: conversation.bot_enabled,
        contact_told_at: conversation.contact_told_at.map(|time| time.0),
        marketing: conversation.marketing.map(|told| (told.allowed, told.at.0)),
        window_expires_at: conversation.window_expires_at.map(|time| time.0),
        awaiting_response_since: conversation.awaiting_response_since.map(|time| time.0),
        claimed: Cow::Borrowed(&conversation.claimed),
        person_answered_at: conversation.person_answered_at.map(|time| time.0),
        created_at: conversation.created_at.0,
        updated_at: conversation.updated_at.0,
    };
    // Neither a `Vec` nor these shapes can fail.
    let _ = serde_json::to_writer(out, &body);
}

/// What the list of conversations is ordered by.
pub(super) fn active_at(conversation: &Conversation) -> Timestamp {
    conversation.last_message.as_ref().map_or(conversation.created_at, |last| last.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_as_an_integer_keeps_the_order_of_the_feed() {
        let cursors = [
            Cursor::START,
            Cursor { position: Position(1), ordinal: 0 },
            Cursor { position: Position(1), ordinal: 1 },
            Cursor::end_of(Position(1)),
            Cursor { position: Position(2), ordinal: 0 },
            Cursor::end_of(Position(POSITION_MAX)),
        ];
        for cursor in cursors {
            assert_eq!(cursor_of(feed_row(cursor)), cursor);
        }
        assert!(cursors.is_sorted_by_key(|&cursor| feed_row(cursor)));
        let made_up = Cursor { position: Position(u64::MAX), ordinal: 3 };
        assert_eq!(feed_row(made_up), i64::MAX);
    }

    #[test]
    fn a_conversations_row_names_tenant_and_number() {
        for (client, id) in [(0, 1), (1, u32::MAX), (u32::MAX, 0), (1 << 31, 7)] {
            let row = conversation_row(ClientId(client), ConversationId(id));
            assert_eq!(conversation_of(row), (ClientId(client), ConversationId(id)));
        }
    }

    #[test]
    fn keys_of_different_tenants_differ() {
        assert_ne!(key_hash(ClientId(1), "wamid.1"), key_hash(ClientId(2), "wamid.1"));
        assert_eq!(key_hash(ClientId(1), "wamid.1"), key_hash(ClientId(1), "wamid.1"));
    }
}
