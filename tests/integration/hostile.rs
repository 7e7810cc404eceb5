//! Clients that mean harm, or are broken in ways that do: the server goes on serving the others,
//! and its memory stays within a bound that is stated with each.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, FlushCompress};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

/// A server process, and a well-behaved client of it.
struct Target {
    server: ServerProcess,
    http: reqwest::Client,
    token: String,
    sent: u64,
    _folder: tempfile::TempDir,
}

impl Target {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = TestConfig::default().write(folder.path());
        let server = ServerProcess::start(&server_binary(), &config, None);
        let http =
            reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client");
        Self { server, http, token: mint_token(1, None), sent: 0, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Posts a message, and gets it from the feed.
    async fn serves_the_others(&mut self, text: &str) {
        let base = self.server.base();
        let events = async |query: String| {
            let url = format!("{base}/v1/events?types=new_message&{query}");
            let answer =
                self.http.get(url).bearer_auth(&self.token).send().await.expect("answered");
            assert_eq!(answer.status(), 200);
            let body = answer.bytes().await.expect("a body");
            serde_json::from_slice::<Value>(&body).expect("JSON")
        };
        let head = events(String::new()).await["cursor"].as_str().expect("a cursor").to_owned();
        self.sent += 1;
        let body = webhook_body(1, 5_691_000_001, &format!("wamid.hostile{}", self.sent), text);
        post_webhook(&self.http, &base, body).await;
        let got = events(format!("cursor={head}&wait=5")).await;
        assert_eq!(got["events"][0]["data"]["message"]["text"], text, "{got}");
    }

    /// Runs `attack` and answers by how many KiB the server has grown meanwhile.
    fn growth_kib(&self, before: u64) -> u64 {
        self.server.rss_kib().saturating_sub(before)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("a connection")
    }

    /// An event stream, nothing of it read.
    async fn event_stream(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!(
            "GET /v1/events/stream?access_token={} HTTP/1.1\r\nhost: x\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        stream
    }

    /// A long poll whose answer nobody reads.
    async fn poll(&self, cursor: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!(
            "GET /v1/events?cursor={cursor}&wait=60&limit=1000&access_token={} HTTP/1.1\r\n\
             host: x\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        stream
    }

    /// Begins to post a webhook of so many bytes, under a signature that may be one.
    async fn begin_webhook(&self, bytes: usize, signature: Option<&str>) -> TcpStream {
        let mut stream = self.connect().await;
        let signature =
            signature.map_or_else(String::new, |it| format!("x-hub-signature-256: {it}\r\n"));
        let head = format!(
            "POST /webhooks/whatsapp HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\
             {signature}\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        stream
    }

    /// A WebSocket, its `hello` not read.
    async fn websocket(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!(
            "GET /v1/ws?access_token={} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-extensions: permessage-deflate\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.token
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream
    }
}

/// Reads to the end, be it in order or a reset.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset comes after the bytes that were read.
    let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes))
        .await
        .expect("the server ends the connection");
    bytes
}

#[tokio::test]
async fn slow_heads_and_half_open_sockets_are_closed_in_time() {
    /// Of each connection that has not sent a whole head.
    const KIB_EACH_MAX: u64 = 24;
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let before = target.server.rss_kib();
    let mut streams = Vec::new();
    for number in 0..400 {
        let mut stream = target.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nx-slow: ").await.expect("written");
        }
        streams.push(stream);
    }
    let began = Instant::now();
    target.serves_the_others("meanwhile").await;
    let growth = target.growth_kib(before);
    assert!(growth < 400 * KIB_EACH_MAX, "grew by {growth} KiB");
    // A byte now and then does not buy time.
    let drip = async {
        for stream in streams.iter_mut().step_by(2).take(20) {
            let _ = stream.write_all(b"x").await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        for stream in streams.iter_mut().step_by(2).take(20) {
            let _ = stream.write_all(b"x").await;
        }
        join_all(streams.iter_mut().map(read_to_end)).await
    };
    drip.await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(25), "the last was closed after {took:?}");
    target.serves_the_others("after").await;
}

#[tokio::test]
async fn a_thousand_connections_that_never_read_cost_a_bounded_amount() {
    const GROWTH_KIB_MAX: u64 = 96 * 1_024;
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let before = target.server.rss_kib();
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        streams.push(target.websocket().await);
    }
    let text = "no one reads this ".repeat(200);
    for number in 0..120 {
        target.serves_the_others(&format!("{number} {text}")).await;
    }
    let growth = target.growth_kib(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    drop(streams);
    target.serves_the_others("after").await;
}

#[tokio::test]
async fn streams_and_polls_that_are_never_read_cost_a_bounded_amount() {
    /// 200 KiB for each: a poll's answer is its own, and here of some 400 KiB for some of them.
    const GROWTH_KIB_MAX: u64 = 800 * 200;
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let head = target.http.get(format!("{}/v1/events", target.server.base()));
    let head = head.bearer_auth(&target.token).send().await.expect("answered");
    let head: Value = serde_json::from_slice(&head.bytes().await.expect("a body")).expect("JSON");
    let head = head["cursor"].as_str().expect("a cursor").to_owned();
    let before = target.server.rss_kib();
    let mut streams = Vec::new();
    for _ in 0..300 {
        streams.push(target.event_stream().await);
        streams.push(target.poll(&head).await);
    }
    let text = "no one reads this ".repeat(200);
    for number in 0..60 {
        target.serves_the_others(&format!("{number} {text}")).await;
        if number == 50 {
            for _ in 0..200 {
                streams.push(target.poll(&head).await);
            }
        }
    }
    let growth = target.growth_kib(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    drop(streams);
    target.serves_the_others("after").await;
}

#[tokio::test]
async fn bodies_that_never_end_cost_a_bounded_amount_and_leave_room_for_webhooks() {
    /// `api.bodies_in_flight_max_bytes`, and as much again for connections and the allocator.
    const GROWTH_KIB_MAX: u64 = 128 * 1_024;
    const BODY_BYTES: usize = 1 << 20;
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let before = target.server.rss_kib();

    // Without a signature a body is not worth waiting for.
    for signature in [None, Some("sha256=")] {
        let mut unsigned = target.begin_webhook(BODY_BYTES, signature).await;
        let began = Instant::now();
        let answer = String::from_utf8(read_to_end(&mut unsigned).await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    // With one that may hold: all but the last byte, from 500 connections at once.
    let forged = format!("sha256={}", "ab".repeat(32));
    let mut streams = Vec::new();
    for _ in 0..500 {
        streams.push(target.begin_webhook(BODY_BYTES, Some(&forged)).await);
    }
    let body = vec![b'x'; BODY_BYTES - 1];
    let writes = streams.iter_mut().map(|stream| {
        // Who is turned away has its connection closed under it.
        timeout(Duration::from_secs(10), stream.write_all(&body))
    });
    join_all(writes).await;
    let growth = target.growth_kib(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    target.serves_the_others("meanwhile").await;
    drop(streams);
    target.serves_the_others("after").await;
}

#[tokio::test]
async fn without_file_descriptors_it_serves_who_is_there_and_does_not_spin() {
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let process = target.server.id().to_string();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its files").count();
    let limit = |files: usize| {
        let status = Command::new("prlimit")
            .args(["--pid", &process, &format!("--nofile={files}:")])
            .status()
            .expect("prlimit runs");
        assert!(status.success());
    };
    limit(open + 8);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(target.connect().await);
    }
    // `serves_the_others` kept its connection alive from before.
    let live = format!("{}/health/live", target.server.base());
    let ticks = processor_ticks(&process);
    for _ in 0..10 {
        assert_eq!(target.http.get(&live).send().await.expect("answered").status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let used = processor_ticks(&process) - ticks;
    assert!(used < 60, "used {used} hundredths of a second in one second: it spins");
    let turned_away = join_all(streams.iter_mut().skip(20).map(read_to_end)).await;
    let told = turned_away.iter().filter(|answer| answer.starts_with(b"HTTP/1.1 503")).count();
    assert!(told > 0, "nobody was told");
    drop(streams);
    limit(1_024);
    target.serves_the_others("after").await;
}

/// What the process has used of the processor, in hundredths of a second.
fn processor_ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("its statistics");
    let after_name = stat.rsplit(')').next().expect("fields");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[tokio::test]
async fn oversized_frames_and_bombs_end_their_own_connection_only() {
    const GROWTH_KIB_MAX: u64 = 24 * 1_024;
    let mut target = Target::start();
    target.serves_the_others("before").await;
    let before = target.server.rss_kib();
    let huge = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let bomb = deflated_zeros(50 << 20);
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    let mut bomb_frame = vec![0xc1, 0xfe];
    bomb_frame.extend_from_slice(&(bomb.len() as u16).to_be_bytes());
    // A mask of zeros leaves the payload as it is.
    bomb_frame.extend_from_slice(&[0; 4]);
    bomb_frame.extend_from_slice(&bomb);
    for frame in [&huge, &bomb_frame] {
        let mut streams = Vec::new();
        for _ in 0..50 {
            let mut stream = target.websocket().await;
            stream.write_all(frame).await.expect("written");
            streams.push(stream);
        }
        for answer in join_all(streams.iter_mut().map(read_to_end)).await {
            assert!(answer.ends_with(&[0x88, 2, 0x03, 0xf1]), "closed with 1009");
        }
        target.serves_the_others("meanwhile").await;
    }
    let growth = target.growth_kib(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
}

fn deflated_zeros(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length / 500);
    Compress::new(Compression::best(), false)
        .compress_vec(&vec![0; length], &mut out, FlushCompress::Sync)
        .expect("room enough");
    out.truncate(out.len() - 4);
    out
}

#[tokio::test]
async fn an_upgrade_without_a_key_is_an_answered_mistake() {
    let mut target = Target::start();
    let mut stream = target.connect().await;
    let request = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-version: 13\r\n\r\n";
    // The connection stays HTTP's and can be used again.
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    target.serves_the_others("after").await;
}
