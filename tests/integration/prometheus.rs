//! Prometheus itself scrapes the server and `promtool` has nothing to say against its metrics; the
//! dashboard and the rules of `dashboards/` ask for what the server serves, and get values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use condorito::{
    gateway::simulator::provider::Faults,
    metrics::{self as names, Kind},
};
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    follower::{Ledger, Transport, follow},
    provider::Stage,
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

/// What a server need not serve before something rare happens. Each is in the server's list of
/// metrics, and its labels are looked up there.
const RARE: [&str; 4] = [
    names::APPEND_FAILURES,
    names::CONNECTIONS_REJECTED,
    names::MEDIA_FETCHES,
    names::RATE_LIMITED,
];
/// Labels that Prometheus itself adds.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];
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

fn is_rare(expression: &str) -> bool {
    RARE.iter().any(|name| expression.contains(name)) || expression.contains("ALERTS")
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

/// What there is to ask for.
struct Catalog {
    /// The labels of each series, by its name as it is asked for.
    labels: BTreeMap<String, BTreeSet<String>>,
    sources: String,
    routes: Value,
}

impl Catalog {
    fn new<'a>(exposition: &str, recorded: impl Iterator<Item = &'a Value>) -> Self {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in exposition.lines().filter(|line| line.starts_with("condorito_")) {
            for used in uses_of(line) {
                labels.entry(used.name).or_default().extend(used.matchers.into_keys());
            }
        }
        for rare in RARE {
            let metric =
                names::ALL.iter().find(|metric| metric.name == rare).expect("it is listed");
            assert_ne!(metric.kind, Kind::Histogram, "then it has more names than one");
            let of_it = metric.labels.iter().map(|label| (*label).to_owned());
            labels.insert(rare.to_owned(), of_it.collect());
        }
        for rule in recorded {
            let name = rule["name"].as_str().expect("a name").to_owned();
            let mut of_it = grouping_labels(rule["query"].as_str().expect("an expression"));
            of_it.remove("le");
            labels.insert(name, of_it);
        }
        labels.insert("up".to_owned(), BTreeSet::new());
        for of_series in labels.values_mut() {
            of_series.extend(OF_THE_SCRAPE.map(str::to_owned));
        }
        let mut sources = String::new();
        read_all(&in_repository("src"), &mut sources);
        let document: Value =
            serde_json::from_str(&text_of("openapi/openapi.json")).expect("a document");
        Self { labels, sources, routes: document["paths"].clone() }
    }

    /// Fails on a metric, a label or a label's value that the server does not have. Answers which
    /// of the server's metrics were asked for.
    fn check(&self, expression: &str) -> Vec<&'static str> {
        let uses = uses_of(expression);
        let mut there: BTreeSet<&String> = BTreeSet::new();
        for used in &uses {
            let labels = self.labels.get(&used.name);
            let labels =
                labels.unwrap_or_else(|| panic!("nobody serves {}: {expression}", used.name));
            there.extend(labels);
            for (label, value) in &used.matchers {
                assert!(labels.contains(label), "{} has no label {label}: {expression}", used.name);
                if !OF_THE_SCRAPE.contains(&label.as_str()) {
                    self.check_value(value, expression);
                }
            }
        }
        for label in grouping_labels(expression) {
            assert!(there.contains(&label), "nothing has the label {label}: {expression}");
        }
        let is_asked = |metric: &names::Metric| {
            let as_histogram = format!("{}_bucket", metric.name);
            uses.iter().any(|used| used.name == metric.name || used.name == as_histogram)
        };
        names::ALL.iter().filter(|metric| is_asked(metric)).map(|metric| metric.name).collect()
    }

    /// A value that is spelled out is one that the code may set, or a route of the document.
    fn check_value(&self, value: &str, expression: &str) {
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        if value.split('|').all(is_word) {
            for word in value.split('|') {
                let quoted = format!("\"{word}\"");
                assert!(self.sources.contains(&quoted), "nothing sets {word}: {expression}");
            }
        } else if value.starts_with('/') && !value.contains(['|', '*']) {
            assert!(self.routes[value].is_object(), "there is no {value}: {expression}");
        }
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).expect("text"));
        }
    }
}

/// A series in an expression or in an exposition.
struct Used {
    name: String,
    matchers: BTreeMap<String, String>,
}

/// The server's series, the recorded ones and `up`, with what stands in braces behind them.
fn uses_of(expression: &str) -> Vec<Used> {
    let mut uses = Vec::new();
    let mut rest = expression;
    while let Some((before, word, after)) = next_word(rest) {
        rest = after;
        // Within quotes stand values, not names.
        if before.matches('"').count() % 2 == 1 {
            rest = after.split_once('"').map_or("", |(_, rest)| rest);
            continue;
        }
        if word != "up" && !word.starts_with("condorito_") && !word.contains(":condorito_") {
            continue;
        }
        let (matchers, after) = matchers_at(after);
        uses.push(Used { name: word.to_owned(), matchers });
        rest = after;
    }
    uses
}

/// Up to the next word, the word, and the rest.
fn next_word(text: &str) -> Option<(&str, &str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let from = text.find(is_part)?;
    let until = text[from..].find(|c| !is_part(c)).map_or(text.len(), |length| from + length);
    Some((&text[..from], &text[from..until], &text[until..]))
}

/// `{label="value",…}` at the beginning of a text, and what follows.
fn matchers_at(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut matchers = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (matchers, text) };
    while let Some((head, behind)) = rest.split_once('"') {
        let (_, label, _) = next_word(head).expect("a label before its value");
        let (value, behind) = behind.split_once('"').expect("a value ends");
        matchers.insert(label.to_owned(), value.to_owned());
        rest = behind;
        if let Some(behind) = rest.trim_start().strip_prefix('}') {
            return (matchers, behind);
        }
    }
    (matchers, rest)
}

/// What an expression groups by or joins on.
fn grouping_labels(expression: &str) -> BTreeSet<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| expression.split(word).skip(1));
    let lists = lists.map(|behind| behind.split(')').next().unwrap_or_default());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}
