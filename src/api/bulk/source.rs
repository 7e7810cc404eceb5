//! Recipients as a request holds them: a JSON array, or CSV. Read one at a time, as often as
//! needed, from the request's own bytes: nothing here grows with their number.
//!
//! A row that can't be read is told by its place and keeps no other from being read. Only what
//! makes all rows unreadable (JSON that ends in the middle, CSV without a header) is an error.
//!
//! CSV: UTF-8, with or without a byte order mark; separated by commas, semicolons or tabs,
//! whichever the header has most of (a Spanish Excel writes semicolons); quoted as RFC 4180 has
//! it. The header names the columns; letter case and spaces around a name don't count.

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::ControlFlow};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::domain::bulk::content::{COLUMNS_MAX, NAME, PHONE};

/// Columns that are taken for the phone number and for the name, in the order of preference.
const PHONE_COLUMNS: [&str; 4] = [PHONE, "teléfono", "telefono", "whatsapp"];
const NAME_COLUMNS: [&str; 2] = [NAME, "nombre"];
/// The most columns of a CSV; a spreadsheet has no more that matter.
const CSV_COLUMNS_MAX: usize = 256;

/// Recipients in a request's bytes.
pub enum Source {
    /// A JSON array; `bytes` are the array alone.
    Json {
        array: Bytes,
    },
    Csv(Csv),
}

/// CSV with its header read.
pub struct Csv {
    bytes: Bytes,
    delimiter: u8,
    /// As they are named, trimmed.
    header: Vec<String>,
    phone: usize,
    name: Option<usize>,
}

/// One recipient as given.
#[derive(Debug, Default, PartialEq)]
pub struct Row<'a> {
    pub phone: Cow<'a, str>,
    pub name: Option<Cow<'a, str>>,
    /// By their names; positions are named 1, 2, ….
    pub values: Values<'a>,
}

#[derive(Debug, PartialEq)]
pub enum Values<'a> {
    Named(BTreeMap<Cow<'a, str>, Cow<'a, str>>),
    Positions(Vec<Cow<'a, str>>),
    /// Of a CSV's row, in the order of its header.
    Cells(Vec<Cow<'a, str>>),
}

impl Default for Values<'_> {
    fn default() -> Self {
        Values::Positions(Vec::new())
    }
}

/// Why nothing can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("the recipients are not a JSON array from line {line}, column {column} of it on")]
    Json { line: usize, column: usize },
    #[error("the CSV has no header, or its header is not UTF-8")]
    NoHeader,
    #[error("the CSV has no column `phone`")]
    NoPhone,
    #[error("the CSV has two columns of one name")]
    TwiceNamed,
    #[error("the CSV has more than {CSV_COLUMNS_MAX} columns")]
    TooManyColumns,
}

/// What takes rows: a row's number as people count them, and the row or what is wrong with it.
pub type Take<'t> = dyn FnMut(u32, Result<Row<'_>, &'static str>) -> ControlFlow<()> + 't;

impl Source {
    /// Hands over one row after the other, until `take` has enough.
    pub fn each(&self, take: &mut Take<'_>) -> Result<(), SourceError> {
        match self {
            Source::Json { array } => each_of_json(array, take),
            Source::Csv(csv) => csv.each(take),
        }
    }

    /// The names of the values of this row, in the order in which they are to stand.
    pub fn columns_of(&self, row: &Row<'_>) -> Vec<String> {
        let mut names: Vec<String> = match (&row.values, self) {
            (Values::Named(values), _) => values.keys().map(|key| key.to_string()).collect(),
            (Values::Positions(values), _) => {
                (1..=values.len()).map(|position| position.to_string()).collect()
            }
            (Values::Cells(_), Source::Csv(csv)) => csv.value_columns(),
            (Values::Cells(_), Source::Json { .. }) => Vec::new(),
        };
        // Positions in their order, however they were written.
        let positions: Option<Vec<usize>> = names.iter().map(|name| name.parse().ok()).collect();
        if let Some(mut positions) = positions {
            positions.sort_unstable();
            names = positions.into_iter().map(|position| position.to_string()).collect();
        }
        names
    }

    /// The value of this name.
    pub fn value<'r>(&self, row: &'r Row<'_>, name: &str) -> Option<&'r str> {
        match (&row.values, self) {
            (Values::Named(values), _) => values.get(name).map(|value| &**value),
            (Values::Positions(values), _) => {
                let position: usize = name.parse().ok()?;
                values.get(position.checked_sub(1)?).map(|value| &**value)
            }
            (Values::Cells(cells), Source::Csv(csv)) => {
                let index = csv.header.iter().position(|column| same(column, name))?;
                cells.get(index).map(|value| &**value)
            }
            (Values::Cells(_), Source::Json { .. }) => None,
        }
    }
}

fn same(column: &str, name: &str) -> bool {
    column == name || column.to_lowercase() == name.to_lowercase()
}

impl Csv {
    pub fn open(bytes: Bytes) -> Result<Self, SourceError> {
        let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => bytes.slice_ref(rest),
            None => bytes,
        };
        let delimiter = delimiter(&bytes);
        let mut reader = reader(&bytes, delimiter, true);
        let header = reader.headers().map_err(|_| SourceError::NoHeader)?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if header.iter().all(String::is_empty) {
            return Err(SourceError::NoHeader);
        }
        if header.len() > CSV_COLUMNS_MAX {
            return Err(SourceError::TooManyColumns);
        }
        for (index, name) in header.iter().enumerate() {
            if !name.is_empty() && header[..index].iter().any(|other| same(other, name)) {
                return Err(SourceError::TwiceNamed);
            }
        }
        let find = |names: &[&str]| {
            names.iter().find_map(|name| header.iter().position(|column| same(column, name)))
        };
        let phone = find(&PHONE_COLUMNS).ok_or(SourceError::NoPhone)?;
        let name = find(&NAME_COLUMNS);
        Ok(Self { bytes, delimiter, header, phone, name })
    }

    /// All but the phone number and the name: what a template's parameters are taken from.
    fn value_columns(&self) -> Vec<String> {
        let others = self.header.iter().enumerate().filter(|(index, name)| {
            *index != self.phone && Some(*index) != self.name && !name.is_empty()
        });
        others.map(|(_, name)| name.clone()).take(COLUMNS_MAX + 1).collect()
    }

    fn each(&self, take: &mut Take<'_>) -> Result<(), SourceError> {
        let mut reader = reader(&self.bytes, self.delimiter, true);
        let mut record = csv::ByteRecord::new();
        // A spreadsheet's first row is the header.
        let mut number = 1u32;
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                // Only I/O fails here, and bytes in memory don't.
                Err(_) => return Err(SourceError::NoHeader),
            }
            number = number.saturating_add(1);
            if take(number, self.row(&record)).is_break() {
                return Ok(());
            }
        }
    }

    fn row<'r>(&self, record: &'r csv::ByteRecord) -> Result<Row<'r>, &'static str> {
        let mut cells = Vec::with_capacity(record.len());
        for cell in record {
            let cell = std::str::from_utf8(cell).map_err(|_| "the row is not UTF-8")?;
            cells.push(Cow::Borrowed(cell.trim()));
        }
        if cells.len() > self.header.len() {
            return Err("the row has more cells than the header");
        }
        let cell = |index: usize| cells.get(index).cloned().filter(|cell| !cell.is_empty());
        let phone = cell(self.phone).unwrap_or_default();
        let name = self.name.and_then(cell);
        Ok(Row { phone, name, values: Values::Cells(cells) })
    }
}

fn reader(bytes: &[u8], delimiter: u8, has_headers: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(has_headers)
        .flexible(true)
        .from_reader(bytes)
}

/// What the first line has most of, outside of quotes.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in bytes {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if !quoted => {
                for (delimiter, count) in &mut counts {
                    *count += usize::from(byte == *delimiter);
                }
            }
            _ => {}
        }
    }
    // The first of the most frequent ones.
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(delimiter, _)| delimiter)
}

/// The error with which a walk over JSON ends early on purpose.
const ENOUGH: &str = "enough";

fn each_of_json(array: &[u8], take: &mut Take<'_>) -> Result<(), SourceError> {
    struct Rows<'w, 't> {
        take: &'w mut Take<'t>,
        enough: &'w mut bool,
    }
    impl<'de> Visitor<'de> for Rows<'_, '_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of recipients")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            let mut number = 0u32;
            while let Some(item) = items.next_element::<&'de RawValue>()? {
                number = number.saturating_add(1);
                let row = serde_json::from_str::<Item<'de>>(item.get());
                let row = row.map(Row::from).map_err(|_| "is not of the documented form");
                if (self.take)(number, row).is_break() {
                    *self.enough = true;
                    return Err(serde::de::Error::custom(ENOUGH));
                }
            }
            Ok(())
        }
    }
    let mut enough = false;
    let mut deserializer = serde_json::Deserializer::from_slice(array);
    let walked = deserializer.deserialize_seq(Rows { take, enough: &mut enough });
    match walked {
        Err(error) if !enough => {
            Err(SourceError::Json { line: error.line(), column: error.column() })
        }
        _ => Ok(()),
    }
}

/// A recipient in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    phone: Text<'a>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
}

impl<'a> From<Item<'a>> for Row<'a> {
    fn from(item: Item<'a>) -> Self {
        let values = item.parameters.map_or_else(Values::default, |parameters| parameters.0);
        Row { phone: item.phone.0, name: item.name.map(|name| name.0), values }
    }
}

/// A text, or a number or a truth value for which people leave the quotes out.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// `["a", "b"]` or `{"code": "a"}`.
struct Parameters<'a>(Values<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Parameters<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by position or by name")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Text(value)) = items.next_element()? {
                    if values.len() > COLUMNS_MAX {
                        return Err(serde::de::Error::custom("too many values"));
                    }
                    values.push(value);
                }
                Ok(Parameters(Values::Positions(values)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((Text(name), Text(value))) = members.next_entry()? {
                    if values.len() > COLUMNS_MAX {
                        return Err(serde::de::Error::custom("too many values"));
                    }
                    values.insert(name, value);
                }
                Ok(Parameters(Values::Named(values)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Splits a JSON body into its members and the array of recipients, which is left where it is.
/// `None` as the second: there is none.
pub fn split_body(
    body: &Bytes,
) -> Result<(serde_json::Map<String, serde_json::Value>, Option<Bytes>), serde_json::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = (serde_json::Map<String, serde_json::Value>, Option<&'de RawValue>);
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut members, mut recipients) = (serde_json::Map::new(), None);
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                if name == RECIPIENTS {
                    recipients = Some(map.next_value_seed(Raw)?);
                } else {
                    members.insert(name.into_owned(), map.next_value()?);
                }
            }
            Ok((members, recipients))
        }
    }
    struct Raw;
    impl<'de> DeserializeSeed<'de> for Raw {
        type Value = &'de RawValue;
        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            <&RawValue>::deserialize(from)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let (members, recipients) = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok((members, recipients.map(|raw| body.slice_ref(raw.get().as_bytes()))))
}

/// The member that holds the recipients.
pub const RECIPIENTS: &str = "recipients";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows as `row phone name values`, or `row: what is wrong`.
    fn read(source: &Source, columns: &[&str]) -> Vec<String> {
        let mut rows = Vec::new();
        let read = source.each(&mut |number, row| {
            rows.push(match row {
                Ok(row) => {
                    let values: Vec<_> = columns
                        .iter()
                        .map(|name| source.value(&row, name).unwrap_or("-"))
                        .collect();
                    let name = row.name.as_deref().unwrap_or("-");
                    format!("{number} {} {name} {}", row.phone, values.join(","))
                }
                Err(wrong) => format!("{number}: {wrong}"),
            });
            ControlFlow::Continue(())
        });
        read.unwrap();
        rows
    }

    fn csv(text: &str) -> Source {
        Source::Csv(Csv::open(Bytes::copy_from_slice(text.as_bytes())).unwrap())
    }

    fn json(text: &str) -> Source {
        Source::Json { array: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[test]
    fn csv_is_read_as_spreadsheets_write_it() {
        for text in [
            "phone,name,code\n+34600000001,Ana,7\n+34600000002,,\n",
            "\u{feff}Phone;Name;Code\r\n+34600000001;Ana;7\r\n+34600000002;;\r\n",
            "TELÉFONO\tnombre\tcode\n+34600000001\t Ana \t7\n\n+34600000002\t\t",
            "\"phone\",\"name\",\"code\"\n\"+34600000001\",\"Ana\",\"7\"\n\"+34600000002\",,",
        ] {
            let rows = read(&csv(text), &["code", "other"]);
            assert_eq!(rows[0], "2 +34600000001 Ana 7,-", "{text:?}");
            assert_eq!(rows[1], "3 +34600000002 - ,-", "{text:?}");
            assert_eq!(rows.len(), 2);
        }
        let quoted = csv("phone,\"a, b\"\n1,\"x\ny \"\"z\"\", w\"\n");
        assert_eq!(read(&quoted, &["a, b"]), ["2 1 - x\ny \"z\", w"]);
    }

    #[test]
    fn a_row_that_is_wrong_is_told_and_the_others_are_read() {
        let mut bytes = b"phone,a\n1,x,too many\n2,\xff\n3\n4,y\n".to_vec();
        let source = Source::Csv(Csv::open(Bytes::from(bytes.clone())).unwrap());
        assert_eq!(
            read(&source, &["a"]),
            [
                "2: the row has more cells than the header",
                "3: the row is not UTF-8",
                "4 3 - -",
                "5 4 - y"
            ]
        );
        bytes.insert(0, 0xff);
        assert!(matches!(
            Csv::open(Bytes::from(bytes)),
            Err(SourceError::NoHeader | SourceError::NoPhone)
        ));
        for (text, why) in [
            ("", SourceError::NoHeader),
            ("\n\n", SourceError::NoHeader),
            ("number,name\n", SourceError::NoPhone),
            ("phone,a,A\n", SourceError::TwiceNamed),
        ] {
            assert_eq!(Csv::open(Bytes::from(text.to_owned())).err(), Some(why), "{text:?}");
        }
        let wide = format!("phone{}\n", ",x".repeat(300));
        assert_eq!(Csv::open(Bytes::from(wide)).err(), Some(SourceError::TooManyColumns));
    }

    #[test]
    fn json_values_go_by_position_or_by_name() {
        let source = json(
            r#"[{"phone":"1","name":"A\u00f1a","parameters":{"code":7,"on":true}},
                {"phone":2,"parameters":["x","y"]}, {"phone":"3","extra":1}, 4, {"phone":"5"}]"#,
        );
        assert_eq!(
            read(&source, &["code", "on", "2"]),
            [
                "1 1 Aña 7,true,-",
                "2 2 - -,-,y",
                "3: is not of the documented form",
                "4: is not of the documented form",
                "5 5 - -,-,-"
            ]
        );
    }

    #[test]
    fn the_first_row_says_which_values_there_are() {
        let first = |source: &Source| {
            let mut columns = Vec::new();
            let read = source.each(&mut |_, row| {
                columns = source.columns_of(&row.unwrap());
                ControlFlow::Break(())
            });
            read.unwrap();
            columns
        };
        assert_eq!(first(&csv("2,phone,1,name,10\na,+34,b,c,d\n")), ["1", "2", "10"]);
        assert_eq!(first(&csv("b,phone,a\nx,1,y\n")), ["b", "a"]);
        assert_eq!(first(&json(r#"[{"phone":"1","parameters":["x","y"]}, 7"#)), ["1", "2"]);
        assert_eq!(first(&json(r#"[{"phone":"1","parameters":{"b":1,"a":2}}]"#)), ["a", "b"]);
    }

    #[test]
    fn json_that_ends_in_the_middle_is_an_error() {
        let source = json(r#"[{"phone":"1"}, {"pho"#);
        let mut seen = 0;
        let read = source.each(&mut |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert!(matches!(read, Err(SourceError::Json { .. })));
        assert_eq!(seen, 1);
        assert!(json("{}").each(&mut |_, _| ControlFlow::Continue(())).is_err());
    }

    #[test]
    fn a_body_is_split_without_a_copy() {
        let body = Bytes::from_static(br#"{"name":"x","recipients":[ {"phone":"1"} ],"text":"t"}"#);
        let (members, array) = split_body(&body).unwrap();
        assert_eq!(members.keys().collect::<Vec<_>>(), ["name", "text"]);
        assert_eq!(array.unwrap(), &body[25..42]);
        assert!(split_body(&Bytes::from_static(b"[]")).is_err());
        assert!(split_body(&Bytes::from_static(b"{} x")).is_err());
        assert_eq!(split_body(&Bytes::from_static(b"{}")).unwrap().1, None);
    }

    proptest! {
        /// Whatever bytes come, reading ends, and no row is told that is not there.
        #[test]
        fn any_csv_is_read_or_refused(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b",;\t\"\n\rphone+34".to_vec())], 0..200
            ),
            with_header: bool,
        ) {
            let mut all = if with_header { b"phone,a\n".to_vec() } else { Vec::new() };
            all.extend(bytes);
            let lines = all.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            if let Ok(csv) = Csv::open(Bytes::from(all)) {
                let (source, mut rows) = (Source::Csv(csv), 0);
                source.each(&mut |_, _| { rows += 1; ControlFlow::Continue(()) }).unwrap();
                prop_assert!(rows <= lines + 1);
            }
        }

        #[test]
        fn any_json_is_read_or_refused(text in "\\[?(\\{\"phone\":\"1\"\\},?|[\\[\\]{}\",:0-9a-z]){0,30}") {
            let _ = json(&text).each(&mut |_, _| ControlFlow::Continue(()));
        }
    }
}
