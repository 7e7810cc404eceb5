//! The tenant's calendar day: what `today` means to them.
//!
//! `app` asks which day it is for a tenant, has `command` start it, and waits until it ends. The
//! rules of the time zones come from the system's database, or from the one that is built in
//! where the system has none.

use jiff::tz::TimeZone;

use super::time::Timestamp;

/// A day in some time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDay {
    /// `YYYY-MM-DD`.
    pub date: String,
    pub starts_at: Timestamp,
    /// When the next one starts: mostly midnight, and the first moment that exists after it where
    /// the clocks jump over midnight.
    pub ends_at: Timestamp,
}

/// No time zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {0:?}; use a name like \"America/Santiago\"")]
pub struct UnknownTimeZone(pub String);

/// The day that holds the moment `at` in the time zone with this IANA name.
pub fn local_day(at: Timestamp, time_zone: &str) -> Result<LocalDay, UnknownTimeZone> {
    let unknown = || UnknownTimeZone(time_zone.to_owned());
    let zone = TimeZone::get(time_zone).map_err(|_| unknown())?;
    let date = zone.to_datetime(at.to_jiff()).date();
    let start_of = |date: jiff::civil::Date| {
        let start = zone.to_ambiguous_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
        start.compatible().map(|start| Timestamp(start.as_millisecond()))
    };
    // At the ends of the calendar there is no next midnight: the day ends with the calendar.
    let ends_at = date.tomorrow().and_then(start_of);
    Ok(LocalDay {
        date: date.to_string(),
        starts_at: start_of(date).unwrap_or(at),
        ends_at: ends_at.unwrap_or(Timestamp(jiff::Timestamp::MAX.as_millisecond())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(at: &str, zone: &str) -> (String, String, String) {
        let day = local_day(Timestamp::parse(at).expect("a time"), zone).expect("a zone");
        (day.date, day.starts_at.to_string(), day.ends_at.to_string())
    }

    fn is(date: &str, starts_at: &str, ends_at: &str) -> (String, String, String) {
        (date.to_owned(), starts_at.to_owned(), ends_at.to_owned())
    }

    #[test]
    fn a_day_begins_at_the_zones_midnight() {
        assert_eq!(
            day("2026-11-24T23:30:00Z", "Europe/Madrid"),
            is("2026-11-25", "2026-11-24T23:00:00.000Z", "2026-11-25T23:00:00.000Z")
        );
        assert_eq!(
            day("2026-11-24T23:00:00Z", "Europe/Madrid"),
            is("2026-11-25", "2026-11-24T23:00:00.000Z", "2026-11-25T23:00:00.000Z")
        );
        assert_eq!(
            day("2026-11-24T22:59:59.999Z", "Europe/Madrid"),
            is("2026-11-24", "2026-11-23T23:00:00.000Z", "2026-11-24T23:00:00.000Z")
        );
        assert_eq!(
            day("2026-11-24T12:00:00Z", "UTC"),
            is("2026-11-24", "2026-11-24T00:00:00.000Z", "2026-11-25T00:00:00.000Z")
        );
    }

    #[test]
    fn a_day_has_23_or_25_hours_when_the_clocks_change() {
        assert_eq!(
            day("2026-03-29T12:00:00Z", "Europe/Madrid"),
            is("2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z")
        );
        assert_eq!(
            day("2026-10-25T12:00:00Z", "Europe/Madrid"),
            is("2026-10-25", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z")
        );
    }

    #[test]
    fn where_midnight_is_jumped_over_the_day_begins_after_the_gap() {
        // Chile, 6 September 2026: from 23:59:59 to 01:00.
        assert_eq!(
            day("2026-09-06T12:00:00Z", "America/Santiago"),
            is("2026-09-06", "2026-09-06T04:00:00.000Z", "2026-09-07T03:00:00.000Z")
        );
        assert_eq!(
            day("2026-09-06T03:59:59Z", "America/Santiago"),
            is("2026-09-05", "2026-09-05T04:00:00.000Z", "2026-09-06T04:00:00.000Z")
        );
        // Chile, 5 April 2026: 23:00 to 24:00 comes twice.
        assert_eq!(
            day("2026-04-05T03:30:00Z", "America/Santiago"),
            is("2026-04-04", "2026-04-04T03:00:00.000Z", "2026-04-05T04:00:00.000Z")
        );
    }

    #[test]
    fn a_date_that_a_country_left_out_is_no_day() {
        assert_eq!(
            day("2011-12-30T09:00:00Z", "Pacific/Apia"),
            is("2011-12-29", "2011-12-29T10:00:00.000Z", "2011-12-30T10:00:00.000Z")
        );
        assert_eq!(day("2011-12-30T10:00:00Z", "Pacific/Apia").0, "2011-12-31");
    }

    #[test]
    fn days_follow_each_other_without_a_gap() {
        for zone in ["America/Santiago", "Europe/Madrid", "Pacific/Apia", "Asia/Kathmandu"] {
            let mut at = Timestamp::parse("2011-01-01T00:00:00Z").expect("a time");
            for _ in 0..400 {
                let day = local_day(at, zone).expect("a zone");
                let next = local_day(day.ends_at, zone).expect("a zone");
                assert_eq!(next.starts_at, day.ends_at, "{zone} {}", day.date);
                assert!(next.date > day.date);
                at = day.ends_at;
            }
        }
    }

    #[test]
    fn an_unknown_zone_is_an_error_and_an_absurd_time_is_none() {
        let unknown = local_day(Timestamp(0), "Mars/Olympus");
        assert_eq!(unknown, Err(UnknownTimeZone("Mars/Olympus".to_owned())));
        for at in [i64::MIN, i64::MAX] {
            assert!(local_day(Timestamp(at), "Asia/Kathmandu").is_ok());
        }
    }
}
