//! The stored feed: what the projector writes of a batch, and what readers take from it.
//!
//! Facts are appended to `feed` in log order and leave it by age alone. Of every state key only
//! the newest event is kept, in `feed_state`: superseded ones may be left out at any time
//! (PROTOCOL.md), so leaving them out at once keeps the table at one row a key and needs nobody
//! to compact it (docs/decisions/0004).
//!
//! **Invariant:** a fact is in `feed` unless it is older than the retention, and its tenant's
//! floor is at or behind it then; the newest event of each state key is in `feed_state`.

use std::{collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::{PublicFrame, encode, encode::Envelope, erasing, state::FoldState, stored::feed_row};
use crate::{
    domain::{
        conversation::Conversation,
        event::Erasure,
        ids::{BulkId, ClientId, ConversationId, Position},
        public::PublicEvent,
        time::Timestamp,
    },
    wire::{cursor::Cursor, event_type::EventType},
};

/// Facts of a batch held back at most before they are written, in bytes.
const HELD_BYTES_MAX: usize = 32 << 20;

/// What the batch has published so far.
pub(super) struct FeedBatch {
    epoch: Arc<str>,
    /// Facts taken in before this are not kept.
    keep_since: Timestamp,
    /// `None` when nobody follows.
    frames: Option<Vec<PublicFrame>>,
    facts: Vec<Fact>,
    /// The JSON of `facts`, one behind the other.
    held: Vec<u8>,
    states: HashMap<(ClientId, EventType, u64), StateEvent>,
    rows_added: i64,
    scratch: Vec<u8>,
}

/// What became of a batch.
pub(super) struct Published {
    /// In feed order; empty when nobody follows.
    pub frames: Vec<PublicFrame>,
    /// How many more rows the feed has now.
    pub rows_added: i64,
}

struct Fact {
    row: i64,
    client: ClientId,
    event_type: EventType,
    conversation: Option<ConversationId>,
    time: Timestamp,
    json: Range<usize>,
}

struct StateEvent {
    cursor: Cursor,
    time: Timestamp,
    content: StateContent,
}

/// What a state event tells, where it is not read from the state as it is at the end.
enum StateContent {
    Tenant,
    /// As it was right after its domain event.
    Conversation(Arc<Conversation>),
    Bulk(encode::BulkProgress),
}

/// What a later `bulk_message_progress` of the same bulk has alike: a hash of the bulk's id.
pub(super) fn bulk_key(id: BulkId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    high.rotate_left(32) ^ low
}

/// Where a domain event stands and when it was taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub client: ClientId,
    pub position: Position,
    pub time: Timestamp,
}

impl FeedBatch {
    pub fn new(epoch: Arc<str>, keep_since: Timestamp, with_frames: bool) -> Self {
        Self {
            epoch,
            keep_since,
            frames: with_frames.then(Vec::new),
            facts: Vec::new(),
            held: Vec::new(),
            states: HashMap::new(),
            rows_added: 0,
            scratch: Vec::new(),
        }
    }

    /// Takes in what the fold answered to one domain event.
    pub fn publish(
        &mut self,
        state: &mut FoldState,
        source: Source,
        events: Vec<PublicEvent>,
    ) -> rusqlite::Result<()> {
        for (ordinal, event) in events.into_iter().enumerate() {
            // The fold answers with a handful.
            let ordinal = u16::try_from(ordinal).unwrap_or(u16::MAX);
            let cursor = Cursor { position: source.position, ordinal };
            let (event_type, key, content) = match event {
                PublicEvent::NewMessage { ref conversation, .. } => {
                    self.publish_fact(state, source, cursor, &event, Some(conversation.id));
                    continue;
                }
                PublicEvent::MessageStatusUpdated { conversation_id, .. } => {
                    self.publish_fact(state, source, cursor, &event, Some(conversation_id));
                    continue;
                }
                PublicEvent::BulkMessageCompleted { .. } | PublicEvent::BulkMessageError { .. } => {
                    self.publish_fact(state, source, cursor, &event, None);
                    continue;
                }
                PublicEvent::ConversationUpdated { conversation } => {
                    let key = u64::from(conversation.id.0);
                    (EventType::ConversationUpdated, key, StateContent::Conversation(conversation))
                }
                PublicEvent::BulkMessageProgress { bulk_id, sent, total, current } => {
                    let content = encode::BulkProgress { bulk_id, sent, total, current };
                    let content = StateContent::Bulk(content);
                    (EventType::BulkMessageProgress, bulk_key(bulk_id), content)
                }
                PublicEvent::StatsUpdated => (EventType::StatsUpdated, 0, StateContent::Tenant),
                PublicEvent::BotStatusChanged => {
                    (EventType::BotStatusChanged, 0, StateContent::Tenant)
                }
                PublicEvent::WhatsappStatusChanged => {
                    (EventType::WhatsappStatusChanged, 0, StateContent::Tenant)
                }
            };
            let published = StateEvent { cursor, time: source.time, content };
            self.states.insert((source.client, event_type, key), published);
        }
        if self.held.len() > HELD_BYTES_MAX {
            self.write_facts(&state.connection)?;
        }
        Ok(())
    }

    /// Takes out what was published of erased conversations, in this batch and before.
    pub fn erase(
        &mut self,
        connection: &Connection,
        client: ClientId,
        erasure: &Erasure,
    ) -> rusqlite::Result<()> {
        let gone = |owner: ClientId, id: Option<ConversationId>| {
            owner == client && id.is_some_and(|id| erasure.conversations.contains(&id))
        };
        if let Some(frames) = &mut self.frames {
            frames.retain(|frame| !gone(frame.client_id, frame.conversation_id));
        }
        self.facts.retain(|fact| !gone(fact.client, fact.conversation));
        self.states.retain(|(owner, _, _), event| {
            let conversation = match &event.content {
                StateContent::Conversation(conversation) => Some(conversation.id),
                StateContent::Tenant | StateContent::Bulk(_) => None,
            };
            !gone(*owner, conversation)
        });
        self.rows_added -= erasing::erase_facts(connection, client, erasure)?;
        Ok(())
    }

    fn publish_fact(
        &mut self,
        state: &mut FoldState,
        source: Source,
        cursor: Cursor,
        event: &PublicEvent,
        conversation: Option<ConversationId>,
    ) {
        let row = feed_row(cursor);
        let kept = source.time >= self.keep_since;
        if !kept && let Some(tenant) = state.stored_tenant(source.client) {
            tenant.floor = row;
            tenant.touched = true;
        }
        if !kept && self.frames.is_none() {
            return;
        }
        let envelope = Envelope { epoch: &self.epoch, cursor, time: source.time };
        let Some(event_type) = encode::fact(&mut self.scratch, envelope, event) else { return };
        if let Some(frames) = &mut self.frames {
            frames.push(PublicFrame {
                client_id: source.client,
                cursor,
                event_type,
                key: 0,
                conversation_id: conversation,
                json: Bytes::copy_from_slice(&self.scratch),
                taken_in_at: source.time,
            });
        }
        if kept {
            let start = self.held.len();
            self.held.extend_from_slice(&self.scratch);
            let json = start..self.held.len();
            let Source { client, time, .. } = source;
            self.facts.push(Fact { row, client, event_type, conversation, time, json });
        }
    }

    /// Writes what is published and returns the frames in feed order.
    pub fn finish(mut self, state: &mut FoldState) -> rusqlite::Result<Published> {
        self.write_facts(&state.connection)?;
        let mut states: Vec<_> = self.states.drain().collect();
        states.sort_unstable_by_key(|(_, event)| event.cursor);
        for ((client, event_type, key), event) in states {
            self.write_state(state, client, event_type, key, event)?;
        }
        self.rows_added -= std::mem::take(&mut state.feed_rows_erased);
        let mut frames = self.frames.take().unwrap_or_default();
        frames.sort_by_key(|frame| frame.cursor);
        Ok(Published { frames, rows_added: self.rows_added })
    }

    fn write_facts(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO feed (row, client, type, conversation, taken_in_at, json) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        self.rows_added += self.facts.len() as i64;
        for fact in self.facts.drain(..) {
            insert.execute(params![
                fact.row,
                fact.client.0,
                fact.event_type as u8,
                fact.conversation.map(|id| id.0),
                fact.time,
                &self.held[fact.json],
            ])?;
        }
        self.held.clear();
        Ok(())
    }

    /// Encodes a state event, and puts it in the place of the one that it supersedes.
    fn write_state(
        &mut self,
        state: &mut FoldState,
        client: ClientId,
        event_type: EventType,
        key: u64,
        event: StateEvent,
    ) -> rusqlite::Result<()> {
        let StateEvent { cursor, time, content } = event;
        let envelope = Envelope { epoch: &self.epoch, cursor, time };
        let out = &mut self.scratch;
        let (mut conversation_id, mut stored_key) = (None, None);
        let newest = match &content {
            StateContent::Conversation(conversation) => {
                let id = conversation.id;
                conversation_id = Some(id);
                encode::conversation_updated(out, envelope, conversation);
                state.stored_conversation_mut((client, id)).map(|entry| &mut entry.feed_row)
            }
            StateContent::Bulk(progress) => {
                stored_key = Some(key.cast_signed());
                encode::bulk_message_progress(out, envelope, progress);
                state.stored_bulk_mut((client, progress.bulk_id)).map(|entry| &mut entry.feed_row)
            }
            StateContent::Tenant => {
                let Some(tenant) = state.stored_tenant(client) else { return Ok(()) };
                tenant.touched = true;
                match event_type {
                    EventType::BotStatusChanged => {
                        encode::bot_status_changed(out, envelope, &tenant.tenant.bot);
                        Some(&mut tenant.bot_feed_row)
                    }
                    EventType::WhatsappStatusChanged => {
                        encode::whatsapp_status_changed(out, envelope, &tenant.tenant.whatsapp);
                        Some(&mut tenant.whatsapp_feed_row)
                    }
                    _ => {
                        encode::stats_updated(out, envelope, &tenant.tenant.stats);
                        Some(&mut tenant.stats_feed_row)
                    }
                }
            }
        };
        let row = feed_row(cursor);
        let superseded = newest.and_then(|newest| newest.replace(row));
        if let Some(superseded) = superseded {
            state
                .connection
                .prepare_cached("DELETE FROM feed_state WHERE client = ?1 AND row = ?2")?
                .execute((client.0, superseded))?;
            self.rows_added -= 1;
        }
        state
            .connection
            .prepare_cached(
                "INSERT INTO feed_state (client, row, type, conversation, key, taken_in_at, json) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                client.0,
                row,
                event_type as u8,
                conversation_id.map(|id| id.0),
                stored_key,
                time,
                &*out,
            ])?;
        self.rows_added += 1;
        if let Some(frames) = &mut self.frames {
            frames.push(PublicFrame {
                client_id: client,
                cursor,
                event_type,
                key,
                conversation_id,
                json: Bytes::copy_from_slice(out),
                taken_in_at: time,
            });
        }
        Ok(())
    }
}
