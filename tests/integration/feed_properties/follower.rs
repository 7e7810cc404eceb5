//! One who follows the feed, with what it got, and the judgement over that.

use std::{collections::HashMap, time::Duration};

use condorito::{
    domain::ids::ClientId,
    feed::{
        filter::{Filter, Types},
        frame::Encoding,
        hub::Start,
        subscriber::{Batch, Budget, Next, Subscriber},
    },
    wire::cursor::Cursor,
};
use flate2::{Decompress, FlushDecompress};
use serde_json::value::RawValue;

use super::{
    STUCK,
    expected::{Expected, Feed},
    instance::Instance,
};

/// Who is to follow, and how.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub client: ClientId,
    pub filter: Filter,
    pub encoding: Encoding,
    pub instance: usize,
    /// Begins with whatever is new; else with the first event ever.
    pub live: bool,
}

/// What a broken connection takes with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    /// All that was written arrived, and the place to resume from is the last event's.
    Nothing,
    /// The place to resume from is what the server last told (`hello`, an empty poll).
    NothingAndToldPlace,
    /// The last events of what was written never arrived.
    Tail(usize),
}

pub(super) struct Follower {
    plan: Plan,
    /// Where it is connected now, or is to be.
    pub instance: usize,
    subscriber: Option<Subscriber>,
    /// After which everything is owed to it.
    start: Option<Cursor>,
    /// Where it resumes.
    stands: Cursor,
    got: Vec<(Cursor, Vec<u8>)>,
}

impl Follower {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            instance: plan.instance,
            subscriber: None,
            start: None,
            stands: Cursor::START,
            got: Vec::new(),
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.plan.client
    }

    fn connected(&mut self, instance: &Instance) -> &mut Subscriber {
        let Plan { client, filter, encoding, live, .. } = self.plan;
        self.subscriber.get_or_insert_with(|| {
            let start = match self.start {
                None if live => Start::Live,
                None => Start::After(Cursor::START),
                Some(_) => Start::After(self.stands),
            };
            let subscriber = instance.hub.subscribe(client, start, filter, encoding);
            if self.start.is_none() {
                self.stands = subscriber.resume_cursor();
                self.start = Some(self.stands);
            }
            subscriber
        })
    }

    /// Pulls once.
    pub(super) async fn pull(&mut self, instance: &Instance, budget: Budget, wait: Duration) {
        let encoding = self.plan.encoding;
        let subscriber = self.connected(instance);
        match tokio::time::timeout(wait, subscriber.next_batch(budget)).await {
            Ok(Next::Batch(batch)) => {
                assert!(batch.events <= budget.events, "more than asked for");
                self.stands = batch.cursor;
                let decoded = decode(&batch, encoding, instance.hub.epoch());
                assert_eq!(decoded.len(), batch.events as usize);
                self.got.extend(decoded);
            }
            Ok(Next::Unavailable) | Err(_) => {}
            Ok(other) => panic!("{other:?} of {:?}", self.plan),
        }
    }

    /// Pulls until all up to `head` has passed.
    pub(super) async fn pull_to(&mut self, instance: &Instance, head: Cursor) {
        let budget = Budget::bytes(64 << 10);
        let all = async {
            while self.connected(instance).resume_cursor() < head {
                self.pull(instance, budget, Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(STUCK, all).await.is_ok();
        assert!(in_time, "stuck at {:?} of {head:?}: {:?}", self.stands, self.plan);
    }

    /// The connection breaks.
    pub(super) fn lose(&mut self, loss: Loss) {
        let Some(subscriber) = self.subscriber.take() else { return };
        match loss {
            Loss::Nothing => {}
            Loss::NothingAndToldPlace => self.stands = subscriber.resume_cursor(),
            Loss::Tail(events) => {
                let kept = self.got.len().saturating_sub(events);
                self.got.truncate(kept);
                let start = self.start.unwrap_or(Cursor::START);
                self.stands = self.got.last().map_or(start, |(cursor, _)| *cursor);
            }
        }
    }

    /// It got what it was owed.
    pub(super) fn check(&self, feed: &Feed) {
        let start = self.start.expect("it was connected at least at the end");
        let in_order = self.got.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(in_order, "out of order or twice: {:?}", self.places());
        for (cursor, json) in &self.got {
            let expected = feed.get(cursor).expect("only what happened is told");
            assert!(*cursor > start && self.sees(expected), "{cursor:?} was not asked for");
            let (told, expected) = (text(json), text(&expected.json));
            assert_eq!(told, expected, "at {cursor:?}");
        }
        let owed = || feed.iter().filter(|(at, event)| **at > start && self.sees(event));
        let facts: Vec<Cursor> =
            owed().filter(|(_, event)| !event.event_type.is_state()).map(|(at, _)| *at).collect();
        let told = self.got.iter().map(|(cursor, _)| *cursor);
        let told: Vec<Cursor> = told.filter(|at| !feed[at].event_type.is_state()).collect();
        assert_eq!(told, facts, "the facts after {start:?} of {:?}", self.plan);

        let latest = |events: &mut dyn Iterator<Item = (Cursor, &Expected)>| {
            let states = events.filter(|(_, event)| event.event_type.is_state());
            let keyed = states.map(|(at, event)| ((event.event_type, event.key), at));
            keyed.collect::<HashMap<_, _>>()
        };
        let told = latest(&mut self.got.iter().map(|(at, _)| (*at, &feed[at])));
        let due = latest(&mut owed().map(|(at, event)| (*at, event)));
        assert_eq!(told, due, "the latest of each state after {start:?} of {:?}", self.plan);
    }

    fn sees(&self, event: &Expected) -> bool {
        let Filter { types, conversation } = self.plan.filter;
        let of_conversation = conversation.is_none() || conversation == event.conversation;
        of_conversation && (types == Types::ALL || types.contains(event.event_type))
    }

    fn places(&self) -> Vec<Cursor> {
        self.got.iter().map(|(cursor, _)| *cursor).collect()
    }
}

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("JSON is text")
}

/// The events of a batch as a client of this encoding reads them.
fn decode(batch: &Batch, encoding: Encoding, epoch: &str) -> Vec<(Cursor, Vec<u8>)> {
    let bytes = batch.bytes.concat();
    let events = match encoding {
        Encoding::Json => json_events(&bytes),
        Encoding::Sse => sse_events(&bytes),
        Encoding::WsText | Encoding::WsDeflate => ws_events(&bytes),
    };
    let with_cursor = events.into_iter().map(|json| {
        let parsed: serde_json::Value = serde_json::from_slice(&json).expect("an event is JSON");
        let id = parsed["id"].as_str().expect("an event has an id");
        (Cursor::parse(id, epoch).expect("an id is a cursor"), json)
    });
    with_cursor.collect()
}

fn json_events(bytes: &[u8]) -> Vec<Vec<u8>> {
    let listed = format!("[{}]", text(bytes).strip_suffix(',').expect("a comma after each"));
    let events: Vec<&RawValue> = serde_json::from_str(&listed).expect("a list");
    events.into_iter().map(|event| event.get().as_bytes().to_vec()).collect()
}

fn sse_events(bytes: &[u8]) -> Vec<Vec<u8>> {
    let whole = text(bytes).strip_suffix("\n\n").expect("whole events");
    let event = |event: &str| {
        let (id, data) = event.split_once('\n').expect("two lines");
        let id = id.strip_prefix("id: ").expect("an id line");
        let data = data.strip_prefix("data: ").expect("a data line");
        assert!(data.starts_with(&format!(r#"{{"id":"{id}","#)), "{id} before {data}");
        data.as_bytes().to_vec()
    };
    whole.split("\n\n").map(event).collect()
}

fn ws_events(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    while let [head, length, rest @ ..] = bytes {
        assert_eq!(head & !0x40, 0x81, "a final text frame, deflated or not");
        let (length, rest) = match *length {
            126 => {
                let (length, rest) = rest.split_first_chunk().expect("a length");
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk().expect("a length");
                let length = u64::from_be_bytes(*length);
                (usize::try_from(length).expect("a length that fits"), rest)
            }
            short => (usize::from(short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        events.push(if head & 0x40 == 0 { payload.to_vec() } else { inflate(payload) });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    events
}

fn inflate(deflated: &[u8]) -> Vec<u8> {
    let input = [deflated, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(64 << 10);
    Decompress::new(false)
        .decompress_vec(&input, &mut out, FlushDecompress::Sync)
        .expect("a deflated message by itself");
    out
}
