//! Forgeries, confusions and rotations, each against a whole [`Auth`].

mod forge;
mod jwks;
mod rate_limit;
mod tokens;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::runtime::clock::ManualClock;

const NOW: Timestamp = Timestamp(1_795_515_330_000);
const NOW_S: i64 = NOW.0 / 1000;
const SECRET: &str = "a secret of more than thirty-two bytes";

/// An `Auth` of these settings at [`NOW`], and its clock. Its background task ends with the test.
async fn auth_with(settings: AuthSettings) -> (Arc<Auth>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(NOW));
    let auth = Auth::start(&settings, clock.clone(), &Shutdown::new()).await.unwrap();
    (auth, clock)
}

fn with_secret() -> AuthSettings {
    AuthSettings {
        secret: Some(crate::runtime::secret::Secret::new(SECRET.to_owned())),
        leeway_s: 0,
        ..AuthSettings::default()
    }
}

/// Claims that hold for an hour.
fn claims() -> Value {
    json!({
        "sub": "agent-1",
        "client_id": 7,
        "scope": "events:read messages:read",
        "exp": NOW_S + 3600,
    })
}

fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn identity() -> Identity {
    Identity {
        subject: "agent-1".to_owned(),
        client_id: ClientId(7),
        scopes: Scopes::EVENTS_READ.with(Scopes::MESSAGES_READ),
        expires_at: NOW.plus_ms(3_600_000),
    }
}
