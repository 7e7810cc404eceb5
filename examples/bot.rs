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
//! that a message that it sees twice, after a reconnect, is answered once.

use std::{env, time::Duration};

use futures_util::StreamExt;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

struct Bot {
    http: Client,
    url: String,
    token: String,
}

impl Bot {
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    fn write(&self, method: Method, path: &str, body: Value) -> RequestBuilder {
        let request = self.ask(method, path).header("content-type", "application/json");
        request.body(body.to_string())
    }

    /// Follows from after `cursor` until the connection ends; `cursor` moves on with it.
    async fn follow(&self, cursor: &mut String) -> reqwest::Result<()> {
        let request = self.ask(Method::GET, "/v1/events/stream?types=new_message");
        let answer = request.header("last-event-id", cursor.as_str()).send().await?;
        let mut bytes = answer.error_for_status()?.bytes_stream();
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
        let event: Value =
            serde_json::from_str(field("data: ").unwrap_or("{}")).unwrap_or_default();
        let data = &event["data"];
        let is_new = event["type"] == "new_message" && data["message"]["direction"] == "inbound";
        if is_new && data["conversation"]["bot_enabled"] == true {
            self.answer(&data["message"]).await?;
        }
        // After the answer: should the connection end before, the message is seen again.
        if let Some(id) = field("id: ") {
            id.clone_into(cursor);
        }
        Ok(())
    }

    async fn answer(&self, message: &Value) -> reqwest::Result<()> {
        let text = match message["text"].as_str().unwrap_or_default().to_lowercase() {
            asked if asked.contains("hora") => "Atendemos de 9 a 18 horas.",
            asked if asked.contains("precio") => "Los precios: https://shop.example/precios",
            _ => "Gracias por escribirnos. Una persona le responderá enseguida.",
        };
        let path = format!("/v1/conversations/{}/messages", message["conversation_id"]);
        let key = format!("bot-{}", message["id"].as_str().unwrap_or_default());
        let request = self.write(Method::POST, &path, json!({"text": text}));
        let answer = request.header("idempotency-key", key).send().await?;
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
    let active = bot.write(Method::PUT, "/v1/bot/status", json!({"status": "active"}));
    active.send().await?.error_for_status()?;
    let mut cursor = String::new();
    loop {
        if let Err(error) = bot.follow(&mut cursor).await {
            eprintln!("the connection ended: {error}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
