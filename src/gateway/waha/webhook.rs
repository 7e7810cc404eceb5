//! The way in: the signature, and which tenant's session it is.

use std::{collections::HashMap, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::{
        Inbound, WebhookError,
        json::readable,
        routes::{MAX_SECRETS, Routes, RoutesError},
    },
    event,
    payload::Envelope,
    signature::{self, HmacKey},
};
use crate::{
    domain::{ids::ClientId, time::Timestamp},
    runtime::secret::Secret,
};

/// How the installation speaks with WAHA.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WahaSettings {
    /// The key of sessions that have none of their own: WAHA's `WHATSAPP_HOOK_HMAC_KEY`.
    /// Absent (the default): each session must have one.
    pub hmac_key: Option<Secret<String>>,
    /// Where the WAHA server of sessions that name none is: `http://waha:3000`. Absent (the
    /// default): they only receive.
    pub url: Option<String>,
    /// Its API key, for the sessions that have none of their own (`X-Api-Key`).
    pub api_key: Option<Secret<String>>,
}

/// The sessions that a key speaks for.
struct Mandate {
    key: HmacKey,
    sessions: HashMap<String, ClientId>,
}

/// The receiver. One per process, shared.
pub struct Waha {
    mandates: Vec<Mandate>,
}

impl Waha {
    pub fn new(settings: &WahaSettings, routes: &Arc<Routes>) -> Result<Self, RoutesError> {
        let mut by_key: HashMap<&str, HashMap<String, ClientId>> = HashMap::new();
        for (client, session) in &routes.waha_sessions {
            let key =
                session.hmac_key.as_ref().or(settings.hmac_key.as_ref()).ok_or_else(|| {
                    RoutesError::NoKey { client: *client, session: session.name.clone() }
                })?;
            if key.expose().is_empty() {
                return Err(RoutesError::EmptyShared { kind: "WAHA hmac_key" });
            }
            let sessions = by_key.entry(key.expose()).or_default();
            if let Some(first) = sessions.insert(session.name.clone(), *client)
                && first != *client
            {
                let id = session.name.clone();
                let kind = "WAHA session";
                return Err(RoutesError::Claimed { kind, id, first, second: *client });
            }
        }
        if by_key.len() > MAX_SECRETS {
            return Err(RoutesError::TooMany { kind: "WAHA hmac_key" });
        }
        let mandates = by_key
            .into_iter()
            .map(|(key, sessions)| Mandate { key: HmacKey::new(key), sessions })
            .collect();
        Ok(Self { mandates })
    }

    /// Takes a webhook: the value of `X-Webhook-Hmac`, the body as it came, and the time at
    /// which it came (for events that tell none).
    pub fn receive(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Inbound, WebhookError> {
        let tag = signature.and_then(signature::tag).ok_or(WebhookError::Unauthorized)?;
        let mandate = self
            .mandates
            .iter()
            .find(|mandate| mandate.key.made(&tag, body))
            .ok_or(WebhookError::Unauthorized)?;
        let body = readable(body);
        let envelope: Envelope<'_> = serde_json::from_str(&body).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            WebhookError::Malformed { reason: format!("no JSON object, see {at}") }
        })?;
        let (Some(event), Some(session)) = (envelope.event.filled(), envelope.session.filled())
        else {
            let reason = "it names no event or no session".to_owned();
            return Err(WebhookError::Malformed { reason });
        };
        let mut inbound = Inbound::default();
        match mandate.sessions.get(session) {
            Some(client) => event::translate(*client, event, &envelope, now, &mut inbound),
            None => inbound.unrouted = 1,
        }
        Ok(inbound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{
        routes::{TenantRoutes, TenantRouting, WahaSession},
        waha::sign,
    };

    fn session(client: u32, name: &str, key: Option<&str>) -> TenantRouting {
        let session = WahaSession {
            name: name.to_owned(),
            hmac_key: key.map(|key| Secret::new(key.to_owned())),
            ..WahaSession::default()
        };
        TenantRouting {
            client: ClientId(client),
            routes: TenantRoutes { waha_sessions: vec![session], ..TenantRoutes::default() },
        }
    }

    fn receiver(shared: Option<&str>, sessions: &[TenantRouting]) -> Result<Waha, RoutesError> {
        let settings = WahaSettings {
            hmac_key: shared.map(|key| Secret::new(key.to_owned())),
            ..WahaSettings::default()
        };
        Waha::new(&settings, &Arc::new(Routes::new(sessions)?))
    }

    fn clients(waha: &Waha, key: &str, session: &str) -> Result<Vec<u32>, WebhookError> {
        let body = format!(r#"{{"event":"session.status","session":"{session}","payload":{{}}}}"#);
        let inbound =
            waha.receive(Some(&sign(key, body.as_bytes())), body.as_bytes(), Timestamp(1))?;
        Ok(inbound.items.iter().map(|(client, _)| client.0).collect())
    }

    #[test]
    fn sessions_of_one_name_are_told_apart_by_their_keys() {
        let sessions = [
            session(1, "default", Some("one")),
            session(2, "default", Some("two")),
            session(3, "shop", None),
        ];
        let waha = receiver(Some("shared"), &sessions).unwrap();
        assert_eq!(clients(&waha, "one", "default"), Ok(vec![1]));
        assert_eq!(clients(&waha, "two", "default"), Ok(vec![2]));
        assert_eq!(clients(&waha, "shared", "shop"), Ok(vec![3]));
        assert_eq!(clients(&waha, "shared", "default"), Ok(vec![]), "not its session");
        assert_eq!(clients(&waha, "three", "default"), Err(WebhookError::Unauthorized));
    }

    #[test]
    fn refuses_a_session_without_a_key_or_of_two_tenants() {
        let missing = receiver(None, &[session(1, "default", None)]).err().unwrap();
        assert_eq!(
            missing.to_string(),
            "tenant 1's WAHA session default has no hmac_key, and waha.hmac_key is not set"
        );
        let twice = [session(1, "a", Some("key")), session(2, "a", Some("key"))];
        let claimed = receiver(None, &twice).err().unwrap();
        assert_eq!(claimed.to_string(), "WAHA session a is given to tenant 1 and to tenant 2");
    }

    #[test]
    fn what_is_signed_and_no_event_is_malformed() {
        let waha = receiver(None, &[session(1, "default", Some("key"))]).unwrap();
        for body in ["", "[]", "7", "{}", r#"{"event":"message"}"#, r#"{"event":"message","#] {
            let signature = sign("key", body.as_bytes());
            let outcome = waha.receive(Some(&signature), body.as_bytes(), Timestamp(1));
            assert!(matches!(outcome, Err(WebhookError::Malformed { .. })), "{body}");
        }
        assert_eq!(waha.receive(None, b"{}", Timestamp(1)), Err(WebhookError::Unauthorized));
    }
}
