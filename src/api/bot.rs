//! The tenant's bot.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;

use super::{
    Deps,
    answer::{Answer, cursor_at, projected},
    extract::{AtLeast, BotWrite, Caller, IdempotencyKey, JsonBody, MessagesRead},
    shapes::{BotWritten, Chapter, SetBotStatus},
};
use crate::{
    domain::{bot::BotMode, ids::ClientId},
    projection::to_wire,
    wire::{
        problem::Problem,
        types::{self as wire, BotStatus},
    },
};

pub struct BotApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Tenant")]
impl BotApi {
    /// The bot's status.
    #[oai(path = "/v1/bot/status", method = "get", operation_id = "get_bot_status")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<BotStatus>> {
        Ok(Answer(self.read(caller.identity.client_id).await?))
    }

    /// Switch the bot.
    #[oai(path = "/v1/bot/status", method = "put", operation_id = "set_bot_status")]
    async fn set(
        &self,
        caller: Caller<BotWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        _key: IdempotencyKey,
        body: JsonBody<SetBotStatus>,
    ) -> Result<Answer<BotWritten>> {
        let client = caller.identity.client_id;
        let SetBotStatus { status, reason } = body.value;
        let position = self
            .0
            .commands
            .set_bot_status(client, &caller.actor(), from_wire(status), reason)
            .await
            .map_err(Problem::from)?;
        let bot_status = match projected(&self.0, position).await? {
            true => Some(self.read(client).await?),
            false => None,
        };
        Ok(Answer(BotWritten { bot_status, cursor: cursor_at(&self.0, position) }))
    }
}

impl BotApi {
    async fn read(&self, client: ClientId) -> Result<BotStatus, Problem> {
        Ok(to_wire::bot(&self.0.queries.bot(client).await?))
    }
}

fn from_wire(mode: wire::BotMode) -> BotMode {
    match mode {
        wire::BotMode::Active => BotMode::Active,
        wire::BotMode::Paused => BotMode::Paused,
        wire::BotMode::Error => BotMode::Error,
        wire::BotMode::Offline => BotMode::Offline,
    }
}
