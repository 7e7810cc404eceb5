//! A conversation's messages: its history, a new one, one sent again.

use std::sync::Arc;

use poem::Result;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Deps,
    answer::{AcceptedAnswer, Answer, WriteAnswer, unsent},
    conversations::no_such_conversation,
    extract::{
        AtLeast, Caller, IdempotencyKey, JsonBody, MessagesRead, MessagesSend, MessagesWrite,
    },
    problem::invalid_parameter,
    shapes::{Chapter, MessagePage},
};
use crate::{
    command::{
        self, Done, Request, Write,
        send::{Again, NewMessage},
    },
    domain::{
        ids::{ConversationId, MessageId},
        message::Sender,
    },
    projection::to_wire,
    wire::{
        problem::Problem,
        send::{MessageQueued, SendMessage},
    },
};

pub struct MessagesApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Messages")]
impl MessagesApi {
    /// A conversation's history.
    ///
    /// Newest first, a page at a time.
    #[oai(path = "/v1/conversations/:id/messages", method = "get", operation_id = "list_messages")]
    async fn list(
        &self,
        caller: Caller<MessagesRead>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// `next` of the page before, or the id of any message: those before it.
        before: Query<Option<Uuid>>,
        /// The most messages on the page; 50 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<MessagePage>> {
        let client = caller.identity.client_id;
        let id = ConversationId(id.0);
        let queries = &self.0.queries;
        let conversation = queries.conversation(client, id).await.map_err(Problem::from)?;
        // One merged away is answered as the one it lives on in.
        let id = conversation.ok_or_else(no_such_conversation)?.id;
        let before = before.0.map(MessageId);
        let limit = limit.0.unwrap_or(50) as usize;
        let page = queries.messages(client, id, before, limit).await.map_err(Problem::from)?;
        if let (Some(before), true) = (before, page.items.is_empty()) {
            // Nothing lies before the first message; before no message, nothing means nothing.
            let message = queries.message(client, before).await.map_err(Problem::from)?;
            if message.is_none_or(|message| message.conversation_id != id) {
                let detail = "is not a message of this conversation";
                return Err(invalid_parameter("before", detail).into());
            }
        }
        Ok(Answer(MessagePage {
            messages: page.items.iter().map(to_wire::message).collect(),
            next: page.next,
        }))
    }

    /// Send a message.
    ///
    /// It is queued; `message_status_updated` tells how it goes on. A token with `messages:write`
    /// sends as an agent; one with `bot:write` and without `messages:write` as the bot, which is
    /// answered `409` where it may not speak now.
    #[oai(path = "/v1/conversations/:id/messages", method = "post", operation_id = "send_message")]
    async fn send(
        &self,
        caller: Caller<MessagesSend>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: JsonBody<SendMessage>,
    ) -> Result<AcceptedAnswer<MessageQueued>> {
        let request = key.request(&body.bytes);
        let new = NewMessage {
            conversation: ConversationId(id.0),
            sender: caller.identity.sends_as().unwrap_or(Sender::Bot),
            body: body.value,
        };
        self.write(&caller, request, Write::Send(Box::new(new))).await
    }

    /// Send a message again that failed or is in doubt.
    ///
    /// One in doubt (`queued`, with an `error` of code -1) may have reached the contact: sending it
    /// again is a person's decision. It is the same message then. One that failed is sent as a new
    /// message, which is answered.
    #[oai(
        path = "/v1/conversations/:id/messages/:message_id/retry",
        method = "post",
        operation_id = "retry_message"
    )]
    async fn retry(
        &self,
        caller: Caller<MessagesWrite>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// The message's id.
        message_id: Path<Uuid>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<AcceptedAnswer<MessageQueued>> {
        let again = Again { conversation: ConversationId(id.0), message: MessageId(message_id.0) };
        self.write(&caller, key.request(&[]), Write::SendAgain(again)).await
    }
}

impl MessagesApi {
    async fn write<N>(
        &self,
        caller: &Caller<N>,
        request: Option<Request>,
        write: Write,
    ) -> Result<AcceptedAnswer<MessageQueued>> {
        let client = caller.identity.client_id;
        let commands = &self.0.commands;
        let answered = commands
            .write(client, &caller.actor(), request.as_ref(), write, answer)
            .await
            .map_err(Problem::from)?;
        Ok(AcceptedAnswer(WriteAnswer::new(&self.0, answered)))
    }
}

/// What a write of a message is answered with.
fn answer(done: &Done) -> command::Answer {
    let Done::Queued { message } = done else {
        return command::Answer { status: 202, body: json!({}) };
    };
    let message = to_wire::message(message);
    unsent(202, &MessageQueued { message, cursor: String::new() })
}
