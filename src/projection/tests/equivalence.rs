//! The read model is what the fold says, however the log was cut into batches and restarts.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

use proptest::prelude::*;
use rusqlite::Connection;

use super::{Bench, EPOCH, logs::random_log, project_in};
use crate::{
    domain::{
        bulk::{BulkRecipient, RecipientPart},
        event::EventData,
        fold::fold,
        ids::{BulkId, ClientId, ConversationId, IdentityHash, Position},
        public::PublicEvent,
        state::{MemoryState, NotedAnswer},
        stats::Counts,
    },
    event_log::Record,
    projection::{
        CommittedBatch, PublicFrame, bulks,
        encode::{self, Envelope},
        feed_pages,
        state::{find_message, find_waiting, read_tenant, setups},
        stored::{
            Json, StoredUuid, conversation_columns, key_hash, message_columns, read_conversation,
            read_message,
        },
        words,
    },
    wire::{cursor::Cursor, event_type::EventType},
};

/// All that the read model holds of the fold's state.
pub(super) fn stored_state(connection: &Connection) -> MemoryState {
    let mut state = MemoryState::default();
    each(connection, "SELECT client FROM tenant", |row| {
        let client = ClientId(row.get(0)?);
        state.tenants.insert(client, read_tenant(connection, client)?.unwrap().tenant);
        Ok(())
    });
    each(connection, concat!("SELECT ", conversation_columns!(), " FROM conversation"), |row| {
        let conversation = read_conversation(row)?.0;
        let key = (conversation.client_id, conversation.id);
        state.conversations.insert(key, conversation.into());
        Ok(())
    });
    each(connection, concat!("SELECT ", message_columns!(), " FROM message"), |row| {
        let message = read_message(row)?.1;
        let (client, id) = (message.client_id, message.id);
        if let Some(key) = message.dedupe_key.clone() {
            state.message_keys.insert((client, key), id);
        }
        state.messages.insert((client, id), message.into());
        Ok(())
    });
    each(connection, "SELECT client, key FROM waiting", |row| {
        let (client, key) = (ClientId(row.get(0)?), row.get::<_, String>(1)?);
        let waiting = find_waiting(connection, client, &key)?.unwrap();
        state.waiting.insert((client, key), waiting);
        Ok(())
    });
    each(
        connection,
        "SELECT client, hour, received, sent, delivered, read, failed FROM hour",
        |row| {
            let counts = Counts {
                received: row.get(2)?,
                sent: row.get(3)?,
                delivered: row.get(4)?,
                read: row.get(5)?,
                failed: row.get(6)?,
            };
            state.hours.insert((ClientId(row.get(0)?), row.get(1)?), counts);
            Ok(())
        },
    );
    each(connection, "SELECT client, hash, conversation FROM identity", |row| {
        let key = (ClientId(row.get(0)?), IdentityHash(row.get(1)?));
        state.identities.insert(key, ConversationId(row.get(2)?));
        Ok(())
    });
    for setup in setups(connection).unwrap() {
        state.setups.insert(setup.client_id, setup);
    }
    each(connection, "SELECT client, key, conversation, at FROM answer", |row| {
        let (client, key) = (ClientId(row.get(0)?), row.get::<_, String>(1)?);
        let conversation = row.get::<_, Option<u32>>(2)?.map(ConversationId);
        state.answers.insert((client, key), NotedAnswer { conversation, at: row.get(3)? });
        Ok(())
    });
    each(connection, "SELECT client, id FROM bulk", |row| {
        let key = (ClientId(row.get(0)?), BulkId(row.get::<_, StoredUuid>(1)?.0));
        state.bulks.insert(key, bulks::find(connection, key)?.unwrap().bulk);
        Ok(())
    });
    each(connection, "SELECT client, bulk, first, part, recipients FROM bulk_part", |row| {
        let part = RecipientPart {
            bulk_id: BulkId(row.get::<_, StoredUuid>(1)?.0),
            part: row.get(3)?,
            first: row.get(2)?,
            recipients: row.get::<_, Json<_>>(4)?.0,
        };
        state.bulk_parts.insert((ClientId(row.get(0)?), part.bulk_id, part.first), part);
        Ok(())
    });
    let sql = "SELECT client, bulk, number, result, conversation FROM bulk_recipient";
    each(connection, sql, |row| {
        let bulk = BulkId(row.get::<_, StoredUuid>(1)?.0);
        let conversation_id = row.get::<_, Option<u32>>(4)?.map(ConversationId);
        let recipient = BulkRecipient { result: row.get(3)?, conversation_id };
        state.bulk_recipients.insert((ClientId(row.get(0)?), bulk, row.get(2)?), recipient);
        Ok(())
    });
    each(connection, "SELECT client, conversation FROM erased", |row| {
        state.erased.insert((ClientId(row.get(0)?), ConversationId(row.get(1)?)));
        Ok(())
    });
    each(connection, "SELECT client, hash, at FROM erased_identity", |row| {
        let key = (ClientId(row.get(0)?), IdentityHash(row.get(1)?));
        state.erased_identities.insert(key, row.get(2)?);
        Ok(())
    });
    each(connection, "SELECT client, conversation, erasure FROM erasing", |row| {
        let key = (ClientId(row.get(0)?), ConversationId(row.get(1)?));
        state.erasing.insert(key, row.get::<_, Json<_>>(2)?.0);
        Ok(())
    });
    state
}

/// What is not alike, entry by entry, so that a failure can be read.
pub(super) fn differences(stored: &MemoryState, expected: &MemoryState) -> Vec<String> {
    fn compare<K: Eq + Hash + Debug, V: PartialEq + Debug>(
        out: &mut Vec<String>,
        stored: &HashMap<K, V>,
        expected: &HashMap<K, V>,
    ) {
        for key in stored.keys().chain(expected.keys()) {
            let (stored, expected) = (stored.get(key), expected.get(key));
            if stored != expected {
                out.push(format!("{key:?}: stored {stored:?}, expected {expected:?}"));
            }
        }
    }
    let mut out = Vec::new();
    compare(&mut out, &stored.tenants, &expected.tenants);
    compare(&mut out, &stored.setups, &expected.setups);
    compare(&mut out, &stored.conversations, &expected.conversations);
    compare(&mut out, &stored.messages, &expected.messages);
    compare(&mut out, &stored.message_keys, &expected.message_keys);
    compare(&mut out, &stored.waiting, &expected.waiting);
    compare(&mut out, &stored.hours, &expected.hours);
    compare(&mut out, &stored.identities, &expected.identities);
    compare(&mut out, &stored.answers, &expected.answers);
    compare(&mut out, &stored.bulks, &expected.bulks);
    compare(&mut out, &stored.bulk_parts, &expected.bulk_parts);
    compare(&mut out, &stored.bulk_recipients, &expected.bulk_recipients);
    compare(&mut out, &stored.erased_identities, &expected.erased_identities);
    compare(&mut out, &stored.erasing, &expected.erasing);
    if stored.erased != expected.erased {
        out.push(format!("erased: {:?}, not {:?}", stored.erased, expected.erased));
    }
    out
}

fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) {
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        take(row).unwrap();
    }
}

/// What a client that missed nothing got, made without the projection: every fact, and every
/// state event as it was at its own domain event.
fn all_events(
    log: &[Record],
    state: &mut MemoryState,
) -> Vec<(ClientId, Cursor, EventType, Vec<u8>)> {
    let mut all = Vec::new();
    for Record { position, event, .. } in log {
        for (ordinal, public) in fold(state, event).iter().enumerate() {
            let cursor = Cursor { position: *position, ordinal: ordinal as u16 };
            let envelope = Envelope { epoch: EPOCH, cursor, time: event.time };
            let tenant = &state.tenants.get(&event.client_id).cloned().unwrap_or_default();
            let mut out = Vec::new();
            let event_type = match public {
                PublicEvent::ConversationUpdated { conversation } => {
                    encode::conversation_updated(&mut out, envelope, conversation);
                    EventType::ConversationUpdated
                }
                PublicEvent::StatsUpdated => {
                    encode::stats_updated(&mut out, envelope, &tenant.stats);
                    EventType::StatsUpdated
                }
                PublicEvent::BotStatusChanged => {
                    encode::bot_status_changed(&mut out, envelope, &tenant.bot);
                    EventType::BotStatusChanged
                }
                PublicEvent::WhatsappStatusChanged => {
                    encode::whatsapp_status_changed(&mut out, envelope, &tenant.whatsapp);
                    EventType::WhatsappStatusChanged
                }
                PublicEvent::BulkMessageProgress { bulk_id, sent, total, current } => {
                    let (bulk_id, sent) = (*bulk_id, *sent);
                    let progress =
                        encode::BulkProgress { bulk_id, sent, total: *total, current: *current };
                    encode::bulk_message_progress(&mut out, envelope, &progress);
                    EventType::BulkMessageProgress
                }
                fact => encode::fact(&mut out, envelope, fact).unwrap(),
            };
            all.push((event.client_id, cursor, event_type, out));
        }
    }
    all
}

type Comparable = (ClientId, Cursor, EventType, Vec<u8>);

fn comparable(frame: &PublicFrame) -> Comparable {
    (frame.client_id, frame.cursor, frame.event_type, frame.json.to_vec())
}

/// Facts, and of each state key the latest.
fn without_superseded(events: Vec<Comparable>) -> Vec<Comparable> {
    let key = |event: &Comparable| {
        let data: serde_json::Value = serde_json::from_slice(&event.3).unwrap();
        let bulk = data["data"]["bulk_id"].as_str().map(str::to_owned);
        (event.0, event.2, data["data"]["conversation"]["id"].as_u64(), bulk)
    };
    let mut latest = HashMap::new();
    for event in events.iter().filter(|event| event.2.is_state()) {
        latest.insert(key(event), event.1);
    }
    let mut kept: Vec<_> = events
        .into_iter()
        .filter(|event| !event.2.is_state() || latest[&key(event)] == event.1)
        .collect();
    kept.sort_by_key(|event| (event.0, event.1));
    kept
}

/// Without what was published of conversations before they were erased.
fn without_erased(log: &[Record], events: Vec<Comparable>) -> Vec<Comparable> {
    let mut erased: HashMap<(ClientId, u64), Position> = HashMap::new();
    for Record { position, event, .. } in log {
        let EventData::PersonalDataErased(erasure) = &event.data else { continue };
        for id in &erasure.conversations {
            erased.entry((event.client_id, u64::from(id.0))).or_insert(*position);
        }
    }
    let is_gone = |event: &Comparable| {
        let event_json: serde_json::Value = serde_json::from_slice(&event.3).unwrap();
        let data = &event_json["data"];
        let id = [&data["conversation_id"], &data["conversation"]["id"]];
        let id = id.into_iter().find_map(serde_json::Value::as_u64);
        let at = id.and_then(|id| erased.get(&(event.0, id)));
        at.is_some_and(|at| event.1.position < *at)
    };
    events.into_iter().filter(|event| !is_gone(event)).collect()
}

/// The whole stored feed of a tenant, read in pages of `limit`.
fn paged_feed(connection: &Connection, client: ClientId, limit: usize) -> Vec<PublicFrame> {
    let mut frames = Vec::new();
    let mut after = Cursor::START;
    loop {
        let page = feed_pages::page(connection, client, after, limit).unwrap();
        assert!(page.scanned_to >= after && page.frames.len() <= limit);
        assert!(page.frames.iter().all(|frame| frame.cursor > after));
        after = page.scanned_to;
        frames.extend(page.frames);
        if page.at_head {
            return frames;
        }
    }
}

/// Every row of the tables whose content must not depend on batches.
pub(super) fn feed_rows(connection: &Connection) -> Vec<(i64, u32, u8, Vec<u8>)> {
    let mut all = Vec::new();
    for table in ["feed", "feed_state"] {
        each(
            connection,
            &format!("SELECT row, client, type, json FROM {table} ORDER BY row"),
            |row| {
                all.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                Ok(())
            },
        );
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_read_model_is_what_the_fold_says_across_batches_and_restarts(
        seed: u64,
        sizes in prop::collection::vec(1usize..60, 0..12),
        restart_at in 0usize..300,
        limit in 1usize..40,
    ) {
        let log = random_log(seed, 300);
        let mut expected = MemoryState::default();
        let events = all_events(&log, &mut expected);

        let bench = Bench::new();
        let (before, after) = log.split_at(restart_at);
        let mut batches: Vec<CommittedBatch> = Vec::new();
        for part in [before, after] {
            let (mut projector, _) = bench.projector();
            batches.extend(project_in(&mut projector, part, sizes.iter().copied()));
        }
        let connection = bench.connection();
        prop_assert_eq!(differences(&stored_state(&connection), &expected), Vec::<String>::new());

        // What was handed to the feed, live: every fact once and in order, nothing made up.
        let live: Vec<_> = batches.iter().flat_map(|batch| &batch.frames).map(comparable).collect();
        prop_assert!(live.is_sorted_by_key(|event| event.1));
        prop_assert!(live.iter().all(|event| events.contains(event)));
        let complete = without_erased(&log, without_superseded(events));
        prop_assert_eq!(&without_erased(&log, without_superseded(live)), &complete);

        // What is stored: the same, whatever the size of the pages.
        let mut stored = paged_feed(&connection, ClientId(1), limit);
        stored.extend(paged_feed(&connection, ClientId(2), limit));
        let stored: Vec<_> = stored.iter().map(comparable).collect();
        prop_assert_eq!(&stored, &complete);

        // In one batch: the same rows.
        let other = Bench::new();
        project_in(&mut other.projector().0, &log, []);
        prop_assert_eq!(feed_rows(&connection), feed_rows(&other.connection()));
        prop_assert_eq!(stored_words(&connection), stored_words(&other.connection()));
    }
}

/// Which rows each word is found in, and that these are the rows that hold it.
fn stored_words(connection: &Connection) -> Vec<i64> {
    let query = words::search_words(ClientId(1), "numero").unwrap().message;
    let mut found: Vec<i64> = Vec::new();
    let mut select = connection
        .prepare("SELECT rowid FROM message_words WHERE message_words MATCH ?1 ORDER BY rowid")
        .unwrap();
    let mut rows = select.query([query]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        found.push(row.get(0).unwrap());
    }
    let mut holding: Vec<i64> = Vec::new();
    each(
        connection,
        "SELECT row FROM message WHERE client = 1 AND text LIKE '%número%' ORDER BY row",
        |row| {
            holding.push(row.get(0)?);
            Ok(())
        },
    );
    assert_eq!(found, holding);
    found
}

#[test]
fn a_frame_that_is_read_is_the_frame_that_was_handed_on() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    let batches = project_in(&mut projector, &random_log(3, 200), []);
    let live = &batches[0].frames;
    let connection = bench.connection();
    for client in [ClientId(1), ClientId(2)] {
        let stored = feed_pages::page(&connection, client, Cursor::START, 10_000).unwrap().frames;
        let live: Vec<_> = live.iter().filter(|frame| frame.client_id == client).collect();
        assert_eq!(stored.len(), live.len());
        for (stored, live) in stored.iter().zip(live) {
            assert_eq!(
                (stored.cursor, stored.event_type, stored.key, stored.conversation_id),
                (live.cursor, live.event_type, live.key, live.conversation_id)
            );
            assert_eq!((stored.taken_in_at, &stored.json), (live.taken_in_at, &live.json));
        }
    }
}

#[test]
fn a_key_is_found_after_its_message_left_the_cache() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    let log = random_log(5, 300);
    project_in(&mut projector, &log, []);
    let connection = bench.connection();
    let state = stored_state(&connection);
    for ((client, key), id) in &state.message_keys {
        let hash = key_hash(*client, key);
        let found = crate::projection::state::find_message_by_key(&connection, *client, key, hash);
        assert_eq!(found.unwrap().unwrap().message.id, *id);
    }
    let (&(client, id), message) = state.messages.iter().next().unwrap();
    let found = find_message(&connection, (client, id)).unwrap().unwrap().message;
    assert_eq!(&found, message);
    let stranger = ClientId(77);
    assert!(find_message(&connection, (stranger, id)).unwrap().is_none());
}

#[test]
fn what_is_behind_the_checkpoint_is_not_folded_again() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    let log = random_log(7, 100);
    project_in(&mut projector, &log, [50]);
    let before = feed_rows(&bench.connection());
    let again = projector.project(log.iter(), true).unwrap();
    assert!(again.frames.is_empty());
    assert_eq!(again.position, log.last().unwrap().position);
    assert_eq!(feed_rows(&bench.connection()), before);
    assert!(Position::START < again.position);
}
