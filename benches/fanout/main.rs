//! The whole way, from a request to the sockets, against a bare loop in the same run.
//!
//! `cargo bench --bench fanout -- [PART…]`; without any: all. Server on processor 0, load on
//! processor 1. Each rate is the median of [`ROUNDS`] rounds, taken in turn with the baseline,
//! since the machine is shared. Each figure is printed with what it has to reach.
//!
//! | part | what |
//! | --- | --- |
//! | `ws`, `sse`, `poll` | deliveries a second to 1,000 subscribers of one tenant |
//! | `lag` | delivery time at 50,000 deliveries a second, WebSocket and SSE |
//! | `tenants` | 1,000 tenants of 5 subscribers: single webhooks, and ingest batches of 100 |
//! | `ingest` | signed webhooks a second against a bare group-committing SQLite writer |
//! | `screen` | from POST to screen, and to the answer, at 1,000 messages a second |
//! | `idle` | memory of 10,000 idle connections of each transport |
//! | `history` | memory and rate up to 1,000,000 messages, then catching up with all of them |
//!
//! Events are `new_message` of signed webhooks with their conversation, so larger than the text;
//! the bare loop writes frames of the very size that was measured.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
#[path = "../../tests/support/config.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod config;
mod history;
mod idle;
mod load;
#[path = "../../tests/support/server.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod server;
#[path = "../bare_writer/table.rs"]
mod table;
mod writer;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use bare::Writes;
use config::{TestConfig, mint_token};
use load::{Figures, Kind, Plan, Publication, STAMP};
use server::ServerProcess;

const ROUNDS: usize = 3;
const SUBSCRIBERS: usize = 1000;
const PUBLISHERS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
/// What this program and the server that it starts need at most, of 10,000 connections.
const DESCRIPTORS: usize = 20_000;
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
        Some("write-bare") => println!("{}", writer::rate(PUBLISHERS, MEASURED, &folder())),
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
        lag(Transport::WebSocket);
        lag(Transport::ServerSentEvents);
    }
    if wanted("tenants") {
        tenants("single signed webhooks", 1, 0.5);
        tenants("ingest batches of 100", 100, 0.8);
    }
    if wanted("ingest") {
        ingest();
    }
    if wanted("screen") {
        screen();
    }
    if wanted("idle") {
        for (transport, kib_max) in [
            (Transport::WebSocket, 6.0),
            (Transport::ServerSentEvents, 12.0),
            (Transport::Polling, 12.0),
        ] {
            idle::measure(transport, kib_max);
        }
    }
    if wanted("history") {
        history::measure();
    }
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints a figure beside its target.
fn report(what: &str, figure: f64, target: Target) {
    let (met, text) = match target {
        Target::AtLeast(least) => (figure >= least, format!("at least {least}")),
        Target::AtMost(most) => (figure <= most, format!("at most {most}")),
    };
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {verdict:>6}  {figure:>10.2}  {what} ({text})");
}

// Parts ------------------------------------------------------------------------------------

fn fan_out(transport: Transport) {
    let mut ours = Vec::new();
    let mut one_each = Vec::new();
    let mut all_waiting = Vec::new();
    let mut frame_bytes = 0;
    for _ in 0..ROUNDS {
        let figures = condorito(transport, 1, SUBSCRIBERS, 0);
        frame_bytes = figures.frame_bytes();
        ours.push(figures.per_second());
        one_each.push(bare_loop(frame_bytes, "a", 1, SUBSCRIBERS, 0).per_second());
        all_waiting.push(bare_loop(frame_bytes, "b", 1, SUBSCRIBERS, 0).per_second());
    }
    let (ours, a, b) = (median(&mut ours), median(&mut one_each), median(&mut all_waiting));
    println!(
        "fan-out {transport:?}: {SUBSCRIBERS} subscribers, {PUBLISHERS} publishers, events of \
         {frame_bytes} B, durable: {ours:.0} deliveries/s; bare loop (a) {a:.0}, (b) {b:.0}"
    );
    if transport == Transport::Polling {
        report("deliveries a second by long polling", ours, Target::AtLeast(80_000.0));
    } else {
        report("times the bare loop (a)", ours / a, Target::AtLeast(5.0));
        report("of the bare loop (b)", ours / b, Target::AtLeast(0.7));
    }
}

fn lag(transport: Transport) {
    // 50 events a second to 1,000 subscribers: 50,000 deliveries a second.
    let rate = 50;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut ours = condorito(transport, 1, SUBSCRIBERS, rate);
        let mut bare = bare_loop(ours.frame_bytes(), "b", 1, SUBSCRIBERS, rate);
        rounds.push([
            ours.delivery_ms(50.0),
            ours.delivery_ms(99.0),
            bare.delivery_ms(50.0),
            bare.delivery_ms(99.0),
            ours.per_second(),
        ]);
    }
    let [p50, p99, bare_p50, bare_p99, per_second] = std::array::from_fn(|at| {
        median(&mut rounds.iter().map(|round| round[at]).collect::<Vec<_>>())
    });
    println!(
        "lag {transport:?} at {per_second:.0} deliveries/s; bare loop's p50 {bare_p50:.1} ms, \
         p99 {bare_p99:.1} ms"
    );
    report("ms from POST to socket, p50", p50, Target::AtMost(5.0));
    report("ms from POST to socket, p99", p99, Target::AtMost(10.0));
}

fn tenants(how: &str, batch: usize, least: f64) {
    let tenants = 1000;
    let mut ours = Vec::new();
    let mut base = Vec::new();
    for _ in 0..ROUNDS {
        let server = Server::start(tenants);
        let publications = (0..PUBLISHERS)
            .map(|index| match batch {
                1 => webhooks(index, tenants),
                _ => ingest_batches(index, batch, server.tokens.clone()),
            })
            .collect();
        let figures =
            server.load(Transport::WebSocket, tenants * 5, publications, 0).expect("the load runs");
        ours.push(figures.per_second());
        let frame_bytes = figures.frame_bytes();
        base.push(bare_loop(frame_bytes, "a", tenants, tenants * 5, 0).per_second());
    }
    let (ours, base) = (median(&mut ours), median(&mut base));
    println!(
        "{tenants} tenants of 5 subscribers, {how}, durable: {ours:.0} deliveries/s; bare loop \
         {base:.0}"
    );
    report("of the bare loop", ours / base, Target::AtLeast(least));
}

fn ingest() {
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(condorito(Transport::WebSocket, 1, 1, 0).published_per_second());
        bare.push(bare_writer());
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    println!(
        "ingest: {PUBLISHERS} publishers of single signed webhooks, durable and delivered: \
         {ours:.0}/s; bare SQLite writer with {PUBLISHERS} callers {bare:.0}/s"
    );
    report("of the bare writer", ours / bare, Target::AtLeast(0.5));
}

fn screen() {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut figures = condorito(Transport::WebSocket, 1, 10, 1000);
        rounds.push([
            figures.delivery_ms(99.0),
            figures.answer_ms(99.0),
            figures.delivery_ms(50.0),
        ]);
    }
    let [screen, answer, half] = std::array::from_fn(|at| {
        median(&mut rounds.iter().map(|round| round[at]).collect::<Vec<_>>())
    });
    println!(
        "POST to screen at 1,000 messages/s: p50 {half:.1} ms, p99 {screen:.1} ms; POST to the \
         answer, which follows the commit: p99 {answer:.1} ms"
    );
    report("ms from the answer to the screen, p99", screen - answer, Target::AtMost(5.0));
}

// Condorito --------------------------------------------------------------------------------

/// A server with its data beside the target folder: /tmp may be a disk in memory.
struct Server {
    process: ServerProcess,
    tokens: Vec<String>,
    _folder: TempDir,
}

impl Server {
    fn start(tenants: usize) -> Self {
        let folder = folder();
        let config = TestConfig { tenants, ..TestConfig::default() }.write(folder.path());
        let process = ServerProcess::start(&binary(), &config, Some(SERVER_PROCESSOR));
        let tokens = (1..=tenants).map(|tenant| mint_token(tenant as u32, None)).collect();
        Self { process, tokens, _folder: folder }
    }

    fn load(
        &self,
        transport: Transport,
        subscribers: usize,
        publications: Vec<Publication>,
        rate: u32,
    ) -> std::io::Result<Figures> {
        let address = self.process.address;
        let subscribers = (0..subscribers)
            .map(|index| {
                let token = &self.tokens[index % self.tokens.len()];
                (address, subscription(transport, address, token))
            })
            .collect();
        load::run(Plan {
            subscribers,
            kind: if transport == Transport::Polling { Kind::Poll } else { Kind::Stream },
            publishers: publications.into_iter().map(|each| (address, each)).collect(),
            http_answers: true,
            rate,
            warm_up: WARM_UP,
            measured: MEASURED,
        })
    }
}

fn condorito(transport: Transport, tenants: usize, subscribers: usize, rate: u32) -> Figures {
    let publications = (0..PUBLISHERS).map(|index| webhooks(index, tenants)).collect();
    let server = Server::start(tenants);
    server.load(transport, subscribers, publications, rate).expect("the load runs")
}

fn folder() -> TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).expect("a folder")
}

fn subscription(transport: Transport, host: SocketAddr, token: &str) -> Vec<u8> {
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

/// Batches of messages for one tenant after the other, of that tenant's own customers.
fn ingest_batches(publisher: usize, batch: usize, tokens: Vec<String>) -> Publication {
    let mut turn = publisher;
    Box::new(move |stamp, id, request| {
        turn += PUBLISHERS;
        let tenant = turn % tokens.len();
        let text = format!("{STAMP}{stamp} {}", "hola ".repeat(12));
        let first = id * batch as u64;
        ingest_request(&tokens[tenant], first, batch, &text, request);
    })
}

/// Writes a whole HTTP request with messages that are numbered from `first`.
fn ingest_request(token: &str, first: u64, count: usize, text: &str, request: &mut Vec<u8>) {
    let messages: Vec<_> = (first..first + count as u64)
        .map(|number| {
            serde_json::json!({
                "wa_message_id": format!("wamid.bench{number:012}"),
                "contact": {"phone": format!("+{}", 56_900_000_000u64 + number % 97), "name": "Ana Test"},
                "text": text,
                "timestamp": "2026-11-25T10:00:00.000Z",
            })
        })
        .collect();
    let body = serde_json::json!({ "messages": messages }).to_string();
    let head = format!(
        "POST /v1/ingest/messages HTTP/1.1\r\nHost: condorito\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body.as_bytes());
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

/// The bare writer's rows a second, on the server's processor.
fn bare_writer() -> f64 {
    let output = Command::new("taskset")
        .args(["-c", &SERVER_PROCESSOR.to_string()])
        .arg(std::env::current_exe().expect("own path"))
        .arg("write-bare")
        .output()
        .expect("the bare writer runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a rate")
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
