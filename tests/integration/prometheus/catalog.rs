//! What Prometheus can be asked for, and what an expression asks: enough of its language to tell the
//! names of series, the matchers behind them and the labels of groups. Whether an expression is
//! well-formed is Prometheus' to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use condorito::metrics::{self as names, Kind};
use serde_json::Value;

use super::{in_repository, text_of};

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
/// Whether an expression may well have no samples.
pub fn is_rare(expression: &str) -> bool {
    RARE.iter().any(|name| expression.contains(name)) || expression.contains("ALERTS")
}

/// What there is to ask for.
pub struct Catalog {
    /// The labels of each series, by its name as it is asked for.
    labels: BTreeMap<String, BTreeSet<String>>,
    sources: String,
    routes: Value,
}

impl Catalog {
    pub fn new<'a>(exposition: &str, recorded: impl Iterator<Item = &'a Value>) -> Self {
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
    pub fn check(&self, expression: &str) -> Vec<&'static str> {
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
