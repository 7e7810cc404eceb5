//! What an idle connection costs the server.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{Server, Target, Transport, report, subscription};

const CONNECTIONS: usize = 10_000;
/// How long the server may take to answer all of them, and to come to rest.
const REST: Duration = Duration::from_secs(4);

/// Resident memory per connection, over that of the server before.
pub fn measure(transport: Transport, kib_max: f64) {
    let server = Server::start(1);
    let request = subscription(transport, server.process.address, &server.tokens[0]);
    // One connection first: what it brings in once is not per connection. It ends before the
    // others, which are as many as a tenant may have.
    drop(connect(&server, &request));
    std::thread::sleep(REST);
    let before = server.process.rss_kib();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server, &request)).collect();
    std::thread::sleep(REST);
    let after = server.process.rss_kib();
    for connection in &mut connections {
        let answer = read_answer(connection);
        let is_open = match transport {
            Transport::WebSocket => answer.starts_with("HTTP/1.1 101 "),
            Transport::ServerSentEvents => answer.starts_with("HTTP/1.1 200 "),
            Transport::Polling => answer.is_empty(),
        };
        assert!(is_open, "every stream has begun, and no poll has ended: {answer}");
    }
    let kib = after.saturating_sub(before) as f64 / CONNECTIONS as f64;
    println!(
        "idle {transport:?}: {CONNECTIONS} connections, {before} KiB before, {after} KiB after"
    );
    report("KiB of RSS per connection", kib, Target::AtMost(kib_max));
}

fn connect(server: &Server, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.process.address).expect("the server listens");
    socket.write_all(request).expect("sent");
    socket.set_nonblocking(true).expect("a setting");
    socket
}

/// What has come by now; nothing while there is no answer yet.
fn read_answer(socket: &mut TcpStream) -> String {
    let mut answer = [0; 4096];
    let length = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
