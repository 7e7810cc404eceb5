//! A moment, in milliseconds. The domain never asks for the time: it is told.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC. In JSON: RFC 3339 with milliseconds and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `seconds` after the Unix epoch, the resolution in which WhatsApp tells time.
    /// Saturates, so that an absurd figure from outside can't overflow.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to `self`, negative when it is later.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` moved by `milliseconds`.
    pub fn plus_ms(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Reads RFC 3339 with any offset and any fraction; `None` when it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Some(Self(instant.as_millisecond()))
    }

    /// The hour that holds this moment, for the statistics' hour buckets.
    pub fn floor_to_hour(self) -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self(self.0.div_euclid(HOUR_MS).saturating_mul(HOUR_MS))
    }

    /// As a `jiff` timestamp, clamped to what that can hold.
    pub fn to_jiff(self) -> jiff::Timestamp {
        let clamped = self
            .0
            .clamp(jiff::Timestamp::MIN.as_millisecond(), jiff::Timestamp::MAX.as_millisecond());
        jiff::Timestamp::from_millisecond(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_milliseconds_and_read_with_any_offset() {
        let moment = Timestamp(1_795_515_330_123);
        assert_eq!(moment.to_string(), "2026-11-24T10:15:30.123Z");
        assert_eq!(Timestamp::parse("2026-11-24T07:15:30.123-03:00"), Some(moment));
        assert_eq!(Timestamp(1_795_515_330_000).to_string(), "2026-11-24T10:15:30.000Z");
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn floors_to_the_hour_before_the_epoch_too() {
        assert_eq!(Timestamp(-1).floor_to_hour(), Timestamp(-3_600_000));
        assert_eq!(Timestamp(3_600_001).floor_to_hour(), Timestamp(3_600_000));
        assert_eq!(Timestamp(i64::MIN).floor_to_hour(), Timestamp(i64::MIN));
    }
}
