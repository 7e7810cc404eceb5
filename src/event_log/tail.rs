//! Following a log: the past from where it is stored, the present from memory, no seam between.
//!
//! A backend tells of each commit through a [`Head`] after the commit is visible, and answers two
//! questions: what is in memory after a position, and what is stored after it. Everything else,
//! the hand-over above all, is here once.
//!
//! **Invariant:** what memory holds is without gaps from its floor to its newest record. So a
//! follower that stands at or after the floor misses nothing by going on from memory, and one that
//! stands before it reads from the store first.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{LogError, Record, TAIL_BATCH_MAX, Tail};
use crate::domain::ids::Position;

/// Where the log ends, and whether it was closed. Changing it wakes all followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub position: Position,
    pub closed: bool,
}

/// What memory has after a position.
pub(super) enum Recent {
    /// All that there is, up to the batch size; empty at the end of the log.
    Records(Vec<Record>),
    /// The position lies before `floor`: read from the store.
    Before { floor: Position },
}

/// What a backend brings to be followed.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    fn head(&self) -> watch::Receiver<Head>;
    fn recent(&self, after: Position, limit: usize) -> Recent;
    async fn stored(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError>;
}

/// Follows `source` from after `after`, as [`super::EventLog::tail`] promises.
pub(super) fn follow(
    source: Arc<dyn Source>,
    after: Position,
) -> BoxStream<'static, Result<Tail, LogError>> {
    let head = source.head();
    let follower = Follower { source, head, after, behind: true };
    stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(tail) => Some((Ok(tail), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Follower {
    source: Arc<dyn Source>,
    head: watch::Receiver<Head>,
    after: Position,
    /// There was a backlog since `CaughtUp` was last said.
    behind: bool,
}

impl Follower {
    async fn next(&mut self) -> Result<Tail, LogError> {
        loop {
            // Seen before looking, so that a commit after the look wakes the wait below.
            let closed = self.head.borrow_and_update().closed;
            match self.source.recent(self.after, TAIL_BATCH_MAX) {
                Recent::Records(records) if !records.is_empty() => return Ok(self.pass(records)),
                Recent::Before { floor } => {
                    let records = self.source.stored(self.after, TAIL_BATCH_MAX).await?;
                    self.behind = true;
                    if !records.is_empty() {
                        return Ok(self.pass(records));
                    }
                    // All between here and the floor was deleted.
                    self.after = self.after.max(floor);
                    continue;
                }
                Recent::Records(_) => {}
            }
            if self.behind {
                self.behind = false;
                return Ok(Tail::CaughtUp);
            }
            if closed || self.head.changed().await.is_err() {
                return Err(closed_error());
            }
        }
    }

    fn pass(&mut self, records: Vec<Record>) -> Tail {
        self.behind |= records.len() >= TAIL_BATCH_MAX;
        if let Some(last) = records.last() {
            self.after = last.position;
        }
        Tail::Records(records.into())
    }
}

pub(super) fn closed_error() -> LogError {
    LogError::Unavailable { reason: "the event log was closed".to_owned() }
}

/// The newest records of a log, decoded, up to two bounds; the oldest leave first.
pub(super) struct Ring {
    inner: Mutex<Inner>,
    records_max: usize,
    bytes_max: usize,
}

struct Inner {
    records: VecDeque<(Record, usize)>,
    bytes: usize,
    /// All records after this position are in `records`.
    floor: Position,
}

impl Ring {
    /// Empty, for a log whose newest position is `head`.
    pub(super) fn new(head: Position, records_max: usize, bytes_max: usize) -> Self {
        let inner = Inner { records: VecDeque::new(), bytes: 0, floor: head };
        Self { inner: Mutex::new(inner), records_max, bytes_max }
    }

    /// Adds what was committed, in order, each with its stored size.
    pub(super) fn push(&self, committed: impl Iterator<Item = (Record, usize)>) {
        let mut inner = self.inner.lock();
        for (record, size) in committed {
            inner.bytes += size;
            inner.records.push_back((record, size));
            while inner.records.len() > self.records_max || inner.bytes > self.bytes_max {
                let Some((oldest, size)) = inner.records.pop_front() else { break };
                inner.bytes -= size;
                inner.floor = oldest.position;
            }
        }
    }

    /// Forgets the records of a deleted stream.
    pub(super) fn remove(&self, stream: &super::StreamName) {
        let mut inner = self.inner.lock();
        inner.records.retain(|(record, _)| record.stream != *stream);
        inner.bytes = inner.records.iter().map(|(_, size)| size).sum();
    }

    pub(super) fn after(&self, after: Position, limit: usize) -> Recent {
        let inner = self.inner.lock();
        if after < inner.floor {
            return Recent::Before { floor: inner.floor };
        }
        let start = inner.records.partition_point(|(record, _)| record.position <= after);
        let records = inner.records.range(start..).take(limit);
        Recent::Records(records.map(|(record, _)| record.clone()).collect())
    }
}
