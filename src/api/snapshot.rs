//! `GET /v1/snapshot`: the state that a screen starts from, exact to its cursor.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;

use super::{
    Deps,
    answer::Answer,
    extract::{AtLeast, Caller, MessagesRead},
    shapes::Chapter,
};
use crate::wire::{problem::Problem, types::Snapshot};

pub struct SnapshotApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Snapshot")]
impl SnapshotApi {
    /// The state of the tenant.
    ///
    /// All of it at one moment, exact to `cursor`: the events after `cursor` are those that it
    /// does not contain yet. Conversations are the newest ones; the rest is read with
    /// `GET /v1/conversations`.
    #[oai(path = "/v1/snapshot", method = "get", operation_id = "get_snapshot")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<Snapshot>> {
        let limit = self.0.settings.snapshot_conversations_max;
        let client = caller.identity.client_id;
        let snapshot = self.0.queries.snapshot(client, limit).await.map_err(Problem::from)?;
        Ok(Answer(snapshot))
    }
}
