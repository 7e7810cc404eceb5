//! Every key that there is, read from the settings structs: its type, default and doc comment.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Settings;

/// What a key's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Integer,
    Number,
    Text,
    /// One of these words.
    Choice(Vec<String>),
    List(Box<Kind>),
    /// A section.
    Table,
}

/// A key, or a section.
#[derive(Debug, Clone)]
pub struct Known {
    /// With dots, and `[]` behind a list of tables: `feed.batch_window_ms`, `tenants[].client_id`.
    pub path: String,
    pub kind: Kind,
    /// The doc comment, in one line.
    pub doc: String,
    /// As the code has it; `None` for secrets and for what has no default.
    pub default: Option<Value>,
    /// Never shown.
    pub secret: bool,
}

impl Known {
    /// The variable that sets it. What is inside a list of tables has none.
    pub fn variable(&self) -> Option<String> {
        let settable = self.kind != Kind::Table && !self.path.contains("[]");
        settable.then(|| format!("{PREFIX}{}", self.path.replace('.', "__").to_uppercase()))
    }
}

/// What the variables' names begin with.
pub const PREFIX: &str = "CONDORITO_";

/// All keys and sections: a section before its keys, keys by name.
pub fn all() -> &'static [Known] {
    static ALL: LazyLock<Vec<Known>> = LazyLock::new(|| {
        let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
        let schema = settings.into_generator().into_root_schema_for::<Settings>();
        let mut known = Vec::new();
        collect("", &schema.to_value(), &mut known);
        known
    });
    &ALL
}

/// The key of this path; `[3]` is as `[]`.
pub fn find(path: &str) -> Option<&'static Known> {
    let generic = without_indices(path);
    all().iter().find(|known| known.path == generic)
}

/// The key that was perhaps meant by `path`.
pub fn nearest(path: &str) -> Option<&'static Known> {
    /// Below this two names have nothing to do with each other.
    const LEAST_LIKENESS: f64 = 0.6;
    /// The right name in the wrong section counts a little less.
    const WRONG_SECTION: f64 = 0.9;
    let path = without_indices(path);
    let name = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &Known| {
        let whole = strsim::normalized_damerau_levenshtein(&path, &known.path);
        let names = strsim::normalized_damerau_levenshtein(&name(&path), &name(&known.path));
        whole.max(names * WRONG_SECTION)
    };
    all()
        .iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn without_indices(path: &str) -> String {
    let mut generic = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        inside &= character != ']';
        if !inside {
            generic.push(character);
        }
        inside |= character == '[';
    }
    generic
}

fn collect(prefix: &str, schema: &Value, known: &mut Vec<Known>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let mut names: Vec<(&String, &Value)> = properties.iter().collect();
    // Plain keys first: in TOML they can't follow a section.
    names.sort_by_key(|(name, schema)| (is_section(&kind(schema)), (*name).clone()));
    for (name, property) in names {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let kind = kind(property);
        let items = property.get("items");
        known.push(Known {
            path: path.clone(),
            doc: doc(property),
            default: property.get("default").filter(|value| !value.is_null()).cloned(),
            secret: is_secret(property) || items.is_some_and(is_secret),
            kind: kind.clone(),
        });
        match (kind, items) {
            (Kind::Table, _) => collect(&path, property, known),
            (Kind::List(item), Some(items)) if *item == Kind::Table => {
                collect(&format!("{path}[]"), items, known);
            }
            _ => {}
        }
    }
}

fn is_section(kind: &Kind) -> bool {
    match kind {
        Kind::Table => true,
        Kind::List(item) => is_section(item),
        _ => false,
    }
}

fn is_secret(schema: &Value) -> bool {
    schema.get("writeOnly").is_some_and(|secret| secret == true)
        || alternatives(schema).any(is_secret)
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("anyOf").and_then(Value::as_array).into_iter().flatten()
}

fn doc(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value) -> Kind {
    if let Some(words) = choices(schema) {
        return Kind::Choice(words);
    }
    let of_list = |types: &Vec<Value>| types.iter().find(|kind| *kind != "null").cloned();
    let name = match schema.get("type") {
        Some(Value::Array(types)) => of_list(types),
        other => other.cloned(),
    };
    match name.as_ref().and_then(Value::as_str) {
        Some("boolean") => Kind::Bool,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("array") => {
            let any = Value::Object(Map::new());
            Kind::List(Box::new(kind(schema.get("items").unwrap_or(&any))))
        }
        Some("object") => Kind::Table,
        // An `Option` of something with several forms.
        None => alternatives(schema)
            .find(|schema| schema.get("type").is_none_or(|kind| kind != "null"))
            .map_or(Kind::Text, kind),
        Some(_) => Kind::Text,
    }
}

/// The words of an enum, with or without doc comments on its variants.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let words = |values: &Vec<Value>| {
        values.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return words(values);
    }
    let variants = schema.get("oneOf").and_then(Value::as_array)?;
    let constants = variants.iter().map(|variant| variant.get("const").cloned());
    words(&constants.collect::<Option<Vec<_>>>()?)
}
