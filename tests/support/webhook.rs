//! Posting signed webhooks as Meta does.

use reqwest::{Client, Response};

use super::config::signature;

/// Posts a Cloud API webhook with its signature, and answers whatever came of it.
pub async fn try_post_webhook(
    client: &Client,
    base: &str,
    body: Vec<u8>,
) -> reqwest::Result<Response> {
    client
        .post(format!("{base}/webhooks/whatsapp"))
        .header("x-hub-signature-256", signature(&body))
        .body(body)
        .send()
        .await
}

/// The same for one that must be taken.
pub async fn post_webhook(client: &Client, base: &str, body: Vec<u8>) {
    let answer = try_post_webhook(client, base, body).await.expect("answered");
    assert_eq!(answer.status(), 200);
}
