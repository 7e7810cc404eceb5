//! Sending through a real server, against the simulated provider: what goes out, what is refused,
//! and what `kill -9` does to it.

use std::{collections::HashMap, time::Duration};

use condorito::gateway::simulator::provider::{Faults, Outcome};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    config::{mint_token, signature, webhook_body},
    provider::{Stage, json_of},
};

/// A customer writes, as the Cloud API tells it.
async fn customer_writes(stage: &Stage, customer: u64, wamid: &str) {
    let body = webhook_body(1, customer, wamid, "hola");
    let signature = signature(&body);
    let headers = [("x-hub-signature-256", signature.as_str())];
    let answer = stage.call(Method::POST, "/webhooks/whatsapp", &headers, Some(body)).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

/// The conversations of `count` customers who have written, from 1 on.
async fn customers_write(stage: &Stage, count: u64) {
    for customer in 0..count {
        let wamid = format!("wamid.in{customer}");
        customer_writes(stage, 34_600_000_100 + customer, &wamid).await;
    }
    until(stage, "/v1/conversations?limit=200", |page| {
        page["conversations"].as_array().is_some_and(|all| all.len() as u64 >= count)
    })
    .await;
}

/// Looks until it is as wanted.
async fn until(stage: &Stage, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2000 {
        let found = stage.get(path).await;
        if wanted(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} stays as it is");
}

async fn send(stage: &Stage, conversation: u64, body: &Value) -> (StatusCode, Value) {
    stage.post(&format!("/v1/conversations/{conversation}/messages"), body).await
}

/// The conversation's message with this id, once it is as wanted.
async fn message_until(
    stage: &Stage,
    conversation: u64,
    id: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let find = |page: &Value| {
        let all = page["messages"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|message| message["id"] == id)
    };
    let path = format!("/v1/conversations/{conversation}/messages?limit=200");
    let page = until(stage, &path, |page| find(page).is_some_and(|message| wanted(&message))).await;
    find(&page).expect("it was there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_out_and_its_statuses_come_back() {
    let stage = Stage::start(Faults::default(), "").await;
    customers_write(&stage, 1).await;
    let body = json!({"text": "Su pedido está listo", "client_ref": "c-1"});
    let (status, answer) = send(&stage, 1, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let queued = &answer["message"];
    assert_eq!(
        (&queued["status"], &queued["sender"], &queued["client_ref"]),
        (&json!("queued"), &json!("agent"), &json!("c-1"))
    );
    assert!(answer["cursor"].is_string());
    let id = queued["id"].as_str().expect("an id").to_owned();
    let told = |message: &Value| message["status"] == "read" || message["status"] == "delivered";
    let told = message_until(&stage, 1, &id, told).await;
    assert!(told["wa_message_id"].is_string() && told["error"].is_null(), "{told}");

    // What answers and what reacts names messages of ours and of theirs.
    let (status, answer) = send(&stage, 1, &json!({"text": "¿Sí?", "reply_to": id})).await;
    assert_eq!(
        (status, &answer["message"]["reply_to"]),
        (StatusCode::ACCEPTED, &told["wa_message_id"])
    );
    let reaction = json!({"reaction": {"message_id": id, "emoji": "👍"}});
    assert_eq!(send(&stage, 1, &reaction).await.0, StatusCode::ACCEPTED);
    let place = json!({"location": {"latitude": -33.45, "longitude": -70.66, "name": "Tienda"}});
    assert_eq!(send(&stage, 1, &place).await.0, StatusCode::ACCEPTED);
    let picture =
        json!({"type": "image", "text": "mire", "media": {"link": "https://shop.example/a.png"}});
    assert_eq!(send(&stage, 1, &picture).await.0, StatusCode::ACCEPTED);
    until(&stage, "/v1/stats", |stats| stats["stats"]["queued"] == 0).await;
    let ledger = stage.told().await;
    assert_eq!(ledger.entries.len(), 5, "{ledger:?}");
    assert!(ledger.entries.iter().all(|entry| entry.count == 1));
    let kinds: Vec<_> = ledger.entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["text", "text", "reaction", "location", "image"], "in order");
    assert_eq!(ledger.entries[0].message_id.as_deref(), Some(id.as_str()));

    // Read here is read on WhatsApp.
    let (status, _) = stage.post("/v1/conversations/1/read", &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    for _ in 0..200 {
        if stage.provider.ledger().reads > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(stage.provider.ledger().reads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_refused_with_its_reason() {
    let stage = Stage::start(Faults::default(), "").await;
    customers_write(&stage, 1).await;
    let (status, opened) = stage.post("/v1/conversations", &json!({"phone": "+34600000999"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let cold = opened["conversation"]["id"].as_u64().expect("a number");
    let at_least = opened["cursor"].as_str().expect("a cursor");
    stage.get(&format!("/v1/conversations/{cold}?at_least={at_least}")).await;

    let (status, refused) = send(&stage, cold, &json!({"text": "hola"})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("window_closed")));
    assert!(refused["detail"].as_str().expect("text").contains("template"), "{refused}");
    let templates = stage.get("/v1/templates").await;
    assert!(templates["templates"].is_array());
    let template = json!({"template": {"name": "recordatorio", "language": "es"}});
    assert_eq!(send(&stage, cold, &template).await.0, StatusCode::ACCEPTED);

    for (body, pointer) in [
        (json!({}), ""),
        (json!({"text": "a", "location": {"latitude": 1, "longitude": 1}}), "/text"),
        (json!({"text": "a", "reply_to": "nobody"}), "/reply_to"),
        (json!({"txt": "a"}), "/txt"),
        (json!({"text": "x".repeat(4097)}), "/text"),
        (json!({"media": {"link": "http://a.example/b.png"}, "type": "image"}), "/media/link"),
        (json!({"media": {"id": "m"}, "type": "image"}), "/media/id"),
        (json!({"template": {"name": "a b", "language": "es"}}), "/template/name"),
    ] {
        let (status, refused) = send(&stage, 1, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {refused}");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let (status, refused) = send(&stage, 4711, &json!({"text": "a"})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));

    // A refusal of the provider reaches the message with its code, and can be sent again.
    let (_, opened) = stage.post("/v1/conversations", &json!({"phone": "+999131026"})).await;
    let nobody = opened["conversation"]["id"].as_u64().expect("a number");
    let at_least = opened["cursor"].as_str().expect("a cursor");
    stage.get(&format!("/v1/conversations/{nobody}?at_least={at_least}")).await;
    let (status, answer) = send(&stage, nobody, &template).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let id = answer["message"]["id"].as_str().expect("an id").to_owned();
    let retry = format!("/v1/conversations/{nobody}/messages/{id}/retry");
    let failed = |message: &Value| message["status"] == "failed";
    let failed = message_until(&stage, nobody, &id, failed).await;
    assert_eq!(failed["error"]["code"], 131_026, "{failed}");
    let (status, again) = stage.post(&retry, &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{again}");
    assert_ne!(again["message"]["id"], json!(id));
    let sent = format!("/v1/conversations/1/messages/{id}/retry");
    assert_eq!(stage.post(&sent, &json!({})).await.0, StatusCode::NOT_FOUND, "of another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_is_a_client_like_others_and_gives_way_to_people() {
    let stage = Stage::start(Faults::default(), "[bot]\npause_after_person_s = 2").await;
    customers_write(&stage, 2).await;
    let bot = format!("Bearer {}", mint_token(1, Some("events:read messages:read bot:write")));
    let speak = |conversation: u64| {
        let headers = [("content-type", "application/json"), ("authorization", bot.as_str())];
        let body = json!({"text": "Soy el bot"}).to_string().into_bytes();
        let path = format!("/v1/conversations/{conversation}/messages");
        let stage = &stage;
        async move {
            let answer = stage.call_as(Method::POST, &path, &headers, Some(body)).await;
            (answer.status(), json_of(answer).await)
        }
    };
    let (status, refused) = speak(1).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("bot_not_active")));
    let headers = [("content-type", "application/json")];
    let active = json!({"status": "active"}).to_string().into_bytes();
    let answer = stage.call(Method::PUT, "/v1/bot/status", &headers, Some(active)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let (status, answer) = speak(1).await;
    assert_eq!((status, &answer["message"]["sender"]), (StatusCode::ACCEPTED, &json!("bot")));

    assert_eq!(send(&stage, 1, &json!({"text": "Le atiendo yo"})).await.0, StatusCode::ACCEPTED);
    let (status, refused) = speak(1).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("bot_paused")));
    assert_eq!(speak(2).await.0, StatusCode::ACCEPTED, "elsewhere it goes on");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(speak(1).await.0, StatusCode::ACCEPTED, "the pause is over");
}

/// Messages, and what is known of each in the end.
async fn all_messages(stage: &Stage, conversations: u64) -> HashMap<String, Value> {
    let mut all = HashMap::new();
    for conversation in 1..=conversations {
        let page = stage.get(&format!("/v1/conversations/{conversation}/messages?limit=200")).await;
        for message in page["messages"].as_array().expect("a list") {
            if message["direction"] == "outbound" {
                all.insert(message["id"].as_str().expect("an id").to_owned(), message.clone());
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_a_loop_sends_nobody_twice_and_forgets_nobody() {
    const KILLS: usize = 5;
    const PER_ROUND: usize = 40;
    const CUSTOMERS: u64 = 25;
    let seed = 20_261_125;
    let mut random = StdRng::seed_from_u64(seed);
    let outbox = "[outbox]\nmessages_per_second = 400\ncall_timeout_ms = 1500\n\
                  doubt_after_ms = 3000\n";
    let mut stage = Stage::start(Faults::default(), outbox).await;
    customers_write(&stage, CUSTOMERS).await;
    stage.provider.set_faults(Faults { error_permille: 20, ..Faults::chaos() });
    let mut number = 0;
    for _ in 0..KILLS {
        let posts = (0..PER_ROUND).map(|_| {
            number += 1;
            let conversation = random.random_range(1..=CUSTOMERS);
            let body = json!({"text": format!("mensaje {number}")});
            let stage = &stage;
            async move { send(stage, conversation, &body).await }
        });
        let posts: Vec<_> = posts.collect();
        for (status, answer) in futures_util::future::join_all(posts).await {
            assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..250))).await;
        stage.crash().await;
    }
    stage.provider.set_faults(Faults::default());
    let waits = |message: &Value| message["status"] == "queued" && message["error"].is_null();
    let mut messages = HashMap::new();
    for _ in 0..600 {
        messages = all_messages(&stage, CUSTOMERS).await;
        if !messages.values().any(waits) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(messages.len(), KILLS * PER_ROUND, "every message that was accepted is there");
    assert!(!messages.values().any(waits), "nothing waits for ever (seed {seed})");

    let ledger = stage.told().await;
    // What the last webhooks tell is read with the next look.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let messages = all_messages(&stage, CUSTOMERS).await;
    let taken = ledger.by_message_id();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (id, message) in &messages {
        let status = message["status"].as_str().expect("a status");
        *counts.entry(status.to_owned()).or_default() += 1;
        let entry = taken.get(id.as_str());
        assert!(entry.is_none_or(|entry| entry.count == 1), "{id} was sent twice (seed {seed})");
        match status {
            "sent" | "delivered" | "read" => assert!(entry.is_some(), "{id} was never sent"),
            "failed" => {
                let told = entry.is_none_or(|entry| entry.outcome == Outcome::Failed);
                assert!(told, "{id}: {message} {entry:?}");
            }
            "queued" => {
                assert_eq!(message["error"]["code"], -1, "{message}");
                let untold = entry.is_none_or(|entry| entry.outcome == Outcome::Untold);
                assert!(untold, "a status settles the doubt: {message} {entry:?}");
            }
            other => panic!("{id} is {other}"),
        }
    }
    assert_eq!(taken.len(), ledger.entries.len());
    assert!(taken.keys().all(|id| messages.contains_key(*id)), "nothing else was sent");
    eprintln!("{} messages, {KILLS} kills, {} taken: {counts:?}", messages.len(), taken.len());
}
