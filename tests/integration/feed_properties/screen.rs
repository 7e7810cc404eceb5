//! One who follows as clients do: through sessions and polls, with `hello`, snapshots, resets,
//! `Last-Event-ID` and `limit`.

use std::time::Duration;

use condorito::{
    auth::Identity,
    delivery::{
        registry::{Ending, Transport},
        request::StreamRequest,
        session::{Output, Session},
    },
    domain::ids::ClientId,
    feed::{filter::Filter, frame::Encoding},
    wire::{cursor::Cursor, event_type::EventType, types::Snapshot},
};
use poem::{Endpoint, Request};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    STUCK,
    expected::Feed,
    follower::{Ledger, Loss, decode, inflate, ws_events},
    instance::Instance,
};

/// How a screen follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    WebSocket {
        deflate: bool,
    },
    /// Resumes with `Last-Event-ID`.
    EventStream {
        gzip: bool,
    },
    Polling {
        limit: u32,
    },
}

#[derive(Debug, Clone)]
pub(super) struct ScreenPlan {
    pub client: ClientId,
    pub filter: Filter,
    pub way: Way,
    pub instance: usize,
    /// Asks for a snapshot whenever it connects.
    pub snapshot: bool,
    /// Begins with whatever is new; else with the first event ever.
    pub live: bool,
}

pub(super) struct Screen {
    plan: ScreenPlan,
    pub instance: usize,
    session: Option<Session>,
    /// A poller that has asked since its connection broke.
    is_polling: bool,
    /// Where it resumes; `None` before it was told any place.
    stands: Option<Cursor>,
    ledger: Ledger,
    pub snapshots: Vec<(ClientId, Snapshot)>,
    may_reset: bool,
}

/// A control frame.
#[derive(Deserialize)]
struct Control<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Told {
    cursor: String,
}

/// What a poll is answered with.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    cursor: String,
    has_more: bool,
    snapshot: Option<Snapshot>,
}

impl Screen {
    pub(super) fn new(plan: &ScreenPlan, may_reset: bool) -> Self {
        Self {
            plan: plan.clone(),
            instance: plan.instance,
            session: None,
            is_polling: false,
            stands: (!plan.live).then_some(Cursor::START),
            ledger: Ledger::new(plan.filter, format!("{plan:?}")),
            snapshots: Vec::new(),
            may_reset,
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.plan.client
    }

    /// Takes the next thing, if it is there within `wait`. Answers whether it was.
    pub(super) async fn look(&mut self, instance: &Instance, wait: Duration) -> bool {
        if let Way::Polling { limit } = self.plan.way {
            return self.poll(instance, limit).await;
        }
        if self.session.is_none() && !self.connect(instance).await {
            return false;
        }
        let Some(session) = &mut self.session else { return false };
        let epoch = instance.hub.epoch();
        match tokio::time::timeout(wait, session.next()).await {
            Err(_) | Ok(Output::Heartbeat { .. }) => return false,
            Ok(Output::Control(bytes)) => {
                let encoding = session.encoding();
                for (id, json) in control_frames(&bytes, encoding) {
                    self.take_control(id.as_deref(), &json, epoch);
                }
            }
            Ok(Output::Batch(batch)) => {
                session.written(&batch);
                let events = decode(&batch, session.encoding(), epoch);
                assert_eq!(events.len(), batch.events as usize);
                let goes_on = events.iter().all(|(cursor, _)| Some(*cursor) > self.stands);
                assert!(goes_on, "back behind {:?}: {:?}", self.stands, self.plan);
                self.stands = events.last().map(|(cursor, _)| *cursor);
                self.ledger.take(events);
            }
            Ok(Output::Close(ending)) => {
                assert_eq!(ending, Ending::Unavailable, "{:?}", self.plan);
                self.session = None;
            }
        }
        true
    }

    async fn connect(&mut self, instance: &Instance) -> bool {
        let epoch = instance.hub.epoch();
        let stands = self.stands.map(|cursor| cursor.display(epoch).to_string());
        let mut request = StreamRequest {
            filter: self.plan.filter,
            snapshot: self.plan.snapshot,
            ..StreamRequest::default()
        };
        let (transport, encoding) = match self.plan.way {
            Way::WebSocket { deflate: false } => (Transport::WebSocket, Encoding::WsText),
            Way::WebSocket { deflate: true } => (Transport::WebSocket, Encoding::WsDeflate),
            Way::EventStream { gzip: false } => (Transport::Sse, Encoding::Sse),
            Way::EventStream { gzip: true } => (Transport::Sse, Encoding::SseGzip),
            Way::Polling { .. } => return false,
        };
        match (transport, &stands) {
            (Transport::Sse, Some(id)) => request.resume_after(id).expect("an id of ours"),
            _ => request.cursor = stands,
        }
        let identity: Identity = instance.identity(self.plan.client);
        let opened = instance.sessions.open(transport, encoding, &identity, &request).await;
        self.session = opened.ok();
        self.session.is_some()
    }

    fn take_control(&mut self, id: Option<&str>, json: &[u8], epoch: &str) {
        let frame: Control<'_> = serde_json::from_slice(json).expect("a control frame");
        let told: Told = serde_json::from_str(frame.data.get()).expect("a cursor");
        if let Way::EventStream { .. } = self.plan.way {
            assert_eq!(id, Some(told.cursor.as_str()), "what carries a cursor sets the id");
        }
        let cursor = Cursor::parse(&told.cursor, epoch).expect("a cursor of this store");
        match frame.kind.as_str() {
            "hello" if self.ledger.has_begun() => {
                assert_eq!(Some(cursor), self.stands, "goes on where it stood: {:?}", self.plan);
            }
            "hello" => self.ledger.begin(cursor),
            "snapshot" => {
                let snapshot = serde_json::from_str(frame.data.get()).expect("a snapshot");
                self.snapshots.push((self.plan.client, snapshot));
                assert!(self.stands.is_none_or(|stands| stands <= cursor), "an older snapshot");
            }
            "reset" => {
                assert!(self.may_reset, "{:?} was reset", self.plan);
                assert!(!frame.data.get().contains("unknown_cursor"), "{}", frame.data);
                self.ledger.begin(cursor);
            }
            other => panic!("{other}"),
        }
        self.stands = Some(cursor);
    }

    /// Answers whether there was anything.
    async fn poll(&mut self, instance: &Instance, limit: u32) -> bool {
        let epoch = instance.hub.epoch();
        let with_snapshot = self.plan.snapshot && !self.is_polling;
        let mut query = format!("limit={limit}&snapshot={with_snapshot}");
        if let Some(stands) = self.stands {
            query += &format!("&cursor={}", stands.display(epoch));
        }
        for event_type in EventType::ALL.iter().copied() {
            if self.plan.filter.types.contains(event_type) {
                query += &format!("&types={}", event_type.as_str());
            }
        }
        let request = Request::builder()
            .uri_str(format!("/v1/events?{query}"))
            .header("authorization", format!("Bearer {}", instance.token(self.plan.client)))
            .finish();
        let response = instance.polls.get_response(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().into_vec().await.expect("a body");
        match status {
            200 => {}
            410 => {
                assert!(self.may_reset, "{:?} was reset", self.plan);
                let told: Told = serde_json::from_slice(&body).expect("a problem with a cursor");
                let cursor = Cursor::parse(&told.cursor, epoch).expect("a cursor of this store");
                self.ledger.begin(cursor);
                self.stands = Some(cursor);
                return true;
            }
            503 | 504 => {
                self.is_polling = false;
                return false;
            }
            other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
        }
        self.is_polling = true;
        let page: Page<'_> = serde_json::from_slice(&body).expect("a page");
        let cursor = Cursor::parse(&page.cursor, epoch).expect("a cursor of this store");
        assert!(self.stands.is_none_or(|stands| stands <= cursor), "it went back: {:?}", self.plan);
        assert!(page.events.len() <= limit as usize, "more than asked for");
        if let Some(snapshot) = page.snapshot {
            // Its cursor takes the place of the one that was sent.
            self.snapshots.push((self.plan.client, snapshot));
            self.ledger.begin(cursor);
        } else if !self.ledger.has_begun() {
            self.ledger.begin(self.stands.unwrap_or(cursor));
        }
        let events = page.events.iter().map(|event| {
            let told: Event = serde_json::from_str(event.get()).expect("an event");
            let at = Cursor::parse(&told.id, epoch).expect("a cursor of this store");
            (at, event.get().as_bytes().to_vec())
        });
        self.ledger.take(events);
        self.stands = Some(cursor);
        page.has_more || !page.events.is_empty()
    }

    /// Follows until all up to `head` has passed.
    pub(super) async fn look_to(&mut self, instance: &Instance, head: Cursor) {
        let all = async {
            loop {
                let found = self.look(instance, Duration::from_millis(20)).await;
                let is_there = match &self.session {
                    Some(session) => session.cursor() >= head,
                    // A poll that finds nothing has passed all that there is.
                    None => self.is_polling && self.ledger.has_begun(),
                };
                if is_there && !found {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(STUCK, all).await.is_ok();
        assert!(in_time, "stuck at {:?} of {head:?}: {:?}", self.stands, self.plan);
    }

    /// The connection breaks.
    pub(super) fn lose(&mut self, loss: Loss) {
        let session = self.session.take();
        self.is_polling = false;
        if !self.ledger.has_begun() {
            return;
        }
        // An answer to a poll arrives whole or not at all, and then it is asked for again.
        if let (Loss::Tail(events), Some(_)) = (loss, session) {
            self.stands = Some(self.ledger.lose(events));
        }
    }

    pub(super) fn check(&self, feed: &Feed) {
        self.ledger.check(feed);
    }
}

#[derive(Deserialize)]
struct Event {
    id: String,
}

/// Control frames as a client of this encoding reads them, with the id line of event streams.
fn control_frames(bytes: &[u8], encoding: Encoding) -> Vec<(Option<String>, Vec<u8>)> {
    let stream = match encoding {
        Encoding::Sse => bytes.to_vec(),
        Encoding::SseGzip => inflate(bytes),
        _ => return ws_events(bytes).into_iter().map(|json| (None, json)).collect(),
    };
    let stream = String::from_utf8(stream).expect("text");
    let blocks = stream.split("\n\n").filter(|block| !block.is_empty());
    let frame = |block: &str| {
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data = line("data: ").expect("a data line").as_bytes().to_vec();
        (line("id: ").map(str::to_owned), data)
    };
    blocks.map(frame).collect()
}
