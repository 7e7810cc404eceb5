//! Stores outcomes: all that have come together while the append before was under way share the
//! next one. Tries until the log takes them, for an outcome that is lost makes a doubt of a
//! message that was sent.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Event, Shared, call::Ended};
use crate::{
    command::outbox::Settled, domain::ids::Position, event_log::AppendError,
    runtime::backoff::Backoff,
};

/// Outcomes in one append.
const GROUP_MAX: usize = 256;
/// Outcomes that may wait to be stored; calls that end beyond wait with theirs. There are never
/// more than messages under way.
pub(super) const WAITING_MAX: usize = 1024;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(5);

/// An outcome, and the call that it is of; a doubt about another's claim is of none.
pub(super) struct ToSettle {
    pub settled: Settled,
    pub ended: Option<Ended>,
}

/// Runs until nobody can bring outcomes any more.
pub(super) async fn run(
    shared: std::sync::Arc<Shared>,
    mut waiting: mpsc::Receiver<ToSettle>,
    events: mpsc::Sender<Event>,
) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
        let (settled, ended): (Vec<_>, Vec<_>) =
            group.drain(..).map(|to_settle| (to_settle.settled, to_settle.ended)).unzip();
        let positions = store(&shared, &settled).await;
        let ended = ended.into_iter().zip(positions);
        let ended = ended.filter_map(|(ended, position)| Some((ended?, position))).collect();
        if events.send(Event::Settled(ended)).await.is_err() {
            // The engine has ended: what is stored is all that counts.
            continue;
        }
    }
}

/// Answers where each stands.
async fn store(shared: &Shared, settled: &[Settled]) -> Vec<Position> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
    loop {
        let error = match shared.commands.settle(settled).await {
            Ok(appended) => return appended.iter().map(|appended| appended.position).collect(),
            Err(error) => error,
        };
        if let AppendError::Rejected { reason } = &error {
            // None of our outcomes is that large; the messages stay claimed, and so in doubt.
            tracing::error!(reason, "outcomes can't be stored: the messages stay in doubt");
            return vec![Position::START; settled.len()];
        }
        let delay = backoff.next_delay();
        tracing::warn!(%error, ?delay, "outcomes can't be stored now: tries again");
        tokio::time::sleep(delay).await;
    }
}
