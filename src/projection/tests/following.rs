//! From a log to the read model and the sink.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    Bench,
    logs::{random_log, received},
};
use crate::{
    domain::{
        event::{Event, EventData},
        ids::{ClientId, ConversationId, Position},
    },
    event_log::{Append, EventLog, Expected, StoreIdentity, StreamName, memory::MemoryLog},
    projection::{
        CommittedBatch, FeedSink, PublicFrame,
        follow::follow,
        queries::{Queries, QueryError},
        read_model::ReadModel,
        tests::logs::record,
    },
    runtime::shutdown::Shutdown,
    wire::{cursor::Cursor, event_type::EventType},
};

#[derive(Default)]
struct Collected(Mutex<Vec<PublicFrame>>);

impl FeedSink for Collected {
    fn committed(&self, batch: &CommittedBatch) {
        self.0.lock().extend(batch.frames.iter().cloned());
    }
}

async fn append(log: &MemoryLog, events: impl IntoIterator<Item = Event>) -> Position {
    let entries = events
        .into_iter()
        .map(|event| Append {
            stream: StreamName::Tenant(event.client_id),
            expected: Expected::Any,
            events: vec![event],
        })
        .collect();
    log.append(entries).await.unwrap().last().unwrap().position
}

fn is_unknown(event: &Event) -> bool {
    matches!(event.data, EventData::Unknown { .. })
}

fn event(data: EventData) -> Event {
    Event::clone(&record(1, 1, data).event)
}

fn memory_log() -> Arc<MemoryLog> {
    let epoch = super::EPOCH.to_owned();
    Arc::new(MemoryLog::new(StoreIdentity { epoch, hash_key: [7; 32] }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_appended_is_projected_fed_and_read() {
    let bench = Bench::new();
    let log = memory_log();
    let past = random_log(1, 300);
    let storable = past.iter().filter(|record| !is_unknown(&record.event));
    append(&log, storable.map(|record| Event::clone(&record.event))).await;
    let sink = Arc::new(Collected::default());
    let shutdown = Shutdown::new();
    let model = bench.model();
    let queries = Queries::open(&model).unwrap();
    assert!(matches!(queries.complete().await, Err(QueryError::Incomplete)));
    let mut following =
        follow(model, log.clone(), sink.clone(), bench.clock.clone(), &shutdown).unwrap();
    following.caught_up.wait_for(|caught_up| *caught_up).await.unwrap();
    queries.complete().await.unwrap();

    let position = append(&log, [event(received(9, 99_000, "hola"))]).await;
    let cursor = Cursor { position, ordinal: 0 };
    queries.at_least(cursor, Duration::from_secs(20)).await.unwrap();
    let newest = sink.0.lock().iter().find(|frame| frame.cursor == cursor).cloned().unwrap();
    assert_eq!(newest.event_type, EventType::NewMessage);
    assert_eq!(newest.conversation_id, Some(ConversationId(9)));
    let found = queries.conversation(ClientId(1), ConversationId(9)).await.unwrap().unwrap();
    assert_eq!(found.last_message.unwrap().text.as_deref(), Some("hola"));

    shutdown.stopping.cancel();
    following.ended().await.unwrap();
    assert!(matches!(
        queries.at_least(Cursor::end_of(Position(u64::MAX)), Duration::from_secs(20)).await,
        Err(QueryError::Broken(_))
    ));
    // What was read before can be read on.
    queries.complete().await.unwrap();
    assert!(queries.conversation(ClientId(1), ConversationId(9)).await.unwrap().is_some());
    drop(ReadModel::open(&bench.settings, super::EPOCH, position).unwrap());
}
