//! What providers call: the WhatsApp Cloud API and WAHA.
//!
//! The raw bytes go to the gateway, which checks the signature before it reads anything; what it
//! understood goes to `ingest`. The provider hears `200` when all of it is durable, and tries
//! again for anything else: `503` with `Retry-After` when the log can't take it now.

use std::{sync::Arc, time::Duration};

use poem::Result;
use poem_openapi::{
    OpenApi,
    param::{Header, Query},
    payload::PlainText,
};
use tokio::time::Instant;

use super::{
    Deps,
    answer::Answer,
    extract::{RawBody, RawQuery},
    shapes::{Chapter, WebhookAnswer},
};
use crate::{
    gateway::{Inbound, WebhookError},
    metrics::WEBHOOKS,
    wire::problem::{Code, Problem},
};

/// A webhook that takes longer is worth a line in the log: the provider gives up on slow ones.
const SLOW: Duration = Duration::from_secs(1);

pub struct WebhooksApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Webhooks")]
impl WebhooksApi {
    /// The handshake with which Meta verifies the webhook's address.
    #[oai(path = "/webhooks/whatsapp", method = "get", operation_id = "verify_whatsapp_webhook")]
    async fn verify(
        &self,
        /// `subscribe`.
        #[oai(name = "hub.mode")]
        _mode: Query<Option<String>>,
        /// What was typed into Meta's dashboard.
        #[oai(name = "hub.verify_token")]
        _token: Query<Option<String>>,
        /// Given back as it is.
        #[oai(name = "hub.challenge")]
        _challenge: Query<Option<String>>,
        query: RawQuery,
    ) -> Result<PlainText<String>> {
        let verified = self.0.tenancy.receivers().whatsapp_cloud.verify_handshake(&query.0);
        let challenge = verified.map_err(|_| Problem::new(Code::VerificationFailed))?;
        Ok(PlainText(challenge))
    }

    /// A webhook of the WhatsApp Cloud API.
    ///
    /// Answered `200` when all of it is durable. Signed with `X-Hub-Signature-256` over the raw
    /// body.
    #[oai(path = "/webhooks/whatsapp", method = "post", operation_id = "receive_whatsapp_webhook")]
    async fn whatsapp(
        &self,
        /// `sha256=` and the HMAC-SHA256 of the body under the app's secret, hexadecimal.
        #[oai(name = "X-Hub-Signature-256")]
        signature: Header<Option<String>>,
        body: RawBody,
    ) -> Result<Answer<WebhookAnswer>> {
        let now = self.0.clock.now();
        let gateways = self.0.tenancy.receivers();
        let inbound = gateways.whatsapp_cloud.receive(signature.0.as_deref(), &body.0, now);
        self.take("whatsapp_cloud", inbound).await
    }

    /// A webhook of WAHA.
    ///
    /// Answered `200` when all of it is durable. Signed with `X-Webhook-Hmac` over the raw body.
    #[oai(path = "/webhooks/waha", method = "post", operation_id = "receive_waha_webhook")]
    async fn waha(
        &self,
        /// The HMAC-SHA512 of the body under the session's key, hexadecimal.
        #[oai(name = "X-Webhook-Hmac")]
        signature: Header<Option<String>>,
        body: RawBody,
    ) -> Result<Answer<WebhookAnswer>> {
        let now = self.0.clock.now();
        let inbound = self.0.tenancy.receivers().waha.receive(signature.0.as_deref(), &body.0, now);
        self.take("waha", inbound).await
    }
}

impl WebhooksApi {
    async fn take(
        &self,
        provider: &'static str,
        inbound: Result<Inbound, WebhookError>,
    ) -> Result<Answer<WebhookAnswer>> {
        let started = Instant::now();
        let (result, outcome) = match inbound {
            Ok(inbound) => self.store(provider, inbound).await,
            Err(error) => {
                let outcome = match error {
                    WebhookError::Unauthorized => "bad_signature",
                    WebhookError::Malformed { .. } => "malformed",
                };
                (Err(error.into()), outcome)
            }
        };
        metrics::counter!(WEBHOOKS, "provider" => provider, "outcome" => outcome).increment(1);
        if started.elapsed() > SLOW {
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::warn!(provider, elapsed_ms, "a webhook took long to be stored");
        }
        Ok(Answer(result?))
    }

    async fn store(
        &self,
        provider: &'static str,
        inbound: Inbound,
    ) -> (Result<WebhookAnswer, Problem>, &'static str) {
        if inbound.unrouted > 0 {
            let parts = inbound.unrouted;
            tracing::warn!(provider, parts, "a webhook has parts that belong to no tenant");
        }
        match self.0.ingest.take(provider, inbound).await {
            Ok(taken) => {
                let answer = WebhookAnswer {
                    stored: taken.stored as u32,
                    duplicates: taken.duplicates as u32,
                };
                (Ok(answer), "taken")
            }
            Err(error) => {
                tracing::warn!(provider, %error, "a webhook could not be stored");
                (Err(unstored(error.into())), "not_stored")
            }
        }
    }
}

/// Whatever keeps a webhook from being stored, the provider must try again: only `503` is sure to
/// make it.
fn unstored(problem: Problem) -> Problem {
    match problem.status() {
        503 => problem,
        _ => Problem::new(Code::LogUnavailable).retry_after_s(1),
    }
}
