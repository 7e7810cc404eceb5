//! Checks a JSON body against the schema that the document shows for it, and names everything
//! that is wrong, each with its JSON pointer.
//!
//! poem-openapi stops at the first fault and tells it as text. The schemas come from the same
//! types that parse the body afterwards, so the document, the check and the parser agree.
//!
//! **Invariant:** bounded: [`ERRORS_MAX`] faults are named at most, then the check stops; the
//! depth is that of the schema, not of the body.

use std::{collections::BTreeMap, sync::LazyLock};

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::Value;

use crate::{domain::time::Timestamp, wire::problem::FieldError};

/// The most faults named in one answer.
pub const ERRORS_MAX: usize = 50;

/// Schemas of things in batches, which are checked one by one and answered one by one.
pub const CHECKED_ONE_BY_ONE: [&str; 3] = ["IngestMessage", "IngestStatus", "NewBulkRecipient"];

static SCHEMAS: LazyLock<BTreeMap<String, MetaSchema>> = LazyLock::new(|| {
    let mut registry = Registry::new();
    super::mount::register_schemas(&mut registry);
    registry.schemas
});

/// All that is wrong with `value`, as the schema called `schema` says. Empty: it is valid.
pub fn check(schema: &MetaSchemaRef, value: &Value) -> Vec<FieldError> {
    let mut check = Check { errors: Vec::new(), outermost: None };
    check.outermost = match schema {
        MetaSchemaRef::Reference(name) => Some(name.clone()),
        MetaSchemaRef::Inline(_) => None,
    };
    check.reference(schema, value, &mut String::new());
    check.errors
}

struct Check {
    errors: Vec<FieldError>,
    /// The schema asked for: of [`CHECKED_ONE_BY_ONE`] only this one is looked into.
    outermost: Option<String>,
}

impl Check {
    fn reference(&mut self, schema: &MetaSchemaRef, value: &Value, pointer: &mut String) {
        match schema {
            MetaSchemaRef::Inline(schema) => self.schema(schema, value, pointer),
            MetaSchemaRef::Reference(name) => {
                let later = CHECKED_ONE_BY_ONE.contains(&name.as_str());
                if later && self.outermost.as_ref() != Some(name) {
                    return;
                }
                if let Some(schema) = SCHEMAS.get(name) {
                    self.schema(schema, value, pointer);
                }
            }
        }
    }

    fn schema(&mut self, schema: &MetaSchema, value: &Value, pointer: &mut String) {
        if self.errors.len() >= ERRORS_MAX {
            return;
        }
        for part in &schema.all_of {
            self.reference(part, value, pointer);
        }
        if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
            self.fault(pointer, format!("must be one of {}", listed(&schema.enum_items)));
            return;
        }
        match (schema.ty, value) {
            ("", _) | ("boolean", Value::Bool(_)) => {}
            ("string", Value::String(text)) => self.string(schema, text, pointer),
            ("integer" | "number", Value::Number(number)) => {
                self.number(schema, number, pointer);
            }
            ("array", Value::Array(items)) => self.array(schema, items, pointer),
            ("object", Value::Object(members)) => self.object(schema, members, pointer),
            (expected, _) => self.fault(pointer, format!("must be {}", with_article(expected))),
        }
    }

    fn string(&mut self, schema: &MetaSchema, text: &str, pointer: &str) {
        let characters = text.chars().count();
        if schema.min_length.is_some_and(|least| characters < least) {
            let least = schema.min_length.unwrap_or_default();
            self.fault(pointer, format!("must have at least {least} characters"));
        }
        if schema.max_length.is_some_and(|most| characters > most) {
            let most = schema.max_length.unwrap_or_default();
            self.fault(pointer, format!("must have at most {most} characters"));
        }
        if schema.format == Some("date-time") && Timestamp::parse(text).is_none() {
            self.fault(pointer, "must be an RFC 3339 time");
        }
    }

    fn number(&mut self, schema: &MetaSchema, number: &serde_json::Number, pointer: &str) {
        if schema.ty == "integer" && !number.is_i64() && !number.is_u64() {
            self.fault(pointer, "must be an integer");
            return;
        }
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = schema.minimum.filter(|least| value < *least) {
            self.fault(pointer, format!("must be at least {least}"));
        }
        if let Some(most) = schema.maximum.filter(|most| value > *most) {
            self.fault(pointer, format!("must be at most {most}"));
        }
    }

    fn array(&mut self, schema: &MetaSchema, items: &[Value], pointer: &mut String) {
        if let Some(least) = schema.min_items.filter(|least| items.len() < *least) {
            self.fault(pointer, format!("must have at least {least} items"));
        }
        if let Some(most) = schema.max_items.filter(|most| items.len() > *most) {
            self.fault(pointer, format!("must have at most {most} items"));
            return;
        }
        let Some(item_schema) = &schema.items else { return };
        for (index, item) in items.iter().enumerate() {
            self.below(pointer, &index.to_string(), |check, pointer| {
                check.reference(item_schema, item, pointer);
            });
        }
    }

    fn object(
        &mut self,
        schema: &MetaSchema,
        members: &serde_json::Map<String, Value>,
        pointer: &mut String,
    ) {
        for name in &schema.required {
            if members.get(*name).is_none_or(Value::is_null) {
                self.below(pointer, name, |check, pointer| check.fault(pointer, "is required"));
            }
        }
        if schema.properties.is_empty() {
            return;
        }
        for (name, value) in members {
            let known = schema.properties.iter().find(|(known, _)| known == name);
            self.below(pointer, name, |check, pointer| match known {
                None => check.fault(pointer, "is not known here"),
                // Absent and null say the same, save where the type tells them apart.
                Some(_) if value.is_null() => {}
                Some((_, schema)) => check.reference(schema, value, pointer),
            });
        }
    }

    /// Runs `inner` with `pointer` one step deeper.
    fn below(
        &mut self,
        pointer: &mut String,
        step: &str,
        inner: impl FnOnce(&mut Self, &mut String),
    ) {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        inner(self, pointer);
        pointer.truncate(length);
    }

    fn fault(&mut self, pointer: &str, detail: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError::at_pointer(pointer, detail));
        }
    }
}

fn listed(values: &[Value]) -> String {
    let names: Vec<_> = values.iter().map(|value| value.as_str().unwrap_or("?")).collect();
    names.join(", ")
}

fn with_article(kind: &str) -> String {
    match kind {
        "integer" | "array" | "object" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}
