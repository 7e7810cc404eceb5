//! Webhooks: each at its time, signed, and again until the server takes it, as providers do.
//!
//! Statuses of one number that are due together go into one webhook, up to a bound. Several
//! webhooks are on their way at once, so they arrive in any order.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::{super::payloads, Shared};
use crate::runtime::shutdown::Shutdown;

/// How long the server may take for a webhook.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most webhooks that wait. Further ones are lost, as Meta loses what it can't deliver.
const WAITING_MAX: u64 = 4_000_000;
/// How many are on their way at once.
const UNDER_WAY_MAX: usize = 16;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How often it looks whether it knows by now where webhooks go.
const NO_ADDRESS_YET: Duration = Duration::from_millis(50);

/// Something to be told.
#[derive(Debug, Clone)]
pub(super) enum Parcel {
    CloudStatus {
        phone_number_id: String,
        status: Value,
    },
    /// A whole body.
    Cloud(Vec<u8>),
    Waha(Vec<u8>),
}

struct Due {
    at: Instant,
    number: u64,
    attempt: u32,
    parcel: Parcel,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: a heap gives the greatest first.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Takes what is to be told.
#[derive(Clone)]
pub(super) struct Courier {
    sender: mpsc::UnboundedSender<Due>,
    waiting: Arc<AtomicU64>,
    numbers: Arc<AtomicU64>,
}

/// Tells it.
pub(super) struct Round {
    courier: Courier,
    receiver: mpsc::UnboundedReceiver<Due>,
    heap: BinaryHeap<Due>,
}

impl Courier {
    pub(super) fn new() -> (Self, Round) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let courier = Self { sender, waiting: Arc::default(), numbers: Arc::default() };
        (courier.clone(), Round { courier, receiver, heap: BinaryHeap::new() })
    }

    pub(super) fn send(&self, after: Duration, parcel: Parcel) {
        if self.waiting.fetch_add(1, Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Relaxed);
            return;
        }
        let number = self.next_number();
        self.hand_over(Due { at: Instant::now() + after, number, attempt: 0, parcel });
    }

    fn hand_over(&self, due: Due) {
        if self.sender.send(due).is_err() {
            self.waiting.fetch_sub(1, Relaxed);
        }
    }

    /// Those that wait or are on their way.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }
}

impl Round {
    pub(super) async fn run(
        mut self,
        client: reqwest::Client,
        shared: Arc<Shared>,
        shutdown: Shutdown,
    ) {
        let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        loop {
            let wait_until = match (self.heap.peek(), shared.webhook_url.load().is_some()) {
                (Some(next), true) => next.at,
                (Some(next), false) => next.at.max(Instant::now() + NO_ADDRESS_YET),
                (None, _) => Instant::now() + REQUEST_TIMEOUT,
            };
            tokio::select! {
                due = self.receiver.recv() => match due {
                    Some(due) => self.heap.push(due),
                    None => return,
                },
                () = tokio::time::sleep_until(wait_until) => {}
                () = shutdown.stopping.cancelled() => return,
            }
            while let Ok(due) = self.receiver.try_recv() {
                self.heap.push(due);
            }
            let Some(url) = shared.webhook_url.load_full() else { continue };
            for letter in self.letters(shared.settings.webhook_batch_max.clamp(1, 1000)) {
                let Ok(permit) = under_way.clone().acquire_owned().await else { return };
                let (client, shared, url) = (client.clone(), shared.clone(), url.clone());
                let courier = self.courier.clone();
                shutdown.spawn(async move {
                    let taken = post(&client, &shared, &url, &letter).await;
                    courier.settle(letter, taken);
                    drop(permit);
                });
            }
        }
    }

    /// What is due now, in as few webhooks as may be.
    fn letters(&mut self, batch_max: usize) -> Vec<Letter> {
        let now = Instant::now();
        let mut letters = Vec::new();
        let mut statuses: BTreeMap<String, Vec<(Due, Value)>> = BTreeMap::new();
        while self.heap.peek().is_some_and(|due| due.at <= now) {
            let Some(due) = self.heap.pop() else { break };
            match &due.parcel {
                Parcel::CloudStatus { phone_number_id, status } => {
                    let (number, status) = (phone_number_id.clone(), status.clone());
                    let batch = statuses.entry(number.clone()).or_default();
                    batch.push((due, status));
                    if batch.len() >= batch_max {
                        letters.push(Letter::of_statuses(&number, std::mem::take(batch)));
                    }
                }
                Parcel::Cloud(body) => {
                    let body = body.clone();
                    letters.push(Letter { is_cloud: true, body, parts: vec![due] });
                }
                Parcel::Waha(body) => {
                    let body = body.clone();
                    letters.push(Letter { is_cloud: false, body, parts: vec![due] });
                }
            }
        }
        for (number, batch) in statuses.into_iter().filter(|(_, batch)| !batch.is_empty()) {
            letters.push(Letter::of_statuses(&number, batch));
        }
        letters
    }
}

/// One webhook.
struct Letter {
    is_cloud: bool,
    body: Vec<u8>,
    parts: Vec<Due>,
}

impl Letter {
    fn of_statuses(phone_number_id: &str, batch: Vec<(Due, Value)>) -> Self {
        let (parts, statuses): (Vec<Due>, Vec<Value>) = batch.into_iter().unzip();
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": {"display_phone_number": "576015550100",
                             "phone_number_id": phone_number_id},
                "statuses": statuses,
            }}]}],
        });
        Self { is_cloud: true, body: body.to_string().into_bytes(), parts }
    }
}

/// Whether the server took it; `None`: not now.
async fn post(
    client: &reqwest::Client,
    shared: &Shared,
    url: &str,
    letter: &Letter,
) -> Option<bool> {
    let base = url.trim_end_matches('/');
    let request = if letter.is_cloud {
        let signature = payloads::sign(shared.settings.app_secret.expose(), &letter.body);
        client.post(format!("{base}/webhooks/whatsapp")).header("x-hub-signature-256", signature)
    } else {
        let signature = payloads::sign_waha(shared.settings.waha_hmac_key.expose(), &letter.body);
        client
            .post(format!("{base}/webhooks/waha"))
            .header("x-webhook-hmac", signature)
            .header("x-webhook-hmac-algorithm", "sha512")
    };
    let request = request.header("content-type", "application/json").body(letter.body.clone());
    match request.send().await.map(|response| response.status()) {
        Ok(status) if status.is_success() => Some(true),
        Ok(status) if status.is_client_error() && status.as_u16() != 429 => {
            tracing::warn!(status = status.as_u16(), "the server refuses a simulated webhook");
            Some(false)
        }
        Ok(_) | Err(_) => None,
    }
}

impl Courier {
    fn settle(&self, letter: Letter, taken: Option<bool>) {
        if taken.is_some() {
            self.waiting.fetch_sub(letter.parts.len() as u64, Relaxed);
            return;
        }
        for due in letter.parts {
            let attempt = due.attempt.saturating_add(1);
            let wait = FIRST_RETRY.saturating_mul(2u32.saturating_pow(attempt.min(10)));
            let at = Instant::now() + wait.min(LONGEST_RETRY);
            self.hand_over(Due { at, attempt, ..due });
        }
    }
}
