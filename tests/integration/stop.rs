//! SIGTERM: clients are told, the process ends within its bound, and the cursor goes on after it.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    follower::text,
    server::ServerProcess,
    server_binary,
    webhook::post_webhook,
};

async fn socket(
    server: &ServerProcess,
    query: &str,
) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    let url = format!("ws://{}/v1/ws{query}", server.address);
    let mut request = url.into_client_request().expect("a request");
    let bearer = format!("Bearer {}", mint_token(1, None)).parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    tokio_tungstenite::connect_async(request).await.expect("connected").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_the_clients_and_their_cursor_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let config =
        TestConfig { more: "[delivery]\ndrain_spread_ms = 500".into(), ..Default::default() }
            .write(folder.path());
    let server = ServerProcess::start(&server_binary(), &config, None);
    let mut client = socket(&server, "").await;
    let Some(Ok(Message::Text(hello))) = client.next().await else { panic!("no hello") };
    let hello: Value = serde_json::from_str(&hello).expect("JSON");
    let cursor = text(&hello["data"]["cursor"]);

    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(move || server.terminate(Duration::from_secs(20)));
    let (mut told, mut code) = (false, None);
    while let Some(Ok(message)) = client.next().await {
        match message {
            Message::Text(frame) => {
                let frame: Value = serde_json::from_str(&frame).expect("JSON");
                if frame["type"] == "draining" {
                    told = frame["data"]["reconnect_after_ms"].is_u64();
                }
            }
            Message::Close(Some(frame)) => code = Some(u16::from(frame.code)),
            _ => {}
        }
    }
    assert!(told, "the client was not told");
    assert_eq!(code, Some(1001));
    assert!(ended.await.expect("waited"), "the server did not end by itself");
    assert!(began.elapsed() < Duration::from_secs(15));

    let server = ServerProcess::start(&server_binary(), &config, None);
    let body = webhook_body(1, 5_694_000_000, "wamid.afterwards", "hola de nuevo");
    post_webhook(&reqwest::Client::new(), &server.base(), body).await;
    let mut client = socket(&server, &format!("?cursor={cursor}&types=new_message")).await;
    let found = async {
        while let Some(Ok(message)) = client.next().await {
            let Message::Text(frame) = message else { continue };
            let frame: Value = serde_json::from_str(&frame).expect("JSON");
            assert_ne!(frame["type"], "reset", "the cursor was lost");
            if frame["type"] == "new_message" {
                return text(&frame["data"]["message"]["text"]);
            }
        }
        String::new()
    };
    let found = tokio::time::timeout(Duration::from_secs(10), found).await;
    assert_eq!(found.expect("an event in time"), "hola de nuevo");
}
