//! Reading the stored feed: see [`super::feed_table`] for what is in it.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    PublicFrame,
    queries::FeedPage,
    stored::{cursor_of, feed_row},
};
use crate::{
    domain::{
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    wire::{cursor::Cursor, event_type::EventType},
};

/// How far apart the clocks of two instances may be for a time to be found exactly.
const CLOCK_SKEW_MS: i64 = 10_000;

/// Both tables give their rows in feed order, so SQLite merges them without sorting.
pub(super) const PAGE_SQL: &str = "\
    SELECT row, type, conversation, taken_in_at, json, NULL FROM feed WHERE client = ?1 AND row > ?2 \
    UNION ALL \
    SELECT row, type, conversation, taken_in_at, json, key FROM feed_state \
    WHERE client = ?1 AND row > ?2 \
    ORDER BY row LIMIT ?3";

/// Facts and state events after `after`, merged into feed order.
pub(super) fn page(
    connection: &Connection,
    client: ClientId,
    after: Cursor,
    limit: usize,
) -> rusqlite::Result<FeedPage> {
    let head = Cursor::end_of(projected(connection)?);
    let limit = limit.max(1);
    let mut select = connection.prepare_cached(PAGE_SQL)?;
    let sql_limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let frames: Vec<PublicFrame> = select
        .query_map(params![client.0, feed_row(after), sql_limit], |row| read_frame(client, row))?
        .collect::<rusqlite::Result<_>>()?;
    let at_head = frames.len() < limit;
    let scanned_to = match frames.last() {
        Some(last) if !at_head => last.cursor,
        // A cursor from beyond what is projected stays: going back would repeat.
        _ => head.max(after),
    };
    Ok(FeedPage { frames, scanned_to, at_head })
}

fn read_frame(client: ClientId, row: &Row<'_>) -> rusqlite::Result<PublicFrame> {
    let number: u8 = row.get(1)?;
    let event_type = EventType::ALL
        .into_iter()
        .find(|&event_type| event_type as u8 == number)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, number.into()))?;
    let conversation_id = row.get::<_, Option<u32>>(2)?.map(ConversationId);
    let key = match row.get::<_, Option<i64>>(5)? {
        Some(key) => key.cast_unsigned(),
        None if event_type.is_state() => conversation_id.map_or(0, |id| id.0.into()),
        None => 0,
    };
    Ok(PublicFrame {
        client_id: client,
        cursor: cursor_of(row.get(0)?),
        event_type,
        key,
        conversation_id,
        json: Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?),
        taken_in_at: row.get(3)?,
    })
}

/// How many rows lie after `after`, counted up to `at_most`.
pub(super) fn backlog(
    connection: &Connection,
    client: ClientId,
    after: Cursor,
    at_most: u64,
) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM feed WHERE client = ?1 AND row > ?2 \
             UNION ALL SELECT 1 FROM feed_state WHERE client = ?1 AND row > ?2 LIMIT ?3)",
        )?
        .query_row(
            params![client.0, feed_row(after), i64::try_from(at_most).unwrap_or(i64::MAX)],
            |row| row.get(0),
        )?;
    Ok(count as u64)
}

pub(super) fn floor(connection: &Connection, client: ClientId) -> rusqlite::Result<Cursor> {
    let row: Option<i64> = connection
        .prepare_cached("SELECT floor_feed_row FROM tenant WHERE client = ?1")?
        .query_row([client.0], |row| row.get(0))
        .optional()?;
    Ok(row.map_or(Cursor::START, cursor_of))
}

/// The cursor before the first event that was taken in at or after `time`.
pub(super) fn at(
    connection: &Connection,
    client: ClientId,
    time: Timestamp,
) -> rusqlite::Result<Cursor> {
    let floor = floor(connection, client)?;
    let fact = first_fact_since(connection, client, time)?;
    let state = connection
        .prepare_cached(
            "SELECT min(row) FROM feed_state WHERE client = ?1 AND row > ?2 AND taken_in_at >= ?3",
        )?
        .query_row(params![client.0, feed_row(floor), time], |row| row.get::<_, Option<i64>>(0))?;
    let first = [fact, state].into_iter().flatten().min();
    let cursor = match first {
        Some(row) => cursor_of(row - 1),
        None => Cursor::end_of(projected(connection)?),
    };
    Ok(cursor.max(floor))
}

/// Searches by halves, since times grow along the feed but for the difference of the instances'
/// clocks; then forward over what that difference may have put out of order.
fn first_fact_since(
    connection: &Connection,
    client: ClientId,
    time: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let mut next = connection.prepare_cached(
        "SELECT row, taken_in_at FROM feed WHERE client = ?1 AND row >= ?2 ORDER BY row LIMIT 1",
    )?;
    let surely_before = time.plus_ms(-CLOCK_SKEW_MS);
    let (mut low, mut high) = (0, feed_row(Cursor::end_of(projected(connection)?)));
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, Timestamp)> =
            next.query_row((client.0, middle), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((row, taken_in_at)) if taken_in_at < surely_before => low = row + 1,
            _ => high = middle,
        }
    }
    connection
        .prepare_cached(
            "SELECT row FROM feed WHERE client = ?1 AND row >= ?2 AND taken_in_at >= ?3 \
             ORDER BY row LIMIT 1",
        )?
        .query_row(params![client.0, low, time], |row| row.get(0))
        .optional()
}

/// All up to here is in the read model, as of the transaction that reads.
pub(super) fn projected(connection: &Connection) -> rusqlite::Result<Position> {
    let checkpoint: i64 = connection
        .prepare_cached("SELECT checkpoint FROM meta")?
        .query_row([], |row| row.get(0))?;
    Ok(Position(checkpoint as u64))
}
