//! A log that grows: memory, rate and catching up must not.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use memchr::memmem;

use crate::{
    Server, Target, Transport, head_cursor, ingest_request,
    load::{self, MARK, STAMP},
    report, subscription,
};

const BATCH: usize = 1000;
const FIRST: u64 = 100_000;
const ALL: u64 = 1_000_000;
const REST: Duration = Duration::from_secs(3);
/// Catching up is measured as often, the transports in turn: who is first finds files that no
/// cache holds yet.
const ROUNDS: usize = 3;

/// Takes in a million messages, then follows all of them over each streaming transport.
pub fn measure() {
    let server = Server::start(1);
    let start = head_cursor(server.process.address, &server.tokens[0]);
    let first = take_in(&server, 0, FIRST);
    std::thread::sleep(REST);
    let rss_first = server.process.rss_kib();
    take_in(&server, FIRST, ALL - FIRST);
    let last = take_in(&server, ALL - FIRST, ALL);
    std::thread::sleep(REST);
    let rss_all = server.process.rss_kib();
    println!(
        "history: {first:.0} messages/s up to {FIRST}, {last:.0}/s from {} to {ALL}; RSS \
         {rss_first} KiB, then {rss_all} KiB",
        ALL - FIRST
    );
    report("times the memory", rss_all as f64 / rss_first as f64, Target::AtMost(1.2));
    report("of the rate at the end", last / first, Target::AtLeast(0.8));
    come_to_rest(&server);
    let transports = [Transport::WebSocket, Transport::ServerSentEvents];
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (transport, rates) in transports.into_iter().zip(&mut rates) {
            rates.push(catch_up(&server, transport, &start));
        }
    }
    for (transport, mut rates) in transports.into_iter().zip(rates) {
        println!("catch-up {transport:?}: {ALL} messages behind; in order {rates:.0?}");
        rates.sort_by(f64::total_cmp);
        report("events a second, median", rates[ROUNDS / 2], Target::AtLeast(200_000.0));
    }
}

/// Waits until all that was taken in is projected.
fn come_to_rest(server: &Server) {
    let head = || head_cursor(server.process.address, &server.tokens[0]);
    let mut before = head();
    loop {
        std::thread::sleep(REST);
        let now = head();
        if now == before {
            return;
        }
        before = now;
    }
}

fn take_in(server: &Server, from: u64, to: u64) -> f64 {
    let started = Instant::now();
    let mut socket = TcpStream::connect(server.process.address).expect("the server listens");
    let mut buffer = vec![0; 1 << 20];
    let text = format!("{STAMP}{:019} {}", 0, "hola ".repeat(12));
    for first in (from..to).step_by(BATCH) {
        let mut request = Vec::new();
        ingest_request(&server.tokens[0], first, BATCH, &text, &mut request);
        socket.write_all(&request).expect("sent");
        let mut answer = Vec::new();
        while load::http_answer_length(&answer).expect("a good answer").is_none() {
            let length = socket.read(&mut buffer).expect("an answer");
            assert!(length > 0, "the server keeps the connection");
            answer.extend_from_slice(&buffer[..length]);
        }
    }
    (to - from) as f64 / started.elapsed().as_secs_f64()
}

fn catch_up(server: &Server, transport: Transport, start: &str) -> f64 {
    let request = subscription(transport, server.process.address, &server.tokens[0]);
    let request = String::from_utf8(request).expect("text");
    let request =
        request.replacen("types=new_message", &format!("types=new_message&cursor={start}"), 1);
    let mut socket = TcpStream::connect(server.process.address).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a setting");
    let started = Instant::now();
    socket.write_all(request.as_bytes()).expect("sent");
    let finder = memmem::Finder::new(MARK);
    let mut buffer = vec![0; 1 << 20];
    let mut kept = 0;
    let mut seen = 0;
    while seen < ALL {
        let length = socket.read(&mut buffer[kept..]).expect("the next events");
        assert!(length > 0, "the server keeps the connection");
        let filled = kept + length;
        let mut done = 0;
        for at in finder.find_iter(&buffer[..filled]) {
            seen += 1;
            done = at + MARK.len();
        }
        // A mark may be split between two reads.
        let from = done.max(filled.saturating_sub(MARK.len() - 1));
        buffer.copy_within(from..filled, 0);
        kept = filled - from;
    }
    ALL as f64 / started.elapsed().as_secs_f64()
}
