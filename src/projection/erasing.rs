//! Erasing a person from the read model: rows, words, feed, and what the file keeps of them.
//!
//! The fold says who is erased ([`State::erase`](crate::domain::state::State::erase)); here their
//! rows are deleted in the transaction that is open, the feed's included. Afterwards, in steps
//! that hold nobody up, the full-text index is merged ([`merge_words`]), since it marks entries as
//! deleted and keeps their words until then, and the write-ahead log is emptied, in which the pages
//! stood as they were. (FTS5 can drop entries at once, by its `secure-delete`; with
//! `detail = none` that leaves a damaged index, as a property found.)
//!
//! **Invariant:** `secure_delete` overwrites what is deleted, so that after these steps no byte of
//! an erased person is in the file. That they are due is kept in the file itself.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    state::{ConversationKey, FoldState, find_conversation},
    stored::{Json, conversation_of, conversation_row, message_columns, read_message},
    words,
};
use crate::domain::{
    event::Erasure,
    ids::{ClientId, ConversationId, IdentityHash, MediaId, MessageId},
    message::Message,
    time::Timestamp,
};

/// Pages of the full-text index that one step merges: some milliseconds.
const MERGE_PAGES: i64 = 256;

impl FoldState {
    /// Deletes all rows of the conversations, and says how many of the messages were queued.
    pub(super) fn erase_rows(
        &mut self,
        client: ClientId,
        erasure: &Erasure,
        at: Timestamp,
    ) -> rusqlite::Result<i64> {
        // What this batch changed is written first: what is deleted must be known to the index.
        self.flush()?;
        let mut queued = 0;
        self.mark_erasure()?;
        for &id in &erasure.conversations {
            queued += erase_messages(&self.connection, (client, id))?;
            self.feed_rows_erased += erase_conversation(&self.connection, (client, id))?;
            erase_around(&self.connection, (client, id), at)?;
            self.connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO erased (client, conversation) VALUES (?1, ?2)",
                )?
                .execute((client.0, id.0))?;
            if let Some(erased) = &mut self.erased {
                erased.insert((client, id));
            }
        }
        // They hold texts too, and are read again where needed.
        self.conversations.retain_clean(|_, _| false);
        self.messages.retain_clean(|_, _| false);
        self.keys.clear();
        self.absent = None;
        Ok(queued)
    }

    /// The words of deleted messages and contacts are in the index until it is merged, and rows
    /// go on as if the messages were still there, after a restart too.
    fn mark_erasure(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE meta SET words_due = 1, message_row_min = ?1")?
            .execute([self.next_message_row])
            .map(drop)
    }
}

/// Whether the full-text index is to be merged.
pub(super) fn are_words_due(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT words_due <> 0 FROM meta", [], |row| row.get(0))
}

/// Merges the full-text index for about [`MERGE_PAGES`] pages; `true` when it is done. `first`
/// begins a merge of all there is, as optimizing would do in one go.
pub(super) fn merge_words(connection: &Connection, first: bool) -> rusqlite::Result<bool> {
    let mut done = true;
    for table in ["message_words", "contact_words"] {
        let pages = if first { -MERGE_PAGES } else { MERGE_PAGES };
        let before = total_changes(connection)?;
        connection
            .prepare_cached(&format!("INSERT INTO {table} ({table}, rank) VALUES ('merge', ?1)"))?
            .execute([pages])?;
        // The statement itself counts as one; FTS5 says by fewer than two that nothing is left.
        done &= !first && total_changes(connection)? - before < 2;
    }
    if done {
        connection.execute("UPDATE meta SET words_due = 0", [])?;
    }
    Ok(done)
}

fn total_changes(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT total_changes()", [], |row| row.get(0))
}

fn erase_messages(connection: &Connection, key: ConversationKey) -> rusqlite::Result<i64> {
    let conversation = conversation_row(key.0, key.1);
    let mut queued = 0;
    {
        let mut select = connection.prepare_cached(
            "SELECT row, text, status = 'queued' FROM message WHERE conversation_row = ?1",
        )?;
        let mut forget = connection.prepare_cached(
            "INSERT INTO message_words (message_words, rowid, words) VALUES ('delete', ?1, ?2)",
        )?;
        let mut indexed = String::new();
        let mut rows = select.query([conversation])?;
        while let Some(row) = rows.next()? {
            queued += row.get::<_, i64>(2)?;
            let Some(text) = row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?
            else {
                continue;
            };
            indexed.clear();
            words::index_text(&mut indexed, key.0, text);
            forget.execute((row.get::<_, i64>(0)?, &indexed))?;
        }
    }
    connection
        .prepare_cached("DELETE FROM message WHERE conversation_row = ?1")?
        .execute([conversation])?;
    Ok(queued)
}

/// Says how many rows its newest state event had in the feed.
fn erase_conversation(connection: &Connection, key: ConversationKey) -> rusqlite::Result<i64> {
    let Some(known) = find_conversation(connection, key)? else { return Ok(0) };
    let row = conversation_row(key.0, key.1);
    let mut indexed = String::new();
    words::index_contact(&mut indexed, key.0, &known.conversation.contact);
    connection
        .prepare_cached(
            "INSERT INTO contact_words (contact_words, rowid, words) VALUES ('delete', ?1, ?2)",
        )?
        .execute((row, &indexed))?;
    connection.prepare_cached("DELETE FROM conversation WHERE row = ?1")?.execute([row])?;
    let Some(feed_row) = known.feed_row else { return Ok(0) };
    let gone = connection
        .prepare_cached("DELETE FROM feed_state WHERE client = ?1 AND row = ?2")?
        .execute((key.0.0, feed_row))?;
    Ok(i64::try_from(gone).unwrap_or(0))
}

/// What waits for messages, identities.
fn erase_around(
    connection: &Connection,
    (client, id): ConversationKey,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let of = (client.0, id.0);
    connection
        .prepare_cached(
            "DELETE FROM waiting WHERE client = ?1 \
             AND json_extract(waiting, '$.conversation_id') = ?2",
        )?
        .execute(of)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO erased_identity (client, hash, at) \
             SELECT client, hash, ?3 FROM identity WHERE client = ?1 AND conversation = ?2",
        )?
        .execute(params![client.0, id.0, at])?;
    connection
        .prepare_cached("DELETE FROM identity WHERE client = ?1 AND conversation = ?2")?
        .execute(of)
        .map(drop)
}

/// Deletes the stored facts of erased conversations and says how many there were.
pub(super) fn erase_facts(
    connection: &Connection,
    client: ClientId,
    erasure: &Erasure,
) -> rusqlite::Result<i64> {
    let mut gone = 0;
    match &erasure.positions {
        Some(positions) => {
            let mut delete = connection.prepare_cached(
                "DELETE FROM feed WHERE row BETWEEN ?1 AND ?2 AND client = ?3 AND conversation = ?4",
            )?;
            for position in positions {
                let first = i64::try_from(position.0 << 16).unwrap_or(i64::MAX);
                for id in &erasure.conversations {
                    gone += delete.execute((first, first | 0xffff, client.0, id.0))?;
                }
            }
        }
        None => {
            let mut delete = connection
                .prepare_cached("DELETE FROM feed WHERE client = ?1 AND conversation = ?2")?;
            for id in &erasure.conversations {
                gone += delete.execute((client.0, id.0))?;
            }
        }
    }
    Ok(i64::try_from(gone).unwrap_or(0))
}

pub(super) fn is_erased(
    connection: &Connection,
    (client, id): ConversationKey,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM erased WHERE client = ?1 AND conversation = ?2")?
        .exists((client.0, id.0))
}

/// A person of whom streams and media are still to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasing {
    pub client: ClientId,
    /// Under which they are on the list.
    pub conversation: ConversationId,
    pub erasure: Erasure,
}

/// In order, from behind `after` on.
pub(super) fn erasing(
    connection: &Connection,
    after: Option<(ClientId, ConversationId)>,
    limit: usize,
) -> rusqlite::Result<Vec<Erasing>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (client, conversation) =
        after.map_or((-1, 0), |(client, id)| (i64::from(client.0), i64::from(id.0)));
    connection
        .prepare_cached(
            "SELECT client, conversation, erasure FROM erasing \
             WHERE (client, conversation) > (?1, ?2) ORDER BY client, conversation LIMIT ?3",
        )?
        .query_map((client, conversation, limit), |row| {
            let erasure = row.get::<_, Json<Erasure>>(2)?.0;
            let (client, conversation) = (ClientId(row.get(0)?), ConversationId(row.get(1)?));
            Ok(Erasing { client, conversation, erasure })
        })?
        .collect()
}

/// All identities that are known to be erased, newest first, at most `limit`.
pub(super) fn erased_identities(
    connection: &Connection,
    limit: usize,
) -> rusqlite::Result<Vec<(ClientId, IdentityHash, Timestamp)>> {
    connection
        .prepare_cached("SELECT client, hash, at FROM erased_identity ORDER BY at DESC LIMIT ?1")?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((ClientId(row.get(0)?), IdentityHash(row.get(1)?), row.get(2)?))
        })?
        .collect()
}

/// The conversation and all that were merged into it, itself first.
pub(super) fn with_merged(
    connection: &Connection,
    (client, id): ConversationKey,
) -> rusqlite::Result<Vec<ConversationId>> {
    let mut select = connection.prepare_cached(
        "SELECT row FROM conversation WHERE row BETWEEN ?1 AND ?2 AND merged_into = ?3",
    )?;
    let first = conversation_row(client, ConversationId(0));
    let last = conversation_row(client, ConversationId(u32::MAX));
    let mut found = vec![id];
    let mut at = 0;
    while let Some(&into) = found.get(at) {
        at += 1;
        let mut rows = select.query((first, last, into.0))?;
        while let Some(row) = rows.next()? {
            let from = conversation_of(row.get(0)?).1;
            if !found.contains(&from) {
                found.push(from);
            }
        }
    }
    Ok(found)
}

/// Messages whose medium is to be fetched, in the order in which they came, after row `after`.
pub(super) fn pending_media(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, Message)>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM message INDEXED BY message_media_pending \
             WHERE flags & 64 AND row > ?1 ORDER BY row LIMIT ?2"
        ))?
        .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), read_message)?
        .collect()
}

/// A message that shows this copy of a medium.
pub(super) fn message_with_media(
    connection: &Connection,
    client: ClientId,
    id: MediaId,
) -> rusqlite::Result<Option<MessageId>> {
    let found = connection
        .prepare_cached(
            "SELECT id FROM message \
             WHERE json_extract(media, '$.copy.id') = ?1 AND client = ?2 \
             AND media IS NOT NULL LIMIT 1",
        )?
        .query_row((id.to_string(), client.0), |row| row.get::<_, [u8; 16]>(0))
        .optional()?;
    Ok(found.map(|bytes| MessageId(uuid::Uuid::from_bytes(bytes))))
}

pub(super) fn identities_of(
    connection: &Connection,
    client: ClientId,
    ids: &[ConversationId],
) -> rusqlite::Result<Vec<IdentityHash>> {
    let mut select = connection
        .prepare_cached("SELECT hash FROM identity WHERE client = ?1 AND conversation = ?2")?;
    let mut found = Vec::new();
    for id in ids {
        let mut rows = select.query((client.0, id.0))?;
        while let Some(row) = rows.next()? {
            found.push(IdentityHash(row.get(0)?));
        }
    }
    Ok(found)
}

pub(super) fn is_media_erasing(
    connection: &Connection,
    client: ClientId,
    id: MediaId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM erasing, json_each(erasing.erasure, '$.media') AS medium \
             WHERE erasing.client = ?1 AND medium.value = ?2 LIMIT 1",
        )?
        .exists((client.0, id.to_string()))
}
