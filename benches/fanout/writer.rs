//! The baseline of ingest: a bare group-committing SQLite writer.
//!
//! It stores the very webhooks, with the log's pragmas and its index, and does nothing else: no
//! HTTP, no signature, no event, no projection, no delivery. Its callers are all there at once,
//! as a closed loop of them is at best, so a group is one row of each.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{config, load::STAMP, table};

/// As many as the webhooks' customers.
const CUSTOMERS: u64 = 97;
/// Different webhooks, made before the time runs.
const BODIES: u64 = 10_000;

/// Rows a second with so many callers.
pub fn rate(callers: usize, time: Duration, folder: &TempDir) -> f64 {
    let connection = table::open(&folder.path().join("bare.db"));
    let bodies: Vec<_> = (0..BODIES).map(body).collect();
    let started = Instant::now();
    let mut rows = 0u64;
    while started.elapsed() < time {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let mut insert = connection.prepare_cached(table::INSERT).expect("prepares");
        for _ in 0..callers {
            rows += 1;
            let stream = format!("conversation-1-{}", rows % CUSTOMERS);
            insert
                .execute((stream, rows as i64, &bodies[(rows % BODIES) as usize]))
                .expect("inserts");
        }
        drop(insert);
        connection.execute_batch("COMMIT").expect("commits");
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

fn body(number: u64) -> Vec<u8> {
    let customer = 5_690_000_000 + number % CUSTOMERS;
    let text = format!("{STAMP}{:019} {}", number, "hola ".repeat(12));
    config::webhook_body(1, customer, &format!("wamid.bench{number:010}"), &text)
}
