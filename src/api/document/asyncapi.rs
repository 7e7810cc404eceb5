//! The AsyncAPI 3 document: what goes over `/v1/ws` and `/v1/events/stream`, frame by frame.
//!
//! Its schemas are those of the OpenAPI document in JSON Schema's words, since AsyncAPI knows no
//! `nullable`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{events, openapi};
use crate::wire::event_type::EventType;

const ASYNCAPI: &str = "3.0.0";

/// Control frames of the server: type, data's schema, what it says.
const CONTROL_FRAMES: [(&str, Option<&str>, &str); 7] = [
    ("hello", Some("HelloData"), "The first frame: where the subscriber stands."),
    ("snapshot", Some("Snapshot"), "The state; the events that follow start right after `cursor`."),
    ("reset", Some("ResetData"), "The cursor can't be continued from: reload the snapshot."),
    ("draining", Some("DrainingData"), "The instance is about to stop: connect again."),
    ("ping", None, "A heartbeat, where frames were asked for."),
    ("pong", None, "Answers the client's `ping`."),
    ("ack", None, "The client's command was done."),
];

/// The document.
pub fn document() -> Value {
    let openapi = openapi::document("");
    let messages = messages();
    json!({
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Condorito Realtime",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The tenant's feed as it happens. Events are in order, without gap and \
                            without duplicate, from the cursor on; a cursor is the same on every \
                            transport and instance. REST is described in `/openapi.json`.",
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": server("ws"),
            "http": server("http"),
        },
        "channels": {"websocket": websocket(&messages), "stream": stream(&messages)},
        "operations": operations(&messages),
        "components": {
            "messages": messages.iter().map(Message::entry).collect::<Map<_, _>>(),
            "schemas": schemas(&openapi),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "access_token": {"type": "httpApiKey", "in": "query", "name": "access_token"},
                "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket"},
            },
        },
    })
}

fn server(protocol: &str) -> Value {
    let security = ["bearer", "access_token", "ticket"]
        .map(|name| json!({"$ref": format!("#/components/securitySchemes/{name}")}));
    json!({
        "host": "{host}",
        "protocol": protocol,
        "variables": {"host": {"default": "localhost:8080", "description": "Host and port."}},
        "security": security,
    })
}

/// Who sends a message, and over what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Over both transports.
    Server,
    /// Over the WebSocket only.
    ServerOnWebSocket,
    Client,
}

struct Message {
    name: String,
    direction: Origin,
    summary: String,
    payload: Value,
}

impl Message {
    fn entry(&self) -> (String, Value) {
        let message = json!({
            "name": self.name,
            "title": self.name,
            "summary": self.summary,
            "payload": self.payload,
        });
        (self.name.clone(), message)
    }
}

fn messages() -> Vec<Message> {
    let events = EventType::ALL.into_iter().map(|kind| {
        let name = events::pascal(kind.as_str());
        Message {
            payload: json!({"$ref": format!("#/components/schemas/{name}Event")}),
            summary: match kind.is_state() {
                true => "State: one that a later one supersedes may be left out.".to_owned(),
                false => "Fact: never left out.".to_owned(),
            },
            name,
            direction: Origin::Server,
        }
    });
    events.chain(control_frames()).chain(std::iter::once(error())).chain(commands()).collect()
}

fn control_frames() -> impl Iterator<Item = Message> {
    CONTROL_FRAMES.into_iter().map(|(kind, data, summary)| {
        let data = match data {
            Some(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
            None => json!({"type": "object"}),
        };
        let payload = if kind == "ack" {
            frame(kind, json!({"data": ack()}), &["data"])
        } else {
            frame(kind, json!({"data": data}), &["data"])
        };
        let direction = match kind {
            "pong" | "ack" => Origin::ServerOnWebSocket,
            _ => Origin::Server,
        };
        Message { name: events::pascal(kind), direction, summary: summary.to_owned(), payload }
    })
}

/// What an acknowledgement says: of a write its place, of a sent message that message.
fn ack() -> Value {
    let members = json!({
        "ref": {"type": ["string", "number", "null"]},
        "cursor": {"type": "string"},
        "message": {"$ref": "#/components/schemas/Message"},
        "token_expires_at": {"type": "string", "format": "date-time"},
    });
    object(members, &["ref"])
}

fn error() -> Message {
    let members = json!({
        "ref": {"type": ["string", "number", "null"]},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
    });
    Message {
        name: "Error".to_owned(),
        direction: Origin::ServerOnWebSocket,
        summary: "The client's command was not done.".to_owned(),
        payload: frame("error", json!({"data": object(members, &["code", "message"])}), &["data"]),
    }
}

/// What a client may say over the WebSocket.
fn commands() -> Vec<Message> {
    let conversation_id = json!({"type": "integer", "minimum": 1});
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let command = |kind: &str, summary: &str, members: Value, required: &[&str]| Message {
        name: format!("{}Command", events::pascal(kind)),
        direction: Origin::Client,
        summary: summary.to_owned(),
        payload: frame(kind, members, required),
    };
    vec![
        command("ping", "Asks for a `pong`.", json!({}), &[]),
        command(
            "auth",
            "Renews the token without connecting again.",
            json!({"ref": {"type": "string"}, "data": object(json!({"token": {"type": "string"}}), &["token"])}),
            &["data"],
        ),
        command(
            "subscribe",
            "Replaces the filter.",
            json!({"ref": {"type": "string"}, "data": object(
                json!({
                    "types": {"type": "array", "items": {"type": "string", "enum": types}},
                    "conversation_id": conversation_id,
                }),
                &[],
            )}),
            &["data"],
        ),
        command(
            "mark_read",
            "Marks a conversation as read.",
            json!({
                "ref": {"type": "string"},
                "data": object(json!({"conversation_id": conversation_id}), &["conversation_id"]),
            }),
            &["ref", "data"],
        ),
        command(
            "send_message",
            "Sends a message: what `POST /v1/conversations/{id}/messages` takes, and where.",
            json!({"ref": {"type": "string"}, "data": send_message(&conversation_id)}),
            &["ref", "data"],
        ),
        command(
            "typing",
            "Shows the contact that somebody types.",
            json!({"ref": {"type": "string"}, "data": object(
                json!({"conversation_id": conversation_id, "typing": {"type": "boolean"}}),
                &["conversation_id", "typing"],
            )}),
            &["data"],
        ),
    ]
}

/// Parts of a message to be sent, by their member.
const SENT_PARTS: [(&str, &str); 4] = [
    ("media", "SendMedia"),
    ("template", "SendTemplate"),
    ("reaction", "SendReaction"),
    ("location", "SendLocation"),
];

fn send_message(conversation_id: &Value) -> Value {
    let text = || json!({"type": "string"});
    let mut members = json!({
        "conversation_id": conversation_id,
        "type": text(),
        "text": text(),
        "reply_to": text(),
        "client_ref": text(),
    });
    for (member, schema) in SENT_PARTS {
        members[member] = json!({"$ref": format!("#/components/schemas/{schema}")});
    }
    object(members, &["conversation_id"])
}

/// A frame's schema: `type`, and what else there is.
fn frame(kind: &str, members: Value, required: &[&str]) -> Value {
    let mut properties = members;
    properties["type"] = json!({"type": "string", "const": kind});
    let required: Vec<&str> = std::iter::once("type").chain(required.iter().copied()).collect();
    object(properties, &required)
}

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn channel_messages(messages: &[Message], directions: &[Origin]) -> Map<String, Value> {
    messages
        .iter()
        .filter(|message| directions.contains(&message.direction))
        .map(|message| {
            let reference = format!("#/components/messages/{}", message.name);
            (message.name.clone(), json!({"$ref": reference}))
        })
        .collect()
}

/// What both transports take in the query.
fn query(own: Value) -> Value {
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let mut properties = json!({
        "cursor": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
        "types": {"type": "string", "description": format!("Separated by commas: {}.", types.join(", "))},
        "conversation_id": {"type": "integer", "minimum": 1},
        "snapshot": {"type": "boolean"},
        "access_token": {"type": "string"},
        "ticket": {"type": "string"},
    });
    if let (Some(all), Some(own)) = (properties.as_object_mut(), own.as_object()) {
        all.extend(own.clone());
    }
    object(properties, &[])
}

fn websocket(messages: &[Message]) -> Value {
    let directions = [Origin::Server, Origin::ServerOnWebSocket, Origin::Client];
    json!({
        "address": "/v1/ws",
        "title": "WebSocket",
        "description": "Text frames with one JSON object each. Subprotocol `condorito.v1`; \
                        permessage-deflate when offered.",
        "servers": [{"$ref": "#/servers/websocket"}],
        "messages": channel_messages(messages, &directions),
        "bindings": {"ws": {"method": "GET", "query": query(json!({})), "bindingVersion": "0.1.0"}},
    })
}

fn stream(messages: &[Message]) -> Value {
    json!({
        "address": "/v1/events/stream",
        "title": "Server-Sent Events",
        "description": "`id:` is the cursor, `data:` the message; there is no `event:` field. \
                        `Last-Event-ID` wins over `cursor`.",
        "servers": [{"$ref": "#/servers/http"}],
        "messages": channel_messages(messages, &[Origin::Server]),
    })
}

fn operations(messages: &[Message]) -> Value {
    let of = |channel: &str, directions: &[Origin]| {
        let reference = |message: &Message| json!({"$ref": format!("#/channels/{channel}/messages/{}", message.name)});
        let messages = messages.iter().filter(|message| directions.contains(&message.direction));
        messages.map(reference).collect::<Vec<_>>()
    };
    let channel = |name: &str| json!({"$ref": format!("#/channels/{name}")});
    let sent = [Origin::Server, Origin::ServerOnWebSocket];
    json!({
        "sendOverWebSocket": {
            "action": "send",
            "channel": channel("websocket"),
            "summary": "Events and control frames.",
            "messages": of("websocket", &sent),
        },
        "receiveCommands": {
            "action": "receive",
            "channel": channel("websocket"),
            "summary": "Commands of clients.",
            "messages": of("websocket", &[Origin::Client]),
        },
        "sendOverStream": {
            "action": "send",
            "channel": channel("stream"),
            "summary": "Events and control frames.",
            "messages": of("stream", &[Origin::Server]),
            "bindings": {
                "http": {
                    "method": "GET",
                    "query": query(json!({"ping": {"type": "boolean"}})),
                    "bindingVersion": "0.3.0",
                },
            },
        },
    })
}

/// The schemas that the messages need, in JSON Schema's words.
fn schemas(openapi: &Value) -> Map<String, Value> {
    let known = &openapi["components"]["schemas"];
    let events = EventType::ALL.map(|kind| format!("{}Event", events::pascal(kind.as_str())));
    let data = CONTROL_FRAMES.iter().filter_map(|(_, data, _)| data.map(str::to_owned));
    let sent = SENT_PARTS.map(|(_, schema)| schema.to_owned());
    let own = ["Message", "FieldError"].map(str::to_owned);
    let mut waiting: Vec<String> = events.into_iter().chain(data).chain(sent).chain(own).collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if needed.insert(name.clone()) {
            waiting.extend(openapi::references(&known[&name]));
        }
    }
    needed.into_iter().map(|name| (name.clone(), json_schema(known[&name].clone()))).collect()
}

/// OpenAPI's `nullable` and `example` as JSON Schema says them.
fn json_schema(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut members: Map<String, Value> =
                members.into_iter().map(|(name, member)| (name, json_schema(member))).collect();
            if members.get("example").is_some() && members.contains_key("type") {
                let example = members.remove("example").unwrap_or_default();
                members.insert("examples".to_owned(), json!([example]));
            }
            match members.remove("nullable") {
                Some(Value::Bool(true)) => nullable(members),
                Some(other) => {
                    members.insert("nullable".to_owned(), other);
                    Value::Object(members)
                }
                None => Value::Object(members),
            }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(json_schema).collect()),
        other => other,
    }
}

fn nullable(mut members: Map<String, Value>) -> Value {
    if let Some(Value::String(kind)) = members.get("type") {
        let kinds = json!([kind, "null"]);
        members.insert("type".to_owned(), kinds);
        return Value::Object(members);
    }
    let described = members.remove("description");
    let mut schema = json!({"anyOf": [Value::Object(members), {"type": "null"}]});
    if let Some(description) = described {
        schema["description"] = description;
    }
    schema
}
