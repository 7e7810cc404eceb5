//! Operations that poem-openapi does not serve: those of `delivery` (events, streams, WebSocket)
//! and of `app` (metrics, health), described by hand and added to the document.
//!
//! A test of the whole server asks for each of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::openapi::add_problems;
use crate::wire::event_type::EventType;

/// The chapters of these operations.
pub fn tags() -> Vec<Value> {
    vec![
        json!({"name": "Events", "description": "The tenant's feed, over three transports."}),
        json!({"name": "Operation", "description": "For those who run the server."}),
    ]
}

/// Any of the three ways of showing a token.
pub fn any_token() -> Value {
    json!([{"bearer": []}, {"access_token": []}, {"ticket": []}])
}

/// Says which scope an operation needs, to people and to programs.
pub fn say_scope(operation: &mut Map<String, Value>, scope: &str) {
    let said = operation.get("description").and_then(Value::as_str).unwrap_or_default();
    let separator = if said.is_empty() { "" } else { "\n\n" };
    let description = format!("{said}{separator}Needs the scope `{scope}`.");
    operation.insert("description".to_owned(), description.into());
    operation.insert("x-required-scope".to_owned(), scope.into());
}

pub fn add(paths: &mut BTreeMap<String, Value>) {
    let mut insert = |path: &str, operation: Value, scope: Option<&str>, problems: &[u16]| {
        let mut operation = operation.as_object().cloned().unwrap_or_default();
        operation.entry("security").or_insert_with(|| json!([]));
        if let Some(scope) = scope {
            operation.insert("security".to_owned(), any_token());
            say_scope(&mut operation, scope);
        }
        add_problems(&mut operation, &problems.iter().copied().collect::<BTreeSet<_>>());
        paths.insert(path.to_owned(), json!({"get": operation}));
    };
    const READING: [u16; 10] = [400, 401, 403, 404, 410, 414, 429, 500, 503, 504];
    const STREAMING: [u16; 10] = [400, 401, 403, 404, 410, 414, 429, 500, 503, 504];
    const UPGRADING: [u16; 9] = [400, 401, 403, 404, 414, 426, 429, 500, 503];
    const PLAIN: [u16; 4] = [400, 414, 429, 500];
    const PROBE: [u16; 4] = [400, 414, 500, 503];
    insert("/v1/events", poll(), Some("events:read"), &READING);
    insert("/v1/events/stream", stream(), Some("events:read"), &STREAMING);
    insert("/v1/ws", websocket(), Some("events:read"), &UPGRADING);
    insert("/metrics", metrics(), None, &PLAIN);
    insert("/health/live", health("live", "Whether the process answers."), None, &PROBE);
    insert(
        "/health/ready",
        health(
            "ready",
            "Whether this instance serves: it has caught up, and the log takes events.",
        ),
        None,
        &PROBE,
    );
    insert("/openapi.json", document("OpenAPI", "get_openapi"), None, &PLAIN);
    insert("/asyncapi.json", document("AsyncAPI", "get_asyncapi"), None, &PLAIN);
}

/// An answer of `GET /v1/events`. Events are free-form for generated clients, which would fail on
/// a type of a later release; `PublicEvent` has the shapes.
pub fn event_page() -> Value {
    json!({
        "type": "object",
        "title": "EventPage",
        "required": ["events", "cursor", "has_more"],
        "properties": {
            "events": {
                "type": "array",
                "description": "In feed order; each is a `PublicEvent`.",
                "items": {"type": "object", "additionalProperties": true},
            },
            "cursor": {"$ref": "#/components/schemas/Cursor"},
            "has_more": {"type": "boolean", "description": "More lies behind `cursor` already."},
            "snapshot": {"$ref": "#/components/schemas/Snapshot"},
        },
    })
}

/// What all three transports take.
fn parameters(transport: &[Value]) -> Value {
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let shared = [
        query("cursor", "Start after it; live from now when absent.", cursor()),
        json!({
            "name": "types",
            "in": "query",
            "description": "Only events of these types, separated by commas.",
            "explode": false,
            "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": types}},
        }),
        query(
            "conversation_id",
            "Only events of this conversation; those of none (statistics, bot) are hidden too. One that \
             was merged into another is followed there.",
            json!({"type": "integer", "format": "uint32", "minimum": 1}),
        ),
        query("at_least", "Wait until this instance has come as far as this cursor.", cursor()),
        snapshot(),
    ];
    shared.iter().chain(transport).cloned().collect()
}

fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn cursor() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9-]+$"})
}

fn snapshot() -> Value {
    query("snapshot", "Send the state of the tenant first.", json!({"type": "boolean"}))
}

fn ping(description: &str) -> Value {
    query("ping", description, json!({"type": "boolean"}))
}

fn poll() -> Value {
    let own = [
        query(
            "limit",
            "The most events; 100 when absent.",
            json!({"type": "integer", "minimum": 1, "maximum": 1000}),
        ),
        query(
            "wait",
            "Seconds to wait for an event when there is none; 0 when absent.",
            json!({"type": "integer", "minimum": 0, "maximum": 60}),
        ),
        query(
            "from",
            "Start at this point of time instead of a cursor.",
            json!({"type": "string", "format": "date-time"}),
        ),
    ];
    json!({
        "tags": ["Events"],
        "operationId": "poll_events",
        "summary": "Events after a cursor.",
        "description": "Polling, and long polling with `wait`. Without `cursor`: no events, and \
                        the cursor of now. A cursor that can't be continued from is answered \
                        `410` with the `cursor` to go on from after loading the snapshot. With \
                        `snapshot=true`: the `snapshot` at once and no events, whatever `cursor` \
                        says, and the cursor to go on from.",
        "parameters": parameters(&own),
        "responses": {"200": {
            "description": "Events, none when there are none.",
            "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/EventPage"},
            }},
        }},
    })
}

fn stream() -> Value {
    let own = [
        ping("Send `ping` frames instead of comments as heartbeat."),
        json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "As `cursor`, and wins over it; what `EventSource` sends when it \
                            connects again.",
            "schema": cursor(),
        }),
    ];
    json!({
        "tags": ["Events"],
        "operationId": "stream_events",
        "summary": "Events as they happen, as Server-Sent Events.",
        "description": "`id:` is the cursor, `data:` the `PublicEvent` or control frame. The \
                        frames are described in `/asyncapi.json`.",
        "parameters": parameters(&own),
        "responses": {"200": {
            "description": "The stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }},
    })
}

fn websocket() -> Value {
    json!({
        "tags": ["Events"],
        "operationId": "connect_websocket",
        "summary": "Events as they happen, over WebSocket.",
        "description": "Text frames with one JSON object each; subprotocol `condorito.v1`; the \
                        token also as the subprotocol pair `condorito.v1, bearer.<JWT>`. The \
                        frames are described in `/asyncapi.json`.",
        "parameters": parameters(&[ping("Send `ping` frames too, beside WebSocket's own.")]),
        "responses": {"101": {"description": "Switching to WebSocket."}},
    })
}

fn metrics() -> Value {
    json!({
        "tags": ["Operation"],
        "operationId": "get_metrics",
        "summary": "Metrics for Prometheus.",
        "responses": {"200": {
            "description": "All metrics in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }},
    })
}

fn health(name: &str, summary: &str) -> Value {
    json!({
        "tags": ["Operation"],
        "operationId": format!("health_{name}"),
        "summary": summary,
        "responses": {"200": {
            "description": "Yes.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }},
    })
}

fn document(kind: &str, operation_id: &str) -> Value {
    json!({
        "tags": ["Operation"],
        "operationId": operation_id,
        "summary": format!("The {kind} document."),
        "responses": {
            "200": {
                "description": "The document.",
                "headers": {"ETag": {"$ref": "#/components/headers/ETag"}},
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "304": {"description": "`If-None-Match` has the document's `ETag`."},
        },
    })
}
