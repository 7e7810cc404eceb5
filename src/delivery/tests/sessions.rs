//! What every session says, whatever carries it.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::harness::{Bench, NOW, identity, next_json};
use crate::{
    delivery::{
        registry::{Ending, Transport},
        request::StreamRequest,
        session::{Output, Session},
        settings::DeliverySettings,
    },
    domain::ids::Position,
    feed::{FeedSettings, frame::Encoding, tests::table::event},
    wire::{cursor::Cursor, problem::Code},
};

async fn open(bench: &Bench, query: &str) -> Session {
    let request = StreamRequest::parse(query).unwrap();
    let identity = identity(NOW.plus_ms(3_600_000));
    bench.sessions.open(Transport::WebSocket, Encoding::Json, &identity, &request).await.unwrap()
}

fn settings() -> DeliverySettings {
    DeliverySettings::default()
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_and_names_the_place() {
    let bench = Bench::new(settings());
    bench.world.publish(vec![event(7, 0)]);
    let mut live = open(&bench, "").await;
    let mut resumed = open(&bench, "cursor=k3v9q-6-1").await;
    let hello = &next_json(&mut live).await[0];
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["data"]["cursor"], "k3v9q-7-65535");
    assert_eq!(hello["data"]["protocol"], 1);
    assert_eq!(hello["data"]["heartbeat_ms"], 25_000);
    assert_eq!(hello["data"]["token_expires_at"], "2026-11-24T11:15:30.123Z");
    assert_eq!(next_json(&mut resumed).await[0]["data"]["cursor"], "k3v9q-6-1");
    assert_eq!(next_json(&mut resumed).await[0]["id"], "k3v9q-7-0");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_stands_at_its_cursor_and_events_follow_from_there() {
    let bench = Bench::new(settings());
    bench.world.publish(vec![event(3, 0)]);
    // The read model is ahead of the feed, as it is right after a commit.
    let committed = bench.world.table.commit(vec![event(4, 0)], 4);
    let mut session = open(&bench, "snapshot=true").await;
    assert_eq!(next_json(&mut session).await[0]["data"]["cursor"], "k3v9q-4-65535");
    let snapshot = &next_json(&mut session).await[0];
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["data"]["cursor"], "k3v9q-4-65535");
    assert_eq!(snapshot["data"]["botStatus"]["status"], "active");
    crate::projection::FeedSink::committed(bench.world.hub.as_ref(), &committed);
    bench.world.publish(vec![event(5, 0)]);
    assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-5-0");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_with_a_cursor_comes_after_what_lies_between() {
    let bench = Bench::new(settings());
    bench.world.publish((1..=4).map(|position| event(position, 0)).collect());
    let mut session = open(&bench, "snapshot=true&cursor=k3v9q-2-0").await;
    bench.world.publish(vec![event(5, 0)]);
    assert_eq!(next_json(&mut session).await[0]["data"]["cursor"], "k3v9q-2-0");
    let between = next_json(&mut session).await;
    let ids: Vec<_> = between.iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["k3v9q-3-0", "k3v9q-4-0"]);
    assert_eq!(next_json(&mut session).await[0]["data"]["cursor"], "k3v9q-4-65535");
    assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-5-0");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_cursor_is_said_right_after_hello() {
    let bench = Bench::new(settings());
    bench.world.publish(vec![event(1, 0)]);
    for query in ["cursor=zzzzz-1-0", "cursor=nonsense", "cursor=zzzzz-1-0&snapshot=true"] {
        let mut session = open(&bench, query).await;
        assert_eq!(next_json(&mut session).await[0]["type"], "hello", "{query}");
        assert_eq!(
            next_json(&mut session).await[0],
            json!({"type": "reset", "data": {"reason": "unknown_cursor", "cursor": "k3v9q-1-65535"}})
        );
        if query.ends_with("snapshot=true") {
            assert_eq!(next_json(&mut session).await[0]["type"], "snapshot");
        }
    }
    // Beyond the log's end.
    for query in ["cursor=k3v9q-9-0", "cursor=k3v9q-9-0&snapshot=true"] {
        let mut session = open(&bench, query).await;
        assert_eq!(next_json(&mut session).await[0]["type"], "hello");
        assert_eq!(next_json(&mut session).await[0]["data"]["reason"], "unknown_cursor");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_under_way_brings_the_snapshot_that_was_asked_for() {
    let feed = FeedSettings { ring_events_max: 2, ..FeedSettings::default() };
    let bench = Bench::with_feed(settings(), feed);
    let mut session = open(&bench, "snapshot=true").await;
    next_json(&mut session).await;
    next_json(&mut session).await;
    for position in 1..=9 {
        bench.world.publish(vec![event(position, 0)]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.world.table.expire(Cursor { position: Position(4), ordinal: 0 });
    assert_eq!(
        next_json(&mut session).await[0],
        json!({"type": "reset", "data": {"reason": "expired_cursor", "cursor": "k3v9q-9-65535"}})
    );
    assert_eq!(next_json(&mut session).await[0]["type"], "snapshot");
    bench.world.publish(vec![event(10, 0)]);
    assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-10-0");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_with_and_without_events() {
    let bench = Bench::new(settings());
    let mut session = open(&bench, "").await;
    next_json(&mut session).await;
    let start = Instant::now();
    assert!(matches!(session.next().await, Output::Heartbeat { .. }));
    let first = start.elapsed();
    assert!(first >= Duration::from_millis(12_500) && first <= Duration::from_millis(25_001));
    let mut beats = 0;
    for position in 1..=10 {
        bench.world.publish(vec![event(position, 0)]);
        tokio::time::sleep(Duration::from_secs(10)).await;
        while let Ok(output) = timeout(Duration::ZERO, session.next()).await {
            beats += usize::from(matches!(output, Output::Heartbeat { .. }));
        }
    }
    assert!((3..=4).contains(&beats), "{beats}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_ends_the_session_unless_it_is_renewed() {
    let bench = Bench::new(DeliverySettings { heartbeat_ms: 600_000, ..settings() });
    let request = StreamRequest::default();
    let short = identity(NOW.plus_ms(60_000));
    let open = || bench.sessions.open(Transport::Sse, Encoding::Json, &short, &request);
    let mut expires = open().await.unwrap();
    let mut renewed = open().await.unwrap();
    next_json(&mut expires).await;
    next_json(&mut renewed).await;
    assert!(renewed.renew(&identity(NOW.plus_ms(120_000))));
    let mut other_tenant = identity(NOW.plus_ms(120_000));
    other_tenant.client_id.0 += 1;
    assert!(!renewed.renew(&other_tenant));
    let start = Instant::now();
    bench.clock.advance_ms(60_000);
    assert!(matches!(expires.next().await, Output::Close(Ending::TokenExpired)));
    assert!(start.elapsed() >= Duration::from_secs(60));
    bench.clock.advance_ms(60_000);
    assert!(matches!(renewed.next().await, Output::Close(Ending::TokenExpired)));
    assert!(start.elapsed() >= Duration::from_secs(120));
    assert_eq!(open().await.err().unwrap().code(), Code::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn draining_is_said_at_once_and_closes_at_the_moment_it_names() {
    let bench = Bench::new(settings());
    let mut session = open(&bench, "").await;
    next_json(&mut session).await;
    assert!(timeout(Duration::from_secs(1), session.next()).await.is_err());
    bench.world.shutdown.draining.cancel();
    let start = Instant::now();
    let draining = &next_json(&mut session).await[0];
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(draining["type"], "draining");
    let after = Duration::from_millis(draining["data"]["reconnect_after_ms"].as_u64().unwrap());
    // Events still come meanwhile.
    bench.world.publish(vec![event(1, 0)]);
    if after > Duration::from_millis(10) {
        assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-1-0");
        assert!(matches!(session.next().await, Output::Close(Ending::Draining)));
        assert!(start.elapsed() >= after);
    }
    let request = StreamRequest::default();
    let late = identity(NOW.plus_ms(60_000));
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &late, &request).await;
    assert_eq!(refused.err().unwrap().code(), Code::Draining);
}

#[tokio::test(start_paused = true)]
async fn limits_and_scopes_turn_callers_away() {
    let bench = Bench::new(DeliverySettings { connections_per_tenant_max: 1, ..settings() });
    let first = open(&bench, "").await;
    let request = StreamRequest::default();
    let mut caller = identity(NOW.plus_ms(60_000));
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &caller, &request).await;
    assert_eq!(refused.err().unwrap().code(), Code::TooManyConnections);
    drop(first);
    caller.scopes = crate::auth::Scopes::MESSAGES_READ;
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &caller, &request).await;
    assert_eq!(refused.err().unwrap().code(), Code::ScopeMissing);
    assert_eq!(bench.sessions.connections(), 0);
    assert!(std::mem::size_of::<Session>() <= 640, "{}", std::mem::size_of::<Session>());
}
