//! `condorito rebuild`: the read model anew from the log, in a file beside the old one.
//!
//! Nobody reads it meanwhile and a crash throws it away, so it is written without a journal and
//! without syncing; when it is complete it is synced and takes the old one's place.
//!
//! **Invariant:** at the read model's path stands, at any time, the old one, the complete new
//! one, or (for a moment) nothing, in which case the next start begins a new one.

use std::{fs::File, path::Path, sync::Arc};

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{
    projector::{ProjectError, Projector},
    read_model::{self, OpenError, ReadModel},
    settings::ProjectionSettings,
};
use crate::{
    domain::ids::Position,
    event_log::{EventLog, LogError, Record, Tail},
    runtime::clock::Clock,
};

/// Parts of the log read ahead of the fold.
const READ_AHEAD_PARTS: usize = 32;

/// Why there is no new read model. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the new read model can't be completed: {0}")]
    Finish(#[source] rusqlite::Error),
    #[error("the new read model can't be synced: {0}")]
    Sync(#[source] std::io::Error),
    #[error("the rebuild panicked")]
    Panicked,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events folded.
    pub events: u64,
    /// Position of the last one.
    pub position: Position,
    /// Where the log ended when the rebuild began. Positions may have gaps.
    pub head: Position,
}

/// Makes the read model anew from all that is in `log` now, and puts it in the place of the one
/// at `settings.path`, which no server may have open. `progress` is told after each batch.
pub async fn rebuild(
    settings: &ProjectionSettings,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(Progress) + Send + 'static,
) -> Result<Progress, RebuildError> {
    let head = log.head().await?;
    let file = read_model::sibling(&settings.path, ".rebuild");
    let model = ReadModel::begin_unsafely(settings, &log.identity().epoch, &file)?;
    let projector = Projector::new(model, clock)?;
    let (to_fold, parts) = mpsc::channel(READ_AHEAD_PARTS);
    let folding = tokio::task::spawn_blocking(move || fold_all(projector, parts, head, progress));
    let read = read_to(&*log, head, to_fold).await;
    let folded = folding.await.map_err(|_| RebuildError::Panicked)?;
    let (projector, done) = folded?;
    read?;
    let path = settings.path.clone();
    tokio::task::spawn_blocking(move || take_place(projector, &file, &path))
        .await
        .map_err(|_| RebuildError::Panicked)??;
    Ok(done)
}

/// Hands on all up to `head`, or until the folding side is gone.
async fn read_to(
    log: &dyn EventLog,
    head: Position,
    to_fold: mpsc::Sender<Arc<[Record]>>,
) -> Result<(), LogError> {
    let mut tail = log.tail(Position::START);
    while let Some(next) = tail.next().await {
        let Tail::Records(records) = next? else { return Ok(()) };
        let enough = records.last().is_some_and(|last| last.position >= head);
        if to_fold.send(records).await.is_err() || enough {
            return Ok(());
        }
    }
    Err(LogError::Unavailable { reason: "its tail has ended".to_owned() })
}

fn fold_all(
    mut projector: Projector,
    mut parts: mpsc::Receiver<Arc<[Record]>>,
    head: Position,
    mut progress: impl FnMut(Progress),
) -> Result<(Projector, Progress), ProjectError> {
    let bound = projector.settings().catch_up_batch_events_max;
    let mut done = Progress { head, ..Progress::default() };
    while let Some(first) = parts.blocking_recv() {
        let mut events = first.len();
        let mut batch = vec![first];
        // Reading is faster than folding, so waiting for a full batch costs nothing.
        while events < bound
            && let Some(part) = parts.blocking_recv()
        {
            events += part.len();
            batch.push(part);
        }
        projector.project(batch.iter().flat_map(|part| part.iter()), false)?;
        done.events += events as u64;
        done.position = projector.checkpoint();
        progress(done);
    }
    Ok((projector, done))
}

fn take_place(projector: Projector, file: &Path, path: &Path) -> Result<(), RebuildError> {
    let (connection, lock) = projector.into_connection();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .and_then(|()| connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
        .and_then(|()| connection.close().map_err(|(_, error)| error))
        .map_err(RebuildError::Finish)?;
    File::open(file).and_then(|file| file.sync_all()).map_err(RebuildError::Sync)?;
    read_model::remove(path)?;
    read_model::rename(file, path)?;
    drop(lock);
    Ok(())
}
