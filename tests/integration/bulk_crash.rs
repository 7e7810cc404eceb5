//! A bulk under `kill -9`: the provider's own ledger compared with our state. Nobody is written to
//! twice, nobody is forgotten, and every counter is what really happened.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use condorito::gateway::simulator::provider::{Entry, Faults, Outcome};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::provider::Stage;

const RECIPIENTS: usize = 10_000;
const CRASHES: usize = 20;

/// Everything but what makes the number wait, which would only make the test long.
fn faults() -> Faults {
    Faults {
        error_permille: 20,
        error_codes: vec![131_026],
        cut_permille: 3,
        cut_after_permille: 10,
        silence_permille: 3,
        lost_statuses_permille: 10,
        ..Faults::chaos()
    }
}

const MORE: &str = "[outbox]\nmessages_per_second = 1000\nmessages_burst = 100\n\
                    call_timeout_ms = 3000\nin_flight_max = 256\n\
                    [bulk]\nin_doubt_wait_ms = 5000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_under_kill_9_sends_everybody_one_message_and_counts_what_happened() {
    let seed = 20_261_125;
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::start(faults(), MORE).await;
    let head = stage.get("/v1/events").await["cursor"].clone();
    let recipients: Vec<Value> = (0..RECIPIENTS)
        .map(|number| json!({"phone": format!("+5491{number:08}"), "parameters": {"n": number}}))
        .collect();
    let order = json!({
        "name": "crash", "text": "Hola {{n}}", "recipients": recipients, "rate_per_second": 1000
    });
    let (status, accepted) = stage.post("/v1/bulk", &order).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["bulk"]["id"].as_str().expect("an id").to_owned();

    let started = tokio::time::Instant::now();
    let (mut crashes, mut in_doubt_max, mut last_claimed) = (0, 0, 0);
    while crashes < CRASHES {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1200))).await;
        stage.crash().await;
        crashes += 1;
        // The rest of the crashes are for the rest of the recipients.
        let per_crash = RECIPIENTS / (CRASHES + 1);
        let bulk = stage
            .bulk_until(&id, |bulk| {
                let waiting = bulk["waiting"].as_i64().expect("a count") as usize;
                RECIPIENTS - waiting >= (last_claimed + per_crash / 2).min(RECIPIENTS)
            })
            .await;
        check_adds_up(&bulk);
        in_doubt_max = in_doubt_max.max(bulk["in_doubt"].as_i64().expect("a count"));
        last_claimed = RECIPIENTS - bulk["waiting"].as_i64().expect("a count") as usize;
    }
    stage.bulk_until(&id, |bulk| bulk["status"] == "completed").await;
    let took = started.elapsed();
    let ledger = stage.told().await;
    // What was told last is projected within a moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let bulk = stage.get(&format!("/v1/bulk/{id}")).await;
    check_adds_up(&bulk);
    let rows = stage.recipients(&id, None).await;

    let twice: Vec<_> = ledger.entries.iter().filter(|entry| entry.count > 1).collect();
    assert!(twice.is_empty(), "sent twice (seed {seed}): {twice:?}");
    let phones: HashSet<&str> = rows.iter().filter_map(|row| row["phone"].as_str()).collect();
    assert_eq!((rows.len(), phones.len()), (RECIPIENTS, RECIPIENTS));
    let by_recipient: HashSet<&str> =
        ledger.entries.iter().map(|entry| entry.recipient.as_str()).collect();
    assert_eq!(by_recipient.len(), ledger.entries.len(), "two messages to one recipient");

    let taken = ledger.by_message_id();
    let mut results: HashMap<String, i64> = HashMap::new();
    for row in &rows {
        let result = row["result"].as_str().expect("a result");
        *results.entry(result.to_owned()).or_default() += 1;
        check_row(row, result, taken.get(row["message_id"].as_str().unwrap_or_default()).copied());
    }
    let of = |names: &[&str]| -> i64 {
        names.iter().map(|name| results.get(*name).copied().unwrap_or(0)).sum()
    };
    assert_eq!(of(&["waiting"]), 0, "somebody was forgotten");
    assert_eq!(bulk["sent"], of(&["sent", "delivered", "read"]));
    assert_eq!(bulk["delivered"], of(&["delivered", "read"]));
    assert_eq!(bulk["read"], of(&["read"]));
    assert_eq!(bulk["failed"], of(&["failed"]));
    assert_eq!(bulk["in_doubt"], of(&["in_doubt"]));

    let head = head.as_str().expect("a cursor");
    let path = format!("/v1/events?cursor={head}&types=bulk_message_completed&limit=1000");
    let facts = stage.get(&path).await;
    assert_eq!(facts["events"].as_array().expect("a list").len(), 1, "it completes once");
    eprintln!(
        "{RECIPIENTS} recipients, {CRASHES} crashes, {took:.1?}: {} taken by the provider, nobody \
         twice, nobody forgotten; {results:?}; at most {in_doubt_max} in doubt after a crash",
        ledger.taken
    );
}

#[track_caller]
fn check_adds_up(bulk: &Value) {
    let of = |name: &str| bulk[name].as_i64().expect("a count");
    assert_eq!(of("sent") + of("failed") + of("in_doubt") + of("waiting"), of("total"), "{bulk}");
    assert!(of("read") <= of("delivered") && of("delivered") <= of("sent"), "{bulk}");
    assert_eq!(of("total"), RECIPIENTS as i64);
}

/// What we say of a recipient is what the provider did.
fn check_row(row: &Value, result: &str, taken: Option<&Entry>) {
    let possible: &[&str] = match taken.map(|entry| entry.outcome) {
        Some(Outcome::Read) => &["read"],
        Some(Outcome::Delivered) => &["delivered"],
        Some(Outcome::Sent) => &["sent"],
        // Failed after it was taken; a crash between the answer and its storing changes nothing.
        Some(Outcome::Failed) => &["failed"],
        // Nothing told: what is known is the answer, if it came.
        Some(Outcome::Untold) => &["sent", "in_doubt"],
        // Not taken: refused, or cut before it was, which nobody but the provider knows.
        None => &["failed", "in_doubt"],
    };
    assert!(possible.contains(&result), "{result}, and the provider has {taken:?}: {row}");
}
