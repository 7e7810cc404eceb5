//! Taking in what clients upload: streamed into the store, judged by its content on the way.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;

use super::{
    About, Media, StoreError,
    kinds::{HEAD_BYTES, NotTaken, Taken, judge},
};
use crate::domain::ids::{ClientId, MediaId};

/// The longest name of a file, in characters; a longer one is cut.
const FILENAME_CHARS_MAX: usize = 240;

/// Why an upload was not taken. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error("{sent_as} may have {bytes_max} bytes at most")]
    TooLarge { sent_as: &'static str, bytes_max: u64 },
    /// The tenant keeps as much as it may.
    #[error("the tenant's room for media is used up")]
    QuotaUsedUp,
    /// Too many of the tenant's at once.
    #[error("too many uploads at once")]
    TooManyAtOnce,
    /// The client stopped sending.
    #[error("the upload stood still for too long")]
    Stalled,
    /// The connection, or the body's form, broke.
    #[error("the upload broke off")]
    BrokenOff,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Media {
    /// Takes in an upload and answers its id and what it is. `declared` is the client's
    /// `Content-Type`.
    pub async fn upload<E>(
        &self,
        client: ClientId,
        declared: Option<&str>,
        filename: Option<&str>,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<(MediaId, About), UploadError> {
        let _turn = self.turns.take(client).ok_or(UploadError::TooManyAtOnce)?;
        let left = self.quota.left(&self.store, client).await?;
        let mut body = Body {
            parts: Box::pin(body),
            stall: Duration::from_millis(self.settings.upload_stall_timeout_ms),
        };
        let (head, rest) = body.head().await?;
        let Taken { mime_type, sent_as } = judge(&head, declared)?;
        let bytes_max = sent_as.bytes_max();
        let id = MediaId(self.clock.new_id());
        let mut writing = self.store.begin(client, id).await?;
        let mut next = Some(rest);
        while let Some(bytes) = next {
            let size = writing.size() + bytes.len() as u64;
            if size > bytes_max {
                return Err(UploadError::TooLarge { sent_as: sent_as.as_str(), bytes_max });
            }
            if size > left {
                return Err(UploadError::QuotaUsedUp);
            }
            writing.write(bytes).await?;
            next = body.next().await?;
        }
        let filename = filename.and_then(clean_filename);
        let now = self.clock.now();
        let about = writing.finish(mime_type.to_owned(), filename, now, false).await?;
        self.quota.add(client, about.size).await;
        Ok((id, about))
    }
}

struct Body<S> {
    parts: std::pin::Pin<Box<S>>,
    stall: Duration,
}

impl<S, E> Body<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    async fn next(&mut self) -> Result<Option<Bytes>, UploadError> {
        match tokio::time::timeout(self.stall, self.parts.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(None) => Ok(None),
            Ok(Some(Err(_))) => Err(UploadError::BrokenOff),
            Err(_) => Err(UploadError::Stalled),
        }
    }

    /// The beginning, long enough to be judged, and all that was read.
    async fn head(&mut self) -> Result<(Bytes, Bytes), UploadError> {
        let mut read = BytesMut::new();
        while read.len() < HEAD_BYTES
            && let Some(bytes) = self.next().await?
        {
            read.extend_from_slice(&bytes);
        }
        let read = read.freeze();
        Ok((read.slice(..read.len().min(HEAD_BYTES)), read))
    }
}

/// The last part of a path, without what no file's name should have.
pub(super) fn clean_filename(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(FILENAME_CHARS_MAX).collect();
    let clean = clean.trim();
    let good = !clean.is_empty() && clean.chars().any(|c| c != '.');
    good.then(|| clean.to_owned())
}

/// Counts the uploads of each tenant that are under way.
pub(super) struct Turns {
    at_once: usize,
    under_way: Arc<Mutex<HashMap<ClientId, usize>>>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, under_way: Arc::default() }
    }

    fn take(&self, client: ClientId) -> Option<Turn> {
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(client).or_default();
        if *count >= self.at_once {
            return None;
        }
        *count += 1;
        Some(Turn { client, under_way: Arc::clone(&self.under_way) })
    }
}

struct Turn {
    client: ClientId,
    under_way: Arc<Mutex<HashMap<ClientId, usize>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.client);
            }
        }
    }
}
