//! Single situations: windows, conflation, hand-over, resets.

use std::{pin::pin, sync::atomic::Ordering, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::table::{CLIENT, World, drain, event, event_of, ids};
use crate::{
    domain::ids::{ClientId, ConversationId, Position},
    feed::{
        FeedSettings,
        filter::Filter,
        frame::Encoding,
        hub::Start,
        subscriber::{Budget, Next, ResetReason, Subscriber},
    },
    projection::FeedSink,
    wire::{cursor::Cursor, event_type::EventType},
};

const ALL: Budget = Budget { bytes: 1 << 20, events: u32::MAX };

fn live(world: &World) -> Subscriber {
    world.hub.subscribe(CLIENT, Start::Live, Filter::ALL, Encoding::Json)
}

fn after(world: &World, position: u64) -> Subscriber {
    let cursor = Cursor { position: Position(position), ordinal: 0 };
    world.hub.subscribe(CLIENT, Start::After(cursor), Filter::ALL, Encoding::Json)
}

fn expect_ids(next: Next, expected: &[&str]) {
    let Next::Batch(batch) = next else { panic!("not events: {next:?}") };
    assert_eq!(ids(&batch.bytes), expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_after_a_quiet_moment_leaves_at_once_and_the_next_wait_for_the_window() {
    let world = World::new(FeedSettings { batch_window_ms: 5, ..FeedSettings::default() });
    let mut subscriber = live(&world);
    let start = Instant::now();
    world.publish(vec![event(1, 0)]);
    expect_ids(subscriber.next_batch(ALL).await, &["k3v9q-1-0"]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    world.publish(vec![event(2, 0)]);
    world.publish(vec![event(3, 0)]);
    expect_ids(subscriber.next_batch(ALL).await, &["k3v9q-2-0", "k3v9q-3-0"]);
    assert!(start.elapsed() >= Duration::from_millis(5));
    assert!(start.elapsed() <= Duration::from_millis(7));
}

#[tokio::test(start_paused = true)]
async fn superseded_state_events_that_wait_together_are_left_out() {
    let world = World::new(FeedSettings::default());
    let mut subscriber = live(&world);
    let mut slow = live(&world);
    for position in 1..=8 {
        world.publish(vec![
            event(position, 0),
            event_of(position, 1, EventType::ConversationUpdated, (position % 2) as u32),
            event_of(position, 2, EventType::StatsUpdated, 0),
        ]);
    }
    let (seen, _) = drain(&mut subscriber, ALL).await;
    assert_eq!(seen.iter().filter(|id| id.ends_with("-0")).count(), 8);
    assert!(seen.iter().filter(|id| !id.ends_with("-0")).count() < 16);
    for position in 9..=16 {
        world.publish(vec![event_of(position, 0, EventType::StatsUpdated, 0)]);
        expect_ids(subscriber.next_batch(ALL).await, &[&format!("k3v9q-{position}-0")]);
    }
    // It has let eight and more segments gather; they come as one.
    let Next::Batch(batch) = slow.next_batch(ALL).await else { panic!() };
    let seen = ids(&batch.bytes);
    assert_eq!(seen.iter().filter(|id| id.ends_with("-0")).count(), 9);
    assert_eq!(seen.last().unwrap(), "k3v9q-16-0");
    assert!(!seen.contains(&"k3v9q-8-2".to_owned()));
    assert!(seen.contains(&"k3v9q-8-1".to_owned()) && seen.contains(&"k3v9q-7-1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_falls_out_of_the_ring_goes_on_from_the_table_and_comes_back() {
    let settings = FeedSettings { ring_events_max: 2, page_events: 3, ..FeedSettings::default() };
    let world = World::new(settings);
    let mut subscriber = live(&world);
    for position in 1..=20 {
        world.publish(vec![event(position, 0)]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (seen, others) = drain(&mut subscriber, ALL).await;
    let expected: Vec<_> = (1..=20).map(|position| format!("k3v9q-{position}-0")).collect();
    assert_eq!(seen, expected);
    assert!(others.is_empty());
    let pages = world.table.pages_read.load(Ordering::SeqCst);
    assert!(pages >= 6);
    world.publish(vec![event(21, 0)]);
    expect_ids(subscriber.next_batch(ALL).await, &["k3v9q-21-0"]);
    assert_eq!(world.table.pages_read.load(Ordering::SeqCst), pages, "back in the ring");
}

#[tokio::test(start_paused = true)]
async fn polls_of_a_quiet_tenant_read_the_table_once() {
    let world = World::new(FeedSettings::default());
    world.publish(vec![event(1, 0)]);
    world.hub.committed(&world.table.commit(Vec::new(), 9));
    for _ in 0..10 {
        let mut poll = after(&world, 1);
        assert!(poll.ready_batch(ALL, world.hub.head()).await.is_none());
        assert_eq!(poll.cursor(), Cursor { position: Position(1), ordinal: 0 });
    }
    assert_eq!(world.table.pages_read.load(Ordering::SeqCst), 1);
    world.publish(vec![event(10, 0)]);
    expect_ids(after(&world, 1).next_batch(ALL).await, &["k3v9q-10-0"]);
    assert_eq!(world.table.pages_read.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_cursor_moves_past_hidden_events() {
    let world = World::new(FeedSettings::default());
    let filter = Filter { conversation: Some(ConversationId(2)), ..Filter::ALL };
    let mut subscriber = world.hub.subscribe(CLIENT, Start::Live, filter, Encoding::Json);
    let begin = subscriber.cursor();
    let mut other_tenants = event(1, 0);
    other_tenants.client_id = ClientId(9);
    world.publish(vec![other_tenants]);
    assert_eq!(drain(&mut subscriber, ALL).await.0.len(), 0);
    assert_eq!(subscriber.cursor(), begin, "nothing of this tenant");
    assert_eq!(subscriber.resume_cursor(), Cursor::end_of(Position(1)));
    world.publish(vec![event(2, 0)]);
    assert_eq!(drain(&mut subscriber, ALL).await.0.len(), 0);
    assert_eq!(subscriber.cursor(), Cursor { position: Position(2), ordinal: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_cursor_ahead_of_this_instance_waits_and_one_beyond_the_log_is_unknown() {
    let world = World::new(FeedSettings::default());
    world.publish(vec![event(1, 0)]);
    world.table.log_head.store(5, Ordering::SeqCst);
    let mut ahead = after(&world, 4);
    let mut beyond = after(&world, 6);
    let start = Instant::now();
    assert!(ahead.ready_batch(ALL, world.hub.head()).await.is_none(), "nothing is there for it");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(timeout(Duration::from_secs(20), ahead.next_batch(ALL)).await.is_err());
    // This instance may be stuck: another one can serve it.
    assert!(matches!(ahead.next_batch(ALL).await, Next::Unavailable));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(ahead.cursor(), Cursor { position: Position(4), ordinal: 0 });
    assert!(timeout(Duration::from_secs(20), ahead.next_batch(ALL)).await.is_err());
    let next = beyond.next_batch(ALL).await;
    assert!(
        matches!(next, Next::Reset { reason: ResetReason::UnknownCursor, cursor } if cursor == world.hub.head())
    );
    for position in 2..=5 {
        world.publish(vec![event(position, 0)]);
    }
    assert_eq!(drain(&mut ahead, ALL).await.0, ["k3v9q-5-0"]);
    assert_eq!(drain(&mut beyond, ALL).await.0.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn resets_name_their_reason_and_go_on_from_the_head() {
    let settings = FeedSettings { backlog_events_max: 10, ..FeedSettings::default() };
    let world = World::new(settings);
    for position in 1..=30 {
        world.publish(vec![event(position, 0)]);
    }
    let mut far_behind = after(&world, 5);
    let mut near = after(&world, 20);
    world.table.expire(Cursor { position: Position(8), ordinal: 0 });
    let mut expired = after(&world, 7);
    for (subscriber, expected) in [
        (&mut far_behind, ResetReason::ExpiredCursor),
        (&mut expired, ResetReason::ExpiredCursor),
        (&mut after(&world, 8), ResetReason::TooFarBehind),
    ] {
        let Next::Reset { reason, cursor } = subscriber.next_batch(ALL).await else { panic!() };
        assert_eq!((reason, cursor), (expected, Cursor::end_of(Position(30))));
        assert_eq!(subscriber.cursor(), cursor);
    }
    assert_eq!(drain(&mut near, ALL).await.0.len(), 10);
    world.publish(vec![event(31, 0)]);
    expect_ids(expired.next_batch(ALL).await, &["k3v9q-31-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_fails_for_a_while_is_asked_again() {
    let world = World::new(FeedSettings::default());
    world.publish(vec![event(1, 0), event(2, 0)]);
    world.table.failures.store(3, Ordering::SeqCst);
    expect_ids(after(&world, 1).next_batch(ALL).await, &["k3v9q-2-0"]);
    world.table.failures.store(usize::MAX, Ordering::SeqCst);
    let mut subscriber = after(&world, 1);
    assert!(matches!(subscriber.next_batch(ALL).await, Next::Unavailable));
    world.table.failures.store(0, Ordering::SeqCst);
    expect_ids(subscriber.next_batch(ALL).await, &["k3v9q-2-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_comes_after_exactly_what_lies_before_it() {
    let world = World::new(FeedSettings::default());
    let mut in_ring = live(&world);
    world.publish((1..=6).map(|position| event(position, 0)).collect());
    let mut in_table = after(&world, 0);
    for subscriber in [&mut in_ring, &mut in_table] {
        subscriber.pause_at(Cursor::end_of(Position(3)));
        expect_ids(subscriber.next_batch(ALL).await, &["k3v9q-1-0", "k3v9q-2-0", "k3v9q-3-0"]);
        assert!(matches!(subscriber.next_batch(ALL).await, Next::Paused));
        assert_eq!(drain(subscriber, ALL).await.0.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_this_instance_comes_with_another_tenants_events() {
    let world = World::new(FeedSettings::default());
    world.publish(vec![event(3, 0)]);
    // The ring is there, so that nothing leads to the table.
    let mut subscriber = live(&world);
    let mut others = event(4, 0);
    others.client_id = ClientId(9);
    let committed = world.table.commit(vec![others], 4);
    subscriber.pause_at(Cursor::end_of(Position(4)));
    let wait = timeout(Duration::from_secs(1), subscriber.next_batch(ALL));
    assert!(wait.await.is_err(), "the feed has not heard of it");
    let start = Instant::now();
    let (next, ()) =
        tokio::join!(subscriber.next_batch(ALL), async { world.hub.committed(&committed) });
    assert!(matches!(next, Next::Paused), "{next:?}");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_there_ends_however_much_comes_in_meanwhile() {
    let world = World::new(FeedSettings { batch_window_ms: 5, ..FeedSettings::default() });
    let filter = Filter { conversation: Some(ConversationId(2)), ..Filter::ALL };
    let mut subscriber = world.hub.subscribe(CLIENT, Start::Live, filter, Encoding::Json);
    world.publish(vec![event(1, 0)]);
    let until = world.hub.head();
    let mut ready = pin!(subscriber.ready_batch(ALL, until));
    for position in 2..100 {
        // Whenever it looks, something has come in that waits to be sealed.
        world.publish(vec![event(position, 0)]);
        if let Poll::Ready(found) = futures_util::poll!(ready.as_mut()) {
            assert!(found.is_none(), "{found:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come back");
}

#[tokio::test(start_paused = true)]
async fn quiet_rings_make_room_for_busy_ones() {
    let rings_bytes_max = 200_000;
    let world = World::new(FeedSettings { rings_bytes_max, ..FeedSettings::default() });
    let _screens: Vec<_> = (1..=5)
        .map(|tenant| {
            world.hub.subscribe(ClientId(tenant), Start::Live, Filter::ALL, Encoding::Json)
        })
        .collect();
    let mut position = 0;
    let mut burst = async |tenant: u32, segments: u32| {
        for _ in 0..segments {
            position += 1;
            let mut large = event(position, 0);
            large.client_id = ClientId(tenant);
            large.json = Bytes::from(vec![b'x'; 20_000]);
            world.publish(vec![large]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The first two hold four segments each, and those that come last find room for one.
    for tenant in 1..=5 {
        burst(tenant, 4).await;
    }
    assert_eq!(world.hub.bytes(), 240_000);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(world.hub.bytes(), 180_000, "the longest quiet one keeps its newest segment");
    burst(5, 1).await;
    assert_eq!(world.hub.bytes(), 200_000, "a busy one keeps more than that again");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_ring_leaves_nothing_in_the_account() {
    let settings = FeedSettings { ring_idle_s: 10, batch_window_ms: 60_000, ..Default::default() };
    let world = World::new(settings);
    drop(live(&world));
    world.publish(vec![event(1, 0)]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    // They wait to be sealed, and most of them would be left out then.
    let state = |position| event_of(position, 0, EventType::StatsUpdated, 0);
    world.publish((2..=9).map(state).collect());
    assert!(world.hub.bytes() > 0);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!((world.hub.rings(), world.hub.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_ring_that_nobody_follows_is_dropped_after_a_while() {
    let world = World::new(FeedSettings { ring_idle_s: 60, ..FeedSettings::default() });
    let subscriber = live(&world);
    world.publish(vec![event(1, 0)]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.hub.rings(), 1);
    drop(subscriber);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.hub.rings(), 1, "it may come back");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.hub.rings(), 0);
    world.hub.committed(&world.table.commit(vec![event(2, 0)], 2));
    assert_eq!(world.hub.rings(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_gives_its_seat_to_the_next() {
    let world = World::new(FeedSettings::default());
    let mut stays = live(&world);
    for _ in 0..1_000 {
        let mut leaves = live(&world);
        assert!(timeout(Duration::from_millis(1), leaves.next_batch(ALL)).await.is_err());
    }
    assert!(timeout(Duration::from_millis(1), stays.next_batch(ALL)).await.is_err());
    world.publish(vec![event(1, 0)]);
    expect_ids(stays.next_batch(ALL).await, &["k3v9q-1-0"]);
    assert!(std::mem::size_of::<Subscriber>() <= 256);
}
