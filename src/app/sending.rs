//! Puts sending together: what commands decide with, and the outbox with its line to the providers.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;

use crate::{
    command::{
        CommandError, Commands,
        send::{Channel, Channels, Sending, Upload, Uploads},
    },
    config::Settings,
    domain::{
        ids::ClientId,
        message::{Media, NOT_SENDABLE_CODE, ProviderError},
    },
    event_log::EventLog,
    gateway::{
        outbound::{Account, Line, Lines, MediaSource, SendError},
        tenancy::Tenancy,
    },
    outbox::{
        self, MediaAtProvider, Signals, TenantRate,
        membership::{InstanceId, SingleInstance},
    },
    projection::queries::Queries,
    runtime::{clock::Clock, shutdown::Shutdown},
};

/// What commands decide sending with.
pub fn deciding(settings: &Settings, lines: Arc<dyn Lines>) -> Sending {
    Sending {
        channels: Arc::new(ChannelsOf(lines)),
        uploads: Arc::new(NoUploads),
        bot: settings.bot.clone(),
    }
}

/// Starts the outbox.
pub fn start(
    settings: &Settings,
    log: Arc<dyn EventLog>,
    queries: Queries,
    commands: Arc<Commands>,
    tenancy: Arc<Tenancy>,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Signals {
    let deps = outbox::Deps {
        log,
        commands,
        view: Arc::new(queries),
        rates: rates(settings, tenancy.clone()),
        lines: tenancy,
        media: Arc::new(NoUploads),
        membership: Arc::new(SingleInstance::new(InstanceId(clock.new_id()))),
        clock,
        settings: settings.outbox.clone(),
    };
    outbox::start(deps, shutdown)
}

/// What was set at run time wins over the configuration.
fn rates(settings: &Settings, tenancy: Arc<Tenancy>) -> TenantRate {
    let tenants = settings.tenants.iter();
    let own = tenants
        .filter_map(|tenant| Some((ClientId(tenant.client_id), tenant.messages_per_second?)));
    let own: HashMap<_, _> = own.collect();
    Arc::new(move |client| {
        tenancy.messages_per_second(client).or_else(|| own.get(&client).copied())
    })
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

/// A server that keeps no media.
struct NoUploads;

#[async_trait]
impl Uploads for NoUploads {
    async fn find(&self, _: ClientId, _: &str) -> Result<Option<Upload>, CommandError> {
        Ok(None)
    }
}

#[async_trait]
impl MediaAtProvider for NoUploads {
    async fn at_provider(
        &self,
        _: ClientId,
        _: &Line,
        _: &Media,
    ) -> Result<MediaSource, SendError> {
        Err(SendError::Final {
            error: ProviderError {
                code: NOT_SENDABLE_CODE,
                title: "The medium is not kept".to_owned(),
                detail: "it was uploaded to a server that keeps no media".to_owned(),
            },
        })
    }
}
