//! Forgets the answers under idempotency keys a day after they were given.
//!
//! A reconciler: it asks the read model which answers are old and has `command` delete them from
//! the log, a few at a time, so that nothing else waits for it. Restarts, several instances and
//! answers that are gone already do no harm.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    command::Commands,
    runtime::{backoff::Backoff, shutdown::Shutdown},
};

/// Between two looks when nothing is left: an answer outlives its day by this at most.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Between two parts of what is left.
const PART_PAUSE: Duration = Duration::from_secs(1);
/// Between attempts while the log can't delete.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Forgets old answers until the instance stops.
pub fn forget(commands: Arc<Commands>, shutdown: &Shutdown) {
    let stopping = shutdown.draining.clone();
    shutdown.spawn(async move {
        stopping.run_until_cancelled(look_again_and_again(commands)).await;
    });
}

async fn look_again_and_again(commands: Arc<Commands>) {
    let mut backoff = Backoff::new(RETRY_FIRST, LOOK_EVERY);
    loop {
        let pause = match commands.forget_answers().await {
            Ok(more) => {
                backoff.reset();
                if more { PART_PAUSE } else { LOOK_EVERY }
            }
            Err(error) => {
                warn!(%error, "could not forget old answers; trying again");
                backoff.next_delay()
            }
        };
        tokio::time::sleep(pause).await;
    }
}
