//! A client that follows the feed over one transport, through disconnects and restarts, and keeps
//! a ledger of all that it was given.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    ServerSentEvents,
    Polling,
}

impl Transport {
    pub const ALL: [Transport; 3] =
        [Transport::WebSocket, Transport::ServerSentEvents, Transport::Polling];
}

/// What a follower was given, in order.
#[derive(Default, Debug)]
pub struct Ledger {
    pub events: Vec<Value>,
    pub resets: usize,
    pub connections: usize,
}

impl Ledger {
    /// `(cursor, type)` of the facts.
    pub fn facts(&self) -> Vec<(String, String)> {
        const FACTS: [&str; 4] = [
            "new_message",
            "message_status_updated",
            "bulk_message_completed",
            "bulk_message_error",
        ];
        self.events
            .iter()
            .map(|event| (text(&event["id"]), text(&event["type"])))
            .filter(|(_, kind)| FACTS.contains(&kind.as_str()))
            .collect()
    }

    /// WhatsApp's ids of the new messages.
    pub fn message_keys(&self) -> Vec<String> {
        self.events
            .iter()
            .filter(|event| event["type"] == "new_message")
            .map(|event| text(&event["data"]["message"]["wa_message_id"]))
            .collect()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Follows until the task is aborted. `address` changes when the server moves.
pub async fn follow(
    transport: Transport,
    address: watch::Receiver<SocketAddr>,
    token: String,
    start: String,
    ledger: Arc<Mutex<Ledger>>,
) {
    let client = reqwest::Client::new();
    let mut cursor = start;
    loop {
        let at = *address.borrow();
        ledger.lock().connections += 1;
        // However a connection ends, the next one goes on from the cursor.
        let _: Option<()> = match transport {
            Transport::WebSocket => over_websocket(at, &token, &mut cursor, &ledger).await,
            Transport::ServerSentEvents => {
                over_sse(&client, at, &token, &mut cursor, &ledger).await
            }
            Transport::Polling => over_polling(&client, at, &token, &mut cursor, &ledger).await,
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn take(frame: Value, cursor: &mut String, ledger: &Mutex<Ledger>) {
    if let Some(id) = frame["id"].as_str() {
        *cursor = id.to_owned();
        ledger.lock().events.push(frame);
    } else if frame["type"] == "reset" {
        *cursor = text(&frame["data"]["cursor"]);
        ledger.lock().resets += 1;
    }
}

async fn over_websocket(
    at: SocketAddr,
    token: &str,
    cursor: &mut String,
    ledger: &Mutex<Ledger>,
) -> Option<()> {
    let mut request =
        format!("ws://{at}/v1/ws?cursor={cursor}").into_client_request().expect("a request");
    let bearer = format!("Bearer {token}").parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(frame) = message {
            take(serde_json::from_str(&frame).expect("JSON"), cursor, ledger);
        }
    }
    None
}

async fn over_sse(
    client: &reqwest::Client,
    at: SocketAddr,
    token: &str,
    cursor: &mut String,
    ledger: &Mutex<Ledger>,
) -> Option<()> {
    let answer = client
        .get(format!("http://{at}/v1/events/stream"))
        .header("last-event-id", cursor.as_str())
        .bearer_auth(token)
        .send()
        .await
        .ok()?;
    let mut bytes = answer.bytes_stream();
    let mut unread = Vec::new();
    while let Some(Ok(part)) = bytes.next().await {
        unread.extend_from_slice(&part);
        while let Some(end) = memchr::memmem::find(&unread, b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("UTF-8");
            let data: Vec<&str> =
                block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            if !data.is_empty() {
                take(serde_json::from_str(&data.join("\n")).expect("JSON"), cursor, ledger);
            }
        }
    }
    None
}

async fn over_polling(
    client: &reqwest::Client,
    at: SocketAddr,
    token: &str,
    cursor: &mut String,
    ledger: &Mutex<Ledger>,
) -> Option<()> {
    loop {
        let url = format!("http://{at}/v1/events?cursor={cursor}&wait=5&limit=500");
        let answer = client.get(url).bearer_auth(token).send().await.ok()?;
        let gone = answer.status() == 410;
        let body: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        if gone {
            *cursor = text(&body["cursor"]);
            ledger.lock().resets += 1;
            continue;
        }
        for event in body["events"].as_array()? {
            take(event.clone(), cursor, ledger);
        }
        *cursor = text(&body["cursor"]);
    }
}
