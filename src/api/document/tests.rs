//! The documents against the code, against the committed copies, and against themselves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn openapi_document() -> Value {
    openapi::document("")
}

/// Every `$ref` in `value`.
fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(path)) => _ = found.insert(path.clone()),
                    _ => collect_references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for document in [openapi_document(), asyncapi::document()] {
        let mut found = BTreeSet::new();
        collect_references(&document, &mut found);
        assert!(found.len() > 20);
        for path in found {
            let pointer = path.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{path} leads nowhere");
        }
    }
}

#[test]
fn every_schema_is_used() {
    let document = openapi_document();
    let mut found = BTreeSet::new();
    collect_references(&document, &mut found);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        // These are for people and for AsyncAPI: what streams is free-form in OpenAPI.
        let streamed = name == "PublicEvent" || name.ends_with("Data");
        let used = found.contains(&format!("#/components/schemas/{name}"));
        assert!(used || streamed, "{name} is not used");
    }
}

#[test]
fn what_answers_leave_out_is_declared() {
    let document = openapi_document();
    let conversation = &document["components"]["schemas"]["Conversation"];
    let required = conversation["required"].as_array().unwrap();
    assert!(required.contains(&json!("assigned_to")));
    assert_eq!(conversation["properties"]["assigned_to"]["nullable"], true);
    assert_eq!(conversation["properties"]["last_message"]["nullable"], true);
    let last = &conversation["properties"]["last_message"]["allOf"][0]["$ref"];
    assert_eq!(last, "#/components/schemas/LastMessage");
    let change = &document["components"]["schemas"]["ChangeConversation"];
    assert_eq!(change["additionalProperties"], false);
    assert!(change.get("required").is_none());
}

#[test]
fn every_operation_says_its_problems_its_scope_and_its_name() {
    let document = openapi_document();
    let mut names = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}"));
            assert!(names.insert(name.to_owned()), "{place}: {name} is taken");
            assert!(operation["responses"].get("500").is_some(), "{place}");
            assert!(operation["summary"].is_string(), "{place}");
            let protected = !operation["security"].as_array().unwrap().is_empty();
            let told = operation.get("x-required-scope").is_some();
            let any_token = path == "/v1/tickets";
            assert_eq!(protected && !any_token, told, "{place}");
            assert_eq!(path.starts_with("/v1/"), protected, "{place}");
        }
    }
}

#[test]
fn formats_are_put_on_members_that_exist() {
    let document = openapi_document();
    let schemas = &document["components"]["schemas"];
    for (schema, property) in openapi::UUIDS {
        assert_eq!(
            schemas[schema]["properties"][property]["format"], "uuid",
            "{schema}.{property}"
        );
    }
    assert_eq!(schemas["Message"]["properties"]["created_at"]["format"], "date-time");
}

#[test]
fn examples_are_of_the_schemas_that_they_stand_for() {
    let document = openapi_document();
    for (name, example) in examples::all() {
        let schema = &document["components"]["schemas"][name];
        let declared = schema["properties"].as_object().unwrap_or_else(|| panic!("{name}"));
        for member in example.as_object().unwrap().keys() {
            assert!(declared.contains_key(member), "{name}.{member}");
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for member in required {
            assert!(example.get(member.as_str().unwrap()).is_some(), "{name}.{member}");
        }
    }
}

#[test]
fn asyncapi_knows_no_nullable() {
    let text = asyncapi_json();
    assert!(!text.contains("\"nullable\""));
    let document = asyncapi::document();
    let text_of_message = &document["components"]["schemas"]["Message"]["properties"]["text"];
    assert_eq!(text_of_message["type"], json!(["string", "null"]));
}

/// Compares a committed copy with what the code makes, or writes it where that is asked for.
fn assert_committed(name: &str, made: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == made,
        "openapi/{name} is not what the code makes; write it anew with\n  \
         UPDATE_DOCS=1 cargo test --lib api::document"
    );
}

#[test]
fn the_committed_documents_are_what_the_code_makes() {
    assert_committed("openapi.json", &openapi_json());
    assert_committed("asyncapi.json", &asyncapi_json());
}
