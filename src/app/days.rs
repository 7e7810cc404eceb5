//! Turns the page of every tenant's calendar: `day_started`, at start and at local midnight.
//!
//! A reconciler: it asks for every tenant which day it is and has `command` start it, which does
//! nothing where it has begun already. So restarts, several instances, clocks that jump and tenants
//! that are set up anew do no harm.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    command::Commands,
    domain::{day::local_day, ids::ClientId, time::Timestamp},
    runtime::{backoff::Backoff, clock::Clock, shutdown::Shutdown},
};

/// The longest sleep: a clock that was set, a machine that slept, or a tenant that is new or in
/// another time zone is noticed within it.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// Between attempts while the log can't store events.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// A tenant's calendar: its id and the name of its time zone (IANA).
pub type Calendar = (ClientId, String);

/// Keeps the tenants' days until the instance stops.
pub fn keep(
    calendars: impl Fn() -> Vec<Calendar> + Send + Sync + 'static,
    commands: Arc<Commands>,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) {
    let stopping = shutdown.draining.clone();
    shutdown.spawn(async move {
        stopping.run_until_cancelled(turn_pages(calendars, commands, clock)).await;
    });
}

async fn turn_pages(
    calendars: impl Fn() -> Vec<Calendar>,
    commands: Arc<Commands>,
    clock: Arc<dyn Clock>,
) {
    let mut backoff = Backoff::new(RETRY_FIRST, SLEEP_MAX);
    loop {
        let now = clock.now();
        let mut next = now.plus_ms(SLEEP_MAX.as_millis() as i64);
        let mut failed = false;
        for (client, time_zone) in &calendars() {
            match start_today(*client, time_zone, now, &commands).await {
                Ok(ends_at) => next = next.min(ends_at),
                Err(reason) => {
                    warn!(%client, %reason, "could not start the tenant's day; trying again");
                    failed = true;
                }
            }
        }
        let pause = if failed {
            backoff.next_delay()
        } else {
            backoff.reset();
            Duration::from_millis(u64::try_from(next.since(now)).unwrap_or(0).max(1))
        };
        tokio::time::sleep(pause).await;
    }
}

/// Starts the tenant's day; answers when it ends.
async fn start_today(
    client: ClientId,
    time_zone: &str,
    now: Timestamp,
    commands: &Commands,
) -> Result<Timestamp, String> {
    let today = local_day(now, time_zone).map_err(|unknown| unknown.to_string())?;
    commands
        .start_day(client, today.date, time_zone.to_owned())
        .await
        .map_err(|error| error.to_string())?;
    Ok(today.ends_at)
}
