//! One instance as far as the feed goes: a read model, a projector, a hub.

use std::{path::PathBuf, sync::Arc};

use condorito::{
    auth::{
        Auth, AuthSettings, Identity, Scopes,
        mint::{Mint, mint},
    },
    delivery::{
        poll::Poll,
        sessions::Sessions,
        settings::{DeliverySettings, ReadBounds},
    },
    domain::{
        ids::{ClientId, Position},
        time::Timestamp,
    },
    event_log::EventLog,
    feed::{FeedSettings, hub::Hub, past::StoredPast},
    projection::{
        follow::{Following, follow},
        queries::Queries,
        read_model::ReadModel,
        settings::ProjectionSettings,
    },
    runtime::{clock::ManualClock, secret::Secret, shutdown::Shutdown},
    wire::cursor::Cursor,
};
use tempfile::TempDir;

use super::{STUCK, script::NOON};

/// How much room an instance has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Batches, caches, ring and pages so small that each falls back to what is behind it all the
    /// time.
    pub tight: bool,
    /// Facts expire after a minute of its clock, and nobody is led through more than some events.
    pub forgetful: bool,
}

/// How long a forgetful instance keeps facts. Its clock starts that much after the stories do.
const KEPT_S: u64 = 60;
/// How long tokens last.
const TOKEN_TTL_S: u64 = 365 * 24 * 3600;
/// Events that a forgetful instance leads a follower through.
const BACKLOG_EVENTS: u64 = 20;

pub(super) struct Instance {
    folder: TempDir,
    size: Size,
    pub clock: Arc<ManualClock>,
    running: Option<Running>,
    pub queries: Queries,
    pub hub: Arc<Hub>,
    pub sessions: Arc<Sessions>,
    pub polls: Poll,
}

struct Running {
    shutdown: Shutdown,
    following: Following,
}

impl Instance {
    pub(super) async fn start(log: Arc<dyn EventLog>, size: Size) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("read-model.db");
        let clock = Arc::new(ManualClock::at(Timestamp(NOON.0 + 60_000)));
        let Opened { running, queries, hub, sessions, polls } =
            open(log, file, size, clock.clone()).await;
        Self { folder, size, clock, running: Some(running), queries, hub, sessions, polls }
    }

    /// Who follows a tenant's feed, for longer than any story takes.
    pub(super) fn identity(&self, client: ClientId) -> Identity {
        Identity {
            subject: "screen".to_owned(),
            client_id: client,
            scopes: Scopes::EVENTS_READ,
            expires_at: NOON.plus_ms(1000 * i64::try_from(TOKEN_TTL_S).expect("a short time")),
        }
    }

    /// The same, for requests.
    pub(super) fn token(&self, client: ClientId) -> String {
        let order = Mint {
            subject: "screen".to_owned(),
            client_id: client,
            scopes: Scopes::EVENTS_READ,
            ttl_s: TOKEN_TTL_S,
        };
        mint(&auth_settings(), &order, NOON).expect("a token")
    }

    pub(super) async fn restart(&mut self, log: Arc<dyn EventLog>, rebuild: bool) {
        self.end().await;
        let file = self.folder.path().join("read-model.db");
        if rebuild {
            std::fs::remove_file(&file).expect("the read model is a file");
        }
        let Opened { running, queries, hub, sessions, polls } =
            open(log, file, self.size, self.clock.clone()).await;
        (self.running, self.queries, self.hub) = (Some(running), queries, hub);
        (self.sessions, self.polls) = (sessions, polls);
    }

    pub(super) async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        let Some(Running { shutdown, following }) = self.running.take() else { return };
        shutdown.stopping.cancel();
        shutdown.tasks.close();
        tokio::time::timeout(STUCK, following.ended())
            .await
            .expect("the projector ends")
            .expect("the projector ends well");
        tokio::time::timeout(STUCK, shutdown.tasks.wait()).await.expect("all tasks end");
    }

    pub(super) async fn projected(&self, position: Position) {
        let all = Cursor::end_of(position);
        self.queries.at_least(all, STUCK).await.expect("the projector keeps up");
    }
}

struct Opened {
    running: Running,
    queries: Queries,
    hub: Arc<Hub>,
    sessions: Arc<Sessions>,
    polls: Poll,
}

fn auth_settings() -> AuthSettings {
    let secret = "a secret of at least thirty-two bytes".to_owned();
    AuthSettings { secret: Some(Secret::new(secret)), ..AuthSettings::default() }
}

async fn open(
    log: Arc<dyn EventLog>,
    path: PathBuf,
    size: Size,
    clock: Arc<ManualClock>,
) -> Opened {
    let mut settings = ProjectionSettings { path, readers: 2, ..ProjectionSettings::default() };
    let mut feed = FeedSettings { batch_window_ms: 1, ..FeedSettings::default() };
    if size.forgetful {
        settings.feed_retention_s = KEPT_S;
        feed.backlog_events_max = BACKLOG_EVENTS;
    }
    if size.tight {
        settings.batch_events_max = 3;
        settings.catch_up_batch_events_max = 5;
        settings.cached_conversations_max = 1;
        settings.cached_messages_max = 1;
        settings.cached_tenants_max = 1;
        feed = FeedSettings {
            batch_window_ms: 0,
            ring_events_max: 4,
            ring_bytes_max: 2048,
            page_events: 3,
            ..feed
        };
    }
    let head = log.head().await.expect("a log in memory");
    let model = ReadModel::open(&settings, &log.identity().epoch, head).expect("a read model");
    let queries = Queries::open(&model).expect("connections");
    let shutdown = Shutdown::new();
    let past = Arc::new(StoredPast::new(queries.clone(), log.clone()));
    let hub = Hub::start(past, feed, &shutdown);
    let following = follow(model, log, hub.clone(), clock.clone(), &shutdown).expect("a projector");
    let mut delivery = DeliverySettings::default();
    if size.tight {
        delivery.write_bytes_max = 700;
    }
    let bounds = ReadBounds { snapshot_conversations_max: 1000, at_least_wait: STUCK };
    let sessions = Sessions::new(
        hub.clone(),
        Arc::new(queries.clone()),
        clock.clone(),
        delivery,
        bounds,
        shutdown.clone(),
    );
    let auth = Auth::start(&auth_settings(), clock, &shutdown).await.expect("a secret");
    let polls = Poll::new(sessions.clone(), auth);
    let running = Running { shutdown, following };
    Opened { running, queries, hub, sessions, polls }
}
