//! The fold's state over the read model: reads through, writes back at the end of a batch.
//!
//! One batch is one transaction on the projector's connection. Entities are read once and kept;
//! what the fold changes is gathered and written by [`super::flush`], so that an entity which
//! changes a hundred times in a batch is written once. What is rare (identities, waiting
//! statuses, answers, merges) is written at once, in the same transaction.
//!
//! [`State`] has no room for errors: the first one is kept, everything after it answers "not
//! there", and the projector, which asks [`FoldState::take_error`] before it commits, drops the
//! whole batch.
//!
//! **Invariant:** memory is bounded by the settings and the batch, never by the log.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use smallvec::SmallVec;

use super::{
    bulks, erasing,
    settings::ProjectionSettings,
    stored::{
        Json, StoredUuid, conversation_columns, conversation_row, key_hash, message_columns,
        read_conversation, read_message,
    },
    write_back::WriteBack,
};
use crate::domain::{
    bulk::{Bulk, BulkRecipient, RecipientPart},
    conversation::Conversation,
    event::{Erasure, RequestAnswer},
    ids::{BulkId, ClientId, ConversationId, EventId, IdentityHash, MessageId},
    message::Message,
    state::{State, Tenant, Waiting},
    stats::Counts,
    tenant::StoredSetup,
    time::Timestamp,
};

/// Statuses and amendments that wait whose keys are kept in memory, so that a new message need not ask the file
/// whether one waits for it. Beyond it the file is asked each time.
const WAITING_KEYS_MAX: usize = 100_000;

/// Erased conversations whose numbers are kept in memory. Beyond it the file is asked each time.
const ERASED_KEPT_MAX: usize = 200_000;

pub(super) type MessageKey = (ClientId, MessageId);
/// Bulks that are kept in memory; those in use are a handful.
const BULKS_CACHED_MAX: usize = 256;

pub(super) type ConversationKey = (ClientId, ConversationId);
pub(super) type BulkKey = (ClientId, BulkId);

#[derive(Clone)]
pub(super) struct StoredMessage {
    pub row: i64,
    pub message: Arc<Message>,
}

impl StoredMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (row, message) = read_message(row)?;
        Ok(Self { row, message: Arc::new(message) })
    }
}

#[derive(Clone)]
pub(super) struct StoredConversation {
    pub conversation: Arc<Conversation>,
    /// `feed_state.row` of its newest `conversation_updated`.
    pub feed_row: Option<i64>,
}

#[derive(Clone)]
pub(super) struct StoredBulk {
    pub bulk: Arc<Bulk>,
    /// `feed_state.row` of its newest `bulk_message_progress`.
    pub feed_row: Option<i64>,
}

/// A tenant, with the `feed_state.row` of its newest state events.
#[derive(Default)]
pub(super) struct StoredTenant {
    pub tenant: Tenant,
    pub stats_feed_row: Option<i64>,
    pub bot_feed_row: Option<i64>,
    pub whatsapp_feed_row: Option<i64>,
    /// The last fact that is not in the feed table any more, as a `feed.row`.
    pub floor: i64,
    /// Asked for in this batch, so maybe changed.
    pub touched: bool,
}

pub(super) struct FoldState {
    pub connection: Connection,
    pub tenants: HashMap<ClientId, StoredTenant>,
    pub tenants_max: usize,
    pub conversations: WriteBack<ConversationKey, StoredConversation>,
    pub messages: WriteBack<MessageKey, StoredMessage>,
    /// Messages by the hash of their key: those in the file, then those of this batch.
    pub(super) keys: quick_cache::unsync::Cache<i64, MessageKey>,
    pub changed_keys: HashMap<i64, SmallVec<[MessageKey; 1]>>,
    pub hours: HashMap<(ClientId, Timestamp), Counts>,
    pub bulks: WriteBack<BulkKey, StoredBulk>,
    /// Claimed recipients as the batch changed them.
    pub bulk_recipients: HashMap<(ClientId, BulkId, u32), BulkRecipient>,
    /// Hashes of all keys that a status may wait for; `None` when there are too many to keep.
    waiting: Option<HashSet<i64>>,
    /// All conversations that were erased; `None` when there are too many to keep.
    pub(super) erased: Option<HashSet<ConversationKey>>,
    /// Erasures of this batch, for what lies outside of the state: feed and followers.
    pub erased_now: Vec<(ClientId, Erasure)>,
    /// Rows that they took out of the feed's state events.
    pub feed_rows_erased: i64,
    pub(super) next_message_row: i64,
    /// No message has a higher id. Ids begin with their time, so that a new message's mostly is.
    highest_message: Option<MessageId>,
    /// The message that was last looked up and not found: it is mostly put next.
    pub(super) absent: Option<MessageKey>,
    /// Where the fold's borrow of a tenant ends when the tenant can't be read.
    nobody: Tenant,
    error: Option<rusqlite::Error>,
}

impl FoldState {
    pub fn new(connection: Connection, settings: &ProjectionSettings) -> rusqlite::Result<Self> {
        let next_message_row = next_message_row(&connection)?;
        let highest_message = highest_message(&connection)?;
        let waiting = load_waiting(&connection)?;
        let erased = load_erased(&connection)?;
        Ok(Self {
            connection,
            tenants: HashMap::new(),
            tenants_max: settings.cached_tenants_max,
            conversations: WriteBack::new(settings.cached_conversations_max),
            messages: WriteBack::new(settings.cached_messages_max),
            keys: quick_cache::unsync::Cache::new(settings.cached_messages_max),
            changed_keys: HashMap::new(),
            hours: HashMap::new(),
            bulks: WriteBack::new(BULKS_CACHED_MAX),
            bulk_recipients: HashMap::new(),
            waiting,
            erased,
            erased_now: Vec::new(),
            feed_rows_erased: 0,
            next_message_row,
            highest_message,
            absent: None,
            nobody: Tenant::default(),
            error: None,
        })
    }

    /// Forgets all that is kept, after a transaction that was rolled back.
    pub fn reset(&mut self, settings: &ProjectionSettings) -> rusqlite::Result<()> {
        let next_message_row = next_message_row(&self.connection)?;
        let highest_message = highest_message(&self.connection)?;
        let waiting = load_waiting(&self.connection)?;
        let erased = load_erased(&self.connection)?;
        self.tenants.clear();
        self.conversations = WriteBack::new(settings.cached_conversations_max);
        self.messages = WriteBack::new(settings.cached_messages_max);
        self.keys.clear();
        self.changed_keys.clear();
        self.hours.clear();
        self.bulks = WriteBack::new(BULKS_CACHED_MAX);
        self.bulk_recipients.clear();
        self.waiting = waiting;
        self.erased = erased;
        self.erased_now.clear();
        self.feed_rows_erased = 0;
        self.next_message_row = next_message_row;
        self.highest_message = highest_message;
        self.absent = None;
        self.error = None;
        Ok(())
    }

    /// What went wrong since it was last asked.
    pub fn take_error(&mut self) -> Result<(), rusqlite::Error> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// The value, or the first error kept for later.
    pub(super) fn kept<T>(&mut self, result: rusqlite::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }

    fn execute(&mut self, sql: &str, params: impl Params) {
        let result = self.connection.prepare_cached(sql).and_then(|mut s| s.execute(params));
        self.kept(result);
    }

    /// The tenant, read when it is not here.
    pub fn stored_tenant(&mut self, client: ClientId) -> Option<&mut StoredTenant> {
        if !self.tenants.contains_key(&client) {
            let read = read_tenant(&self.connection, client);
            let tenant = self.kept(read)?.unwrap_or_default();
            self.tenants.insert(client, tenant);
        }
        self.tenants.get_mut(&client)
    }

    /// The conversation, read when it is not here.
    pub fn stored_conversation(&mut self, key: ConversationKey) -> Option<StoredConversation> {
        if let Some(here) = self.conversations.get(key) {
            return Some(here.clone());
        }
        let read = find_conversation(&self.connection, key);
        let found = self.kept(read)??;
        self.conversations.loaded(key, found.clone());
        Some(found)
    }

    /// The conversation to be changed.
    pub fn stored_conversation_mut(
        &mut self,
        key: ConversationKey,
    ) -> Option<&mut StoredConversation> {
        let stored = self.stored_conversation(key)?;
        Some(self.conversations.change(key, stored))
    }

    /// The bulk, read when it is not here.
    pub fn stored_bulk(&mut self, key: BulkKey) -> Option<StoredBulk> {
        if let Some(here) = self.bulks.get(key) {
            return Some(here.clone());
        }
        let read = bulks::find(&self.connection, key);
        let found = self.kept(read)??;
        self.bulks.loaded(key, found.clone());
        Some(found)
    }

    /// The bulk to be changed.
    pub fn stored_bulk_mut(&mut self, key: BulkKey) -> Option<&mut StoredBulk> {
        let stored = self.stored_bulk(key)?;
        Some(self.bulks.change(key, stored))
    }

    fn stored_message(&mut self, key: MessageKey) -> Option<StoredMessage> {
        if let Some(here) = self.messages.get(key) {
            return Some(here.clone());
        }
        if self.absent == Some(key) || self.highest_message < Some(key.1) {
            return None;
        }
        let read = find_message(&self.connection, key);
        let found = self.kept(read)?;
        match &found {
            Some(found) => self.loaded(found.clone()),
            None => self.absent = Some(key),
        }
        found
    }

    fn loaded(&mut self, found: StoredMessage) {
        let key = (found.message.client_id, found.message.id);
        if let Some(dedupe_key) = &found.message.dedupe_key {
            self.keys.insert(key_hash(key.0, dedupe_key), key);
        }
        self.messages.loaded(key, found);
    }

    /// A message of this batch, or one in the cache, with this key.
    fn message_at_hand(&self, client: ClientId, key: &str, hash: i64) -> Option<Arc<Message>> {
        let changed = self.changed_keys.get(&hash).into_iter().flatten();
        changed.chain(self.keys.get(&hash)).find_map(|&id| {
            let message = &self.messages.get(id)?.message;
            has_key(message, client, key).then(|| Arc::clone(message))
        })
    }

    /// What the cache may hold of the batch's messages by their keys, after they were written.
    pub(super) fn keys_written(&mut self) {
        for (hash, ids) in self.changed_keys.drain() {
            if let Some(&id) = ids.last() {
                self.keys.insert(hash, id);
            }
        }
    }
}

impl State for FoldState {
    fn tenant(&mut self, client: ClientId) -> &mut Tenant {
        if self.stored_tenant(client).is_none() {
            self.nobody = Tenant::default();
            return &mut self.nobody;
        }
        match self.tenants.get_mut(&client) {
            Some(entry) => {
                entry.touched = true;
                &mut entry.tenant
            }
            None => &mut self.nobody,
        }
    }

    fn conversation(&mut self, client: ClientId, id: ConversationId) -> Option<Arc<Conversation>> {
        self.stored_conversation((client, id)).map(|entry| entry.conversation)
    }

    fn put_conversation(&mut self, conversation: Arc<Conversation>) {
        let key = (conversation.client_id, conversation.id);
        match self.stored_conversation_mut(key) {
            Some(entry) => entry.conversation = conversation,
            None => {
                self.conversations.add(key, StoredConversation { conversation, feed_row: None });
            }
        }
    }

    fn move_messages(&mut self, client: ClientId, from: ConversationId, into: ConversationId) {
        let flushed = self.flush_messages();
        self.kept(flushed);
        self.execute(
            "UPDATE message SET conversation_row = ?2 WHERE conversation_row = ?1",
            (conversation_row(client, from), conversation_row(client, into)),
        );
        self.messages
            .retain_clean(|key, entry| !(key.0 == client && entry.message.conversation_id == from));
    }

    fn message(&mut self, client: ClientId, id: MessageId) -> Option<Arc<Message>> {
        self.stored_message((client, id)).map(|entry| entry.message)
    }

    fn message_by_key(&mut self, client: ClientId, key: &str) -> Option<Arc<Message>> {
        let hash = key_hash(client, key);
        if let Some(message) = self.message_at_hand(client, key, hash) {
            return Some(message);
        }
        let read = find_message_by_key(&self.connection, client, key, hash);
        let found = self.kept(read)??;
        let id = (client, found.message.id);
        match self.messages.changed(id) {
            // This batch gave it another key.
            Some(_) => None,
            None => {
                let message = Arc::clone(&found.message);
                self.loaded(found);
                Some(message)
            }
        }
    }

    fn put_message(&mut self, message: Arc<Message>) {
        let id = (message.client_id, message.id);
        if let Some(dedupe_key) = &message.dedupe_key {
            let ids = self.changed_keys.entry(key_hash(id.0, dedupe_key)).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if let Some(stored) = self.stored_message(id) {
            self.messages.change(id, stored).message = message;
        } else {
            let row = self.next_message_row;
            self.next_message_row += 1;
            self.absent = None;
            self.highest_message = self.highest_message.max(Some(message.id));
            self.messages.add(id, StoredMessage { row, message });
        }
    }

    fn waiting(&mut self, client: ClientId, key: &str) -> Option<Waiting> {
        if let Some(keys) = &self.waiting
            && (keys.is_empty() || !keys.contains(&key_hash(client, key)))
        {
            return None;
        }
        let read = find_waiting(&self.connection, client, key);
        self.kept(read)?
    }

    fn put_waiting(&mut self, client: ClientId, key: &str, waiting: Option<Waiting>) {
        let Some(waiting) = waiting else {
            let sql = "DELETE FROM waiting WHERE client = ?1 AND key = ?2";
            return self.execute(sql, (client.0, key));
        };
        if let Some(keys) = &mut self.waiting {
            keys.insert(key_hash(client, key));
        }
        self.execute(
            "INSERT OR REPLACE INTO waiting (client, key, since, waiting) VALUES (?1, ?2, ?3, ?4)",
            params![client.0, key, waiting.since, Json(&waiting)],
        );
    }

    fn forget_waiting(&mut self, client: ClientId, before: Timestamp) {
        self.execute("DELETE FROM waiting WHERE client = ?1 AND since < ?2", (client.0, before));
    }

    fn add_to_hour(&mut self, client: ClientId, hour: Timestamp, change: Counts) {
        self.hours.entry((client, hour)).or_default().add(change);
    }

    fn put_identity(&mut self, client: ClientId, hash: IdentityHash, id: ConversationId) {
        self.execute(
            "INSERT OR REPLACE INTO identity (client, hash, conversation) VALUES (?1, ?2, ?3)",
            (client.0, hash.0, id.0),
        );
    }

    fn bulk(&mut self, client: ClientId, id: BulkId) -> Option<Arc<Bulk>> {
        self.stored_bulk((client, id)).map(|entry| entry.bulk)
    }

    fn put_bulk(&mut self, bulk: Arc<Bulk>) {
        let key = (bulk.client_id, bulk.id);
        match self.stored_bulk_mut(key) {
            Some(entry) => entry.bulk = bulk,
            None => self.bulks.add(key, StoredBulk { bulk, feed_row: None }),
        }
    }

    fn put_bulk_part(&mut self, client: ClientId, part: &RecipientPart) {
        let written = bulks::write_part(&self.connection, client, part);
        self.kept(written);
    }

    fn drop_bulk_parts(&mut self, client: ClientId, id: BulkId) {
        self.execute(
            "DELETE FROM bulk_part WHERE client = ?1 AND bulk = ?2",
            (client.0, id.0.as_bytes()),
        );
    }

    fn bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
    ) -> Option<BulkRecipient> {
        if let Some(changed) = self.bulk_recipients.get(&(client, id, number)) {
            return Some(*changed);
        }
        let read = bulks::recipient(&self.connection, (client, id), number);
        self.kept(read)?
    }

    fn put_bulk_recipient(
        &mut self,
        client: ClientId,
        id: BulkId,
        number: u32,
        recipient: BulkRecipient,
    ) {
        self.bulk_recipients.insert((client, id, number), recipient);
    }

    fn setup(&mut self, client: ClientId) -> Option<StoredSetup> {
        let read = find_setup(&self.connection, client);
        self.kept(read).flatten()
    }

    fn put_setup(&mut self, setup: StoredSetup) {
        self.execute(
            "INSERT OR REPLACE INTO setup (client, event, at, setup) VALUES (?1, ?2, ?3, ?4)",
            params![setup.client_id.0, setup.event.0.as_bytes(), setup.at, Json(&setup.setup)],
        );
    }

    fn put_answer(&mut self, client: ClientId, answer: &RequestAnswer, at: Timestamp) {
        let conversation = answer.conversation_id.map(|id| id.0);
        self.execute(
            "INSERT INTO answer (client, key, conversation, at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (client, key) DO UPDATE \
             SET at = max(at, excluded.at), conversation = excluded.conversation",
            params![client.0, answer.key, conversation, at],
        );
    }

    fn forget_answers(&mut self, client: ClientId, before: Timestamp) {
        self.execute("DELETE FROM answer WHERE client = ?1 AND at < ?2", (client.0, before));
    }

    fn has_erased(&self) -> bool {
        self.erased.as_ref().is_none_or(|erased| !erased.is_empty())
    }

    fn is_erased(&mut self, client: ClientId, id: ConversationId) -> bool {
        if let Some(erased) = &self.erased {
            return !erased.is_empty() && erased.contains(&(client, id));
        }
        let found = erasing::is_erased(&self.connection, (client, id));
        self.kept(found).unwrap_or(false)
    }

    fn erase(&mut self, client: ClientId, erasure: &Erasure, at: Timestamp) -> i64 {
        let erased = self.erase_rows(client, erasure, at);
        self.erased_now.push((client, erasure.clone()));
        self.kept(erased).unwrap_or(0)
    }

    fn put_erasing(&mut self, client: ClientId, first: ConversationId, erasure: Option<&Erasure>) {
        match erasure {
            Some(erasure) => self.execute(
                "INSERT OR IGNORE INTO erasing (client, conversation, erasure) VALUES (?1, ?2, ?3)",
                params![client.0, first.0, Json(erasure)],
            ),
            None => self.execute(
                "DELETE FROM erasing WHERE client = ?1 AND conversation = ?2",
                (client.0, first.0),
            ),
        }
    }

    fn forget_erased_identities(&mut self, client: ClientId, before: Timestamp) {
        let sql = "DELETE FROM erased_identity WHERE client = ?1 AND at < ?2";
        self.execute(sql, (client.0, before));
    }
}

impl FoldState {
    /// Keys of what no longer waits stay in memory until there are too many: then
    /// all are read anew, or, when that many do wait, none is kept.
    pub(super) fn bound_waiting(&mut self) -> rusqlite::Result<()> {
        if self.waiting.as_ref().is_some_and(|keys| keys.len() > WAITING_KEYS_MAX) {
            self.waiting = load_waiting(&self.connection)?;
        }
        Ok(())
    }
}

fn next_message_row(connection: &Connection) -> rusqlite::Result<i64> {
    let next =
        "SELECT max(coalesce((SELECT max(row) FROM message), 0) + 1, message_row_min) FROM meta";
    connection.query_row(next, [], |row| row.get(0))
}

fn highest_message(connection: &Connection) -> rusqlite::Result<Option<MessageId>> {
    let highest = connection
        .query_row("SELECT max(id) FROM message", [], |row| row.get::<_, Option<StoredUuid>>(0))?;
    Ok(highest.map(|id| MessageId(id.0)))
}

fn has_key(message: &Message, client: ClientId, key: &str) -> bool {
    message.client_id == client && message.dedupe_key.as_deref() == Some(key)
}

fn load_waiting(connection: &Connection) -> rusqlite::Result<Option<HashSet<i64>>> {
    let mut select = connection.prepare_cached("SELECT client, key FROM waiting LIMIT ?1")?;
    let mut rows = select.query([WAITING_KEYS_MAX as i64 / 2 + 1])?;
    let mut keys = HashSet::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        keys.insert(key_hash(ClientId(row.get(0)?), row.get_ref(1)?.as_str()?));
    }
    Ok((count <= WAITING_KEYS_MAX / 2).then_some(keys))
}

fn load_erased(connection: &Connection) -> rusqlite::Result<Option<HashSet<ConversationKey>>> {
    let mut select =
        connection.prepare_cached("SELECT client, conversation FROM erased LIMIT ?1")?;
    let erased: HashSet<_> = select
        .query_map([ERASED_KEPT_MAX as i64 + 1], |row| {
            Ok((ClientId(row.get(0)?), ConversationId(row.get(1)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(erased).filter(|erased| erased.len() <= ERASED_KEPT_MAX))
}

pub(super) fn read_tenant(
    connection: &Connection,
    client: ClientId,
) -> rusqlite::Result<Option<StoredTenant>> {
    connection
        .prepare_cached(
            "SELECT stats, bot, whatsapp, day_date, day_zone, stats_feed_row, bot_feed_row, \
             whatsapp_feed_row, floor_feed_row FROM tenant WHERE client = ?1",
        )?
        .query_row([client.0], |row| {
            let date: Option<String> = row.get(3)?;
            let zone: Option<String> = row.get(4)?;
            Ok(StoredTenant {
                tenant: Tenant {
                    stats: row.get::<_, Json<_>>(0)?.0,
                    bot: row.get::<_, Json<_>>(1)?.0,
                    whatsapp: row.get::<_, Json<_>>(2)?.0,
                    day: date.zip(zone),
                },
                stats_feed_row: row.get(5)?,
                bot_feed_row: row.get(6)?,
                whatsapp_feed_row: row.get(7)?,
                floor: row.get(8)?,
                touched: false,
            })
        })
        .optional()
}

pub(super) fn find_conversation(
    connection: &Connection,
    (client, id): ConversationKey,
) -> rusqlite::Result<Option<StoredConversation>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            conversation_columns!(),
            " FROM conversation WHERE row = ?1"
        ))?
        .query_row([conversation_row(client, id)], |row| {
            let (conversation, feed_row) = read_conversation(row)?;
            Ok(StoredConversation { conversation: Arc::new(conversation), feed_row })
        })
        .optional()
}

pub(super) fn find_message(
    connection: &Connection,
    (client, id): MessageKey,
) -> rusqlite::Result<Option<StoredMessage>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM message WHERE id = ?1 AND client = ?2"
        ))?
        .query_row((id.0.as_bytes(), client.0), StoredMessage::read)
        .optional()
}

pub(super) fn find_message_by_key(
    connection: &Connection,
    client: ClientId,
    key: &str,
    hash: i64,
) -> rusqlite::Result<Option<StoredMessage>> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM message WHERE key_hash = ?1"
    ))?;
    let mut rows = select.query([hash])?;
    while let Some(row) = rows.next()? {
        let found = StoredMessage::read(row)?;
        if has_key(&found.message, client, key) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

pub(super) fn find_waiting(
    connection: &Connection,
    client: ClientId,
    key: &str,
) -> rusqlite::Result<Option<Waiting>> {
    connection
        .prepare_cached("SELECT waiting FROM waiting WHERE client = ?1 AND key = ?2")?
        .query_row((client.0, key), |row| Ok(row.get::<_, Json<_>>(0)?.0))
        .optional()
}

pub(super) fn find_setup(
    connection: &Connection,
    client: ClientId,
) -> rusqlite::Result<Option<StoredSetup>> {
    connection
        .prepare_cached("SELECT client, event, at, setup FROM setup WHERE client = ?1")?
        .query_row([client.0], read_setup)
        .optional()
}

/// All setups there are.
pub(super) fn setups(connection: &Connection) -> rusqlite::Result<Vec<StoredSetup>> {
    connection
        .prepare_cached("SELECT client, event, at, setup FROM setup ORDER BY client")?
        .query_map([], read_setup)?
        .collect()
}

fn read_setup(row: &Row<'_>) -> rusqlite::Result<StoredSetup> {
    Ok(StoredSetup {
        client_id: ClientId(row.get(0)?),
        event: EventId(row.get::<_, StoredUuid>(1)?.0),
        at: row.get(2)?,
        setup: row.get::<_, Json<_>>(3)?.0,
    })
}
