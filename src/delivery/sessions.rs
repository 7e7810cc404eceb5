//! Opening sessions: what all of them share, and how a request becomes a place in the feed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{
    control,
    registry::{Connection, Registry, Transport},
    request::StreamRequest,
    session::Session,
    settings::DeliverySettings,
};
use crate::{
    auth::{AuthError, Identity, Scopes},
    domain::{ids::ClientId, time::Timestamp},
    feed::{
        frame::Encoding,
        hub::{Hub, Start},
        subscriber::ResetReason,
    },
    projection::queries::{Queries, QueryError},
    runtime::{clock::Clock, shutdown::Shutdown},
    wire::{
        cursor::Cursor,
        problem::{Code, Problem},
        types::Snapshot,
    },
};

/// What a session asks of the read model. A port, so that tests can stand in.
#[async_trait]
pub trait ReadModel: Send + Sync + 'static {
    async fn snapshot(&self, client: ClientId, limit: usize) -> Result<Snapshot, QueryError>;
    async fn feed_at(&self, client: ClientId, time: Timestamp) -> Result<Cursor, QueryError>;
    async fn at_least(&self, cursor: Cursor, wait: Duration) -> Result<(), QueryError>;
}

#[async_trait]
impl ReadModel for Queries {
    async fn snapshot(&self, client: ClientId, limit: usize) -> Result<Snapshot, QueryError> {
        Queries::snapshot(self, client, limit).await
    }

    async fn feed_at(&self, client: ClientId, time: Timestamp) -> Result<Cursor, QueryError> {
        Queries::feed_at(self, client, time).await
    }

    async fn at_least(&self, cursor: Cursor, wait: Duration) -> Result<(), QueryError> {
        Queries::at_least(self, cursor, wait).await
    }
}

/// What all sessions share. One per process.
pub struct Sessions {
    pub(super) hub: Arc<Hub>,
    pub(super) read_model: Arc<dyn ReadModel>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: DeliverySettings,
    pub(super) shutdown: Shutdown,
    registry: Arc<Registry>,
    /// `shutdown.draining`, to be looked at without a lock.
    is_draining: AtomicBool,
}

/// Where a request starts.
pub(super) enum Opening {
    At(Start),
    /// The cursor is of another store, or of none.
    Unknown,
}

impl Sessions {
    pub fn new(
        hub: Arc<Hub>,
        read_model: Arc<dyn ReadModel>,
        clock: Arc<dyn Clock>,
        settings: DeliverySettings,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let registry = Registry::new(settings.connections_max, settings.connections_per_tenant_max);
        let is_draining = AtomicBool::new(false);
        let sessions =
            Arc::new(Self { hub, read_model, clock, settings, shutdown, registry, is_draining });
        let watching = sessions.clone();
        let Shutdown { draining, stopping, .. } = sessions.shutdown.clone();
        sessions.shutdown.spawn(async move {
            tokio::select! {
                () = draining.cancelled() => {}
                () = stopping.cancelled() => {}
            }
            watching.is_draining.store(true, Ordering::Relaxed);
        });
        sessions
    }

    pub fn settings(&self) -> &DeliverySettings {
        &self.settings
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Connections now, of all transports.
    pub fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// Counts what a poll is answered with.
    pub(super) fn count_polled(&self, events: u32, bytes: usize, oldest_taken_in: Timestamp) {
        if events == 0 {
            return;
        }
        let metrics = self.registry.metrics(Transport::Polling);
        metrics.deliveries.increment(u64::from(events));
        metrics.bytes.increment(bytes as u64);
        let lag_ms = self.clock.now().since(oldest_taken_in).max(0);
        metrics.lag_seconds.record(lag_ms as f64 / 1_000.0);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Counts a connection in: the caller may read events, the limits allow one more, and the
    /// instance is not about to stop.
    pub(super) fn admit(
        self: &Arc<Self>,
        transport: Transport,
        identity: &Identity,
    ) -> Result<Connection, Problem> {
        identity.require(Scopes::EVENTS_READ)?;
        if identity.expires_at <= self.clock.now() {
            return Err(AuthError::Expired.into());
        }
        if self.is_draining() {
            return Err(Problem::new(Code::Draining).retry_after_s(1));
        }
        self.registry.admit(identity.client_id, transport)
    }

    /// Opens a session; its first outputs are `hello` and what was asked for. `encoding` is the
    /// form in which its events and control frames come out.
    pub async fn open(
        self: &Arc<Self>,
        transport: Transport,
        encoding: Encoding,
        identity: &Identity,
        request: &StreamRequest,
    ) -> Result<Session, Problem> {
        let connection = self.admit(transport, identity)?;
        let client = identity.client_id;
        let opening = self.opening(client, request).await?;
        let start = match opening {
            Opening::At(start) => start,
            Opening::Unknown => Start::Live,
        };
        let mut subscriber = self.hub.subscribe(client, start, request.filter, encoding);
        let mut frames = Vec::new();
        let is_unknown = matches!(opening, Opening::Unknown);
        let mut snapshot_pending = None;
        if request.snapshot {
            let (cursor, frame) = self.snapshot(client).await?;
            // With a place to go on from, what lies between comes first and the snapshot then.
            if matches!(start, Start::After(_)) && !is_unknown {
                subscriber.pause_at(cursor);
                snapshot_pending = Some((cursor, frame));
            } else {
                subscriber.seek(cursor);
                frames.push(frame);
            }
        }
        let standing = subscriber.cursor();
        if is_unknown {
            self.hub.count_reset(ResetReason::UnknownCursor);
            frames.insert(0, self.reset(ResetReason::UnknownCursor, standing));
        }
        let id = self.clock.new_id().to_string();
        let hello = control::hello(
            &self.cursor_text(standing),
            self.settings.heartbeat_ms,
            &id,
            identity.expires_at,
        );
        frames.insert(0, hello);
        Ok(Session::new(
            self.clone(),
            connection,
            subscriber,
            identity,
            request,
            frames,
            snapshot_pending,
        ))
    }

    /// Where a request starts.
    pub(super) async fn opening(
        &self,
        client: ClientId,
        request: &StreamRequest,
    ) -> Result<Opening, Problem> {
        if let Some(text) = &request.cursor {
            let Ok(cursor) = Cursor::parse(text, self.hub.epoch()) else {
                return Ok(Opening::Unknown);
            };
            // Without a snapshot the subscriber finds out by itself, and `hello` need not wait.
            if request.snapshot && !self.hub.is_known(cursor).await? {
                return Ok(Opening::Unknown);
            }
            return Ok(Opening::At(Start::After(cursor)));
        }
        Ok(Opening::At(match request.from {
            Some(time) => Start::After(self.read_model.feed_at(client, time).await?),
            None => Start::Live,
        }))
    }

    /// A snapshot's cursor and frame (as JSON).
    pub(super) async fn snapshot(&self, client: ClientId) -> Result<(Cursor, Vec<u8>), QueryError> {
        let limit = self.settings.snapshot_conversations_max;
        let snapshot = self.read_model.snapshot(client, limit).await?;
        let cursor = Cursor::parse(&snapshot.cursor, self.hub.epoch())
            .map_err(|error| QueryError::Broken(format!("a snapshot's cursor: {error}")))?;
        Ok((cursor, control::snapshot(&snapshot)))
    }

    pub(super) fn reset(&self, reason: ResetReason, cursor: Cursor) -> Vec<u8> {
        control::reset(reason.as_str(), &self.cursor_text(cursor))
    }

    pub(super) fn cursor_text(&self, cursor: Cursor) -> String {
        cursor.display(self.hub.epoch()).to_string()
    }
}
