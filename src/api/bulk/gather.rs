//! From the recipients of a request to those of a bulk: numbers read, the same person once, what
//! can't be written to told by its row.
//!
//! The rows are read twice. The first time decides on each, so that nothing is stored of a
//! request that is refused; the second hands the accepted ones over, a part at a time, while they
//! are being stored. What is kept of a row in between is one bit, and eight bytes of its number
//! while the first reading lasts.

use std::{collections::HashSet, ops::ControlFlow};

use super::source::{Row, Source, SourceError};
use crate::{
    command::bulk::PART_RECIPIENTS_MAX,
    domain::{
        bulk::{
            RECIPIENTS_MAX, Recipient,
            content::{
                BulkContent, COLUMN_CHARS_MAX, COLUMNS_MAX, ContentError, Rendering,
                VALUE_CHARS_MAX,
            },
        },
        contact::{parse_phone, phone_key},
    },
};

/// Rejected rows that are told one by one; the others are counted.
pub const REJECTED_TOLD_MAX: usize = 1000;
/// The longest name of a recipient, in characters.
const NAME_CHARS_MAX: usize = 200;

/// Who the bulk is for.
pub struct Gathered {
    /// Names of the recipients' values, in their order.
    pub columns: Vec<String>,
    pub accepted: u32,
    pub duplicates: u32,
    pub rejected: u32,
    /// The first of the rejected ones: row, and what is wrong.
    pub told: Vec<(u32, String)>,
    /// Of each row, whether it is accepted.
    verdicts: Vec<bool>,
}

/// Why there is no bulk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatherError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("a bulk has at most {RECIPIENTS_MAX} recipients")]
    TooMany,
    #[error("the recipients bring more than {COLUMNS_MAX} values each, or one with a long name")]
    TooManyColumns,
}

/// Reads all rows and decides on each.
pub fn gather(source: &Source, content: &BulkContent) -> Result<Gathered, GatherError> {
    let columns = match content.columns()? {
        Some(columns) => columns,
        None => columns_of_first(source)?,
    };
    let long = |name: &String| name.chars().count() > COLUMN_CHARS_MAX;
    if columns.len() > COLUMNS_MAX || columns.iter().any(long) {
        return Err(GatherError::TooManyColumns);
    }
    let mut gathered = Gathered {
        columns,
        accepted: 0,
        duplicates: 0,
        rejected: 0,
        told: Vec::new(),
        verdicts: Vec::new(),
    };
    let mut seen = HashSet::new();
    let mut too_many = false;
    source.each(&mut |number, row| {
        too_many = gathered.verdicts.len() >= RECIPIENTS_MAX as usize;
        if too_many {
            return ControlFlow::Break(());
        }
        gathered.judge(source, content, &mut seen, number, row);
        ControlFlow::Continue(())
    })?;
    if too_many { Err(GatherError::TooMany) } else { Ok(gathered) }
}

impl Gathered {
    fn judge(
        &mut self,
        source: &Source,
        content: &BulkContent,
        seen: &mut HashSet<u64>,
        number: u32,
        row: Result<Row<'_>, &'static str>,
    ) {
        let judged = row.map_err(str::to_owned).and_then(|row| {
            let recipient = recipient(source, &self.columns, &row)?;
            let rendered = Rendering::of(content, &self.columns).render(&recipient);
            rendered.map_err(|error| error.to_string())?;
            Ok(recipient)
        });
        let accepted = match judged {
            Ok(recipient) => {
                let new = phone_key(&recipient.phone).is_some_and(|key| seen.insert(key));
                self.duplicates += u32::from(!new);
                new
            }
            Err(wrong) => {
                self.rejected += 1;
                if self.told.len() < REJECTED_TOLD_MAX {
                    self.told.push((number, wrong));
                }
                false
            }
        };
        self.accepted += u32::from(accepted);
        self.verdicts.push(accepted);
    }

    /// Hands over the accepted recipients in their order, [`PART_RECIPIENTS_MAX`] at a time, until
    /// `take` has gone.
    pub fn parts(
        &self,
        source: &Source,
        take: &mut dyn FnMut(Vec<Recipient>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let mut part = Vec::with_capacity(PART_RECIPIENTS_MAX);
        let mut verdicts = self.verdicts.iter();
        let mut gone = false;
        source.each(&mut |_, row| {
            if verdicts.next() == Some(&true)
                && let Ok(row) = row
                && let Ok(recipient) = recipient(source, &self.columns, &row)
            {
                part.push(recipient);
            }
            if part.len() == PART_RECIPIENTS_MAX {
                let full = std::mem::replace(&mut part, Vec::with_capacity(PART_RECIPIENTS_MAX));
                gone = take(full).is_break();
            }
            if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !part.is_empty() && !gone {
            let _ = take(part);
        }
        Ok(())
    }
}

/// A template without components takes what the first row brings.
fn columns_of_first(source: &Source) -> Result<Vec<String>, SourceError> {
    let mut columns = Vec::new();
    source.each(&mut |_, row| match row {
        Ok(row) => {
            columns = source.columns_of(&row);
            ControlFlow::Break(())
        }
        Err(_) => ControlFlow::Continue(()),
    })?;
    Ok(columns)
}

/// The recipient that the row is, or what is wrong with it.
fn recipient(source: &Source, columns: &[String], row: &Row<'_>) -> Result<Recipient, String> {
    let phone = parse_phone(&row.phone).map_err(|error| error.to_string())?;
    let name = row.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
        return Err(format!("a name has at most {NAME_CHARS_MAX} characters"));
    }
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let Some(value) = source.value(row, column) else {
            return Err(ContentError::Missing(column.clone()).to_string());
        };
        if value.len() > VALUE_CHARS_MAX && value.chars().count() > VALUE_CHARS_MAX {
            return Err(format!("a value has at most {VALUE_CHARS_MAX} characters"));
        }
        values.push(value.to_owned());
    }
    Ok(Recipient { phone, name: name.map(str::to_owned), values })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::source::Csv, *};

    fn text(text: &str) -> BulkContent {
        BulkContent::Text { text: text.to_owned() }
    }

    fn template() -> BulkContent {
        BulkContent::Template { name: "t".to_owned(), language: "es".to_owned(), components: None }
    }

    fn csv(text: &str) -> Source {
        Source::Csv(Csv::open(Bytes::copy_from_slice(text.as_bytes())).unwrap())
    }

    fn phones(source: &Source, gathered: &Gathered) -> Vec<String> {
        let mut phones = Vec::new();
        let read = gathered.parts(source, &mut |part| {
            phones.extend(part.into_iter().map(|recipient| recipient.phone));
            ControlFlow::Continue(())
        });
        read.unwrap();
        phones
    }

    #[test]
    fn the_same_person_is_written_to_once_and_nobody_is_left_out_untold() {
        let source = csv(
            "phone,city\n+34 600 000 001,Lima\n34600000001,Lima\n12,Lima\n+525512345678,Lima\n\
             +5215512345678,Lima\n+34600000002\n,Lima\n",
        );
        let gathered = gather(&source, &text("Hola {{city}}")).unwrap();
        assert_eq!((gathered.accepted, gathered.duplicates, gathered.rejected), (2, 2, 3));
        assert_eq!(
            gathered.told,
            [
                (4, "an international phone number has at least 7 digits".to_owned()),
                (7, "there is no value for {{city}}".to_owned()),
                (8, "a phone number is missing".to_owned()),
            ]
        );
        assert_eq!(phones(&source, &gathered), ["+34600000001", "+525512345678"]);
    }

    #[test]
    fn a_templates_values_are_those_of_the_first_row() {
        let source = csv("1,phone,2\na,+34600000001,b\n,+34600000002\n");
        let gathered = gather(&source, &template()).unwrap();
        assert_eq!(gathered.columns, ["1", "2"]);
        assert_eq!((gathered.accepted, gathered.rejected), (1, 1), "the second lacks one");
    }

    #[test]
    fn parts_are_full_but_for_the_last() {
        let mut all = "phone\n".to_owned();
        for number in 0..2500 {
            all.push_str(&format!("+346{number:08}\n"));
        }
        let source = csv(&all);
        let gathered = gather(&source, &text("hola")).unwrap();
        let mut sizes = Vec::new();
        let read = gathered.parts(&source, &mut |part| {
            sizes.push(part.len());
            ControlFlow::Continue(())
        });
        read.unwrap();
        assert_eq!(sizes, [1000, 1000, 500]);
    }

    #[test]
    fn more_than_a_bulk_may_have_is_refused() {
        let mut all = "phone\n".to_owned();
        for number in 0..=RECIPIENTS_MAX {
            all.push_str(&format!("+346{number:08}\n"));
        }
        assert_eq!(gather(&csv(&all), &text("x")).err(), Some(GatherError::TooMany));
    }

    #[test]
    fn many_rejected_rows_are_counted_and_the_first_are_told() {
        let mut all = "phone\n".to_owned();
        all.extend(std::iter::repeat_n("x\n", REJECTED_TOLD_MAX + 5));
        let gathered = gather(&csv(&all), &text("x")).unwrap();
        assert_eq!(gathered.rejected as usize, REJECTED_TOLD_MAX + 5);
        assert_eq!(gathered.told.len(), REJECTED_TOLD_MAX);
        assert_eq!(gathered.accepted, 0);
    }
}
