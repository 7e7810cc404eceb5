//! A server without a database: the feed over a table in memory, a read model that answers a
//! fixed snapshot at the table's head, real tokens, and on demand a real listener.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use poem::{Route, get};
use serde_json::Value;

use crate::{
    auth::{Auth, AuthSettings, Identity, Scopes, mint},
    delivery::{
        listener::{Listener, ListenerSettings},
        poll::Poll,
        session::{Output, Session},
        sessions::{ReadModel, Sessions},
        settings::{DeliverySettings, ReadBounds},
        sse::EventStream,
    },
    domain::{
        ids::{ClientId, ConversationId},
        time::Timestamp,
    },
    feed::{
        FeedSettings,
        past::Past,
        tests::table::{CLIENT, EPOCH, Table, World},
    },
    projection::queries::QueryError,
    runtime::{
        clock::{Clock, ManualClock, SystemClock},
        secret::Secret,
    },
    wire::{
        cursor::Cursor,
        types::{
            BotMode, BotStatus, ConversationStats, MessageStats, Snapshot, TodayStats,
            WhatsAppMode, WhatsAppState,
        },
    },
};

/// When tests with a clock of their own begin.
pub(super) const NOW: Timestamp = Timestamp(1_795_515_330_123);

/// Answers from the table; while the second is set, as one that is being made.
pub(super) struct Model(pub(super) Arc<Table>, pub(super) Arc<AtomicBool>);

#[async_trait]
impl ReadModel for Model {
    async fn snapshot(&self, _client: ClientId, _limit: usize) -> Result<Snapshot, QueryError> {
        Ok(empty_snapshot(Cursor::end_of(self.0.projected())))
    }

    async fn feed_at(&self, _client: ClientId, time: Timestamp) -> Result<Cursor, QueryError> {
        let rows = self.0.rows.lock();
        let before = rows.iter().take_while(|row| row.taken_in_at < time);
        Ok(before.last().map_or(Cursor::START, |row| row.cursor))
    }

    /// All exist; those from 100 on were merged into the one with their last two digits.
    async fn conversation(
        &self,
        _client: ClientId,
        id: ConversationId,
    ) -> Result<Option<ConversationId>, QueryError> {
        Ok(Some(ConversationId(id.0 % 100)))
    }

    async fn complete(&self) -> Result<(), QueryError> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(QueryError::Incomplete),
            false => Ok(()),
        }
    }
}

/// Bounds as `app` has them by default.
pub(in crate::delivery) const BOUNDS: ReadBounds =
    ReadBounds { snapshot_conversations_max: 500, at_least_wait: Duration::from_secs(5) };

fn empty_snapshot(cursor: Cursor) -> Snapshot {
    let changed_at = NOW.to_string();
    Snapshot {
        cursor: cursor.display(EPOCH).to_string(),
        conversations: Vec::new(),
        stats: MessageStats {
            total_messages: 0,
            received: 0,
            sent: 0,
            delivered: 0,
            read: 0,
            failed: 0,
            queued: 0,
            today: TodayStats { received: 0, sent: 0, delivered: 0, read: 0, failed: 0 },
            conversations: ConversationStats {
                total: 0,
                open: 0,
                pending: 0,
                closed: 0,
                unread: 0,
            },
            delivery_rate: 0.0,
            read_rate: 0.0,
            avg_first_response_ms: None,
            updated_at: changed_at.clone(),
        },
        bot_status: BotStatus {
            status: BotMode::Active,
            reason: None,
            changed_by: None,
            changed_at: changed_at.clone(),
        },
        whatsapp_state: WhatsAppState {
            status: WhatsAppMode::Connected,
            phone_number: None,
            name: None,
            qr: None,
            quality: None,
            reason: None,
            changed_at,
        },
        bulks: Vec::new(),
    }
}

pub(super) fn identity(expires_at: Timestamp) -> Identity {
    Identity {
        subject: "agent-1".to_owned(),
        client_id: CLIENT,
        scopes: Scopes::EVENTS_READ,
        expires_at,
    }
}

pub(super) struct Bench {
    pub(super) world: World,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) is_incomplete: Arc<AtomicBool>,
}

impl Bench {
    pub(super) fn new(settings: DeliverySettings) -> Self {
        Self::with_feed(settings, FeedSettings::default())
    }

    pub(super) fn with_feed(settings: DeliverySettings, feed: FeedSettings) -> Self {
        let world = World::new(feed);
        let clock = Arc::new(ManualClock::at(NOW));
        let is_incomplete = Arc::new(AtomicBool::new(false));
        let sessions = Sessions::new(
            world.hub.clone(),
            Arc::new(Model(world.table.clone(), is_incomplete.clone())),
            clock.clone(),
            settings,
            BOUNDS,
            world.shutdown.clone(),
        );
        Self { world, sessions, clock, is_incomplete }
    }
}

/// What a session says next, as JSON where it is JSON (sessions here use `Encoding::Json`).
pub(super) async fn next_json(session: &mut Session) -> Vec<Value> {
    match session.next().await {
        Output::Control(bytes) => parse(&bytes),
        Output::Batch(batch) => parse(&batch.bytes.concat()),
        other => panic!("neither control frame nor events: {other:?}"),
    }
}

fn parse(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    serde_json::from_str(&format!("[{}]", text.trim_end_matches(','))).unwrap()
}

/// A server on a port of its own, with real tokens and the machine's clock.
pub(super) struct Server {
    pub(super) world: World,
    pub(super) address: SocketAddr,
    auth_settings: AuthSettings,
}

impl Server {
    pub(super) async fn start(settings: DeliverySettings) -> Self {
        let world = World::new(FeedSettings::default());
        let clock = Arc::new(SystemClock);
        let auth_settings = AuthSettings {
            secret: Some(Secret::new("a secret of at least thirty-two bytes".to_owned())),
            leeway_s: 0,
            ..AuthSettings::default()
        };
        let auth = Auth::start(&auth_settings, clock.clone(), &world.shutdown).await.unwrap();
        let sessions = Sessions::new(
            world.hub.clone(),
            Arc::new(Model(world.table.clone(), Arc::default())),
            clock,
            settings,
            BOUNDS,
            world.shutdown.clone(),
        );
        let routes = Route::new()
            .at("/v1/events", get(Poll::new(sessions.clone(), auth.clone())))
            .at("/v1/events/stream", get(EventStream::new(sessions, auth)));
        let listener = ListenerSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            ..ListenerSettings::default()
        };
        let listener = Listener::bind(listener).unwrap();
        let address = listener.local_address();
        world.shutdown.spawn(listener.serve(routes, world.shutdown.clone()));
        Self { world, address, auth_settings }
    }

    pub(super) fn token(&self, lifetime_s: u64) -> String {
        let order = mint::Mint {
            subject: "agent-1".to_owned(),
            client_id: CLIENT,
            scopes: Scopes::EVENTS_READ,
            ttl_s: lifetime_s,
        };
        mint::mint(&self.auth_settings, &order, SystemClock.now()).unwrap()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
