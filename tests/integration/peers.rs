//! Clients that others wrote, against the running server: each sees the same facts with the same
//! cursors. They are installed by `make test-tools`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    config::{TestConfig, echo_body, mint_token, status_body, webhook_body},
    follower::text,
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

const END: &str = "the end of the story";

/// Where `make test-tools` puts the peers.
pub fn tools() -> PathBuf {
    let folder = std::env::var_os("CONDORITO_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"),
        PathBuf::from,
    );
    assert!(folder.join("venv").exists(), "the peers are not installed: run `make test-tools`");
    folder
}

/// Runs a peer to its end; answers what it printed, a value a line.
async fn run_peer(mut command: Command) -> Vec<Value> {
    let name = format!("{command:?}");
    command.env("CONDORITO_TEST_TOOLS", tools()).stdin(Stdio::null());
    let output = tokio::time::timeout(
        Duration::from_secs(90),
        tokio::process::Command::from(command).kill_on_drop(true).output(),
    )
    .await
    .unwrap_or_else(|_| panic!("{name} did not end"))
    .expect("the peer starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn facts(events: &[Value]) -> Vec<(String, String)> {
    events
        .iter()
        .map(|event| (text(&event["id"]), text(&event["type"])))
        .filter(|(_, kind)| kind == "new_message" || kind == "message_status_updated")
        .collect()
}

/// What `curl -N` shows of the SSE stream: the public events up to the end of the story.
async fn curl(base: &str, token: &str, cursor: &str, encoding: Option<&str>) -> Vec<Value> {
    let mut command = Command::new("curl");
    command.args(["-sN", "--max-time", "4", "-H", &format!("Authorization: Bearer {token}")]);
    if let Some(encoding) = encoding {
        command.args(["--compressed", "-H", &format!("Accept-Encoding: {encoding}")]);
    }
    command.arg(format!("{base}/v1/events/stream?cursor={cursor}"));
    let output = tokio::process::Command::from(command).output().await.expect("curl runs");
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    output
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str::<Value>(data).expect("JSON"))
        .filter(|event| event["id"].is_string())
        .collect()
}

async fn polling(base: &str, token: &str, cursor: &str) -> Vec<Value> {
    let client = reqwest::Client::new();
    let mut cursor = cursor.to_owned();
    let mut events = Vec::new();
    loop {
        let url = format!("{base}/v1/events?cursor={cursor}&limit=3&wait=2");
        let answer = client.get(url).bearer_auth(token).send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        let body: Value =
            serde_json::from_slice(&answer.bytes().await.expect("body")).expect("JSON");
        let page = body["events"].as_array().expect("events").clone();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
        cursor = text(&body["cursor"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_peer_sees_the_same_facts_with_the_same_cursors() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let server = ServerProcess::start(&server_binary(), &config, None);
    let (base, token) = (server.base(), mint_token(1, None));
    let client = reqwest::Client::new();
    let head = client.get(format!("{base}/v1/events")).bearer_auth(&token).send().await;
    let head = head.expect("answered").bytes().await.expect("body");
    let cursor = text(&serde_json::from_slice::<Value>(&head).expect("JSON")["cursor"]);

    for number in 0..8 {
        let id = format!("wamid.peer{number}");
        let (customer, answer) = (5_692_000_000 + number % 3, format!("wamid.answer{number}"));
        post_webhook(&client, &base, webhook_body(1, customer, &id, "¿hay stock? ñandú 🦤")).await;
        post_webhook(&client, &base, echo_body(1, customer, &answer, "sí")).await;
        post_webhook(&client, &base, status_body(1, customer, &answer, "read")).await;
    }
    post_webhook(&client, &base, webhook_body(1, 5_692_000_000, "wamid.end", END)).await;

    let tools = tools();
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let arguments = [base.as_str(), token.as_str(), cursor.as_str(), END];
    let node = |script: &str| {
        let mut command = Command::new("node");
        command.arg(peers.join(script)).args(arguments);
        command
    };
    let mut python = Command::new(tools.join("venv/bin/python"));
    python.arg(peers.join("websockets_peer.py")).args(arguments);

    let expected = facts(&polling(&base, &token, &cursor).await);
    assert_eq!(expected.iter().filter(|(_, kind)| kind == "new_message").count(), 17);
    let seen = [
        ("ws", run_peer(node("ws.mjs")).await),
        ("eventsource", run_peer(node("eventsource.mjs")).await),
        ("websockets", run_peer(python).await),
        ("curl", curl(&base, &token, &cursor, None).await),
        ("curl gzip", curl(&base, &token, &cursor, Some("gzip")).await),
    ];
    for (peer, events) in seen {
        assert_eq!(facts(&events), expected, "{peer}");
    }
    let browser = run_peer(node("chromium.mjs")).await;
    for via in ["websocket", "eventsource"] {
        let events: Vec<Value> =
            browser.iter().filter(|event| event["via"] == via).cloned().collect();
        assert_eq!(facts(&events), expected, "Chromium's {via}");
    }
}
