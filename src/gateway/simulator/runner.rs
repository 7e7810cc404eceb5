//! Plays the story against a running server, over HTTP, as the providers and an agent would.
//!
//! A step that the server can't take now (it is not there, or says 429 or 5xx) is kept and tried
//! again, waiting longer each time; providers do the same, and the server knows repetitions. One
//! that it refuses is left out. The task ends when the server begins to drain.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    payloads,
    story::{Names, Step, Story},
};
use crate::runtime::{backoff::Backoff, clock::Clock, secret::Secret, shutdown::Shutdown};

/// More than a screen can show, and enough to see a server work.
pub const MAX_EVENTS_PER_MINUTE: u32 = 60_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// How lively the demo is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatorSettings {
    /// Events a minute, on average (default 60, at least 1, at most 60,000; outside of that the
    /// bound is taken).
    pub events_per_minute: u32,
    /// Draws the day (default 1): the same seed plays the same day.
    pub seed: u64,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self { events_per_minute: 60, seed: 1 }
    }
}

/// Makes a fresh token that may switch the demo tenant's bot (`bot:write`).
pub type MintToken = Arc<dyn Fn() -> Secret<String> + Send + Sync>;

/// Where the demo is played, and as whom.
#[derive(Clone)]
pub struct Target {
    /// The server's own address, such as `http://127.0.0.1:8080`.
    pub base_url: String,
    pub names: Names,
    pub app_secret: Secret<String>,
    pub waha_hmac_key: Secret<String>,
    pub mint_token: MintToken,
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the simulator has no HTTP client")]
pub struct SimulatorError(#[from] reqwest::Error);

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    /// The server refuses it, now and later.
    Refused(u16),
    /// Not now.
    Later,
}

/// Plays until the server drains.
pub async fn run(
    target: Target,
    settings: SimulatorSettings,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) -> Result<(), SimulatorError> {
    let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build()?;
    let mut pace = Pace::new(&settings);
    let mut story = Story::new(settings.seed, target.names.clone(), clock.now());
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    tracing::info!(
        events_per_minute = pace.events_per_minute,
        seed = settings.seed,
        "the demo begins"
    );
    let play = async {
        loop {
            tokio::time::sleep(pace.next_gap()).await;
            let step = story.next(clock.now());
            play_step(&client, &target, &step, &mut backoff).await;
        }
    };
    tokio::select! {
        () = play => {}
        () = shutdown.draining.cancelled() => tracing::info!("the demo ends"),
    }
    Ok(())
}

/// Sends a step until it is taken or refused.
async fn play_step(client: &reqwest::Client, target: &Target, step: &Step, backoff: &mut Backoff) {
    let mut said = false;
    loop {
        match send(client, target, step).await {
            Sent::Taken => return backoff.reset(),
            Sent::Refused(status) => {
                tracing::warn!(status, "the server refuses an event of the demo");
                return backoff.reset();
            }
            Sent::Later => {}
        }
        if !said {
            tracing::info!("the server can't take the demo's events now; trying again");
            said = true;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn send(client: &reqwest::Client, target: &Target, step: &Step) -> Sent {
    let url = |path: &str| format!("{}{path}", target.base_url.trim_end_matches('/'));
    let request = match step {
        Step::Cloud(body) => client
            .post(url("/webhooks/whatsapp"))
            .header("x-hub-signature-256", payloads::sign(target.app_secret.expose(), body))
            .body(body.clone()),
        Step::Waha(body) => client
            .post(url("/webhooks/waha"))
            .header("x-webhook-hmac", payloads::sign_waha(target.waha_hmac_key.expose(), body))
            .header("x-webhook-hmac-algorithm", "sha512")
            .body(body.clone()),
        Step::Bot { status, reason } => client
            .put(url("/v1/bot/status"))
            .bearer_auth((target.mint_token)().expose())
            .body(json!({"status": status, "reason": reason}).to_string()),
    };
    let outcome = request.header("content-type", "application/json").send().await;
    match outcome.map(|response| response.status()) {
        Ok(status) if status.is_success() => Sent::Taken,
        Ok(status) if status.as_u16() == 429 || status.is_server_error() => Sent::Later,
        Ok(status) => Sent::Refused(status.as_u16()),
        Err(_) => Sent::Later,
    }
}

/// Gaps between events, drawn evenly around their mean, so that the demo doesn't tick.
struct Pace {
    events_per_minute: u32,
    rng: StdRng,
}

impl Pace {
    fn new(settings: &SimulatorSettings) -> Self {
        let events_per_minute = settings.events_per_minute.clamp(1, MAX_EVENTS_PER_MINUTE);
        Self { events_per_minute, rng: StdRng::seed_from_u64(settings.seed) }
    }

    fn next_gap(&mut self) -> Duration {
        let mean = Duration::from_secs(60) / self.events_per_minute;
        mean.mul_f64(self.rng.random_range(0.2..1.8))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;
    use crate::{domain::time::Timestamp, runtime::clock::ManualClock};

    /// A request as the fake server saw it: head and body.
    type Seen = (String, Vec<u8>);

    /// Answers each request with the next status, the last one over and over.
    async fn fake_server(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<Seen>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut statuses = statuses.iter().copied().peekable();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = read_request(&mut socket).await;
                let status = match statuses.len() {
                    1 => *statuses.peek().unwrap(),
                    _ => statuses.next().unwrap(),
                };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                socket.write_all(answer.as_bytes()).await.unwrap();
                if seen.send(request).is_err() {
                    return;
                }
            }
        });
        (url, receiver)
    }

    async fn read_request(socket: &mut tokio::net::TcpStream) -> Seen {
        let mut bytes = Vec::new();
        loop {
            socket.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return (head.to_owned(), body.as_bytes().to_vec());
            }
        }
    }

    fn target(base_url: String) -> Target {
        Target {
            base_url,
            names: Names { phone_number_id: "100".to_owned(), waha_session: "demo".to_owned() },
            app_secret: Secret::new("app".to_owned()),
            waha_hmac_key: Secret::new("waha".to_owned()),
            mint_token: Arc::new(|| Secret::new("token".to_owned())),
        }
    }

    async fn played(statuses: &'static [u16], wanted: usize) -> Vec<Seen> {
        let (url, mut seen) = fake_server(statuses).await;
        let shutdown = Shutdown::new();
        let settings =
            SimulatorSettings { events_per_minute: MAX_EVENTS_PER_MINUTE, ..Default::default() };
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_515_330_000)));
        let task = shutdown.spawn(run(target(url), settings, clock, shutdown.clone()));
        let mut requests = Vec::new();
        while requests.len() < wanted {
            requests.push(seen.recv().await.unwrap());
        }
        shutdown.draining.cancel();
        task.await.unwrap().unwrap();
        requests
    }

    #[tokio::test]
    async fn posts_signed_webhooks_and_calls_the_api() {
        let requests = played(&[200], 20).await;
        let (mut cloud, mut waha, mut bot) = (0, 0, 0);
        for (head, body) in &requests {
            let has = |line: String| head.lines().any(|found| found == line);
            if head.starts_with("POST /webhooks/whatsapp ") {
                cloud += 1;
                assert!(has(format!("x-hub-signature-256: {}", payloads::sign("app", body))));
            } else if head.starts_with("POST /webhooks/waha ") {
                waha += 1;
                assert!(has(format!("x-webhook-hmac: {}", payloads::sign_waha("waha", body))));
            } else {
                bot += 1;
                assert!(head.starts_with("PUT /v1/bot/status "), "{head}");
                assert!(has("authorization: Bearer token".to_owned()));
            }
        }
        assert!(cloud > 10 && waha >= 1 && bot >= 1, "{cloud} {waha} {bot}");
    }

    #[tokio::test]
    async fn tries_again_what_the_server_could_not_take_and_leaves_out_what_it_refuses() {
        let requests = played(&[503, 429, 200, 400, 200], 5).await;
        assert_eq!(requests[0], requests[1]);
        assert_eq!(requests[1], requests[2]);
        assert_ne!(requests[2], requests[3]);
        assert_ne!(requests[3], requests[4]);
    }

    #[tokio::test]
    async fn ends_when_the_server_is_not_there_either() {
        let shutdown = Shutdown::new();
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_515_330_000)));
        let nowhere = target("http://127.0.0.1:9".to_owned());
        let settings = SimulatorSettings::default();
        let task = shutdown.spawn(run(nowhere, settings, clock, shutdown.clone()));
        tokio::task::yield_now().await;
        shutdown.draining.cancel();
        task.await.unwrap().unwrap();
    }

    #[test]
    fn the_pace_keeps_its_mean_and_its_bounds() {
        let gaps = |events_per_minute| {
            let mut pace = Pace::new(&SimulatorSettings { events_per_minute, seed: 1 });
            (0..1000).map(|_| pace.next_gap()).sum::<Duration>() / 1000
        };
        let mean = gaps(600).as_secs_f64();
        assert!((0.09..0.11).contains(&mean), "{mean}");
        assert!(gaps(0) > Duration::from_secs(50));
        assert!(gaps(u32::MAX) > Duration::from_micros(900));
    }
}
