//! Prometheus itself scrapes the server and `promtool` has nothing to say against its metrics; the
//! dashboard and the rules of `dashboards/` ask for what the server serves, and get values.

mod catalog;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use condorito::{gateway::simulator::provider::Faults, metrics as names};
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::catalog::{Catalog, is_rare};
use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    follower::{Ledger, Transport, follow},
    provider::Stage,
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

async fn scraped(base: &str) -> String {
    let answer = reqwest::get(format!("{base}/metrics")).await.expect("answered");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text_of(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A real Prometheus, until it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// Scrapes and evaluates every second.
    fn start(folder: &Path, server: SocketAddr, rules: &[PathBuf]) -> Self {
        let port = free_port();
        let config = folder.join("prometheus.yml");
        let config_text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: {rules:?}\n\
             scrape_configs:\n- job_name: condorito\n  static_configs: [{{ targets: ['{server}'] }}]\n",
        );
        fs::write(&config, config_text).expect("written");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed: run `make test-tools`");
        Self { child, port }
    }

    /// What its API answers, `None` while it does not.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let base = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let url = url::Url::parse_with_params(&base, parameters).expect("a URL");
        let answer = reqwest::get(url).await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// The samples of an expression.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let Some(body) = self.ask("query", &[("query", expression)]).await else {
            return Vec::new();
        };
        assert_eq!(body["status"], "success", "{expression}: {body}");
        body["data"]["result"].as_array().expect("samples").clone()
    }

    /// Whether an expression has a value, and one that is a number.
    async fn has_value(&self, expression: &str) -> bool {
        let is_number = |sample: &Value| {
            let value = sample["value"][1].as_str().expect("a value").parse::<f64>();
            value.expect("a number").is_finite()
        };
        self.query(expression).await.iter().any(is_number)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(in_repository("dashboards"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: run `make test-tools`");
    promtool.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    let verdict = promtool.wait_with_output().expect("a verdict");
    let said = [verdict.stdout, verdict.stderr].concat();
    (verdict.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_and_promtool_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let server = ServerProcess::start(&server_binary(), &config, None);
    let body = webhook_body(1, 5_693_000_000, "wamid.metrics", "hola");
    post_webhook(&reqwest::Client::new(), &server.base(), body).await;

    let (agrees, said) = promtool(&["check", "metrics"], &scraped(&server.base()).await);
    assert!(agrees && said.is_empty(), "promtool: {said}");

    let prometheus = Prometheus::start(folder.path(), server.address, &[]);
    let until = Instant::now() + STUCK;
    while !prometheus.has_value("condorito_webhooks_total").await {
        assert!(Instant::now() < until, "Prometheus never had a sample of what was scraped");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn every_alert_fires_and_keeps_quiet_as_its_cases_say_and_has_its_section() {
    for arguments in [
        ["check", "rules", "recording.rules.yml", "alerting.rules.yml"].as_slice(),
        &["test", "rules", "rules.test.yml", "rules-week.test.yml"],
    ] {
        let (agrees, said) = promtool(arguments, "");
        assert!(agrees, "promtool: {said}");
    }

    let rules = text_of("dashboards/alerting.rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    let cases = ["rules", "rules-week"].map(|file| text_of(&format!("dashboards/{file}.test.yml")));
    let cases = cases.concat();
    // Each part is one case: its alert's name, and what is expected.
    let cases: Vec<&str> = cases.split("alertname: ").skip(1).collect();
    let operations = text_of("docs/operations.md");
    let sections: BTreeSet<&str> =
        operations.lines().filter_map(|line| line.strip_prefix("### Condorito")).collect();
    let mut known = BTreeSet::new();
    for alert in alerts {
        let name = first_word(alert);
        known.insert(name.strip_prefix("Condorito").expect("one prefix for all"));
        let of_alert = || cases.iter().filter(|case| first_word(case) == name);
        assert!(of_alert().any(|case| case.contains("exp_labels")), "{name}: no case fires");
        assert!(of_alert().any(|case| case.contains("exp_alerts: []")), "{name}: none is quiet");
        let severities = ["critical", "warning", "info"];
        let has_severity = |which| alert.contains(&format!("labels: {{severity: {which}}}"));
        assert!(severities.into_iter().any(has_severity), "{name}: no severity");
        assert!(alert.contains("          summary: '"), "{name}: no summary");
        // As GitHub and others name a heading's anchor.
        let runbook = format!("runbook_url: docs/operations.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&runbook), "{name}: no runbook");
    }
    assert!(known.len() > 20, "the rules were not read");
    assert_eq!(known, sections, "alerts, and their sections in docs/operations.md");
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_rules_ask_for_what_is_served_and_get_values() {
    let stage = Stage::start(Faults::default(), "").await;
    let server = stage.server.as_ref().expect("it runs");
    let folder = tempfile::tempdir().expect("a folder");
    let rules = ["dashboards/recording.rules.yml", "dashboards/alerting.rules.yml"];
    let prometheus = Prometheus::start(folder.path(), server.address, &rules.map(in_repository));
    let dashboard = Dashboard::read();
    let traffic = Traffic::begin(&stage).await;

    // What has no value yet gets one by more traffic.
    let loaded = loaded_rules(&prometheus, &traffic).await;
    let recorded = loaded.iter().filter(|rule| rule["type"] == "recording");
    let mut without: Vec<String> =
        recorded.clone().map(|rule| rule["name"].as_str().expect("a name").to_owned()).collect();
    assert!(without.len() > 10, "the recording rules were not loaded: {loaded:?}");
    without.extend(dashboard.expressions.iter().filter(|asked| !is_rare(asked)).cloned());
    let until = Instant::now() + STUCK;
    while !without.is_empty() {
        assert!(Instant::now() < until, "no value: {without:#?}");
        traffic.goes_on().await;
        let mut still = Vec::new();
        for expression in without {
            if !prometheus.has_value(&expression).await {
                still.push(expression);
            }
        }
        without = still;
    }
    // A query that can't be parsed fails; the rare ones just have no samples.
    for expression in dashboard.expressions.iter().filter(|asked| is_rare(asked)) {
        prometheus.query(expression).await;
    }
    for rule in prometheus_rules(&prometheus).await.expect("rules") {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    let catalog = Catalog::new(&scraped(&server.base()).await, recorded);
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for expression in dashboard.expressions.iter().chain(&dashboard.definitions) {
        asked.extend(catalog.check(expression));
    }
    for metric in names::ALL {
        assert!(asked.contains(metric.name), "the dashboard does not show {}", metric.name);
    }
    for rule in &loaded {
        catalog.check(rule["query"].as_str().expect("an expression"));
    }
}

/// The rules of all groups.
async fn prometheus_rules(prometheus: &Prometheus) -> Option<Vec<Value>> {
    let body = prometheus.ask("rules", &[]).await?;
    let groups = body["data"]["groups"].as_array()?;
    Some(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
}

/// The same once Prometheus has started and evaluated them.
async fn loaded_rules(prometheus: &Prometheus, traffic: &Traffic<'_>) -> Vec<Value> {
    let until = Instant::now() + STUCK;
    loop {
        traffic.goes_on().await;
        let rules = prometheus_rules(prometheus).await.unwrap_or_default();
        if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
            return rules;
        }
        assert!(Instant::now() < until, "the rules are not evaluated: {rules:?}");
    }
}

/// Who writes, who is written to and who looks on, over all transports.
struct Traffic<'a> {
    stage: &'a Stage,
    client: reqwest::Client,
    followers: Vec<tokio::task::JoinHandle<()>>,
    _address: watch::Sender<SocketAddr>,
}

impl<'a> Traffic<'a> {
    async fn begin(stage: &'a Stage) -> Self {
        let server = stage.server.as_ref().expect("it runs").address;
        let head = stage.get("/v1/events").await["cursor"].as_str().expect("a cursor").to_owned();
        let (address, watched) = watch::channel(server);
        let follower = |transport| {
            let ledger = Arc::new(Mutex::new(Ledger::default()));
            let (token, start) = (mint_token(1, None), head.clone());
            tokio::spawn(follow(transport, watched.clone(), token, start, ledger))
        };
        let followers = Transport::ALL.map(follower).into();
        let client = reqwest::Client::new();
        Self { stage, client, followers, _address: address }
    }

    async fn goes_on(&self) {
        let stage = self.stage;
        let base = stage.server.as_ref().expect("it runs").base();
        let number = now_ms();
        let wamid = format!("wamid.{number}");
        post_webhook(&self.client, &base, webhook_body(1, 56_911_112_222, &wamid, "hola")).await;
        let forged = self.client.post(format!("{base}/webhooks/whatsapp"));
        let forged = forged.header("x-hub-signature-256", "sha256=00").body("{}").send().await;
        assert_eq!(forged.expect("answered").status(), StatusCode::UNAUTHORIZED);

        let cursor = stage.get("/v1/events").await["cursor"].as_str().expect("a cursor").to_owned();
        stage.get(&format!("/v1/conversations/1?at_least={cursor}")).await;
        let (status, answer) =
            stage.post("/v1/conversations/1/messages", &json!({"text": "¿Sí?"})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let (status, _) = stage.post("/v1/conversations/1/read", &json!({})).await;
        assert_eq!(status, StatusCode::OK);
        let order = json!({
            "name": "all", "text": "hola", "rate_per_second": 50,
            "recipients": [{"phone": format!("+5491{:08}", number % 100_000_000)}]
        });
        assert_eq!(stage.post("/v1/bulk", &order).await.0, StatusCode::ACCEPTED);
        let headers = [("content-type", "image/gif")];
        let refused = Some(b"GIF89a and more".to_vec());
        let refused = stage.call(Method::POST, "/v1/media", &headers, refused).await;
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        // More than one a second would not make Prometheus look more often.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        self.followers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn now_ms() -> i64 {
    crate::support::config::now().0
}

/// The dashboard, as far as it asks Prometheus.
struct Dashboard {
    /// With values for Grafana's variables.
    expressions: Vec<String>,
    /// Of its variables.
    definitions: Vec<String>,
}

impl Dashboard {
    /// Reads it, and looks at what Grafana would stumble over.
    fn read() -> Self {
        let dashboard: Value =
            serde_json::from_str(&text_of("dashboards/condorito.json")).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        let ids: BTreeSet<i64> =
            panels.iter().map(|panel| panel["id"].as_i64().expect("an id")).collect();
        assert_eq!(ids.len(), panels.len(), "two panels have one id");
        let mut places: BTreeSet<(i64, i64)> = BTreeSet::new();
        for panel in panels {
            let place = &panel["gridPos"];
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| place[key].as_i64().expect("a place"));
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cell.0 < 24 && places.insert(cell), "{} covers another", panel["title"]);
            }
            let references: Vec<&Value> = targets(panel).map(|target| &target["refId"]).collect();
            assert!(
                references.iter().enumerate().all(|(at, id)| !references[..at].contains(id)),
                "{}: two queries have one name",
                panel["title"]
            );
            assert_eq!(panel["type"] == "row", references.is_empty(), "{}", panel["title"]);
            let source = &panel["datasource"]["uid"];
            assert!(panel["type"] == "row" || source == "${datasource}", "{}", panel["title"]);
        }
        let annotations = dashboard["annotations"]["list"].as_array().expect("a list");
        let asked = panels.iter().flat_map(targets).map(|target| &target["expr"]);
        let asked = asked.chain(annotations.iter().map(|annotation| &annotation["expr"]));
        let expressions: Vec<String> =
            asked.map(|expression| with_values(expression.as_str().expect("text"))).collect();
        assert!(expressions.len() > 40, "the dashboard was not read");
        let variables = dashboard["templating"]["list"].as_array().expect("variables");
        let definitions = variables.iter().filter_map(|variable| variable["definition"].as_str());
        Self { expressions, definitions: definitions.map(with_values).collect() }
    }
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

fn with_values(expression: &str) -> String {
    let text = expression.replace("$__rate_interval", "1m");
    let text = text.replace("$job", ".*").replace("$instance", ".*");
    assert!(!text.contains('$'), "a variable that nothing defines: {expression}");
    text
}
