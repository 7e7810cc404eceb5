//! Bulks in the read model: the rows that the projector writes, and what is asked of them.
//!
//! Recipients are stored a part at a time, as they were given, and a row of a recipient's own
//! comes with the claim: so taking in a hundred thousand of them costs the projector a hundred
//! rows, and who is not claimed yet is known by their number alone.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    lookups,
    queries::{BulkRecipientFilter, BulkRecipientRow, Page},
    state::{BulkKey, StoredBulk, find_conversation, find_message},
    stored::{Json, StoredUuid},
    write_back::Changed,
};
use crate::domain::{
    bulk::{self, Bulk, BulkRecipient, Recipient, RecipientPart, RecipientResult},
    conversation::Conversation,
    ids::{BulkId, ClientId, ConversationId, IdentityHash},
};

/// Rows of recipients looked at for one page. A page that no more are found for ends early, with
/// a `next`: so a rare result of a large bulk costs several short reads and not a long one.
const ROWS_LOOKED_AT_MAX: i64 = 20_000;

/// The columns that [`read`] reads, in its order.
const COLUMNS: &str = "client, id, spec, progress, feed_row";

fn read(row: &Row<'_>) -> rusqlite::Result<StoredBulk> {
    let bulk = Bulk {
        client_id: ClientId(row.get(0)?),
        id: BulkId(row.get::<_, StoredUuid>(1)?.0),
        spec: std::sync::Arc::new(row.get::<_, Json<_>>(2)?.0),
        progress: row.get::<_, Json<_>>(3)?.0,
    };
    Ok(StoredBulk { bulk: bulk.into(), feed_row: row.get(4)? })
}

pub(super) fn find(
    connection: &Connection,
    (client, id): BulkKey,
) -> rusqlite::Result<Option<StoredBulk>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM bulk WHERE client = ?1 AND id = ?2"))?
        .query_row((client.0, id.0.as_bytes()), read)
        .optional()
}

pub(super) fn write(
    connection: &Connection,
    changed: &[Changed<BulkKey, StoredBulk>],
) -> rusqlite::Result<()> {
    for Changed { key: (client, id), stored, now } in changed {
        let bulk = &now.bulk;
        if stored.is_none() {
            connection
                .prepare_cached(
                    "INSERT INTO bulk (client, id, active, spec, progress, feed_row) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    client.0,
                    id.0.as_bytes(),
                    bulk.needs_runner(),
                    Json(&*bulk.spec),
                    Json(&bulk.progress),
                    now.feed_row,
                ])?;
            continue;
        }
        connection
            .prepare_cached(
                "UPDATE bulk SET active = ?3, progress = ?4, feed_row = ?5 \
                 WHERE client = ?1 AND id = ?2",
            )?
            .execute(params![
                client.0,
                id.0.as_bytes(),
                bulk.needs_runner(),
                Json(&bulk.progress),
                now.feed_row,
            ])?;
    }
    Ok(())
}

pub(super) fn write_part(
    connection: &Connection,
    client: ClientId,
    part: &RecipientPart,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO bulk_part (client, bulk, first, part, recipients) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            client.0,
            part.bulk_id.0.as_bytes(),
            part.first,
            part.part,
            Json(&part.recipients),
        ])
        .map(drop)
}

pub(super) fn write_recipients(
    connection: &Connection,
    changed: &mut HashMap<(ClientId, BulkId, u32), BulkRecipient>,
) -> rusqlite::Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut write = connection.prepare_cached(
        "INSERT OR REPLACE INTO bulk_recipient (client, bulk, number, result, conversation) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for ((client, id, number), recipient) in changed.drain() {
        write.execute(params![
            client.0,
            id.0.as_bytes(),
            number,
            recipient.result,
            recipient.conversation_id.map(|id| id.0),
        ])?;
    }
    Ok(())
}

/// A recipient who is claimed.
pub(super) fn recipient(
    connection: &Connection,
    (client, id): BulkKey,
    number: u32,
) -> rusqlite::Result<Option<BulkRecipient>> {
    connection
        .prepare_cached(
            "SELECT result, conversation FROM bulk_recipient \
             WHERE client = ?1 AND bulk = ?2 AND number = ?3",
        )?
        .query_row(params![client.0, id.0.as_bytes(), number], |row| {
            let conversation_id = row.get::<_, Option<u32>>(1)?.map(ConversationId);
            Ok(BulkRecipient { result: row.get(0)?, conversation_id })
        })
        .optional()
}

/// Newest first, from before `before`.
pub(super) fn list(
    connection: &Connection,
    client: ClientId,
    before: Option<BulkId>,
    limit: usize,
) -> rusqlite::Result<Page<Bulk>> {
    let before = before.map_or([u8::MAX; 16], |id| *id.0.as_bytes());
    let mut items: Vec<Bulk> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM bulk WHERE client = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
        ))?
        .query_map(params![client.0, before, lookups::sql_limit(limit.saturating_add(1))], read)?
        .map(|stored| stored.map(|stored| Bulk::clone(&stored.bulk)))
        .collect::<rusqlite::Result<_>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { items, next })
}

/// Those that the runner has something to do for, of all tenants, oldest first within each.
pub(super) fn active(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Bulk>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM bulk INDEXED BY bulk_active WHERE active \
             ORDER BY client, id LIMIT ?1"
        ))?
        .query_map([lookups::sql_limit(limit)], read)?
        .map(|stored| stored.map(|stored| Bulk::clone(&stored.bulk)))
        .collect()
}

/// For the snapshot: those that are at work, and the newest of all, newest first.
pub(super) fn running_and_recent(
    connection: &Connection,
    client: ClientId,
    limit: usize,
) -> rusqlite::Result<Vec<Bulk>> {
    let mut bulks = list(connection, client, None, limit)?.items;
    let oldest = bulks.last().map(|bulk| bulk.id);
    let mut older: Vec<Bulk> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM bulk INDEXED BY bulk_active \
             WHERE active AND client = ?1 ORDER BY id DESC LIMIT ?2"
        ))?
        .query_map((client.0, lookups::sql_limit(limit)), read)?
        .map(|stored| stored.map(|stored| Bulk::clone(&stored.bulk)))
        .collect::<rusqlite::Result<_>>()?;
    older.retain(|bulk| oldest.is_some_and(|oldest| bulk.id < oldest));
    bulks.extend(older);
    Ok(bulks)
}

/// Bulks of which there are parts and nothing else, up to `limit`.
pub(super) fn unfinished(
    connection: &Connection,
    limit: usize,
) -> rusqlite::Result<Vec<(ClientId, BulkId)>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT client, bulk FROM bulk_part WHERE NOT EXISTS \
             (SELECT 1 FROM bulk WHERE bulk.client = bulk_part.client AND id = bulk_part.bulk) \
             LIMIT ?1",
        )?
        .query_map([lookups::sql_limit(limit)], |row| {
            Ok((ClientId(row.get(0)?), BulkId(row.get::<_, StoredUuid>(1)?.0)))
        })?
        .collect()
}

/// Which parts there are of a bulk: the numbers in their streams' names, and their first.
pub(super) fn part_numbers(
    connection: &Connection,
    (client, id): BulkKey,
) -> rusqlite::Result<Vec<u32>> {
    connection
        .prepare_cached("SELECT part FROM bulk_part WHERE client = ?1 AND bulk = ?2")?
        .query_map((client.0, id.0.as_bytes()), |row| row.get(0))?
        .collect()
}

/// All parts of the tenant's bulks in which somebody satisfies `wanted`.
pub(super) fn parts_with(
    connection: &Connection,
    client: ClientId,
    wanted: impl Fn(&Recipient) -> bool,
) -> rusqlite::Result<Vec<RecipientPart>> {
    let mut select = connection
        .prepare_cached("SELECT bulk, part, first, recipients FROM bulk_part WHERE client = ?1")?;
    let mut rows = select.query([client.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let recipients: Vec<Recipient> = row.get::<_, Json<_>>(3)?.0;
        if recipients.iter().any(&wanted) {
            found.push(RecipientPart {
                bulk_id: BulkId(row.get::<_, StoredUuid>(0)?.0),
                part: row.get(1)?,
                first: row.get(2)?,
                recipients,
            });
        }
    }
    Ok(found)
}

/// The recipients with these numbers as they were given, in order, up to the first that is not
/// there.
pub(super) fn given(
    connection: &Connection,
    (client, id): BulkKey,
    first: u32,
    count: u32,
) -> rusqlite::Result<Vec<Recipient>> {
    let mut found: Vec<Recipient> = Vec::with_capacity(count as usize);
    while (found.len() as u32) < count {
        let next = first.saturating_add(found.len() as u32);
        let part: Option<(u32, Vec<Recipient>)> = connection
            .prepare_cached(
                "SELECT first, recipients FROM bulk_part WHERE client = ?1 AND bulk = ?2 \
                 AND first <= ?3 ORDER BY first DESC LIMIT 1",
            )?
            .query_row(params![client.0, id.0.as_bytes(), next], |row| {
                Ok((row.get(0)?, row.get::<_, Json<_>>(1)?.0))
            })
            .optional()?;
        let Some((part_first, recipients)) = part else { break };
        let wanted = (count as usize) - found.len();
        let before = found.len();
        found.extend(recipients.into_iter().skip((next - part_first) as usize).take(wanted));
        if found.len() == before {
            break;
        }
    }
    Ok(found)
}

/// Numbers of recipients that are queued and not claimed for sending, at most `limit`.
pub(super) fn queued(
    connection: &Connection,
    (client, id): BulkKey,
    limit: usize,
) -> rusqlite::Result<Vec<u32>> {
    connection
        .prepare_cached(
            "SELECT number FROM bulk_recipient WHERE client = ?1 AND bulk = ?2 \
             AND result = 'waiting' ORDER BY number LIMIT ?3",
        )?
        .query_map(params![client.0, id.0.as_bytes(), lookups::sql_limit(limit)], |row| row.get(0))?
        .collect()
}

/// The conversations that contacts known by these identities have.
pub(super) fn conversations_of(
    connection: &Connection,
    client: ClientId,
    hashes: &[IdentityHash],
) -> rusqlite::Result<Vec<Option<Conversation>>> {
    let ids = lookups::identities(connection, client, hashes)?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let conversation = match id {
            Some(id) => find_conversation(connection, (client, id))?,
            None => None,
        };
        found.push(conversation.map(|found| Conversation::clone(&found.conversation)));
    }
    Ok(found)
}

/// A page of recipients in their order; `None` when there is no such bulk.
pub(super) fn recipients(
    connection: &Connection,
    (client, id): BulkKey,
    filter: &BulkRecipientFilter,
) -> rusqlite::Result<Option<Page<BulkRecipientRow>>> {
    let Some(stored) = find(connection, (client, id))? else { return Ok(None) };
    let bulk = &stored.bulk;
    let first = filter.after.map_or(0, |after| after.saturating_add(1));
    let mut rows = Vec::new();
    let (claimed, mut next) = claimed_rows(connection, bulk, filter, first)?;
    let looked_at_all = next.is_none();
    rows.extend(claimed);
    let unclaimed_wanted =
        filter.result.is_none_or(|result| result == RecipientResult::Waiting) && looked_at_all;
    if unclaimed_wanted {
        let from = first.max(bulk.progress.next);
        let room = filter.limit.saturating_sub(rows.len());
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let until = from.saturating_add(room).min(bulk.spec.recipients);
        rows.extend((from..until).map(|number| (number, None)));
        if until < bulk.spec.recipients && from < bulk.spec.recipients {
            next = Some(until.saturating_sub(1));
        }
    }
    let mut reader = RowReader { connection, bulk, part: None };
    let items = rows
        .into_iter()
        .map(|(number, claimed)| reader.read(number, claimed))
        .collect::<Result<_, _>>()?;
    Ok(Some(Page { items, next: next.map(|number| number.to_string()) }))
}

type Numbered = (u32, Option<BulkRecipient>);

/// Claimed recipients from `first` on that the filter wants, and the last number looked at when
/// there may be more.
fn claimed_rows(
    connection: &Connection,
    bulk: &Bulk,
    filter: &BulkRecipientFilter,
    first: u32,
) -> rusqlite::Result<(Vec<Numbered>, Option<u32>)> {
    let mut select = connection.prepare_cached(
        "SELECT number, result, conversation FROM bulk_recipient \
         WHERE client = ?1 AND bulk = ?2 AND number >= ?3 ORDER BY number LIMIT ?4",
    )?;
    let mut rows =
        select
            .query(params![bulk.client_id.0, bulk.id.0.as_bytes(), first, ROWS_LOOKED_AT_MAX,])?;
    let (mut found, mut looked_at, mut last) = (Vec::new(), 0, first);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let number: u32 = row.get(0)?;
        let result: RecipientResult = row.get(1)?;
        if filter.result.is_some_and(|wanted| wanted != result) {
            last = number;
            continue;
        }
        if found.len() == filter.limit {
            return Ok((found, Some(last)));
        }
        last = number;
        let conversation_id = row.get::<_, Option<u32>>(2)?.map(ConversationId);
        found.push((number, Some(BulkRecipient { result, conversation_id })));
    }
    let more = looked_at == ROWS_LOOKED_AT_MAX;
    Ok((found, more.then_some(last)))
}

/// Puts together what a page tells of each recipient.
struct RowReader<'a> {
    connection: &'a Connection,
    bulk: &'a Bulk,
    /// The part read last, with the number of its first: a page goes through them in order.
    part: Option<(u32, Vec<Recipient>)>,
}

impl RowReader<'_> {
    fn read(
        &mut self,
        number: u32,
        claimed: Option<BulkRecipient>,
    ) -> rusqlite::Result<BulkRecipientRow> {
        let recipient = self.given(number)?.filter(|given| !given.is_erased());
        let message = match claimed {
            Some(BulkRecipient { conversation_id: Some(_), .. }) => {
                let id = bulk::message_id(self.bulk.id, number);
                find_message(self.connection, (self.bulk.client_id, id))?.map(|found| found.message)
            }
            _ => None,
        };
        Ok(BulkRecipientRow {
            number,
            recipient,
            result: claimed.map_or(RecipientResult::Waiting, |claimed| claimed.result),
            conversation_id: claimed.and_then(|claimed| claimed.conversation_id),
            message: message.as_deref().cloned(),
        })
    }

    fn given(&mut self, number: u32) -> rusqlite::Result<Option<Recipient>> {
        let holds = |part: &(u32, Vec<Recipient>)| {
            (part.0..part.0.saturating_add(part.1.len() as u32)).contains(&number)
        };
        if !self.part.as_ref().is_some_and(holds) {
            self.part = self
                .connection
                .prepare_cached(
                    "SELECT first, recipients FROM bulk_part WHERE client = ?1 AND bulk = ?2 \
                     AND first <= ?3 ORDER BY first DESC LIMIT 1",
                )?
                .query_row(
                    params![self.bulk.client_id.0, self.bulk.id.0.as_bytes(), number],
                    |row| Ok((row.get(0)?, row.get::<_, Json<_>>(1)?.0)),
                )
                .optional()?;
        }
        let part = self.part.as_ref();
        Ok(part.and_then(|(first, part)| part.get((number - first) as usize)).cloned())
    }
}
