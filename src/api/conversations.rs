//! Conversations: list and search, one of them, change, open, mark as read.

use std::sync::Arc;

use poem::Result;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
    types::MaybeUndefined,
};

use super::{
    Deps,
    answer::{Answer, cursor_at, projected},
    extract::{AtLeast, Caller, IdempotencyKey, JsonBody, MessagesRead, MessagesWrite},
    problem::invalid_body,
    shapes::{
        ChangeConversation, Chapter, ConversationPage, ConversationWritten, OpenConversation,
        Written,
    },
};
use crate::{
    domain::{
        contact::parse_phone,
        conversation::Contact,
        event::ConversationChange,
        ids::{ClientId, ConversationId, Position},
    },
    projection::{queries::ConversationFilter, to_wire},
    wire::{
        problem::{Code, FieldError, Problem},
        types::{Conversation, ConversationStatus},
    },
};

pub struct ConversationsApi(pub Arc<Deps>);

/// Whether a conversation was opened or found.
#[derive(ApiResponse)]
enum Opened {
    /// It was there already.
    #[oai(status = 200)]
    Found(Answer<ConversationWritten>),
    /// It was opened.
    #[oai(status = 201)]
    Created(Answer<ConversationWritten>),
}

#[OpenApi(tag = "Chapter::Conversations")]
impl ConversationsApi {
    /// List or search conversations.
    ///
    /// Newest activity first, a page at a time.
    #[oai(path = "/v1/conversations", method = "get", operation_id = "list_conversations")]
    async fn list(
        &self,
        caller: Caller<MessagesRead>,
        /// Words to look for in contacts and messages.
        #[oai(validator(max_length = 200))]
        q: Query<Option<String>>,
        /// Only those of this status.
        status: Query<Option<ConversationStatus>>,
        /// `next` of the page before.
        #[oai(validator(min_length = 1, max_length = 128))]
        after: Query<Option<String>>,
        /// The most conversations on the page; 50 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<ConversationPage>> {
        let filter = ConversationFilter {
            search: q.0.filter(|text| !text.trim().is_empty()),
            status: status.0.map(from_wire_status),
            after: after.0,
            limit: limit.0.unwrap_or(50) as usize,
        };
        let client = caller.identity.client_id;
        let page = self.0.queries.conversations(client, filter).await.map_err(Problem::from)?;
        Ok(Answer(ConversationPage {
            conversations: page.items.iter().map(to_wire::conversation).collect(),
            next: page.next,
        }))
    }

    /// Open the conversation with a contact, or find it.
    ///
    /// `201` when it is new, `200` when it was there.
    #[oai(path = "/v1/conversations", method = "post", operation_id = "open_conversation")]
    async fn open(
        &self,
        caller: Caller<MessagesWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        _key: IdempotencyKey,
        body: JsonBody<OpenConversation>,
    ) -> Result<Opened> {
        let phone = parse_phone(&body.value.phone).map_err(|error| {
            invalid_body(vec![FieldError::at_pointer("/phone", error.to_string())])
        })?;
        let contact = Contact { phone: Some(phone), name: body.value.name, ..Contact::default() };
        let client = caller.identity.client_id;
        let (id, is_new, position) = self
            .0
            .commands
            .open_conversation(client, &caller.actor(), contact)
            .await
            .map_err(Problem::from)?;
        let answer = Answer(self.written(client, id, position).await?);
        Ok(if is_new { Opened::Created(answer) } else { Opened::Found(answer) })
    }

    /// One conversation.
    #[oai(path = "/v1/conversations/:id", method = "get", operation_id = "get_conversation")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<Conversation>> {
        let found = self.find(caller.identity.client_id, ConversationId(id.0)).await?;
        Ok(Answer(found.ok_or_else(no_such_conversation)?))
    }

    /// Change a conversation.
    #[oai(path = "/v1/conversations/:id", method = "patch", operation_id = "change_conversation")]
    async fn change(
        &self,
        caller: Caller<MessagesWrite>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        _key: IdempotencyKey,
        body: JsonBody<ChangeConversation>,
    ) -> Result<Answer<ConversationWritten>> {
        let id = ConversationId(id.0);
        let client = caller.identity.client_id;
        let position = self
            .0
            .commands
            .change_conversation(client, &caller.actor(), id, change_of(body.value))
            .await
            .map_err(Problem::from)?;
        Ok(Answer(self.written(client, id, position).await?))
    }

    /// Mark a conversation as read.
    ///
    /// All that has arrived so far, here and on WhatsApp.
    #[oai(path = "/v1/conversations/:id/read", method = "post", operation_id = "mark_read")]
    async fn mark_read(
        &self,
        caller: Caller<MessagesWrite>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        _key: IdempotencyKey,
    ) -> Result<Answer<Written>> {
        let position = self
            .0
            .commands
            .mark_read(caller.identity.client_id, &caller.actor(), ConversationId(id.0))
            .await
            .map_err(Problem::from)?;
        Ok(Answer(Written { cursor: cursor_at(&self.0, position) }))
    }
}

impl ConversationsApi {
    async fn find(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, Problem> {
        let found = self.0.queries.conversation(client, id).await?;
        Ok(found.as_ref().map(to_wire::conversation))
    }

    /// The conversation after a write at `position`.
    async fn written(
        &self,
        client: ClientId,
        id: ConversationId,
        position: Position,
    ) -> Result<ConversationWritten, Problem> {
        let conversation = match projected(&self.0, position).await? {
            true => self.find(client, id).await?,
            false => None,
        };
        Ok(ConversationWritten {
            conversation,
            conversation_id: id.0,
            cursor: cursor_at(&self.0, position),
        })
    }
}

pub(super) fn no_such_conversation() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such conversation")
}

fn change_of(body: ChangeConversation) -> ConversationChange {
    ConversationChange {
        status: body.status.map(from_wire_status),
        assigned_to: match body.assigned_to {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(name) => Some(Some(name)),
        },
        labels: body.labels,
        bot_enabled: body.bot_enabled,
    }
}

fn from_wire_status(status: ConversationStatus) -> crate::domain::conversation::ConversationStatus {
    use crate::domain::conversation::ConversationStatus as Domain;
    match status {
        ConversationStatus::Open => Domain::Open,
        ConversationStatus::Pending => Domain::Pending,
        ConversationStatus::Closed => Domain::Closed,
    }
}
