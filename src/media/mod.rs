//! Media: our own copies of what contacts send and of what is to be sent.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`store`] | keeps bytes and what they are, in a directory or an S3-compatible store |
//! | [`kinds`] | what WhatsApp takes, told from the content |
//! | [`upload`] | takes in what clients upload |
//! | [`quota`] | how much a tenant may keep |
//! | [`fetch`] | fetches what contacts send, in the background, before the provider's address dies |
//! | [`hand_over`] | hands an upload to the provider when it is to be sent |
//!
//! What a contact sends is stored under the id of its message, which clients know from the first
//! moment; that it is here, or never will be, is an event in the conversation's stream
//! (`media_stored`, `media_failed`), so that every instance knows it and a restart goes on with
//! what is missing. An upload has an id of its own and no event: nothing of it is state before a
//! message names it, and what it is stands beside its bytes, where every instance finds it.
//!
//! **Invariant:** the tenant is the first part of every name in the store, and comes from the
//! caller's token or the message, never from a request's path.
//!
//! **Invariant:** no medium is ever whole in memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{
    domain::{
        ids::{ClientId, MediaId, MessageId},
        message::CopyState,
    },
    projection::queries::{Queries, QueryError},
    runtime::clock::Clock,
};

pub mod fetch;
pub mod hand_over;
pub mod kinds;
pub mod quota;
pub mod settings;
pub mod store;
pub mod upload;

#[cfg(test)]
mod tests;

pub use self::{
    fetch::Fetcher,
    settings::MediaSettings,
    store::{About, MediaStore, StoreError},
};
use self::{quota::Quota, upload::Turns};

/// Between two looks for a medium that is being fetched, however much else is projected.
const LOOK_SPACING: Duration = Duration::from_millis(20);

/// A medium's bytes on their way.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Media as `api` and `outbox` see them. One per process, shared.
pub struct Media {
    store: Arc<MediaStore>,
    queries: Queries,
    clock: Arc<dyn Clock>,
    settings: MediaSettings,
    quota: Quota,
    turns: Turns,
    handed_over: hand_over::HandedOver,
}

/// Where a copy stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Here(About),
    /// It is being fetched, and was not here in the time that was waited.
    Pending,
    /// It could not be fetched.
    Failed,
    /// There is none of this id, or it is another tenant's.
    None,
}

/// Why a medium can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Media {
    pub fn new(
        store: Arc<MediaStore>,
        queries: Queries,
        clock: Arc<dyn Clock>,
        settings: MediaSettings,
    ) -> Self {
        Self {
            quota: Quota::new(settings.tenant_bytes_max),
            turns: Turns::new(settings.uploads_at_once_per_tenant),
            handed_over: hand_over::HandedOver::new(),
            store,
            queries,
            clock,
            settings,
        }
    }

    /// The copy of this id. One that is being fetched is waited for.
    pub async fn find(&self, client: ClientId, id: MediaId) -> Result<Found, FindError> {
        let wait = Duration::from_millis(self.settings.pending_wait_ms);
        let until = tokio::time::Instant::now() + wait;
        let mut projected = self.queries.projected();
        loop {
            projected.mark_unchanged();
            let found = self.look(client, id).await?;
            if found != Found::Pending {
                return Ok(found);
            }
            // That it is here is an event: then there is something to be projected.
            match tokio::time::timeout_at(until, projected.changed()).await {
                Ok(Ok(())) => tokio::time::sleep(LOOK_SPACING).await,
                Ok(Err(_)) | Err(_) => return Ok(Found::Pending),
            }
        }
    }

    async fn look(&self, client: ClientId, id: MediaId) -> Result<Found, FindError> {
        let message = self.queries.message(client, MessageId(id.0)).await?;
        let copy = message.and_then(|message| message.media?.copy).filter(|copy| copy.id == id);
        match copy.map(|copy| copy.state) {
            Some(CopyState::Pending) => return Ok(Found::Pending),
            Some(CopyState::Failed) => return Ok(Found::Failed),
            Some(CopyState::Stored) | None => {}
        }
        let Some(about) = self.store.about(client, id).await? else { return Ok(Found::None) };
        // What came in is shown as long as its message is; of an erased person nothing is, though
        // deleting it may take a moment.
        let orphaned = about.came_in && copy.is_none();
        if orphaned || self.queries.is_media_erasing(client, id).await? {
            return Ok(Found::None);
        }
        Ok(Found::Here(about))
    }

    /// An upload that can be sent: what it is.
    pub async fn uploaded(
        &self,
        client: ClientId,
        id: MediaId,
    ) -> Result<Option<About>, FindError> {
        Ok(match self.look(client, id).await? {
            // What a contact sent is theirs: it is not sent to others by its id.
            Found::Here(about) => Some(about).filter(|about| !about.came_in),
            Found::Pending | Found::Failed | Found::None => None,
        })
    }

    /// The bytes of a part of a copy.
    pub async fn read(
        &self,
        client: ClientId,
        id: MediaId,
        range: std::ops::Range<u64>,
    ) -> Result<ByteStream, StoreError> {
        self.store.read(client, id, range).await
    }
}
