//! The tenant's connection to WhatsApp.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;
use serde_json::json;

use super::{
    Deps,
    answer::{Answer, WriteAnswer, unsent},
    extract::{AtLeast, Caller, IdempotencyKey, JsonBody, MessagesRead, TenantWrite},
    shapes::{Chapter, SetWhatsAppState, WhatsAppWritten},
};
use crate::{
    command::{self, Done, WhatsAppUpdate, Write},
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
        key: IdempotencyKey,
        body: JsonBody<SetWhatsAppState>,
    ) -> Result<WriteAnswer<WhatsAppWritten>> {
        let request = key.request(&body.bytes);
        let SetWhatsAppState { status, phone_number, name, qr, quality, reason } = body.value;
        let status = from_wire(status);
        let write = Write::SetWhatsAppState(WhatsAppUpdate {
            status,
            phone_number,
            name,
            qr,
            quality,
            reason,
        });
        let client = caller.identity.client_id;
        let commands = &self.0.commands;
        let answered = commands
            .write(client, &caller.actor(), request.as_ref(), write, answer)
            .await
            .map_err(Problem::from)?;
        Ok(WriteAnswer::new(&self.0, answered))
    }
}

/// What the write is answered with.
fn answer(done: &Done) -> command::Answer {
    let Done::WhatsApp(state) = done else {
        return command::Answer { status: 200, body: json!({}) };
    };
    unsent(
        200,
        &WhatsAppWritten { whatsapp_state: to_wire::whatsapp(state), cursor: String::new() },
    )
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
