//! Carries out erasures: deletes what is stored of persons that are erased already.
//!
//! `command` decides and appends the event from which on nothing of the person is shown; the
//! projector of every instance takes them out of its read model and feed, and lists them as being
//! erased until this here has deleted the rest: media, what others keep ([`Holder`]), streams,
//! answers to requests. Then an event says so, and the list is empty.
//!
//! It is a reconciler: woken by every erasure and by a timer, it works off the list, and each
//! step may be repeated. So a crash at any point costs nothing but time.
//!
//! It waits [`SETTLE`] before it deletes, so that other instances have come to the event, and
//! what was on its way when the person was erased has arrived and goes along. What comes later
//! still is dropped by the fold and puts the conversation on the list again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::{
    command::{CommandError, Commands},
    domain::{event::Erasure, ids::ClientId},
    media::{MediaStore, StoreError},
    projection::{
        Erasing,
        queries::{Queries, QueryError},
    },
    runtime::shutdown::Shutdown,
};

/// How long an erasure rests before its streams are deleted.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How often the list is looked through without being woken.
const INTERVAL: Duration = Duration::from_secs(30);
/// Persons worked off at once; the others come next.
const PERSONS_AT_ONCE: usize = 16;

/// Whoever keeps something of a person outside of that person's own streams.
#[async_trait]
pub trait Holder: Send + Sync + 'static {
    /// Deletes, or rewrites without them, what is kept of the person. May be called again.
    /// [`Erasure::identities`] says under which keyed hashes they were known,
    /// [`Erasure::conversations`] in which conversations.
    async fn erase(&self, client: ClientId, erasure: &Erasure) -> Result<(), HolderError>;
}

/// Why a holder has not done it yet; it is asked again.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct HolderError {
    /// Names nothing of the person.
    pub reason: String,
}

/// Deletes what is stored of erased persons. One per process; several instances do no harm.
pub struct Eraser {
    pub queries: Queries,
    pub commands: Arc<Commands>,
    pub media: Arc<MediaStore>,
    pub holders: Vec<Arc<dyn Holder>>,
}

#[derive(Debug, thiserror::Error)]
enum EraseError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Media(#[from] StoreError),
    #[error(transparent)]
    Holder(#[from] HolderError),
}

impl Eraser {
    /// Works until `shutdown.stopping`.
    pub fn start(self, shutdown: &Shutdown) {
        let stopping = shutdown.stopping.clone();
        shutdown.spawn(async move { stopping.run_until_cancelled(self.run()).await });
    }

    async fn run(self) {
        let mut erasures = self.queries.erasures();
        loop {
            erasures.mark_unchanged();
            let more = match self.work_off().await {
                Ok(more) => more,
                Err(error) => {
                    warn!(%error, "the list of erasures can't be read: tries later");
                    false
                }
            };
            if more {
                continue;
            }
            if let Ok(Err(_)) = timeout(INTERVAL, erasures.changed()).await {
                return;
            }
        }
    }

    /// Tries each person on the list once, so that those who can't be erased yet keep nobody else
    /// from it; `true` when there may be more.
    async fn work_off(&self) -> Result<bool, QueryError> {
        let mut done = 0;
        let mut tried = None;
        loop {
            let list = self.queries.erasing(tried, PERSONS_AT_ONCE).await?;
            let Some(last) = list.last() else { break };
            tried = Some((last.client, last.conversation));
            sleep(SETTLE).await;
            for Erasing { client, erasure, .. } in &list {
                match self.erase(*client, erasure).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        let client_id = client.0;
                        warn!(client_id, %error, "a person is not erased entirely yet: tries again");
                    }
                }
            }
        }
        if done > 0 {
            info!(persons = done, "deleted what was stored of erased persons");
        }
        Ok(done > 0)
    }

    async fn erase(&self, client: ClientId, erasure: &Erasure) -> Result<(), EraseError> {
        for &id in &erasure.media {
            // The company may have sent the same upload to others too.
            if self.queries.message_with_media(client, id).await?.is_none() {
                self.media.delete(client, id).await?;
            }
        }
        for holder in &self.holders {
            holder.erase(client, erasure).await?;
        }
        self.commands.purge_erased(client, erasure).await?;
        Ok(())
    }
}
