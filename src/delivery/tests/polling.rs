//! Polls over a real socket.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::Server;
use crate::{
    delivery::settings::DeliverySettings, domain::ids::Position, feed::tests::table::event,
    wire::cursor::Cursor,
};

async fn poll(server: &Server, query: &str) -> (u16, Value) {
    let url = server.url(&format!("/v1/events?{query}"));
    let request = reqwest::Client::new().get(url).bearer_auth(server.token(600));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_poll_gives_what_there_is_up_to_its_limit() {
    let server = Server::start(DeliverySettings::default()).await;
    server.world.publish((1..=5).map(|position| event(position, 0)).collect());
    let (status, head) = poll(&server, "").await;
    assert_eq!(status, 200);
    assert_eq!(head, json!({"events": [], "cursor": "k3v9q-5-65535", "has_more": false}));
    let (_, first) = poll(&server, "cursor=k3v9q-1-0&limit=2").await;
    assert_eq!(
        first,
        json!({
            "events": [
                {"id": "k3v9q-2-0", "type": "new_message"},
                {"id": "k3v9q-3-0", "type": "new_message"},
            ],
            "cursor": "k3v9q-3-0",
            "has_more": true,
        })
    );
    let (_, rest) = poll(&server, "cursor=k3v9q-3-0").await;
    assert_eq!(rest["events"].as_array().unwrap().len(), 2);
    assert_eq!((&rest["cursor"], &rest["has_more"]), (&json!("k3v9q-5-0"), &json!(false)));
    let (_, nothing) = poll(&server, "cursor=k3v9q-5-0").await;
    assert_eq!(nothing, json!({"events": [], "cursor": "k3v9q-5-0", "has_more": false}));
    let (_, hidden) = poll(&server, "cursor=k3v9q-1-0&types=stats_updated").await;
    assert_eq!(hidden, json!({"events": [], "cursor": "k3v9q-5-0", "has_more": false}));
    let (_, from) = poll(&server, "from=2026-01-01T00:00:00Z&limit=1").await;
    assert_eq!(from["events"][0]["id"], "k3v9q-1-0");
    let (_, snapshot) = poll(&server, "snapshot=true").await;
    assert_eq!(snapshot["cursor"], "k3v9q-5-65535");
    assert_eq!(snapshot["snapshot"]["cursor"], "k3v9q-5-65535");
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_event_or_by_its_time() {
    let server = Server::start(DeliverySettings::default()).await;
    server.world.publish(vec![event(1, 0)]);
    let start = Instant::now();
    let (_, nothing) = poll(&server, "cursor=k3v9q-1-0&wait=0.2").await;
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(nothing, json!({"events": [], "cursor": "k3v9q-1-0", "has_more": false}));
    let publish = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.world.publish(vec![event(2, 0)]);
    };
    let start = Instant::now();
    let (answer, ()) = tokio::join!(poll(&server, "cursor=k3v9q-1-0&wait=30"), publish);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(answer.1["events"][0]["id"], "k3v9q-2-0");
}

#[tokio::test]
async fn what_was_just_committed_is_seen_with_at_least() {
    let server = Server::start(DeliverySettings::default()).await;
    for position in 1..=20 {
        server.world.publish(vec![event(position, 0)]);
        let query = format!("cursor=k3v9q-{}-0&at_least=k3v9q-{position}-0", position - 1);
        let (_, answer) = poll(&server, &query).await;
        assert_eq!(answer["events"][0]["id"], format!("k3v9q-{position}-0"));
    }
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_gets_410_and_where_to_go_on() {
    let server = Server::start(DeliverySettings::default()).await;
    server.world.publish((1..=5).map(|position| event(position, 0)).collect());
    server.world.table.expire(Cursor { position: Position(3), ordinal: 0 });
    for (cursor, code) in [
        ("zzzzz-1-0", "unknown_cursor"),
        ("nonsense", "unknown_cursor"),
        ("k3v9q-99-0", "unknown_cursor"),
        ("k3v9q-2-0", "expired_cursor"),
    ] {
        let (status, problem) = poll(&server, &format!("cursor={cursor}")).await;
        assert_eq!((status, &problem["code"]), (410, &json!(code)), "{cursor}");
        assert_eq!(problem["cursor"], "k3v9q-5-65535");
        assert_eq!(problem["status"], 410);
    }
    for query in ["limit=0", "limit=1001", "limit=x", "wait=-1", "wait=61", "wait=x"] {
        let (status, problem) = poll(&server, query).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_parameter")), "{query}");
    }
}

#[tokio::test]
async fn a_waiting_poll_is_answered_when_the_instance_drains() {
    let server = Server::start(DeliverySettings::default()).await;
    let drain = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.world.shutdown.draining.cancel();
    };
    let start = Instant::now();
    let (answer, ()) = tokio::join!(poll(&server, "cursor=k3v9q-0-0&wait=30"), drain);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(answer.1["events"], json!([]));
}
