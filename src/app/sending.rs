//! Puts sending together: what commands decide with, and the outbox with its line to the providers.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    command::{
        CommandError, Commands,
        send::{Channel, Channels, Sending, Upload, Uploads},
    },
    config::Settings,
    domain::{
        ids::{ClientId, MediaId},
        message::{Media as MessageMedia, NOT_SENDABLE_CODE, ProviderError},
    },
    event_log::EventLog,
    gateway::{
        outbound::{Account, Line, Lines, MediaSource, SendError},
        tenancy::Tenancy,
    },
    media::{About, Media},
    outbox::{self, MediaAtProvider, Signals, membership::Membership},
    projection::queries::Queries,
    runtime::{clock::Clock, shutdown::Shutdown},
};

/// What sending needs on the way out: who sends for whom, and what was uploaded.
pub struct WayOut {
    pub tenancy: Arc<Tenancy>,
    pub media: Arc<Media>,
    pub membership: Arc<dyn Membership>,
}

impl WayOut {
    /// What commands decide sending with.
    pub fn deciding(&self, settings: &Settings) -> Sending {
        Sending {
            channels: Arc::new(ChannelsOf(self.tenancy.clone())),
            uploads: Arc::new(UploadsOf(self.media.clone())),
            bot: settings.bot.clone(),
        }
    }

    /// Starts the outbox.
    pub fn start(
        self,
        settings: &Settings,
        log: Arc<dyn EventLog>,
        queries: Queries,
        commands: Arc<Commands>,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Signals {
        let rates = self.tenancy.clone();
        let deps = outbox::Deps {
            log,
            commands,
            view: Arc::new(queries),
            lines: self.tenancy,
            media: Arc::new(UploadsOf(self.media)),
            membership: self.membership,
            clock,
            rates: Arc::new(move |client| rates.messages_per_second(client)),
            settings: settings.outbox.clone(),
        };
        outbox::start(deps, shutdown)
    }
}

/// Which provider a tenant's line goes to.
struct ChannelsOf(Arc<dyn Lines>);

impl Channels for ChannelsOf {
    fn of(&self, client: ClientId) -> Option<Channel> {
        Some(match self.0.of(client)?.account {
            Account::WhatsAppCloud { .. } => Channel::WhatsAppCloud,
            Account::Waha { .. } => Channel::Waha,
        })
    }
}

/// Uploads, as commands ask for them and as the outbox hands them over.
struct UploadsOf(Arc<Media>);

#[async_trait]
impl Uploads for UploadsOf {
    async fn find(&self, client: ClientId, id: &str) -> Result<Option<Upload>, CommandError> {
        let Ok(id) = id.parse::<MediaId>() else { return Ok(None) };
        let found = self.0.uploaded(client, id).await.map_err(|error| {
            tracing::warn!(%error, "can't look an upload up");
            CommandError::Unavailable
        })?;
        Ok(found.map(|About { mime_type, size, sha256, filename, .. }| Upload {
            id,
            size,
            mime_type,
            filename,
            sha256: Some(sha256),
        }))
    }
}

#[async_trait]
impl MediaAtProvider for UploadsOf {
    async fn at_provider(
        &self,
        client: ClientId,
        line: &Line,
        media: &MessageMedia,
    ) -> Result<MediaSource, SendError> {
        match media.copy {
            Some(copy) => self.0.hand_over(client, copy.id, line).await,
            None => Err(SendError::Final {
                error: ProviderError {
                    code: NOT_SENDABLE_CODE,
                    title: "The medium is not kept".to_owned(),
                    detail: "it was never uploaded here".to_owned(),
                },
            }),
        }
    }
}
