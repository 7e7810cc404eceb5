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
    // One connection first: what it brings in once is not per connection.
    let first = connect(&server, &request);
    std::thread::sleep(REST);
    let before = server.process.rss_kib();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server, &request)).collect();
    std::thread::sleep(REST);
    let after = server.process.rss_kib();
    let answered = connections.iter_mut().map(has_answer).filter(|answered| *answered).count();
    let expected = if transport == Transport::Polling { 0 } else { CONNECTIONS };
    assert_eq!(answered, expected, "every stream has begun, and no poll has ended");
    drop(first);
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

fn has_answer(socket: &mut TcpStream) -> bool {
    socket.read(&mut [0; 4096]).is_ok_and(|length| length > 0)
}
