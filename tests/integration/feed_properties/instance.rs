//! One instance as far as the feed goes: a read model, a projector, a hub.

use std::{path::PathBuf, sync::Arc};

use condorito::{
    domain::{ids::Position, time::Timestamp},
    event_log::EventLog,
    feed::{FeedSettings, hub::Hub, past::StoredPast},
    projection::{
        follow::{Following, follow},
        queries::Queries,
        read_model::ReadModel,
        settings::ProjectionSettings,
    },
    runtime::{clock::ManualClock, shutdown::Shutdown},
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
/// Events that a forgetful instance leads a follower through.
const BACKLOG_EVENTS: u64 = 20;

pub(super) struct Instance {
    folder: TempDir,
    size: Size,
    pub clock: Arc<ManualClock>,
    running: Option<Running>,
    pub queries: Queries,
    pub hub: Arc<Hub>,
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
        let (running, queries, hub) = open(log, file, size, clock.clone()).await;
        Self { folder, size, clock, running: Some(running), queries, hub }
    }

    pub(super) async fn restart(&mut self, log: Arc<dyn EventLog>, rebuild: bool) {
        self.end().await;
        let file = self.folder.path().join("read-model.db");
        if rebuild {
            std::fs::remove_file(&file).expect("the read model is a file");
        }
        let (running, queries, hub) = open(log, file, self.size, self.clock.clone()).await;
        (self.running, self.queries, self.hub) = (Some(running), queries, hub);
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

async fn open(
    log: Arc<dyn EventLog>,
    path: PathBuf,
    size: Size,
    clock: Arc<ManualClock>,
) -> (Running, Queries, Arc<Hub>) {
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
    let following = follow(model, log, hub.clone(), clock, &shutdown).expect("a projector");
    (Running { shutdown, following }, queries, hub)
}
