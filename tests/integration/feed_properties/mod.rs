//! Any log, told to any follower, over any disturbance: each gets exactly the facts after its
//! cursor, in order, once, and the latest of each state key; and every byte is what a fold of the
//! log alone gives. Followers are bare subscribers, and screens, which follow as clients do:
//! through sessions over WebSocket and event streams, and by polling, with snapshots.
//!
//! Two instances with different settings follow one log. While it grows, followers pull through
//! each encoding with different filters and budgets, lose connections in the middle of a batch,
//! move to the other instance, and the instances restart or build their read models anew. Where
//! facts expire or backlogs are bounded, a follower may be told to `reset`; up to there it must
//! have missed nothing, and from the place that it was told it must miss nothing. Snapshots taken
//! on the way must be exact to their cursor.

mod expected;
mod follower;
mod instance;
mod screen;
mod script;

use std::{sync::Arc, time::Duration};

use condorito::{
    domain::ids::{ClientId, Position},
    event_log::{Append, EventLog, Expected as Version, StreamName, memory::MemoryLog},
    feed::subscriber::Budget,
    wire::{cursor::Cursor, types::Snapshot},
};
use proptest::prelude::*;

use self::{
    expected::Expectation,
    follower::{Follower, Loss},
    instance::Instance,
    screen::Screen,
    script::{Happening, Step, Story, a_story},
};

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(20);
/// How long a follower waits in the middle of the story: nothing may be there yet.
const PULL_WAIT: Duration = Duration::from_millis(2);

/// The stage: a log, two instances, followers.
struct World {
    log: Arc<MemoryLog>,
    instances: [Instance; 2],
    followers: Vec<Follower>,
    screens: Vec<Screen>,
    snapshots: Vec<(ClientId, Snapshot)>,
    appended: u64,
}

impl World {
    async fn new(story: &Story) -> Self {
        let log = Arc::new(MemoryLog::default());
        let instances = [
            Instance::start(log.clone(), story.sizes[0]).await,
            Instance::start(log.clone(), story.sizes[1]).await,
        ];
        let may_reset = story.sizes.iter().any(|size| size.forgetful);
        let followers = story.followers.iter();
        let followers = followers.map(|plan| Follower::new(plan, may_reset)).collect();
        let screens = story.screens.iter();
        let screens = screens.map(|plan| Screen::new(plan, may_reset)).collect();
        Self { log, instances, followers, screens, snapshots: Vec::new(), appended: 0 }
    }

    async fn play(&mut self, step: &Step) {
        match step {
            Step::Append(happenings) => self.append(happenings).await,
            Step::Pull { who, bytes, events, times } => {
                let budget = Budget { bytes: *bytes, events: *events };
                for _ in 0..*times {
                    self.pull(*who, budget).await;
                }
            }
            Step::Look { who, times } => {
                let who = who.index(self.screens.len());
                let screen = &mut self.screens[who];
                for _ in 0..*times {
                    screen.look(&self.instances[screen.instance], PULL_WAIT).await;
                }
            }
            Step::Lose { who, loss } => match self.of(*who) {
                Who::Follower(follower) => follower.lose(*loss),
                Who::Screen(screen) => screen.lose(*loss),
            },
            Step::Move { who } => match self.of(*who) {
                Who::Follower(follower) => {
                    follower.lose(Loss::Nothing);
                    follower.instance ^= 1;
                }
                Who::Screen(screen) => {
                    screen.lose(Loss::Nothing);
                    screen.instance ^= 1;
                }
            },
            Step::Restart { instance, rebuild } => {
                for follower in &mut self.followers {
                    if follower.instance == *instance {
                        follower.lose(Loss::Nothing);
                    }
                }
                for screen in &mut self.screens {
                    if screen.instance == *instance {
                        screen.lose(Loss::Nothing);
                    }
                }
                self.instances[*instance].restart(self.log.clone(), *rebuild).await;
            }
            Step::Settle { instance } => {
                let head = self.log.head().await.expect("a log in memory");
                self.instances[*instance].projected(head).await;
            }
            Step::Snapshot { instance, client } => {
                let taken = self.instances[*instance].queries.snapshot(*client, 1000).await;
                self.snapshots.push((*client, taken.expect("a snapshot")));
            }
            Step::Later { instance, milliseconds } => {
                self.instances[*instance].clock.advance_ms(*milliseconds);
            }
        }
    }

    /// One append with one entry for each event, as a webhook with several parts makes it.
    async fn append(&mut self, happenings: &[Happening]) {
        let batch = happenings
            .iter()
            .map(|happening| {
                self.appended += 1;
                let event = happening.event(self.appended);
                let client = event.client_id;
                let stream = match event.data.conversation_id() {
                    Some(id) => StreamName::Conversation(client, id),
                    None => StreamName::Tenant(client),
                };
                Append { stream, expected: Version::Any, events: vec![event] }
            })
            .collect();
        self.log.append(batch).await.expect("a log in memory");
    }

    fn of(&mut self, who: prop::sample::Index) -> Who<'_> {
        let who = who.index(self.followers.len() + self.screens.len());
        match who.checked_sub(self.followers.len()) {
            Some(screen) => Who::Screen(&mut self.screens[screen]),
            None => Who::Follower(&mut self.followers[who]),
        }
    }

    async fn pull(&mut self, who: prop::sample::Index, budget: Budget) {
        let who = who.index(self.followers.len());
        let follower = &mut self.followers[who];
        let instance = &self.instances[follower.instance];
        follower.pull(instance, budget, PULL_WAIT).await;
    }

    /// Lets everybody come to the end of the log.
    async fn finish(&mut self) {
        let head = self.log.head().await.expect("a log in memory");
        for instance in &self.instances {
            instance.projected(head).await;
        }
        for follower in &mut self.followers {
            let instance = &self.instances[follower.instance];
            follower.pull_to(instance, Cursor::end_of(head)).await;
        }
        for screen in &mut self.screens {
            let instance = &self.instances[screen.instance];
            screen.look_to(instance, Cursor::end_of(head)).await;
        }
    }

    async fn check(&self) {
        let records = self.log.read(Position::START, usize::MAX).await.expect("a log in memory");
        let epoch = &self.log.identity().epoch;
        let expectation = Expectation::of(&records, epoch);
        let of_screens = self.screens.iter().flat_map(|screen| &screen.snapshots);
        for (client, snapshot) in self.snapshots.iter().chain(of_screens) {
            expected::check_snapshot(&records, epoch, *client, snapshot);
        }
        for follower in &self.followers {
            follower.check(expectation.feed(follower.client()));
        }
        for screen in &self.screens {
            screen.check(expectation.feed(screen.client()));
        }
        for instance in &self.instances {
            expectation.check_read_model(&instance.queries).await;
        }
    }
}

/// One of those who follow.
enum Who<'a> {
    Follower(&'a mut Follower),
    Screen(&'a mut Screen),
}

fn play(story: &Story) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(story).await;
        for step in &story.steps {
            world.play(step).await;
        }
        world.finish().await;
        world.check().await;
        drop(world.screens);
        for instance in world.instances {
            instance.stop().await;
        }
    });
}

/// The tenants of the stories.
const CLIENTS: [ClientId; 2] = [ClientId(1), ClientId(2)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_follower_gets_exactly_what_follows_its_cursor(story in a_story(false)) {
        play(&story);
    }

    #[test]
    fn who_can_not_go_on_is_told_and_misses_nothing_else(story in a_story(true)) {
        play(&story);
    }
}
