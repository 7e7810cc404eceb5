//! The projection as a whole: fold, read model, feed and queries together.

mod equivalence;
mod following;
mod logs;
mod reading;
mod survival;

use std::sync::Arc;

use tempfile::TempDir;

use super::{
    CommittedBatch, fixtures::NOON, projector::Projector, queries::Queries, read_model::ReadModel,
    settings::ProjectionSettings,
};
use crate::{domain::ids::Position, event_log::Record, runtime::clock::ManualClock};

pub(super) const EPOCH: &str = "k3v9q";
/// Ahead of every log of these tests.
const HEAD: Position = Position(1 << 40);

/// A read model in a folder of its own.
pub(super) struct Bench {
    _folder: TempDir,
    pub settings: ProjectionSettings,
    pub clock: Arc<ManualClock>,
}

impl Bench {
    /// With caches so small that nearly all is dropped and read again.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = ProjectionSettings {
            path: folder.path().join("read-model.db"),
            cached_conversations_max: 2,
            cached_messages_max: 2,
            cached_tenants_max: 1,
            readers: 2,
            ..ProjectionSettings::default()
        };
        Self { _folder: folder, settings, clock: Arc::new(ManualClock::at(NOON)) }
    }

    pub fn model(&self) -> ReadModel {
        ReadModel::open(&self.settings, EPOCH, HEAD).unwrap()
    }

    pub fn projector(&self) -> (Projector, Queries) {
        let model = self.model();
        let queries = Queries::open(&model).unwrap();
        (Projector::new(model, self.clock.clone()).unwrap(), queries)
    }

    pub fn connection(&self) -> rusqlite::Connection {
        super::read_model::open_for_reading(&self.settings.path, 1024).unwrap()
    }
}

/// Projects `log` in batches of these sizes, the last one for what remains.
pub(super) fn project_in(
    projector: &mut Projector,
    log: &[Record],
    sizes: impl IntoIterator<Item = usize>,
) -> Vec<CommittedBatch> {
    let mut rest = log;
    let mut batches = Vec::new();
    for size in sizes.into_iter().chain([usize::MAX]) {
        let (batch, behind) = rest.split_at(size.min(rest.len()));
        if !batch.is_empty() {
            batches.push(projector.project(batch.iter(), true).unwrap());
            projector.announce();
        }
        rest = behind;
    }
    batches
}
