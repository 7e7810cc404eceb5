//! What a subscriber looks up when the ring can't answer: a page of the feed table, with the
//! checks that decide between going on and `reset`, and whether a cursor is of this log at all.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{
    hub::{BEHIND_MAX, Hub},
    subscriber::ResetReason,
};
use crate::{
    domain::ids::{ClientId, Position},
    projection::queries::{FeedPage, QueryError},
    runtime::backoff::Backoff,
    wire::cursor::Cursor,
};

/// For so long a look-up that fails is tried again before the subscriber is told.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_CEILING: Duration = Duration::from_secs(2);

/// A cursor beyond the log's head is asked for again so long before it is called unknown: a
/// replica of the log that we ask may be behind the one that another instance read.
const HEAD_WAIT: Duration = Duration::from_secs(2);

/// A domain event publishes at most about this many events, where positions count events: with
/// fewer positions than that between a cursor and the head, the backlog needs no counting.
const EVENTS_PER_POSITION: u64 = 8;

/// What was found.
pub(super) enum Found {
    Page(FeedPage),
    /// The cursor is of this log.
    Known,
    Reset(ResetReason),
    /// Nothing, for [`RETRY_FOR`] or [`BEHIND_MAX`].
    Unavailable,
}

/// Reads what lies after `at`. `checked`: the backlog was counted already in this catch-up.
pub(super) async fn page(
    hub: Arc<Hub>,
    client: ClientId,
    at: Cursor,
    limit: usize,
    checked: bool,
) -> Found {
    let mut retry = Retry::new();
    loop {
        match try_page(&hub, client, at, limit, checked).await {
            Ok(found) => return found,
            Err(error) => {
                if !retry.wait(&error).await {
                    return Found::Unavailable;
                }
            }
        }
    }
}

async fn try_page(
    hub: &Hub,
    client: ClientId,
    at: Cursor,
    limit: usize,
    checked: bool,
) -> Result<Found, QueryError> {
    if !checked {
        // First of all, so that nobody is led through a page of what has expired.
        if at < hub.past.floor(client).await? {
            return Ok(Found::Reset(ResetReason::ExpiredCursor));
        }
        let backlog_max = hub.settings.backlog_events_max;
        let positions = hub.position().0.saturating_sub(at.position.0);
        if positions.saturating_mul(EVENTS_PER_POSITION) > backlog_max {
            let counted = hub.past.backlog(client, at, backlog_max.saturating_add(1)).await?;
            if counted > backlog_max {
                return Ok(Found::Reset(ResetReason::TooFarBehind));
            }
        }
    }
    let page = hub.past.page(client, at, limit).await?;
    // After the page: the floor rises before or while rows are deleted, so a page read from above
    // the floor as it is now has no hole.
    if at < hub.past.floor(client).await? {
        return Ok(Found::Reset(ResetReason::ExpiredCursor));
    }
    Ok(Found::Page(page))
}

/// Finds out whether a cursor ahead of this instance is one that the log has come to.
pub(super) async fn known(hub: Arc<Hub>, at: Cursor) -> Found {
    let mut retry = Retry::new();
    let asked_since = Instant::now();
    loop {
        match hub.past.log_head().await {
            Ok(head) if at.position <= head => return Found::Known,
            Ok(_) if asked_since.elapsed() >= HEAD_WAIT => {
                return Found::Reset(ResetReason::UnknownCursor);
            }
            Ok(_) => sleep(retry.backoff.next_delay()).await,
            Err(error) => {
                if !retry.wait(&error).await {
                    return Found::Unavailable;
                }
            }
        }
    }
}

/// Waits until this instance has come as far as `position`, which the log has.
pub(super) async fn reached(hub: Arc<Hub>, position: Position) -> Found {
    match timeout(BEHIND_MAX, hub.reached(position)).await {
        Ok(()) => Found::Known,
        Err(_) => {
            let at = hub.position();
            warn!(%at, waited_for = %position, "this instance stays behind a subscriber's cursor");
            Found::Unavailable
        }
    }
}

struct Retry {
    since: Instant,
    backoff: Backoff,
}

impl Retry {
    fn new() -> Self {
        Self { since: Instant::now(), backoff: Backoff::new(RETRY_FIRST, RETRY_CEILING) }
    }

    /// Waits for the next attempt; `false` when there has been enough of them.
    async fn wait(&mut self, error: &(dyn std::error::Error + Sync)) -> bool {
        if self.since.elapsed() >= RETRY_FOR {
            warn!(%error, "a subscriber can't catch up: the feed can't be read");
            return false;
        }
        sleep(self.backoff.next_delay()).await;
        true
    }
}
