//! Opening sessions: what all of them share, and how a request becomes a place in the feed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    control,
    registry::{Connection, Registry, Transport},
    request::StreamRequest,
    session::{FirstSnapshot, Session},
    settings::{DeliverySettings, ReadBounds},
};
use crate::{
    auth::{AuthError, Identity, Scopes},
    domain::{
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    feed::{
        filter::Filter,
        frame::Encoding,
        hub::{BEHIND_MAX, Hub, Start},
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
    /// The conversation in which this one lives, itself as a rule; `None` when there is none.
    async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<ConversationId>, QueryError>;
    /// Waits a moment until it has all that was in the log when it was opened.
    async fn complete(&self) -> Result<(), QueryError>;
}

#[async_trait]
impl ReadModel for Queries {
    async fn snapshot(&self, client: ClientId, limit: usize) -> Result<Snapshot, QueryError> {
        Queries::snapshot(self, client, limit).await
    }

    async fn feed_at(&self, client: ClientId, time: Timestamp) -> Result<Cursor, QueryError> {
        Queries::feed_at(self, client, time).await
    }

    async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<ConversationId>, QueryError> {
        let found = Queries::conversation(self, client, id).await?;
        Ok(found.map(|conversation| conversation.id))
    }

    async fn complete(&self) -> Result<(), QueryError> {
        Queries::complete(self).await
    }
}

/// What all sessions share. One per process.
pub struct Sessions {
    pub(super) hub: Arc<Hub>,
    pub(super) read_model: Arc<dyn ReadModel>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: DeliverySettings,
    bounds: ReadBounds,
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
        bounds: ReadBounds,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let registry = Registry::new(settings.connections_max, settings.connections_per_tenant_max);
        let is_draining = AtomicBool::new(false);
        let sessions = Arc::new(Self {
            hub,
            read_model,
            clock,
            settings,
            bounds,
            shutdown,
            registry,
            is_draining,
        });
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

    /// Counts what a poll is answered with. `oldest_live`: when the oldest of what came while it
    /// waited was taken in.
    pub(super) fn count_polled(&self, events: u32, bytes: usize, oldest_live: Option<Timestamp>) {
        if events == 0 {
            return;
        }
        let metrics = self.registry.metrics(Transport::Polling);
        metrics.deliveries.increment(u64::from(events));
        metrics.bytes.increment(bytes as u64);
        if let Some(taken_in) = oldest_live {
            let lag_ms = self.clock.now().since(taken_in).max(0);
            metrics.lag_seconds.record(lag_ms as f64 / 1_000.0);
        }
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
        let filter = self.resolve(client, request.filter).await?;
        let start = match opening {
            Opening::At(start) => start,
            Opening::Unknown => Start::Live,
        };
        let mut subscriber = self.hub.subscribe(client, start, filter, encoding);
        let mut frames = Vec::new();
        let is_unknown = matches!(opening, Opening::Unknown);
        let mut first_snapshot = FirstSnapshot::None;
        if request.snapshot {
            match start {
                // One taken now would be older than what the client has.
                Start::After(cursor) if cursor > self.hub.head() => {
                    first_snapshot = FirstSnapshot::From(cursor.position);
                }
                // With a place to go on from, what lies between comes first and the snapshot then.
                Start::After(_) => {
                    let (cursor, frame) = self.snapshot(client).await?;
                    subscriber.pause_at(cursor);
                    first_snapshot = FirstSnapshot::At(cursor, frame);
                }
                Start::Live => {
                    let (cursor, frame) = self.snapshot(client).await?;
                    subscriber.seek(cursor);
                    frames.push(frame);
                }
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
            first_snapshot,
        ))
    }

    /// Where a request starts, once this instance can answer it at all and has come as far as the
    /// request wants it.
    pub(super) async fn opening(
        &self,
        client: ClientId,
        request: &StreamRequest,
    ) -> Result<Opening, Problem> {
        self.read_model.complete().await?;
        if let Some(at_least) = &request.at_least {
            let cursor = Cursor::parse(at_least, self.hub.epoch())
                .map_err(|error| Problem::from(error).cursor(self.cursor_text(self.hub.head())))?;
            self.comes_to(cursor.position).await?;
        }
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

    /// Waits until this instance's feed, and so its read model, has come as far as `position`;
    /// [`QueryError::NotYet`] when that takes longer than `at_least` may.
    pub(super) async fn comes_to(&self, position: Position) -> Result<(), QueryError> {
        let reached = self.hub.reached(position);
        timeout(self.bounds.at_least_wait, reached).await.map_err(|_| QueryError::NotYet)
    }

    /// The filter for a conversation that was merged away follows it to where it lives now.
    pub(super) async fn resolve(
        &self,
        client: ClientId,
        filter: Filter,
    ) -> Result<Filter, QueryError> {
        let Some(asked) = filter.conversation else { return Ok(filter) };
        Ok(match self.read_model.conversation(client, asked).await? {
            Some(lives_in) if lives_in != asked => {
                Filter { conversation: Some(lives_in), merged_away: Some(asked), ..filter }
            }
            // None yet: it may come.
            _ => filter,
        })
    }

    /// Whether there is such a conversation, be it merged into another one.
    pub(super) async fn has_conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<bool, QueryError> {
        Ok(self.read_model.conversation(client, id).await?.is_some())
    }

    /// The tenant's state.
    pub(super) async fn state(&self, client: ClientId) -> Result<Snapshot, QueryError> {
        self.read_model.snapshot(client, self.bounds.snapshot_conversations_max).await
    }

    /// A snapshot's cursor and frame (as JSON).
    pub(super) async fn snapshot(&self, client: ClientId) -> Result<(Cursor, Vec<u8>), QueryError> {
        let snapshot = self.state(client).await?;
        let cursor = Cursor::parse(&snapshot.cursor, self.hub.epoch())
            .map_err(|error| QueryError::Broken(format!("a snapshot's cursor: {error}")))?;
        Ok((cursor, control::snapshot(&snapshot)))
    }

    /// A snapshot that is not older than `position`, once this instance has come to that.
    pub(super) async fn snapshot_from(
        &self,
        client: ClientId,
        position: Position,
    ) -> Result<(Cursor, Vec<u8>), QueryError> {
        let reached = self.hub.reached(position);
        timeout(BEHIND_MAX, reached).await.map_err(|_| QueryError::NotYet)?;
        self.snapshot(client).await
    }

    pub(super) fn reset(&self, reason: ResetReason, cursor: Cursor) -> Vec<u8> {
        control::reset(reason.as_str(), &self.cursor_text(cursor))
    }

    pub(super) fn cursor_text(&self, cursor: Cursor) -> String {
        cursor.display(self.hub.epoch()).to_string()
    }
}
