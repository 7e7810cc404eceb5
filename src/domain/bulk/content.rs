//! What a bulk says: a text or a template, with places for what differs by recipient.
//!
//! `{{city}}` stands for the recipient's value of that name; `{{name}}` and `{{phone}}` are the
//! recipient's own. A template without components takes its body's parameters from the
//! recipients' values, by position when these are named 1, 2, … and by name otherwise.
//!
//! **Invariant:** what the API let pass can be [rendered](Rendering::render) for each recipient
//! that it let pass: both go through [`Rendering::of`] and the same checks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Recipient;
use crate::domain::message::MessageKind;

/// The longest text that WhatsApp takes, in characters.
pub const TEXT_CHARS_MAX: usize = 4096;
/// The longest value of a recipient, in characters.
pub const VALUE_CHARS_MAX: usize = 1024;
/// The most values of a recipient.
pub const COLUMNS_MAX: usize = 50;
/// The longest name of a value, in characters.
pub const COLUMN_CHARS_MAX: usize = 64;
/// How deep a template's components may be nested; WhatsApp's are six deep.
const COMPONENTS_DEPTH_MAX: usize = 16;

/// The recipient's own phone number, as a placeholder.
pub const PHONE: &str = "phone";
/// The recipient's own name, as a placeholder.
pub const NAME: &str = "name";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BulkContent {
    Text {
        text: String,
    },
    Template {
        name: String,
        /// As `en_US`.
        language: String,
        /// As the Cloud API takes them, with placeholders in their texts. `None`: the body's
        /// parameters are the recipients' values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        components: Option<Vec<Value>>,
    },
}

/// Why a content can't be sent to a recipient, or to anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("a placeholder that begins with {{{{ does not end with }}}}")]
    Unclosed,
    #[error("a placeholder names 1 to {COLUMN_CHARS_MAX} characters")]
    BadName,
    #[error("at most {COLUMNS_MAX} different placeholders")]
    TooMany,
    #[error("the components are nested too deeply")]
    TooDeep,
    #[error("there is no value for {{{{{0}}}}}")]
    Missing(String),
    #[error("the text has more than {TEXT_CHARS_MAX} characters for this recipient")]
    TooLong,
    #[error("the text is empty for this recipient")]
    Empty,
}

impl BulkContent {
    /// The values that a recipient must have, in the order in which they are first used;
    /// `None` when that is up to the recipients.
    pub fn columns(&self) -> Result<Option<Vec<String>>, ContentError> {
        let mut names = Vec::new();
        match self {
            Self::Text { text } => names_in(text, &mut names)?,
            Self::Template { components: Some(components), .. } => {
                for component in components {
                    each_text(component, 0, &mut |text| names_in(text, &mut names))?;
                }
            }
            Self::Template { components: None, .. } => return Ok(None),
        }
        if names.len() > COLUMNS_MAX {
            return Err(ContentError::TooMany);
        }
        Ok(Some(names))
    }
}

/// The names of placeholders, without the recipient's own.
fn names_in(text: &str, names: &mut Vec<String>) -> Result<(), ContentError> {
    for piece in pieces(text) {
        if let Piece::Placeholder(name) = piece?
            && name != PHONE
            && name != NAME
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, ContentError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(inside) = rest.strip_prefix("{{") else {
            let (text, behind) = rest.split_at(rest.find("{{").unwrap_or(rest.len()));
            rest = behind;
            return Some(Ok(Piece::Text(text)));
        };
        rest = "";
        let Some((name, behind)) = inside.split_once("}}") else {
            return Some(Err(ContentError::Unclosed));
        };
        let name = name.trim();
        if name.is_empty() || name.chars().count() > COLUMN_CHARS_MAX || name.contains('{') {
            return Some(Err(ContentError::BadName));
        }
        rest = behind;
        Some(Ok(Piece::Placeholder(name)))
    })
}

fn each_text(
    value: &Value,
    depth: usize,
    see: &mut impl FnMut(&str) -> Result<(), ContentError>,
) -> Result<(), ContentError> {
    if depth > COMPONENTS_DEPTH_MAX {
        return Err(ContentError::TooDeep);
    }
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().try_for_each(|item| each_text(item, depth + 1, see)),
        Value::Object(members) => {
            members.values().try_for_each(|member| each_text(member, depth + 1, see))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// What a message to one recipient says.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub kind: MessageKind,
    pub text: Option<String>,
    pub payload: Option<Map<String, Value>>,
}

/// A content and the names of the values that recipients bring for it.
#[derive(Debug, Clone, Copy)]
pub struct Rendering<'a> {
    content: &'a BulkContent,
    columns: &'a [String],
}

impl<'a> Rendering<'a> {
    pub fn of(content: &'a BulkContent, columns: &'a [String]) -> Self {
        Self { content, columns }
    }

    /// The message to this recipient.
    pub fn render(&self, recipient: &Recipient) -> Result<Rendered, ContentError> {
        match self.content {
            BulkContent::Text { text } => {
                let text = self.fill(text, recipient)?;
                if text.trim().is_empty() {
                    return Err(ContentError::Empty);
                }
                if text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX {
                    return Err(ContentError::TooLong);
                }
                Ok(Rendered { kind: MessageKind::Text, text: Some(text), payload: None })
            }
            BulkContent::Template { name, language, components } => {
                let components = match components {
                    Some(components) => components
                        .iter()
                        .map(|component| self.fill_all(component, recipient))
                        .collect::<Result<Vec<_>, _>>()?,
                    None => self.body_parameters(recipient)?,
                };
                let mut payload = Map::new();
                payload.insert("name".to_owned(), name.as_str().into());
                payload.insert("language".to_owned(), language.as_str().into());
                if !components.is_empty() {
                    payload.insert("components".to_owned(), components.into());
                }
                Ok(Rendered { kind: MessageKind::Template, text: None, payload: Some(payload) })
            }
        }
    }

    fn fill(&self, text: &str, recipient: &Recipient) -> Result<String, ContentError> {
        let mut filled = String::with_capacity(text.len() + 32);
        for piece in pieces(text) {
            match piece? {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => filled.push_str(self.value(name, recipient)?),
            }
        }
        Ok(filled)
    }

    fn value<'r>(&self, name: &str, recipient: &'r Recipient) -> Result<&'r str, ContentError> {
        let missing = || ContentError::Missing(name.to_owned());
        // A column of that name wins over the recipient's own, which it may spell differently.
        if let Some(index) = self.columns.iter().position(|column| column == name) {
            return recipient.values.get(index).map(String::as_str).ok_or_else(missing);
        }
        match name {
            PHONE => Ok(&recipient.phone),
            NAME => recipient.name.as_deref().ok_or_else(missing),
            _ => Err(missing()),
        }
    }

    fn fill_all(&self, value: &Value, recipient: &Recipient) -> Result<Value, ContentError> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text, recipient)?),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill_all(item, recipient))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), self.fill_all(member, recipient)?)))
                    .collect::<Result<_, ContentError>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    /// The body component whose parameters are the recipient's values.
    fn body_parameters(&self, recipient: &Recipient) -> Result<Vec<Value>, ContentError> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let by_position = are_positions(self.columns);
        let mut parameters = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let Some(value) = recipient.values.get(index) else {
                return Err(ContentError::Missing(column.clone()));
            };
            parameters.push(match by_position {
                true => json!({"type": "text", "text": value}),
                false => json!({"type": "text", "parameter_name": column, "text": value}),
            });
        }
        Ok(vec![json!({"type": "body", "parameters": parameters})])
    }
}

/// Whether these names are 1, 2, … in order.
pub fn are_positions(columns: &[String]) -> bool {
    (1usize..).zip(columns).all(|(position, column)| column.parse() == Ok(position))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ana(values: &[&str]) -> Recipient {
        Recipient {
            phone: "+34600000001".to_owned(),
            name: Some("Ana".to_owned()),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    fn names(columns: &[&str]) -> Vec<String> {
        columns.iter().map(|&column| column.to_owned()).collect()
    }

    #[test]
    fn a_text_is_filled_for_each_recipient() {
        let text = "Hola {{name}}, {{ ciudad }} te espera: {{code}} {{ciudad}} {x}".to_owned();
        let content = BulkContent::Text { text };
        let columns = content.columns().unwrap().unwrap();
        assert_eq!(columns, ["ciudad", "code"]);
        let rendered = Rendering::of(&content, &columns).render(&ana(&["Lima", "{{name}}"]));
        let text = rendered.unwrap().text.unwrap();
        assert_eq!(text, "Hola Ana, Lima te espera: {{name}} Lima {x}", "values are not filled");
    }

    #[test]
    fn what_can_not_be_filled_is_told() {
        let text = |text: &str| BulkContent::Text { text: text.to_owned() };
        assert_eq!(text("{{a").columns(), Err(ContentError::Unclosed));
        assert_eq!(text("{{ }}").columns(), Err(ContentError::BadName));
        assert_eq!(text("{{{a}}}").columns(), Err(ContentError::BadName));
        let many: String = (0..=COLUMNS_MAX).map(|number| format!("{{{{{number}}}}}")).collect();
        assert_eq!(text(&many).columns(), Err(ContentError::TooMany));
        let columns = names(&["a"]);
        let render = |content: &BulkContent, recipient: &Recipient| {
            Rendering::of(content, &columns).render(recipient).unwrap_err()
        };
        assert_eq!(render(&text("{{a}}"), &ana(&[])), ContentError::Missing("a".to_owned()));
        assert_eq!(render(&text("{{a}}"), &ana(&[" "])), ContentError::Empty);
        assert_eq!(render(&text("{{a}}"), &ana(&[&"ñ".repeat(4097)])), ContentError::TooLong);
        let nameless = Recipient { name: None, ..ana(&["x"]) };
        assert_eq!(render(&text("{{name}}"), &nameless), ContentError::Missing("name".to_owned()));
    }

    #[test]
    fn a_templates_parameters_go_by_position_or_by_name() {
        let template = |components| BulkContent::Template {
            name: "sale".to_owned(),
            language: "es".to_owned(),
            components,
        };
        let render = |content: &BulkContent, columns: &[&str], values: &[&str]| {
            let columns = names(columns);
            let rendered = Rendering::of(content, &columns).render(&ana(values)).unwrap();
            assert_eq!((rendered.kind, rendered.text), (MessageKind::Template, None));
            Value::Object(rendered.payload.unwrap())
        };
        assert_eq!(template(None).columns(), Ok(None));
        assert_eq!(
            render(&template(None), &["1", "2"], &["a", "b"])["components"],
            json!([{"type": "body", "parameters": [
                {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])
        );
        assert_eq!(
            render(&template(None), &["code"], &["a"])["components"],
            json!([{"type": "body", "parameters": [
                {"type": "text", "parameter_name": "code", "text": "a"}]}])
        );
        assert_eq!(render(&template(None), &[], &[]), json!({"name": "sale", "language": "es"}));
        let button = json!({"type": "button", "index": 0, "parameters": [
            {"type": "payload", "payload": "{{code}}-{{name}}"}]});
        let content = template(Some(vec![button]));
        assert_eq!(content.columns(), Ok(Some(names(&["code"]))));
        let payload = render(&content, &["code"], &["7"]);
        assert_eq!(payload["components"][0]["parameters"][0]["payload"], "7-Ana");
        assert_eq!(payload["components"][0]["index"], 0);
    }

    #[test]
    fn components_of_any_depth_end_somewhere() {
        let mut deep = json!("{{a}}");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let content = BulkContent::Template {
            name: "x".to_owned(),
            language: "x".to_owned(),
            components: Some(vec![deep]),
        };
        assert_eq!(content.columns(), Err(ContentError::TooDeep));
    }

    proptest! {
        /// Whatever passes the check renders for whoever brings the values.
        #[test]
        fn any_text_that_passes_renders(text in ".{0,60}|(\\{\\{|\\}\\}|a|b|name| ){0,20}") {
            let content = BulkContent::Text { text };
            let Ok(Some(columns)) = content.columns() else { return Ok(()) };
            let values: Vec<&str> = columns.iter().map(|_| "x").collect();
            let rendered = Rendering::of(&content, &columns).render(&ana(&values));
            prop_assert!(matches!(rendered, Ok(_) | Err(ContentError::Empty)), "{rendered:?}");
        }
    }
}
