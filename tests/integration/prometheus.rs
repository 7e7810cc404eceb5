//! Prometheus itself scrapes the server, and `promtool` has nothing to say against its metrics.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    config::{TestConfig, webhook_body},
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

async fn scraped(base: &str) -> String {
    let answer = reqwest::get(format!("{base}/metrics")).await.expect("answered");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_and_promtool_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let server = ServerProcess::start(&server_binary(), &config, None);
    let body = webhook_body(1, 5_693_000_000, "wamid.metrics", "hola");
    post_webhook(&reqwest::Client::new(), &server.base(), body).await;

    let metrics = scraped(&server.base()).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: run `make test-tools`");
    promtool.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("taken");
    let verdict = promtool.wait_with_output().expect("a verdict");
    let said = String::from_utf8_lossy(&verdict.stderr);
    assert!(verdict.status.success() && said.trim().is_empty(), "promtool: {said}");

    let port = free_port();
    let scrape = folder.path().join("prometheus.yml");
    std::fs::write(
        &scrape,
        format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: condorito\n  \
             static_configs: [{{ targets: ['{}'] }}]\n",
            server.address
        ),
    )
    .expect("written");
    let mut prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", scrape.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is installed: run `make test-tools`");
    let found = first_sample(port).await;
    let _ = prometheus.kill();
    let _ = prometheus.wait();
    assert!(found, "Prometheus never had a sample of condorito_webhooks_total");
}

async fn first_sample(port: u16) -> bool {
    let url = format!("http://127.0.0.1:{port}/api/v1/query?query=condorito_webhooks_total");
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if let Ok(answer) = reqwest::get(&url).await
            && let Ok(bytes) = answer.bytes().await
            && let Ok(body) = serde_json::from_slice::<Value>(&bytes)
            && body["data"]["result"].as_array().is_some_and(|samples| !samples.is_empty())
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
