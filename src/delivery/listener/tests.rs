use std::sync::Arc;

use poem::{Response, Route, get, handler, post, web::Data};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::{Duration, Instant},
};

use super::{
    later::Later,
    takeover::{Taken, Takeover},
    *,
};

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";

#[handler]
fn hello() -> &'static str {
    "hello"
}

#[handler]
async fn slow(gate: Data<&Arc<Notify>>) -> &'static str {
    gate.notified().await;
    "slow"
}

#[handler]
fn body_length(body: Vec<u8>) -> String {
    body.len().to_string()
}

/// Takes the connection over and echoes four bytes.
#[handler]
fn echo() -> Response {
    let response = Response::builder().status(http::StatusCode::SWITCHING_PROTOCOLS).finish();
    Takeover::attach(response, |taken| async move {
        let Taken { mut stream, read_ahead } = taken;
        let mut bytes = read_ahead.to_vec();
        while bytes.len() < 4 {
            let mut next = [0; 16];
            let length = stream.read(&mut next).await.expect("more");
            bytes.extend_from_slice(&next[..length]);
        }
        stream.write_all(&bytes[..4]).await.expect("written");
    })
}

/// Answers when the gate opens, without HTTP meanwhile.
#[handler]
fn later(gate: Data<&Arc<Notify>>) -> Response {
    let gate = gate.clone();
    let lent = Response::builder().header("x-lent", "1").header("x-own", "0").finish();
    Later::attach(lent, async move {
        gate.notified().await;
        Response::builder().status(http::StatusCode::ACCEPTED).header("x-own", "2").body("later")
    })
}

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    gate: Arc<Notify>,
}

fn start(settings: ListenerSettings) -> Running {
    let settings = ListenerSettings { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..settings };
    let listener = Listener::bind(settings).expect("a free port");
    let address = listener.local_address();
    let gate = Arc::new(Notify::new());
    let shutdown = Shutdown::new();
    let routes = Route::new()
        .at("/hello", get(hello))
        .at("/slow", get(slow))
        .at("/later", get(later).post(later))
        .at("/echo", get(echo).post(echo))
        .at("/length", post(body_length))
        .data(gate.clone());
    let serving = shutdown.clone();
    shutdown.spawn(async move { listener.serve(routes, serving).await });
    Running { address, shutdown, gate }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn stop(self) {
        self.shutdown.draining.cancel();
        self.shutdown.tasks.close();
        self.shutdown.tasks.wait().await;
    }
}

/// Reads until the connection ends, an abort included.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut next = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut next).await {
        bytes.extend_from_slice(&next[..length]);
    }
    String::from_utf8(bytes).expect("text")
}

/// Reads until what was read ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        bytes.push(stream.read_u8().await.expect("more bytes"));
    }
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn serves_many_requests_on_one_connection() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    client.write_all(&[REQUEST, REQUEST].concat()).await.expect("written");
    for _ in 0..2 {
        let answer = read_until(&mut client, "hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    server.stop().await;
    assert_eq!(read_to_end(&mut client).await, "", "an idle connection is closed by the drain");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_closes_the_connection_and_an_idle_one_lives_longer() {
    let settings = ListenerSettings::default();
    let head = settings.header_read_timeout();
    let idle = settings.keep_alive_idle_timeout();
    let server = start(settings);
    for sent in [&b""[..], b"GET /hello HTTP/1.1\r\nhost"] {
        let mut client = server.connect().await;
        client.write_all(sent).await.expect("written");
        let began = Instant::now();
        read_to_end(&mut client).await;
        let took = began.elapsed();
        assert!(took >= head && took < head + Duration::from_secs(2), "{took:?}");
    }
    let mut client = server.connect().await;
    client.write_all(REQUEST).await.expect("written");
    read_until(&mut client, "hello").await;
    tokio::time::sleep(head * 3).await;
    client.write_all(REQUEST).await.expect("written");
    read_until(&mut client, "hello").await;
    let began = Instant::now();
    assert_eq!(read_to_end(&mut client).await, "");
    let took = began.elapsed();
    assert!(took >= idle && took < idle + Duration::from_secs(2), "{took:?}");

    // A head that begins after a while and does not end: the short time-out, from its first byte.
    let mut client = server.connect().await;
    client.write_all(REQUEST).await.expect("written");
    read_until(&mut client, "hello").await;
    tokio::time::sleep(head).await;
    client.write_all(b"GET").await.expect("written");
    let began = Instant::now();
    read_to_end(&mut client).await;
    let took = began.elapsed();
    assert!(took >= head && took < head + Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away_and_places_are_given_back() {
    let settings = ListenerSettings { connections_max: 2, ..ListenerSettings::default() };
    let server = start(settings);
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for client in [&mut first, &mut second] {
        client.write_all(REQUEST).await.expect("written");
        read_until(client, "hello").await;
    }
    let answer = read_to_end(&mut server.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(first);
    loop {
        let mut client = server.connect().await;
        // Turned away until the server has seen that the first one left.
        if client.write_all(REQUEST).await.is_ok() {
            let answer = client.read_u8().await.map(|_| ());
            let rest = read_until_or_end(&mut client, "hello").await;
            if answer.is_ok() && rest.ends_with("hello") {
                break;
            }
        }
    }
}

async fn read_until_or_end(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).expect("text")
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let server = start(ListenerSettings::default());
    for head in [
        format!("GET /hello HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
        format!("GET /hello HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(70_000)),
    ] {
        let mut client = server.connect().await;
        client.write_all(head.as_bytes()).await.expect("written");
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_is_taken_over_with_what_was_sent_ahead() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    let first = b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n12";
    client.write_all(&[REQUEST, first].concat()).await.expect("written");
    read_until(&mut client, "hello").await;
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\ndate: "), "{head}");
    client.write_all(b"34").await.expect("written");
    assert_eq!(read_to_end(&mut client).await, "1234");
    server.stop().await;
}

#[tokio::test]
async fn a_request_with_a_body_is_not_taken_over() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    let request = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n1234";
    client.write_all(request).await.expect("written");
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_requests_finish_within_its_bound() {
    let settings = ListenerSettings::default();
    let bound = settings.drain_timeout();
    let server = start(settings);
    let mut finishes = server.connect().await;
    let mut hangs = server.connect().await;
    finishes.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    tokio::time::sleep(Duration::from_millis(1)).await;
    hangs.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    server.shutdown.draining.cancel();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "takes nothing new");
    server.gate.notify_one();
    let answer = read_to_end(&mut finishes).await;
    assert!(answer.ends_with("slow") && answer.contains("connection: close"), "{answer}");
    assert_eq!(read_to_end(&mut hangs).await, "");
    server.stop().await;
    assert!(began.elapsed() >= bound && began.elapsed() < bound * 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered_for() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("took too long"), "{answer}");
}

const LATER: &[u8] = b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn an_answer_that_comes_later_leaves_the_connection_to_the_next_request() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.write_all(LATER).await.expect("written");
        server.gate.notify_one();
        let answer = read_until(&mut client, "later").await;
        assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\ndate: "), "{answer}");
        for line in ["x-lent: 1", "x-own: 2", "content-length: 5"] {
            assert!(answer.contains(&format!("{line}\r\n")), "{line} in {answer}");
        }
        assert!(!answer.contains("x-own: 0") && !answer.contains("connection: close"), "{answer}");
        client.write_all(REQUEST).await.expect("written");
        read_until(&mut client, "hello").await;
    }
    server.stop().await;
    assert_eq!(read_to_end(&mut client).await, "", "an idle connection is closed by the drain");
}

#[tokio::test]
async fn requests_sent_meanwhile_are_answered_afterwards_in_their_order() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    // Two with the first one, one while it waits, more than is read ahead in all.
    let long = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(3_000));
    client.write_all(&[LATER, REQUEST, LATER].concat()).await.expect("written");
    client.write_all(&[long.as_bytes(), long.as_bytes()].concat()).await.expect("written");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.gate.notify_one();
    let first = read_until(&mut client, "hello").await;
    assert!(first.starts_with("HTTP/1.1 202 ") && first.contains("later"), "{first}");
    server.gate.notify_one();
    let rest = read_until(&mut client, "hello").await + &read_until(&mut client, "hello").await;
    assert!(rest.starts_with("HTTP/1.1 202 "), "{rest}");
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 2, "{rest}");
    server.stop().await;
}

#[tokio::test]
async fn who_wants_no_further_request_gets_none() {
    let server = start(ListenerSettings::default());
    for request in [
        "GET /later HTTP/1.0\r\nhost: x\r\n\r\n",
        "GET /later HTTP/1.1\r\nhost: x\r\nconnection: x, Close\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.write_all(request.as_bytes()).await.expect("written");
        server.gate.notify_one();
        let answer = read_to_end(&mut client).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("later"), "{answer}");
    }
    // Where HTTP must keep the connection, it answers all the same: HEAD, and a body.
    let mut client = server.connect().await;
    client.write_all(b"HEAD /later HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    server.gate.notify_one();
    let answer = read_until(&mut client, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains("x-lent: 1"), "{answer}");
    let post = b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(post).await.expect("written");
    server.gate.notify_one();
    let answer = read_until(&mut client, "later").await;
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains("x-lent: 1"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_awaited_is_let_go_of() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    client.write_all(LATER).await.expect("written");
    // Until the handler's future holds the gate, which the routes hold too.
    let before = Arc::strong_count(&server.gate);
    let waits = || Arc::strong_count(&server.gate) > before;
    let held = async {
        while !waits() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), held).await.expect("it waits");
    drop(client);
    let gone = async {
        while waits() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is dropped");
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_comes_while_the_server_drains_is_the_last_one() {
    let server = start(ListenerSettings::default());
    let mut client = server.connect().await;
    client.write_all(LATER).await.expect("written");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.draining.cancel();
    server.gate.notify_one();
    let answer = read_to_end(&mut client).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("later"), "{answer}");
    server.stop().await;
}
