//! From the read model to the lanes: what waited before the start, what did not fit in memory,
//! and claims that have no outcome.
//!
//! A lane that has more in the read model than in memory takes nothing from the log (it would
//! overtake). It is filled in two steps: pages until the end is reached, then, while it takes from
//! the log again, what was queued in between, which is put before what the log brought.
//!
//! **Invariant:** what is loaded is read in its stream before it is claimed, for what was said of
//! it between the page and now is not known here.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Event, Shared,
    engine::Engine,
    lane::{Class, Waiting},
    settle::ToSettle,
};
use crate::{
    command::outbox::{Outcome, Settled},
    domain::{
        ids::{ClientId, ConversationId, MessageId, Position},
        message::{MessageStatus, ProviderError},
    },
    projection::{outbox_rows::QueuedRow, queries::QueryError},
};

/// Rows that one query answers.
const PAGE_ROWS: usize = 5000;

/// What was read of a tenant's queued messages.
pub(super) struct Loaded {
    pub client: ClientId,
    pub rows: Vec<QueuedRow>,
    /// There are no more behind these.
    pub complete: bool,
    /// The second step.
    pub gap: bool,
    /// It could not be read; what there is of it counts.
    pub failed: bool,
}

impl Engine {
    /// Begins to fill a lane that has more in the read model, if there is room for it.
    pub(super) fn load_more(&mut self, client: ClientId) {
        let room = self.shared.settings.waiting_max.saturating_sub(self.waiting);
        let Some(line) = self.lines.get_mut(&client) else { return };
        let is_low = line.lane.len() < self.shared.settings.waiting_max / 2;
        if !line.lane.overflowed || line.loading || !is_low || room == 0 {
            return;
        }
        line.loading = true;
        let after = line.loaded_row;
        self.load(client, after, room, false);
    }

    fn load(&mut self, client: ClientId, after: i64, room: usize, gap: bool) {
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        let seen = self.seen;
        self.chores.spawn(async move {
            let loaded = load(&shared, client, after, room, gap.then_some(seen)).await;
            let _ = events.send(Event::Loaded(loaded)).await;
        });
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let now = Instant::now();
        let Loaded { client, rows, complete, gap, failed } = loaded;
        let first = !self.lines.get(&client).is_some_and(|line| line.loaded_once);
        let orphans = first && self.shared.membership.alone();
        let due = if orphans { now } else { now + self.shared.settings.doubt_after() };
        let Some(line) = self.lines.get_mut(&client) else { return };
        if gap && !complete {
            // More came in between than fits: what the log brought would overtake it.
            line.lane.forget_generation(line.lane.generation);
            line.lane.overflowed = true;
        }
        let generation = line.lane.generation.saturating_sub(u32::from(gap));
        for row in rows {
            line.loaded_row = line.loaded_row.max(row.row);
            if row.send_started {
                if !row.in_doubt && !line.lane.knows(row.message) {
                    line.claims.add(row.conversation, row.message, due);
                }
                continue;
            }
            let waiting = Waiting {
                message: row.message,
                class: Class::of(row.bulk_id),
                followed: false,
                queued_at: Position::START,
                attempts: 0,
                generation,
            };
            line.lane.add(row.conversation, waiting, now);
        }
        line.loading = false;
        if complete && !gap && !failed {
            line.lane.overflowed = false;
            line.lane.generation += 1;
            line.loading = true;
            let after = line.loaded_row;
            self.load(client, after, PAGE_ROWS, true);
        } else if gap && complete {
            line.loaded_once = true;
            self.look_for_doubts(client, now);
        }
        self.count();
        self.pump(client);
    }

    /// Says of claims that are silent for too long that they are in doubt, if they still are.
    pub(super) fn look_for_doubts(&mut self, client: ClientId, now: Instant) {
        if !self.live || !self.is_ours(client) {
            return;
        }
        let Some(line) = self.lines.get_mut(&client) else { return };
        let due = line.claims.take_due(now);
        if due.is_empty() {
            return;
        }
        let (shared, to_settle) = (Arc::clone(&self.shared), self.to_settle.clone());
        self.chores.spawn(async move {
            for (conversation, message) in still_claimed(&shared, client, due).await {
                let settled = Settled { client, conversation, message, outcome: Outcome::Doubted };
                let _ = to_settle.send(ToSettle { settled, ended: None }).await;
            }
        });
    }

    /// Says that the provider refuses the number, as long as that is so.
    pub(super) fn tell_refused(&mut self, client: ClientId, error: ProviderError) {
        let shared = Arc::clone(&self.shared);
        self.chores.spawn(async move {
            if let Err(told) = shared.commands.number_refused(client, &error).await {
                tracing::error!(error = %told, %client, "can't say that a number is refused");
            }
        });
    }

    pub(super) fn tell_taken(&mut self, client: ClientId) {
        let shared = Arc::clone(&self.shared);
        self.chores.spawn(async move {
            if let Err(told) = shared.commands.number_taken(client).await {
                tracing::error!(error = %told, %client, "can't say that a number is taken again");
            }
        });
    }
}

/// Reads pages until the end, or until there are as many as there is room for. With `from`, waits
/// until the read model has all up to there.
async fn load(
    shared: &Shared,
    client: ClientId,
    after: i64,
    room: usize,
    from: Option<Position>,
) -> Loaded {
    let gap = from.is_some();
    let mut loaded = Loaded { client, rows: Vec::new(), complete: false, gap, failed: false };
    if let Some(from) = from {
        let mut projected = shared.view.projected();
        if projected.wait_for(|projected| *projected >= from).await.is_err() {
            loaded.failed = true;
            return loaded;
        }
    }
    let mut after = after;
    while loaded.rows.len() < room {
        match shared.view.queued(client, after, PAGE_ROWS).await {
            Ok(page) => {
                let is_last = page.len() < PAGE_ROWS;
                after = page.last().map_or(after, |row| row.row);
                loaded.rows.extend(page);
                if is_last {
                    loaded.complete = true;
                    break;
                }
            }
            Err(error) => {
                say_unreadable(&error);
                loaded.failed = true;
                break;
            }
        }
    }
    loaded
}

/// Those of whom the read model knows no outcome either.
async fn still_claimed(
    shared: &Shared,
    client: ClientId,
    due: Vec<(ConversationId, MessageId)>,
) -> Vec<(ConversationId, MessageId)> {
    let ids = due.iter().map(|(_, message)| *message).collect();
    let found = match shared.view.to_send(client, ids).await {
        Ok(found) => found,
        Err(error) => {
            say_unreadable(&error);
            return Vec::new();
        }
    };
    let in_doubt = found.iter().flatten().map(|found| &found.message).filter(|message| {
        message.status == MessageStatus::Queued && message.send_started && message.error.is_none()
    });
    in_doubt.map(|message| (message.conversation_id, message.id)).collect()
}

fn say_unreadable(error: &QueryError) {
    tracing::warn!(%error, "the outbox can't read the read model: tries again");
}
