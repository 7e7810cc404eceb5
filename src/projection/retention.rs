//! Takes facts out of the feed table when they are older than the retention.
//!
//! From the oldest on, a bounded number at a time, so that the projector never stands still for
//! it; it calls again until all is done. A tenant's floor moves with the last fact that it lost:
//! a tenant in which nothing happens keeps its feed, and its cursors, for as long as it likes.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::{settings::ProjectionSettings, state::FoldState};
use crate::domain::{ids::ClientId, time::Timestamp};

/// Rows that one step takes away at most: some milliseconds.
pub(super) const STEP_ROWS: i64 = 2000;

/// Facts from before are not kept.
pub(super) fn keep_since(settings: &ProjectionSettings, now: Timestamp) -> Timestamp {
    let kept_ms = i64::try_from(settings.feed_retention_s.saturating_mul(1000)).unwrap_or(i64::MAX);
    now.plus_ms(kept_ms.saturating_neg())
}

/// Whether there is a fact to be taken away.
pub(super) fn is_due(connection: &Connection, keep_since: Timestamp) -> rusqlite::Result<bool> {
    let oldest: Option<Timestamp> = connection
        .prepare_cached("SELECT taken_in_at FROM feed ORDER BY row LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(oldest.is_some_and(|oldest| oldest < keep_since))
}

/// Takes up to [`STEP_ROWS`] facts away, within the transaction that is open, and says how many.
///
/// It ends at the first fact that is to be kept: the clocks of instances differ a little, and
/// what lies behind that fact in the feed goes later, with it.
pub(super) fn step(state: &mut FoldState, keep_since: Timestamp) -> rusqlite::Result<i64> {
    let mut removed = 0;
    let mut last_row = None;
    let mut floors: HashMap<ClientId, i64> = HashMap::new();
    {
        let mut oldest = state
            .connection
            .prepare_cached("SELECT row, client, taken_in_at FROM feed ORDER BY row LIMIT ?1")?;
        let mut rows = oldest.query([STEP_ROWS])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, Timestamp>(2)? >= keep_since {
                break;
            }
            let number: i64 = row.get(0)?;
            floors.insert(ClientId(row.get(1)?), number);
            last_row = Some(number);
            removed += 1;
        }
    }
    let Some(last_row) = last_row else { return Ok(0) };
    state.connection.prepare_cached("DELETE FROM feed WHERE row <= ?1")?.execute([last_row])?;
    for (client, floor) in floors {
        if let Some(tenant) = state.stored_tenant(client) {
            tenant.floor = tenant.floor.max(floor);
            tenant.touched = true;
        }
    }
    Ok(removed)
}
