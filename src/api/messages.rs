//! A conversation's history.

use std::sync::Arc;

use poem::Result;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use super::{
    Deps,
    answer::Answer,
    conversations::no_such_conversation,
    extract::{AtLeast, Caller, MessagesRead},
    problem::invalid_parameter,
    shapes::{Chapter, MessagePage},
};
use crate::{
    domain::ids::{ConversationId, MessageId},
    projection::to_wire,
    wire::problem::Problem,
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
}
