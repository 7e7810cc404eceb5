//! Bulks at full speed, against what is asked of them: the server on processor 0, the simulated
//! provider and the load on processor 1.
//!
//! `cargo bench --bench sending -- [PART…]`, parts: `accept` (100,000 recipients in one request),
//! `pace` (a bulk at 1,000 a second while single messages leave); without any: both. Figures are
//! ratios against the target, since the machine is shared.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/config.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod config;
#[path = "../tests/support/provider.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod provider;
#[path = "../tests/support/server.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod server;

use std::{
    collections::HashMap,
    fmt::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use condorito::{domain::time::Timestamp, gateway::simulator::provider::Faults};
use provider::Stage;
use reqwest::Method;
use serde_json::{Value, json};
use server::ServerProcess;

const SERVER_PROCESSOR: usize = 0;
const LOAD_PROCESSOR: usize = 1;
/// Recipients of one request.
const ACCEPTED: usize = 100_000;
const ACCEPT_MAX: Duration = Duration::from_secs(2);
/// The pace, and how long it is kept.
const RATE: usize = 1000;
const KEPT: Duration = Duration::from_secs(20);
/// Left out of the measured time at its beginning and end.
const WARM_UP: Duration = Duration::from_secs(3);
/// Between two single messages.
const SINGLE_EVERY: Duration = Duration::from_millis(50);
const SINGLE_P99_MAX_MS: f64 = 50.0;

const MORE: &str = "[outbox]\nmessages_per_second = 1100\nmessages_burst = 200\n\
                    in_flight_max = 512\n[logging]\nfilter = \"warn\"\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().map(String::as_str) == Some("measure") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(measure(&arguments[1..]));
    }
    let own = std::env::current_exe().expect("own path");
    let status = Command::new("taskset")
        .args(["-c", &LOAD_PROCESSOR.to_string()])
        .arg(own)
        .arg("measure")
        .args(arguments)
        .status()
        .expect("taskset (util-linux)");
    std::process::exit(status.code().unwrap_or(1));
}

/// For `provider`, which the integration tests share.
fn server_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_condorito"))
}

async fn measure(parts: &[String]) {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    if wanted("accept") {
        accept().await;
    }
    if wanted("pace") {
        pace().await;
    }
}

async fn stage() -> Stage {
    let faults = Faults::default();
    Stage::start_pinned(faults, MORE, server_binary(), Some(SERVER_PROCESSOR)).await
}

fn rss_kib(stage: &Stage) -> u64 {
    stage.server.as_ref().map_or(0, ServerProcess::rss_kib)
}

fn phone(number: usize) -> String {
    format!("+5491{number:08}")
}

/// An order as a CRM sends it: JSON, two parameters each.
fn order(count: usize, rest: &str) -> Vec<u8> {
    let mut body = format!("{{\"name\":\"bench\",{rest},\"recipients\":[");
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(
            body,
            "{comma}{{\"phone\":\"{}\",\"name\":\"Contact {number}\",\
             \"parameters\":{{\"code\":\"A{number}\",\"city\":\"Valparaíso\"}}}}",
            phone(number)
        )
        .expect("text");
    }
    body.push_str("]}");
    body.into_bytes()
}

/// How long it took, by how much the server grew at most meanwhile, and the request's size.
async fn accept_one(stage: &Stage) -> (Duration, u64, usize) {
    let later = config::now().plus_ms(3_600_000);
    let rest = format!(
        "\"text\":\"Hola {{{{name}}}}: {{{{code}}}} en {{{{city}}}}\",\"scheduled_at\":\"{later}\""
    );
    let body = order(ACCEPTED, &rest);
    let (size, before) = (body.len(), rss_kib(stage));
    let headers = [("content-type", "application/json")];
    let started = Instant::now();
    let asking = stage.call(Method::POST, "/v1/bulk", &headers, Some(body));
    let mut peak = before;
    let mut asking = std::pin::pin!(asking);
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                peak = peak.max(rss_kib(stage));
            }
        }
    };
    assert_eq!(answer.status(), 202);
    (started.elapsed(), peak.saturating_sub(before), size / 1024)
}

async fn accept() {
    let mut took = Vec::new();
    for _ in 0..3 {
        let stage = stage().await;
        // The first fills the caches, which have bounds of their own.
        let (_, filled_kib, _) = accept_one(&stage).await;
        let (took_for, grown_kib, body_kib) = accept_one(&stage).await;
        took.push((took_for, grown_kib, body_kib, filled_kib));
    }
    took.sort_unstable();
    let (median, grown_kib, body_kib, filled_kib) = took[1];
    println!(
        "accept: {ACCEPTED} recipients in {:.2} s = {:.2} of the {} s allowed; the server grew by \
         {grown_kib} KiB at most for a request of {body_kib} KiB = {:.2} of it (by {filled_kib} KiB \
         for the same one before, which filled its caches)",
        median.as_secs_f64(),
        median.as_secs_f64() / ACCEPT_MAX.as_secs_f64(),
        ACCEPT_MAX.as_secs(),
        grown_kib as f64 / body_kib as f64,
    );
}

async fn pace() {
    let stage = stage().await;
    let singles = contacts(&stage).await;

    let count = RATE * KEPT.as_secs() as usize;
    let rest = format!("\"text\":\"Hola {{{{name}}}}: {{{{code}}}}\",\"rate_per_second\":{RATE}");
    let headers = [("content-type", "application/json")];
    let answer = stage.call(Method::POST, "/v1/bulk", &headers, Some(order(count, &rest))).await;
    let accepted = provider::json_of(answer).await;
    let id = accepted["bulk"]["id"].as_str().expect("an id").to_owned();

    let started = Instant::now();
    let mut queued_at = HashMap::new();
    let (mut first, mut last) = (None, None);
    let mut next = Instant::now();
    for single in singles.into_iter().cycle() {
        if started.elapsed() >= KEPT {
            break;
        }
        let (status, sent) = send_single(&stage, single).await;
        assert_eq!(status, 202, "{sent}");
        let message = &sent["message"];
        queued_at.insert(text(&message["id"]), time(&message["created_at"]));
        let measured = started.elapsed() >= WARM_UP && started.elapsed() <= KEPT - WARM_UP;
        if measured && first.is_none() {
            first = Some((Instant::now(), stage.provider.ledger().taken));
        }
        if started.elapsed() >= KEPT - WARM_UP && last.is_none() {
            last = Some((Instant::now(), stage.provider.ledger().taken));
        }
        next += SINGLE_EVERY;
        tokio::time::sleep_until(next.into()).await;
    }
    let bulk = stage.bulk_until(&id, |bulk| bulk["status"] == "completed").await;
    let whole = time(&bulk["finished_at"]).since(time(&bulk["started_at"])) as f64 / 1000.0;
    let ((from, before), (to, after)) = (first.expect("measured"), last.expect("measured"));
    let others = (to - from).as_secs_f64() / SINGLE_EVERY.as_secs_f64();
    let rate = ((after - before) as f64 - others) / (to - from).as_secs_f64();
    println!(
        "pace: {rate:.0} messages a second of the {RATE} asked for = {:.3} (0.98 is the target); \
         {count} recipients in {whole:.1} s from start to completion; sent {}, failed {}",
        rate / RATE as f64,
        bulk["sent"],
        bulk["failed"],
    );
    singles_left(&stage, &queued_at);
}

/// Contacts who wrote, so that text may be sent to them: more than one, for WhatsApp takes few
/// messages to one recipient. Their conversations.
async fn contacts(stage: &Stage) -> Vec<u64> {
    const CONTACTS: usize = 100;
    let message = |number: usize| {
        json!({"wa_message_id": format!("wamid.bench.{number}"), "text": "hola",
            "contact": {"phone": format!("+5691111{number:04}")},
            "timestamp": config::now().to_string()})
    };
    let messages: Vec<Value> = (0..CONTACTS).map(message).collect();
    let (_, stored) = stage.post("/v1/ingest/messages", &json!({"messages": messages})).await;
    let cursor = text(&stored["results"][CONTACTS - 1]["cursor"]);
    let page = stage.get(&format!("/v1/conversations?limit=200&at_least={cursor}")).await;
    let conversations = page["conversations"].as_array().expect("a list").iter();
    conversations.map(|one| one["id"].as_u64().expect("an id")).collect()
}

async fn send_single(stage: &Stage, conversation: u64) -> (u16, Value) {
    let path = format!("/v1/conversations/{conversation}/messages");
    let (status, answer) = stage.post(&path, &json!({"text": "a single message"})).await;
    (status.as_u16(), answer)
}

/// How long single messages took from being queued to being with the provider, by the clock that
/// both have.
fn singles_left(stage: &Stage, queued_at: &HashMap<String, Timestamp>) {
    let ledger = stage.provider.ledger();
    let taken = ledger.by_message_id();
    let took = queued_at
        .iter()
        .filter_map(|(id, queued_at)| Some(taken.get(id.as_str())?.taken_at.since(*queued_at)));
    let mut took: Vec<i64> = took.collect();
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize];
    println!(
        "pace: {} of {} single messages left meanwhile: p50 {} ms, p99 {} ms, longest {} ms; p99 is \
         {:.2} of the {SINGLE_P99_MAX_MS} ms allowed",
        took.len(),
        queued_at.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        at(0.99) as f64 / SINGLE_P99_MAX_MS,
    );
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse(&text(value)).expect("a time")
}
