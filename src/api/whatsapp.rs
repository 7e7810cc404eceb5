//! The tenant's connection to WhatsApp.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;

use super::{
    Deps,
    answer::{Answer, cursor_at, projected},
    extract::{AtLeast, Caller, IdempotencyKey, JsonBody, MessagesRead, TenantWrite},
    shapes::{Chapter, SetWhatsAppState, WhatsAppWritten},
};
use crate::{
    domain::{ids::ClientId, whatsapp::WhatsAppStatus},
    projection::to_wire,
    wire::{
        problem::Problem,
        types::{WhatsAppMode, WhatsAppState},
    },
};

pub struct WhatsAppApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Tenant")]
impl WhatsAppApi {
    /// The connection to WhatsApp.
    #[oai(path = "/v1/whatsapp/state", method = "get", operation_id = "get_whatsapp_state")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<WhatsAppState>> {
        Ok(Answer(self.read(caller.identity.client_id).await?))
    }

    /// Tell the state of the connection to WhatsApp.
    ///
    /// For bridges; the gateways tell theirs by themselves.
    #[oai(path = "/v1/whatsapp/state", method = "put", operation_id = "set_whatsapp_state")]
    async fn set(
        &self,
        caller: Caller<TenantWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        _key: IdempotencyKey,
        body: JsonBody<SetWhatsAppState>,
    ) -> Result<Answer<WhatsAppWritten>> {
        let client = caller.identity.client_id;
        let SetWhatsAppState { status, phone_number, name, qr, quality, reason } = body.value;
        let status = from_wire(status);
        let actor = caller.actor();
        let position = self
            .0
            .commands
            .set_whatsapp_state(client, &actor, status, phone_number, name, qr, quality, reason)
            .await
            .map_err(Problem::from)?;
        let whatsapp_state = match projected(&self.0, position).await? {
            true => Some(self.read(client).await?),
            false => None,
        };
        Ok(Answer(WhatsAppWritten { whatsapp_state, cursor: cursor_at(&self.0, position) }))
    }
}

impl WhatsAppApi {
    async fn read(&self, client: ClientId) -> Result<WhatsAppState, Problem> {
        Ok(to_wire::whatsapp(&self.0.queries.whatsapp(client).await?))
    }
}

fn from_wire(mode: WhatsAppMode) -> WhatsAppStatus {
    match mode {
        WhatsAppMode::Disconnected => WhatsAppStatus::Disconnected,
        WhatsAppMode::Connecting => WhatsAppStatus::Connecting,
        WhatsAppMode::Qr => WhatsAppStatus::Qr,
        WhatsAppMode::Connected => WhatsAppStatus::Connected,
        WhatsAppMode::Error => WhatsAppStatus::Error,
    }
}
