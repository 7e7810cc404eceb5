//! A session: one client following its tenant's feed, on a transport that the session does not
//! know.
//!
//! The transport asks [`Session::next`] what to do next and does it: write these bytes, say a
//! heartbeat in its own way, close. All that the contract says of every stream stands here:
//! `hello` first, the snapshot, `reset` (with the snapshot behind it, when one was asked for),
//! heartbeats, the token's expiry, `draining`.
//!
//! A snapshot that was asked for together with a cursor comes when the subscriber has got all
//! events up to the snapshot's cursor, so that the facts in between are not lost to it.
//!
//! **Invariant:** what `next` has not returned is not lost when its future is dropped.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use rand::RngExt;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    control,
    registry::{Connection, Ending},
    request::StreamRequest,
    sessions::Sessions,
};
use crate::{
    auth::Identity,
    domain::{ids::Position, time::Timestamp},
    feed::{
        filter::Filter,
        frame::{Encoding, control as encode_control},
        subscriber::{Batch, Budget, Next, ResetReason, Subscriber},
    },
    projection::queries::QueryError,
    wire::cursor::Cursor,
};

/// A token that lives longer than this is looked at again then.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The delivery lag of a session that keeps up is measured at most this often: it costs more than a delivery.
const LAG_SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// What the transport does next.
#[derive(Debug, Clone)]
pub enum Output {
    /// Write a control frame, ready in the session's encoding.
    Control(Bytes),
    /// Write events, and tell [`Session::written`] when that is done.
    Batch(Batch),
    /// Show that the connection lives. The cursor is where the client may resume from, past what
    /// its filter hid.
    Heartbeat { cursor: Cursor },
    /// Say goodbye.
    Close(Ending),
}

/// The snapshot that was asked for together with a cursor.
pub(super) enum FirstSnapshot {
    None,
    /// Due when the subscriber has got what lies before it.
    At(Cursor, Vec<u8>),
    /// To be taken when this instance has come to that position, where the client stands already.
    From(Position),
}

/// A snapshot on its way.
type Loading = Pin<Box<dyn Future<Output = Loaded> + Send>>;

/// One client's subscription. About half a KiB.
pub struct Session {
    sessions: Arc<Sessions>,
    connection: Connection,
    subscriber: Subscriber,
    encoding: Encoding,
    wants_snapshot: bool,
    /// Control frames to be written before anything else.
    pending: VecDeque<Bytes>,
    /// The snapshot that is due when the subscriber pauses.
    snapshot_pending: Option<(Cursor, Vec<u8>)>,
    /// A snapshot being loaded: after a reset, or the first one (`None`).
    loading: Option<(Option<ResetReason>, Loading)>,
    token_expires_at: Timestamp,
    expires: Instant,
    heartbeat_due: Instant,
    lag_due: Instant,
    /// Set when `draining` was said: when to close.
    close_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

type Loaded = Result<(Cursor, Vec<u8>), QueryError>;

impl Session {
    pub(super) fn new(
        sessions: Arc<Sessions>,
        connection: Connection,
        subscriber: Subscriber,
        identity: &Identity,
        request: &StreamRequest,
        frames: Vec<Vec<u8>>,
        first_snapshot: FirstSnapshot,
    ) -> Self {
        let now = Instant::now();
        let encoding = subscriber.encoding();
        let heartbeat = sessions.settings.heartbeat();
        let first_heartbeat = heartbeat.mul_f64(rand::rng().random_range(0.5..=1.0));
        let mut session = Self {
            encoding,
            wants_snapshot: request.snapshot,
            pending: VecDeque::new(),
            snapshot_pending: None,
            loading: None,
            token_expires_at: identity.expires_at,
            expires: now + lifetime(identity, sessions.clock.now()),
            heartbeat_due: now + first_heartbeat,
            lag_due: now,
            close_at: None,
            timer: Box::pin(sleep_until(now + first_heartbeat)),
            draining: Box::pin(sessions.shutdown.draining.clone().cancelled_owned()),
            sessions,
            connection,
            subscriber,
        };
        for frame in frames {
            session.push_with_cursor(&frame);
        }
        match first_snapshot {
            FirstSnapshot::None => {}
            FirstSnapshot::At(cursor, frame) => session.snapshot_pending = Some((cursor, frame)),
            FirstSnapshot::From(position) => {
                let (sessions, client) = (session.sessions.clone(), session.subscriber.client());
                let load = async move { sessions.snapshot_from(client, position).await };
                session.loading = Some((None, Box::pin(load)));
            }
        }
        session.arm_timer();
        session
    }

    /// What the transport does next. Cancel-safe.
    pub async fn next(&mut self) -> Output {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Poll::Ready(Output::Control(frame));
            }
            if let Some(output) = self.what_is_due(Instant::now()) {
                return Poll::Ready(output);
            }
            if let Poll::Ready(output) = self.poll_feed(cx) {
                match output {
                    Some(output) => return Poll::Ready(output),
                    None => continue,
                }
            }
            if self.close_at.is_none() && self.draining.as_mut().poll(cx).is_ready() {
                self.say_draining();
                continue;
            }
            ready!(self.timer.as_mut().poll(cx));
            self.arm_timer();
        }
    }

    /// What time has brought.
    fn what_is_due(&mut self, now: Instant) -> Option<Output> {
        if now >= self.expires {
            if self.token_expires_at <= self.sessions.clock.now() {
                return Some(self.close(Ending::TokenExpired));
            }
            let lifetime = lifetime_until(self.token_expires_at, self.sessions.clock.now());
            self.expires = now + lifetime;
            self.arm_timer();
        }
        match self.close_at {
            Some(at) if now >= at => return Some(self.close(Ending::Draining)),
            None if self.sessions.is_draining() => {
                self.say_draining();
                return self.pending.pop_front().map(Output::Control);
            }
            _ => {}
        }
        if now >= self.heartbeat_due {
            self.heartbeat_due = now + self.sessions.settings.heartbeat();
            self.arm_timer();
            return Some(Output::Heartbeat { cursor: self.subscriber.resume_cursor() });
        }
        None
    }

    /// What the feed has; `None` when something changed and is to be looked at anew.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        if let Some((reason, loading)) = &mut self.loading {
            let reason = *reason;
            let loaded = ready!(loading.as_mut().poll(cx));
            self.loading = None;
            return Poll::Ready(match loaded {
                Ok((cursor, snapshot)) => {
                    match reason {
                        Some(reason) => {
                            self.subscriber.seek(cursor);
                            let reset = self.sessions.reset(reason, cursor);
                            self.push_with_cursor(&reset);
                            self.push_with_cursor(&snapshot);
                        }
                        None => {
                            self.subscriber.pause_at(cursor);
                            self.snapshot_pending = Some((cursor, snapshot));
                        }
                    }
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "a session can't get its snapshot");
                    Some(self.close(Ending::Unavailable))
                }
            });
        }
        let budget = Budget::bytes(self.sessions.settings.write_bytes_max);
        Poll::Ready(match ready!(self.subscriber.poll_batch(cx, budget)) {
            Next::Batch(batch) => Some(Output::Batch(batch)),
            Next::Reset { reason, .. } if self.wants_snapshot => {
                let sessions = self.sessions.clone();
                let client = self.subscriber.client();
                self.snapshot_pending = None;
                let load = async move { sessions.snapshot(client).await };
                self.loading = Some((Some(reason), Box::pin(load)));
                None
            }
            Next::Reset { reason, cursor } => {
                let reset = self.sessions.reset(reason, cursor);
                self.push_with_cursor(&reset);
                None
            }
            Next::Paused => {
                if let Some((cursor, snapshot)) = self.snapshot_pending.take() {
                    self.subscriber.seek(cursor);
                    self.push_with_cursor(&snapshot);
                }
                None
            }
            Next::Unavailable => Some(self.close(Ending::Unavailable)),
        })
    }

    /// Counts what was written to the socket.
    pub fn written(&mut self, batch: &Batch) {
        let metrics = self.connection.metrics();
        metrics.deliveries.increment(u64::from(batch.events));
        metrics.bytes.increment(batch.bytes.iter().map(|bytes| bytes.len() as u64).sum());
        let now = Instant::now();
        if batch.live && now >= self.lag_due {
            self.lag_due = now + LAG_SAMPLE_INTERVAL;
            let lag_ms = self.sessions.clock.now().since(batch.oldest_taken_in).max(0);
            metrics.lag_seconds.record(lag_ms as f64 / 1_000.0);
        }
    }

    /// Goes on with a newer token of the same tenant; another tenant's is refused.
    pub fn renew(&mut self, identity: &Identity) -> bool {
        if identity.client_id != self.subscriber.client() {
            return false;
        }
        self.token_expires_at = identity.expires_at;
        self.expires = Instant::now() + lifetime(identity, self.sessions.clock.now());
        self.arm_timer();
        true
    }

    /// Replaces the filter.
    pub fn set_filter(&mut self, filter: Filter) {
        self.subscriber.set_filter(filter);
    }

    /// Says why the transport ends the session, for the metrics; without a word it was the client.
    pub fn ends(&mut self, ending: Ending) {
        self.connection.ends(ending);
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Where the client may resume from.
    pub fn cursor(&self) -> Cursor {
        self.subscriber.resume_cursor()
    }

    fn close(&mut self, ending: Ending) -> Output {
        self.connection.ends(ending);
        Output::Close(ending)
    }

    /// Puts a control frame in line that carries the cursor.
    fn push_with_cursor(&mut self, json: &[u8]) {
        let id = (self.subscriber.cursor(), self.sessions.hub.epoch());
        self.pending.push_back(encode_control(self.encoding, json, Some(id)));
    }

    fn say_draining(&mut self) {
        let spread = self.sessions.settings.drain_spread_ms;
        let reconnect_after_ms = rand::rng().random_range(0..=spread);
        self.close_at = Some(Instant::now() + Duration::from_millis(reconnect_after_ms));
        let frame = control::draining(reconnect_after_ms);
        self.pending.push_back(encode_control(self.encoding, &frame, None));
        self.arm_timer();
    }

    /// Sets the timer to what comes first. A heartbeat that is put off does not need it: the
    /// timer fires, finds nothing due, and is set anew.
    fn arm_timer(&mut self) {
        let mut first = self.heartbeat_due.min(self.expires);
        if let Some(at) = self.close_at {
            first = first.min(at);
        }
        if self.timer.deadline() != first {
            self.timer.as_mut().reset(first);
        }
    }
}

fn lifetime(identity: &Identity, now: Timestamp) -> Duration {
    lifetime_until(identity.expires_at, now)
}

fn lifetime_until(expires_at: Timestamp, now: Timestamp) -> Duration {
    let milliseconds = expires_at.since(now).max(0) as u64;
    Duration::from_millis(milliseconds).min(DEADLINE_MAX)
}
