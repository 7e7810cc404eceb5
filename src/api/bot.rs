//! The tenant's bot.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;
use serde_json::json;

use super::{
    Deps,
    answer::{Answer, WriteAnswer, unsent},
    extract::{AtLeast, BotWrite, Caller, IdempotencyKey, JsonBody, MessagesRead},
    shapes::{BotWritten, Chapter, SetBotStatus},
};
use crate::{
    command::{self, Done, Write},
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
        key: IdempotencyKey,
        body: JsonBody<SetBotStatus>,
    ) -> Result<WriteAnswer<BotWritten>> {
        let request = key.request(&body.bytes);
        let SetBotStatus { status, reason } = body.value;
        let write = Write::SetBotStatus { status: from_wire(status), reason };
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
    let Done::Bot(bot) = done else { return command::Answer { status: 200, body: json!({}) } };
    unsent(200, &BotWritten { bot_status: to_wire::bot(bot), cursor: String::new() })
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
