//! One who follows the feed, with what it got, and the judgement over that.

use std::{collections::HashMap, time::Duration};

use condorito::{
    domain::ids::ClientId,
    feed::{
        filter::{Filter, Types},
        frame::Encoding,
        hub::Start,
        subscriber::{Batch, Budget, Next, ResetReason, Subscriber},
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
    /// Where it resumes.
    stands: Cursor,
    ledger: Ledger,
    may_reset: bool,
}

/// What one that follows was told: a leg for each time that it had to begin at another place.
pub(super) struct Ledger {
    filter: Filter,
    /// For complaints.
    whose: String,
    legs: Vec<Leg>,
}

struct Leg {
    /// After which everything is owed.
    start: Cursor,
    got: Vec<(Cursor, Vec<u8>)>,
}

impl Follower {
    pub(super) fn new(plan: &Plan, may_reset: bool) -> Self {
        Self {
            plan: plan.clone(),
            instance: plan.instance,
            subscriber: None,
            stands: Cursor::START,
            ledger: Ledger::new(plan.filter, format!("{plan:?}")),
            may_reset,
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.plan.client
    }

    fn connected(&mut self, instance: &Instance) -> &mut Subscriber {
        let Plan { client, filter, encoding, live, .. } = self.plan;
        self.subscriber.get_or_insert_with(|| {
            let start = match !self.ledger.has_begun() && live {
                true => Start::Live,
                false => Start::After(self.stands),
            };
            let subscriber = instance.hub.subscribe(client, start, filter, encoding);
            if !self.ledger.has_begun() {
                self.stands = subscriber.resume_cursor();
                self.ledger.begin(self.stands);
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
                self.ledger.take(decoded);
            }
            Ok(Next::Reset { reason, cursor }) if self.may_reset => {
                assert_ne!(reason, ResetReason::UnknownCursor, "{:?}", self.plan);
                self.stands = cursor;
                self.ledger.begin(cursor);
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
            Loss::Tail(events) => self.stands = self.ledger.lose(events),
        }
    }

    pub(super) fn check(&self, feed: &Feed) {
        self.ledger.check(feed);
    }
}

impl Ledger {
    pub(super) fn new(filter: Filter, whose: String) -> Self {
        Self { filter, whose, legs: Vec::new() }
    }

    /// From here on everything is owed.
    pub(super) fn begin(&mut self, start: Cursor) {
        self.legs.push(Leg { start, got: Vec::new() });
    }

    pub(super) fn has_begun(&self) -> bool {
        !self.legs.is_empty()
    }

    pub(super) fn take(&mut self, events: impl IntoIterator<Item = (Cursor, Vec<u8>)>) {
        self.legs.last_mut().expect("a leg").got.extend(events);
    }

    /// The last `events` of this leg never arrived; answers the place of what did.
    pub(super) fn lose(&mut self, events: usize) -> Cursor {
        let Leg { start, got } = self.legs.last_mut().expect("a leg");
        got.truncate(got.len().saturating_sub(events));
        got.last().map_or(*start, |(cursor, _)| *cursor)
    }

    /// It got what it was owed: all of it in the last leg, and in those before all up to some
    /// place.
    pub(super) fn check(&self, feed: &Feed) {
        let (last, before) = self.legs.split_last().expect("it was connected at the end");
        for leg in before {
            let (told, owed) = self.facts(leg, feed);
            assert!(owed.starts_with(&told), "{told:?} of {owed:?}: {:?}", self.whose);
        }
        let (told, owed) = self.facts(last, feed);
        assert_eq!(told, owed, "the facts after {:?} of {:?}", last.start, self.whose);

        let latest = |events: &mut dyn Iterator<Item = (Cursor, &Expected)>| {
            let states = events.filter(|(_, event)| event.event_type.is_state());
            let keyed = states.map(|(at, event)| ((event.event_type, event.key), at));
            keyed.collect::<HashMap<_, _>>()
        };
        let told = latest(&mut last.got.iter().map(|(at, _)| (*at, &feed[at])));
        let due = latest(&mut self.owed(last, feed));
        assert_eq!(
            told, due,
            "the latest of each state after {:?} of {:?}",
            last.start, self.whose
        );
    }

    /// The facts that it was told in a leg and those that it was owed. What it was told is in
    /// order, was asked for, and is what happened.
    fn facts(&self, leg: &Leg, feed: &Feed) -> (Vec<Cursor>, Vec<Cursor>) {
        let places: Vec<Cursor> = leg.got.iter().map(|(cursor, _)| *cursor).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "out of order or twice: {places:?}");
        for (cursor, json) in &leg.got {
            let expected = feed.get(cursor).expect("only what happened is told");
            let asked_for = *cursor > leg.start && self.sees(expected);
            assert!(asked_for, "{cursor:?} was not asked for");
            assert_eq!(text(json), text(&expected.json), "at {cursor:?}");
        }
        let is_fact = |event: &Expected| !event.event_type.is_state();
        let told = places.into_iter().filter(|at| is_fact(&feed[at])).collect();
        let owed = self.owed(leg, feed).filter(|(_, event)| is_fact(event));
        (told, owed.map(|(at, _)| at).collect())
    }

    fn owed<'a>(
        &'a self,
        leg: &Leg,
        feed: &'a Feed,
    ) -> impl Iterator<Item = (Cursor, &'a Expected)> + use<'a> {
        let start = leg.start;
        let after = feed.iter().filter(move |(at, _)| **at > start);
        after.filter(|(_, event)| self.sees(event)).map(|(at, event)| (*at, event))
    }

    fn sees(&self, event: &Expected) -> bool {
        let Filter { types, conversation, .. } = self.filter;
        let of_conversation = conversation.is_none() || conversation == event.conversation;
        of_conversation && (types == Types::ALL || types.contains(event.event_type))
    }
}

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("JSON is text")
}

/// The events of a batch as a client of this encoding reads them.
pub(super) fn decode(batch: &Batch, encoding: Encoding, epoch: &str) -> Vec<(Cursor, Vec<u8>)> {
    let bytes = batch.bytes.concat();
    let events = match encoding {
        Encoding::Json => json_events(&bytes),
        Encoding::Sse => sse_events(&bytes),
        Encoding::SseGzip => sse_events(&inflate(&bytes)),
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

pub(super) fn ws_events(mut bytes: &[u8]) -> Vec<Vec<u8>> {
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
        events.push(match head & 0x40 {
            0 => payload.to_vec(),
            _ => inflate(&[payload, &[0, 0, 0xff, 0xff]].concat()),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame");
    events
}

/// What was deflated and flushed, as far as it goes.
pub(super) fn inflate(deflated: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    Decompress::new(false)
        .decompress_vec(deflated, &mut out, FlushDecompress::Sync)
        .expect("deflated by itself");
    assert!(out.len() < out.capacity(), "more than there is room for");
    out
}
