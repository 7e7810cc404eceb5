//! Schemathesis over the document of a running server: no failure inside, no undocumented answer,
//! with valid and with invalid requests.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    config::{TestConfig, mint_token},
    server::ServerProcess,
    server_binary,
};

/// Examples per operation and kind; `CONDORITO_SCHEMATHESIS_EXAMPLES` asks for more.
const EXAMPLES: &str = "8";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_undocumented() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let server = ServerProcess::start(&server_binary(), &config, None);
    let token = mint_token(1, None);
    let http = reqwest::Client::new();
    let ask = |request: reqwest::RequestBuilder| {
        let request = request.bearer_auth(&token).header("content-type", "application/json");
        async move {
            let answer = request.send().await.expect("answered");
            let bytes = answer.bytes().await.expect("a body");
            serde_json::from_slice::<Value>(&bytes).expect("JSON")
        }
    };
    let base = server.base();
    let message = json!({"messages": [{
        "wa_message_id": "for-schemathesis",
        "contact": {"phone": "+12025550142"},
        "text": "hola",
        "timestamp": "2026-11-24T10:00:00Z",
    }]});
    let taken =
        ask(http.post(format!("{base}/v1/ingest/messages")).body(message.to_string())).await;
    let cursor = taken["cursor"].as_str().expect("a cursor").to_owned();
    let snapshot = ask(http.get(format!("{base}/v1/snapshot?at_least={cursor}"))).await;
    let conversation = &snapshot["conversations"][0];
    let (id, message) = (&conversation["id"], &conversation["last_message"]["id"]);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/run.sh");
    let examples = std::env::var("CONDORITO_SCHEMATHESIS_EXAMPLES");
    let output = tokio::task::spawn_blocking({
        let arguments = [
            base,
            token.clone(),
            cursor,
            id.to_string(),
            message.as_str().expect("an id").to_owned(),
            examples.unwrap_or_else(|_| EXAMPLES.to_owned()),
        ];
        move || Command::new(script).args(arguments).output()
    });
    let output = output.await.expect("not cancelled").expect("the script starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "schemathesis:\n{said}\n{erred}");
    assert!(said.contains("schemathesis: any"), "both runs: {said}");
}
