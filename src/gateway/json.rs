//! Reading JSON that doesn't keep to its own documentation, and keeping what isn't understood.
//!
//! Providers send numbers for strings and strings for numbers, leave arrays out, and cut emoji in
//! half. Here each field is read for itself: what has the wrong shape is as if it were absent,
//! and the raw text is still there to be kept.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest, Sha256};

use crate::domain::{contact::NAME_CHARS_MAX, time::Timestamp};

/// Raw JSON beyond this is cut, so that an event stays well below what a log takes as one
/// (NATS: 1 MiB).
const MAX_RAW_BYTES: usize = 128 * 1024;
/// Raw JSON nested deeper is kept as text: inside of an event it would pass the depth (128) up to
/// which JSON can be read again.
const MAX_RAW_DEPTH: usize = 48;
/// Later than any time that is meant, in milliseconds: the end of the year 9999.
const MAX_TIME_MS: i64 = 253_402_300_799_999;

/// A string, or what was sent in its place: a number or a bool as text; all else is as absent.
#[derive(Debug, Default, Clone)]
pub(super) struct Text<'a>(Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text as it came, also when it is empty.
    pub(super) fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text without white space around it; `None` when nothing remains.
    pub(super) fn filled(&self) -> Option<&str> {
        self.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    pub(super) fn to_owned(&self) -> Option<String> {
        self.as_str().map(str::to_owned)
    }

    pub(super) fn filled_owned(&self) -> Option<String> {
        self.filled().map(str::to_owned)
    }

    /// As somebody's name: one that is longer than a name is cut.
    pub(super) fn name(&self) -> Option<String> {
        Some(self.filled()?.chars().take(NAME_CHARS_MAX).collect())
    }

    pub(super) fn is(&self, expected: &str) -> bool {
        self.as_str() == Some(expected)
    }

    /// As a whole number, which may have been sent as text or with a fraction.
    pub(super) fn as_integer(&self) -> Option<i64> {
        let text = self.filled()?;
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            number.is_finite().then_some(number as i64)
        })
    }

    /// As a moment: Unix seconds, with a fraction or without, or milliseconds; `otherwise` when
    /// it is none. Seconds pass 10^11 in the year 5138, milliseconds passed it in 1973.
    pub(super) fn as_time(&self, otherwise: Timestamp) -> Timestamp {
        let Some(text) = self.filled() else { return otherwise };
        let milliseconds = match text.parse::<i64>() {
            Ok(number) if number >= 100_000_000_000 => number,
            Ok(seconds) => seconds.saturating_mul(1000),
            Err(_) => match text.parse::<f64>() {
                #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
                Ok(number) if number >= 1e11 => number as i64,
                #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
                Ok(seconds) => (seconds * 1000.0).round() as i64,
                Err(_) => return otherwise,
            },
        };
        if (1..=MAX_TIME_MS).contains(&milliseconds) { Timestamp(milliseconds) } else { otherwise }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(if flag { "true" } else { "false" })))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// The elements of an array, each unread; none when it is absent or no array.
#[derive(Debug, Default, Clone)]
pub(super) struct Items<'a>(pub(super) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor).map(Items)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }
    fn visit_borrowed_str<E>(self, _: &'de str) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}

/// An object's fields in their order, each value unread. An error when it is no object.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str().unwrap_or_default(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor).map(Fields)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<(Text<'de>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(fields)
    }
}

/// Reads raw JSON as `T`; `None` when it is something else.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// What tells raw JSON from other JSON: the same when it is delivered again.
pub(super) fn json_key(raw: &RawValue) -> String {
    let digest = Sha256::digest(raw.get().as_bytes());
    format!("json.{}", hex::encode(&digest[..16]))
}

/// Raw JSON as a value to keep: whole where that is safe, else as text, cut at a bound. Never
/// fails.
pub(super) fn kept(raw: &str) -> Value {
    if raw.len() > MAX_RAW_BYTES {
        return Value::String(raw[..raw.floor_char_boundary(MAX_RAW_BYTES)].to_owned());
    }
    if depth(raw) > MAX_RAW_DEPTH {
        return Value::String(raw.to_owned());
    }
    serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_owned()))
}

/// Raw JSON as the object that it is; `None` when it is none, or one that can't be kept whole.
pub(super) fn kept_object(raw: &RawValue) -> Option<Map<String, Value>> {
    match kept(raw.get()) {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// How deep brackets nest, strings left out. The text is valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

/// A body as text that can be read: a broken byte, or half an emoji, must spoil neither the text
/// that it is in nor the messages beside it.
pub(super) fn readable(body: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(body);
    let escaped_half = |start: &[u8]| memchr::memmem::find(text.as_bytes(), start).is_some();
    if escaped_half(b"\\ud") || escaped_half(b"\\uD") { Cow::Owned(mended(&text)) } else { text }
}

/// The JSON with each half of a surrogate pair that stands alone replaced by U+FFFD. Texts that
/// were cut in the middle of an emoji have them, and no JSON reader takes them.
fn mended(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match surrogate(rest) {
            Some(Half::High) if surrogate(&rest[6..]) == Some(Half::Low) => {
                mended.push_str(&rest[..12]);
                12
            }
            Some(_) => {
                mended.push_str("\\ufffd");
                6
            }
            None => {
                let taken = rest.char_indices().nth(2).map_or(rest.len(), |(next, _)| next);
                mended.push_str(&rest[..taken]);
                taken
            }
        };
        rest = &rest[taken..];
    }
    mended.push_str(rest);
    mended
}

#[derive(PartialEq)]
enum Half {
    High,
    Low,
}

/// The half of a pair that the text begins with, as a `\uXXXX` escape.
fn surrogate(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

/// Names of fields whose text is the provider's own and never a person's.
const SAFE_FIELDS: &[&str] = &[
    "category",
    "code",
    "engine",
    "event",
    "field",
    "messaging_product",
    "phone_number_id",
    "status",
    "type",
];
const REDACTED: &str = "[redacted]";

/// What may be kept of JSON that can hold personal data nobody can be asked about: its shape, its
/// flags, short numbers and constants. Everything else is replaced, by rule and not by guess.
pub(super) fn redacted(value: Value) -> Value {
    redact(value, false)
}

/// Fields of the company's own account that hold an id, a number or a moment.
const OWN_FIELDS: &[&str] = &["display_phone_number", "expiration", "id", "phone_number", "time"];

/// JSON of the company's own account in the provider's own words: a person's number may stand in
/// a sentence, and whatever is in the details of an error.
pub(super) fn without_numbers(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(digits_redacted(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_numbers).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| match name.as_str() {
                    "details" => redact_field((name, value)),
                    own if is_own(own) && !value.is_object() && !value.is_array() => (name, value),
                    _ => (digits_redacted(&name), without_numbers(value)),
                })
                .collect(),
        ),
        other => other,
    }
}

fn is_own(field: &str) -> bool {
    OWN_FIELDS.contains(&field) || field.ends_with("_id")
}

/// The text without what may be a number in it: seven digits or more, whatever is written between
/// them.
fn digits_redacted(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let run = &rest[start..];
        let within = |c: char| c.is_ascii_digit() || " -().".contains(c);
        let end = run.find(|c| !within(c)).unwrap_or(run.len());
        let end = run[..end].rfind(|c: char| c.is_ascii_digit()).map_or(end, |last| last + 1);
        kept.push_str(&rest[..start]);
        let digits = run[..end].bytes().filter(u8::is_ascii_digit).count();
        kept.push_str(if digits >= 7 { REDACTED } else { &run[..end] });
        rest = &run[end..];
    }
    kept.push_str(rest);
    kept
}

fn redact(value: Value, safe: bool) -> Value {
    match value {
        Value::String(text) if safe && !holds_number(&text) => Value::String(text),
        Value::String(text) if is_constant(&text) => Value::String(text),
        Value::String(_) => Value::String(REDACTED.to_owned()),
        Value::Number(number) if holds_number(&number.to_string()) => {
            Value::String(REDACTED.to_owned())
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| redact(item, safe)).collect())
        }
        Value::Object(fields) => Value::Object(fields.into_iter().map(redact_field).collect()),
        other => other,
    }
}

fn redact_field((name, value): (String, Value)) -> (String, Value) {
    let safe = SAFE_FIELDS.contains(&name.as_str());
    if name == "phone_number_id" {
        return (name, if value.is_object() { redact(value, false) } else { value });
    }
    let well_named = name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && !holds_number(&name);
    (if well_named { name } else { REDACTED.to_owned() }, redact(value, safe))
}

/// Seven digits in a row may be somebody's number.
fn holds_number(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= 7
    })
}

/// `LIKE_THIS`: a constant of the provider.
fn is_constant(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        && text.contains('_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(json: &str) -> Text<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn text_takes_what_was_sent_in_its_place() {
        assert_eq!(text("\"12\"").as_str(), Some("12"));
        assert_eq!(text("12").as_str(), Some("12"));
        assert_eq!(text("true").as_str(), Some("true"));
        assert_eq!(text("null").as_str(), None);
        assert_eq!(text("{\"a\":[1]}").as_str(), None);
        assert_eq!(text("[1,{}]").as_str(), None);
        assert_eq!(text("\" \"").filled(), None);
        assert_eq!(text("\"\\u00e9\"").as_str(), Some("é"));
    }

    #[test]
    fn time_is_read_from_seconds_fractions_and_milliseconds() {
        let now = Timestamp(7);
        assert_eq!(text("\"1748454394\"").as_time(now), Timestamp(1_748_454_394_000));
        assert_eq!(text("1748454394").as_time(now), Timestamp(1_748_454_394_000));
        assert_eq!(text("1710481111.853").as_time(now), Timestamp(1_710_481_111_853));
        assert_eq!(text("1741249702485").as_time(now), Timestamp(1_741_249_702_485));
        for absurd in ["\"soon\"", "-5", "0", "1e300", "9223372036854775807", "\"NaN\"", "null"] {
            assert_eq!(text(absurd).as_time(now), now, "{absurd}");
        }
    }

    #[test]
    fn what_can_not_be_read_again_is_kept_as_text() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(kept(&deep), Value::String(deep.clone()));
        assert_eq!(kept("[1e999]"), Value::String("[1e999]".to_owned()));
        let long = format!("\"{}\"", "é".repeat(MAX_RAW_BYTES));
        assert!(matches!(kept(&long), Value::String(cut) if cut.len() <= MAX_RAW_BYTES));
    }

    #[test]
    fn half_an_emoji_is_mended_and_a_whole_one_left_alone() {
        let read = |body: &[u8]| serde_json::from_str::<Value>(&readable(body)).unwrap();
        assert_eq!(read(br#"{"a":"x\ud83d"}"#), json!({"a": "x\u{fffd}"}));
        let several = br#"{"a":"\ude00\ud83d\uDE00\\ud83d"}"#;
        assert_eq!(read(several), json!({"a": "\u{fffd}😀\\ud83d"}));
        assert_eq!(read(b"\"caf\xe9\""), json!("caf\u{fffd}"));
        assert!(matches!(readable("\"é\"".as_bytes()), Cow::Borrowed(_)));
        assert_eq!(mended(r#""\ud83"#), r#""\ud83"#);
        assert_eq!(mended("\\"), "\\");
        assert_eq!(mended("\\é\\"), "\\é\\");
    }

    #[test]
    fn the_accounts_own_words_are_kept_without_numbers_of_people() {
        let kept = without_numbers(json!({
            "code": 2_593_109, "phone_number": "576015550100", "message_template_id": "594425479",
            "message": "Recipient +57 300 111-2233 is not in the list of 2026, see 131030",
            "error_data": {"details": "Ana wrote to us"},
        }));
        let expected = json!({
            "code": 2_593_109, "phone_number": "576015550100", "message_template_id": "594425479",
            "message": "Recipient +[redacted] is not in the list of 2026, see 131030",
            "error_data": {"details": "[redacted]"},
        });
        assert_eq!(kept, expected);
    }

    #[test]
    fn redaction_leaves_shape_and_constants() {
        let value = json!({
            "event": "PIN_CHANGED", "from": "573001234567", "573001234567": {"name": "Ana"},
            "count": 12, "user": 573001234567u64, "ok": true, "list": ["NOT_ELIGIBLE", "hola"],
            "type": "call 573001234567", "title": "Ana", "status": "ringing",
        });
        assert_eq!(
            redacted(value),
            json!({
                "event": "PIN_CHANGED", "from": "[redacted]", "[redacted]": {"name": "[redacted]"},
                "count": 12, "user": "[redacted]", "ok": true,
                "list": ["NOT_ELIGIBLE", "[redacted]"],
                "type": "[redacted]", "title": "[redacted]", "status": "ringing",
            })
        );
    }
}
