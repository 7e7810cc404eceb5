//! What the feed promises, over ring, table and subscriber together.

use bytes::Bytes;

use crate::{
    domain::{
        ids::{ClientId, Position},
        time::Timestamp,
    },
    projection::PublicFrame,
    wire::{cursor::Cursor, event_type::EventType},
};

pub(super) const EPOCH: &str = "k3v9q";

/// A fact at this place.
pub(super) fn event(position: u64, ordinal: u16) -> PublicFrame {
    let cursor = Cursor { position: Position(position), ordinal };
    let json = format!(r#"{{"id":"{}","type":"new_message"}}"#, cursor.display(EPOCH));
    PublicFrame {
        client_id: ClientId(1),
        cursor,
        event_type: EventType::NewMessage,
        key: 0,
        conversation_id: None,
        json: Bytes::from(json),
        taken_in_at: Timestamp(1_795_515_330_123),
    }
}
