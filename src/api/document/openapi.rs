//! The OpenAPI document: what poem-openapi knows, mended in this one place.
//!
//! What is mended: an absent value is an explicit `null` on the wire, so every optional member of
//! an answer is declared nullable and required; security requirements carry their scope; every
//! operation says which problems it may answer with; times and ids have their formats; requests
//! refuse members that are not declared.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, Registry},
    types::Type,
};
use serde_json::{Map, Value, json};

use super::{elsewhere, events, examples};
use crate::{
    api::mount::Resources,
    wire::problem::{Code, ProblemBody},
};

/// The version of OpenAPI. 3.0: client generators know it best.
const OPENAPI: &str = "3.0.3";

const DESCRIPTION: &str = "Realtime backend for WhatsApp CRMs: webhooks in, one exact feed out.\n\n\
    Every write answers with `cursor`, the place of its first event in the feed; any `GET` takes \
    it as `at_least` and waits until the answer includes it, on every instance. Errors are \
    `application/problem+json` (RFC 9457) with a stable `code`; the table of codes is at \
    `/problems`. What streams is described in `/asyncapi.json`.";

/// Schemas whose optional members are left out instead of `null`.
const LEFT_OUT_WHEN_ABSENT: [&str; 3] = ["ProblemBody", "FieldError", "MessageStatusUpdatedData"];

/// Operations that things may stand in the way of: no way to send, a closed window, a person.
const MAY_CONFLICT: [&str; 3] = ["send_message", "retry_message", "list_templates"];

/// Members that are ids of ours, by schema.
pub(super) const UUIDS: [(&str, &str); 11] = [
    ("Media", "id"),
    ("UploadedMedia", "id"),
    ("Message", "id"),
    ("Message", "bulk_id"),
    ("LastMessage", "id"),
    ("Bulk", "id"),
    ("MessagePage", "next"),
    ("MessageStatusUpdatedData", "message_id"),
    ("BulkMessageProgressData", "bulk_id"),
    ("BulkMessageCompletedData", "bulk_id"),
    ("BulkMessageErrorData", "bulk_id"),
];

/// The document. `public_url` is where clients reach the server; empty: wherever the document is.
pub fn document(public_url: &str) -> Value {
    let apis = Resources::meta();
    let mut registry = Registry::new();
    Resources::register(&mut registry);
    events::register(&mut registry);
    ProblemBody::register(&mut registry);

    let mut paths = paths(&apis);
    for operation in operations(&mut paths) {
        mend_operation(operation);
    }
    let schemas = schemas(&registry, &paths);
    elsewhere::add(&mut paths);

    let mut document = json!({
        "openapi": OPENAPI,
        "info": {
            "title": "Condorito Realtime",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
        },
        "servers": [{"url": if public_url.is_empty() { "/" } else { public_url }}],
        "tags": tags(&registry),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problem_responses(),
            "headers": headers(),
            "securitySchemes": to_value(&registry.security_schemes),
        },
    });
    bound_numbers(&mut document);
    document
}

/// Says the least and the largest value of each `uint32`: validators know the format as a word.
fn bound_numbers(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("format").is_some_and(|format| format == "uint32") {
                members.entry("minimum").or_insert_with(|| 0.into());
                members.entry("maximum").or_insert_with(|| u32::MAX.into());
            }
            members.values_mut().for_each(bound_numbers);
        }
        Value::Array(items) => items.iter_mut().for_each(bound_numbers),
        _ => {}
    }
}

fn to_value(of: impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn paths(apis: &[MetaApi]) -> BTreeMap<String, Value> {
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    for path in apis.iter().flat_map(|api| &api.paths) {
        let operations = to_value(path);
        match paths.get_mut(&path.path) {
            None => _ = paths.insert(path.path.clone(), operations),
            Some(known) => {
                let known = known.as_object_mut().into_iter();
                let more = operations.as_object().cloned().unwrap_or_default();
                known.for_each(|known| known.extend(more.clone()));
            }
        }
    }
    paths
}

fn operations(paths: &mut BTreeMap<String, Value>) -> Vec<&mut Map<String, Value>> {
    paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(|path| path.values_mut().filter_map(Value::as_object_mut))
        .collect()
}

/// Chapters with their descriptions; those of [`elsewhere`] are added by hand.
fn tags(registry: &Registry) -> Vec<Value> {
    let known = to_value(&registry.tags);
    known.as_array().cloned().unwrap_or_default().into_iter().chain(elsewhere::tags()).collect()
}

fn mend_operation(operation: &mut Map<String, Value>) {
    mend_security(operation);
    let statuses = statuses_of(operation);
    add_problems(operation, &statuses);
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        for parameter in parameters.iter_mut().filter_map(Value::as_object_mut) {
            // The defaults of both, said for nothing.
            parameter.remove("explode");
            parameter.remove("deprecated");
        }
    }
}

/// `bearer messages:read`, as [`extract`](crate::api) names it, into the three ways of showing a
/// token and the scope.
fn mend_security(operation: &mut Map<String, Value>) {
    let Some(named) = operation.get("security").and_then(|security| security.pointer("/0")) else {
        operation.insert("security".to_owned(), json!([]));
        return;
    };
    let name = named.as_object().and_then(|names| names.keys().next()).cloned();
    let name = name.unwrap_or_default();
    let scope = name.trim_start_matches("bearer ");
    operation.insert("security".to_owned(), elsewhere::any_token());
    if !scope.is_empty() {
        elsewhere::say_scope(operation, scope);
    }
}

/// What a request gets whose head is too large.
const HEAD_TOO_LARGE: u16 = 431;

/// The problems that an operation may answer with, by what it takes.
fn statuses_of(operation: &Map<String, Value>) -> BTreeSet<u16> {
    // Of any request: a parameter that can't be read, an address too long, something failed,
    // not now.
    let mut statuses = BTreeSet::from([400, 414, 429, HEAD_TOO_LARGE, 500, 503]);
    let is_protected = operation["security"].as_array().is_some_and(|all| !all.is_empty());
    if is_protected {
        // 404: also what a tenant that the caller may not act for is answered with.
        statuses.extend([401, 403, 404]);
    }
    let has_parameter = |name: &str| {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
    };
    if has_parameter("at_least") {
        statuses.extend([410, 504]);
    }
    if has_parameter("Idempotency-Key") {
        statuses.insert(422);
    }
    let id = operation.get("operationId").and_then(Value::as_str);
    if id.is_some_and(|id| MAY_CONFLICT.contains(&id)) {
        statuses.insert(409);
    }
    let takes_body = operation.contains_key("requestBody");
    match (operation["tags"][0].as_str(), takes_body) {
        // A provider's body may be of any type; what is wrong with it is its signature or form.
        (Some("Webhooks"), true) => statuses.extend([401, 408, 413]),
        (Some("Webhooks"), false) => _ = statuses.insert(403),
        (_, true) => statuses.extend([408, 413, 415, 422]),
        (Some("Media"), false) => statuses.extend([410, 416]),
        (_, false) => {}
    }
    statuses
}

pub(super) fn add_problems(operation: &mut Map<String, Value>, statuses: &BTreeSet<u16>) {
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return };
    for status in statuses {
        let reference = format!("#/components/responses/{}", response_name(*status));
        responses.insert(status.to_string(), json!({"$ref": reference}));
    }
    for (status, response) in responses.iter_mut() {
        if status.starts_with('2') {
            response["headers"]["X-Request-Id"] =
                json!({"$ref": "#/components/headers/X-Request-Id"});
        }
    }
}

/// `NotFound` for 404.
fn response_name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or("Error").replace([' ', '-'], "")
}

/// One response per status, with the codes that it may carry.
fn problem_responses() -> Value {
    let mut responses = Map::new();
    let statuses: BTreeSet<u16> = Code::ALL.iter().map(|code| code.status()).collect();
    for status in statuses {
        let codes: Vec<Code> =
            Code::ALL.iter().copied().filter(|code| code.status() == status).collect();
        let lines: Vec<String> =
            codes.iter().map(|code| format!("`{code}`: {}.", code.title())).collect();
        let schema = json!({
            "allOf": [
                {"$ref": "#/components/schemas/ProblemBody"},
                {
                    "type": "object",
                    "properties": {
                        "status": {"type": "integer", "enum": [status]},
                        "code": {
                            "type": "string",
                            "enum": codes.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
                        },
                    },
                },
            ],
        });
        responses.insert(
            response_name(status),
            json!({
                "description": lines.join(" "),
                "headers": problem_headers(status),
                "content": {"application/problem+json": {"schema": schema}},
            }),
        );
    }
    // Said by the listener, before there is a request that somebody could answer.
    let description = "The request's line and fields are longer than the server reads. There is \
                       no body, and the connection ends.";
    responses.insert(response_name(HEAD_TOO_LARGE), json!({ "description": description }));
    Value::Object(responses)
}

fn problem_headers(status: u16) -> Value {
    let names: &[&str] = match status {
        401 | 403 => &["X-Request-Id", "WWW-Authenticate"],
        405 => &["X-Request-Id", "Allow"],
        429 | 503 | 504 => &["X-Request-Id", "Retry-After"],
        _ => &["X-Request-Id"],
    };
    let headers: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect();
    Value::Object(headers)
}

fn headers() -> Value {
    let header = |description, kind| json!({"description": description, "schema": {"type": kind}});
    json!({
        "X-Request-Id": header("Names the request in the server's logs.", "string"),
        "WWW-Authenticate": header("How to authenticate (RFC 6750).", "string"),
        "Allow": header("The methods of this route.", "string"),
        "Retry-After": header("Seconds to wait.", "integer"),
        "Idempotency-Replayed": header("`true`: this is the first answer, again.", "boolean"),
        "ETag": header("Changes when the document does.", "string"),
    })
}

/// All schemas, mended for the way they are used.
fn schemas(registry: &Registry, paths: &BTreeMap<String, Value>) -> Value {
    let mut schemas: BTreeMap<String, Value> =
        registry.schemas.iter().map(|(name, schema)| (name.clone(), to_value(schema))).collect();
    let requests = schemas_of_requests(&schemas, paths);
    for (name, schema) in &mut schemas {
        mend_schema(name, schema, requests.contains(name));
    }
    for (name, example) in examples::all() {
        if let Some(schema) = schemas.get_mut(name) {
            schema["example"] = example;
        }
    }
    schemas.extend(events::schemas());
    schemas.insert("Cursor".to_owned(), events::cursor());
    schemas.insert("PublicEvent".to_owned(), events::union());
    schemas.insert("EventPage".to_owned(), elsewhere::event_page());
    to_value(schemas)
}

/// Names of the schemas that bodies of requests are made of.
fn schemas_of_requests(
    schemas: &BTreeMap<String, Value>,
    paths: &BTreeMap<String, Value>,
) -> BTreeSet<String> {
    let bodies = paths.values().filter_map(Value::as_object).flat_map(|path| path.values());
    let mut waiting: Vec<String> =
        bodies.flat_map(|operation| references(&operation["requestBody"])).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if let Some(schema) = schemas.get(&name)
            && found.insert(name)
        {
            waiting.extend(references(schema));
        }
    }
    found
}

/// Names of the schemas that `value` refers to.
pub(super) fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match (name.as_str(), member) {
                ("$ref", Value::String(path)) => {
                    path.rsplit('/').next().map(str::to_owned).into_iter().collect()
                }
                _ => references(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn mend_schema(name: &str, schema: &mut Value, is_request: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    if schema.get("type").is_none_or(|kind| kind != "object") {
        return;
    }
    let required: BTreeSet<String> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (property, of) in properties.iter_mut() {
        flatten_reference(of);
        add_format(name, property, of);
        if !required.contains(property) && !LEFT_OUT_WHEN_ABSENT.contains(&name) {
            make_nullable(of);
        }
    }
    if is_request {
        schema.insert("additionalProperties".to_owned(), false.into());
    } else if !LEFT_OUT_WHEN_ABSENT.contains(&name) {
        let all: Vec<String> = properties.keys().cloned().collect();
        schema.insert("required".to_owned(), all.into());
    }
}

/// `allOf: [{$ref}, {description}], description` says the description twice.
fn flatten_reference(property: &mut Value) {
    if let Some(parts) = property.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.retain(|part| part.get("$ref").is_some());
    }
}

/// Formats that Rust's `String` does not tell.
fn add_format(schema: &str, property: &str, of: &mut Value) {
    let is_time = property.ends_with("_at") || ["timestamp", "start"].contains(&property);
    if property == "payload" && of.get("type").is_none() {
        of["type"] = "object".into();
        of["additionalProperties"] = true.into();
    }
    if of.get("type").is_none_or(|kind| kind != "string") {
        return;
    }
    if UUIDS.contains(&(schema, property)) {
        of["format"] = "uuid".into();
    } else if is_time {
        of["format"] = "date-time".into();
    } else if property == "cursor" {
        of["pattern"] = "^[A-Za-z0-9-]{1,64}$".into();
    }
}

/// A reference can't be nullable by itself.
fn make_nullable(property: &mut Value) {
    if let Some(reference) = property.get("$ref").cloned() {
        *property = json!({"allOf": [{"$ref": reference}]});
    }
    property["nullable"] = true.into();
}
