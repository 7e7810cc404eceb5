//! A bot: follows the feed over Server-Sent Events and answers.
//!
//! ```sh
//! condorito token --client-id 1 --scope "events:read messages:read bot:write"
//! cargo run --example bot -- http://127.0.0.1:8080 "$TOKEN"
//! ```
//!
//! Its token has `bot:write` and not `messages:write`: so what it sends is the bot's. The server
//! holds it back where it may not speak (409): while it is switched off, and where a person of the
//! company has answered. What it answers is under an `Idempotency-Key` made of the message's id, so
//! that a message that it sees twice, after a reconnect or a restart, is answered once.

use std::{env, time::Duration};

use futures_util::StreamExt;
use reqwest::{Client, Method, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};

struct Bot {
    http: Client,
    url: String,
    token: String,
}

impl Bot {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: Value,
    ) -> reqwest::Result<Response> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(&self.token).header(CONTENT_TYPE, "application/json");
        request.header("Idempotency-Key", key).body(body.to_string()).send().await
    }

    /// Follows from after `cursor` until the connection ends; `cursor` moves on with it.
    async fn follow(&self, cursor: &mut String) -> reqwest::Result<()> {
        let request = self.http.get(format!("{}/v1/events/stream?types=new_message", self.url));
        let request = request.bearer_auth(&self.token).header("Last-Event-ID", cursor.as_str());
        let mut bytes = request.send().await?.error_for_status()?.bytes_stream();
        let mut unread = Vec::new();
        while let Some(part) = bytes.next().await {
            unread.extend_from_slice(&part?);
            while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = unread.drain(..end + 2).collect();
                self.take(&String::from_utf8_lossy(&block), cursor).await?;
            }
        }
        Ok(())
    }

    async fn take(&self, block: &str, cursor: &mut String) -> reqwest::Result<()> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let Some(data) = field("data: ") {
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            let (message, conversation) =
                (&event["data"]["message"], &event["data"]["conversation"]);
            let is_for_us =
                message["direction"] == "inbound" && conversation["bot_enabled"] == true;
            if event["type"] == "new_message" && is_for_us {
                self.answer(message).await?;
            }
        }
        // After the answer: who crashes in between sees the message again.
        if let Some(id) = field("id: ") {
            *cursor = id.to_owned();
        }
        Ok(())
    }

    async fn answer(&self, message: &Value) -> reqwest::Result<()> {
        let text = match message["text"].as_str().unwrap_or_default().to_lowercase() {
            asked if asked.contains("hora") => "Atendemos de 9 a 18 horas.",
            asked if asked.contains("precio") => {
                "Los precios están en https://shop.example/precios"
            }
            _ => "Gracias por escribirnos. Una persona le responderá enseguida.",
        };
        let path = format!("/v1/conversations/{}/messages", message["conversation_id"]);
        let key = format!("bot-{}", message["id"].as_str().unwrap_or_default());
        let answer = self.ask(Method::POST, &path, &key, json!({"text": text})).await?;
        eprintln!("conversation {}: {}", message["conversation_id"], answer.status());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        return Err("give the server's address and a token".into());
    };
    let bot = Bot { http: Client::new(), url, token };
    let started = format!("bot-start-{}", std::process::id());
    let active = json!({"status": "active"});
    bot.ask(Method::PUT, "/v1/bot/status", &started, active).await?.error_for_status()?;
    let mut cursor = String::new();
    loop {
        if let Err(error) = bot.follow(&mut cursor).await {
            eprintln!("the connection ended: {error}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
