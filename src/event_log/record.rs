//! The stored shape of an event, and a stream's name as text.
//!
//! One JSON envelope an event, written by whoever appends and read by every backend:
//! `{"id","stream","v","client_id","time","actor","causation","type","data"}`. `v` is the schema
//! version at the time of writing; older ones are upcast step by step while they are read, so
//! that the rest of the program knows the newest shape only.
//!
//! `type` and `v` stand before `data`, so that reading takes one pass and no buffer.
//!
//! **Invariant:** [`decode`] never fails. What can't be read, because a later release wrote it or
//! because it is damaged, becomes [`EventData::Unknown`]; the fold counts and skips that.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::StreamName;
use crate::domain::{
    event::{Event, EventData},
    ids::{ClientId, EventId},
    time::Timestamp,
};

/// The schema version that this release writes.
pub const VERSION: u32 = 1;

/// Turns an envelope of one version into the next one's shape. Step `n` (from 0) makes version
/// `n + 2` of version `n + 1`, so there are always `VERSION - 1` of them.
type Upcast = fn(&mut Map<String, Value>);
const UPCASTS: [Upcast; VERSION as usize - 1] = [];

/// Room for the envelope of a message of usual length, so that it is written without growing.
const ENVELOPE_BYTES: usize = 1024;

/// What an event that can't be read at all is called.
const UNREADABLE: &str = "unreadable";

/// The envelope of `event`. `Err` only for an event that was itself unreadable.
pub fn encode(stream: &StreamName, event: &Event) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        id: EventId,
        stream: &'a StreamName,
        v: u32,
        client_id: ClientId,
        time: Timestamp,
        actor: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        causation: Option<EventId>,
        #[serde(flatten)]
        data: &'a EventData,
    }
    let mut json = Vec::with_capacity(ENVELOPE_BYTES);
    let envelope = Envelope {
        id: event.id,
        stream,
        v: VERSION,
        client_id: event.client_id,
        time: event.time,
        actor: &event.actor,
        causation: event.causation,
        data: &event.data,
    };
    serde_json::to_writer(&mut json, &envelope)?;
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}

/// The event in an envelope that was stored in `stream`.
pub fn decode(stream: &StreamName, json: &[u8]) -> Event {
    decode_current(json).unwrap_or_else(|| decode_other(stream, json, &UPCASTS))
}

/// One pass over an envelope of this version; `None` when it is anything else.
fn decode_current(json: &[u8]) -> Option<Event> {
    struct Envelope;
    impl<'de> Visitor<'de> for Envelope {
        type Value = Event;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an event's envelope")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Event, A::Error> {
            let mut head = Head::default();
            let data = EventData::deserialize(MapAccessDeserializer::new(DataOnly {
                map,
                head: &mut head,
            }))?;
            head.into_event(data).ok_or_else(|| serde::de::Error::custom("incomplete"))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let event = deserializer.deserialize_map(Envelope).ok()?;
    deserializer.end().ok()?;
    Some(event)
}

/// What an envelope says beside `type` and `data`.
#[derive(Default)]
struct Head {
    id: Option<EventId>,
    version: Option<u32>,
    client_id: Option<ClientId>,
    time: Option<Timestamp>,
    actor: String,
    causation: Option<EventId>,
}

impl Head {
    fn into_event(self, data: EventData) -> Option<Event> {
        (self.version == Some(VERSION)).then_some(())?;
        Some(Event {
            id: self.id?,
            client_id: self.client_id?,
            time: self.time?,
            actor: self.actor,
            causation: self.causation,
            data,
        })
    }
}

/// Shows only `type` and `data` of an envelope and keeps the rest in `head`.
struct DataOnly<'a, A> {
    map: A,
    head: &'a mut Head,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for DataOnly<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "type" | "data" => {
                    return seed
                        .deserialize(serde::de::value::CowStrDeserializer::new(key))
                        .map(Some);
                }
                "id" => self.head.id = self.map.next_value()?,
                "v" => self.head.version = self.map.next_value()?,
                "client_id" => self.head.client_id = self.map.next_value()?,
                "time" => self.head.time = self.map.next_value()?,
                "actor" => self.head.actor = self.map.next_value()?,
                "causation" => self.head.causation = self.map.next_value()?,
                _ => {
                    self.map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The slow way: an envelope of an earlier version, of a later release, or a damaged one.
fn decode_other(stream: &StreamName, json: &[u8], upcasts: &[Upcast]) -> Event {
    let mut envelope = match serde_json::from_slice(json) {
        Ok(Value::Object(envelope)) => envelope,
        _ => Map::new(),
    };
    let current = upcasts.len() as u64 + 1;
    let version = envelope.get("v").and_then(Value::as_u64).unwrap_or(0);
    if (1..=current).contains(&version) {
        for upcast in &upcasts[version as usize - 1..] {
            upcast(&mut envelope);
        }
    }
    let data = ((1..=current).contains(&version)).then(|| read_data(&envelope)).flatten();
    let event_type = envelope.get("type").and_then(Value::as_str).unwrap_or(UNREADABLE);
    Event {
        id: field(&envelope, "id").unwrap_or(EventId(Uuid::nil())),
        client_id: field(&envelope, "client_id").or(stream.client_id()).unwrap_or(ClientId(0)),
        time: field(&envelope, "time").unwrap_or_default(),
        actor: field(&envelope, "actor").unwrap_or_default(),
        causation: field(&envelope, "causation"),
        data: data.unwrap_or_else(|| EventData::Unknown { event_type: event_type.to_owned() }),
    }
}

fn read_data(envelope: &Map<String, Value>) -> Option<EventData> {
    let mut tagged = Map::new();
    tagged.insert("type".to_owned(), envelope.get("type")?.clone());
    tagged.insert("data".to_owned(), envelope.get("data")?.clone());
    serde_json::from_value(Value::Object(tagged)).ok()
}

fn field<T: for<'de> Deserialize<'de>>(envelope: &Map<String, Value>, name: &str) -> Option<T> {
    T::deserialize(envelope.get(name)?).ok()
}

impl StreamName {
    /// The stream with this name. Total: a name that no release so far gives is kept as it is.
    pub fn parse(name: &str) -> StreamName {
        Self::parse_known(name).unwrap_or_else(|| StreamName::Other(name.to_owned()))
    }

    fn parse_known(name: &str) -> Option<StreamName> {
        let (kind, rest) = name.split_once('-')?;
        let (client, item) = match rest.split_once('-') {
            Some((client, item)) => (client, Some(item)),
            None => (rest, None),
        };
        let client = client.parse().ok()?;
        let stream = match (kind, item) {
            ("directory", None) => StreamName::Directory(client),
            ("tenant", None) => StreamName::Tenant(client),
            ("conversation", Some(id)) => StreamName::Conversation(client, id.parse().ok()?),
            ("bulk", Some(id)) => StreamName::Bulk(client, id.parse().ok()?),
            ("recipients", Some(part)) => {
                let (id, part) = part.split_once('.')?;
                StreamName::Recipients(client, id.parse().ok()?, part.parse().ok()?)
            }
            ("request", Some(key)) => StreamName::Request(client, key.to_owned()),
            _ => return None,
        };
        Some(stream)
    }

    /// The tenant whose stream it is, as far as the name tells.
    pub fn client_id(&self) -> Option<ClientId> {
        match self {
            StreamName::Directory(client)
            | StreamName::Conversation(client, _)
            | StreamName::Tenant(client)
            | StreamName::Bulk(client, _)
            | StreamName::Recipients(client, ..)
            | StreamName::Request(client, _) => Some(*client),
            StreamName::Other(_) => None,
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamName::Directory(client) => write!(f, "directory-{client}"),
            StreamName::Conversation(client, id) => write!(f, "conversation-{client}-{id}"),
            StreamName::Tenant(client) => write!(f, "tenant-{client}"),
            StreamName::Bulk(client, id) => write!(f, "bulk-{client}-{id}"),
            StreamName::Recipients(client, id, part) => {
                write!(f, "recipients-{client}-{id}.{part}")
            }
            StreamName::Request(client, key) => write!(f, "request-{client}-{key}"),
            StreamName::Other(name) => f.write_str(name),
        }
    }
}

impl Serialize for StreamName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        bot::BotMode,
        event::ConversationChange,
        ids::{BulkId, ConversationId},
    };

    const CLIENT: ClientId = ClientId(7);

    fn event(data: EventData) -> Event {
        Event {
            id: EventId(Uuid::from_u128(0x0193_5c00_0000_7000_8000_0000_0000_0001)),
            client_id: CLIENT,
            time: Timestamp(1_795_515_330_123),
            actor: "user:ann".to_owned(),
            causation: Some(EventId(Uuid::from_u128(2))),
            data,
        }
    }

    #[test]
    fn stream_names_are_read_as_they_are_written() {
        let names = [
            StreamName::Directory(CLIENT),
            StreamName::Conversation(CLIENT, ConversationId(12)),
            StreamName::Tenant(CLIENT),
            StreamName::Bulk(CLIENT, BulkId(Uuid::from_u128(5))),
            StreamName::Recipients(CLIENT, BulkId(Uuid::from_u128(5)), 65_543),
            StreamName::Request(CLIENT, "ab12".to_owned()),
            StreamName::Other("invoices-of-2031".to_owned()),
            StreamName::Other("conversation-7-x".to_owned()),
            StreamName::Other("tenant-7-9".to_owned()),
        ];
        for name in names {
            assert_eq!(StreamName::parse(&name.to_string()), name);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_alike_in_one_pass() {
        let change = ConversationChange {
            assigned_to: Some(None),
            labels: Some(vec!["vip \"a\" \u{1F600}".to_owned()]),
            ..Default::default()
        };
        let raw = serde_json::json!({"lat": 0.123_456_789_012_345_68, "big": u64::MAX, "n": null});
        let events = [
            EventData::ConversationChanged { conversation_id: ConversationId(3), change },
            EventData::BotStatusChanged { status: BotMode::Paused, reason: None },
            EventData::UnknownChange { provider: "p".to_owned(), kind: "k".to_owned(), raw },
        ];
        for data in events {
            let event = event(data);
            let json = encode(&StreamName::Tenant(CLIENT), &event).expect("encodes");
            assert_eq!(decode_current(json.as_bytes()).as_ref(), Some(&event), "{json}");
            let slow = decode_other(&StreamName::Tenant(CLIENT), json.as_bytes(), &UPCASTS);
            assert_eq!(slow, event);
        }
    }

    #[test]
    fn the_order_of_the_keys_does_not_matter() {
        let event = event(EventData::BotStatusChanged { status: BotMode::Active, reason: None });
        let json = encode(&StreamName::Tenant(CLIENT), &event).expect("encodes");
        let sorted: Value = serde_json::from_str(&json).expect("is JSON");
        assert_eq!(decode(&StreamName::Tenant(CLIENT), sorted.to_string().as_bytes()), event);
    }

    #[test]
    fn what_cannot_be_read_becomes_unknown_and_keeps_what_can_be_told() {
        let cases: [(&[u8], &str, i64); 6] = [
            (br#"{"v":1,"time":"1970-01-01T00:00:00.005Z","type":"moon_landed","data":{}}"#, "moon_landed", 5),
            (br#"{"v":2,"time":"1970-01-01T00:00:00.005Z","type":"conversation_read","data":{"conversation_id":1}}"#, "conversation_read", 5),
            (br#"{"v":1,"type":"conversation_read","data":{"conversation_id":"x"}}"#, "conversation_read", 0),
            (br#"{"type":"conversation_read"}"#, "conversation_read", 0),
            (b"\xff\x00 not json", UNREADABLE, 0),
            (b"", UNREADABLE, 0),
        ];
        for (json, event_type, time) in cases {
            let event = decode(&StreamName::Conversation(CLIENT, ConversationId(1)), json);
            assert_eq!(event.data, EventData::Unknown { event_type: event_type.to_owned() });
            assert_eq!(event.client_id, CLIENT);
            assert_eq!(event.time, Timestamp(time));
        }
    }

    #[test]
    fn an_unknown_event_is_never_written() {
        let event = event(EventData::Unknown { event_type: "x".to_owned() });
        assert!(encode(&StreamName::Tenant(CLIENT), &event).is_err());
    }

    #[test]
    fn an_older_envelope_goes_through_every_step_after_its_version() {
        let upcasts: [Upcast; 2] = [
            |envelope| {
                envelope.insert("type".to_owned(), "conversation_read".into());
            },
            |envelope| {
                let id = envelope["data"]["id"].take();
                envelope.insert("data".to_owned(), serde_json::json!({"conversation_id": id}));
            },
        ];
        let stream = StreamName::Conversation(CLIENT, ConversationId(9));
        let read = EventData::ConversationRead { conversation_id: ConversationId(9) };
        let first = br#"{"v":1,"type":"seen","data":{"id":9}}"#;
        assert_eq!(decode_other(&stream, first, &upcasts).data, read);
        let second = br#"{"v":2,"type":"conversation_read","data":{"id":9}}"#;
        assert_eq!(decode_other(&stream, second, &upcasts).data, read);
    }
}
