//! Server-Sent Events over a real socket.

use std::{io::Read, time::Duration};

use futures_util::StreamExt;
use tokio::time::timeout;

use super::harness::Server;
use crate::{delivery::settings::DeliverySettings, feed::tests::table::event};

/// A failure rather than a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream, with what has come of it.
struct Stream {
    response: reqwest::Response,
    got: Vec<u8>,
}

impl Stream {
    async fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let url = server.url(&format!("/v1/events/stream?{query}"));
        let mut request = reqwest::Client::new().get(url).bearer_auth(server.token(600));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, got: Vec::new() }
    }

    fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Reads until `decode` shows `end`.
    async fn until(&mut self, end: &str, decode: impl Fn(&[u8]) -> String) -> String {
        let text = async {
            loop {
                let text = decode(&self.got);
                if text.contains(end) {
                    return text;
                }
                let chunk = self.response.chunk().await.unwrap();
                let chunk = chunk.unwrap_or_else(|| panic!("the stream ended after {text}"));
                self.got.extend_from_slice(&chunk);
            }
        };
        timeout(PATIENCE, text).await.unwrap_or_else(|_| panic!("no {end} in {:?}", self.got))
    }

    async fn plain_until(&mut self, end: &str) -> String {
        self.until(end, |bytes| String::from_utf8_lossy(bytes).into_owned()).await
    }
}

#[tokio::test]
async fn hello_comes_first_with_its_id_and_events_follow_with_theirs() {
    let server = Server::start(DeliverySettings::default()).await;
    server.world.publish(vec![event(1, 0)]);
    let mut stream = Stream::open(&server, "", &[]).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    assert_eq!(stream.header("cache-control"), "no-store");
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-encoding"), "");
    let hello = stream.plain_until("\n\n").await;
    let begin = "retry: 2000\nid: k3v9q-1-65535\ndata: {\"type\":\"hello\",\"data\":{\"cursor\":\"k3v9q-1-65535\"";
    assert!(hello.starts_with(begin), "{hello}");
    server.world.publish(vec![event(2, 0), event(2, 1)]);
    let text = stream.plain_until("2-1\",").await;
    let events = "id: k3v9q-2-0\ndata: {\"id\":\"k3v9q-2-0\",\"type\":\"new_message\"}\n\n\
                  id: k3v9q-2-1\ndata: {\"id\":\"k3v9q-2-1\",\"type\":\"new_message\"}\n\n";
    assert!(text.ends_with(events), "{text}");
}

#[tokio::test]
async fn last_event_id_wins_over_the_cursor() {
    let server = Server::start(DeliverySettings::default()).await;
    server.world.publish((1..=4).map(|position| event(position, 0)).collect());
    let headers = [("last-event-id", "k3v9q-3-0")];
    let mut stream = Stream::open(&server, "cursor=k3v9q-1-0", &headers).await;
    let text = stream.plain_until("k3v9q-4-0\",").await;
    assert!(text.contains("\nid: k3v9q-3-0\ndata: {\"type\":\"hello\""), "{text}");
    assert!(!text.contains("\"id\":\"k3v9q-2-0\"") && !text.contains("\"id\":\"k3v9q-3-0\""));
    let headers = [("last-event-id", "zzzzz-3-0")];
    let mut stream = Stream::open(&server, "", &headers).await;
    let text = stream.plain_until("reset").await;
    assert!(text.contains("unknown_cursor"), "{text}");
}

#[tokio::test]
async fn codings_are_flushed_with_every_batch() {
    let server = Server::start(DeliverySettings::default()).await;
    for (base, coding) in [(10, "gzip"), (20, "zstd"), (30, "br")] {
        let mut stream = Stream::open(&server, "", &[("accept-encoding", coding)]).await;
        assert_eq!(stream.header("content-encoding"), coding);
        let decode = |bytes: &[u8]| decode(coding, bytes);
        let hello = stream.until("\n\n", decode).await;
        assert!(hello.starts_with("retry: 2000\nid: "), "{coding}: {hello}");
        for position in base..base + 3 {
            server.world.publish(vec![event(position, 0)]);
            let end = format!("data: {{\"id\":\"k3v9q-{position}-0\"");
            stream.until(&end, decode).await;
        }
    }
}

fn decode(coding: &str, bytes: &[u8]) -> String {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        _ => Box::new(brotli::Decompressor::new(bytes, 4_096)),
    };
    let mut out = Vec::new();
    let mut chunk = [0; 256];
    // The stream goes on, so its end is an error.
    while let Ok(count @ 1..) = reader.read(&mut chunk) {
        out.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn heartbeats_are_comments_or_pings_and_carry_the_cursor_past_hidden_events() {
    let server =
        Server::start(DeliverySettings { heartbeat_ms: 50, ..DeliverySettings::default() }).await;
    let mut comments = Stream::open(&server, "types=stats_updated", &[]).await;
    let mut pings = Stream::open(&server, "types=stats_updated&ping=true", &[]).await;
    comments.plain_until("\n\n:\n\n").await;
    pings.plain_until("\n\ndata: {\"type\":\"ping\",\"data\":{}}\n\n").await;
    server.world.publish(vec![event(5, 0)]);
    comments.plain_until("\n\nid: k3v9q-5-65535\n:\n\n").await;
    pings.plain_until("\n\nid: k3v9q-5-65535\n\ndata: {\"type\":\"ping\"").await;
}

#[tokio::test]
async fn the_stream_ends_with_its_token_and_with_the_instance() {
    let server =
        Server::start(DeliverySettings { drain_spread_ms: 50, ..DeliverySettings::default() })
            .await;
    let url = server.url(&format!("/v1/events/stream?access_token={}", server.token(3)));
    let expires = reqwest::get(url).await.unwrap();
    let all = timeout(PATIENCE, expires.text()).await.unwrap().unwrap();
    assert!(all.contains("hello"));
    let mut drained = Stream::open(&server, "", &[]).await;
    drained.plain_until("\n\n").await;
    server.world.shutdown.draining.cancel();
    drained.plain_until("reconnect_after_ms").await;
    let rest = timeout(PATIENCE, drained.response.bytes_stream().count()).await;
    assert!(rest.is_ok(), "the stream did not end");
}

#[tokio::test]
async fn callers_without_a_token_or_with_a_bad_request_get_problems() {
    let server = Server::start(DeliverySettings::default()).await;
    for (query, status, code) in [
        ("", 401, "token_missing"),
        ("access_token=nonsense", 401, "token_invalid"),
        ("types=nonsense&access_token=TOKEN", 400, "invalid_parameter"),
        ("cursor=a.b&access_token=TOKEN", 400, "invalid_cursor"),
    ] {
        for path in ["/v1/events/stream", "/v1/events"] {
            let query = query.replace("TOKEN", &server.token(60));
            let response = reqwest::get(server.url(&format!("{path}?{query}"))).await.unwrap();
            assert_eq!(response.status(), status, "{path}?{query}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let body = response.bytes().await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], code, "{path}");
        }
    }
}
