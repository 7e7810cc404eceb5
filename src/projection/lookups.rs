//! What [`super::queries`] asks, as functions of one read transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    bulks, feed_pages,
    queries::{ConversationFilter, MessageName, OldAnswers, Page},
    search,
    state::{find_conversation, find_message, find_message_by_key, read_tenant},
    stored::{
        conversation_columns, conversation_row, key_hash, message_columns, read_conversation,
        read_message,
    },
    to_wire,
};
use crate::{
    domain::{
        conversation::{Conversation, ConversationStatus},
        ids::{ClientId, ConversationId, IdentityHash, MessageId},
        message::Message,
        state::Tenant,
        stats::Counts,
        time::Timestamp,
    },
    wire::{cursor::Cursor, types::Snapshot},
};

/// As in the fold: a longer chain of merges is a damaged state.
const MERGE_CHAIN_MAX: usize = 1024;

/// The newest bulks in a snapshot, whatever became of them; those at work are there beside them.
const SNAPSHOT_BULKS_MAX: usize = 50;

pub(super) fn snapshot(
    connection: &Connection,
    epoch: &str,
    client: ClientId,
    limit: usize,
) -> rusqlite::Result<Snapshot> {
    let cursor = Cursor::end_of(feed_pages::projected(connection)?);
    let newest = list(connection, client, None, Place::NEWEST, limit)?;
    let tenant = tenant(connection, client)?;
    let bulks = bulks::running_and_recent(connection, client, SNAPSHOT_BULKS_MAX)?;
    Ok(Snapshot {
        cursor: cursor.display(epoch).to_string(),
        conversations: newest.iter().map(|(_, found)| to_wire::conversation(found)).collect(),
        stats: to_wire::stats(&tenant.stats),
        bot_status: to_wire::bot(&tenant.bot),
        whatsapp_state: to_wire::whatsapp(&tenant.whatsapp),
        bulks: bulks.iter().map(to_wire::bulk).collect(),
    })
}

pub(super) fn tenant(connection: &Connection, client: ClientId) -> rusqlite::Result<Tenant> {
    Ok(read_tenant(connection, client)?.unwrap_or_default().tenant)
}

/// A conversation's place in the list: newest activity first, then the higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    active_at: i64,
    row: i64,
}

impl Place {
    const NEWEST: Place = Place { active_at: i64::MAX, row: i64::MAX };

    fn to_text(self) -> String {
        format!("{}.{}", self.active_at, self.row)
    }

    fn parse(text: &str) -> Option<Self> {
        let (active_at, row) = text.split_once('.')?;
        Some(Self { active_at: active_at.parse().ok()?, row: row.parse().ok()? })
    }
}

/// An `after` that no page gave as its `next` gives an empty page.
pub(super) fn conversations(
    connection: &Connection,
    client: ClientId,
    filter: &ConversationFilter,
) -> rusqlite::Result<Page<Conversation>> {
    let after = filter.after.as_deref().map_or(Some(Place::NEWEST), Place::parse);
    let Some(after) = after else { return Ok(Page { items: Vec::new(), next: None }) };
    let one_more = filter.limit.saturating_add(1);
    let mut found = match filter.search.as_deref() {
        Some(text) => search_list(connection, client, text, filter.status, after, one_more)?,
        None => list(connection, client, filter.status, after, one_more)?,
    };
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = found.last().filter(|_| more).map(|(place, _)| place.to_text());
    Ok(Page { items: found.into_iter().map(|(_, conversation)| conversation).collect(), next })
}

fn list(
    connection: &Connection,
    client: ClientId,
    status: Option<ConversationStatus>,
    after: Place,
    limit: usize,
) -> rusqlite::Result<Vec<(Place, Conversation)>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            conversation_columns!(),
            ", active_at FROM conversation INDEXED BY conversation_by_activity \
             WHERE client = ?1 AND merged_into IS NULL AND (active_at, row) < (?2, ?3) \
             AND (?4 IS NULL OR status = ?4) ORDER BY active_at DESC, row DESC LIMIT ?5"
        ))?
        .query_map(
            params![client.0, after.active_at, after.row, status, sql_limit(limit)],
            |row| {
                let place = Place { row: row.get(0)?, active_at: row.get(5)? };
                Ok((place, read_conversation(row)?.0))
            },
        )?
        .collect()
}

fn search_list(
    connection: &Connection,
    client: ClientId,
    text: &str,
    status: Option<ConversationStatus>,
    after: Place,
    limit: usize,
) -> rusqlite::Result<Vec<(Place, Conversation)>> {
    let mut place = connection.prepare_cached(
        "SELECT active_at FROM conversation \
         WHERE row = ?1 AND merged_into IS NULL AND (?2 IS NULL OR status = ?2)",
    )?;
    let mut places = Vec::new();
    for row in search::matching_conversations(connection, client, text)? {
        let active_at = place.query_row(params![row, status], |row| row.get(0)).optional()?;
        places.extend(active_at.map(|active_at| Place { active_at, row }));
    }
    places.retain(|&place| place < after);
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(limit);
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        conversation_columns!(),
        " FROM conversation WHERE row = ?1"
    ))?;
    places
        .into_iter()
        .map(|place| Ok((place, select.query_row([place.row], read_conversation)?.0)))
        .collect()
}

/// The conversation that lives on under this id.
pub(super) fn conversation(
    connection: &Connection,
    client: ClientId,
    id: ConversationId,
) -> rusqlite::Result<Option<Conversation>> {
    let id = living(connection, client, id)?;
    let found = find_conversation(connection, (client, id))?;
    Ok(found.map(|found| Conversation::clone(&found.conversation)))
}

/// Follows merges.
fn living(
    connection: &Connection,
    client: ClientId,
    id: ConversationId,
) -> rusqlite::Result<ConversationId> {
    let mut select = connection.prepare_cached(
        "SELECT merged_into FROM conversation WHERE row = ?1 AND merged_into > 0",
    )?;
    let mut id = id;
    for _ in 0..MERGE_CHAIN_MAX {
        let row = conversation_row(client, id);
        match select.query_row([row], |row| row.get(0)).optional()? {
            Some(into) => id = ConversationId(into),
            None => break,
        }
    }
    Ok(id)
}

/// The conversation of the message with this name.
pub(super) fn conversation_of(
    connection: &Connection,
    client: ClientId,
    name: &MessageName,
) -> rusqlite::Result<Option<ConversationId>> {
    let by_id = match name.id {
        Some(id) => find_message(connection, (client, id))?,
        None => None,
    };
    let key = &name.dedupe_key;
    let found = match by_id {
        Some(found) => Some(found),
        None => find_message_by_key(connection, client, key, key_hash(client, key))?,
    };
    Ok(found.map(|found| found.message.conversation_id))
}

/// A `before` that is none of the conversation's messages gives an empty page.
pub(super) fn messages(
    connection: &Connection,
    client: ClientId,
    id: ConversationId,
    before: Option<MessageId>,
    limit: usize,
) -> rusqlite::Result<Page<Message>> {
    let conversation = conversation_row(client, living(connection, client, id)?);
    let (timestamp, id) = match before {
        None => (i64::MAX, vec![u8::MAX; 16]),
        Some(before) => {
            let found = connection
                .prepare_cached(
                    "SELECT timestamp FROM message \
                     WHERE id = ?1 AND client = ?2 AND conversation_row = ?3",
                )?
                .query_row(params![before.0.as_bytes(), client.0, conversation], |row| row.get(0))
                .optional()?;
            let Some(timestamp) = found else {
                return Ok(Page { items: Vec::new(), next: None });
            };
            (timestamp, before.0.as_bytes().to_vec())
        }
    };
    let mut items: Vec<Message> = connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM message WHERE conversation_row = ?1 AND (timestamp, id) < (?2, ?3) \
             ORDER BY timestamp DESC, id DESC LIMIT ?4"
        ))?
        .query_map(
            params![conversation, timestamp, id, sql_limit(limit.saturating_add(1))],
            |row| Ok(read_message(row)?.1),
        )?
        .collect::<rusqlite::Result<_>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { items, next })
}

pub(super) fn hours(
    connection: &Connection,
    client: ClientId,
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<Vec<(Timestamp, Counts)>> {
    connection
        .prepare_cached(
            "SELECT hour, received, sent, delivered, read, failed FROM hour \
             WHERE client = ?1 AND hour >= ?2 AND hour < ?3 ORDER BY hour",
        )?
        .query_map(params![client.0, from, to], |row| {
            let counts = Counts {
                received: row.get(1)?,
                sent: row.get(2)?,
                delivered: row.get(3)?,
                read: row.get(4)?,
                failed: row.get(5)?,
            };
            Ok((row.get(0)?, counts))
        })?
        .filter(|hour| !matches!(hour, Ok((_, Counts::ZERO))))
        .collect()
}

pub(super) fn identities(
    connection: &Connection,
    client: ClientId,
    hashes: &[IdentityHash],
) -> rusqlite::Result<Vec<Option<ConversationId>>> {
    let mut select = connection
        .prepare_cached("SELECT conversation FROM identity WHERE client = ?1 AND hash = ?2")?;
    hashes
        .iter()
        .map(|hash| {
            let known = select.query_row((client.0, hash.0), |row| row.get(0)).optional()?;
            known.map(|id| living(connection, client, ConversationId(id))).transpose()
        })
        .collect()
}

/// Registered ones count before they are opened, and erased ones for ever.
pub(super) fn highest_conversation(
    connection: &Connection,
    client: ClientId,
) -> rusqlite::Result<Option<ConversationId>> {
    let opened: Option<i64> = connection
        .prepare_cached("SELECT max(row) FROM conversation WHERE row BETWEEN ?1 AND ?2")?
        .query_row(
            (
                conversation_row(client, ConversationId(0)),
                conversation_row(client, ConversationId(u32::MAX)),
            ),
            |row| row.get(0),
        )?;
    let registered: Option<u32> = connection
        .prepare_cached("SELECT max(conversation) FROM identity WHERE client = ?1")?
        .query_row([client.0], |row| row.get(0))?;
    let erased: Option<u32> = connection
        .prepare_cached("SELECT max(conversation) FROM erased WHERE client = ?1")?
        .query_row([client.0], |row| row.get(0))?;
    let opened = opened.map(|row| row as u32);
    Ok(opened.max(registered).max(erased).map(ConversationId))
}

pub(super) fn old_answers(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<OldAnswers>> {
    // One look at the index for each tenant, however many answers it has.
    let clients: Vec<u32> = connection
        .prepare_cached(
            "WITH RECURSIVE tenant_of (client) AS (SELECT min(client) FROM answer UNION ALL \
             SELECT (SELECT min(client) FROM answer WHERE client > tenant_of.client) \
             FROM tenant_of WHERE client IS NOT NULL) \
             SELECT client FROM tenant_of WHERE client IS NOT NULL",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut last = connection.prepare_cached(
        "SELECT at FROM answer WHERE client = ?1 AND at < ?2 ORDER BY at LIMIT 1 OFFSET ?3",
    )?;
    let mut select = connection
        .prepare_cached("SELECT key FROM answer WHERE client = ?1 AND at < ?2 ORDER BY at")?;
    let mut all = Vec::new();
    for client in clients {
        let offset = sql_limit(limit.saturating_sub(1));
        let last: Option<Timestamp> =
            last.query_row(params![client, before, offset], |row| row.get(0)).optional()?;
        let before = last.map_or(before, |last| last.plus_ms(1).min(before));
        let keys: Vec<String> = select
            .query_map(params![client, before], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !keys.is_empty() {
            all.push(OldAnswers { client: ClientId(client), keys, before });
        }
    }
    Ok(all)
}

pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn answers_of(
    connection: &Connection,
    client: ClientId,
    conversations: &[ConversationId],
) -> rusqlite::Result<Vec<String>> {
    let mut select = connection
        .prepare_cached("SELECT key FROM answer WHERE client = ?1 AND conversation = ?2")?;
    let mut keys = Vec::new();
    for id in conversations {
        let found = select.query_map((client.0, id.0), |row| row.get(0))?;
        for key in found {
            keys.push(key?);
        }
    }
    Ok(keys)
}
