//! What the outbox reads: which messages wait to be sent, and what is needed to send them.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    lookups,
    queries::{Queries, QueryError},
    state::{find_conversation, find_message, find_message_by_key},
    stored::{conversation_of, conversation_row, key_hash},
};
use crate::domain::{
    conversation::Contact,
    ids::{BulkId, ClientId, ConversationId, MessageId},
    message::Message,
};

/// A message that waits, or was claimed and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRow {
    /// Its place in the order in which messages were queued.
    pub row: i64,
    pub message: MessageId,
    /// Where it is now; it may have been queued in one that was merged into this.
    pub conversation: ConversationId,
    pub bulk_id: Option<BulkId>,
    pub send_started: bool,
    /// It is shown as in doubt already.
    pub in_doubt: bool,
}

/// A message with what is needed to send it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToSend {
    pub message: Message,
    pub contact: Contact,
    /// The provider's id of the message that it answers or reacts to.
    pub reply_to: Option<String>,
}

/// A contact with the provider's id of their newest message.
#[derive(Debug, Clone, PartialEq)]
pub struct NewestInbound {
    pub contact: Contact,
    pub wa_message_id: Option<String>,
}

impl Queries {
    /// Tenants of whom a message is queued.
    pub async fn tenants_with_queued(&self) -> Result<Vec<ClientId>, QueryError> {
        self.read(tenants_with_queued).await
    }

    /// The tenant's queued messages after the row `after`, in the order in which they were queued.
    pub async fn queued(
        &self,
        client: ClientId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<QueuedRow>, QueryError> {
        self.read(move |db| queued(db, client, after, limit)).await
    }

    /// What is needed to send these; `None` for one that is not there.
    pub async fn to_send(
        &self,
        client: ClientId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<Option<ToSend>>, QueryError> {
        self.read(move |db| messages.iter().map(|id| to_send(db, client, *id)).collect()).await
    }

    /// The conversations that were merged into this one, directly.
    pub async fn merged_into(
        &self,
        client: ClientId,
        into: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        self.read(move |db| merged_into(db, client, into)).await
    }

    /// The contact of a conversation and their newest message; `None`: there is no such one.
    pub async fn newest_inbound(
        &self,
        client: ClientId,
        conversation: ConversationId,
    ) -> Result<Option<NewestInbound>, QueryError> {
        self.read(move |db| newest_inbound(db, client, conversation)).await
    }
}

fn tenants_with_queued(connection: &Connection) -> rusqlite::Result<Vec<ClientId>> {
    connection
        .prepare_cached("SELECT DISTINCT client FROM message WHERE status = 'queued'")?
        .query_map([], |row| row.get(0).map(ClientId))?
        .collect()
}

fn queued(
    connection: &Connection,
    client: ClientId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<QueuedRow>> {
    connection
        .prepare_cached(
            "SELECT row FROM message INDEXED BY message_queued \
             WHERE status = 'queued' AND client = ?1 AND row > ?2 ORDER BY row LIMIT ?3",
        )?
        .query_map(params![client.0, after, limit as i64], |row| row.get(0))?
        .map(|row| queued_row(connection, row?))
        .collect()
}

fn queued_row(connection: &Connection, row: i64) -> rusqlite::Result<QueuedRow> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            super::stored::message_columns!(),
            " FROM message WHERE row = ?1"
        ))?
        .query_row([row], |found| {
            let (row, message) = super::stored::read_message(found)?;
            Ok(QueuedRow {
                row,
                message: message.id,
                conversation: message.conversation_id,
                bulk_id: message.bulk_id,
                send_started: message.send_started,
                in_doubt: message.error.is_some(),
            })
        })
}

fn to_send(
    connection: &Connection,
    client: ClientId,
    id: MessageId,
) -> rusqlite::Result<Option<ToSend>> {
    let Some(found) = find_message(connection, (client, id))? else { return Ok(None) };
    let message = Message::clone(&found.message);
    let key = (client, message.conversation_id);
    let Some(conversation) = find_conversation(connection, key)? else { return Ok(None) };
    let reply_to = match &message.reply_to {
        None => None,
        Some(key) => {
            let found = find_message_by_key(connection, client, key, key_hash(client, key))?;
            // Of one that is not here its key is the best that is known.
            let id = found.and_then(|found| found.message.wa_message_id.clone());
            Some(id.unwrap_or_else(|| key.clone()))
        }
    };
    let contact = conversation.conversation.contact.clone();
    Ok(Some(ToSend { message, contact, reply_to }))
}

/// Rare, and read after a start only: the conversations of the tenant are looked through.
fn merged_into(
    connection: &Connection,
    client: ClientId,
    into: ConversationId,
) -> rusqlite::Result<Vec<ConversationId>> {
    let first = conversation_row(client, ConversationId(0));
    let last = conversation_row(client, ConversationId(u32::MAX));
    connection
        .prepare_cached(
            "SELECT row FROM conversation WHERE row BETWEEN ?1 AND ?2 AND merged_into = ?3",
        )?
        .query_map(params![first, last, into.0], |row| {
            row.get(0).map(|row| conversation_of(row).1)
        })?
        .collect()
}

fn newest_inbound(
    connection: &Connection,
    client: ClientId,
    id: ConversationId,
) -> rusqlite::Result<Option<NewestInbound>> {
    let Some(conversation) = lookups::conversation(connection, client, id)? else {
        return Ok(None);
    };
    let wa_message_id: Option<Option<String>> = connection
        .prepare_cached(
            "SELECT wa_message_id FROM message WHERE conversation_row = ?1 \
             AND direction = 'inbound' AND kind <> 'system' \
             ORDER BY timestamp DESC, id DESC LIMIT 1",
        )?
        .query_row([conversation_row(client, conversation.id)], |row| row.get(0))
        .optional()?;
    let contact = conversation.contact;
    Ok(Some(NewestInbound { contact, wa_message_id: wa_message_id.flatten() }))
}
