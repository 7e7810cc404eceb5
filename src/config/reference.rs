//! All settings as text: the reference that is `docs/settings.md`, and a listing of those in
//! force.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    known::{self, Kind, Known},
    sources::Loaded,
};

const HEADER: &str = "\
# Settings

Written by `condorito config --reference` from the code's doc comments; a test keeps this copy
from drifting (`UPDATE_DOCS=1 cargo test settings_reference` writes it anew).

Settings come from a TOML file (`--config FILE`, `CONDORITO_CONFIG`, else `condorito.toml` in the
working directory when it is there), then from the environment, then from flags (`--set
KEY=VALUE`); the later wins. A list is given to a variable as `a,b,c` or as a TOML array. A key or
variable that is not in this table is an error. `condorito config` shows what is in force and where
it comes from; `condorito check` says what is wrong.

| key | variable | default | meaning |
| --- | --- | --- | --- |
";

/// The table of all settings, in Markdown.
pub fn markdown() -> String {
    let mut text = HEADER.to_owned();
    for known in known::all().iter().filter(|known| known.kind != Kind::Table) {
        let variable = known.variable().map_or_else(String::new, |name| format!("`{name}`"));
        let default =
            default_text(known).map_or_else(|| "-".to_owned(), |text| format!("`{text}`"));
        let meaning = format!("{}{}", known.doc, choices(known)).replace('|', "\\|");
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `{}` | {variable} | {default} | {meaning} |", known.path);
    }
    text
}

/// Every key with its value in force and where that comes from. Secrets are not shown.
pub fn listing(loaded: &Loaded) -> String {
    let mut text = String::new();
    for known in known::all().iter().filter(|known| known.variable().is_some()) {
        let set = loaded.values.get(&known.path);
        let value = match set {
            Some(_) if known.secret => "<redacted>".to_owned(),
            Some((value, _)) => redacted(&known.path, value).to_string(),
            None => {
                let computed = loaded.computed.iter().find(|(path, _)| *path == known.path);
                let computed = computed.map(|(_, text)| format!("{text:?}"));
                computed.or_else(|| default_text(known)).unwrap_or_else(|| "-".to_owned())
            }
        };
        let origin = set.map_or_else(|| "default".to_owned(), |(_, origin)| origin.to_string());
        let _ = writeln!(text, "{} = {value}  # {origin}", known.path);
    }
    text
}

/// A value with the secrets inside lists of tables left out.
fn redacted(path: &str, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Array(items) => {
            let path = format!("{path}[]");
            toml::Value::Array(items.iter().map(|item| redacted(&path, item)).collect())
        }
        toml::Value::Table(table) => {
            let inner = table.iter().map(|(name, value)| {
                let path = format!("{path}.{name}");
                let secret = known::find(&path).is_none_or(|known| known.secret);
                let shown = match secret {
                    true => toml::Value::String("<redacted>".to_owned()),
                    false => redacted(&path, value),
                };
                (name.clone(), shown)
            });
            toml::Value::Table(inner.collect())
        }
        other => other.clone(),
    }
}

/// The default as TOML; `None` when there is none, or it depends on other settings.
fn default_text(known: &Known) -> Option<String> {
    match known.default.as_ref()? {
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        other => Some(other.to_string()),
    }
}

fn choices(known: &Known) -> String {
    match &known.kind {
        Kind::Choice(words) => format!(" One of {}.", words.join(", ")),
        _ => String::new(),
    }
}
