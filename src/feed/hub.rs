//! Where the projector's events meet those who follow: the rings of all tenants.
//!
//! Events come from the projector's thread through [`FeedSink`], which only puts them into rings;
//! sealing, waking and sweeping are the work of one task, the flusher, so that the projector never
//! waits for subscribers and a burst wakes each of them once.
//!
//! **Invariant:** a ring is created and a batch is taken in under one lock, so that a ring either
//! holds a batch's events or says by `covers_after` that it does not.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicIsize, AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    FeedSettings,
    catch_up::{self, Found},
    filter::Filter,
    frame::{Encoding, Frame},
    past::Past,
    ring::{Change, Ring},
    subscriber::{ResetReason, Subscriber},
};
use crate::{
    domain::ids::{ClientId, Position},
    metrics::{CONFLATED, RESETS, RING_BYTES},
    projection::{CommittedBatch, FeedSink, queries::QueryError},
    runtime::shutdown::Shutdown,
    wire::cursor::Cursor,
};

/// How often rings without subscribers are looked for, and quiet ones when memory is tight.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Subscribers of a ring that are woken before others have their turn.
const WOKEN_AT_ONCE: usize = 32;

/// An instance that stays behind a client's cursor for so long may be stuck: the client is sent
/// away, so that it can try another one.
pub const BEHIND_MAX: Duration = Duration::from_secs(30);

/// Where a subscriber starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next event that this instance takes in.
    Live,
    /// After this place. One that this instance has not come to yet is waited for; one that the
    /// log has not come to is unknown.
    After(Cursor),
}

/// The rings of all tenants. One per process.
pub struct Hub {
    pub(super) past: Arc<dyn Past>,
    pub(super) settings: FeedSettings,
    pub(super) epoch: Arc<str>,
    metrics: HubMetrics,
    rings: Mutex<HashMap<ClientId, Arc<Ring>>>,
    /// All events up to here are in the rings. Written under the lock of `rings`.
    position: AtomicU64,
    /// Told whenever `position` has moved.
    moved: Notify,
    /// JSON bytes in all rings.
    bytes: AtomicIsize,
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    due_changed: Notify,
}

/// A ring to be sealed. Each ring is queued at most once.
struct Due {
    at: Instant,
    ring: Arc<Ring>,
}

/// Handles looked up once.
struct HubMetrics {
    conflated: metrics::Counter,
    ring_bytes: metrics::Gauge,
    unknown_cursor: metrics::Counter,
    expired_cursor: metrics::Counter,
    too_far_behind: metrics::Counter,
}

impl Hub {
    /// Made before the projector starts, so that no batch is missed. The flusher runs as a task
    /// of `shutdown` until `stopping`.
    pub fn start(past: Arc<dyn Past>, settings: FeedSettings, shutdown: &Shutdown) -> Arc<Self> {
        let hub = Arc::new(Self {
            epoch: past.epoch().into(),
            position: AtomicU64::new(past.projected().0),
            moved: Notify::new(),
            past,
            settings,
            metrics: HubMetrics::new(),
            rings: Mutex::default(),
            bytes: AtomicIsize::new(0),
            due: Mutex::default(),
            due_changed: Notify::new(),
        });
        let stopping = shutdown.stopping.clone();
        let flusher = hub.clone();
        shutdown.spawn(async move { stopping.run_until_cancelled(flusher.flush()).await });
        hub
    }

    /// Follows a tenant's feed.
    pub fn subscribe(
        self: &Arc<Self>,
        client: ClientId,
        start: Start,
        filter: Filter,
        encoding: Encoding,
    ) -> Subscriber {
        let (ring, live) = {
            let mut rings = self.rings.lock();
            let live = Cursor::end_of(self.position());
            let ring = rings
                .entry(client)
                .or_insert_with(|| Arc::new(Ring::new(client, live, Instant::now())));
            ring.enter();
            (ring.clone(), live)
        };
        let at = match start {
            Start::Live => live,
            Start::After(cursor) => cursor,
        };
        Subscriber::new(self.clone(), ring, at, filter, encoding)
    }

    /// All events up to here were taken in.
    pub fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    /// The place behind all that this instance has.
    pub fn head(&self) -> Cursor {
        Cursor::end_of(self.position())
    }

    /// Waits until all events up to `position` were taken in. A commit is told right after the
    /// read model has it, so who has read the read model waits for a moment only.
    pub async fn reached(&self, position: Position) {
        loop {
            // Made before the look, so that no word comes between the two.
            let moved = self.moved.notified();
            if self.position() >= position {
                return;
            }
            moved.await;
        }
    }

    /// The store's epoch, for writing cursors.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Tenants that have a ring.
    pub fn rings(&self) -> usize {
        self.rings.lock().len()
    }

    /// JSON bytes in all rings.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> isize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the log has come to this cursor.
    pub async fn is_known(self: &Arc<Self>, cursor: Cursor) -> Result<bool, QueryError> {
        if cursor <= self.head() {
            return Ok(true);
        }
        match catch_up::known(self.clone(), cursor).await {
            Found::Unavailable => Err(QueryError::Overloaded),
            found => Ok(matches!(found, Found::Known)),
        }
    }

    /// Counts that a subscriber was told to reload.
    pub fn count_reset(&self, reason: ResetReason) {
        let counter = match reason {
            ResetReason::UnknownCursor => &self.metrics.unknown_cursor,
            ResetReason::ExpiredCursor => &self.metrics.expired_cursor,
            ResetReason::TooFarBehind => &self.metrics.too_far_behind,
        };
        counter.increment(1);
    }

    /// Whether the rings hold more than all of them may.
    fn tight(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.settings.rings_bytes_max as isize
    }

    fn account(&self, change: Change) {
        self.bytes.fetch_add(change.bytes, Ordering::Relaxed);
        if change.conflated > 0 {
            self.metrics.conflated.increment(change.conflated as u64);
        }
    }

    /// Seals rings when they are due, wakes who waits at them, drops those that nobody follows,
    /// and trims quiet ones when all of them together hold too much.
    ///
    /// A ring's subscribers are woken a few at a time, in turn with other rings': waking a
    /// thousand at once would put whatever else is to be done, requests and other tenants' events
    /// among it, behind a thousand writes.
    async fn flush(self: Arc<Self>) {
        let mut to_wake: VecDeque<Vec<Waker>> = VecDeque::new();
        let mut next_sweep = Instant::now() + SWEEP_INTERVAL;
        loop {
            let next_due = self.seal_due(&mut to_wake);
            if let Some(mut wakers) = to_wake.pop_front() {
                let rest = wakers.len().saturating_sub(WOKEN_AT_ONCE);
                wakers.drain(rest..).for_each(Waker::wake);
                if !wakers.is_empty() {
                    to_wake.push_back(wakers);
                }
                tokio::task::yield_now().await;
                continue;
            }
            self.metrics.ring_bytes.set(self.bytes.load(Ordering::Relaxed) as f64);
            let wake_at = next_due.map_or(next_sweep, |due| due.min(next_sweep));
            tokio::select! {
                () = self.due_changed.notified() => {}
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= next_sweep {
                self.sweep();
                next_sweep = Instant::now() + SWEEP_INTERVAL;
            }
        }
    }

    /// Seals what is due now and adds who is to be woken. Answers when the next ring is due.
    fn seal_due(&self, to_wake: &mut VecDeque<Vec<Waker>>) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let ring = {
                let mut due = self.due.lock();
                match due.peek() {
                    Some(Reverse(next)) if next.at <= now => due.pop()?.0.ring,
                    Some(Reverse(next)) => return Some(next.at),
                    None => return None,
                }
            };
            let mut wakers = Vec::new();
            self.account(ring.seal(now, &self.settings, self.tight(), &mut wakers));
            if !wakers.is_empty() {
                to_wake.push_back(wakers);
            }
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        let idle = self.settings.ring_idle();
        self.rings.lock().retain(|_, ring| {
            let keep = ring.idle_since().is_none_or(|since| now.duration_since(since) < idle);
            if !keep {
                self.account(ring.empty());
            }
            keep
        });
        if self.tight() {
            self.trim_quiet_rings(now);
        }
    }

    /// Makes room for busy tenants: takes all but the newest segment from rings that were quiet
    /// for a while, those longest quiet first. Who follows them at speed has passed those
    /// segments; who comes late reads the table.
    fn trim_quiet_rings(&self, now: Instant) {
        let rings: Vec<_> = self.rings.lock().values().cloned().collect();
        let mut quiet: Vec<_> = rings
            .into_iter()
            .filter_map(|ring| Some((ring.sealed_at()?, ring)))
            .filter(|(since, _)| now.duration_since(*since) >= SWEEP_INTERVAL)
            .collect();
        quiet.sort_unstable_by_key(|(since, _)| *since);
        for (_, ring) in quiet {
            if !self.tight() {
                return;
            }
            self.account(ring.trim());
        }
    }
}

impl FeedSink for Hub {
    fn committed(&self, batch: &CommittedBatch) {
        let now = Instant::now();
        let mut newly_due = Vec::new();
        {
            let rings = self.rings.lock();
            let tight = self.tight();
            for (client, _) in &batch.erased {
                // The batch itself is free of it, and what came before is in the table.
                if let Some(ring) = rings.get(client) {
                    self.account(ring.forget(self.head()));
                }
            }
            for event in &batch.frames {
                let Some(ring) = rings.get(&event.client_id) else { continue };
                let frame = Arc::new(Frame::new(event.clone()));
                let (change, due_at) = ring.put(frame, now, &self.settings, tight);
                self.account(change);
                if let Some(at) = due_at {
                    newly_due.push(Reverse(Due { at, ring: ring.clone() }));
                }
            }
            self.position.store(batch.position.0, Ordering::Release);
        }
        self.moved.notify_waiters();
        if !newly_due.is_empty() {
            self.due.lock().extend(newly_due);
            self.due_changed.notify_one();
        }
    }
}

impl HubMetrics {
    fn new() -> Self {
        Self {
            conflated: metrics::counter!(CONFLATED),
            ring_bytes: metrics::gauge!(RING_BYTES),
            unknown_cursor: metrics::counter!(RESETS, "reason" => "unknown_cursor"),
            expired_cursor: metrics::counter!(RESETS, "reason" => "expired_cursor"),
            too_far_behind: metrics::counter!(RESETS, "reason" => "too_far_behind"),
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
