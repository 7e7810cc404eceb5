//! Counting requests, with governor's own clock for tests.

use std::time::Duration;

use governor::clock::FakeRelativeClock;
use poem::{
    Addr, Endpoint, EndpointExt, Request, RequestParts, Response,
    endpoint::make_sync,
    web::{LocalAddr, RemoteAddr},
};

use super::{forge::*, *};
use crate::auth::rate_limit::{RateLimit, RateLimitSettings};

fn tight() -> RateLimitSettings {
    RateLimitSettings {
        per_address_per_second: 1,
        per_address_burst: 3,
        per_token_per_second: 1,
        per_token_burst: 2,
        ..RateLimitSettings::default()
    }
}

struct Limited {
    app: poem::endpoint::BoxEndpoint<'static, Response>,
    clock: FakeRelativeClock,
}

impl Limited {
    async fn by(settings: RateLimitSettings) -> Self {
        let (auth, _) = auth_with(with_secret()).await;
        let clock = FakeRelativeClock::default();
        let limit = RateLimit::with_clock(&settings, auth, &clock);
        Self { app: make_sync(|_| "ok").with(limit).map_to_response().boxed(), clock }
    }

    async fn ask(&self, path: &str, from: &str, bearer: Option<&str>) -> Response {
        let mut request = http::Request::builder().uri(path);
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let peer: std::net::SocketAddr = format!("{from}:4711").parse().unwrap();
        let local = LocalAddr(Addr::SocketAddr(peer));
        let peer = RemoteAddr(Addr::SocketAddr(peer));
        let parts = RequestParts::from((parts, local, peer, http::uri::Scheme::HTTP));
        let request = Request::from_parts(parts, poem::Body::empty());
        self.app.get_response(request).await
    }

    async fn statuses(
        &self,
        path: &str,
        from: &str,
        bearer: Option<&str>,
        times: usize,
    ) -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..times {
            statuses.push(self.ask(path, from, bearer).await.status().as_u16());
        }
        statuses
    }
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn good_token(subject: &str) -> String {
    let claims = claims_with("sub", json!(subject));
    token(&json!({ "alg": "HS256" }), &claims, hs256(SECRET))
}

#[tokio::test]
async fn an_address_has_its_burst_and_then_its_rate() {
    let limited = Limited::by(tight()).await;
    let first = limited.ask("/v1/stats", "203.0.113.1", None).await;
    assert_eq!(field(&first, "ratelimit-policy"), "\"address\";q=3;w=3");
    assert_eq!(field(&first, "ratelimit"), "\"address\";r=2;t=1");
    assert_eq!(limited.statuses("/v1/stats", "203.0.113.1", None, 3).await, [200, 200, 429]);
    let over = limited.ask("/v1/stats", "203.0.113.1", None).await;
    assert_eq!(field(&over, "retry-after"), "1");
    assert_eq!(field(&over, "ratelimit"), "\"address\";r=0;t=3");
    assert_eq!(limited.statuses("/v1/stats", "203.0.113.2", None, 1).await, [200], "another's");
    limited.clock.advance(Duration::from_millis(1_000));
    assert_eq!(limited.statuses("/v1/stats", "203.0.113.1", None, 2).await, [200, 429]);
}

#[tokio::test]
async fn a_caller_has_one_allowance_over_all_tokens_and_addresses() {
    let limited = Limited::by(tight()).await;
    let (one, other) = (good_token("agent-1"), good_token("agent-2"));
    let first = limited.ask("/v1/stats", "203.0.113.1", Some(&one)).await;
    assert_eq!(field(&first, "ratelimit-policy"), "\"address\";q=3;w=3, \"token\";q=2;w=2");
    assert_eq!(field(&first, "ratelimit"), "\"address\";r=2;t=1, \"token\";r=1;t=1");
    let renewed = token(
        &json!({ "alg": "HS256", "kid": "renewed" }),
        &claims_with("sub", json!("agent-1")),
        hs256(SECRET),
    );
    assert_eq!(limited.statuses("/", "203.0.113.2", Some(&renewed), 2).await, [200, 429]);
    assert_eq!(limited.statuses("/", "203.0.113.3", Some(&other), 1).await, [200]);
}

#[tokio::test]
async fn a_forged_token_spends_nobodys_allowance() {
    let limited = Limited::by(tight()).await;
    let forged = token(
        &json!({ "alg": "HS256" }),
        &claims_with("sub", json!("agent-1")),
        hs256("not the secret, and long enough to be one"),
    );
    assert_eq!(limited.statuses("/", "203.0.113.1", Some(&forged), 4).await, [200, 200, 200, 429]);
    let good = good_token("agent-1");
    assert_eq!(limited.statuses("/", "203.0.113.2", Some(&good), 2).await, [200, 200]);
}

#[tokio::test]
async fn webhooks_and_probes_are_not_counted() {
    let limited = Limited::by(tight()).await;
    for path in ["/webhooks/whatsapp", "/health/ready", "/metrics"] {
        assert_eq!(limited.statuses(path, "203.0.113.1", None, 5).await, [200; 5], "{path}");
    }
    for (path, address) in [
        ("/webhooks", "203.0.113.1"),
        ("/webhooks/other", "203.0.113.2"),
        ("/health/other", "203.0.113.3"),
        ("/metrics-not", "203.0.113.4"),
    ] {
        assert_eq!(limited.statuses(path, address, None, 4).await, [200, 200, 200, 429], "{path}");
    }
}

#[tokio::test]
async fn memory_is_bounded_and_who_keeps_asking_stays_limited() {
    let settings = RateLimitSettings { keys_max: 8, ..tight() };
    let limited = Limited::by(settings).await;
    assert_eq!(limited.statuses("/", "203.0.113.1", None, 4).await, [200, 200, 200, 429]);
    let mut statuses = Vec::new();
    for other in 0..200 {
        limited.ask("/", &format!("198.51.100.{other}"), None).await;
        statuses.extend(limited.statuses("/", "203.0.113.1", None, 1).await);
    }
    assert_eq!(statuses, [429; 200]);
}

#[tokio::test]
async fn can_be_turned_off() {
    let limited = Limited::by(RateLimitSettings { enabled: false, ..tight() }).await;
    assert_eq!(limited.statuses("/", "203.0.113.1", None, 6).await, [200; 6]);
}
