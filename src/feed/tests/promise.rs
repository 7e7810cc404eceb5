//! The promise as a property: whatever is published and however it is pulled, a subscriber gets
//! the facts after its cursor, each once and in order, and the latest state of each key.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;

use super::table::{CLIENT, EPOCH, Table, World, drain, event_of, ids};
use crate::{
    domain::ids::{ConversationId, Position},
    feed::{
        FeedSettings,
        filter::{Filter, Types},
        frame::Encoding,
        hub::Start,
        subscriber::{Budget, Next, Subscriber},
    },
    projection::{CommittedBatch, FeedSink, PublicFrame},
    wire::{cursor::Cursor, event_type::EventType},
};

#[derive(Debug, Clone)]
enum Step {
    /// Domain events, each with the public events (type, conversation) that follow from it.
    /// `late`: the hub hears of it with a later step, as when the commit is ahead of the hub.
    Publish {
        events: Vec<Vec<(EventType, u32)>>,
        late: bool,
    },
    Compact,
    Pass {
        milliseconds: u64,
    },
    /// `start`: live, or after that many thousandths of all positions.
    Subscribe {
        start: Option<u64>,
        filter: Filter,
    },
    Pull {
        who: usize,
        budget: Budget,
    },
    /// Disconnects, and comes back with its cursor.
    Reconnect {
        who: usize,
    },
    /// All lose their rings.
    Restart,
    /// Somebody is erased: the ring lets go of what it holds.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        3 => Just(EventType::NewMessage),
        1 => Just(EventType::MessageStatusUpdated),
        3 => Just(EventType::ConversationUpdated),
        2 => Just(EventType::StatsUpdated),
    ];
    let domain_event = prop::collection::vec((kind, 1..4u32), 0..4);
    let filter = prop_oneof![
        2 => Just(Filter::ALL),
        1 => (1..4u32).prop_map(|id| Filter { conversation: Some(ConversationId(id)), ..Filter::ALL }),
        1 => Just(Filter { types: Types::NONE.with(EventType::NewMessage), ..Filter::ALL }),
        1 => Just(Filter { types: Types::NONE.with(EventType::StatsUpdated), ..Filter::ALL }),
    ];
    let budget = (1..600usize, prop_oneof![Just(u32::MAX), 1..6u32])
        .prop_map(|(bytes, events)| Budget { bytes, events });
    let step = prop_oneof![
        6 => (prop::collection::vec(domain_event, 1..6), any::<bool>())
            .prop_map(|(events, late)| Step::Publish { events, late }),
        1 => Just(Step::Compact),
        4 => (1..20u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
        2 => (prop::option::of(0..1_000u64), filter)
            .prop_map(|(start, filter)| Step::Subscribe { start, filter }),
        6 => (0..8usize, budget).prop_map(|(who, budget)| Step::Pull { who, budget }),
        2 => (0..8usize).prop_map(|who| Step::Reconnect { who }),
        1 => Just(Step::Restart),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..60)
}

struct Follower {
    subscriber: Subscriber,
    start: Cursor,
    filter: Filter,
    got: Vec<Cursor>,
}

struct Run {
    world: World,
    published: Vec<PublicFrame>,
    position: u64,
    late: Vec<CommittedBatch>,
    followers: Vec<Follower>,
}

/// Small, so that falling out of the ring and paging happen all the time.
fn settings() -> FeedSettings {
    FeedSettings { ring_events_max: 6, page_events: 4, ..FeedSettings::default() }
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Publish { events, late } => self.publish(events, late),
            Step::Compact => self.world.table.compact(),
            Step::Forget => self.world.hub.committed(&CommittedBatch {
                frames: Vec::new(),
                position: self.world.hub.position(),
                erased: vec![(CLIENT, Vec::new())],
            }),
            Step::Pass { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            Step::Subscribe { start, filter } => {
                let start = start.map(|thousandths| Cursor {
                    position: Position(self.position * thousandths / 1_000),
                    ordinal: (thousandths % 3) as u16,
                });
                let hub_start = start.map_or(Start::Live, Start::After);
                let subscriber =
                    self.world.hub.subscribe(CLIENT, hub_start, filter, Encoding::Json);
                let start = start.unwrap_or_else(|| subscriber.cursor());
                self.followers.push(Follower { subscriber, start, filter, got: Vec::new() });
            }
            Step::Pull { who, budget } => {
                let count = self.followers.len().max(1);
                if let Some(follower) = self.followers.get_mut(who % count) {
                    let pull = follower.subscriber.next_batch(budget);
                    if let Ok(next) = tokio::time::timeout(Duration::ZERO, pull).await {
                        follower.take(next);
                    }
                }
            }
            Step::Reconnect { who } => {
                let count = self.followers.len().max(1);
                if let Some(follower) = self.followers.get_mut(who % count) {
                    // Either cursor must do.
                    let cursor = match who % 2 {
                        0 => follower.subscriber.cursor(),
                        _ => follower.subscriber.resume_cursor(),
                    };
                    let start = Start::After(cursor);
                    follower.subscriber =
                        self.world.hub.subscribe(CLIENT, start, follower.filter, Encoding::Json);
                }
            }
            Step::Restart => {
                self.tell_hub();
                self.world = World::over(self.world.table.clone(), settings());
                for follower in &mut self.followers {
                    let start = Start::After(follower.subscriber.cursor());
                    follower.subscriber =
                        self.world.hub.subscribe(CLIENT, start, follower.filter, Encoding::Json);
                }
            }
        }
    }

    fn publish(&mut self, events: Vec<Vec<(EventType, u32)>>, late: bool) {
        self.tell_hub();
        let mut frames = Vec::new();
        for public in events {
            self.position += 1;
            frames.extend(public.into_iter().enumerate().map(|(ordinal, (kind, conversation))| {
                event_of(self.position, ordinal as u16, kind, conversation)
            }));
        }
        self.published.extend(frames.iter().cloned());
        self.late.push(self.world.table.commit(frames, self.position));
        if !late {
            self.tell_hub();
        }
    }

    fn tell_hub(&mut self) {
        for batch in self.late.drain(..) {
            self.world.hub.committed(&batch);
        }
    }

    async fn check(mut self) {
        self.tell_hub();
        for follower in &mut self.followers {
            let (seen, others) = drain(&mut follower.subscriber, Budget::bytes(1 << 20)).await;
            assert!(others.is_empty(), "{others:?}");
            follower.got.extend(seen.iter().map(|id| Cursor::parse(id, EPOCH).unwrap()));
            follower.check(&self.published);
        }
    }
}

impl Follower {
    fn take(&mut self, next: Next) {
        let Next::Batch(batch) = next else { panic!("not events: {next:?}") };
        let cursors = ids(&batch.bytes).into_iter().map(|id| Cursor::parse(&id, EPOCH).unwrap());
        self.got.extend(cursors);
        assert!(batch.cursor >= *self.got.last().unwrap());
    }

    fn check(&self, published: &[PublicFrame]) {
        assert!(self.got.is_sorted_by(|a, b| a < b), "out of order or twice: {:?}", self.got);
        let got: HashSet<_> = self.got.iter().copied().collect();
        let due: Vec<_> = published
            .iter()
            .filter(|event| event.cursor > self.start && self.filter.shows(event))
            .collect();
        let allowed: HashSet<_> = due.iter().map(|event| event.cursor).collect();
        assert!(got.is_subset(&allowed), "got what it should not have");
        let mut latest = HashMap::new();
        for event in due {
            match event.event_type.is_state() {
                true => {
                    latest.insert((event.event_type, event.key), event.cursor);
                }
                false => assert!(got.contains(&event.cursor), "lacks the fact {:?}", event.cursor),
            }
        }
        for cursor in latest.values() {
            assert!(got.contains(cursor), "lacks the latest state {cursor:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn facts_once_and_in_order_and_the_latest_of_each_state(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async move {
            let mut run = Run {
                world: World::over(std::sync::Arc::new(Table::default()), settings()),
                published: Vec::new(),
                position: 0,
                late: Vec::new(),
                followers: Vec::new(),
            };
            for step in steps {
                run.step(step).await;
            }
            run.check().await;
        });
    }
}
