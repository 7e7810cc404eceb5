//! The cursor: a place in a tenant's feed, the same on every transport and instance.

use std::fmt;

use crate::domain::ids::Position;

/// A place in the feed: after the public event `ordinal` of the domain event at `position`.
/// Ordered as the feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    pub position: Position,
    pub ordinal: u16,
}

/// Why a cursor that a client sent can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not of the form `epoch-position-ordinal`, or too long.
    #[error("the cursor is malformed")]
    Malformed,
    /// Well-formed, and of another event store.
    #[error("the cursor is of another event store")]
    OtherEpoch,
}

/// The longest cursor, in characters.
pub const CURSOR_LENGTH_MAX: usize = 64;

impl Cursor {
    /// Before the first event.
    pub const START: Cursor = Cursor { position: Position::START, ordinal: 0 };

    /// After everything that follows from the domain event at `position`.
    pub fn end_of(position: Position) -> Self {
        Self { position, ordinal: u16::MAX }
    }

    /// The cursor as text, `epoch-position-ordinal`.
    pub fn display(self, epoch: &str) -> impl fmt::Display {
        std::fmt::from_fn(move |f| write!(f, "{epoch}-{}-{}", self.position, self.ordinal))
    }

    /// Reads a cursor of the store with this `epoch`.
    pub fn parse(text: &str, epoch: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_LENGTH_MAX {
            return Err(CursorError::Malformed);
        }
        let mut parts = text.split('-');
        let (Some(its_epoch), Some(position), Some(ordinal), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError::Malformed);
        };
        let well_formed_epoch = (5..=8).contains(&its_epoch.len())
            && its_epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !well_formed_epoch {
            return Err(CursorError::Malformed);
        }
        let position = digits(position).ok_or(CursorError::Malformed)?;
        let ordinal = digits(ordinal).ok_or(CursorError::Malformed)?;
        let ordinal = u16::try_from(ordinal).map_err(|_| CursorError::Malformed)?;
        if its_epoch != epoch {
            return Err(CursorError::OtherEpoch);
        }
        Ok(Self { position: Position(position), ordinal })
    }
}

fn digits(text: &str) -> Option<u64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if only_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let cursor = Cursor { position: Position(184_467), ordinal: 1 };
        assert_eq!(cursor.display("k3v9q").to_string(), "k3v9q-184467-1");
        assert_eq!(Cursor::parse("k3v9q-184467-1", "k3v9q"), Ok(cursor));
    }

    #[test]
    fn another_epoch_and_nonsense_are_told_apart() {
        assert_eq!(Cursor::parse("zzzzz-1-0", "k3v9q"), Err(CursorError::OtherEpoch));
        for text in [
            "",
            "k3v9q",
            "k3v9q-1",
            "k3v9q-1-0-0",
            "k3v9q-+1-0",
            "k3v9q--1-0",
            "k-1-0",
            "k3v9q-1-65536",
            "k3v9q-99999999999999999999-0",
            "k3v9q-1-é",
        ] {
            assert_eq!(Cursor::parse(text, "k3v9q"), Err(CursorError::Malformed), "{text}");
        }
    }

    #[test]
    fn orders_as_the_feed_does() {
        let early = Cursor { position: Position(9), ordinal: 7 };
        let late = Cursor { position: Position(10), ordinal: 0 };
        assert!(early < late && late < Cursor::end_of(Position(10)));
    }
}
