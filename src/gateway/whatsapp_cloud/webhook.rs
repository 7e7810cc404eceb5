//! The way in: the handshake, the signature, and which part is for which tenant.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq;

use super::{
    super::{
        Inbound, WebhookError,
        json::{read, readable},
        routes::{MAX_SECRETS, Routes, RoutesError},
    },
    payload::{Change, Entry, Envelope, Value},
    signature::{self, AppSecret},
    translate::{Scope, translate, translate_unreadable},
};
use crate::{
    domain::{ids::ClientId, time::Timestamp},
    runtime::secret::Secret,
};

/// The `object` of all webhooks of this API.
const OBJECT: &str = "whatsapp_business_account";
/// Meta's challenges are some ten digits.
const MAX_CHALLENGE_BYTES: usize = 256;

/// How the installation speaks with Meta.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhatsAppCloudSettings {
    /// Where the Graph API is (default `https://graph.facebook.com`).
    pub graph_url: String,
    /// Its version (default `v24.0`).
    pub graph_version: String,
    /// Token of a system user, for the tenants that have none of their own. Absent (the default):
    /// they send nothing through the Cloud API.
    pub access_token: Option<Secret<String>>,
    /// The verify token that was typed into Meta's App Dashboard. Absent (the default): the
    /// handshake is refused.
    pub verify_token: Option<Secret<String>>,
    /// Secrets of the installation's Meta app. Several while one is being replaced, or with
    /// several apps. They speak for the tenants that have no `app_secrets` of their own.
    pub app_secrets: Vec<Secret<String>>,
}

impl Default for WhatsAppCloudSettings {
    fn default() -> Self {
        Self {
            graph_url: "https://graph.facebook.com".to_owned(),
            graph_version: "v24.0".to_owned(),
            access_token: None,
            verify_token: None,
            app_secrets: Vec::new(),
        }
    }
}

/// The verification request is none, or does not know the verify token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verify token is missing or wrong")]
pub struct HandshakeRefused;

/// Whom a secret speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mandate {
    /// The tenants without an app of their own.
    Shared,
    Tenants(Vec<ClientId>),
}

/// The receiver. One per process, shared.
pub struct WhatsAppCloud {
    verify_token: Option<Secret<String>>,
    secrets: Vec<(AppSecret, Mandate)>,
    routes: Arc<Routes>,
}

impl WhatsAppCloud {
    pub fn new(settings: &WhatsAppCloudSettings, routes: Arc<Routes>) -> Result<Self, RoutesError> {
        let mut mandates: Vec<(&str, Mandate)> = Vec::new();
        for secret in &settings.app_secrets {
            if secret.expose().is_empty() {
                return Err(RoutesError::EmptyShared { kind: "app secret" });
            }
            mandates.push((secret.expose(), Mandate::Shared));
        }
        for (client, secret) in &routes.app_secrets {
            let known = mandates.iter_mut().find_map(|(known, mandate)| match mandate {
                Mandate::Tenants(clients) if *known == secret.expose() => Some(clients),
                _ => None,
            });
            match known {
                Some(clients) => clients.push(*client),
                None => mandates.push((secret.expose(), Mandate::Tenants(vec![*client]))),
            }
        }
        if mandates.len() > MAX_SECRETS {
            return Err(RoutesError::TooMany { kind: "app secret" });
        }
        let secrets = mandates
            .into_iter()
            .map(|(secret, mandate)| (AppSecret::new(secret), mandate))
            .collect();
        Ok(Self { verify_token: settings.verify_token.clone(), secrets, routes })
    }

    /// Answers Meta's verification request, given the URL's query: the challenge to send back as
    /// plain text, or a refusal (403).
    pub fn verify_handshake(&self, query: &str) -> Result<String, HandshakeRefused> {
        let parameter = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
                .unwrap_or_default()
        };
        let expected = self.verify_token.as_ref().ok_or(HandshakeRefused)?.expose();
        let known: bool =
            expected.as_bytes().ct_eq(parameter("hub.verify_token").as_bytes()).into();
        let challenge = parameter("hub.challenge");
        let sound = !challenge.is_empty() && challenge.len() <= MAX_CHALLENGE_BYTES;
        if known && sound && !expected.is_empty() && parameter("hub.mode") == "subscribe" {
            Ok(challenge)
        } else {
            Err(HandshakeRefused)
        }
    }

    /// Takes a webhook: the value of `X-Hub-Signature-256`, the body as it came, and the time at
    /// which it came (for parts that tell none).
    pub fn receive(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Inbound, WebhookError> {
        let mandates = self.verified(signature, body)?;
        let body = readable(body);
        let envelope: Envelope<'_> = serde_json::from_str(&body).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            WebhookError::Malformed { reason: format!("no JSON object, see {at}") }
        })?;
        if !envelope.object.is(OBJECT) {
            return Err(WebhookError::Malformed { reason: format!("its object is not {OBJECT}") });
        }
        let mut inbound = Inbound::default();
        for entry in &envelope.entry.0 {
            self.take_entry(entry, &mandates, now, &mut inbound);
        }
        Ok(inbound)
    }

    /// The mandates of the secrets that made this signature.
    fn verified(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Vec<&Mandate>, WebhookError> {
        let tag = signature.and_then(signature::tag).ok_or(WebhookError::Unauthorized)?;
        let mut mandates = Vec::with_capacity(1);
        for (index, (secret, mandate)) in self.secrets.iter().enumerate() {
            if secret.made(&tag, body) {
                mandates.push(mandate);
                // The same secret may stand in the installation's list and in a tenant's.
                let same = |(other, _): &&(AppSecret, Mandate)| other.made(&tag, body);
                mandates.extend(self.secrets[index + 1..].iter().filter(same).map(|(_, m)| m));
                return Ok(mandates);
            }
        }
        Err(WebhookError::Unauthorized)
    }

    fn may_speak_for(&self, mandates: &[&Mandate], client: ClientId) -> bool {
        mandates.iter().any(|mandate| match mandate {
            Mandate::Shared => !self.routes.own_app.contains(&client),
            Mandate::Tenants(clients) => clients.contains(&client),
        })
    }

    fn take_entry(
        &self,
        raw: &RawValue,
        mandates: &[&Mandate],
        now: Timestamp,
        inbound: &mut Inbound,
    ) {
        let Some(entry) = read::<Entry<'_>>(raw) else {
            inbound.unrouted += 1;
            return;
        };
        let of_account = entry
            .id
            .filled()
            .and_then(|id| self.routes.of_account(id))
            .filter(|client| self.may_speak_for(mandates, *client));
        let time = entry.time.as_time(now);
        for raw in &entry.changes.0 {
            let Some(change) = read::<Change<'_>>(raw) else {
                match of_account {
                    Some(client) => translate_unreadable(client, "change", raw, inbound),
                    None => inbound.unrouted += 1,
                }
                continue;
            };
            let value = read::<Value<'_>>(change.value).unwrap_or_default();
            let metadata = value.metadata();
            // A number that nobody claims is its account's: one that was added at Meta and not
            // here yet must not lose messages.
            let number = metadata.phone_number_id.filled();
            let client = match number.and_then(|number| self.routes.of_number(number)) {
                Some(client) => Some(client).filter(|c| self.may_speak_for(mandates, *c)),
                None => of_account,
            };
            let Some(client) = client else {
                inbound.unrouted += 1;
                continue;
            };
            let business = metadata.display_phone_number.filled();
            let scope = Scope { client, business_number: business, time };
            translate(
                &scope,
                change.field.filled().unwrap_or_default(),
                &value,
                change.value,
                inbound,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{
        routes::{TenantRoutes, TenantRouting},
        whatsapp_cloud::sign,
    };

    const NOW: Timestamp = Timestamp(1_795_515_330_000);

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn tenant(client: u32, number: &str, app_secrets: &[&str]) -> TenantRouting {
        TenantRouting {
            client: ClientId(client),
            routes: TenantRoutes {
                phone_number_ids: vec![number.to_owned()],
                app_secrets: app_secrets.iter().map(|text| secret(text)).collect(),
                ..TenantRoutes::default()
            },
        }
    }

    /// Tenants 1 and 2 through the installation's app, which is changing its secret; 3 and 4
    /// through one of their own.
    fn receiver() -> WhatsAppCloud {
        let routes = Routes::new(&[
            tenant(1, "101", &[]),
            tenant(2, "102", &[]),
            tenant(3, "103", &["theirs"]),
            tenant(4, "104", &["theirs"]),
        ])
        .unwrap();
        let settings = WhatsAppCloudSettings {
            verify_token: Some(secret("token")),
            app_secrets: vec![secret("old"), secret("new")],
            ..WhatsAppCloudSettings::default()
        };
        WhatsAppCloud::new(&settings, Arc::new(routes)).unwrap()
    }

    fn body_for(numbers: &[&str]) -> Vec<u8> {
        let changes: Vec<_> = numbers
            .iter()
            .map(|number| {
                serde_json::json!({"field": "messages", "value": {
                    "metadata": {"phone_number_id": number},
                    "messages": [{"from": "573001234567", "id": "wamid.1", "type": "text",
                                  "timestamp": "1748454394", "text": {"body": "Hola"}}]}})
            })
            .collect();
        serde_json::to_vec(&serde_json::json!({
            "object": OBJECT, "entry": [{"id": "1", "changes": changes}]}))
        .unwrap()
    }

    fn clients(signed_with: &str, numbers: &[&str]) -> (Vec<u32>, usize) {
        let body = body_for(numbers);
        let inbound = receiver().receive(Some(&sign(signed_with, &body)), &body, NOW).unwrap();
        (inbound.items.iter().map(|(client, _)| client.0).collect(), inbound.unrouted)
    }

    #[test]
    fn each_of_the_installations_secrets_speaks_for_tenants_without_an_app() {
        assert_eq!(clients("old", &["101", "102"]), (vec![1, 2], 0));
        assert_eq!(clients("new", &["102", "999"]), (vec![2], 1));
    }

    #[test]
    fn a_secret_speaks_for_nobody_else() {
        assert_eq!(clients("theirs", &["103", "101", "104"]), (vec![3, 4], 1));
        assert_eq!(clients("new", &["103"]), (vec![], 1));
    }

    #[test]
    fn a_wrong_signature_is_turned_away() {
        let body = body_for(&["101"]);
        let tampered = String::from_utf8(body.clone()).unwrap().replace("Hola", "Hole");
        let header = sign("new", &body);
        for signature in [None, Some(""), Some("sha256="), Some(sign("nobody", &body).as_str())] {
            assert_eq!(receiver().receive(signature, &body, NOW), Err(WebhookError::Unauthorized));
        }
        let outcome = receiver().receive(Some(&header), tampered.as_bytes(), NOW);
        assert_eq!(outcome, Err(WebhookError::Unauthorized));
    }

    #[test]
    fn what_is_signed_and_no_webhook_is_malformed() {
        let whole = body_for(&["101"]);
        let cut = &whole[..whole.len() - 9];
        let other = br#"{"object":"instagram","entry":[]}"#;
        for body in [cut, b"", b"[]", b"7", b"{}", other.as_slice(), b"{\"object\":"] {
            let outcome = receiver().receive(Some(&sign("new", body)), body, NOW);
            assert!(matches!(outcome, Err(WebhookError::Malformed { .. })), "{outcome:?}");
        }
    }

    #[test]
    fn the_handshake_wants_the_token() {
        let receiver = receiver();
        let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=token";
        assert_eq!(receiver.verify_handshake(query).as_deref(), Ok("1158201444"));
        for wrong in [
            "",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=Token",
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=subscribe&hub.verify_token=token",
            "hub.mode=other&hub.challenge=1&hub.verify_token=token",
        ] {
            assert_eq!(receiver.verify_handshake(wrong), Err(HandshakeRefused), "{wrong}");
        }
        let routes = Arc::new(Routes::default());
        let unset = WhatsAppCloud::new(&WhatsAppCloudSettings::default(), routes).unwrap();
        let empty = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=";
        assert_eq!(unset.verify_handshake(empty), Err(HandshakeRefused));
    }
}
