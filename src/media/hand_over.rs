//! Handing an upload to the provider when a message with it is to be sent.
//!
//! The provider gives it an id that is good for a while (30 days on the Cloud API), so that a
//! bulk to a hundred thousand uploads its picture once. The id is kept beside the copy and in
//! memory. Whoever comes while the first is uploading waits for that one.

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{FindError, Media};
use crate::{
    domain::{
        ids::{ClientId, MediaId},
        message::ProviderError,
        time::Timestamp,
    },
    gateway::outbound::{Account, Line, MediaSource, MediaUpload, RetryScope, SendError},
};

/// Provider's ids kept in memory; others are read from beside the copy.
const CACHED_MAX: usize = 4096;
/// How long the Cloud API keeps an upload, less a day for messages that wait.
const CLOUD_LIFE_MS: i64 = 29 * 24 * 3600 * 1000;
/// Where nothing is said of it.
const OTHER_LIFE_MS: i64 = 3600 * 1000;
/// How soon a medium that could not be read is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

type Key = (ClientId, MediaId, [u8; 8]);

/// What the provider has of ours.
pub(super) struct HandedOver {
    known: Cache<Key, Arc<Mutex<Option<Handed>>>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Handed {
    #[serde(flatten)]
    source: Source,
    until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Provider(String),
    Link(String),
}

impl HandedOver {
    pub(super) fn new() -> Self {
        Self { known: Cache::new(CACHED_MAX) }
    }
}

impl Media {
    /// How a message names this upload to the provider: uploads it where the provider does not
    /// have it (any more). The errors are those of sending: nothing was sent in any case.
    pub async fn hand_over(
        &self,
        client: ClientId,
        id: MediaId,
        line: &Line,
    ) -> Result<MediaSource, SendError> {
        let account = fingerprint(&line.account);
        let key = (client, id, account);
        let made = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(entry) = self.handed_over.known.get_or_insert_with(&key, made);
        let mut entry = entry.lock().await;
        let now = self.clock.now();
        let note = format!("provider-{}.json", hex::encode(account));
        if entry.is_none() {
            *entry = self.noted(client, id, &note).await;
        }
        if let Some(handed) = entry.as_ref().filter(|handed| handed.until > now) {
            return Ok(handed.source.clone().into());
        }
        let source: Source = self.upload_to(client, id, line).await?.into();
        let life_ms = match &line.account {
            Account::WhatsAppCloud { .. } => CLOUD_LIFE_MS,
            Account::Waha { .. } => OTHER_LIFE_MS,
        };
        let handed = Handed { source, until: now.plus_ms(life_ms) };
        let json = serde_json::to_vec(&handed).unwrap_or_default();
        if let Err(error) = self.store.put_note(client, id, &note, json).await {
            tracing::warn!(%error, "a provider's media id can't be kept: after a restart the medium is uploaded again");
        }
        *entry = Some(handed.clone());
        Ok(handed.source.into())
    }

    /// The provider said that it does not know the id that [`Media::hand_over`] gave.
    pub async fn forget_handed_over(&self, client: ClientId, id: MediaId, line: &Line) {
        let account = fingerprint(&line.account);
        let note = format!("provider-{}.json", hex::encode(account));
        self.handed_over.known.remove(&(client, id, account));
        if let Err(error) = self.store.put_note(client, id, &note, Vec::new()).await {
            tracing::warn!(%error, "a provider's media id can't be forgotten");
        }
    }

    async fn noted(&self, client: ClientId, id: MediaId, note: &str) -> Option<Handed> {
        // One that can't be read costs another upload.
        let json = self.store.note(client, id, note).await.ok()??;
        serde_json::from_slice(&json).ok()
    }

    async fn upload_to(
        &self,
        client: ClientId,
        id: MediaId,
        line: &Line,
    ) -> Result<MediaSource, SendError> {
        let about = match self.uploaded(client, id).await {
            Ok(Some(about)) => about,
            Ok(None) => return Err(not_there()),
            Err(error) => return Err(unread(&error)),
        };
        let bytes = self.store.read(client, id, 0..about.size).await;
        let bytes = bytes.map_err(|error| unread(&FindError::Store(error)))?;
        let upload = MediaUpload {
            mime_type: about.mime_type,
            filename: about.filename,
            length: about.size,
            bytes,
        };
        match line.provider.upload_media(&line.account, upload).await {
            // An upload that may have arrived was not a message: another one does no harm.
            Err(SendError::InDoubt { reason }) => {
                let error = ProviderError {
                    code: 0,
                    title: "The medium could not be uploaded".to_owned(),
                    detail: reason,
                };
                Err(SendError::Retry { error, after: None, scope: RetryScope::Recipient })
            }
            other => other,
        }
    }
}

impl From<Source> for MediaSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Provider(id) => MediaSource::Provider(id),
            Source::Link(address) => MediaSource::Link(address),
        }
    }
}

impl From<MediaSource> for Source {
    fn from(source: MediaSource) -> Self {
        match source {
            MediaSource::Provider(id) => Source::Provider(id),
            MediaSource::Link(address) => Source::Link(address),
        }
    }
}

/// Which number or session, without what may change of it (a token).
fn fingerprint(account: &Account) -> [u8; 8] {
    let mut digest = Sha256::new();
    match account {
        Account::WhatsAppCloud { phone_number_id, .. } => {
            digest.update(b"whatsapp_cloud\0");
            digest.update(phone_number_id.as_bytes());
        }
        Account::Waha { base_url, session, .. } => {
            digest.update(b"waha\0");
            digest.update(base_url.as_bytes());
            digest.update(b"\0");
            digest.update(session.as_bytes());
        }
    }
    let mut short = [0; 8];
    short.copy_from_slice(&digest.finalize()[..8]);
    short
}

fn not_there() -> SendError {
    SendError::Final {
        error: ProviderError {
            code: 0,
            title: "The medium is not there".to_owned(),
            detail: "It was deleted, or never uploaded: upload it again and send another message"
                .to_owned(),
        },
    }
}

fn unread(error: &FindError) -> SendError {
    tracing::warn!(%error, "a medium that is to be sent can't be read");
    SendError::Retry {
        error: ProviderError {
            code: 0,
            title: "The medium can't be read now".to_owned(),
            detail: "The server's media store does not answer".to_owned(),
        },
        after: Some(RETRY_AFTER),
        scope: RetryScope::Recipient,
    }
}
