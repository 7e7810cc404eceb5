//! Documentation that is made from the code equals what the code says.
//! `UPDATE_DOCS=1 cargo test --test integration documents` writes it anew.

use std::{fmt::Write, fs, path::Path};

use condorito::metrics::{ALL, Kind};

fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` in Prometheus' text format. Made from \
         `src/metrics.rs`.\n\n| metric | type | labels | what it tells |\n| --- | --- | --- | --- |\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        writeln!(page, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help)
            .expect("text");
    }
    page
}

/// Compares, or writes where that is asked for.
pub fn assert_document(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "{name} is not what the code says; write it anew with\n  UPDATE_DOCS=1 cargo test --test integration documents"
    );
}

#[test]
fn the_table_of_metrics_is_the_codes() {
    assert_document("docs/metrics.md", &metrics_page());
}

#[test]
fn metric_names_follow_the_conventions() {
    for metric in ALL {
        let is_counter = metric.kind == Kind::Counter;
        assert!(metric.name.starts_with("condorito_"), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        if metric.kind == Kind::Histogram {
            assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
        }
        assert!(metric.help.ends_with('.') && !metric.help.is_empty(), "{}", metric.name);
    }
}
