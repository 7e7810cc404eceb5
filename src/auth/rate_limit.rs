//! How often one address and one caller may ask.
//!
//! A middleware around all routes: it counts a request for its client's address and, when it
//! brings a token that holds, for its caller, and says how much is left in the `RateLimit` and
//! `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers-11). Allowances refill
//! steadily (GCRA), so there is no window at whose start everybody rushes. What is over gets
//! `429` with `Retry-After`; the words around it are the API's.
//!
//! A caller is a tenant's subject, so that a fresh token brings no fresh allowance. Messages over
//! an open WebSocket are counted where they are read, in `delivery`.
//!
//! **Invariant:** memory is bounded by `rate_limits.keys_max`: the keys least asked for leave
//! first and start anew when they return, so nobody who keeps asking escapes and nobody is
//! refused for others' sake.

use std::{fmt::Write as _, hash::Hash, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{Addr, Endpoint, IntoResponse, Middleware, Request, Response, Result};
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Auth, Credentials, Token,
    client_address::{Network, client_address, limit_key},
};
use crate::{domain::ids::ClientId, metrics::RATE_LIMITED};

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Paths that are not counted: providers' webhooks are signed and come from few addresses in
/// bursts, and probes must answer when it matters most.
const UNLIMITED_PATHS: [&str; 5] =
    ["/webhooks/whatsapp", "/webhooks/waha", "/health/live", "/health/ready", "/metrics"];

/// How often one address and one caller may ask.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitSettings {
    /// Whether requests are counted at all. Default: true.
    pub enabled: bool,
    /// Requests a second that one address (IPv6: one /64) may go on making. Default: 200.
    pub per_address_per_second: u32,
    /// Requests that one address may make at once after a quiet time. Default: 400.
    pub per_address_burst: u32,
    /// Requests a second that one caller (a tenant's `sub`) may go on making. Default: 100.
    pub per_token_per_second: u32,
    /// Requests that one caller may make at once after a quiet time. Default: 200.
    pub per_token_burst: u32,
    /// Addresses, and as many callers, to keep count of; those least seen are forgotten first and
    /// start anew. Default: 100000.
    pub keys_max: usize,
    /// Reverse proxies whose `X-Forwarded-For` is believed: addresses or networks. Default: this
    /// machine's (127.0.0.0/8, ::1).
    pub trusted_proxies: Vec<Network>,
}

impl Default for RateLimitSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            per_address_per_second: 200,
            per_address_burst: 400,
            per_token_per_second: 100,
            per_token_burst: 200,
            keys_max: 100_000,
            trusted_proxies: ["127.0.0.0/8", "::1"].iter().filter_map(|s| s.parse().ok()).collect(),
        }
    }
}

/// A clock that a middleware can carry: governor's, or the one that a test moves.
pub trait RefillClock: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static {}
impl<C: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static> RefillClock for C {}

/// The middleware.
pub struct RateLimit<C: RefillClock = DefaultClock> {
    /// `None`: not counted.
    limits: Option<Arc<Limits<C>>>,
}

struct Limits<C: RefillClock> {
    auth: Arc<Auth>,
    addresses: Limiter<IpAddr, C>,
    callers: Limiter<(ClientId, String), C>,
    trusted_proxies: Vec<Network>,
}

impl RateLimit {
    pub fn new(settings: &RateLimitSettings, auth: Arc<Auth>) -> Self {
        Self::with_clock(settings, auth, &DefaultClock::default())
    }
}

impl<C: RefillClock> RateLimit<C> {
    /// With the clock by which allowances refill.
    pub fn with_clock(settings: &RateLimitSettings, auth: Arc<Auth>, clock: &C) -> Self {
        let limiter = |per_second, burst| (quota(per_second, burst), settings.keys_max, clock);
        let (address, caller) = (
            limiter(settings.per_address_per_second, settings.per_address_burst),
            limiter(settings.per_token_per_second, settings.per_token_burst),
        );
        let limits = Limits {
            auth,
            addresses: Limiter::new("address", address.0, address.1, address.2),
            callers: Limiter::new("token", caller.0, caller.1, caller.2),
            trusted_proxies: settings.trusted_proxies.clone(),
        };
        Self { limits: settings.enabled.then(|| Arc::new(limits)) }
    }
}

/// Zero has no meaning here and is refused by the configuration; it counts as one.
fn quota(per_second: u32, burst: u32) -> Quota {
    let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(positive(per_second)).allow_burst(positive(burst))
}

impl<E: Endpoint, C: RefillClock> Middleware<E> for RateLimit<C> {
    type Output = RateLimitEndpoint<E, C>;

    fn transform(&self, inner: E) -> Self::Output {
        RateLimitEndpoint { limits: self.limits.clone(), inner }
    }
}

/// What [`RateLimit`] makes of an endpoint.
pub struct RateLimitEndpoint<E, C: RefillClock = DefaultClock> {
    limits: Option<Arc<Limits<C>>>,
    inner: E,
}

impl<E: Endpoint, C: RefillClock> Endpoint for RateLimitEndpoint<E, C> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(limits) = &self.limits else { return self.answer(request).await };
        let path = request.uri().path();
        if UNLIMITED_PATHS.contains(&path) {
            return self.answer(request).await;
        }
        let counted = limits.count(&request).await;
        let mut response = match counted.over {
            None => self.inner.get_response(request).await,
            Some(wait) => too_many(wait),
        };
        let headers = response.headers_mut();
        // Both are built of our own names and numbers.
        if let (Ok(limit), Ok(policy)) =
            (HeaderValue::try_from(counted.limit), HeaderValue::try_from(counted.policy))
        {
            headers.insert(RATE_LIMIT, limit);
            headers.insert(RATE_LIMIT_POLICY, policy);
        }
        Ok(response)
    }
}

impl<E: Endpoint, C: RefillClock> RateLimitEndpoint<E, C> {
    async fn answer(&self, request: Request) -> Result<Response> {
        self.inner.call(request).await.map(IntoResponse::into_response)
    }
}

fn too_many(wait: Duration) -> Response {
    StatusCode::TOO_MANY_REQUESTS
        .with_header(header::RETRY_AFTER, whole_seconds(wait).max(1))
        .into_response()
}

/// What was counted for one request, as the header fields say it.
#[derive(Default)]
struct Counted {
    limit: String,
    policy: String,
    /// How long to wait, when it was one too many.
    over: Option<Duration>,
}

impl<C: RefillClock> Limits<C> {
    async fn count(&self, request: &Request) -> Counted {
        let mut counted = Counted::default();
        if let Addr::SocketAddr(peer) = &request.remote_addr().0 {
            let address = client_address(peer.ip(), request.headers(), &self.trusted_proxies);
            self.addresses.count(&limit_key(address), &mut counted);
        }
        // A token is looked at only when the address is within its bounds: checking costs more
        // than refusing. A ticket is spent by looking at it, so its use counts for the address.
        if counted.over.is_none()
            && let Ok(Token::Jwt(jwt)) = Credentials::of_request(request).token()
            && let Ok(identity) = self.auth.verify(jwt).await
        {
            self.callers.count(&(identity.client_id, identity.subject), &mut counted);
        }
        counted
    }
}

type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>;

/// One allowance per key.
struct Limiter<K, C: RefillClock> {
    name: &'static str,
    quota: Quota,
    buckets: Cache<K, Arc<Bucket<C>>>,
    clock: C,
}

impl<K: Eq + Hash + Clone, C: RefillClock> Limiter<K, C> {
    fn new(name: &'static str, quota: Quota, keys_max: usize, clock: &C) -> Self {
        Self { name, quota, buckets: Cache::new(keys_max), clock: clock.clone() }
    }

    /// Counts one request and adds what is left to `counted`.
    fn count(&self, key: &K, counted: &mut Counted) {
        let bucket = self.buckets.get_or_insert_with(key, || Ok::<_, ()>(self.fresh_bucket()));
        // It can't fail: making a bucket does not.
        let Ok(bucket) = bucket else { return };
        let remaining = match bucket.check() {
            Ok(state) => state.remaining_burst_capacity(),
            Err(not_until) => {
                counted.over = Some(not_until.wait_time_from(self.clock.now()));
                metrics::counter!(RATE_LIMITED, "limit" => self.name).increment(1);
                0
            }
        };
        self.describe(remaining, counted);
    }

    fn fresh_bucket(&self) -> Arc<Bucket<C>> {
        let bucket = RateLimiter::direct_with_clock(self.quota, self.clock.clone());
        Arc::new(bucket.with_middleware())
    }

    /// `q` are requests, `w` the seconds in which as many grow back, `r` what is left, `t` the
    /// seconds until all of `q` is there again.
    fn describe(&self, remaining: u32, counted: &mut Counted) {
        let burst = self.quota.burst_size().get();
        let each = self.quota.replenish_interval();
        let window_s = whole_seconds(each.saturating_mul(burst)).max(1);
        let full_s = whole_seconds(each.saturating_mul(burst.saturating_sub(remaining)));
        let separator = if counted.policy.is_empty() { "" } else { ", " };
        let name = self.name;
        // Writing to a string does not fail.
        let _ = write!(counted.policy, "{separator}\"{name}\";q={burst};w={window_s}");
        let _ = write!(counted.limit, "{separator}\"{name}\";r={remaining};t={full_s}");
    }
}

/// Rounded up, so that a client that waits as told is not early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
