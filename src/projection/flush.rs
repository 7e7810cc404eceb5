//! Writes what a batch changed: the other half of [`super::state`].
//!
//! An update names only the columns that changed, by kind of change, since SQLite rewrites the
//! entries of every index of which a column is named.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{
    bulks,
    state::{
        ConversationKey, FoldState, MessageKey, StoredConversation, StoredMessage, StoredTenant,
    },
    stored::{Json, active_at, conversation_body, conversation_row, key_hash, message_flags},
    words,
    write_back::Changed,
};
use crate::domain::{
    conversation::Conversation, ids::ClientId, message::Message, stats::Counts, time::Timestamp,
};

impl FoldState {
    /// Writes all that changed since the last flush, within the transaction that is open.
    pub fn flush(&mut self) -> rusqlite::Result<()> {
        self.flush_messages()?;
        write_conversations(&self.connection, self.conversations.to_write())?;
        self.conversations.written();
        bulks::write(&self.connection, self.bulks.to_write())?;
        self.bulks.written();
        bulks::write_recipients(&self.connection, &mut self.bulk_recipients)?;
        write_hours(&self.connection, &self.hours)?;
        self.hours.clear();
        write_tenants(&self.connection, &mut self.tenants)?;
        self.bound_tenants();
        self.bound_waiting()
    }

    pub(super) fn flush_messages(&mut self) -> rusqlite::Result<()> {
        write_messages(&self.connection, self.messages.to_write())?;
        self.messages.written();
        self.keys_written();
        Ok(())
    }

    /// Tenants are read again when needed: any of them may be dropped once it is written.
    fn bound_tenants(&mut self) {
        if self.tenants.len() > self.tenants_max {
            self.tenants.clear();
        }
    }
}

fn write_messages(
    connection: &Connection,
    changed: &[Changed<MessageKey, StoredMessage>],
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO message (row, client, conversation_row, id, timestamp, kind, direction, \
         sender, status, status_at, created_at, flags, key_hash, dedupe_key, wa_message_id, text, \
         media, payload, reply_to, client_ref, bulk_id, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
         ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
    )?;
    let mut words = MessageWords::new();
    for Changed { stored, now, .. } in changed {
        let StoredMessage { row, message } = now;
        if let Some(stored) = stored {
            update_message(connection, *row, &stored.message, message)?;
        } else {
            insert.execute(params![
                row,
                message.client_id.0,
                conversation_row(message.client_id, message.conversation_id),
                message.id.0.as_bytes(),
                message.timestamp,
                message.kind,
                message.direction,
                message.sender,
                message.status,
                message.status_at,
                message.created_at,
                message_flags(message),
                hash_of(message),
                message.dedupe_key,
                message.wa_message_id,
                message.text,
                message.media.as_ref().map(Json),
                message.payload.as_ref().map(Json),
                message.reply_to,
                message.client_ref,
                message.bulk_id.as_ref().map(|id| id.0.as_bytes()),
                message.error.as_ref().map(Json),
            ])?;
        }
        let before = stored.as_ref().and_then(|stored| stored.message.text.as_deref());
        words.replace(connection, *row, message.client_id, before, message.text.as_deref())?;
    }
    Ok(())
}

fn update_message(
    connection: &Connection,
    row: i64,
    before: &Message,
    now: &Message,
) -> rusqlite::Result<()> {
    if before == now {
        return Ok(());
    }
    // What a status changes; what the first status of a message that we sent changes.
    let mut advanced = before.clone();
    advanced.status = now.status;
    advanced.status_at = now.status_at;
    advanced.error.clone_from(&now.error);
    advanced.send_started = now.send_started;
    if advanced == *now {
        return connection
            .prepare_cached(
                "UPDATE message SET status = ?2, status_at = ?3, flags = ?4, error = ?5 \
                 WHERE row = ?1",
            )?
            .execute(params![
                row,
                now.status,
                now.status_at,
                message_flags(now),
                now.error.as_ref().map(Json),
            ])
            .map(drop);
    }
    advanced.dedupe_key.clone_from(&now.dedupe_key);
    advanced.wa_message_id.clone_from(&now.wa_message_id);
    if advanced == *now {
        return connection
            .prepare_cached(
                "UPDATE message SET status = ?2, status_at = ?3, flags = ?4, error = ?5, \
                 key_hash = ?6, dedupe_key = ?7, wa_message_id = ?8 WHERE row = ?1",
            )?
            .execute(params![
                row,
                now.status,
                now.status_at,
                message_flags(now),
                now.error.as_ref().map(Json),
                hash_of(now),
                now.dedupe_key,
                now.wa_message_id,
            ])
            .map(drop);
    }
    rewrite_message(connection, row, now)
}

/// For what is rare: edits and revocations.
fn rewrite_message(connection: &Connection, row: i64, now: &Message) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE message SET conversation_row = ?2, timestamp = ?3, kind = ?4, direction = ?5, \
             sender = ?6, status = ?7, status_at = ?8, created_at = ?9, flags = ?10, \
             key_hash = ?11, dedupe_key = ?12, wa_message_id = ?13, text = ?14, media = ?15, \
             payload = ?16, reply_to = ?17, client_ref = ?18, bulk_id = ?19, error = ?20 \
             WHERE row = ?1",
        )?
        .execute(params![
            row,
            conversation_row(now.client_id, now.conversation_id),
            now.timestamp,
            now.kind,
            now.direction,
            now.sender,
            now.status,
            now.status_at,
            now.created_at,
            message_flags(now),
            hash_of(now),
            now.dedupe_key,
            now.wa_message_id,
            now.text,
            now.media.as_ref().map(Json),
            now.payload.as_ref().map(Json),
            now.reply_to,
            now.client_ref,
            now.bulk_id.as_ref().map(|id| id.0.as_bytes()),
            now.error.as_ref().map(Json),
        ])
        .map(drop)
}

fn hash_of(message: &Message) -> Option<i64> {
    message.dedupe_key.as_deref().map(|key| key_hash(message.client_id, key))
}

/// Keeps the full-text index at what the messages say. It holds no text, so that what is to be
/// taken out of it must be given once more.
struct MessageWords {
    words: String,
}

impl MessageWords {
    fn new() -> Self {
        Self { words: String::new() }
    }

    fn replace(
        &mut self,
        connection: &Connection,
        row: i64,
        client: ClientId,
        before: Option<&str>,
        now: Option<&str>,
    ) -> rusqlite::Result<()> {
        if before == now {
            return Ok(());
        }
        if let Some(before) = before {
            self.words.clear();
            words::index_text(&mut self.words, client, before);
            connection
                .prepare_cached(
                    "INSERT INTO message_words (message_words, rowid, words) \
                     VALUES ('delete', ?1, ?2)",
                )?
                .execute((row, &self.words))?;
        }
        if let Some(now) = now {
            self.words.clear();
            words::index_text(&mut self.words, client, now);
            connection
                .prepare_cached("INSERT INTO message_words (rowid, words) VALUES (?1, ?2)")?
                .execute((row, &self.words))?;
        }
        Ok(())
    }
}

fn write_conversations(
    connection: &Connection,
    changed: &[Changed<ConversationKey, StoredConversation>],
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO conversation (row, client, status, merged_into, active_at, feed_row, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut update = connection.prepare_cached(
        "UPDATE conversation SET status = ?2, merged_into = ?3, active_at = ?4, feed_row = ?5, \
         body = ?6 WHERE row = ?1",
    )?;
    let mut update_body = connection
        .prepare_cached("UPDATE conversation SET feed_row = ?2, body = ?3 WHERE row = ?1")?;
    let mut body = Vec::new();
    for Changed { key, stored, now } in changed {
        let row = conversation_row(key.0, key.1);
        let StoredConversation { conversation, feed_row } = now;
        conversation_body(&mut body, conversation);
        let body = std::str::from_utf8(&body)?;
        let merged_into = conversation.merged_into.map(|id| id.0);
        let active_at = active_at(conversation);
        match stored {
            None => insert.execute(params![
                row,
                key.0.0,
                conversation.status,
                merged_into,
                active_at,
                feed_row,
                body,
            ])?,
            Some(stored) if is_listed_alike(&stored.conversation, conversation) => {
                update_body.execute(params![row, feed_row, body])?
            }
            Some(_) => update.execute(params![
                row,
                conversation.status,
                merged_into,
                active_at,
                feed_row,
                body,
            ])?,
        };
        let before = stored.as_ref().map(|stored| &*stored.conversation);
        write_contact_words(connection, row, before, conversation)?;
    }
    Ok(())
}

/// Neither its place in the list nor whether it is in it has changed.
fn is_listed_alike(before: &Conversation, now: &Conversation) -> bool {
    before.status == now.status
        && before.merged_into == now.merged_into
        && active_at(before) == active_at(now)
}

fn write_contact_words(
    connection: &Connection,
    row: i64,
    before: Option<&Conversation>,
    now: &Conversation,
) -> rusqlite::Result<()> {
    if before.is_some_and(|before| before.contact == now.contact) {
        return Ok(());
    }
    let mut words = String::new();
    if let Some(before) = before {
        words::index_contact(&mut words, before.client_id, &before.contact);
        connection
            .prepare_cached(
                "INSERT INTO contact_words (contact_words, rowid, words) VALUES ('delete', ?1, ?2)",
            )?
            .execute((row, &words))?;
        words.clear();
    }
    words::index_contact(&mut words, now.client_id, &now.contact);
    connection
        .prepare_cached("INSERT INTO contact_words (rowid, words) VALUES (?1, ?2)")?
        .execute((row, &words))
        .map(drop)
}

fn write_hours(
    connection: &Connection,
    hours: &HashMap<(ClientId, Timestamp), Counts>,
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO hour (client, hour, received, sent, delivered, read, failed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET \
         received = received + excluded.received, sent = sent + excluded.sent, \
         delivered = delivered + excluded.delivered, read = read + excluded.read, \
         failed = failed + excluded.failed",
    )?;
    for ((client, hour), counts) in hours {
        let Counts { received, sent, delivered, read, failed } = *counts;
        add.execute(params![client.0, hour, received, sent, delivered, read, failed])?;
    }
    Ok(())
}

fn write_tenants(
    connection: &Connection,
    tenants: &mut HashMap<ClientId, StoredTenant>,
) -> rusqlite::Result<()> {
    let mut write = connection.prepare_cached(
        "INSERT OR REPLACE INTO tenant (client, stats, bot, whatsapp, day_date, day_zone, \
         stats_feed_row, bot_feed_row, whatsapp_feed_row, floor_feed_row) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (client, entry) in tenants.iter_mut().filter(|(_, entry)| entry.touched) {
        let day = entry.tenant.day.as_ref();
        write.execute(params![
            client.0,
            Json(&entry.tenant.stats),
            Json(&entry.tenant.bot),
            Json(&entry.tenant.whatsapp),
            day.map(|(date, _)| date),
            day.map(|(_, zone)| zone),
            entry.stats_feed_row,
            entry.bot_feed_row,
            entry.whatsapp_feed_row,
            entry.floor,
        ])?;
        entry.touched = false;
    }
    Ok(())
}
