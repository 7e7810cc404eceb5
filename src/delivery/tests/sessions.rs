//! What every session says, whatever carries it.

use std::{sync::atomic::Ordering, time::Duration};

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
    domain::ids::{ClientId, Position},
    feed::{
        FeedSettings,
        frame::Encoding,
        tests::table::{event, event_of},
    },
    wire::{cursor::Cursor, event_type::EventType, problem::Code},
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
async fn a_snapshot_ahead_of_the_feed_comes_with_another_tenants_events() {
    let bench = Bench::new(settings());
    bench.world.publish(vec![event(3, 0)]);
    // Another session of the tenant, so that its ring covers the cursor.
    let _other = open(&bench, "").await;
    let mut others = event(4, 0);
    others.client_id = ClientId(9);
    let committed = bench.world.table.commit(vec![others], 4);
    let mut session = open(&bench, "snapshot=true&cursor=k3v9q-3-65535").await;
    assert_eq!(next_json(&mut session).await[0]["type"], "hello");
    let start = Instant::now();
    // It waits already when the feed hears of what was committed.
    let (snapshot, ()) = tokio::join!(next_json(&mut session), async {
        crate::projection::FeedSink::committed(bench.world.hub.as_ref(), &committed);
    });
    assert_eq!(start.elapsed(), Duration::ZERO);
    let snapshot = &snapshot[0];
    assert_eq!(snapshot["data"]["cursor"], "k3v9q-4-65535");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_never_older_than_the_cursor_that_came_with_it() {
    let bench = Bench::new(settings());
    bench.world.publish(vec![event(1, 0)]);
    bench.world.table.log_head.store(6, Ordering::SeqCst);
    let mut session = open(&bench, "snapshot=true&cursor=k3v9q-4-0").await;
    assert_eq!(next_json(&mut session).await[0]["data"]["cursor"], "k3v9q-4-0");
    assert!(timeout(Duration::from_secs(1), session.next()).await.is_err());
    bench.world.publish((2..=5).map(|position| event(position, 0)).collect());
    assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-5-0", "and nothing before it");
    let snapshot = &next_json(&mut session).await[0];
    assert_eq!(snapshot["data"]["cursor"], "k3v9q-5-65535");
    bench.world.publish(vec![event(6, 0)]);
    assert_eq!(next_json(&mut session).await[0]["id"], "k3v9q-6-0");

    let bench = Bench::new(settings());
    bench.world.table.log_head.store(6, Ordering::SeqCst);
    let mut behind = open(&bench, "snapshot=true&cursor=k3v9q-6-0").await;
    let start = Instant::now();
    let end = loop {
        match behind.next().await {
            Output::Control(_) | Output::Heartbeat { .. } => {}
            end => break end,
        }
    };
    assert!(matches!(end, Output::Close(Ending::Unavailable)), "{end:?}");
    assert_eq!(start.elapsed().as_secs(), 30, "another instance may be further");
}

#[tokio::test(start_paused = true)]
async fn at_least_waits_on_every_transport_and_says_why_not() {
    let bench = Bench::new(settings());
    let request = StreamRequest::parse("at_least=k3v9q-2-0").unwrap();
    let caller = identity(NOW.plus_ms(3_600_000));
    let opened = || bench.sessions.open(Transport::Sse, Encoding::Json, &caller, &request);
    let start = Instant::now();
    assert_eq!(opened().await.err().unwrap().code(), Code::NotProjectedYet);
    assert_eq!(start.elapsed().as_secs(), 5);
    let (opened, ()) = tokio::join!(opened(), async {
        bench.world.publish(vec![event(2, 0)]);
    });
    assert_eq!(next_json(&mut opened.unwrap()).await[0]["data"]["cursor"], "k3v9q-2-65535");
    let other = StreamRequest::parse("at_least=zzzzz-2-0").unwrap();
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &caller, &other).await;
    let problem = refused.err().unwrap();
    assert_eq!(problem.code(), Code::UnknownCursor);
    assert_eq!(problem.body().cursor.as_deref(), Some("k3v9q-2-65535"));
}

#[tokio::test(start_paused = true)]
async fn nobody_follows_a_read_model_that_is_being_made() {
    let bench = Bench::new(settings());
    bench.is_incomplete.store(true, Ordering::SeqCst);
    let request = StreamRequest::default();
    let caller = identity(NOW.plus_ms(3_600_000));
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &caller, &request).await;
    assert_eq!(refused.err().unwrap().code(), Code::NotReady);
    bench.is_incomplete.store(false, Ordering::SeqCst);
    assert_eq!(next_json(&mut open(&bench, "").await).await[0]["type"], "hello");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_was_merged_away_is_followed_to_where_it_lives() {
    let bench = Bench::new(settings());
    let mut session = open(&bench, "conversation_id=107").await;
    next_json(&mut session).await;
    let of = |position, id| event_of(position, 0, EventType::NewMessage, id);
    bench.world.publish(vec![of(1, 7), of(2, 8), of(3, 107)]);
    let seen = next_json(&mut session).await;
    let ids: Vec<_> = seen.iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, ["k3v9q-1-0", "k3v9q-3-0"]);
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
    let mut outputs = Vec::new();
    while !matches!(outputs.last(), Some(Output::Close(_))) {
        outputs.push(session.next().await);
    }
    assert!(matches!(outputs.last(), Some(Output::Close(Ending::Draining))));
    assert!(start.elapsed() >= after && start.elapsed() <= after + Duration::from_millis(2));
    // A batch window lies between the event and its way out.
    let is_event = |output: &Output| matches!(output, Output::Batch(_));
    assert!(after < Duration::from_millis(10) || outputs.iter().any(is_event));
    let request = StreamRequest::default();
    let late = identity(NOW.plus_ms(60_000));
    let refused = bench.sessions.open(Transport::Sse, Encoding::Json, &late, &request).await;
    assert_eq!(refused.err().unwrap().code(), Code::Draining);
}

#[tokio::test(start_paused = true)]
async fn connections_that_drain_together_come_back_at_moments_of_their_own() {
    let bench = Bench::new(settings());
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = open(&bench, "").await;
        next_json(&mut session).await;
        sessions.push(session);
    }
    bench.world.shutdown.draining.cancel();
    let mut moments = std::collections::HashSet::new();
    for session in &mut sessions {
        let after_ms = next_json(session).await[0]["data"]["reconnect_after_ms"].as_u64().unwrap();
        assert!(after_ms <= 5_000, "{after_ms}");
        moments.insert(after_ms);
    }
    assert!(moments.len() > 10, "{moments:?}");
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
