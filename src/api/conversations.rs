//! Conversations: list and search, one of them, change, open, mark as read.

use std::sync::Arc;

use poem::Result;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    types::MaybeUndefined,
};
use serde_json::json;

use super::{
    Deps,
    answer::{Answer, WriteAnswer, unsent},
    extract::{AtLeast, Caller, IdempotencyKey, JsonBody, MessagesRead, MessagesWrite},
    page_mark,
    problem::invalid_body,
    shapes::{
        ChangeConversation, Chapter, ConversationPage, ConversationWritten, OpenConversation,
    },
};
use crate::{
    command::{self, Done, Request, Write},
    domain::{
        contact::parse_phone,
        conversation::Contact,
        event::ConversationChange,
        ids::{ClientId, ConversationId},
    },
    projection::{queries::ConversationFilter, to_wire},
    wire::{
        problem::{Code, FieldError, Problem},
        types::{Conversation, ConversationStatus},
    },
};

pub struct ConversationsApi(pub Arc<Deps>);

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
        let client = caller.identity.client_id;
        let after = page_mark::parameter(client, "after", after.0)?;
        let filter = ConversationFilter {
            search: q.0.filter(|text| !text.trim().is_empty()),
            status: status.0.map(from_wire_status),
            after,
            limit: limit.0.unwrap_or(50) as usize,
        };
        let page = self.0.queries.conversations(client, filter).await.map_err(Problem::from)?;
        Ok(Answer(ConversationPage {
            conversations: page.items.iter().map(to_wire::conversation).collect(),
            next: page.next.map(|place| page_mark::write(client, &place)),
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
        key: IdempotencyKey,
        body: JsonBody<OpenConversation>,
    ) -> Result<WriteAnswer<ConversationWritten, true>> {
        let phone = parse_phone(&body.value.phone).map_err(|error| {
            invalid_body(vec![FieldError::at_pointer("/phone", error.to_string())])
        })?;
        let contact = Contact { phone: Some(phone), name: body.value.name, ..Contact::default() };
        let request = key.request(&body.bytes);
        self.write(&caller, request, Write::OpenConversation { contact }).await
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
        key: IdempotencyKey,
        body: JsonBody<ChangeConversation>,
    ) -> Result<WriteAnswer<ConversationWritten>> {
        let request = key.request(&body.bytes);
        let write =
            Write::ChangeConversation { id: ConversationId(id.0), change: change_of(body.value) };
        self.write(&caller, request, write).await
    }

    /// Mark a conversation as read.
    ///
    /// All that has arrived so far, for all who look at it here; the contact is told on WhatsApp, if
    /// the provider takes it.
    #[oai(path = "/v1/conversations/:id/read", method = "post", operation_id = "mark_read")]
    async fn mark_read(
        &self,
        caller: Caller<MessagesWrite>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<WriteAnswer<ConversationWritten>> {
        let write = Write::MarkRead { id: ConversationId(id.0) };
        self.write(&caller, key.request(&[]), write).await
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

    async fn write<const CREATES: bool>(
        &self,
        caller: &Caller<MessagesWrite>,
        request: Option<Request>,
        write: Write,
    ) -> Result<WriteAnswer<ConversationWritten, CREATES>> {
        let client = caller.identity.client_id;
        let commands = &self.0.commands;
        let answered = commands
            .write(client, &caller.actor(), request.as_ref(), write, answer)
            .await
            .map_err(Problem::from)?;
        Ok(WriteAnswer::new(&self.0, answered))
    }
}

/// What a write of a conversation is answered with.
fn answer(done: &Done) -> command::Answer {
    let (status, conversation) = match done {
        Done::Opened { conversation, created: true } => (201, conversation),
        Done::Opened { conversation, created: false }
        | Done::Changed { conversation }
        | Done::Read { conversation } => (200, conversation),
        Done::Bot(_) | Done::WhatsApp(_) | Done::Bulk(_) | Done::Queued { .. } => {
            return command::Answer { status: 200, body: json!({}) };
        }
    };
    let conversation = to_wire::conversation(conversation);
    unsent(status, &ConversationWritten { conversation, cursor: String::new() })
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
