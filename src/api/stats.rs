//! Statistics: counters now, and over time.
//!
//! The read model keeps hours. Days are made of them in the tenant's time zone: an hour counts
//! for the day in which it begins, so in zones that are off by half an hour the first half hour
//! of a day counts for the day before.

use std::{collections::BTreeMap, sync::Arc};

use poem::Result;
use poem_openapi::{OpenApi, param::Query};

use super::{
    Deps,
    answer::Answer,
    extract::{AtLeast, Caller, MessagesRead},
    moment::Moment,
    problem::invalid_parameter,
    shapes::{Bucket, Chapter, StatsAnswer, StatsPoint, StatsSeries},
};
use crate::{
    domain::{day::local_day, ids::ClientId, stats::Counts, time::Timestamp},
    projection::to_wire,
    wire::problem::{Code, Problem},
};

/// The most buckets of a series; a longer one is refused.
pub const POINTS_MAX: usize = 1_000;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The length of a series without `from`.
const DEFAULT_HOURS: i64 = 24;
const DEFAULT_DAYS: i64 = 30;

pub struct StatsApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Statistics")]
impl StatsApi {
    /// Statistics now, and as a series.
    ///
    /// The series is there when any of `bucket`, `from` and `to` is given: from the bucket that
    /// holds `from` to the one that holds `to`, at most 1,000 buckets, empty ones included.
    #[oai(path = "/v1/stats", method = "get", operation_id = "get_stats")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// Where the series begins; when absent, 24 hours or 30 days before `to`.
        from: Query<Option<Moment>>,
        /// Where the series ends, this moment not included; now when absent.
        to: Query<Option<Moment>>,
        /// `hour` when absent.
        bucket: Query<Option<Bucket>>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<StatsAnswer>> {
        let client = caller.identity.client_id;
        let stats = self.0.queries.stats(client).await.map_err(Problem::from)?;
        let asked = from.0.is_some() || to.0.is_some() || bucket.0.is_some();
        let series = match asked {
            true => {
                let bucket = bucket.0.unwrap_or(Bucket::Hour);
                Some(self.series(client, from.0, to.0, bucket).await?)
            }
            false => None,
        };
        Ok(Answer(StatsAnswer { stats: to_wire::stats(&stats), series }))
    }
}

impl StatsApi {
    async fn series(
        &self,
        client: ClientId,
        from: Option<Moment>,
        to: Option<Moment>,
        bucket: Bucket,
    ) -> Result<StatsSeries, Problem> {
        let to = to.map_or_else(|| self.0.clock.now(), |to| to.0);
        let length = match bucket {
            Bucket::Hour => DEFAULT_HOURS * HOUR_MS,
            Bucket::Day => DEFAULT_DAYS * DAY_MS,
        };
        let from = from.map_or_else(|| to.plus_ms(-length), |from| from.0);
        let day = self.0.queries.day(client).await?;
        let time_zone = day.map_or_else(|| self.0.settings.time_zone.clone(), |(_, zone)| zone);
        let starts = bucket_starts(from, to, bucket, &time_zone)?;
        let hours = match starts.first() {
            Some(first) => self.0.queries.hours(client, first.floor_to_hour(), to).await?,
            None => Vec::new(),
        };
        Ok(StatsSeries { bucket, time_zone, points: points(&starts, &hours) })
    }
}

/// Where the buckets begin that hold the moments from `from` to before `to`.
fn bucket_starts(
    from: Timestamp,
    to: Timestamp,
    bucket: Bucket,
    time_zone: &str,
) -> Result<Vec<Timestamp>, Problem> {
    if from >= to {
        return Err(invalid_parameter("from", "must be before `to`"));
    }
    let shortest = match bucket {
        Bucket::Hour => HOUR_MS,
        // The shortest day, with an hour taken away by the clock (and a zone's odd changes).
        Bucket::Day => DAY_MS - 3 * HOUR_MS,
    };
    let too_long =
        || invalid_parameter("from", format!("at most {POINTS_MAX} buckets before `to`"));
    if to.since(from) / shortest > 2 * POINTS_MAX as i64 {
        return Err(too_long());
    }
    let mut starts = Vec::new();
    let mut next = from;
    while next < to {
        let (start, end) = bucket_around(next, bucket, time_zone)?;
        starts.push(start);
        if starts.len() > POINTS_MAX {
            return Err(too_long());
        }
        // Always forward, whatever the time zone's rules say.
        next = end.max(next.plus_ms(1));
    }
    Ok(starts)
}

fn bucket_around(
    moment: Timestamp,
    bucket: Bucket,
    time_zone: &str,
) -> Result<(Timestamp, Timestamp), Problem> {
    match bucket {
        Bucket::Hour => {
            let start = moment.floor_to_hour();
            Ok((start, start.plus_ms(HOUR_MS)))
        }
        Bucket::Day => {
            let day = local_day(moment, time_zone).map_err(|error| {
                tracing::error!(%error, "a tenant's time zone can't be used");
                Problem::new(Code::Internal)
            })?;
            Ok((day.starts_at, day.ends_at))
        }
    }
}

/// Adds the hours up into the buckets in which they begin.
fn points(starts: &[Timestamp], hours: &[(Timestamp, Counts)]) -> Vec<StatsPoint> {
    let mut sums: BTreeMap<Timestamp, Counts> =
        starts.iter().map(|start| (*start, Counts::default())).collect();
    for (hour, counts) in hours {
        // An hour that begins before the first bucket belongs to a day that was not asked for.
        if let Some((_, sum)) = sums.range_mut(..=*hour).next_back() {
            sum.received += counts.received;
            sum.sent += counts.sent;
            sum.delivered += counts.delivered;
            sum.read += counts.read;
            sum.failed += counts.failed;
        }
    }
    sums.into_iter().map(|(start, counts)| point(start, counts)).collect()
}

fn point(start: Timestamp, counts: Counts) -> StatsPoint {
    let Counts { received, sent, delivered, read, failed } = counts;
    StatsPoint { start: start.to_string(), received, sent, delivered, read, failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn received(received: i64) -> Counts {
        Counts { received, ..Counts::default() }
    }

    #[test]
    fn days_begin_at_the_tenants_midnight_across_a_clock_change() {
        let zone = "America/New_York";
        let starts = bucket_starts(
            at("2026-10-31T12:00:00Z"),
            at("2026-11-02T12:00:00Z"),
            Bucket::Day,
            zone,
        )
        .unwrap();
        let texts: Vec<_> = starts.iter().map(ToString::to_string).collect();
        // The first of November has 25 hours there.
        assert_eq!(
            texts,
            ["2026-10-31T04:00:00.000Z", "2026-11-01T04:00:00.000Z", "2026-11-02T05:00:00.000Z"]
        );
        let hours = [
            (at("2026-11-01T03:00:00Z"), received(1)),
            (at("2026-11-01T04:00:00Z"), received(2)),
            (at("2026-11-02T04:00:00Z"), received(3)),
            (at("2026-11-02T05:00:00Z"), received(4)),
        ];
        let points: Vec<_> =
            points(&starts, &hours).into_iter().map(|point| point.received).collect();
        assert_eq!(points, [1, 5, 4]);
    }

    #[test]
    fn hours_are_whole_and_empty_ones_are_there() {
        let starts = bucket_starts(
            at("2026-11-24T10:15:00Z"),
            at("2026-11-24T13:00:00Z"),
            Bucket::Hour,
            "UTC",
        )
        .unwrap();
        let points = points(&starts, &[(at("2026-11-24T11:00:00Z"), received(7))]);
        let told: Vec<_> =
            points.iter().map(|point| (&point.start[11..16], point.received)).collect();
        assert_eq!(told, [("10:00", 0), ("11:00", 7), ("12:00", 0)]);
    }

    #[test]
    fn what_is_too_long_or_upside_down_is_refused() {
        let long = bucket_starts(
            at("2020-01-01T00:00:00Z"),
            at("2026-01-01T00:00:00Z"),
            Bucket::Hour,
            "UTC",
        );
        assert_eq!(long.unwrap_err().code(), Code::InvalidParameter);
        let days = bucket_starts(
            at("2020-01-01T00:00:00Z"),
            at("2026-01-01T00:00:00Z"),
            Bucket::Day,
            "UTC",
        );
        assert_eq!(days.unwrap_err().code(), Code::InvalidParameter);
        let same = at("2026-01-01T00:00:00Z");
        assert!(bucket_starts(same, same, Bucket::Day, "UTC").is_err());
        let years = bucket_starts(
            at("2024-01-01T00:00:00Z"),
            at("2026-01-01T00:00:00Z"),
            Bucket::Day,
            "UTC",
        );
        assert_eq!(years.unwrap().len(), 731);
    }
}
