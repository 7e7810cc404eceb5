//! What the queries answer.

use std::time::Duration;

use super::{
    Bench, EPOCH,
    logs::{random_log, received, record},
    project_in,
};
use crate::{
    domain::{
        conversation::{Contact, ConversationStatus},
        event::{ConversationChange, EventData},
        fold::fold,
        ids::{ClientId, ConversationId, IdentityHash, Position},
        state::MemoryState,
    },
    projection::{
        feed_pages,
        fixtures::{NOON, message_id},
        queries::{ConversationFilter, Page, Queries, QueryError},
        stored::conversation_row,
        to_wire,
    },
    wire::cursor::Cursor,
};

const TENANT: ClientId = ClientId(1);

fn at(position: u64, ordinal: u16) -> Cursor {
    Cursor { position: Position(position), ordinal }
}

const NONE: [u32; 0] = [];

async fn search(queries: &Queries, client: ClientId, text: &str) -> Vec<u32> {
    let filter = ConversationFilter {
        search: Some(text.to_owned()),
        limit: 50,
        ..ConversationFilter::default()
    };
    let page = queries.conversations(client, filter).await.unwrap();
    page.items.iter().map(|found| found.id.0).collect()
}

#[tokio::test]
async fn a_snapshot_is_the_fold_at_its_cursor() {
    let log = random_log(11, 200);
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    let mut state = MemoryState::default();
    for batch in log.chunks(50) {
        projector.project(batch.iter(), true).unwrap();
        projector.announce();
        for record in batch {
            fold(&mut state, &record.event);
        }
        let snapshot = queries.snapshot(TENANT, 100).await.unwrap();
        let cursor = Cursor::end_of(batch.last().unwrap().position);
        assert_eq!(snapshot.cursor, cursor.display(EPOCH).to_string());
        let tenant = &state.tenants[&TENANT];
        assert_eq!(snapshot.stats, to_wire::stats(&tenant.stats));
        assert_eq!(snapshot.bot_status, to_wire::bot(&tenant.bot));
        assert_eq!(snapshot.whatsapp_state, to_wire::whatsapp(&tenant.whatsapp));
        let mut expected: Vec<_> = state
            .conversations
            .values()
            .filter(|kept| kept.client_id == TENANT && kept.merged_into.is_none())
            .map(|kept| {
                let active_at =
                    kept.last_message.as_ref().map_or(kept.created_at, |last| last.timestamp);
                (active_at, kept.id, to_wire::conversation(kept))
            })
            .collect();
        expected.sort_by_key(|(active_at, id, _)| std::cmp::Reverse((*active_at, *id)));
        let expected: Vec<_> = expected.into_iter().map(|(_, _, wire)| wire).collect();
        assert_eq!(snapshot.conversations, expected);
    }
}

#[tokio::test]
async fn lists_and_histories_come_in_pages_newest_first() {
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    let texts = (0..30u32)
        .map(|n| record(u64::from(n) + 1, 1, received(n % 7 + 1, u128::from(n) + 1, "hola")));
    let closed = EventData::ConversationChanged {
        conversation_id: ConversationId(3),
        change: ConversationChange {
            status: Some(ConversationStatus::Closed),
            ..ConversationChange::default()
        },
    };
    let log: Vec<_> = texts.chain([record(99, 1, closed)]).collect();
    project_in(&mut projector, &log, []);

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let filter = ConversationFilter { after, limit: 3, ..ConversationFilter::default() };
        let page = queries.conversations(TENANT, filter).await.unwrap();
        assert!(page.items.len() <= 3);
        seen.extend(page.items.iter().map(|found| found.id.0));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [2, 1, 7, 6, 5, 4, 3]);
    let status = Some(ConversationStatus::Closed);
    let filter = ConversationFilter { status, limit: 9, ..ConversationFilter::default() };
    let page = queries.conversations(TENANT, filter).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.next, None);

    let numbers = |page: &Page<crate::domain::message::Message>| -> Vec<u128> {
        page.items.iter().map(|message| message.id.0.as_u128()).collect()
    };
    let first = queries.messages(TENANT, ConversationId(1), None, 3).await.unwrap();
    assert_eq!(numbers(&first), [29, 22, 15]);
    let before = first.next.as_deref().unwrap().parse().unwrap();
    let second = queries.messages(TENANT, ConversationId(1), Some(before), 3).await.unwrap();
    assert_eq!(numbers(&second), [8, 1]);
    assert_eq!(second.next, None);
    let elsewhere = Some(message_id(2));
    let none = queries.messages(TENANT, ConversationId(1), elsewhere, 3).await.unwrap();
    assert!(none.items.is_empty());
    let stranger = queries.messages(ClientId(2), ConversationId(1), None, 3).await.unwrap();
    assert!(stranger.items.is_empty());
}

#[tokio::test]
async fn search_finds_contacts_messages_and_parts_of_numbers_of_one_tenant() {
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    let opened = |conversation, name: &str, phone: &str| EventData::ConversationOpened {
        conversation_id: ConversationId(conversation),
        contact: Contact {
            name: Some(name.to_owned()),
            phone: Some(phone.to_owned()),
            ..Contact::default()
        },
        at: None,
    };
    let log = [
        record(1, 1, opened(1, "José Núñez", "+5491155550001")),
        record(2, 1, opened(2, "Ana", "+34600123456")),
        record(3, 2, opened(1, "José Ajeno", "+5491155550001")),
        record(4, 1, received(2, 1, "¿Cuándo llega mi CAMIÓN?")),
        record(5, 2, received(1, 2, "mi camión")),
        record(6, 1, received(1, 3, "el camino es largo")),
    ];
    project_in(&mut projector, &log, [2]);
    assert_eq!(search(&queries, TENANT, "jose nunez").await, [1]);
    assert_eq!(search(&queries, TENANT, "JOSÉ").await, [1]);
    assert_eq!(search(&queries, TENANT, "camion").await, [2]);
    // The beginning of a word, newest activity first.
    assert_eq!(search(&queries, TENANT, "cami").await, [1, 2]);
    assert_eq!(search(&queries, TENANT, "camion cuando").await, [2]);
    assert_eq!(search(&queries, TENANT, "5555-0001").await, [1]);
    assert_eq!(search(&queries, TENANT, "+34 600 12").await, [2]);
    assert_eq!(search(&queries, TENANT, "ajeno").await, NONE);
    for text in ["\"", "camion\" OR \"x", "NEAR(", "*", "a* b", "words:x", "-camion", "(", "^", "'"]
    {
        search(&queries, TENANT, text).await;
    }

    // Once the text is gone it is not found.
    let revoked = EventData::MessageRevoked(crate::domain::event::MessageAmendment {
        conversation_id: ConversationId(2),
        message_id: message_id(50),
        dedupe_key: "notice.50".to_owned(),
        target: "wamid.1".to_owned(),
        text: None,
        outbound: false,
        at: NOON.plus_ms(60_000),
    });
    let renamed = EventData::ContactChanged {
        conversation_id: ConversationId(1),
        contact: Contact { name: Some("Pepe".to_owned()), ..Contact::default() },
        at: None,
    };
    projector.project([record(7, 1, revoked), record(8, 1, renamed)].iter(), true).unwrap();
    assert_eq!(search(&queries, TENANT, "camion").await, NONE);
    assert_eq!(search(&queries, TENANT, "nunez").await, NONE);
    assert_eq!(search(&queries, TENANT, "pepe").await, [1]);
    assert_eq!(search(&queries, TENANT, "0001").await, [1]);
}

#[tokio::test]
async fn identities_and_ids_follow_merges() {
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    let [phone, lid, unknown] = [1, 2, 3].map(|byte| IdentityHash([byte; 16]));
    let registered = |id, hash| EventData::ContactRegistered {
        conversation_id: ConversationId(id),
        identities: vec![hash],
    };
    let log = [
        record(1, 1, registered(1, phone)),
        record(2, 1, received(1, 1, "uno")),
        record(3, 1, registered(2, lid)),
        record(4, 1, received(2, 2, "dos")),
        record(5, 1, registered(7, IdentityHash([9; 16]))),
        record(
            6,
            1,
            EventData::ContactsMerged {
                from: ConversationId(2),
                into: ConversationId(1),
                identities: Vec::new(),
            },
        ),
    ];
    project_in(&mut projector, &log, []);
    let one = Some(ConversationId(1));
    let asked = vec![lid, unknown, phone];
    assert_eq!(queries.identities(TENANT, asked).await.unwrap(), [one, None, one]);
    // Registered and never opened: its number is taken all the same.
    assert_eq!(queries.highest_conversation(TENANT).await.unwrap(), Some(ConversationId(7)));
    assert_eq!(queries.highest_conversation(ClientId(2)).await.unwrap(), None);
    let merged = queries.conversation(TENANT, ConversationId(2)).await.unwrap().unwrap();
    assert_eq!(merged.id, ConversationId(1));
    let history = queries.messages(TENANT, ConversationId(2), None, 9).await.unwrap();
    assert_eq!(history.items.len(), 2);
}

#[tokio::test]
async fn the_feed_is_found_by_time_counted_and_loses_only_what_is_too_old() {
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    // An event each 100 ms from NOON on; the facts have ordinal 0, the statistics 1.
    let log: Vec<_> = (1..=50).map(|n| record(n, 1, received(1, u128::from(n), "hola"))).collect();
    project_in(&mut projector, &log, [20]);

    assert_eq!(queries.feed_backlog(TENANT, Cursor::START, 1000).await.unwrap(), 51);
    assert_eq!(queries.feed_backlog(TENANT, at(50, 0), 1000).await.unwrap(), 1);
    assert_eq!(queries.feed_backlog(TENANT, Cursor::START, 10).await.unwrap(), 10);
    assert_eq!(queries.feed_backlog(ClientId(2), Cursor::START, 10).await.unwrap(), 0);

    let time = |n: i64| NOON.plus_ms(n * 100);
    assert_eq!(queries.feed_at(TENANT, time(0)).await.unwrap(), Cursor::end_of(Position(0)));
    assert_eq!(queries.feed_at(TENANT, time(30)).await.unwrap(), Cursor::end_of(Position(29)));
    assert_eq!(queries.feed_at(TENANT, time(51)).await.unwrap(), Cursor::end_of(Position(50)));
    assert_eq!(queries.feed_floor(TENANT).await.unwrap(), Cursor::START);

    let retention_ms = bench.settings.feed_retention_s as i64 * 1000;
    bench.clock.advance_ms(retention_ms + 30 * 100);
    while projector.retain().unwrap() {}
    // Event 30 is exactly as old as the retention and stays.
    assert_eq!(queries.feed_floor(TENANT).await.unwrap(), at(29, 0));
    assert_eq!(queries.feed_at(TENANT, time(0)).await.unwrap(), Cursor::end_of(Position(29)));
    let page = queries.feed(TENANT, at(29, 0), 1000).await.unwrap();
    assert_eq!(page.frames.len(), 22);
    assert_eq!(page.frames[0].cursor, at(30, 0));
    assert!(page.at_head);
    assert_eq!(page.scanned_to, Cursor::end_of(Position(50)));

    // All facts go; the latest of each state key stays.
    bench.clock.advance_ms(100_000);
    while projector.retain().unwrap() {}
    let page = queries.feed(TENANT, Cursor::START, 1000).await.unwrap();
    assert_eq!(page.frames.iter().map(|frame| frame.cursor).collect::<Vec<_>>(), [at(50, 1)]);
    let rows: i64 =
        bench.connection().query_row("SELECT feed_rows FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);

    // A log that is folded after that is not kept to begin with.
    let late = Bench::new();
    late.clock.advance_ms(retention_ms + 30 * 100);
    let (mut projector, queries) = late.projector();
    let batches = project_in(&mut projector, &log, []);
    assert_eq!(batches[0].frames.len(), 51);
    assert_eq!(queries.feed_floor(TENANT).await.unwrap(), at(29, 0));
    assert_eq!(queries.feed(TENANT, at(29, 0), 1000).await.unwrap().frames.len(), 22);
}

#[tokio::test(start_paused = true)]
async fn a_position_is_waited_for_and_not_longer_than_allowed() {
    let bench = Bench::new();
    let (mut projector, queries) = bench.projector();
    let wait = Duration::from_secs(5);
    let late = queries.at_least(at(3, 0), wait).await;
    assert!(matches!(late, Err(QueryError::NotYet)));
    project_in(&mut projector, &[record(3, 1, received(1, 1, "hola"))], []);
    queries.at_least(at(3, 0), wait).await.unwrap();
    // Of what is not projected yet there is nothing, and the reader does not go back.
    let page = queries.feed(TENANT, Cursor::end_of(Position(9)), 10).await.unwrap();
    assert_eq!(page.scanned_to, Cursor::end_of(Position(9)));
    assert!(page.at_head && page.frames.is_empty());
}

#[test]
fn a_page_of_the_feed_is_read_in_order_without_sorting() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    project_in(&mut projector, &random_log(1, 50), []);
    let connection = bench.connection();
    let mut plan =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {}", feed_pages::PAGE_SQL)).unwrap();
    let steps: Vec<String> = plan
        .query_map((1, 0, 10), |row| row.get(3))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(
        !steps.iter().any(|step| step.contains("TEMP B-TREE") || step.contains("SCAN")),
        "{steps:?}"
    );
    let row = conversation_row(TENANT, ConversationId(1));
    let mut plan = connection
        .prepare(
            "EXPLAIN QUERY PLAN SELECT row FROM message WHERE conversation_row = ?1 \
                  AND (timestamp, id) < (?2, ?3) ORDER BY timestamp DESC, id DESC",
        )
        .unwrap();
    let steps: Vec<String> = plan
        .query_map((row, 0, [0u8; 16]), |row| row.get(3))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(steps.iter().all(|step| step.contains("message_by_conversation")), "{steps:?}");
}
