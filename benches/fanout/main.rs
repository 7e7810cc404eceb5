//! Fan-out over the whole way, against a bare epoll loop in the same run.
//!
//! Server on processor 0, load on processor 1. `cargo bench --bench fanout -- [PART…]`, parts:
//! `ws`, `sse`, `poll`, `lag`, `tenants`; without any: all. Each figure is the median of
//! [`ROUNDS`] rounds, taken in turn with the baseline, since the machine is shared.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
#[path = "../../tests/support/config.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod config;
mod load;
#[path = "../../tests/support/server.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod server;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bare::Writes;
use config::{TestConfig, mint_token};
use load::{Figures, Kind, Plan, Publication, STAMP};
use server::ServerProcess;

const ROUNDS: usize = 3;
const SUBSCRIBERS: usize = 1000;
const PUBLISHERS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
const DESCRIPTORS: usize = 65_536;
const SERVER_PROCESSOR: usize = 0;
const LOAD_PROCESSOR: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    WebSocket,
    ServerSentEvents,
    Polling,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("serve-bare") => serve_bare(&arguments[1..]),
        Some("measure") => measure(&arguments[1..]),
        _ => pinned(&arguments),
    }
}

/// Runs this program again on the load's processor, with descriptors enough.
fn pinned(arguments: &[String]) {
    let own = std::env::current_exe().expect("own path");
    let status = Command::new("prlimit")
        .arg(format!("--nofile={DESCRIPTORS}"))
        .args(["taskset", "-c", &LOAD_PROCESSOR.to_string()])
        .arg(own)
        .arg("measure")
        .args(arguments)
        .status()
        .expect("prlimit and taskset (util-linux)");
    std::process::exit(status.code().unwrap_or(1));
}

fn serve_bare(arguments: &[String]) {
    let frame_bytes: usize = arguments[0].parse().expect("bytes");
    let writes = if arguments[1] == "a" { Writes::OneEventEach } else { Writes::AllThatWaits };
    bare::serve(frame_bytes, writes, |address| println!("{address}")).expect("the bare loop runs");
}

fn measure(parts: &[String]) {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    for (part, transport) in [
        ("ws", Transport::WebSocket),
        ("sse", Transport::ServerSentEvents),
        ("poll", Transport::Polling),
    ] {
        if wanted(part) {
            fan_out(transport);
        }
    }
    if wanted("lag") {
        lag();
    }
    if wanted("tenants") {
        tenants();
    }
}

// Parts ------------------------------------------------------------------------------------

fn fan_out(transport: Transport) {
    let mut ours = Vec::new();
    let mut one_each = Vec::new();
    let mut all_waiting = Vec::new();
    let mut frame_bytes = 0;
    for _ in 0..ROUNDS {
        let figures = condorito(transport, 1, SUBSCRIBERS, 0);
        frame_bytes = (figures.bytes / figures.deliveries.max(1)) as usize;
        ours.push(figures.per_second());
        one_each.push(bare_loop(frame_bytes, "a", 1, SUBSCRIBERS, 0).per_second());
        all_waiting.push(bare_loop(frame_bytes, "b", 1, SUBSCRIBERS, 0).per_second());
    }
    let (ours, a, b) = (median(&mut ours), median(&mut one_each), median(&mut all_waiting));
    println!(
        "fan-out {transport:?}: {SUBSCRIBERS} subscribers, {PUBLISHERS} publishers, events of \
         {frame_bytes} B, durable: {ours:.0} deliveries/s; bare loop (a) {a:.0}, (b) {b:.0}; \
         ratio to (a) {:.2}, to (b) {:.2}",
        ours / a,
        ours / b
    );
}

fn lag() {
    // 50 events a second to 1,000 subscribers: 50,000 deliveries a second.
    let rate = 50;
    let mut ours = condorito(Transport::WebSocket, 1, SUBSCRIBERS, rate);
    let mut bare = bare_loop(1000, "b", 1, SUBSCRIBERS, rate);
    println!(
        "lag at {:.0} deliveries/s: p50 {:.1} ms, p99 {:.1} ms; bare loop at {:.0}: p50 {:.1} ms, \
         p99 {:.1} ms",
        ours.per_second(),
        ours.percentile_ms(50.0),
        ours.percentile_ms(99.0),
        bare.per_second(),
        bare.percentile_ms(50.0),
        bare.percentile_ms(99.0),
    );
}

fn tenants() {
    let tenants = 1000;
    let mut ours = Vec::new();
    let mut base = Vec::new();
    for _ in 0..ROUNDS {
        let figures = condorito(Transport::WebSocket, tenants, tenants * 5, 0);
        let frame_bytes = (figures.bytes / figures.deliveries.max(1)) as usize;
        ours.push(figures.per_second());
        base.push(bare_loop(frame_bytes, "a", tenants, tenants * 5, 0).per_second());
    }
    let (ours, base) = (median(&mut ours), median(&mut base));
    println!(
        "{tenants} tenants of 5 subscribers, single signed webhooks, durable: {ours:.0} \
         deliveries/s; bare loop {base:.0}; ratio {:.2}",
        ours / base
    );
}

// Condorito --------------------------------------------------------------------------------

fn condorito(transport: Transport, tenants: usize, subscribers: usize, rate: u32) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig { tenants, ..TestConfig::default() }.write(folder.path());
    let binary = binary();
    let server = ServerProcess::start(&binary, &config, Some(SERVER_PROCESSOR));
    let tokens: Vec<String> = (1..=tenants).map(|tenant| mint_token(tenant as u32, None)).collect();
    let kind = if transport == Transport::Polling { Kind::Poll } else { Kind::Stream };
    let plan = Plan {
        subscribers: (0..subscribers)
            .map(|index| {
                let token = &tokens[index % tenants];
                (server.address, subscription(transport, &server, token))
            })
            .collect(),
        kind,
        publishers: (0..PUBLISHERS)
            .map(|index| (server.address, webhooks(index, tenants)))
            .collect(),
        http_answers: true,
        rate,
        warm_up: WARM_UP,
        measured: MEASURED,
    };
    load::run(plan).expect("the load runs")
}

fn subscription(transport: Transport, server: &ServerProcess, token: &str) -> Vec<u8> {
    let host = server.address;
    let common = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n");
    match transport {
        Transport::WebSocket => format!(
            "GET /v1/ws?types=new_message HTTP/1.1\r\n{common}Upgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        Transport::ServerSentEvents => {
            format!("GET /v1/events/stream?types=new_message HTTP/1.1\r\n{common}\r\n")
        }
        Transport::Polling => {
            let cursor = head_cursor(host, token);
            format!(
                "GET /v1/events?types=new_message&limit=1000&wait=30&cursor={cursor} \
                 HTTP/1.1\r\n{common}\r\n"
            )
        }
    }
    .into_bytes()
}

fn head_cursor(address: SocketAddr, token: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address).expect("the server listens");
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    let from = answer.find(r#""cursor":""#).expect("a cursor") + 10;
    answer[from..].split('"').next().expect("its end").to_owned()
}

/// Signed webhooks with one message each, from some customers of the tenants in turn.
fn webhooks(publisher: usize, tenants: usize) -> Publication {
    let mut turn = publisher;
    Box::new(move |stamp, id, request| {
        turn += PUBLISHERS;
        let tenant = turn % tenants + 1;
        let customer = 5_690_000_000 + (turn % 97) as u64;
        let text = format!("{STAMP}{stamp} {}", "hola ".repeat(12));
        signed_webhook(tenant as u32, customer, id, &text, request);
    })
}

/// Writes a whole HTTP request with a signed webhook of one message.
fn signed_webhook(tenant: u32, customer: u64, number: u64, text: &str, request: &mut Vec<u8>) {
    let body = config::webhook_body(tenant, customer, &format!("wamid.bench{number:010}"), text);
    let head = format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\nHost: condorito\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n",
        config::signature(&body),
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(&body);
}

// The bare loop ----------------------------------------------------------------------------

struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bare_loop(frame: usize, writes: &str, groups: usize, subscribers: usize, rate: u32) -> Figures {
    let mut child = Command::new("taskset")
        .args(["-c", &SERVER_PROCESSOR.to_string()])
        .arg(std::env::current_exe().expect("own path"))
        .args(["serve-bare", &frame.to_string(), writes])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bare loop starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its address");
    let _guard = Bare(child);
    let address: SocketAddr = line.trim().parse().expect("an address");
    let group = |index: usize| ((index % groups) as u16).to_be_bytes();
    let plan = Plan {
        subscribers: (0..subscribers)
            .map(|index| (address, [&b"S"[..], &group(index)].concat()))
            .collect(),
        kind: Kind::Stream,
        publishers: (0..PUBLISHERS)
            .map(|index| (address, ready_frames(index, frame, groups)))
            .collect(),
        http_answers: false,
        rate,
        warm_up: WARM_UP,
        measured: MEASURED,
    };
    load::run(plan).expect("the load runs")
}

fn ready_frames(publisher: usize, frame: usize, groups: usize) -> Publication {
    let mut turn = publisher;
    let mut greeted = false;
    Box::new(move |stamp, _, request| {
        turn += PUBLISHERS;
        if !greeted {
            request.push(b'P');
            greeted = true;
        }
        request.extend_from_slice(&((turn % groups) as u16).to_be_bytes());
        let from = request.len();
        request.extend_from_slice(load::MARK);
        request.extend_from_slice(format!(r#","text":"{STAMP}{stamp} "#).as_bytes());
        request.resize(from + frame, b'x');
    })
}

// Around it --------------------------------------------------------------------------------

fn binary() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/condorito");
    assert!(path.exists(), "build the server first: cargo build --release");
    path
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
