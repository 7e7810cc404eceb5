//! What every backend must do, as a suite that each runs.
//!
//! A backend brings a [`Store`] (how to open one store, again and again) and calls [`run`] with an
//! empty one per case. A case that fails panics and says what was promised. Not only tests use
//! it: a release binary can point it at a cluster before it trusts that.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, future::join_all};
use uuid::Uuid;

use super::{
    Append, AppendError, Appended, EventLog, Expected, Record, Revision, StreamName,
    TAIL_BATCH_MAX, Tail,
};
use crate::domain::{
    event::{Event, EventData, IncomingMessage},
    ids::{ClientId, ConversationId, EventId, MessageId, Position},
    message::MessageKind,
    time::Timestamp,
};

/// One store of a backend, empty when a case begins.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens it; at most one is open at a time.
    async fn open(&self) -> Arc<dyn EventLog>;
    /// Whether what was stored is there again after closing and opening.
    fn is_durable(&self) -> bool;
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Order,
    Expectations,
    SeveralEntries,
    OneStreamTwice,
    Contents,
    Reading,
    ReadingAStream,
    Deletion,
    ConcurrentAppends,
    RacingForARevision,
    TailOfThePast,
    TailAcrossTheHandOver,
    TailAfterDeletion,
    CancelledAppends,
    Reopening,
    Closing,
}

impl Case {
    pub const ALL: [Case; 16] = [
        Case::Order,
        Case::Expectations,
        Case::SeveralEntries,
        Case::OneStreamTwice,
        Case::Contents,
        Case::Reading,
        Case::ReadingAStream,
        Case::Deletion,
        Case::ConcurrentAppends,
        Case::RacingForARevision,
        Case::TailOfThePast,
        Case::TailAcrossTheHandOver,
        Case::TailAfterDeletion,
        Case::CancelledAppends,
        Case::Reopening,
        Case::Closing,
    ];
}

/// How long anything that should happen at once may take before the case fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one case on an empty store.
pub async fn run(case: Case, store: &dyn Store) {
    let log = store.open().await;
    match case {
        Case::Order => order(&*log).await,
        Case::Expectations => expectations(&*log).await,
        Case::SeveralEntries => several_entries(&*log).await,
        Case::OneStreamTwice => one_stream_twice(&*log).await,
        Case::Contents => contents(&*log).await,
        Case::Reading => reading(&*log).await,
        Case::ReadingAStream => reading_a_stream(&*log).await,
        Case::Deletion => deletion(&*log).await,
        Case::ConcurrentAppends => concurrent_appends(&log).await,
        Case::RacingForARevision => racing_for_a_revision(&log).await,
        Case::TailOfThePast => tail_of_the_past(&*log).await,
        Case::TailAcrossTheHandOver => tail_across_the_hand_over(&log).await,
        Case::TailAfterDeletion => tail_after_deletion(&*log).await,
        Case::CancelledAppends => cancelled_appends(&log).await,
        Case::Reopening => return reopening(store, log).await,
        Case::Closing => closing(&*log).await,
    }
    log.close().await;
}

async fn order(log: &dyn EventLog) {
    assert_eq!(log.head().await.expect("head"), Position::START, "an empty log's head");
    assert!(log.append(Vec::new()).await.expect("nothing to append").is_empty());
    let mut last = Position::START;
    for number in 0..20 {
        let appended = put(log, stream(number % 3), Expected::Any, &[number]).await;
        assert_eq!(appended.len(), 1);
        assert!(appended[0].position > last, "positions grow");
        last = appended[0].position;
    }
    assert_eq!(log.head().await.expect("head"), last);
    assert_eq!(numbers(&all(log).await), (0..20).collect::<Vec<_>>());
    log.health().await.expect("a log that stores is healthy");
}

async fn expectations(log: &dyn EventLog) {
    let first = put(log, stream(1), Expected::NoStream, &[1]).await[0];
    conflict(log, Expected::NoStream, Some(first.revision)).await;
    let second = put(log, stream(1), Expected::Revision(first.revision), &[2]).await[0];
    assert!(second.revision > first.revision, "revisions grow");
    conflict(log, Expected::Revision(first.revision), Some(second.revision)).await;
    conflict(log, Expected::Revision(Revision(second.revision.0 + 1000)), Some(second.revision))
        .await;
    put(log, stream(1), Expected::Any, &[3]).await;
    // Another stream is another matter.
    put(log, stream(2), Expected::NoStream, &[4]).await;
    let missing = [append(stream(3), Expected::Revision(first.revision), &[9])];
    match log.append(missing.into()).await {
        Err(AppendError::Conflict { index: 0, actual: None }) => {}
        other => panic!("a revision of a stream that does not exist: {other:?}"),
    }
    assert_eq!(numbers(&all(log).await), [1, 2, 3, 4]);
}

async fn conflict(log: &dyn EventLog, expected: Expected, is: Option<Revision>) {
    match log.append(vec![append(stream(1), expected, &[99])]).await {
        Err(AppendError::Conflict { index: 0, actual }) => assert_eq!(actual, is),
        other => panic!("{expected:?} must conflict: {other:?}"),
    }
}

async fn several_entries(log: &dyn EventLog) {
    put(log, stream(2), Expected::Any, &[1]).await;
    let batch = vec![
        append(stream(1), Expected::NoStream, &[2, 3]),
        append(stream(2), Expected::Any, &[4]),
        append(stream(3), Expected::NoStream, &[5, 6, 7]),
    ];
    let appended = log.append(batch).await.expect("appends");
    assert_eq!(appended.len(), 6, "a place for each event, entry by entry");
    assert!(appended.is_sorted_by_key(|appended| appended.position));
    assert_eq!(numbers(&all(log).await), [1, 2, 3, 4, 5, 6, 7]);

    let failing = vec![
        append(stream(4), Expected::Any, &[90]),
        append(stream(2), Expected::NoStream, &[91, 92]),
        append(stream(5), Expected::Any, &[93]),
    ];
    match log.append(failing).await {
        Err(AppendError::Conflict { index: 1, .. }) => {}
        other => panic!("the second entry must conflict: {other:?}"),
    }
    let after: Vec<u32> = numbers(&all(log).await).into_iter().skip(7).collect();
    assert!(after.is_empty() || after == [90], "nothing of, or after, the failed entry: {after:?}");
    put(log, stream(5), Expected::NoStream, &[8]).await;
}

async fn one_stream_twice(log: &dyn EventLog) {
    let batch = vec![
        append(stream(1), Expected::NoStream, &[1]),
        append(stream(2), Expected::Any, &[2]),
        append(stream(1), Expected::Any, &[3]),
    ];
    let appended = log.append(batch).await.expect("appends");
    assert!(appended[2].revision > appended[0].revision, "the later entry sees the earlier");
    let batch =
        vec![append(stream(3), Expected::Any, &[4]), append(stream(3), Expected::NoStream, &[99])];
    match log.append(batch).await {
        Err(AppendError::Conflict { index: 1, .. }) => {}
        other => panic!("the second entry must see the first: {other:?}"),
    }
    let records = log.read_stream(&stream(1), None, 10).await.expect("reads");
    assert_eq!(numbers(&records), [1, 3]);
}

async fn contents(log: &dyn EventLog) {
    let mut written = event(5);
    written.actor = "user:\u{1F600} \"x\"\n".to_owned();
    written.causation = Some(EventId(Uuid::from_u128(77)));
    let names = [stream(1), StreamName::Request(ClientId(1), "00ff".to_owned())];
    for name in &names {
        let entry =
            Append { stream: name.clone(), expected: Expected::Any, events: vec![written.clone()] };
        log.append(vec![entry]).await.expect("appends");
        let read = log.read_stream(name, None, 10).await.expect("reads");
        assert_eq!((&*read[0].event, &read[0].stream), (&written, name));
    }
    let mut unknown = event(6);
    unknown.data = EventData::Unknown { event_type: "x".to_owned() };
    let entry = Append { stream: stream(1), expected: Expected::Any, events: vec![unknown] };
    match log.append(vec![entry]).await {
        Err(AppendError::Rejected { .. }) => {}
        other => panic!("an unknown event must be rejected: {other:?}"),
    }
    assert_eq!(all(log).await.len(), 2);
}

async fn reading(log: &dyn EventLog) {
    let count = TAIL_BATCH_MAX as u32 + 100;
    fill(log, 0..count).await;
    let mut after = Position::START;
    let mut read = Vec::new();
    for limit in [1, 7, 100, 1024].into_iter().cycle() {
        let page = log.read(after, limit).await.expect("reads");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { break };
        after = last.position;
        read.extend(numbers(&page));
    }
    assert_eq!(read, (0..count).collect::<Vec<_>>());
    assert!(log.read(Position(after.0 + 1_000_000), 10).await.expect("reads").is_empty());
}

async fn reading_a_stream(log: &dyn EventLog) {
    for number in 0..30 {
        put(log, stream(number % 2), Expected::Any, &[number]).await;
    }
    let mut after = None;
    let mut read = Vec::new();
    loop {
        let page = log.read_stream(&stream(1), after, 4).await.expect("reads");
        assert!(page.len() <= 4 && page.iter().all(|record| record.stream == stream(1)));
        let Some(last) = page.last() else { break };
        after = Some(last.revision);
        read.extend(numbers(&page));
    }
    assert_eq!(read, (0..30).filter(|number| number % 2 == 1).collect::<Vec<_>>());
    assert!(log.read_stream(&stream(9), None, 10).await.expect("reads").is_empty());
}

async fn deletion(log: &dyn EventLog) {
    put(log, stream(1), Expected::Any, &[1, 2]).await;
    put(log, stream(2), Expected::Any, &[3]).await;
    let newest = put(log, stream(1), Expected::Any, &[4]).await[0].position;
    log.delete_stream(&stream(1)).await.expect("deletes");
    log.delete_stream(&stream(1)).await.expect("deleting what is not there is no error");
    assert!(log.read_stream(&stream(1), None, 10).await.expect("reads").is_empty());
    assert_eq!(numbers(&all(log).await), [3]);

    let reborn = put(log, stream(1), Expected::NoStream, &[5]).await[0];
    assert!(reborn.position > newest, "a position is never used twice");
    put(log, stream(1), Expected::Revision(reborn.revision), &[6]).await;
    let records = log.read_stream(&stream(1), None, 10).await.expect("reads");
    assert_eq!(numbers(&records), [5, 6]);
    assert_eq!(numbers(&all(log).await), [3, 5, 6]);
}

async fn concurrent_appends(log: &Arc<dyn EventLog>) {
    const TASKS: u32 = 32;
    const EACH: u32 = 40;
    let tasks = (0..TASKS).map(|task| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut places = Vec::new();
            for step in 0..EACH {
                let number = task * EACH + step;
                // Its own stream, and one that all share.
                let batch = vec![
                    append(stream(task), Expected::Any, &[number]),
                    append(stream(1000), Expected::Any, &[100_000 + number]),
                ];
                places.extend(log.append(batch).await.expect("appends"));
            }
            assert!(places.is_sorted_by_key(|place| place.position), "one task's order");
            places
        })
    });
    let mut places = HashSet::new();
    for task in join_all(tasks).await {
        for place in task.expect("the task ends") {
            assert!(places.insert(place.position), "a position is one event's");
        }
    }
    let records = all(&**log).await;
    assert_eq!(records.len() as u32, TASKS * EACH * 2);
    assert!(records.iter().all(|record| places.contains(&record.position)));
    for task in 0..TASKS {
        let own = numbers(&log.read_stream(&stream(task), None, 1000).await.expect("reads"));
        assert_eq!(own, (task * EACH..(task + 1) * EACH).collect::<Vec<_>>());
    }
    let shared = log.read_stream(&stream(1000), None, 10_000).await.expect("reads");
    assert!(shared.is_sorted_by(|one, next| one.revision < next.revision));
    assert_eq!(shared.len() as u32, TASKS * EACH);
}

async fn racing_for_a_revision(log: &Arc<dyn EventLog>) {
    const RACERS: u32 = 8;
    const WINS: u32 = 15;
    let racers = (0..RACERS).map(|racer| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut expected = Expected::NoStream;
            let mut wins = 0;
            while wins < WINS {
                let number = racer * WINS + wins;
                match log.append(vec![append(stream(1), expected, &[number])]).await {
                    Ok(places) => {
                        expected = Expected::Revision(places[0].revision);
                        wins += 1;
                    }
                    Err(AppendError::Conflict { actual, .. }) => {
                        let actual = actual.expect("somebody was first");
                        expected = Expected::Revision(actual);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for racer in join_all(racers).await {
        racer.expect("the racer ends");
    }
    let mut stored = numbers(&log.read_stream(&stream(1), None, 1000).await.expect("reads"));
    stored.sort_unstable();
    assert_eq!(stored, (0..RACERS * WINS).collect::<Vec<_>>(), "each win is stored once");
}

async fn tail_of_the_past(log: &dyn EventLog) {
    let mut empty = log.tail(Position::START);
    assert!(matches!(next(&mut empty).await, Tail::CaughtUp), "an empty log is caught up with");

    let count = 2 * TAIL_BATCH_MAX as u32 + 10;
    fill(log, 0..count).await;
    for skipped in [0, 1, 1000, count - 1, count] {
        let after = match skipped {
            0 => Position::START,
            _ => {
                log.read(Position::START, skipped as usize).await.expect("reads")
                    [skipped as usize - 1]
                    .position
            }
        };
        let mut tail = log.tail(after);
        let mut seen = Vec::new();
        while let Tail::Records(records) = next(&mut tail).await {
            assert!(!records.is_empty() && records.len() <= TAIL_BATCH_MAX);
            seen.extend(numbers(&records));
        }
        assert_eq!(seen, (skipped..count).collect::<Vec<_>>());
        let place = put(log, stream(1), Expected::Any, &[777_777]).await[0];
        match next(&mut tail).await {
            Tail::Records(records) => {
                assert_eq!(records[0].position, place.position);
                assert_eq!(records[0].revision, place.revision);
            }
            Tail::CaughtUp => panic!("nothing new was behind"),
        }
        log.delete_stream(&stream(1)).await.expect("deletes");
    }
}

async fn tail_across_the_hand_over(log: &Arc<dyn EventLog>) {
    const WRITERS: u32 = 6;
    const EACH: u32 = 300;
    const TAILS: u32 = 24;
    let writers = (0..WRITERS).map(|writer| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut numbers = writer * EACH..(writer + 1) * EACH;
            while !numbers.is_empty() {
                let size = 1 + numbers.start as usize % 9;
                let part: Vec<u32> = numbers.by_ref().take(size).collect();
                put(&*log, stream(writer), Expected::Any, &part).await;
            }
        })
    });
    let tails = (0..TAILS).map(|tail| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            // Begins somewhere on the way, from somewhere in the past.
            let from = tail as usize * (WRITERS * EACH / TAILS) as usize;
            while all(&*log).await.len() < from {
                tokio::task::yield_now().await;
            }
            let known = log.read(Position::START, from / 2).await.expect("reads");
            let after = known.last().map_or(Position::START, |record| record.position);
            let mut seen: Vec<Position> = known.iter().map(|record| record.position).collect();
            let mut tail = log.tail(after);
            while seen.len() < (WRITERS * EACH) as usize {
                if let Tail::Records(records) = next(&mut tail).await {
                    seen.extend(records.iter().map(|record| record.position));
                }
            }
            seen
        })
    });
    let (tails, writers) = tokio::join!(join_all(tails), join_all(writers));
    for writer in writers {
        writer.expect("the writer ends");
    }
    let truth: Vec<Position> = all(&**log).await.iter().map(|record| record.position).collect();
    for tail in tails {
        assert_eq!(tail.expect("the tail ends"), truth, "no gap, no duplicate, in order");
    }
}

async fn tail_after_deletion(log: &dyn EventLog) {
    fill(log, 0..50).await;
    put(log, stream(70), Expected::Any, &[100, 101]).await;
    log.delete_stream(&stream(70)).await.expect("deletes");
    let mut tail = log.tail(Position::START);
    let mut seen = Vec::new();
    while let Tail::Records(records) = next(&mut tail).await {
        seen.extend(numbers(&records));
    }
    assert_eq!(seen, (0..50).collect::<Vec<_>>(), "what was deleted is not followed");
    put(log, stream(70), Expected::NoStream, &[102]).await;
    match next(&mut tail).await {
        Tail::Records(records) => assert_eq!(numbers(&records), [102]),
        Tail::CaughtUp => panic!("nothing was behind"),
    }
}

async fn cancelled_appends(log: &Arc<dyn EventLog>) {
    let mut tail = log.tail(Position::START);
    for number in 0..50 {
        let appending = {
            let log = Arc::clone(log);
            tokio::spawn(async move { put(&*log, stream(1), Expected::Any, &[number]).await })
        };
        tokio::task::yield_now().await;
        appending.abort();
    }
    put(&**log, stream(2), Expected::Any, &[1000]).await;
    let mut followed = Vec::new();
    while followed.last() != Some(&1000) {
        if let Tail::Records(records) = next(&mut tail).await {
            followed.extend(numbers(&records));
        }
    }
    let stored = numbers(&all(&**log).await);
    assert!(stored.starts_with(&followed), "{stored:?} {followed:?}");
}

async fn reopening(store: &dyn Store, log: Arc<dyn EventLog>) {
    let identity = log.identity().clone();
    let epoch_fits = (5..=8).contains(&identity.epoch.len())
        && identity.epoch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    assert!(epoch_fits, "an epoch is 5 to 8 of a-z0-9");
    let first = put(&*log, stream(1), Expected::NoStream, &[1]).await[0];
    let newest = put(&*log, stream(2), Expected::NoStream, &[2]).await[0];
    log.delete_stream(&stream(2)).await.expect("deletes");
    log.close().await;
    if !store.is_durable() {
        return;
    }
    let log = store.open().await;
    assert_eq!(*log.identity(), identity, "the identity is the store's");
    assert_eq!(numbers(&all(&*log).await), [1]);
    let after = put(&*log, stream(2), Expected::NoStream, &[3]).await[0];
    assert!(after.position > newest.position, "also the newest position is never used again");
    put(&*log, stream(1), Expected::Revision(first.revision), &[4]).await;
    assert_eq!(numbers(&all(&*log).await), [1, 3, 4]);
    log.close().await;
}

async fn closing(log: &dyn EventLog) {
    put(log, stream(1), Expected::Any, &[1]).await;
    let mut tail = log.tail(Position::START);
    assert!(matches!(next(&mut tail).await, Tail::Records(_)));
    log.close().await;
    log.close().await;
    let mut last = None;
    while let Some(item) = within(tail.next()).await {
        last = Some(item);
    }
    assert!(matches!(last, Some(Err(_))), "a follower is told of the end");
    let entry = append(stream(1), Expected::Any, &[2]);
    assert!(matches!(log.append(vec![entry]).await, Err(AppendError::Unavailable { .. })));
    assert!(log.read(Position::START, 1).await.is_err());
    assert!(log.health().await.is_err());
}

// What the cases share.

fn stream(number: u32) -> StreamName {
    StreamName::Conversation(ClientId(1), ConversationId(number))
}

/// An event that carries `number`.
pub fn event(number: u32) -> Event {
    let id = Uuid::from_u128(u128::from(number) + 1);
    Event {
        id: EventId(id),
        client_id: ClientId(1),
        time: Timestamp(1_795_515_330_123),
        actor: "system".to_owned(),
        causation: None,
        data: EventData::MessageReceived(IncomingMessage {
            conversation_id: ConversationId(1),
            message_id: MessageId(id),
            wa_message_id: format!("wamid.{number}"),
            dedupe_key: number.to_string(),
            kind: MessageKind::Text,
            text: Some(format!("message {number}")),
            media: None,
            payload: None,
            reply_to: None,
            sent_at: Timestamp(1_795_515_330_000),
            imported: false,
            status: None,
            by_api: false,
        }),
    }
}

fn append(stream: StreamName, expected: Expected, numbers: &[u32]) -> Append {
    Append { stream, expected, events: numbers.iter().copied().map(event).collect() }
}

async fn put(
    log: &dyn EventLog,
    stream: StreamName,
    expected: Expected,
    numbers: &[u32],
) -> Vec<Appended> {
    within(log.append(vec![append(stream, expected, numbers)])).await.expect("appends")
}

/// Appends `numbers` over a few streams, in order.
async fn fill(log: &dyn EventLog, numbers: std::ops::Range<u32>) {
    let numbers: Vec<u32> = numbers.collect();
    for part in numbers.chunks(50) {
        put(log, stream(100 + part[0] % 7), Expected::Any, part).await;
    }
}

/// The numbers that the events carry.
pub fn numbers(records: &[Record]) -> Vec<u32> {
    records
        .iter()
        .map(|record| match &record.event.data {
            EventData::MessageReceived(message) => message.dedupe_key.parse().expect("a number"),
            other => panic!("not an event of this suite: {other:?}"),
        })
        .collect()
}

async fn all(log: &dyn EventLog) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(Position::START, |record| record.position);
        let page = within(log.read(after, 1000)).await.expect("reads");
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

async fn next<S>(tail: &mut S) -> Tail
where
    S: futures_util::Stream<Item = Result<Tail, super::LogError>> + Unpin,
{
    within(tail.next()).await.expect("a tail never ends").expect("the log can be read")
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("within the time that it may take")
}
